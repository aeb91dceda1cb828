//! Checks the header fields of `--header`.
//!
//! Invariant: no field passes that would change what a request asks for, how its connection is
//! framed, or where a line ends.

use http::{HeaderName, HeaderValue};

use super::config::usage;
use crate::error::{Escaped, Result};
use crate::wire::is_ours;

/// Reads `Name: value`. The value counts as a secret: it is not shown by `Debug`.
///
/// # Errors
/// [`Kind::Usage`](crate::error::Kind::Usage); the sentence never holds the value.
pub(super) fn parse(text: &str) -> Result<(HeaderName, HeaderValue)> {
    let Some((name, rest)) = text.split_once(':') else {
        return Err(usage("--header wants 'Name: value'"));
    };
    let shown = Escaped(name);
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| usage(format!("--header: \"{shown}\" is not a field name")))?;
    if is_ours(&parsed) {
        return Err(usage(format!(
            "--header: {shown} is set by ringpull itself and cannot be given"
        )));
    }
    if rest.trim_matches([' ', '\t']).is_empty() {
        return Err(usage(format!("--header: {shown} has no value; write '{shown}: value'")));
    }
    let value = value(&format!("--header {shown}"), rest)?;
    Ok((parsed, value))
}

/// Reads the value of a header field given with `option`: no control characters, blanks around it
/// dropped (RFC 9110 section 5.5).
///
/// # Errors
/// [`Kind::Usage`](crate::error::Kind::Usage); the sentence never holds the value.
pub(super) fn value(option: &str, text: &str) -> Result<HeaderValue> {
    let mut value =
        HeaderValue::from_bytes(text.trim_matches([' ', '\t']).as_bytes()).map_err(|_| {
            usage(format!("{option}: the value holds a line break or another control character"))
        })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether a field of this name probably holds a secret: the registered ones, and what services call theirs
/// (`X-Api-Key`, `Private-Token`).
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["authorization", "cookie", "key", "password", "secret", "token"]
        .iter()
        .any(|word| name.contains(word))
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_and_kept_secret() {
        let (name, value) = parse("X-Key:  s3cret ").unwrap();
        assert_eq!((name.as_str(), value.as_bytes()), ("x-key", &b"s3cret"[..]));
        assert!(!format!("{value:?}").contains("s3cret"));
        assert_eq!(parse("Referer: http://h:1/").unwrap().1.as_bytes(), b"http://h:1/");
    }

    #[test]
    fn the_fields_that_ringpull_sets_are_refused() {
        for name in ["range", "content-length", "transfer-encoding", "te", "if-range"] {
            let said = parse(&format!("{}: x", name.to_uppercase())).unwrap_err().to_string();
            assert!(said.contains("set by ringpull"), "{said}");
        }
    }

    #[test]
    fn a_field_cannot_smuggle_another_line() {
        for text in [
            "A: b\r\nRange: bytes=0-",
            "A: b\nC: d",
            "A\r\nB: c",
            "A : b",
            ": b",
            "A:",
            "A:  ",
            "A",
            "@file",
            "A: \0",
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert_eq!(error.to_string().lines().count(), 1);
        }
    }
}
