//! The sentences of the report, as pure functions from values to text.
//!
//! Not here: when they are said, and where.

use std::error::Error as _;
use std::time::Duration;

use url::Url;

use super::frame::Frame;
use crate::error::{Error, Escaped};
use crate::meter::{Event, Phase};
use crate::options::{Outcome, Verified};
use crate::units::{self, as_f64, show_rate, show_size, show_time};

/// Shows a URL without credentials and query values: signed URLs carry tokens there.
pub(crate) fn shown_url(url: &Url) -> String {
    let mut bare = url.clone();
    let query = if url.query().is_some() { "?…" } else { "" };
    bare.set_query(None);
    bare.set_fragment(None);
    // Fails only where there can be no credentials: in a URL without a host.
    let _ = bare.set_username("").and_then(|()| bare.set_password(None));
    format!("{}{query}", Escaped(bare.as_str()))
}

/// A line of progress: `file.iso: 43%, 880 MiB of 2.00 GiB, 1.10 GiB/s, ETA 1.04 s`.
pub(super) fn plain(name: &str, frame: &Frame) -> String {
    let mut parts = Vec::new();
    match (frame.percent(), frame.size) {
        (Some(percent), Some(size)) => {
            parts.push(format!("{percent}%"));
            parts.push(format!("{} of {}", show_size(frame.bytes), show_size(size)));
        }
        _ => parts.push(show_size(frame.bytes)),
    }
    match doing(frame.phase) {
        Some(word) => parts.push(word.to_owned()),
        None => parts.push(show_rate(frame.rate)),
    }
    parts.extend(frame.eta().map(|eta| format!("ETA {}", show_time(eta))));
    format!("{name}: {}", parts.join(", "))
}

/// What stands right of the bar: `880 MiB/2.00 GiB  1.10 GiB/s  ETA 1.04 s  8 conn`.
pub(super) fn beside_bar(frame: &Frame) -> String {
    let bytes = match frame.size {
        Some(size) => format!("{}/{}", show_size(frame.bytes), show_size(size)),
        None => show_size(frame.bytes),
    };
    if let Some(word) = doing(frame.phase) {
        return format!("{bytes}  {word}");
    }
    let eta = frame.eta().map_or_else(String::new, |eta| format!("  ETA {}", show_time(eta)));
    format!("{bytes}  {}{eta}  {} conn", show_rate(frame.rate), frame.connections)
}

/// What a download does while it does not receive.
fn doing(phase: Phase) -> Option<&'static str> {
    match phase {
        Phase::Probing => Some("connecting"),
        Phase::Verifying => Some("verifying"),
        Phase::Syncing => Some("syncing"),
        Phase::Fetching | Phase::Done => None,
    }
}

/// Cuts a name to `width` characters; the middle goes, because both ends tell names apart.
pub(super) fn cut(name: &str, width: usize) -> String {
    let chars: Vec<char> = name.chars().collect();
    if chars.len() <= width {
        return name.to_owned();
    }
    let kept = width.saturating_sub(1);
    let tail = kept / 2;
    let (head, rest) = (&chars[..kept - tail], &chars[chars.len() - tail..]);
    head.iter().chain(&['…']).chain(rest).collect()
}

/// The line that ends a download: what came, how fast, by which means, and how far it can be
/// trusted.
pub(super) fn closing(name: &str, outcome: &Outcome, cpu: Duration) -> String {
    if outcome.up_to_date {
        return format!("{name}: up to date");
    }
    let mut line = format!(
        "{name}: {} in {}, {}",
        show_size(outcome.bytes),
        show_time(outcome.time),
        show_rate(units::rate(outcome.fetched_bytes, outcome.time)),
    );
    if outcome.resumed_bytes > 0 {
        line.push_str(&format!(" ({} were there)", show_size(outcome.resumed_bytes)));
    }
    let plural = if outcome.connections == 1 { "" } else { "s" };
    line.push_str(&format!(
        "; io {}, write {}, {} connection{plural}",
        outcome.io, outcome.write, outcome.connections
    ));
    if outcome.fetched_bytes >= CPU_BYTES_MIN {
        let per_gigabyte = cpu.as_secs_f64() / (as_f64(outcome.fetched_bytes) / 1e9);
        line.push_str(&format!(", {per_gigabyte:.2} CPU s/GB"));
    }
    line.push_str(&format!("; {}", trust(&outcome.verified)));
    // A stream and a discarded file have no disk to be on.
    if outcome.path.is_some() && outcome.write != "discard" {
        line.push_str(if outcome.durable { ", on disk" } else { ", not synced" });
    }
    line
}

fn trust(verified: &Verified) -> String {
    match verified {
        Verified::Digest(checksum) => {
            let text = checksum.to_string();
            format!("verified {}", text.split('=').next().unwrap_or("digest"))
        }
        Verified::Stretches => "verified in stretches".to_owned(),
        Verified::Validator => "one version".to_owned(),
        Verified::OneResponse => "one response".to_owned(),
        Verified::Nothing => "not verified".to_owned(),
    }
}

/// A failure: one line, then its causes where `verbose`. `about` is the shown URL it concerns.
pub(super) fn failure(about: Option<&str>, error: &Error, verbose: bool) -> Vec<String> {
    let message = error.to_string();
    let mut lines = match about.filter(|about| !message.contains(about)) {
        Some(about) => vec![format!("ringpull: {about}: {message}")],
        None => vec![format!("ringpull: {message}")],
    };
    let mut source = error.source().filter(|_| verbose);
    while let Some(cause) = source.filter(|_| lines.len() <= CAUSES_MAX) {
        lines.push(format!("  caused by: {cause}"));
        source = cause.source();
    }
    lines
}

/// An event of the meter as a line, if people want it: `verbose` ones see all, `lively` ones see
/// retries.
pub(super) fn event(event: &Event, verbose: bool, lively: bool) -> Option<String> {
    match event {
        Event::Notice(text) => Some(format!("ringpull: note: {}", Escaped(text))),
        Event::Changed { why } => Some(format!(
            "ringpull: note: the file changed on the server ({}), starting anew",
            Escaped(why)
        )),
        Event::Retry { attempt, wait, message, .. } if verbose || lively => {
            Some(format!("ringpull: retry {attempt} in {}: {message}", show_wait(*wait)))
        }
        Event::Detail(text) if verbose => Some(format!("ringpull: {}", Escaped(text))),
        Event::Probe { size_bytes, ranges, validator, protocol, remote_addr } if verbose => {
            Some(format!(
                "ringpull: {protocol} from {}: {}, {}, {}",
                Escaped(remote_addr),
                size_bytes.map_or_else(|| "unknown size".to_owned(), show_size),
                if *ranges { "ranges" } else { "no ranges" },
                validator.as_deref().map_or_else(
                    || "no validator".to_owned(),
                    |text| format!("validator {}", Escaped(text))
                ),
            ))
        }
        _ => None,
    }
}

/// Shows a wait with one digit, as nobody waits more exactly: `0.5 s`, `3:07 min`.
fn show_wait(wait: Duration) -> String {
    if wait.as_secs() < 60 { format!("{:.1} s", wait.as_secs_f64()) } else { show_time(wait) }
}

/// Below this many bytes, the CPU time of start and end says nothing about the cost of a byte.
const CPU_BYTES_MIN: u64 = 10_000_000;
/// Causes that are shown at most.
const CAUSES_MAX: usize = 8;

#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;
