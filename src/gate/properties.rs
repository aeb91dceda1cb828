//! The gate against arbitrary answers, most of them almost right: a body that passes keeps the promise of
//! the module.

use std::time::Duration;

use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, LAST_MODIFIED, RETRY_AFTER, TRANSFER_ENCODING,
};
use http::{HeaderName, HeaderValue, Version as Http};
use proptest::prelude::*;

use super::range::{ContentRange, parse_content_range};
use super::*;

/// Numbers that meet often, and the borders of their types.
fn numbers() -> impl Strategy<Value = u64> {
    let borders = [0, 1, u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1, 9_999_999_999_999_999_999];
    prop_oneof![8 => 0..40u64, 1 => prop::sample::select(borders.to_vec())]
}

fn content_ranges() -> impl Strategy<Value = String> {
    let total =
        prop_oneof![3 => numbers().prop_map(|total| total.to_string()), 1 => Just("*".to_owned())];
    prop_oneof![
        8 => (numbers(), numbers(), total).prop_map(|(a, b, total)| format!("bytes {a}-{b}/{total}")),
        1 => numbers().prop_map(|total| format!("bytes */{total}")),
        1 => "(bytes|items)?[ =]{0,2}[0-9+*-]{0,4}-[0-9 ]{0,3}/?[0-9*]{0,3}[ x,]?",
    ]
}

fn fields() -> impl Strategy<Value = HeaderMap> {
    let tags = prop::sample::select(vec!["\"a\"", "\"b\"", "W/\"a\""]);
    let dates = prop::sample::select(vec!["Mon, 30 Jun 2025 12:00:00 GMT", "x"]);
    let codings = prop::sample::select(vec!["chunked", "chunked", "gzip, chunked"]);
    let many = |name: HeaderName, most, values: BoxedStrategy<String>| {
        prop::collection::vec(values, 0..=most).prop_map(move |values| {
            values.into_iter().map(|value| (name.clone(), value)).collect::<Vec<_>>()
        })
    };
    let text = |text: &str| text.to_owned();
    (
        many(CONTENT_RANGE, 2, content_ranges().boxed()),
        many(CONTENT_LENGTH, 1, numbers().prop_map(|length| length.to_string()).boxed()),
        many(TRANSFER_ENCODING, 1, codings.prop_map(text).boxed()),
        many(ETAG, 1, tags.prop_map(text).boxed()),
        many(LAST_MODIFIED, 1, dates.prop_map(text).boxed()),
    )
        .prop_map(|(a, b, c, d, e)| {
            [a, b, c, d, e]
                .into_iter()
                .flatten()
                .map(|(name, value)| (name, value.parse().unwrap()))
                .collect()
        })
}

/// What a refusal with these fields asks to wait, by our clock.
fn wait_asked(fields: &[(HeaderName, String)], ours: SystemTime) -> Option<Duration> {
    let parsed = fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
    let headers = parsed.collect();
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let head = Head { status, http: Http::HTTP_11, headers: &headers };
    match judge(&head, &Ask { range: None }, None, ours) {
        Verdict::Failed(error) => error.wait_asked(),
        other => panic!("{other:?}"),
    }
}

/// Seconds since 1970 that an HTTP date can hold.
const DATES: Range<u64> = 0..250_000_000_000;

proptest! {
    #[test]
    fn a_date_to_wait_for_counts_from_the_servers_clock_whatever_ours_says(
        theirs in DATES, until in DATES, ours in DATES
    ) {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let date = |seconds| httpdate::fmt_http_date(at(seconds));
        let retry_after = (RETRY_AFTER, date(until));
        let with_date = [retry_after.clone(), (DATE, date(theirs))];
        let expected = Duration::from_secs(until.saturating_sub(theirs));
        prop_assert_eq!(wait_asked(&with_date, at(ours)), Some(expected));
        let expected = Duration::from_secs(until.saturating_sub(ours));
        prop_assert_eq!(wait_asked(&[retry_after], at(ours)), Some(expected));
    }

    #[test]
    fn any_text_as_a_wait_is_a_wait_or_none(text in "[ -~]{0,40}", seconds: u64) {
        let _ = wait_asked(&[(RETRY_AFTER, text)], SystemTime::UNIX_EPOCH);
        let asked = wait_asked(&[(RETRY_AFTER, seconds.to_string())], SystemTime::UNIX_EPOCH);
        prop_assert_eq!(asked, Some(Duration::from_secs(seconds)));
    }
}

