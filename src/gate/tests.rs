//! The gate against every kind of answer that it has a rule for.

use std::time::Duration;

use http::header::{HeaderName, IF_RANGE};
use http::{HeaderValue, Version as Http};

use super::body::is_keep_alive;
use super::*;

const DATE: &str = "Tue, 01 Jul 2025 12:00:00 GMT";
const OLD: &str = "Mon, 30 Jun 2025 12:00:00 GMT";

fn fields(text: &str) -> HeaderMap {
    let fields = text.split('|').filter(|field| !field.is_empty()).map(|field| {
        let (name, value) = field.split_once(": ").unwrap();
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    });
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(name, value);
    }
    map
}

fn range(range: Range<u64>) -> Ask {
    Ask { range: Some(range) }
}

const WHOLE: Ask = Ask { range: None };

fn answer(status: u16, text: &str, ask: &Ask, known: Option<&Version>) -> Verdict {
    let headers = fields(text);
    let status = StatusCode::from_u16(status).unwrap();
    let head = Head { status, http: Http::HTTP_11, headers: &headers };
    judge(&head, ask, known, SystemTime::UNIX_EPOCH)
}

fn known(size: u64) -> Version {
    Version { size: Some(size), etag: Some("\"a\"".into()), ..Version::default() }
}

/// One word for a verdict, and the words that matter.
fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Body(a) => format!("body {} {} {:?}", a.offset, a.skip, a.length),
        Verdict::Empty(_) => "empty".into(),
        Verdict::Redirect(location) => format!("redirect {location}"),
        Verdict::Changed(_) => "changed".into(),
        Verdict::Unranged(_) => "unranged".into(),
        Verdict::Failed(error) => error.kind().name().into(),
    }
}

/// Checks a table of answers to the question for bytes 100-199 of a file of 1000 bytes.
fn expect(rows: &[(u16, &str, &str)]) {
    for (status, text, verdict) in rows {
        let got = answer(*status, text, &range(100..200), Some(&known(1000)));
        assert_eq!(word(&got), *verdict, "{status} {text}: {got:?}");
    }
}

#[test]
fn a_part_lies_where_it_was_asked_for() {
    let tag = "ETag: \"a\"|Content-Range: bytes";
    for (rest, verdict) in [
        ("100-199/1000|Content-Length: 100", "body 100 0 Some(100)"),
        ("100-199/1000", "body 100 0 Some(100)"),
        ("100-149/1000|Content-Length: 50", "body 100 0 Some(50)"),
        ("90-199/1000|Content-Length: 110", "body 100 10 Some(100)"),
        ("100-299/1000|Content-Length: 200", "body 100 0 Some(100)"),
        ("0-999/1000|Transfer-Encoding: chunked", "body 100 100 Some(100)"),
        ("100-199/*", "body 100 0 Some(100)"),
        ("101-199/1000", "protocol"),
        ("0-99/1000", "protocol"),
        ("100-199/1000|Content-Length: 99", "protocol"),
        ("100-199/1001", "changed"),
        ("100-1000/*", "changed"),
        ("100-199/1000|Content-Range: bytes 100-199/1000", "unranged"),
        ("199-100/1000", "unranged"),
        ("100-199", "unranged"),
        ("100-199/9223372036854775808", "protocol"),
        ("100-199/1000|Content-Type: Multipart/ByteRanges; boundary=x", "unranged"),
    ] {
        expect(&[(206, &format!("{tag} {rest}"), verdict)]);
    }
    expect(&[(206, "ETag: \"a\"|Content-Length: 100", "unranged")]);
}

#[test]
fn a_part_of_a_file_of_unknown_size_is_not_placed() {
    let verdict = answer(206, "Content-Range: bytes 0-9/*", &range(0..10), None);
    assert_eq!(word(&verdict), "unranged");
    let verdict = answer(206, "Content-Range: bytes 0-9/10", &WHOLE, None);
    assert_eq!(word(&verdict), "protocol");
}

