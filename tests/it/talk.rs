//! What the program says: events, silence, and remote strings that cannot steer a terminal.

use serde_json::Value;

use crate::harness::Run;
use crate::origin::{File, Origin, Reply, Running};

fn file() -> File {
    File::new(300_000)
}

fn origin() -> Running {
    Origin::new().file("/f.bin", file()).start()
}

fn assert_keys(event: &Value, keys: &[&str]) {
    for key in keys {
        assert!(event.get(key).is_some(), "{key} is missing: {event}");
    }
}

#[test]
fn events_tell_the_whole_story() {
    let origin = origin();
    let outcome = Run::new(&origin.url("/f.bin")).arg("--json").finish();
    outcome.assert_gives("f.bin", &file());
    let events = outcome.events();
    assert_eq!(events.first().unwrap()["event"], "start");
    assert_eq!(events.last().unwrap()["event"], "summary");
    let probe = outcome.event("probe");
    assert_keys(&probe, &["url", "size_bytes", "ranges", "validator", "protocol", "remote_addr"]);
    assert_eq!(probe["size_bytes"], file().size);
    let done = outcome.event("done");
    assert_keys(&done, &["url", "path", "bytes", "fetched_bytes", "resumed_bytes", "seconds"]);
    assert_keys(&done, &["bytes_per_second", "connections", "io", "write", "cpu_seconds"]);
    assert_keys(&done, &["digest", "durable", "verified"]);
    assert_eq!(done["bytes"], file().size);
    assert_eq!(done["durable"], true);
    assert_eq!(outcome.event("summary")["exit_code"], 0);
}

#[test]
fn a_failure_is_an_event_with_its_exit_code() {
    let origin = origin();
    let outcome = Run::new(&origin.url("/missing.bin")).arg("--json").finish();
    outcome.assert_fails(5, &["404"]);
    let error = outcome.event("error");
    assert_keys(&error, &["url", "kind", "exit_code", "message"]);
    assert_eq!(error["exit_code"], 5);
    assert_eq!(outcome.event("summary")["exit_code"], 5);
}

#[test]
fn no_sync_is_told() {
    let origin = origin();
    let outcome = Run::new(&origin.url("/f.bin")).args(["--json", "--no-sync"]).finish();
    assert_eq!(outcome.event("done")["durable"], false);
}

#[test]
fn quiet_says_nothing_but_errors() {
    let origin = origin();
    let outcome = Run::new(&origin.url("/f.bin")).arg("-q").finish();
    outcome.assert_gives("f.bin", &file());
    assert_eq!((outcome.stderr.as_str(), outcome.stdout.len()), ("", 0));
    Run::new(&origin.url("/missing.bin")).arg("-q").finish().assert_fails(5, &["404"]);
}

#[test]
fn success_is_one_closing_line_on_stderr() {
    let origin = origin();
    let outcome = Run::new(&origin.url("/f.bin")).finish();
    assert!(outcome.stdout.is_empty());
    let lines: Vec<_> =
        outcome.stderr.lines().filter(|line| !line.starts_with("ringpull: note: ")).collect();
    assert_eq!(lines.len(), 1, "{}", outcome.stderr);
    assert!(lines[0].contains("f.bin"), "{}", outcome.stderr);
}

#[test]
fn remote_strings_cannot_steer_the_terminal() {
    let escape = "\u{1b}[31m\u{1b}]0;owned\u{7}\u{9b}2J";
    let origin = Origin::new()
        .at("/reason.bin", move |_| Reply::status(&format!("404 {escape}")))
        .at("/location.bin", move |_| Reply::redirect("302 Found", &format!("/x{escape}")))
        .at("/header.bin", move |_| {
            Reply::whole(&file()).set("Content-Encoding", &format!("gz{escape}"))
        })
        .at("/range.bin", move |_| {
            Reply::part(&file(), 0..5).set("Content-Range", &format!("bytes {escape}"))
        })
        .start();
    for path in ["/reason.bin", "/location.bin", "/header.bin", "/range.bin"] {
        let run = Run::new(&origin.url(path)).args(["-v", "--retries", "0"]);
        let outcome = run.finish_talking();
        assert_ne!(outcome.code, Some(0), "{path}");
    }
}

#[test]
fn a_failed_download_never_shows_a_secret() {
    let origin = origin();
    let url = origin.url("/missing.bin?token=s3cret").replace("http://", "http://user:s3cret@");
    let run = Run::new(&url).args(["-v", "-H", "Authorization: Bearer s3cret"]);
    let outcome = run.finish_talking();
    outcome.assert_code(5);
    assert!(!outcome.stderr.contains("s3cret"), "{}", outcome.stderr);
}

#[test]
fn options_may_come_from_the_environment() {
    let origin = origin();
    let run = Run::new(&origin.url("/f.bin")).env("RINGPULL_OUTPUT", "env.bin");
    run.finish().assert_gives("env.bin", &file());
    let run = Run::new(&origin.url("/f.bin")).env("RINGPULL_USER", "user:secret");
    run.finish().assert_gives("f.bin", &file());
    let last = origin.log().pop().unwrap();
    assert_eq!(last.header("authorization"), Some("Basic dXNlcjpzZWNyZXQ="));
}

#[test]
fn requests_carry_what_they_should_and_no_more() {
    let origin = origin();
    let run = Run::new(&origin.url("/f.bin")).args(["-A", "agent/1", "-H", "X-One: 1"]);
    run.finish().assert_gives("f.bin", &file());
    let request = origin.log().remove(0);
    assert_eq!(request.header("host"), Some(origin.address().to_string().as_str()));
    assert_eq!(request.header("user-agent"), Some("agent/1"));
    assert_eq!(request.header("x-one"), Some("1"));
    assert_eq!(request.header("accept-encoding").unwrap_or("identity"), "identity");
    assert_eq!(request.header("if-range"), None);
}
