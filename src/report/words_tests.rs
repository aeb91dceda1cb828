//! The exact sentences.

use super::super::frame::tests::frame;
use super::super::tests::outcome;
use super::*;
use crate::error::Kind;

#[test]
fn progress_reads_as_documented() {
    assert_eq!(plain("f.iso", &frame()), "f.iso: 42%, 880 MiB of 2.00 GiB, 1.10 GiB/s, ETA 1.04 s");
    assert_eq!(plain("f", &Frame { size: None, ..frame() }), "f: 880 MiB, 1.10 GiB/s");
    let verifying = Frame { phase: Phase::Verifying, ..frame() };
    assert_eq!(plain("f", &verifying), "f: 42%, 880 MiB of 2.00 GiB, verifying");
    assert_eq!(beside_bar(&frame()), "880 MiB/2.00 GiB  1.10 GiB/s  ETA 1.04 s  8 conn");
    assert_eq!(beside_bar(&Frame { size: None, ..frame() }), "880 MiB  1.10 GiB/s  8 conn");
    let syncing = Frame { phase: Phase::Syncing, bytes: 2 << 30, ..frame() };
    assert_eq!(beside_bar(&syncing), "2.00 GiB/2.00 GiB  syncing");
}

#[test]
fn a_long_name_keeps_both_ends() {
    assert_eq!(cut("short.iso", 24), "short.iso");
    assert_eq!(cut("abcdefghijklmnop.iso", 9), "abcd….iso");
    assert_eq!(cut("üüüüüüüüüü", 4), "üü…ü");
    assert_eq!(cut("abc", 1), "…");
}

#[test]
fn the_closing_line_reads_as_documented() {
    let cpu = Duration::from_millis(408);
    assert_eq!(
        closing("file.iso", &outcome(), cpu),
        "file.iso: 2.00 GiB in 1.07 s, 1.87 GiB/s; io uring, write direct, 8 connections, 0.19 CPU s/GB; \
         one version, on disk"
    );
    let mut small = outcome();
    (small.bytes, small.fetched_bytes, small.connections) = (17, 17, 1);
    (small.durable, small.verified) = (false, Verified::OneResponse);
    assert_eq!(
        closing("f", &small, cpu),
        "f: 17 B in 1.07 s, 16 B/s; io uring, write direct, 1 connection; one response, not synced"
    );
    small.up_to_date = true;
    assert_eq!(closing("f", &small, cpu), "f: up to date");
}

#[test]
fn a_digest_is_named_and_a_stream_has_no_disk() {
    let mut outcome = outcome();
    outcome.path = None;
    outcome.resumed_bytes = 1 << 20;
    outcome.verified = Verified::Digest(format!("sha256={}", "0".repeat(64)).parse().unwrap());
    let line = closing("-", &outcome, Duration::ZERO);
    assert!(line.ends_with("; verified sha256"), "{line}");
    assert!(line.contains(" (1.00 MiB were there); io"), "{line}");
    outcome.verified = Verified::Nothing;
    assert!(closing("-", &outcome, Duration::ZERO).ends_with("; not verified"));
}

#[test]
fn a_failure_is_one_line_and_its_causes_are_for_the_curious() {
    let inner = Error::new(Kind::Reset, "cut").because("the wire is gone");
    let error = Error::new(Kind::Reset, "gave up after 8 retries").hint("try later").because(inner);
    let line = "ringpull: http://h/f: gave up after 8 retries; try later";
    assert_eq!(failure(Some("http://h/f"), &error, false), [line]);
    assert_eq!(
        failure(Some("http://h/f"), &error, true),
        [line, "  caused by: cut", "  caused by: the wire is gone"]
    );
    let named = Error::new(Kind::Refused, "http://h/f: 404 Not Found");
    assert_eq!(failure(Some("http://h/f"), &named, false), ["ringpull: http://h/f: 404 Not Found"]);
    assert_eq!(failure(None, &named, false).len(), 1);
}

#[test]
fn secrets_of_a_url_are_not_shown() {
    let url = Url::parse("http://u:s3@h:8/@a/f?token=t1#x").unwrap();
    assert_eq!(shown_url(&url), "http://h:8/@a/f?…");
}

#[test]
fn events_are_told_to_those_who_care() {
    let retry = Event::Retry {
        kind: Kind::Reset,
        attempt: 1,
        wait: Duration::from_millis(500),
        message: "cut".into(),
    };
    assert_eq!(event(&retry, false, true).unwrap(), "ringpull: retry 1 in 0.5 s: cut");
    assert_eq!(event(&retry, false, false), None);
    assert!(event(&retry, true, false).is_some());
    assert_eq!(event(&Event::Detail("x".into()), false, true), None);
    let notice = Event::Notice("a\x1b[31mb".into());
    assert_eq!(event(&notice, false, false).unwrap(), "ringpull: note: a\\u{1b}[31mb");
    let probe = Event::Probe {
        size_bytes: None,
        ranges: false,
        validator: Some("\"\x1b\"".into()),
        protocol: "http/1.1",
        remote_addr: "127.0.0.1:80".into(),
    };
    assert_eq!(
        event(&probe, true, false).unwrap(),
        "ringpull: http/1.1 from 127.0.0.1:80: unknown size, no ranges, validator \"\\u{1b}\""
    );
}