#[test]
fn the_whole_file_is_taken_when_it_begins_where_asked() {
    for (ask, text, verdict) in [
        (range(0..10), "Content-Length: 1000", "body 0 0 Some(1000)"),
        (WHOLE, "Content-Length: 1000", "body 0 0 Some(1000)"),
        (WHOLE, "Transfer-Encoding: Chunked", "body 0 0 None"),
        (WHOLE, "X: y", "body 0 0 None"),
        (WHOLE, "Content-Length: 0", "empty"),
        (range(0..u64::MAX), "Content-Length: 0", "empty"),
        (range(5..10), "Content-Length: 1000", "unranged"),
        (range(5..10), "Transfer-Encoding: chunked", "unranged"),
        (range(0..10), "Content-Length: 10|Content-Range: bytes 0-9/10", "body 0 0 Some(10)"),
        (range(0..10), "Content-Length: 10|Content-Range: bytes 0-9/11", "unranged"),
        (range(0..10), "Content-Length: 11|Content-Range: bytes 0-9/10", "unranged"),
        (range(0..10), "Content-Length: 10|Content-Range: bytes 1-10/*", "unranged"),
        (range(0..10), "Content-Range: bytes 0-9/11", "unranged"),
        (range(0..10), "Content-Length: 10|Content-Range: bytes 0-9", "unranged"),
        (WHOLE, "Content-Length: 10|Content-Range: bytes 0-9/11", "protocol"),
        (WHOLE, "Content-Length: 10|Content-Range: none", "body 0 0 Some(10)"),
    ] {
        assert_eq!(word(&answer(200, text, &ask, None)), verdict, "{ask:?} {text}");
    }
    let changed = answer(200, "Content-Length: 9", &range(5..10), Some(&known(1000)));
    assert_eq!(word(&changed), "changed");
    let changed = answer(200, "Content-Length: 0", &WHOLE, Some(&known(1000)));
    assert_eq!(word(&changed), "changed");
}

#[test]
fn a_page_in_the_place_of_a_file_is_no_change() {
    let file = Version { is_page: Some(false), ..known(1000) };
    let page = "Content-Type: Text/HTML; charset=utf-8|Content-Length: 9";
    let ask = range(100..200);
    assert_eq!(word(&answer(200, page, &ask, Some(&file))), "protocol");
    for before in [known(1000), Version { is_page: Some(true), ..known(1000) }] {
        assert_eq!(word(&answer(200, page, &ask, Some(&before))), "changed");
    }
    let text = "Content-Type: text/plain|Content-Length: 9";
    assert_eq!(word(&answer(200, text, &ask, Some(&file))), "changed");
}

#[test]
fn bodies_with_two_readings_are_refused() {
    let part = "ETag: \"a\"|Content-Range: bytes 100-199/1000";
    for bad in [
        "Content-Length: 100|Transfer-Encoding: chunked",
        "Content-Length: 100|Content-Length: 99",
        "Content-Length: 100, 99",
        "Content-Length: 100,",
        "Content-Length: 100, 100|Transfer-Encoding: chunked",
        "Content-Length: +100",
        "Content-Length: -1",
        "Content-Length: 100x",
        "Content-Length: ",
        "Content-Length: 9223372036854775808",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked|Transfer-Encoding: chunked",
        "Content-Encoding: gzip",
        "Content-Encoding: identity|Content-Encoding: br",
        "Content-Encoding: identity, gzip",
    ] {
        expect(&[(206, &format!("{part}|{bad}"), "protocol"), (200, bad, "protocol")]);
    }
    for good in [
        "Content-Encoding: Identity",
        "Content-Length: 100|Content-Length: 100",
        "Content-Length: 100, 100 ,100",
    ] {
        expect(&[(206, &format!("{part}|{good}"), "body 100 0 Some(100)")]);
    }
}

#[test]
fn chunks_in_http_1_0_are_refused() {
    let headers = fields("Transfer-Encoding: chunked");
    let head = Head { status: StatusCode::OK, http: Http::HTTP_10, headers: &headers };
    assert_eq!(word(&judge(&head, &WHOLE, None, SystemTime::UNIX_EPOCH)), "protocol");
}

#[test]
fn only_a_whole_answer_leaves_the_connection_usable() {
    for (status, text, reusable) in [
        (206, "Content-Range: bytes 0-9/99|Content-Length: 10", true),
        (206, "Content-Range: bytes 0-5/99|Content-Length: 6", true),
        (206, "Content-Range: bytes 0-9/99|Transfer-Encoding: chunked", true),
        (206, "Content-Range: bytes 0-10/99|Content-Length: 11", false),
        (206, "Content-Range: bytes 0-10/99|Transfer-Encoding: chunked", false),
        (206, "Content-Range: bytes 0-9/99", false),
        (206, "Content-Range: bytes 0-9/99|Content-Length: 10|Connection: x, Close", false),
        (200, "Content-Length: 99", true),
        (200, "Content-Length: 99|Connection: keep-alive", true),
        (200, "Content-Length: 99|Connection: keep-alive|Connection: close", false),
        (200, "X: y", false),
    ] {
        let Verdict::Body(answer) = answer(status, text, &range(0..10), None) else {
            panic!("{text}");
        };
        assert_eq!((answer.reusable, answer.ranged), (reusable, status == 206), "{text}");
    }
    let headers = fields("Content-Length: 1");
    for http in [Http::HTTP_09, Http::HTTP_10, Http::HTTP_2] {
        assert!(!is_keep_alive(&Head { status: StatusCode::OK, http, headers: &headers }));
    }
}

