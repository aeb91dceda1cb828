//! Composes the answer to a request: status, fields, and where the body comes from.
//!
//! It opens files but sends nothing. Invariant: an answer to GET and the answer to the same HEAD
//! differ in the body alone (ranges aside), and `Content-Length` is the length of the body that GET
//! has.

use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::path::Path;
use std::time::SystemTime;

use http::StatusCode;

use super::conditions::{self, Validators, Verdict};
use super::listing;
use super::media::media_type;
use super::request::{Method, Request, Version};
use super::target::Target;
use super::tree::{Found, Tree};
use crate::units;

/// An answer that is ready to be sent.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Field lines beside those that every answer has.
    fields: String,
    /// The length that `Content-Length` states, in bytes; `None` where there is none to state
    /// (304).
    length: Option<u64>,
    pub(super) body: Body,
}

/// Where the body of an answer comes from.
#[derive(Debug)]
pub(super) enum Body {
    Empty,
    Text(String),
    /// `length` bytes of a file from offset `first`.
    File {
        file: File,
        first: u64,
        length: u64,
    },
}

/// What becomes of the connection after an answer (RFC 9112 section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Afterwards {
    Close,
    /// Another request may follow, which a client of this version takes for granted or has to be
    /// told.
    Keep(Version),
}

impl Answer {
    /// The answer to a request.
    pub(super) fn to(request: &Request, tree: &Tree, now: SystemTime) -> Self {
        if request.method == Method::Other {
            let refusal = Self::refusal(StatusCode::METHOD_NOT_ALLOWED);
            return refusal.with("Allow", "GET, HEAD");
        }
        let mut answer = Self::found(request, tree, now).unwrap_or_else(Self::refusal);
        if request.method == Method::Head {
            answer.body = Body::Empty;
        }
        answer
    }

    /// An answer that says no more than its status.
    pub(super) fn refusal(status: StatusCode) -> Self {
        let reason = status.canonical_reason().unwrap_or("Unknown");
        let answer = Self::text(status, format!("{} {reason}\n", status.as_u16()));
        let answer = answer.with("Content-Type", "text/plain; charset=utf-8");
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.with("Retry-After", "1")
        } else {
            answer
        }
    }

    fn found(request: &Request, tree: &Tree, now: SystemTime) -> Result<Self, StatusCode> {
        let target = Target::parse(&request.target)?;
        match tree.find(&target.path)? {
            Found::File(..) if target.has_slash => Err(StatusCode::NOT_FOUND),
            Found::File(file, metadata) => {
                Ok(Self::file(request, &target.path, (file, &metadata), now))
            }
            Found::Directory(_) if !target.has_slash => {
                let moved = Self::refusal(StatusCode::MOVED_PERMANENTLY);
                Ok(moved.with("Location", &target.with_slash()))
            }
            Found::Directory(directory) => Self::directory(request, tree, &target, &directory, now),
        }
    }

    fn directory(
        request: &Request,
        tree: &Tree,
        target: &Target,
        directory: &File,
        now: SystemTime,
    ) -> Result<Self, StatusCode> {
        let index = target.path.join("index.html");
        match tree.find(&index) {
            Ok(Found::File(file, metadata)) => {
                return Ok(Self::file(request, &index, (file, &metadata), now));
            }
            Ok(Found::Directory(_)) | Err(StatusCode::NOT_FOUND) => {}
            Err(status) => return Err(status),
        }
        let page = listing::page(&target.title(), tree.list(&target.path, directory)?);
        Ok(Self::text(StatusCode::OK, page).with("Content-Type", "text/html; charset=utf-8"))
    }

    fn file(request: &Request, path: &Path, open: (File, &Metadata), now: SystemTime) -> Self {
        let (file, metadata) = open;
        let validators = Validators::of(metadata, now);
        let size = validators.size;
        let answer = match conditions::judge(&request.conditions, &validators, request.method, now)
        {
            Verdict::Whole => Self::of_file(StatusCode::OK, file, 0, size),
            Verdict::Part { first, length } => {
                let last = first + length - 1;
                Self::of_file(StatusCode::PARTIAL_CONTENT, file, first, length)
                    .with("Content-Range", &format!("bytes {first}-{last}/{size}"))
            }
            Verdict::NotModified => Self {
                status: StatusCode::NOT_MODIFIED,
                fields: String::new(),
                length: None,
                body: Body::Empty,
            },
            Verdict::Failed => return Self::refusal(StatusCode::PRECONDITION_FAILED),
            Verdict::Unsatisfiable => {
                return Self::refusal(StatusCode::RANGE_NOT_SATISFIABLE)
                    .with("Content-Range", &format!("bytes */{size}"));
            }
        };
        let answer = answer.with("ETag", &validators.etag);
        let answer = match validators.modified {
            Some(modified) => answer.with("Last-Modified", &httpdate::fmt_http_date(modified)),
            None => answer,
        };
        answer.with("Accept-Ranges", "bytes").with("Content-Type", media_type(path))
    }

    fn text(status: StatusCode, text: String) -> Self {
        let length = Some(units::wide(text.len()));
        Self { status, fields: String::new(), length, body: Body::Text(text) }
    }

    fn of_file(status: StatusCode, file: File, first: u64, length: u64) -> Self {
        let body = if length == 0 { Body::Empty } else { Body::File { file, first, length } };
        Self { status, fields: String::new(), length: Some(length), body }
    }

    /// Adds a field. Values are our own or percent-encoded, so none holds a line break.
    fn with(mut self, name: &str, value: &str) -> Self {
        debug_assert!(!value.contains(['\r', '\n']));
        for text in [name, ": ", value, "\r\n"] {
            self.fields.push_str(text);
        }
        self
    }

    /// The head as it goes over the wire, up to and including the blank line.
    pub(super) fn head(&self, now: SystemTime, afterwards: Afterwards) -> String {
        let reason = self.status.canonical_reason().unwrap_or("Unknown");
        let mut head = format!(
            "HTTP/1.1 {} {reason}\r\nServer: ringpull/{}\r\nDate: {}\r\n{}",
            self.status.as_u16(),
            env!("CARGO_PKG_VERSION"),
            httpdate::fmt_http_date(now),
            self.fields
        );
        if let Some(length) = self.length {
            write!(head, "Content-Length: {length}\r\n")
                .expect("proof: writing to a String cannot fail");
        }
        head.push_str(match afterwards {
            Afterwards::Close => "Connection: close\r\n\r\n",
            Afterwards::Keep(Version::Http10) => "Connection: keep-alive\r\n\r\n",
            Afterwards::Keep(Version::Http11) => "\r\n",
        });
        head
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_head_is_lines_of_fields_and_a_blank_one() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let answer = Answer::refusal(StatusCode::NOT_FOUND);
        let head = answer.head(now, Afterwards::Close);
        assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n"), "{head}");
        assert!(head.contains("\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), "{head}");
        assert!(head.contains("\r\nContent-Length: 14\r\n"), "{head}");
        assert!(head.ends_with("\r\nConnection: close\r\n\r\n"), "{head}");
        assert!(!answer.head(now, Afterwards::Keep(Version::Http11)).contains("Connection"));
    }
}
