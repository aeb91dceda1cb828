//! Turns a request target into a path below the served directory (RFC 9112 section 3.2).
//!
//! It does not look at the file tree. Invariant: the path is relative and has no `.`, `..`, empty
//! or NUL-holding component, so only a symbolic link could still lead out of the directory.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// Where a request points.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Relative to the served directory; empty for the directory itself.
    pub(super) path: PathBuf,
    /// Whether the target ends in a slash, as that of a directory does.
    pub(super) has_slash: bool,
    /// What follows the first question mark.
    query: Option<String>,
}

impl Target {
    /// Reads a target in origin form (`/a/b?c`) or absolute form (`http://host/a/b?c`).
    ///
    /// # Errors
    /// 400 for what is no target, 404 for one that no file can have.
    pub(super) fn parse(target: &str) -> Result<Self, StatusCode> {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let path = origin_form(path).ok_or(StatusCode::BAD_REQUEST)?;
        let mut below = PathBuf::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let name = decode(part).ok_or(StatusCode::BAD_REQUEST)?;
            if !can_be_named(&name) {
                return Err(StatusCode::NOT_FOUND);
            }
            below.push(OsStr::from_bytes(&name));
        }
        Ok(Self { path: below, has_slash: path.ends_with('/'), query })
    }

    /// The same target with a slash at its end, for a redirect. It begins with exactly one slash,
    /// so that no client takes its first component for a host.
    pub(super) fn with_slash(&self) -> String {
        let mut target = String::from("/");
        for name in &self.path {
            target.push_str(&encode(name.as_bytes()));
            target.push('/');
        }
        if let Some(query) = &self.query {
            target.push('?');
            target.push_str(query);
        }
        target
    }

    /// The decoded path as a reader expects it: `/a/b/`.
    pub(super) fn title(&self) -> String {
        let path = self.path.to_string_lossy();
        if path.is_empty() { "/".into() } else { format!("/{path}/") }
    }
}

/// Percent-encodes a file name for use as one component of a URL, `:` included, so that none looks
/// like a scheme.
pub(super) fn encode(name: &[u8]) -> String {
    percent_encode(name, &RESERVED).to_string()
}

/// Whether a file of this name is an unfinished download, which nobody must take for the file
/// itself.
pub(super) fn is_unfinished(name: &[u8]) -> bool {
    name.starts_with(b".ringpull-") && (name.ends_with(b".part") || name.ends_with(b".ledger"))
}

/// Whether a path goes through or to an unfinished download.
pub(super) fn names_unfinished(path: &Path) -> bool {
    path.iter().any(|name| is_unfinished(name.as_bytes()))
}

/// The path of either form, from its first slash.
fn origin_form(target: &str) -> Option<&str> {
    if target.starts_with('/') {
        return Some(target);
    }
    let (scheme, rest) = target.split_once("://")?;
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    known.then(|| rest.find('/').map_or("/", |start| &rest[start..]))
}

/// Percent-decodes one component; `None` if a `%` is not followed by two hex digits.
fn decode(part: &str) -> Option<Vec<u8>> {
    let is_sound = part
        .split('%')
        .skip(1)
        .all(|after| after.len() >= 2 && after.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit));
    is_sound.then(|| percent_decode_str(part).collect())
}

fn can_be_named(name: &[u8]) -> bool {
    !matches!(name, b"." | b"..") && !name.contains(&b'/') && !name.contains(&0)
}

const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    fn path(target: &str) -> Result<String, u16> {
        let target = Target::parse(target).map_err(|status| status.as_u16())?;
        Ok(target.path.to_str().unwrap().to_owned())
    }

    #[test]
    fn targets_name_paths_below_the_directory() {
        for (target, expected) in [
            ("/", ""),
            ("/a", "a"),
            ("/a/b%20c?d=e/f", "a/b c"),
            ("//a///b/", "a/b"),
            ("/%61%2e%62", "a.b"),
            ("/...", "..."),
            ("/a?%zz", "a"),
            ("http://host:80/a/b", "a/b"),
            ("HTTPS://host", ""),
            ("http://host?x=/y", ""),
        ] {
            assert_eq!(path(target), Ok(expected.into()), "{target}");
        }
        let odd = Target::parse("/%ff%0a").unwrap();
        assert_eq!(odd.path.as_os_str().as_bytes(), b"\xff\n");
    }

    #[test]
    fn no_target_climbs_out() {
        for target in [
            "/..",
            "/../etc/passwd",
            "/a/../../b",
            "/%2e%2e/b",
            "/.%2E/b",
            "/a%2f..%2f..%2fb",
            "/a%00",
            "/.",
            "/a/.",
        ] {
            assert_eq!(path(target), Err(404), "{target}");
        }
        for target in ["", "*", "a", "..", "/%", "/%2", "/%zz", "/a%é", "ftp://host/a", "host:80"]
        {
            assert_eq!(path(target), Err(400), "{target}");
        }
    }

    #[test]
    fn a_redirect_never_names_another_host() {
        let slashed = |target: &str| Target::parse(target).unwrap().with_slash();
        assert_eq!(slashed("//evil.example/a"), "/evil.example/a/");
        assert_eq!(slashed("/a%0d%0ab?q=1"), "/a%0D%0Ab/?q=1");
        assert_eq!(slashed("/%5cevil"), "/%5Cevil/");
    }

    #[test]
    fn unfinished_downloads_are_recognised() {
        assert!(names_unfinished(Path::new("d/.ringpull-0123.part")));
        assert!(is_unfinished(b".ringpull-0123.ledger"));
        assert!(!is_unfinished(b".ringpull-notes.txt") && !is_unfinished(b".hidden"));
    }
}
