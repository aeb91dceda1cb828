//! A server that changes its file, breaks off, refuses and lies, but only in ways that show: under the
//! validators of a version it never sends the bytes of another.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::error::Kind;
use crate::gate::Ask;

/// One version of the file.
#[derive(Clone, Debug)]
pub(super) struct FileVersion {
    pub(super) size: u64,
    etag: Option<String>,
    modified: Option<String>,
}

pub(super) struct Server {
    pub(super) versions: Vec<FileVersion>,
    /// When the next version takes the place of each.
    changes: Vec<Duration>,
    /// Whole files come without their length.
    is_chunked: bool,
    /// It never answers with a part.
    is_rangeless: bool,
    /// One answer of so many is bad.
    pub(super) lies_one_in: u32,
}

/// An answer: its head, and what comes behind it.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

/// The bytes of a body, in the terms of the version that they come from.
#[derive(Clone, Debug)]
pub(super) struct Body {
    pub(super) version: usize,
    /// The next byte.
    pub(super) at: u64,
    /// Bytes until `fate`.
    pub(super) left: u64,
    pub(super) fate: Fate,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// As it should.
    Whole,
    Reset,
    Stall,
}

impl Server {
    pub(super) fn new(rng: &mut Rng, block_size: u64) -> Self {
        let kind = rng.u8(0..10);
        let size = |rng: &mut Rng| {
            let blocks = if rng.u8(0..4) == 0 { 40 } else { 12 };
            let whole = rng.u64(0..blocks) * block_size;
            whole + rng.u64(1..=block_size)
        };
        let first = size(rng);
        let count = if rng.bool() { 1 } else { rng.usize(2..5) };
        let versions = (0..count).map(|number| FileVersion {
            // Many changes leave the size as it is.
            size: if rng.bool() { first } else { size(rng) },
            etag: match kind {
                0..=5 => Some(format!("\"v{number}\"")),
                6 => Some(format!("W/\"v{number}\"")),
                _ => None,
            },
            modified: (kind < 9).then(|| date(1_000_000 + 10 * number as u64)),
        });
        let versions: Vec<_> = versions.collect();
        let mut at = Duration::ZERO;
        let changes = (1..count).map(|_| {
            at += Duration::from_millis(rng.u64(0..20_000));
            at
        });
        let changes = changes.collect();
        let lies_one_in = *rng.choice(&[2, 4, 10, 100]).unwrap_or(&10);
        let (is_chunked, is_rangeless) = (rng.u8(0..8) == 0, rng.u8(0..8) == 0);
        Self { versions, changes, is_chunked, is_rangeless, lies_one_in }
    }

    pub(super) fn current(&self, now: Duration) -> usize {
        self.changes.iter().filter(|at| **at <= now).count()
    }

    /// From now on it tells the truth, and the file stays as it is.
    pub(super) fn calm(&mut self, now: Duration) {
        self.lies_one_in = 0;
        self.changes.retain(|at| *at <= now);
    }

    /// Answers a request, or does not.
    pub(super) fn answer(
        &self,
        rng: &mut Rng,
        now: Duration,
        ask: &Ask,
        condition: Option<&str>,
    ) -> Result<Reply, Kind> {
        let lies = self.lies_one_in > 0 && rng.u32(0..self.lies_one_in) == 0;
        let mut number = self.current(now);
        let lie = if lies { rng.u8(1..26) } else { 0 };
        match lie {
            1 => return Err(Kind::Connect),
            2 | 3 => return Err(Kind::Reset),
            4 => return Err(Kind::Stall),
            // A server behind the others.
            5 => number = number.saturating_sub(1),
            _ => {}
        }
        let mut reply = self.honest(number, ask, condition);
        if lie > 5 {
            self.bend(lie, rng, &mut reply, ask);
        }
        Ok(reply)
    }