#[test]
fn another_version_is_noticed_in_every_answer() {
    let size = "Content-Range: bytes 100-199/1000";
    expect(&[
        (206, &format!("{size}|ETag: \"b\""), "changed"),
        (206, &format!("{size}|ETag: W/\"a\""), "changed"),
        (206, size, "changed"),
        (206, &format!("{size}|ETag: \"a\"|ETag: \"b\""), "changed"),
        (206, &format!("{size}|ETag: \"a\"|Last-Modified: {OLD}"), "body 100 0 Some(100)"),
        (200, "ETag: \"b\"|Content-Length: 1000", "changed"),
        (200, "ETag: \"a\"|Content-Length: 1000", "unranged"),
        (412, "", "changed"),
        (304, "ETag: \"a\"", "protocol"),
    ]);
}

#[test]
fn a_refused_range_tells_the_size() {
    for (ask, size, text, verdict) in [
        (range(0..10), None, "Content-Range: bytes */0", "empty"),
        (range(0..10), Some(0), "Content-Range: bytes */0", "empty"),
        (range(0..10), Some(5), "Content-Range: bytes */0", "changed"),
        (range(5..10), Some(20), "Content-Range: bytes */5", "changed"),
        (range(5..10), Some(20), "Content-Range: bytes */20", "unranged"),
        (range(5..10), Some(20), "X: y", "unranged"),
        (range(5..10), None, "Content-Range: bytes */0", "unranged"),
        (range(0..10), None, "Content-Range: bytes */x", "unranged"),
        (WHOLE, None, "Content-Range: bytes */0", "protocol"),
    ] {
        let known = size.map(known);
        let verdict_got = answer(416, text, &ask, known.as_ref());
        assert_eq!(word(&verdict_got), verdict, "{ask:?} {size:?} {text}");
    }
}

#[test]
fn redirects_hand_on_where_to() {
    for status in [301, 302, 303, 307, 308] {
        expect(&[
            (status, "Location: ../x y", "redirect ../x y"),
            (status, "Location: /caf\u{e9}", "redirect /caf\u{e9}"),
            (status, "Location: ", "protocol"),
            (status, "X: y", "protocol"),
            (status, "Location: /a|Location: /b", "protocol"),
        ]);
    }
    expect(&[(300, "Location: /a", "refused"), (305, "Location: /a", "refused")]);
}

#[test]
fn refusals_say_the_status_and_what_to_try() {
    for (status, kind, words) in [
        (401, Kind::Refused, "401 Unauthorized; give credentials with --user or --bearer-file"),
        (403, Kind::Refused, "403 Forbidden"),
        (404, Kind::Refused, "404 Not Found"),
        (410, Kind::Refused, "410 Gone"),
        (499, Kind::Refused, "499"),
        (501, Kind::Refused, "501 Not Implemented"),
        (505, Kind::Refused, "505 HTTP Version Not Supported"),
        (408, Kind::Unavailable, "408 Request Timeout"),
        (425, Kind::Unavailable, "425 Too Early"),
        (429, Kind::Unavailable, "429 Too Many Requests"),
        (500, Kind::Unavailable, "500 Internal Server Error"),
        (503, Kind::Unavailable, "503 Service Unavailable"),
        (599, Kind::Unavailable, "599"),
        (100, Kind::Protocol, "100 Continue instead of the file"),
        (202, Kind::Protocol, "202 Accepted instead of the file"),
        (204, Kind::Protocol, "204 No Content instead of the file"),
        (205, Kind::Protocol, "205 Reset Content instead of the file"),
        (304, Kind::Protocol, "304 Not Modified"),
        (700, Kind::Protocol, "700 instead of the file"),
    ] {
        let Verdict::Failed(error) = answer(status, "", &WHOLE, None) else { panic!("{status}") };
        assert_eq!(error.kind(), kind, "{status}");
        assert_eq!(error.to_string(), format!("the server answered {words}"));
    }
}

