//! Heads and bodies as they come from a socket, against a second reader: `httparse` for heads, the few lines
//! here for chunks.

use std::time::SystemTime;

use super::Input;
use crate::error::{Kind, Result};
use crate::gate::{self, Ask, Framing, Head, Verdict};
use crate::limits::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX, INTERIM_MAX};
use crate::wire::playback::{Played, play, play_near};

/// A response, in the parts that the first line tells; each of its bytes is the length of one.
pub fn head(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let cuts = input.line();
    let stream = input.rest();
    let played = play_both(cuts, stream);
    let second = heads(stream);
    match (&played, &second) {
        (Ok(played), Some(second)) => {
            assert_eq!(played.head_bytes, second.bytes, "the head ends elsewhere");
            assert_eq!(played.status.as_u16(), second.status);
            assert_eq!(played.headers.len(), second.fields.len());
            for (name, value) in &second.fields {
                let values = played.headers.get_all(name);
                assert!(values.iter().any(|other| other.as_bytes() == value), "{name} is lost");
            }
            body_is(played, &stream[second.bytes..]);
        }
        (Ok(played), None) => panic!("a head that is none: {played:?}"),
        (Err(error), _) => {
            assert_ne!(error.kind(), Kind::Stall, "it waits for what has come");
            super::is_harmless(&error.to_string());
            assert!(second.is_none_or(|second| !second.is_plain()), "refused: {error}");
        }
    }
}

/// A body in chunks behind a head of ours, in the parts that the first line tells.
pub fn chunked(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let cuts = input.line();
    let mut stream = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let head_bytes = stream.len();
    stream.extend_from_slice(input.rest());
    let played = play_both(cuts, &stream).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(played.head_bytes, head_bytes);
    body_is(&played, &stream[head_bytes..]);
}

/// Plays a stream in its parts and at once, to hyper alone and on a connection that stays with its thread:
/// what a client makes of it must not depend on that.
fn play_both(cuts: &[u8], stream: &[u8]) -> Result<Played> {
    let whole = play(&[stream], 4096);
    are_same(&whole, &play_near(&[stream], 4096));
    let Some(first) = cuts.first() else { return whole };
    let parts = parts(cuts, stream);
    let parted = play(&parts, 1 + usize::from(*first));
    are_same(&whole, &parted);
    are_same(&parted, &play_near(&parts, 1 + usize::from(*first)));
    parted
}

fn are_same(one: &Result<Played>, other: &Result<Played>) {
    match (one, other) {
        (Ok(one), Ok(other)) => {
            assert_eq!((one.status, one.http), (other.status, other.http));
            assert_eq!((&one.headers, one.head_bytes), (&other.headers, other.head_bytes));
            let kinds = [one, other].map(|played| played.broken.as_ref().map(|error| error.kind()));
            assert_eq!(kinds[0], kinds[1]);
            // How much of a broken body is still handed out is left open.
            if one.broken.is_none() {
                assert_eq!(one.body, other.body);
            }
        }
        // A head that is none is noticed at once or at its end.
        (Err(one), Err(other)) => {
            assert!(one.kind().is_transient() && other.kind().is_transient(), "{one}, or {other}");
        }
        (one, other) => panic!("{one:?}, or {other:?}"),
    }
}

/// Cuts a stream: each byte of `cuts` is the length of a part, again and again.
fn parts<'a>(cuts: &[u8], mut stream: &'a [u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    for cut in cuts.iter().cycle() {
        if stream.is_empty() || parts.len() == PARTS_MAX {
            break;
        }
        let (part, rest) = stream.split_at(stream.len().min(1 + usize::from(*cut)));
        parts.push(part);
        stream = rest;
    }
    parts.push(stream);
    parts
}

