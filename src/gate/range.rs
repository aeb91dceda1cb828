//! The Content-Range field (RFC 9110 section 14.4), read to the letter.
//!
//! Servers write it in many wrong ways, and each of them has put bytes at wrong offsets somewhere. What the
//! grammar does not allow is not guessed at.

use http::HeaderMap;
use http::header::CONTENT_RANGE;

/// The bytes that a partial answer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContentRange {
    /// File offset of the first byte.
    pub first: u64,
    /// File offset of the last byte, inclusive.
    pub last: u64,
    /// Size of the file in bytes; `None` for `*`.
    pub total: Option<u64>,
}

/// Reads `bytes first-last/total` or `bytes first-last/*`, where first <= last < total.
pub(crate) fn parse_content_range(value: &str) -> Option<ContentRange> {
    let (range, total) = after_unit(value)?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let total = if total == "*" { None } else { Some(number(total)?) };
    (first <= last && total.is_none_or(|total| last < total)).then_some(ContentRange {
        first,
        last,
        total,
    })
}

/// The one Content-Range field of a partial answer, if it has one and that is well-formed.
pub(crate) fn satisfied(headers: &HeaderMap) -> Option<ContentRange> {
    parse_content_range(only(headers)?)
}

/// The size that `bytes */size` tells with a 416 (RFC 9110 section 15.5.17).
pub(crate) fn unsatisfied(headers: &HeaderMap) -> Option<u64> {
    number(after_unit(only(headers)?)?.strip_prefix("*/")?)
}

fn only(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(CONTENT_RANGE).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// What follows the unit, whose name is case-insensitive (RFC 9110 section 14.1).
fn after_unit(value: &str) -> Option<&str> {
    let (unit, rest) = value.split_once(' ')?;
    unit.eq_ignore_ascii_case("bytes").then_some(rest)
}

/// Reads digits and nothing else, at most 19 of them: more would be beyond any file offset.
pub(crate) fn number(digits: &str) -> Option<u64> {
    // The standard library would also take a plus sign.
    let is_plain = (1..=19).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    is_plain.then(|| digits.parse().ok())?
}
