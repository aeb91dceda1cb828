//! The report as a whole, on pages that a test can read.

use serde_json::Value;
use url::Url;

use super::output::tests::Page;
use super::*;
use crate::error::Kind;
use crate::meter::Event;
use crate::options::{Target, Verified};

/// A download that went well.
pub(super) fn outcome() -> Outcome {
    Outcome {
        path: Some("./file.iso".into()),
        bytes: 2 << 30,
        fetched_bytes: 2 << 30,
        resumed_bytes: 0,
        time: Duration::from_millis(1070),
        connections: 8,
        io: "uring",
        write: "direct",
        durable: true,
        verified: Verified::Validator,
        up_to_date: false,
    }
}

/// The item of that download.
pub(super) fn subject() -> Subject {
    Subject::new(
        &Url::parse("http://h/file.iso").unwrap(),
        &Target::File("./file.iso".into()),
        false,
    )
}

const STYLE: Style =
    Style { progress: Progress::Plain, quiet: false, verbose: false, json: false, shared: false };

/// Plays one download and tells what the pages for people and for programs hold.
fn play(style: Style, result: &Result<Outcome>) -> (String, Vec<Value>) {
    let (messages, events) = (Page::default(), Page::default());
    let mut report = Report::new(style, Output::new(messages.clone(), events.clone()));
    let meter = Meter::default();
    report.remark("remark");
    report.begin(subject());
    meter.tell(Event::Notice("io_uring is blocked\x1b".into()));
    meter.tell(Event::Retry {
        kind: Kind::Reset,
        attempt: 1,
        wait: Duration::ZERO,
        message: "cut".into(),
    });
    report.sample(&meter, Instant::now());
    report.sample(&meter, Instant::now() + Duration::from_secs(9));
    report.end(&meter, result, Duration::from_millis(408), 3);
    report.summary(Summary { items: 1, exit_code: 3, ..Summary::default() });
    let events = events.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (messages.text(), events)
}

fn failed() -> Result<Outcome> {
    Err(Error::new(Kind::Reset, "cut").because("gone"))
}

#[test]
fn people_read_notes_retries_and_a_closing_line() {
    let (text, events) = play(STYLE, &Ok(outcome()));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[..2],
        ["ringpull: note: io_uring is blocked\\u{1b}", "ringpull: retry 1 in 0.0 s: cut"]
    );
    assert_eq!(lines[2], "file.iso: 0 B, connecting");
    assert!(lines[3].starts_with("file.iso: 2.00 GiB in 1.07 s"), "{text}");
    assert_eq!((lines.len(), events.len()), (4, 0));
}

#[test]
fn without_progress_there_are_no_retries() {
    let (text, _) = play(Style { progress: Progress::None, ..STYLE }, &Ok(outcome()));
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn a_short_download_gets_no_progress() {
    let (text, events) = (Page::default(), Page::default());
    let style = Style { json: true, verbose: true, ..STYLE };
    let mut report = Report::new(style, Output::new(text.clone(), events.clone()));
    report.begin(subject());
    for _ in 0..9 {
        report.sample(&Meter::default(), Instant::now());
    }
    report.end(&Meter::default(), &Ok(outcome()), Duration::ZERO, 0);
    assert_eq!((text.text().lines().count(), events.text().lines().count()), (1, 2));
}

#[test]
fn quiet_leaves_nothing_but_errors() {
    let quiet = Style { quiet: true, ..STYLE };
    assert_eq!(play(quiet, &Ok(outcome())).0, "");
    assert_eq!(play(quiet, &failed()).0, "ringpull: http://h/file.iso: cut\n");
}

#[test]
fn verbose_adds_remarks_and_causes() {
    let (text, _) = play(Style { verbose: true, ..STYLE }, &failed());
    assert!(text.starts_with("ringpull: note: remark\n"), "{text}");
    assert!(text.ends_with("ringpull: http://h/file.iso: cut\n  caused by: gone\n"), "{text}");
}

#[test]
fn programs_read_events_from_start_to_summary() {
    let json = Style { json: true, ..STYLE };
    let (text, events) = play(json, &Ok(outcome()));
    assert_eq!(text, "");
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["start", "notice", "retry", "progress", "done", "summary"]);
    assert!(events[..5].iter().all(|event| event["url"] == "http://h/file.iso"));
    assert!(events[5].get("url").is_none());
}

#[test]
fn a_failure_reaches_people_and_programs_unless_they_share_a_stream() {
    let json = Style { json: true, ..STYLE };
    let (text, events) = play(json, &failed());
    assert_eq!(text, "ringpull: http://h/file.iso: cut\n");
    let error = &events[events.len() - 2];
    assert_eq!((&error["event"], &error["kind"]), (&"error".into(), &"reset".into()));
    assert_eq!(error["exit_code"], 3);
    let (text, events) = play(Style { shared: true, verbose: true, ..json }, &failed());
    assert_eq!(text, "");
    assert_eq!(events.last().unwrap()["event"], "summary");
}

#[test]
fn json_with_verbose_talks_to_people_as_well() {
    let (text, events) = play(Style { json: true, verbose: true, ..STYLE }, &Ok(outcome()));
    assert!(text.contains("2.00 GiB in 1.07 s"), "{text}");
    assert_eq!(events.len(), 6);
}

#[test]
fn a_refused_command_line_still_ends_with_a_summary() {
    let events = Page::default();
    let style = Style { json: true, ..STYLE };
    let mut report = Report::new(style, Output::new(Page::default(), events.clone()));
    report.failed(&Error::new(Kind::Usage, "no"), 2);
    report.summary(Summary { items: 1, failed: 1, exit_code: 2, ..Summary::default() });
    let lines: Vec<Value> =
        events.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["event"], &lines[0]["exit_code"]), (&"error".into(), &2.into()));
    assert_eq!(lines[1]["failed"], 1);
}