/// Fails if a body that the gate lets pass is not what stands behind the head.
fn body_is(played: &Played, rest: &[u8]) {
    let head = Head { status: played.status, http: played.http, headers: &played.headers };
    let ask = Ask { range: Some(0..u64::MAX) };
    let Verdict::Body(answer) = gate::judge(&head, &ask, None, SystemTime::UNIX_EPOCH) else {
        return;
    };
    let (wanted, is_whole) = match answer.framing {
        Framing::Sized(length) => {
            let end = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
            (rest[..end].to_vec(), u64::try_from(end) == Ok(length))
        }
        Framing::Chunked => dechunked(rest),
        Framing::UntilClose => (rest.to_vec(), true),
    };
    assert!(wanted.starts_with(&played.body), "bytes that the server did not send");
    match &played.broken {
        None => {
            assert!(is_whole, "a truncated body counts as complete");
            assert_eq!(played.body, wanted);
        }
        Some(error) => {
            super::is_harmless(&error.to_string());
            let is_plain = answer.framing != Framing::Chunked || is_plainly_chunked(rest);
            assert!(!(is_whole && is_plain), "a whole body is refused: {error}");
        }
    }
}

/// Takes the chunks off (RFC 9112 section 7.1) as far as they go, and says whether the last one came.
fn dechunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = std::str::from_utf8(&rest[..digits]).ok();
        let size = size.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let (Some(size), Some(end)) = (size, line_end(rest)) else { return (body, false) };
        if !is_extension(&rest[digits..end]) {
            return (body, false);
        }
        rest = &rest[end + 2..];
        if size == 0 {
            return (body, ends(rest));
        }
        let length = usize::try_from(size).unwrap_or(usize::MAX).min(rest.len());
        body.extend_from_slice(&rest[..length]);
        match rest[length..].strip_prefix(b"\r\n") {
            Some(next) => rest = next,
            None => return (body, false),
        }
    }
}

fn is_extension(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    text.is_empty() || text.starts_with(b";")
}

/// Whether trailers and the empty line behind them follow.
fn ends(mut rest: &[u8]) -> bool {
    while let Some(end) = line_end(rest) {
        if end == 0 {
            return true;
        }
        rest = &rest[end + 2..];
    }
    false
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair == b"\r\n")
}

/// Whether chunks have no extensions and no trailers, so that nobody has a reason to refuse them.
fn is_plainly_chunked(mut rest: &[u8]) -> bool {
    while let Some(end) = line_end(rest).filter(|end| (1..=8).contains(end)) {
        let size = std::str::from_utf8(&rest[..end]).ok();
        let size = size.and_then(|digits| u32::from_str_radix(digits.trim_start(), 16).ok());
        match size.and_then(|size| usize::try_from(size).ok()) {
            None => return false,
            Some(0) => return rest[end + 2..].starts_with(b"\r\n"),
            Some(size) => rest = rest.get(end + size + 4..).unwrap_or_default(),
        }
    }
    false
}

/// What `httparse` reads.
struct Second {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    /// Bytes of all heads.
    bytes: usize,
    interim: u32,
}

impl Second {
    /// Whether nothing about the head is a reason to refuse it.
    fn is_plain(&self) -> bool {
        let framed = ["content-length", "transfer-encoding", "connection", "upgrade"];
        let is_framed = |(name, _): &(String, _)| framed.contains(&name.as_str());
        (200..600).contains(&self.status)
            && self.interim <= INTERIM_MAX
            && self.fields.len() <= HEAD_FIELDS_MAX
            && self.bytes <= HEAD_BYTES_MAX
            && !self.fields.iter().any(is_framed)
    }
}

/// Reads all heads of a stream; `None` if the final one is not whole or not one.
fn heads(stream: &[u8]) -> Option<Second> {
    let (mut bytes, mut interim) = (0, 0);
    loop {
        let mut fields = [httparse::EMPTY_HEADER; HEAD_FIELDS_MAX * 2];
        let mut head = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(length)) = head.parse(&stream[bytes..]) else {
            return None;
        };
        bytes += length;
        let status = head.code?;
        if (100..200).contains(&status) && status != 101 {
            interim += 1;
            continue;
        }
        let own =
            |field: &httparse::Header<'_>| (field.name.to_ascii_lowercase(), field.value.to_vec());
        let fields = head.headers.iter().map(own).collect();
        return Some(Second { status, fields, bytes, interim });
    }
}

/// Parts that a stream is cut into at most; the last one holds the rest.
const PARTS_MAX: usize = 512;
