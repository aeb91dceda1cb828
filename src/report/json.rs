//! The events of `--json`: one object a line, each with its event and time first, then the item it
//! concerns.
//!
//! Not here: when they are written, and where. Units are in the key names; a key, once there, keeps
//! its meaning.

use std::time::Duration;

use serde::Serialize;

use super::Subject;
use super::frame::Frame;
use super::output::tame_json;
use crate::error::Error;
use crate::meter::{self, Phase};
use crate::options::{Outcome, Verified};
use crate::units::{self, whole_f64};

/// What an event says besides its name, its time and its item.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Body<'a> {
    Start {},
    Probe {
        size_bytes: Option<u64>,
        ranges: bool,
        validator: Option<&'a str>,
        protocol: &'a str,
        remote_addr: &'a str,
    },
    Progress {
        phase: &'static str,
        bytes: u64,
        size_bytes: Option<u64>,
        bytes_per_second: u64,
        connections: u32,
    },
    Retry {
        kind: &'static str,
        attempt: u32,
        wait_seconds: f64,
        message: &'a str,
    },
    Changed {
        message: &'a str,
    },
    Notice {
        message: &'a str,
    },
    Done {
        bytes: u64,
        fetched_bytes: u64,
        resumed_bytes: u64,
        seconds: f64,
        bytes_per_second: u64,
        connections: u32,
        io: &'static str,
        write: &'static str,
        cpu_seconds: f64,
        digest: Option<String>,
        durable: bool,
        verified: &'static str,
        up_to_date: bool,
    },
    Error {
        kind: &'static str,
        exit_code: u8,
        message: String,
    },
    Summary {
        items: usize,
        done: usize,
        failed: usize,
        bytes: u64,
        exit_code: u8,
    },
}

impl<'a> Body<'a> {
    /// One look at a download.
    pub(super) fn progress(frame: &Frame) -> Self {
        let phase = match frame.phase {
            Phase::Probing => "probing",
            Phase::Fetching => "fetching",
            Phase::Verifying => "verifying",
            Phase::Syncing => "syncing",
            Phase::Done => "done",
        };
        Self::Progress {
            phase,
            bytes: frame.bytes,
            size_bytes: frame.size,
            bytes_per_second: whole_f64(frame.rate).unwrap_or(0),
            connections: frame.connections,
        }
    }

    /// What the meter tells; `None` for what only people want to read.
    pub(super) fn of(event: &'a meter::Event) -> Option<Self> {
        Some(match event {
            meter::Event::Probe { size_bytes, ranges, validator, protocol, remote_addr } => {
                Self::Probe {
                    size_bytes: *size_bytes,
                    ranges: *ranges,
                    validator: validator.as_deref(),
                    protocol,
                    remote_addr,
                }
            }
            meter::Event::Retry { kind, attempt, wait, message } => Self::Retry {
                kind: kind.name(),
                attempt: *attempt,
                wait_seconds: seconds(*wait),
                message,
            },
            meter::Event::Changed { why } => Self::Changed { message: why },
            meter::Event::Notice(message) => Self::Notice { message },
            meter::Event::Detail(_) => return None,
        })
    }

    /// A download that succeeded, for `cpu` of processor time.
    pub(super) fn done(outcome: &Outcome, cpu: Duration) -> Self {
        let (verified, digest) = match &outcome.verified {
            Verified::Digest(checksum) => ("digest", Some(checksum.to_string())),
            Verified::Stretches => ("digest", None),
            Verified::Validator => ("one_version", None),
            Verified::OneResponse => ("one_response", None),
            Verified::Nothing => ("nothing", None),
        };
        let rate = units::rate(outcome.fetched_bytes, outcome.time);
        Self::Done {
            bytes: outcome.bytes,
            fetched_bytes: outcome.fetched_bytes,
            resumed_bytes: outcome.resumed_bytes,
            seconds: seconds(outcome.time),
            bytes_per_second: whole_f64(rate).unwrap_or(0),
            connections: outcome.connections,
            io: outcome.io,
            write: outcome.write,
            cpu_seconds: seconds(cpu),
            digest,
            durable: outcome.durable,
            verified,
            up_to_date: outcome.up_to_date,
        }
    }

    /// A failure that ends with `exit_code`, which a signal may have chosen.
    pub(super) fn error(error: &Error, exit_code: u8) -> Self {
        Self::Error { kind: error.kind().name(), exit_code, message: error.to_string() }
    }

    fn event(&self) -> &'static str {
        match self {
            Self::Start {} => "start",
            Self::Probe { .. } => "probe",
            Self::Progress { .. } => "progress",
            Self::Retry { .. } => "retry",
            Self::Changed { .. } => "changed",
            Self::Notice { .. } => "notice",
            Self::Done { .. } => "done",
            Self::Error { .. } => "error",
            Self::Summary { .. } => "summary",
        }
    }
}

