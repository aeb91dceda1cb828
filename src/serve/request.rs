//! Reads one request head (RFC 9112 sections 2 to 6) out of the bytes that have arrived so far.
//!
//! It does no I/O and does not look at the file tree. Invariant: whatever the bytes are, the
//! outcome is "more", a request, or a status to refuse with; a refusal always ends the connection,
//! so that nothing is guessed about where the next request would begin.

use http::StatusCode;
use httparse::Status;

use super::conditions::Conditions;

/// What the bytes so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// The head is not whole yet.
    Partial,
    /// A request, and the length of its head in bytes.
    Whole(Request, usize),
    /// No request that could be answered otherwise than with this status.
    Refused(StatusCode),
}

/// A request head, reduced to what an answer depends on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: Method,
    /// The request target as it was sent.
    pub(super) target: String,
    pub(super) version: Version,
    /// Whether the connection may carry another request after this one.
    pub(super) persistent: bool,
    pub(super) conditions: Conditions,
}

/// The methods that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Other,
}

/// The HTTP versions that are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http10,
    Http11,
}

/// Reads a request head from the start of `bytes`, which hold at most [`HEAD_BYTES_MAX`].
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let mut fields = [httparse::EMPTY_HEADER; HEAD_FIELDS_MAX];
    let mut head = httparse::Request::new(&mut fields);
    match head.parse(bytes) {
        Ok(Status::Complete(length)) => match reduce(&head) {
            Ok(request) if request.target.len() > TARGET_BYTES_MAX => {
                Parsed::Refused(StatusCode::URI_TOO_LONG)
            }
            Ok(request) => Parsed::Whole(request, length),
            Err(status) => Parsed::Refused(status),
        },
        Ok(Status::Partial) if first_line(bytes).len() > TARGET_BYTES_MAX + LINE_REST_BYTES => {
            Parsed::Refused(StatusCode::URI_TOO_LONG)
        }
        Ok(Status::Partial) if bytes.len() >= HEAD_BYTES_MAX => {
            Parsed::Refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        }
        Ok(Status::Partial) => Parsed::Partial,
        Err(httparse::Error::TooManyHeaders) => {
            Parsed::Refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        }
        Err(httparse::Error::Version) if first_line(bytes).windows(6).any(|w| w == b" HTTP/") => {
            Parsed::Refused(StatusCode::HTTP_VERSION_NOT_SUPPORTED)
        }
        Err(_) => Parsed::Refused(StatusCode::BAD_REQUEST),
    }
}

fn first_line(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == b'\n').find(|line| !matches!(line, [] | [b'\r'])).unwrap_or(&[])
}

fn reduce(head: &httparse::Request<'_, '_>) -> Result<Request, StatusCode> {
    let version = if head.version == Some(0) { Version::Http10 } else { Version::Http11 };
    let field = |name: &str| combined(head.headers, name);
    // RFC 9112 section 3.2: a 1.1 request without exactly one Host is answered with 400.
    let hosts = head.headers.iter().filter(|h| h.name.eq_ignore_ascii_case("host")).count();
    if hosts > 1 || (hosts == 0 && version == Version::Http11) {
        return Err(StatusCode::BAD_REQUEST);
    }
    let connection = field("connection").unwrap_or_default();
    let says = |option: &str| connection.split(',').any(|o| o.trim().eq_ignore_ascii_case(option));
    // A body is not read, so what follows the head would be taken for the next request.
    let has_body = field("transfer-encoding").is_some()
        || field("content-length").is_some_and(|length| length != "0");
    let asked_for = match version {
        Version::Http10 => says("keep-alive") && !says("close"),
        Version::Http11 => !says("close"),
    };
    Ok(Request {
        method: match head.method {
            Some("GET") => Method::Get,
            Some("HEAD") => Method::Head,
            _ => Method::Other,
        },
        target: head.path.unwrap_or_default().to_owned(),
        version,
        persistent: asked_for && !has_body,
        conditions: Conditions {
            if_match: field("if-match"),
            if_none_match: field("if-none-match"),
            if_modified_since: field("if-modified-since"),
            if_unmodified_since: field("if-unmodified-since"),
            if_range: field("if-range"),
            range: field("range"),
        },
    })
}

/// All lines of a field as one value (RFC 9110 section 5.3). A field that may occur only once
/// becomes one that does not parse, which every reader of it takes as "not there".
fn combined(fields: &[httparse::Header<'_>], name: &str) -> Option<String> {
    let lines: Vec<_> = fields
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case(name))
        .map(|field| String::from_utf8_lossy(field.value))
        .collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// Most bytes of a request head: far above what clients send, small enough for a thousand
/// connections.
pub(super) const HEAD_BYTES_MAX: usize = 16 << 10;
/// Most fields of a request head.
const HEAD_FIELDS_MAX: usize = 64;
/// Most bytes of a request target: RFC 9112 section 3 asks for 8000 at least.
const TARGET_BYTES_MAX: usize = 8 << 10;
/// Room for the method and the version beside the target.
const LINE_REST_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Request {
        match parse(text.as_bytes()) {
            Parsed::Whole(request, length) => {
                assert_eq!(length, text.len());
                request
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn refused(text: &str) -> u16 {
        match parse(text.as_bytes()) {
            Parsed::Refused(status) => status.as_u16(),
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn every_prefix_of_a_head_is_partial() {
        let head = "GET /a?b HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\n\r\n";
        for end in 0..head.len() {
            assert_eq!(parse(&head.as_bytes()[..end]), Parsed::Partial, "{end}");
        }
        let request = whole(head);
        assert_eq!((request.method, request.target.as_str()), (Method::Get, "/a?b"));
        assert_eq!(request.conditions.range.as_deref(), Some("bytes=0-1"));
    }

    #[test]
    fn persistence_follows_version_connection_and_body() {
        let persistent = |head: &str| whole(head).persistent;
        assert!(persistent("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(!persistent("GET / HTTP/1.1\r\nHost: x\r\nConnection: TE, Close\r\n\r\n"));
        assert!(!persistent("GET / HTTP/1.0\r\n\r\n"));
        assert!(persistent("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
        assert!(!persistent("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"));
        assert!(persistent("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"));
        assert!(!persistent("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"));
    }

    #[test]
    fn what_is_no_request_is_refused_with_the_status_that_says_why() {
        assert_eq!(refused("\x16\x03\x01\x02\x00"), 400);
        assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), 400, "no host");
        assert_eq!(refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), 400);
        assert_eq!(refused("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), 400);
        assert_eq!(refused("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n"), 400);
        assert_eq!(refused("GET / FTP/1.1\r\n\r\n"), 400);
        assert_eq!(refused("PRI * HTTP/2.0\r\n\r\n"), 505);
        assert_eq!(refused(&format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(8192))), 414);
        assert_eq!(refused(&format!("GET /{}", "a".repeat(9000))), 414);
        let many = "a: b\r\n".repeat(HEAD_FIELDS_MAX + 1);
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n")), 431);
        let long = format!("GET / HTTP/1.1\r\nHost: x\r\na: {}", "b".repeat(HEAD_BYTES_MAX));
        assert_eq!(refused(&long[..HEAD_BYTES_MAX]), 431);
    }

    #[test]
    fn a_repeated_range_becomes_several_ranges() {
        let request =
            whole("GET / HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\nRange: bytes=2-3\r\n\r\n");
        assert_eq!(request.conditions.range.as_deref(), Some("bytes=0-1, bytes=2-3"));
    }
}
