//! What `benches/rules.rs` measures of the private modules: one function each, from values to values.
//!
//! It is no part of the library: only the feature `internals` compiles it, and nothing of it is stable. What
//! is private to `ledger` is done by a file of this name there.

pub use crate::ledger::internals::{Log, ledger, replay};

use std::ops::Range;
use std::time::{Instant, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version as Http};

use crate::gate::{self, Ask, Head, Verdict, Version};
use crate::plan::{Plan, Want};

/// Deals a file of `blocks` blocks to `lanes` lanes, which take turns block by block, and lands all of it.
/// Returns the number of leases.
///
/// # Panics
/// If there are more blocks than a plan can hold.
pub fn plan(blocks: u32, lanes: u32) -> u32 {
    let size = u64::from(blocks) << 20;
    let mut plan = Plan::new(Some(size), 1 << 20).expect("proof: the caller minds the bound");
    let want = Want { lanes, at_least: 1, at_most: u32::MAX, below: u32::MAX };
    let mut held = vec![None; lanes.try_into().unwrap_or(1)];
    let (now, mut leases) = (Instant::now(), 0);
    while !plan.is_complete() {
        for lane in &mut held {
            if lane.is_none() {
                *lane = plan.lease(&want).or_else(|| plan.recall(1));
                leases += u32::from(lane.is_some());
            }
            let Some(mut lease) = lane.take() else { continue };
            let index = lease.blocks.start;
            if !plan.claim(lease.id, index) {
                continue;
            }
            plan.begun(lease.id, now);
            assert_eq!(plan.win(lease.id, index, now), Some(0), "nobody else fills it");
            plan.landed(lease.id, index);
            lease.blocks.start += 1;
            *lane = (!lease.blocks.is_empty()).then_some(lease);
        }
    }
    leases
}

/// An answer to a range, with all that the gate knows.
#[derive(Debug)]
pub struct Judging {
    headers: HeaderMap,
    ask: Ask,
    known: Version,
}

impl Judging {
    /// The answer with this head, to who asked for just what it brings and knows its version.
    ///
    /// # Panics
    /// If it is no head of a partial answer.
    pub fn of(head: &[u8]) -> Self {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Response::new(&mut fields);
        let is_whole = parsed.parse(head).is_ok_and(|parsed| parsed.is_complete());
        assert!(is_whole && parsed.code == Some(206), "the head of a partial answer");
        let fields = parsed.headers.iter().map(|field| {
            let name = HeaderName::from_bytes(field.name.as_bytes());
            let value = HeaderValue::from_bytes(field.value);
            name.ok().zip(value.ok()).expect("proof: it is parsed")
        });
        let headers: HeaderMap = fields.collect();
        let (range, size) = content_range(&headers).expect("proof: a partial answer has one");
        let known = Version::from_headers(&headers, Some(size));
        Self { headers, ask: Ask { range: Some(range) }, known }
    }

    /// Whether the gate lets the body pass.
    pub fn is_body(&self) -> bool {
        let (status, http) = (StatusCode::PARTIAL_CONTENT, Http::HTTP_11);
        let head = Head { status, http, headers: &self.headers };
        let verdict = gate::judge(&head, &self.ask, Some(&self.known), SystemTime::UNIX_EPOCH);
        matches!(verdict, Verdict::Body(_))
    }
}

/// The bytes that come, and the size of the file.
fn content_range(headers: &HeaderMap) -> Option<(Range<u64>, u64)> {
    let field = headers.get(http::header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, size) = field.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?..last.parse::<u64>().ok()? + 1, size.parse().ok()?))
}

/// Finds the end of a response head, as it is done before anything of it is parsed.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    crate::wire::head_end(bytes)
}

/// Plays a response to a client over a pair of local sockets; returns the bytes of its head.
///
/// # Panics
/// If the client makes no head of it.
pub fn exchange(response: &[u8]) -> usize {
    let played = crate::wire::playback::play(&[response], 4096);
    played.expect("proof: the caller minds the head").head_bytes
}