fn asks() -> impl Strategy<Value = Ask> {
    prop_oneof![
        1 => Just(Ask { range: None }),
        6 => (0..30u64, prop_oneof![1..40u64, Just(u64::MAX)])
            .prop_map(|(start, length)| Ask { range: Some(start..start.saturating_add(length)) }),
    ]
}

fn versions() -> impl Strategy<Value = Option<Version>> {
    prop::option::of((prop::option::of(0..40u64), fields()))
        .prop_map(|known| known.map(|(size, headers)| Version::from_headers(&headers, size)))
}

/// Fields that answer `ask` from a file of `size` bytes, but shifted and cut a little.
fn nearly_right(ask: &Ask, size: u64, before: u64, beyond: u64) -> HeaderMap {
    let first = ask.first().saturating_sub(before);
    let end = ask.range.as_ref().map_or(size, |range| range.end.saturating_add(beyond).min(size));
    let mut headers = HeaderMap::new();
    let range = format!("bytes {first}-{}/{size}", end.saturating_sub(1));
    headers.insert(CONTENT_RANGE, HeaderValue::from_str(&range).unwrap());
    headers.insert(CONTENT_LENGTH, HeaderValue::from(end.saturating_sub(first)));
    headers
}

fn keeps_the_promise(answer: &Answer, ask: &Ask, known: Option<&Version>) {
    let total = answer.version.size;
    assert_eq!(answer.offset, ask.first());
    if let (Some(length), Some(total)) = (answer.length, total) {
        assert!(length > 0 && answer.offset.checked_add(length).unwrap() <= total);
    }
    if let (Framing::Sized(body), Some(length)) = (answer.framing, answer.length) {
        assert!(answer.skip + length <= body);
        assert!(!answer.reusable || answer.skip + length == body);
    }
    if answer.ranged {
        let asked = ask.range.clone().unwrap();
        assert!(total.is_some() && answer.skip <= answer.offset);
        assert!(answer.offset + answer.length.unwrap() <= asked.end);
    } else {
        assert_eq!((answer.offset, answer.skip, answer.length), (0, 0, total));
    }
    assert!(!answer.reusable || answer.framing != Framing::UntilClose);
    let Some(known) = known else { return };
    assert!(known.size.is_none() || total.is_none() || known.size == total);
    assert!(
        known.etag.is_none() || answer.version.etag.is_none() || known.etag == answer.version.etag
    );
    assert_eq!(known.differs(&answer.version), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_body_lies_within_the_ask_and_the_file(
        status in prop_oneof![6 => Just(206u16), 2 => Just(200), 1 => 100..1000u16],
        headers in fields(), ask in asks(), known in versions()
    ) {
        let code = StatusCode::from_u16(status).unwrap();
        let head = Head { status: code, http: Http::HTTP_11, headers: &headers };
        if let Verdict::Body(answer) = judge(&head, &ask, known.as_ref(), SystemTime::UNIX_EPOCH) {
            prop_assert!(matches!(status, 200 | 206));
            keeps_the_promise(&answer, &ask, known.as_ref());
        }
    }

    #[test]
    fn a_part_that_covers_the_first_byte_is_a_body(
        ask in asks(), size in 1..100u64, before in 0..20u64, beyond in 0..20u64
    ) {
        let headers = nearly_right(&ask, size, before, beyond);
        let head = Head { status: StatusCode::PARTIAL_CONTENT, http: Http::HTTP_11, headers: &headers };
        let verdict = judge(&head, &ask, None, SystemTime::UNIX_EPOCH);
        let is_body = matches!(&verdict, Verdict::Body(_));
        prop_assert_eq!(is_body, ask.range.is_some() && ask.first() < size, "{:?}", verdict);
        if let Verdict::Body(answer) = verdict {
            let end = ask.range.as_ref().map_or(size, |range| range.end.min(size));
            prop_assert_eq!(answer.length, Some(end - answer.offset));
            prop_assert_eq!(answer.skip, before.min(ask.first()));
            keeps_the_promise(&answer, &ask, None);
        }
    }

    #[test]
    fn content_ranges_read_back_as_written(
        first in 0..1u64 << 62,
        length in 1..1u64 << 60,
        rest in prop::option::of(0..1u64 << 60),
    ) {
        let last = first + length - 1;
        let total = rest.map(|rest| last + 1 + rest);
        let shown = total.map_or("*".to_owned(), |total| total.to_string());
        prop_assert_eq!(
            parse_content_range(&format!("bytes {first}-{last}/{shown}")),
            Some(ContentRange { first, last, total })
        );
    }

    #[test]
    fn what_is_read_can_be_written_again(value in content_ranges()) {
        if let Some(ContentRange { first, last, total }) = parse_content_range(&value) {
            prop_assert!(first <= last && total.is_none_or(|total| last < total));
            let digits = value.split(|c: char| !c.is_ascii_digit());
            let mut numbers = digits.filter_map(|digits| digits.parse().ok());
            let read = (numbers.next(), numbers.next(), numbers.next());
            prop_assert_eq!(read, (Some(first), Some(last), total));
        }
    }
}

/// Field values with what a terminal obeys and HTTP lets through.
fn steering() -> impl Strategy<Value = HeaderMap> {
    let names = [
        "content-range",
        "content-length",
        "transfer-encoding",
        "content-encoding",
        "content-type",
        "etag",
        "last-modified",
        "retry-after",
        "date",
        "location",
        "content-disposition",
        "accept-ranges",
    ];
    let parts = [
        "\u{9b}31m",
        "\u{85}",
        "\u{202e}",
        "\u{2066}",
        "\u{200b}",
        "\u{2028}",
        "\u{feff}",
        "\t",
        "\\",
        "\"",
        "W/",
        "bytes ",
        "0-4/5",
        "*",
        "5",
        "gzip",
        "chunked",
        "multipart/byteranges",
        ";",
        ",",
        "/",
        "http://h/",
    ];
    let value = prop::collection::vec(prop::sample::select(parts.to_vec()), 1..5);
    prop::collection::vec((prop::sample::select(names.to_vec()), value), 0..6).prop_map(|fields| {
        let field = |(name, value): (&'static str, Vec<&str>)| {
            let value = HeaderValue::from_bytes(value.concat().as_bytes());
            (HeaderName::from_static(name), value.unwrap())
        };
        fields.into_iter().map(field).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_sentence_steers_a_terminal(
        status in prop::sample::select(vec![200u16, 206, 302, 401, 404, 412, 416, 429, 503, 299, 999]),
        headers in steering(), earlier in steering(), ask in asks(), known in any::<bool>(),
    ) {
        let code = StatusCode::from_u16(status).unwrap();
        let head = Head { status: code, http: Http::HTTP_11, headers: &headers };
        let known = known.then(|| Version::from_headers(&earlier, Some(5)));
        let said = match judge(&head, &ask, known.as_ref(), SystemTime::UNIX_EPOCH) {
            Verdict::Changed(why) | Verdict::Unranged(why) => why,
            Verdict::Failed(error) => error.to_string(),
            // The fields are raw, for those who read and do not show them.
            Verdict::Body(_) | Verdict::Empty(_) | Verdict::Redirect(_) => return Ok(()),
        };
        let escaped = crate::error::Escaped(&said).to_string().replace("\\u{5c}", "\\");
        prop_assert_eq!(escaped, said);
    }
}

#[test]
fn malformed_content_ranges_are_not_guessed_at() {
    for junk in [
        "",
        "bytes",
        "bytes ",
        "bytes 0-9",
        "bytes 0-9/",
        "bytes 0-9/5",
        "bytes 0-9/9",
        "bytes 9-0/10",
        "bytes=0-9/10",
        "bytes: 0-9/10",
        "bytes  0-9/10",
        " bytes 0-9/10",
        "bytes\t0-9/10",
        "bytes 0-9/10 x",
        "bytes 0-9/10 ",
        "bytes 0 - 9/10",
        "bytes 0-9 /10",
        "bytes 0-9/10, bytes 20-29/30",
        "bytes 0-9,20-29/30",
        "bytes -1-9/10",
        "bytes 0--9/10",
        "bytes +1-2/3",
        "bytes 1-+2/3",
        "bytes 1-2/+3",
        "+1-2/3",
        "0-9/10",
        "items 0-9/10",
        "bytes 0x0-9/10",
        "bytes 473276580-/473276580",
        "bytes -0.99/100",
        "bytes 0-9/**",
        "bytes */10",
        "bytes *-9/10",
        "bytes 0-9/18446744073709551616",
        "bytes 0-99999999999999999999/*",
        "bytes 00000000000000000000-9/10",
        "bytes \u{661}-9/10",
    ] {
        assert_eq!(parse_content_range(junk), None, "{junk:?}");
    }
    let read = parse_content_range("Bytes 00-9/10");
    assert_eq!(read, Some(ContentRange { first: 0, last: 9, total: Some(10) }));
}
