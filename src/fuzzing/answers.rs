//! What the gate makes of the fields of an answer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode, Version as Http};

use super::{Input, is_harmless};
use crate::error::{Error, Kind};
use crate::gate::{self, Answer, Ask, Framing, Head, Verdict, Version};
use crate::limits::RETRY_AFTER_MAX;
use crate::retry::{self, Decision, Policy};
use crate::units::as_f64;

/// An answer to an ask: a line of status, HTTP version (10 or 11), first byte and end of the range and the
/// size that is known, then the fields of the answer, an empty line, and the fields of earlier answers.
pub fn gate(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut numbers = input.numbers();
    let mut next = || numbers.next().flatten();
    let status = next().and_then(|status| u16::try_from(status).ok());
    let Some(status) = status.and_then(|status| StatusCode::from_u16(status).ok()) else { return };
    let http = if next() == Some(10) { Http::HTTP_10 } else { Http::HTTP_11 };
    let (first, end, size) = (next(), next(), next());
    let range = first.map(|first| first..end.unwrap_or(u64::MAX).max(first.saturating_add(1)));
    let ask = Ask { range: range.filter(|range| !range.is_empty()) };
    let headers = input.fields();
    let known = (!input.is_empty()).then(|| Version::from_headers(&input.fields(), size));
    let head = Head { status, http, headers: &headers };
    match gate::judge(&head, &ask, known.as_ref(), UNIX_EPOCH) {
        Verdict::Body(answer) => {
            assert!(matches!(status.as_u16(), 200 | 206), "a body out of {status}");
            assert_eq!(answer.ranged, status == StatusCode::PARTIAL_CONTENT);
            lies_within(&answer, &ask);
            assert_eq!(known.and_then(|known| known.differs(&answer.version)), None);
        }
        Verdict::Empty(version) => {
            assert!(version.size == Some(0) && ask.first() == 0);
        }
        Verdict::Redirect(location) => assert!(status.is_redirection() && !location.is_empty()),
        Verdict::Changed(why) | Verdict::Unranged(why) => is_harmless(&why),
        Verdict::Failed(error) => is_harmless(&error.to_string()),
    }
}

/// Fails if a body goes beyond what was asked, the file, or what its framing brings.
fn lies_within(answer: &Answer, ask: &Ask) {
    assert_eq!(answer.offset, ask.first());
    let end = answer.length.map(|length| {
        assert!(length > 0, "an empty body");
        answer.offset.checked_add(length).unwrap_or_else(|| panic!("{answer:?} overflows"))
    });
    if let (Some(end), Some(size)) = (end, answer.version.size) {
        assert!(end <= size, "{answer:?} reaches beyond the file");
    }
    if answer.ranged {
        let asked = ask.range.as_ref().map(|range| range.end);
        assert!(end.is_some() && end <= asked, "{answer:?} goes beyond the ask {asked:?}");
        assert!(answer.version.size.is_some() && answer.skip <= answer.offset);
    } else {
        assert_eq!((answer.offset, answer.skip, answer.length), (0, 0, answer.version.size));
    }
    if let (Framing::Sized(body), Some(length)) = (answer.framing, answer.length) {
        assert!(answer.skip + length <= body, "{answer:?} wants more than comes");
        assert!(!answer.reusable || answer.skip + length == body, "{answer:?} leaves a rest");
    }
    assert!(!answer.reusable || answer.framing != Framing::UntilClose);
}

/// A line of first byte, end and known size, and a Content-Range field.
pub fn content_range(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut numbers = input.numbers();
    let mut next = || numbers.next().flatten();
    let (first, end, size) = (next().unwrap_or(0), next().unwrap_or(u64::MAX), next());
    let Ok(value) = HeaderValue::from_bytes(input.line()) else { return };
    if first >= end {
        return;
    }
    let headers = HeaderMap::from_iter([(CONTENT_RANGE, value.clone())]);
    let ask = Ask { range: Some(first..end) };
    let known = Version { size, ..Version::default() };
    let head = Head { status: StatusCode::PARTIAL_CONTENT, http: Http::HTTP_11, headers: &headers };
    if let Verdict::Body(answer) = gate::judge(&head, &ask, Some(&known), UNIX_EPOCH) {
        lies_within(&answer, &ask);
        // Written again, the field is the one that came, but for zeros in front.
        let total = answer.version.size.unwrap_or_default();
        let sent = answer.offset - answer.skip;
        let words = plain_words(&value);
        assert_eq!((words[0].as_str(), words[1].as_str()), ("bytes", sent.to_string().as_str()));
        let last: u64 = words[2].parse().unwrap_or_else(|_| panic!("{value:?} has no end"));
        assert!(last < total && last - answer.offset + 1 >= answer.length.unwrap_or(u64::MAX));
        assert!(words[3] == total.to_string() || (words[3] == "*" && size == Some(total)));
        assert_eq!(words.len(), 4, "{value:?} has more to it");
        let mut sized = headers.clone();
        sized.insert(CONTENT_LENGTH, HeaderValue::from(last - sent));
        let head = Head { headers: &sized, ..head };
        let verdict = gate::judge(&head, &ask, Some(&known), UNIX_EPOCH);
        assert!(matches!(verdict, Verdict::Failed(_)), "one byte short is none too few");
    }
    let head = Head { status: StatusCode::RANGE_NOT_SATISFIABLE, ..head };
    if let Verdict::Empty(version) = gate::judge(&head, &ask, Some(&known), UNIX_EPOCH) {
        assert!(version.size == Some(0) && plain_words(&value) == EMPTY);
    }
}