    fn honest(&self, number: usize, ask: &Ask, condition: Option<&str>) -> Reply {
        let version = &self.versions[number];
        let ours = [version.etag.as_deref(), version.modified.as_deref()];
        let matches = condition.is_none() || ours.contains(&condition);
        let range = ask.range.clone().filter(|_| matches && !self.is_rangeless);
        let mut reply = match range {
            Some(range) if range.start >= version.size => {
                let mut reply = status(416);
                set(&mut reply, "content-range", &format!("bytes */{}", version.size));
                return reply;
            }
            Some(range) => part(number, range.start, range.end.min(version.size), version.size),
            None => {
                let mut reply = status(200);
                reply.body = Body { version: number, at: 0, left: version.size, fate: Fate::Whole };
                match self.is_chunked {
                    true => set(&mut reply, "transfer-encoding", "chunked"),
                    false => set(&mut reply, "content-length", &version.size.to_string()),
                }
                reply
            }
        };
        for (name, value) in [("etag", &version.etag), ("last-modified", &version.modified)] {
            if let Some(value) = value {
                set(&mut reply, name, value);
            }
        }
        set(&mut reply, "content-type", "application/octet-stream");
        set(&mut reply, "date", &date(2_000_000));
        reply
    }

    fn bend(&self, lie: u8, rng: &mut Rng, reply: &mut Reply, ask: &Ask) {
        let number = reply.body.version;
        let size = self.versions[number].size;
        let first = ask.first().min(size - 1);
        let keep = reply.headers.clone();
        let moved = |reply: &mut Reply, start: u64, end: u64, total: u64| {
            let bent = part(number, start, end.max(start + 1), total);
            let fields = bent.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
            let mut headers = keep.clone();
            headers.remove("transfer-encoding");
            headers.extend(fields);
            *reply = Reply { headers, ..bent };
        };
        match lie {
            6 => *reply = self.honest(number, &Ask { range: None }, None),
            7 => moved(reply, rng.u64(0..size), size, size),
            8 => moved(reply, first.saturating_sub(rng.u64(0..5)), size, size),
            9 => moved(reply, first, rng.u64(first..size) + 1, size),
            10 => moved(
                reply,
                first + rng.u64(0..2).min(size - 1 - first),
                size,
                size + rng.u64(0..9),
            ),
            // A whole file that claims to be shorter than it is cannot be told from one that is.
            11 if reply.status == 200 => set(reply, "content-length", &(size + 1).to_string()),
            11 => set(reply, "content-length", &rng.u64(1..=size).to_string()),
            12 => drop(reply.headers.remove("content-range")),
            13 => *reply = status(416),
            14 => drop(
                reply
                    .headers
                    .remove(*rng.choice(&["etag", "last-modified", "date"]).unwrap_or(&"etag")),
            ),
            15 => set(reply, "etag", &format!("\"x{}\"", rng.u64(..))),
            16 => drop(reply.headers.remove("content-length")),
            17 => set(reply, "content-encoding", "gzip"),
            18 => set(reply, "content-type", "multipart/byteranges; boundary=x"),
            19 => {
                *reply = status(*rng.choice(&[429, 503]).unwrap_or(&503));
                set(reply, "retry-after", &rng.u64(0..700).to_string());
            }
            20 => {
                *reply =
                    status(*rng.choice(&[100, 204, 304, 404, 403, 500, 501, 412]).unwrap_or(&500));
            }
            // A part under the status of the whole file.
            21 => {
                moved(reply, first, rng.u64(first..size) + 1, size);
                reply.status = 200;
            }
            // A web page, where there was a file before.
            22 if first > 0 => {
                *reply = status(200);
                set(reply, "content-type", "text/html");
                set(reply, "content-length", "9");
            }
            _ => {
                reply.body.left = rng.u64(0..=reply.body.left);
                reply.body.fate = if rng.u8(0..4) == 0 { Fate::Stall } else { Fate::Reset };
            }
        }
    }
}

fn part(version: usize, start: u64, end: u64, total: u64) -> Reply {
    let mut reply = status(206);
    set(&mut reply, "content-range", &format!("bytes {start}-{}/{total}", end - 1));
    set(&mut reply, "content-length", &(end - start).to_string());
    reply.body = Body { version, at: start, left: end - start, fate: Fate::Whole };
    reply
}

fn status(status: u16) -> Reply {
    let body = Body { version: 0, at: 0, left: 0, fate: Fate::Reset };
    Reply { status, headers: HeaderMap::new(), body }
}

fn set(reply: &mut Reply, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value).expect("proof: all values here are plain text");
    reply.headers.insert(HeaderName::from_static(name), value);
}

fn date(seconds: u64) -> String {
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(seconds);
    httpdate::fmt_http_date(time)
}
