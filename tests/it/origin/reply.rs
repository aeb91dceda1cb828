//! What the origin answers: an honest reply first, then a script bends it.
//!
//! A reply is plain data: status, verbatim header lines, a body, and what goes wrong on the way. The knobs
//! compose.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use super::file::{File, Validator};
use super::latch::Latch;
use super::request::Request;

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// Code and phrase: `206 Partial Content`.
    pub(crate) status: String,
    /// Header lines, verbatim and without their line ends.
    pub(crate) lines: Vec<String>,
    pub(crate) body: Body,
    /// Interim responses sent first, verbatim.
    pub(crate) interim: Vec<u8>,
    /// Sent instead of status and headers.
    pub(crate) raw_head: Option<Vec<u8>>,
    pub(crate) line_end: &'static str,
    /// Lengths of the chunks, over and over; `None` sends the body as it is.
    pub(crate) chunks: Option<Vec<usize>>,
    /// Appended to each chunk size, such as `;name=value`.
    pub(crate) chunk_extension: &'static str,
    /// What follows the last chunk: `0`, trailers, the empty line.
    pub(crate) chunk_end: String,
    /// Sent after the body.
    pub(crate) surplus: Vec<u8>,
    /// Waited for before the first byte.
    pub(crate) latch: Option<Latch>,
    /// Waited for between head and body.
    pub(crate) body_latch: Option<Latch>,
    /// Bytes at a time, and the time between.
    pub(crate) dribble: Option<(usize, Duration)>,
    /// What happens after so many bytes of the head.
    pub(crate) cut_head: Option<(usize, Cut)>,
    /// Bytes of the head at a time, and the time between.
    pub(crate) dribble_head: Option<(usize, Duration)>,
    /// What happens after so many body bytes.
    pub(crate) cut: Option<(u64, Cut)>,
    /// Whether the connection is closed after the reply.
    pub(crate) close: bool,
}

/// How an answer ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// RST.
    Reset,
    /// FIN; over TLS without close_notify.
    Close,
    /// Silence until the client goes away.
    Stall,
}

/// The bytes of a body.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    File(File, Range<u64>),
    Bytes(Vec<u8>),
    /// These bytes over and over, up to a length.
    Repeated(&'static [u8], u64),
}

impl Body {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::File(_, span) => span.end - span.start,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Repeated(_, length) => *length,
        }
    }

    pub(crate) fn read(&self, at: u64, out: &mut [u8]) {
        match self {
            Self::File(file, span) => file.read(span.start + at, out),
            Self::Bytes(bytes) => {
                let at = usize::try_from(at).unwrap();
                out.copy_from_slice(&bytes[at..at + out.len()]);
            }
            Self::Repeated(bytes, _) => {
                let first = usize::try_from(at % bytes.len() as u64).unwrap();
                let bytes = bytes.iter().cycle().skip(first);
                out.iter_mut().zip(bytes).for_each(|(out, byte)| *out = *byte);
            }
        }
    }
}

impl Reply {
    /// A status with a short text.
    pub(crate) fn status(status: &str) -> Self {
        Self::with_body(status, Body::Bytes(format!("{status}\n").into_bytes()))
    }

    pub(crate) fn redirect(status: &str, location: &str) -> Self {
        Self::status(status).set("Location", location)
    }

    /// No byte at all: the connection ends before the answer.
    pub(crate) fn hang_up() -> Self {
        Self::raw("")
    }