/// The words of a Content-Range field, in small letters, numbers without zeros in front.
fn plain_words(value: &HeaderValue) -> Vec<String> {
    let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    let words = text.split([' ', '-', '/']);
    words
        .map(|word| match word.trim_start_matches('0') {
            "" if !word.is_empty() => "0".to_owned(),
            plain => plain.to_owned(),
        })
        .collect()
}

const EMPTY: [&str; 3] = ["bytes", "*", "0"];

/// The fields of an answer, an empty line, and the fields of another.
pub fn version(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (one, other) = (input.fields(), input.fields());
    let (one, other) = (Version::from_headers(&one, None), Version::from_headers(&other, None));
    for version in [&one, &other] {
        assert_eq!(version.differs(version), None, "another than itself");
        assert_eq!(version.condition().is_some(), version.is_strong());
        let Some((name, value)) = version.condition() else { continue };
        assert_eq!(name, http::header::IF_RANGE);
        let sent = value.to_str().unwrap_or_else(|_| panic!("{value:?} goes out"));
        if sent.starts_with('"') {
            assert_eq!(Some(sent), version.etag.as_deref());
            assert!(sent.len() >= 2 && !sent[1..sent.len() - 1].contains(['"', ' ']), "{sent}");
        } else {
            assert!(version.date_is_strong && version.modified().is_some(), "{sent}");
            assert_eq!(Some(sent), version.last_modified.as_deref());
        }
    }
    let (there, back) = (one.differs(&other), other.differs(&one));
    [&there, &back].into_iter().flatten().for_each(|why| is_harmless(why));
    let has = |version: &Version| (version.etag.is_some(), version.last_modified.is_some());
    if has(&one) == has(&other) {
        assert_eq!(there.is_some(), back.is_some(), "{one:?} and {other:?} are equal one way");
        let same = (&one.etag, &one.last_modified) == (&other.etag, &other.last_modified);
        assert_eq!(there.is_none(), same, "{one:?} and {other:?}");
    }
    // What the first answer showed as strong, no later one may leave out.
    if one.is_strong() && has(&other) == (false, false) {
        assert!(there.is_some(), "{one:?} is forgotten");
    }
}

/// A line with the seconds of our clock, a Retry-After field, and a Date field.
pub fn retry_after(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let now = input.numbers().next().flatten().unwrap_or(0) % YEAR_10000;
    let now = UNIX_EPOCH + Duration::from_secs(now);
    let mut headers = HeaderMap::new();
    let asked = HeaderValue::from_bytes(input.line()).ok();
    let date = HeaderValue::from_bytes(input.line()).ok().filter(|date| !date.is_empty());
    headers.extend(asked.iter().map(|asked| (RETRY_AFTER, asked.clone())));
    headers.extend(date.iter().map(|date| (DATE, date.clone())));
    let error = refusal(&headers, now);
    assert_eq!(error.kind(), Kind::Unavailable);
    let text = asked.as_ref().and_then(|asked| asked.to_str().ok());
    let seconds = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    if let Some(seconds) = seconds.filter(|seconds| !seconds.is_empty() && seconds.len() < 20) {
        assert_eq!(error.wait_asked().map(|wait| wait.as_secs().to_string()), {
            let plain = seconds.trim_start_matches('0');
            Some(if plain.is_empty() { "0".to_owned() } else { plain.to_owned() })
        });
    }
    if date.is_some_and(|date| httpdate::parse_http_date(date.to_str().unwrap_or("")).is_ok()) {
        // Then our clock has no say.
        let later = refusal(&headers, now + Duration::from_secs(12345));
        assert_eq!(later.wait_asked(), error.wait_asked());
    }
    for attempt in [1, 2, u32::MAX] {
        let (jitter, policy) = (as_f64(attempt.into()) / 4e9, Policy { retries: 8 });
        match retry::judge(error.kind(), attempt, error.wait_asked(), jitter, &policy) {
            Decision::Again(wait) => {
                assert!(wait >= error.wait_asked().unwrap_or_default());
                assert!(wait <= RETRY_AFTER_MAX * 2, "{wait:?} is too patient");
            }
            Decision::GiveUp => {}
        }
    }
}

fn refusal(headers: &HeaderMap, now: SystemTime) -> Error {
    let head = Head { status: StatusCode::SERVICE_UNAVAILABLE, http: Http::HTTP_11, headers };
    match gate::judge(&head, &Ask { range: None }, None, now) {
        Verdict::Failed(error) => error,
        other => panic!("a 503 is no failure but {other:?}"),
    }
}

/// Seconds until the first year that an HTTP date cannot say.
const YEAR_10000: u64 = 253_402_300_800;
