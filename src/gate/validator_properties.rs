//! Validators and waits against arbitrary fields: what ties answers together, and how long is asked.

use std::time::{Duration, UNIX_EPOCH};

use http::HeaderValue;
use http::header::{DATE, ETAG, LAST_MODIFIED, RETRY_AFTER};
use proptest::prelude::*;

use super::*;

/// Any time that an HTTP date can say.
fn times() -> impl Strategy<Value = SystemTime> {
    let border = Just(253_402_300_799u64);
    prop_oneof![8 => 0..100u64, 2 => 0..253_402_300_800u64, 1 => border]
        .prop_map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds))
}

fn tags() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        r#"(W/)?"[ab]?""#.prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..6),
    ]
}

fn dates() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        5 => times().prop_map(|time| httpdate::fmt_http_date(time).into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

fn versions() -> impl Strategy<Value = Version> {
    let date = || prop::option::of(dates());
    (prop::option::of(tags()), date(), date()).prop_map(|(tag, modified, answered)| {
        let mut headers = HeaderMap::new();
        for (name, value) in [(ETAG, tag), (LAST_MODIFIED, modified), (DATE, answered)] {
            let value = value.and_then(|value| HeaderValue::from_bytes(&value).ok());
            headers.extend(value.map(|value| (name, value)));
        }
        Version::from_headers(&headers, None)
    })
}

fn asked_wait(asked: &str, date: Option<SystemTime>, now: SystemTime) -> Option<Duration> {
    let mut headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(asked).ok()?)]);
    let date = date.map(|date| httpdate::fmt_http_date(date).parse().unwrap());
    headers.extend(date.map(|date| (DATE, date)));
    let status = StatusCode::TOO_MANY_REQUESTS;
    let head = Head { status, http: http::Version::HTTP_11, headers: &headers };
    match judge(&head, &Ask { range: None }, None, now) {
        Verdict::Failed(error) => error.wait_asked(),
        other => panic!("a 429 is {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn versions_with_the_same_fields_differ_both_ways_or_not_at_all(one in versions(), other in versions()) {
        prop_assert_eq!(one.differs(&one), None);
        let fields = |version: &Version| (version.etag.is_some(), version.last_modified.is_some());
        if fields(&one) == fields(&other) {
            prop_assert_eq!(one.differs(&other).is_some(), other.differs(&one).is_some());
            let equal = (&one.etag, &one.last_modified) == (&other.etag, &other.last_modified);
            prop_assert_eq!(one.differs(&other).is_none(), equal);
        }
        if one.is_strong() && fields(&other) == (false, false) {
            prop_assert!(one.differs(&other).is_some());
        }
    }

    #[test]
    fn only_a_strong_validator_is_sent_and_as_it_came(version in versions()) {
        let sent = version.condition().map(|(_, value)| value.to_str().unwrap().to_owned());
        prop_assert_eq!(sent.is_some(), version.is_strong());
        if let Some(sent) = sent {
            prop_assert!(!sent.starts_with("W/"), "{}", sent);
            let is_tag = version.etag.as_ref() == Some(&sent);
            let is_date = version.date_is_strong && version.last_modified.as_ref() == Some(&sent);
            prop_assert!(is_tag || is_date, "{}", sent);
            prop_assert!(!is_tag || (sent.starts_with('"') && sent[1..].find('"') == Some(sent.len() - 2)));
        }
    }

    #[test]
    fn a_date_is_strong_from_its_next_second_on(modified in times(), age in 0..5u64) {
        let answered = modified + Duration::from_secs(age);
        prop_assume!(answered < UNIX_EPOCH + Duration::from_secs(253_402_300_800));
        let headers = [(LAST_MODIFIED, modified), (DATE, answered)];
        let headers = headers.map(|(name, time)| (name, httpdate::fmt_http_date(time).parse().unwrap()));
        let version = Version::from_headers(&HeaderMap::from_iter(headers), None);
        prop_assert_eq!(version.date_is_strong, age >= 1);
        prop_assert_eq!(version.modified(), Some(modified));
    }

    #[test]
    fn any_number_of_seconds_is_a_wait(digits in "[0-9]{1,30}", now in times()) {
        let seconds = digits.parse().unwrap_or(u64::MAX);
        prop_assert_eq!(asked_wait(&digits, None, now), Some(Duration::from_secs(seconds)));
    }

    #[test]
    fn a_date_counts_from_the_date_of_the_answer(
        until in times(), date in prop::option::of(times()), now in times()
    ) {
        let wait = asked_wait(&httpdate::fmt_http_date(until), date, now);
        let from = date.unwrap_or(now);
        prop_assert_eq!(wait, Some(until.duration_since(from).unwrap_or_default()));
    }

    #[test]
    fn what_is_neither_is_no_wait(text in "[ -~]{0,30}", now in times()) {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number && httpdate::parse_http_date(&text).is_err() {
            prop_assert_eq!(asked_wait(&text, None, now), None);
        }
    }
}