/// Writes an event as one line; `at` is the time since the start.
pub(super) fn line(at: Duration, subject: Option<&Subject>, body: &Body<'_>) -> String {
    let item = subject.map(|subject| Item { url: &subject.url, path: subject.path.as_deref() });
    let rest = serde_json::to_string(&Rest { item, body })
        .expect("proof: the keys are strings and no type here fails to serialize");
    let comma = if rest == "{}" { "" } else { "," };
    let head = format!("{{\"event\":\"{}\",\"t\":{:.3}{comma}", body.event(), at.as_secs_f64());
    tame_json(&(head + &rest[1..]))
}

/// What follows event and time.
#[derive(Serialize)]
struct Rest<'a> {
    #[serde(flatten)]
    item: Option<Item<'a>>,
    #[serde(flatten)]
    body: &'a Body<'a>,
}

#[derive(Serialize)]
struct Item<'a> {
    url: &'a str,
    path: Option<&'a str>,
}

/// Whole microseconds as seconds: no digits that the clock does not have.
fn seconds(time: Duration) -> f64 {
    Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::frame::tests::frame;
    use super::super::tests::{outcome, subject};
    use super::*;
    use crate::error::Kind;

    fn parsed(body: &Body<'_>) -> Value {
        let line = line(Duration::from_micros(1_234_567), Some(&subject()), body);
        assert_eq!(line.lines().count(), 1);
        assert!(line.contains("\"t\":1.235,"), "{line}");
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["url"], "http://h/file.iso");
        assert_eq!(value["path"], "./file.iso");
        value
    }

    fn keys(value: &Value) -> Vec<&str> {
        let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        keys.retain(|key| !["event", "t", "url", "path"].contains(key));
        keys.sort_unstable();
        keys
    }

    #[test]
    fn done_has_its_documented_keys() {
        let value = parsed(&Body::done(&outcome(), Duration::from_millis(408)));
        let wanted = "bytes bytes_per_second connections cpu_seconds digest durable fetched_bytes io \
                      resumed_bytes seconds up_to_date verified write";
        assert_eq!(keys(&value), wanted.split_whitespace().collect::<Vec<_>>());
        assert_eq!((&value["seconds"], &value["cpu_seconds"]), (&1.07.into(), &0.408.into()));
        assert_eq!(value["verified"], "one_version");
        assert_eq!(value["digest"], Value::Null);
    }

    #[test]
    fn the_meter_is_told_with_documented_keys() {
        let probe = meter::Event::Probe {
            size_bytes: Some(7),
            ranges: true,
            validator: Some("\"\x1b[31m\n\"".into()),
            protocol: "http/1.1",
            remote_addr: "127.0.0.1:80".into(),
        };
        let value = parsed(&Body::of(&probe).unwrap());
        assert_eq!(keys(&value), ["protocol", "ranges", "remote_addr", "size_bytes", "validator"]);
        assert_eq!(value["validator"], "\"\x1b[31m\n\"");
        let retry = meter::Event::Retry {
            kind: Kind::TimedOut,
            attempt: 2,
            wait: Duration::from_millis(500),
            message: "x".into(),
        };
        let value = parsed(&Body::of(&retry).unwrap());
        assert_eq!(keys(&value), ["attempt", "kind", "message", "wait_seconds"]);
        assert_eq!((&value["kind"], &value["wait_seconds"]), (&"timed_out".into(), &0.5.into()));
        assert!(Body::of(&meter::Event::Detail("x".into())).is_none());
    }

    #[test]
    fn progress_is_finite_whatever_the_clock_says() {
        let value = parsed(&Body::progress(&Frame { rate: f64::INFINITY, size: None, ..frame() }));
        assert_eq!(
            keys(&value),
            ["bytes", "bytes_per_second", "connections", "phase", "size_bytes"]
        );
        assert_eq!(value["bytes_per_second"], 0);
    }

    #[test]
    fn an_event_without_an_item_names_none() {
        let body = Body::Summary { items: 2, done: 1, failed: 1, bytes: 9, exit_code: 5 };
        let line = line(Duration::ZERO, None, &body);
        assert_eq!(
            line,
            r#"{"event":"summary","t":0.000,"items":2,"done":1,"failed":1,"bytes":9,"exit_code":5}"#
        );
        let start = super::line(Duration::ZERO, Some(&subject()), &Body::Start {});
        assert_eq!(
            start,
            r#"{"event":"start","t":0.000,"url":"http://h/file.iso","path":"./file.iso"}"#
        );
    }
}
