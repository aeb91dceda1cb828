//! One request as the origin saw it.

use std::io::{self, Read};
use std::ops::Range;

/// Most bytes of a request head that the origin reads.
const HEAD_MAX: usize = 64 << 10;

/// A request, with its place among the others. All counts begin at 0.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The request target, query included.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    /// The one byte range asked for; an open end is `u64::MAX`.
    pub(crate) range: Option<Range<u64>>,
    /// Number of the connection it came on.
    pub(crate) connection: usize,
    /// Number of requests before it on this connection.
    pub(crate) turn: usize,
    /// Number of requests before it for this path.
    pub(crate) nth: usize,
    /// Number of open connections that are not younger than this one, itself included.
    pub(crate) open: usize,
    /// Whether another waits behind it on the connection. Not told under TLS.
    pub(crate) has_followers: bool,
    /// Whether the connection shows a client certificate.
    pub(crate) certified: bool,
}

impl Request {
    /// Reads one head; `None` when the connection ended instead.
    pub(crate) fn read(stream: &mut impl Read) -> io::Result<Option<Self>> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read(&mut byte)? == 0 {
                return Ok(None);
            }
            head.push(byte[0]);
            assert!(head.len() <= HEAD_MAX, "a request head of more than {HEAD_MAX} bytes");
        }
        Ok(Some(Self::parse(&head)))
    }

    fn parse(head: &[u8]) -> Self {
        let mut fields = [httparse::EMPTY_HEADER; 128];
        let mut parsed = httparse::Request::new(&mut fields);
        let done = parsed.parse(head).expect("the client sends a well-formed request");
        assert!(done.is_complete());
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).expect("an ASCII header value");
        let headers: Vec<_> =
            parsed.headers.iter().map(|field| (field.name.to_owned(), text(field.value))).collect();
        let mut request = Self {
            method: parsed.method.unwrap().to_owned(),
            path: parsed.path.unwrap().to_owned(),
            headers,
            range: None,
            connection: 0,
            turn: 0,
            nth: 0,
            open: 0,
            has_followers: false,
            certified: false,
        };
        request.range = request.header("range").map(parse_range);
        request
    }

    /// What tells it from the others, for a log.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "nth": self.nth,
            "connection": self.connection,
            "turn": self.turn,
            "open": self.open,
            "method": self.method,
            "path": self.path,
            "range": self.header("range"),
            "if_range": self.header("if-range"),
        })
    }

    /// The value of a header that is sent at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is sent twice: {self:?}");
        value
    }

    /// The request as if it had come without this header.
    pub(crate) fn without(&self, name: &str) -> Self {
        let mut request = self.clone();
        request.headers.retain(|(found, _)| !found.eq_ignore_ascii_case(name));
        if name.eq_ignore_ascii_case("range") {
            request.range = None;
        }
        request
    }
}

/// The client under test asks for one range at a time; anything else fails the test.
fn parse_range(value: &str) -> Range<u64> {
    try_range(value).unwrap_or_else(|| panic!("not a single byte range: {value}"))
}

fn try_range(value: &str) -> Option<Range<u64>> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let first: u64 = first.parse().ok()?;
    let end = if last.is_empty() { u64::MAX } else { last.parse::<u64>().ok()? + 1 };
    (first < end).then_some(first..end)
}