#[test]
fn a_wait_counts_from_the_clock_of_the_server() {
    let wait = |text: &str| match answer(503, text, &WHOLE, None) {
        Verdict::Failed(error) => error.wait_asked(),
        other => panic!("{other:?}"),
    };
    let day = Some(Duration::from_secs(86400));
    assert_eq!(wait(""), None);
    assert_eq!(wait("Retry-After: 120"), Some(Duration::from_secs(120)));
    assert_eq!(wait(&format!("Retry-After: {DATE}|Date: {OLD}")), day);
    assert_eq!(wait(&format!("Retry-After: {OLD}|Date: {DATE}")), Some(Duration::ZERO));
    assert_eq!(wait("Retry-After: Fri, 02 Jan 1970 00:00:00 GMT"), day);
    assert_eq!(wait("Retry-After: 99999999999999999999"), Some(Duration::from_secs(u64::MAX)));
    for junk in ["-1", "1.5", "soon", "+5", ""] {
        assert_eq!(wait(&format!("Retry-After: {junk}")), None, "{junk}");
    }
}

fn version(text: &str) -> Version {
    Version::from_headers(&fields(text), Some(1))
}

#[test]
fn a_weak_etag_is_never_sent_in_if_range() {
    for (text, sent) in [
        ("ETag: \"a\"".to_owned(), Some("\"a\"")),
        ("ETag: W/\"a\"".to_owned(), None),
        ("ETag: a".to_owned(), None),
        ("ETag: \"".to_owned(), None),
        ("ETag: \"a\" \"b\"".to_owned(), None),
        ("ETag: \"\u{e9}\"".to_owned(), None),
        (format!("ETag: \"a\"|Last-Modified: {OLD}|Date: {DATE}"), Some("\"a\"")),
        (format!("ETag: W/\"a\"|Last-Modified: {OLD}|Date: {DATE}"), Some(OLD)),
        (format!("Last-Modified: {OLD}"), None),
        (format!("Last-Modified: {DATE}|Date: {DATE}"), None),
        (format!("Last-Modified: {DATE}|Date: {OLD}"), None),
    ] {
        let version = version(&text);
        let condition = version.condition();
        assert_eq!(version.is_strong(), sent.is_some(), "{text}");
        assert_eq!(
            condition,
            sent.map(|sent| (IF_RANGE, HeaderValue::from_static(sent))),
            "{text}"
        );
    }
}

#[test]
fn a_missing_validator_counts_if_the_version_relies_on_it() {
    let (both, date) = (format!("Last-Modified: {OLD}|Date: {DATE}"), format!("Date: {DATE}"));
    for (before, after, changed) in [
        ("ETag: \"a\"", "X: y", true),
        ("ETag: W/\"a\"", "X: y", false),
        ("X: y", "ETag: \"a\"", false),
        (both.as_str(), date.as_str(), true),
        (&format!("ETag: \"a\"|{both}"), "ETag: \"a\"", false),
        (&format!("Last-Modified: {OLD}"), "X: y", false),
        (&format!("ETag: \"a\"|{both}"), &format!("ETag: \"a\"|Last-Modified: {DATE}"), true),
    ] {
        assert_eq!(version(before).differs(&version(after)).is_some(), changed, "{before} {after}");
    }
}

#[test]
fn what_changed_is_told_without_steering_the_terminal() {
    let why = version("ETag: \"a\"").differs(&version("ETag: \"\u{9b}31m\""));
    assert_eq!(why.unwrap(), "the ETag changed from \"a\" to \"\u{c2}\\u{9b}31m\"");
    let long = version(&format!("ETag: \"{}\"", "x".repeat(5000)));
    assert!(long.differs(&version("ETag: \"a\"")).unwrap().len() < 200);
}

#[test]
fn a_version_shows_its_etag_or_its_date() {
    let dated = version(&format!("Last-Modified: {OLD}"));
    assert_eq!(dated.label(), Some(OLD));
    assert_eq!(dated.modified(), httpdate::parse_http_date(OLD).ok());
    assert_eq!(version("ETag: W/\"a\"").label(), Some("W/\"a\""));
    assert_eq!(version("ETag: |Last-Modified: ").label(), None);
}

#[test]
fn asks_are_written_with_an_inclusive_end() {
    assert_eq!(range(0..8_388_608).header().as_deref(), Some("bytes=0-8388607"));
    assert_eq!(range(5..u64::MAX).header().as_deref(), Some("bytes=5-"));
    assert_eq!((WHOLE.header(), WHOLE.first(), range(5..6).first()), (None, 0, 5));
}

#[test]
fn a_raw_name_from_the_server_is_kept() {
    let text = "Content-Length: 1|Content-Disposition: attachment; filename=caf\u{e9}";
    let Verdict::Body(answer) = answer(200, text, &WHOLE, None) else { panic!("no body") };
    assert_eq!(answer.disposition.as_deref(), Some("attachment; filename=caf\u{e9}"));
}