    /// Exactly these bytes, then the end of the connection.
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        let mut reply = Self::with_body("", Body::Bytes(Vec::new())).closing();
        reply.raw_head = Some(bytes.into());
        reply
    }

    /// What a good server says to `request` for `file`, by RFC 9110 sections 13.2.2, 14.2 and 14.4.
    pub(crate) fn honest(file: &File, request: &Request) -> Self {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let modified = match file.validator {
            Validator::Strong | Validator::Date => Some(httpdate::fmt_http_date(file.modified())),
            Validator::FreshDate => Some(date.clone()),
            Validator::Weak | Validator::None => None,
        };
        let etag = match file.validator {
            Validator::Strong => Some(file.etag()),
            Validator::Weak => Some(format!("W/{}", file.etag())),
            _ => None,
        };
        let condition_holds = request.header("if-range").is_none_or(|condition| {
            Some(condition) == etag.as_deref().filter(|etag| !etag.starts_with("W/"))
                || (matches!(file.validator, Validator::Date | Validator::Strong)
                    && Some(condition) == modified.as_deref())
        });
        let range = request.range.clone().filter(|_| condition_holds && request.method == "GET");
        let mut reply = match range {
            None => Self::whole(file),
            Some(range) if range.start >= file.size => Self::status("416 Range Not Satisfiable")
                .set("Content-Range", &format!("bytes */{}", file.size)),
            Some(range) => Self::part(file, range.start..range.end.min(file.size)),
        };
        if request.header("if-match").is_some_and(|wanted| Some(wanted) != etag.as_deref()) {
            reply = Self::status("412 Precondition Failed");
        }
        reply = reply.set("Accept-Ranges", "bytes").set("Date", &date);
        for (name, value) in [("Last-Modified", modified), ("ETag", etag)] {
            if let Some(value) = value {
                reply = reply.set(name, &value);
            }
        }
        if reply.is_still(request) { reply.unmodified() } else { reply }
    }

    /// Whether the request names the version of this reply as one that it has (RFC 9110 sections 13.1.2 and
    /// 13.1.3).
    fn is_still(&self, request: &Request) -> bool {
        let is_success = self.status.starts_with('2');
        let own = |name: &str| {
            let prefix = format!("{name}: ");
            self.lines.iter().find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
        };
        let opaque = |tag: &str| tag.trim_start_matches("W/").to_owned();
        match (request.header("if-none-match"), request.header("if-modified-since")) {
            (Some(known), _) => {
                is_success && own("ETag").is_some_and(|tag| opaque(&tag) == opaque(known))
            }
            (None, Some(known)) => is_success && own("Last-Modified").as_deref() == Some(known),
            (None, None) => false,
        }
    }

    /// A 304 with the fields of this reply, and no body.
    pub(crate) fn unmodified(self) -> Self {
        let mut reply = self.without("Content-Length").body(Body::Bytes(Vec::new()));
        reply.status = "304 Not Modified".to_owned();
        reply
    }

    /// The whole of `file` with its size as the only thing known, whatever was asked.
    pub(crate) fn whole(file: &File) -> Self {
        Self::with_body("200 OK", Body::File(*file, 0..file.size))
    }

    /// A 206 with these bytes of `file`, whatever was asked.
    pub(crate) fn part(file: &File, span: Range<u64>) -> Self {
        let content_range = format!("bytes {}-{}/{}", span.start, span.end - 1, file.size);
        Self::with_body("206 Partial Content", Body::File(*file, span))
            .set("Content-Range", &content_range)
    }

    fn with_body(status: &str, body: Body) -> Self {
        Self {
            status: status.to_owned(),
            lines: vec![format!("Content-Length: {}", body.len())],
            body,
            interim: Vec::new(),
            raw_head: None,
            line_end: "\r\n",
            chunks: None,
            chunk_extension: "",
            chunk_end: "0\r\n\r\n".to_owned(),
            surplus: Vec::new(),
            latch: None,
            body_latch: None,
            dribble: None,
            cut_head: None,
            dribble_head: None,
            cut: None,
            close: false,
        }
    }

    pub(crate) fn is_part(&self) -> bool {
        self.status.starts_with("206")
    }

    /// Replaces a header.
    pub(crate) fn set(self, name: &str, value: &str) -> Self {
        self.without(name).line(format!("{name}: {value}"))
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        let prefix = format!("{}:", name.to_ascii_lowercase());
        self.lines.retain(|line| !line.to_ascii_lowercase().starts_with(&prefix));
        self
    }

    /// Adds a header line, verbatim.
    pub(crate) fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Sends the body in chunks of these lengths, over and over.
    pub(crate) fn chunked(mut self, lengths: &[usize]) -> Self {
        self.chunks = Some(lengths.to_vec());
        self.without("Content-Length").set("Transfer-Encoding", "chunked")
    }

    /// Leaves out the length; the end of the connection is the end of the body.
    pub(crate) fn until_close(self) -> Self {
        self.without("Content-Length").closing()
    }

    pub(crate) fn closing(mut self) -> Self {
        self.close = true;
        self.set("Connection", "close")
    }

    /// Ends the answer after so many bytes of its head.
    pub(crate) fn cut_head(mut self, after: usize, cut: Cut) -> Self {
        self.cut_head = Some((after, cut));
        self
    }

    /// Ends the answer after so many body bytes. Nothing happens if the body is shorter.
    pub(crate) fn cut(mut self, after: u64, cut: Cut) -> Self {
        self.cut = Some((after, cut));
        self
    }

    /// Keeps the head and sends other bytes.
    pub(crate) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    pub(crate) fn interim(mut self, head: &str, count: usize) -> Self {
        self.interim = head.repeat(count).into_bytes();
        self
    }

    pub(crate) fn surplus(mut self, bytes: &[u8]) -> Self {
        self.surplus = bytes.to_vec();
        self
    }

    /// Waits for the latch before the first byte.
    pub(crate) fn after(mut self, latch: &Latch) -> Self {
        self.latch = Some(latch.clone());
        self
    }

    /// Waits for the latch before the first byte of the body.
    pub(crate) fn body_after(mut self, latch: &Latch) -> Self {
        self.body_latch = Some(latch.clone());
        self
    }

    pub(crate) fn dribble_head(mut self, bytes: usize, every: Duration) -> Self {
        self.dribble_head = Some((bytes, every));
        self
    }

    pub(crate) fn dribble(mut self, bytes: usize, every: Duration) -> Self {
        self.dribble = Some((bytes, every));
        self
    }
}
