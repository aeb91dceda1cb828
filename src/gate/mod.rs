//! Judges an answer before a byte of its body is written.
//!
//! It sees the head alone: what was asked, what came back, and what is known of the file. It moves no bytes
//! and tries nothing again. A [`Verdict::Body`] lies where it was asked for, within the file, and belongs
//! to the version that is known; everything else is turned away with the reason.

mod body;
#[cfg(test)]
mod properties;
mod range;
mod refusal;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod validator_properties;
mod version;

use std::ops::Range;
use std::time::SystemTime;

use http::{HeaderMap, StatusCode};

use crate::error::{Error, Kind};

pub(crate) use self::body::is_keep_alive;
pub(crate) use self::refusal::may_have_expired;
pub(crate) use self::version::Version;

/// The head of a final response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    /// The status code.
    pub status: StatusCode,
    /// The version of HTTP that the server speaks.
    pub http: http::Version,
    /// The header fields.
    pub headers: &'a HeaderMap,
}

/// What one request asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ask {
    /// The bytes, as file offsets; an end of `u64::MAX` leaves it open. `None`: the whole file, without a
    /// Range field.
    pub range: Option<Range<u64>>,
}

/// A body that may be written, and where.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// File offset of the first wanted byte.
    pub offset: u64,
    /// Body bytes in front of it, to be dropped.
    pub skip: u64,
    /// Wanted bytes from `offset`; `None` if only the end of the body tells. At most what was asked in an
    /// answer to a range, the whole file otherwise.
    pub length: Option<u64>,
    /// What ends the body.
    pub framing: Framing,
    /// The version of the file that the body belongs to.
    pub version: Version,
    /// Whether the server answered the range (206) rather than with the whole file (200).
    pub ranged: bool,
    /// Whether the connection can serve another request after the skipped and the wanted bytes.
    pub reusable: bool,
    /// The Content-Disposition field, as it came.
    pub disposition: Option<String>,
}

/// What ends a body (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// This many bytes, skipped and surplus ones included.
    Sized(u64),
    /// The last chunk, or the end of the stream in HTTP/2.
    Chunked,
    /// The end of the connection.
    UntilClose,
}

/// What becomes of an answer.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The body may be written.
    Body(Answer),
    /// The file has no bytes.
    Empty(Version),
    /// The file is elsewhere: the Location field, as it came.
    Redirect(String),
    /// The file is no longer the one that is known; says what changed.
    Changed(String),
    /// Ranges do not work here: the file has to be fetched in one stream. Says why.
    Unranged(String),
    /// The answer is none.
    Failed(Error),
}

impl Ask {
    /// The value of the Range field (RFC 9110 section 14.2); `None` where the whole file is asked for.
    ///
    /// # Panics
    /// If the range is empty: there is no way to ask for nothing.
    pub(crate) fn header(&self) -> Option<String> {
        let Range { start, end } = self.range.clone()?;
        assert!(start < end, "an empty range cannot be asked for");
        Some(match end {
            u64::MAX => format!("bytes={start}-"),
            _ => format!("bytes={start}-{}", end - 1),
        })
    }

    /// File offset of the first byte that is asked for.
    pub(crate) fn first(&self) -> u64 {
        self.range.as_ref().map_or(0, |range| range.start)
    }
}

/// Judges the head of an answer to `ask`. `known` is what earlier answers said of the file.
///
/// `now` stands in for the server's clock where a response without a Date asks to wait until a date.
/// Sentences do not name the URL; remote strings in them are escaped, those in [`Verdict::Redirect`] and
/// the fields are raw.
pub(crate) fn judge(
    head: &Head<'_>,
    ask: &Ask,
    known: Option<&Version>,
    now: SystemTime,
) -> Verdict {
    let judged = match head.status.as_u16() {
        200 => body::whole(head, ask, known),
        206 => body::part(head, ask, known),
        301 | 302 | 303 | 307 | 308 => refusal::redirect(head),
        412 => Ok(Verdict::Changed("the server has another version than the one asked for".into())),
        416 => body::unsatisfiable(head, ask, known),
        _ => Err(refusal::error(head, now)),
    };
    judged.unwrap_or_else(Verdict::Failed)
}

/// An answer that breaks HTTP, or does not answer what was asked.
fn broken(message: impl Into<String>) -> Error {
    Error::new(Kind::Protocol, message)
}
