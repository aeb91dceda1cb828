//! What a run of `ringpull mirror` tells: a line on a terminal, lines elsewhere, events for programs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::hosts::{HostNumbers, Hosts};
use super::output::{Output, tame_json};
use super::{JSON_EVERY, PLAIN_EVERY, Progress, Style, is_due, words};
use crate::error::{Error, Escaped};
use crate::meter::Event;
use crate::mirror::{Action, Counts, Sealed, Stage, Standing};
use crate::units::{rate, show_rate, show_size, show_time};

/// Tells about one run.
pub(crate) struct MirrorReport {
    output: Output,
    style: Style,
    begun: Instant,
    bar: Option<ProgressBar>,
    plain_at: Instant,
    json_at: Instant,
    last: (Instant, u64),
    rate: f64,
    hosts: Hosts,
}

/// An event of `--json`.
#[derive(Serialize)]
struct Told<'a, B: Serialize> {
    event: &'a str,
    t: f64,
    #[serde(flatten)]
    body: B,
}

/// The counts, as events have them; they are those of the results.
#[derive(Serialize)]
struct Numbers {
    entries: u64,
    fetched: u64,
    linked: u64,
    linked_bytes: u64,
    unchanged: u64,
    failed: u64,
    bad_lines: u64,
    duplicates: u64,
    bytes: u64,
    requests: u64,
}

/// What a notice says.
#[derive(Serialize)]
struct Message<'a> {
    message: &'a str,
}

impl MirrorReport {
    /// A report on `output`.
    pub(crate) fn new(style: &Style, output: Output) -> Self {
        let now = Instant::now();
        let shows_bar = style.progress == Progress::Bar && !style.quiet && !style.json;
        let bar = shows_bar.then(|| {
            let template = ProgressStyle::with_template("{spinner} {msg}");
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
                .with_style(template.expect("proof: a constant, drawn by a test"))
        });
        Self {
            output,
            style: *style,
            begun: now,
            bar,
            plain_at: now + PLAIN_EVERY,
            json_at: now + JSON_EVERY,
            last: (now, 0),
            rate: 0.0,
            hosts: Hosts::default(),
        }
    }

    /// The run begins.
    pub(crate) fn begin(&mut self) {
        #[derive(Serialize)]
        struct Body {}
        self.event("start", Body {});
    }

    /// Tells a remark, to people who want to know more.
    pub(crate) fn remark(&mut self, text: &str) {
        if self.style.verbose && self.chats() {
            self.line(&format!("ringpull: note: {text}"));
        }
    }

    /// Tells what a dry run would do.
    pub(crate) fn action(&mut self, action: &Action) {
        let Action { verb, path } = action;
        if self.style.json {
            #[derive(Serialize)]
            struct Body<'a> {
                action: &'a str,
                path: &'a str,
            }
            self.event("action", Body { action: verb, path });
        } else {
            self.output.answer(&format!("{verb} {}", Escaped(path)));
        }
    }

    /// Looks at the run, every [`super::TICK`].
    pub(crate) fn sample(&mut self, counts: &Counts, now: Instant) {
        self.drain(counts);
        let standing = counts.standing();
        let since = now.saturating_duration_since(self.last.0);
        if since >= RATE_OVER {
            self.rate = rate(standing.bytes.saturating_sub(self.last.1), since);
            self.last = (now, standing.bytes);
            self.hosts.sample(counts.hosts(), since);
        }
        let line = progress(&standing, self.rate, &self.hosts);
        if let Some(bar) = &self.bar {
            bar.set_message(line);
            bar.tick();
        } else if is_due(&mut self.plain_at, PLAIN_EVERY, now)
            && self.style.progress != Progress::None
            && self.chats()
        {
            self.line(&line);
        }
        if is_due(&mut self.json_at, JSON_EVERY, now) {
            #[derive(Serialize)]
            struct Body {
                phase: &'static str,
                in_flight: u64,
                bytes_per_second: u64,
                hosts: BTreeMap<String, HostNumbers>,
                #[serde(flatten)]
                numbers: Numbers,
            }
            let body = Body {
                phase: name(standing.stage),
                in_flight: standing.in_flight,
                bytes_per_second: crate::units::whole_f64(self.rate).unwrap_or(0),
                hosts: self.hosts.numbers(),
                numbers: numbers(&standing),
            };
            self.event("progress", body);
        }
    }

    /// Tells what the run has told since.
    pub(crate) fn drain(&mut self, counts: &Counts) {
        for event in counts.take_events() {
            match &event {
                Event::Detail(text) => self.remark(text),
                Event::Notice(message) => {
                    if self.chats() {
                        self.line(&format!("ringpull: {message}"));
                    }
                    self.event("notice", Message { message });
                }
                _ => {}
            }
        }
    }

    /// The run is sealed.
    pub(crate) fn sealed(&mut self, sealed: &Sealed, is_dry: bool) {
        self.bar = None;
        if let Some(why) = &sealed.not_deleted {
            let more = if sealed.deleted > 0 { "else " } else { "" };
            let message = format!("nothing {more}was removed: {why}");
            self.line(&format!("ringpull: {message}"));
            self.event("notice", Message { message: &message });
        }
        if self.chats() {
            let time = self.begun.elapsed();
            self.line(&closing(sealed, is_dry, time));
        }
    }

    /// The run has failed, or the command line.
    pub(crate) fn failed(&mut self, error: &Error, exit_code: u8) {
        self.bar = None;
        for line in words::failure(None, error, self.style.verbose) {
            self.line(&line);
        }
        #[derive(Serialize)]
        struct Body {
            kind: &'static str,
            exit_code: u8,
            message: String,
        }
        let body = Body { kind: error.kind().name(), exit_code, message: error.to_string() };
        self.event("error", body);
    }

    /// Everything is over.
    pub(crate) fn summary(&mut self, run: Option<(&Standing, Option<&Sealed>)>, exit_code: u8) {
        #[derive(Serialize)]
        struct Body {
            #[serde(flatten)]
            numbers: Numbers,
            deleted: u64,
            sealed: bool,
            durable: bool,
            seconds: f64,
            exit_code: u8,
        }
        let (standing, sealed) =
            run.map_or((None, None), |(standing, sealed)| (Some(standing), sealed));
        let body = Body {
            numbers: numbers(standing.unwrap_or(&Standing::default())),
            deleted: sealed.map_or(0, |sealed| sealed.deleted),
            sealed: sealed.is_some(),
            durable: sealed.is_some_and(|sealed| sealed.durable),
            seconds: self.begun.elapsed().as_secs_f64(),
            exit_code,
        };
        self.event("summary", body);
    }

    fn chats(&self) -> bool {
        !self.style.quiet && (!self.style.json || self.style.verbose)
    }

    fn line(&mut self, text: &str) {
        let output = &mut self.output;
        match &self.bar {
            Some(bar) => bar.suspend(|| output.line(text)),
            None => output.line(text),
        }
    }

    fn event(&mut self, event: &str, body: impl Serialize) {
        if self.style.json {
            let told = Told { event, t: self.begun.elapsed().as_secs_f64(), body };
            let json =
                serde_json::to_string(&told).expect("proof: text and numbers are always JSON");
            self.output.event(&tame_json(&json));
        }
    }
}

fn numbers(standing: &Standing) -> Numbers {
    Numbers {
        entries: standing.total,
        fetched: standing.fetched,
        linked: standing.linked,
        linked_bytes: standing.linked_bytes,
        unchanged: standing.unchanged,
        failed: standing.failed,
        bad_lines: standing.bad_lines,
        duplicates: standing.duplicates,
        bytes: standing.bytes,
        requests: standing.requests,
    }
}

fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Reading => "reading",
        Stage::Comparing => "comparing",
        Stage::Fetching => "fetching",
        Stage::Linking => "linking",
        Stage::Syncing => "syncing",
        Stage::Deleting => "deleting",
        Stage::Done => "done",
    }
}

/// `fetching: 812 of 10000, 3 failed, 6.21 MiB, 4.1 MiB/s, 16 in flight`, and what comes from each host.
fn progress(standing: &Standing, rate: f64, hosts: &Hosts) -> String {
    let mut parts = vec![format!("{} of {}", standing.ended(), standing.total)];
    if standing.linked > 0 {
        parts.push(format!("{} linked", standing.linked));
    }
    if standing.failed + standing.bad_lines > 0 {
        parts.push(format!("{} failed", standing.failed + standing.bad_lines));
    }
    if standing.stage == Stage::Fetching {
        parts.push(show_size(standing.bytes));
        parts.push(show_rate(rate));
        parts.push(format!("{} in flight", standing.in_flight));
        parts.extend(hosts.fastest());
    }
    format!("{}: {}", name(standing.stage), parts.join(", "))
}

/// The line that ends a run.
fn closing(sealed: &Sealed, is_dry: bool, time: Duration) -> String {
    let Standing { total, fetched, linked, linked_bytes, unchanged, .. } = sealed.standing;
    let Standing { failed, bad_lines, bytes, .. } = sealed.standing;
    if is_dry {
        return format!("{total} entries compared in {}; nothing was done", show_time(time));
    }
    let mut parts = vec![format!("{fetched} fetched ({})", show_size(bytes))];
    if linked > 0 {
        parts.push(format!("{linked} linked ({} not fetched)", show_size(linked_bytes)));
    }
    parts.push(format!("{unchanged} unchanged"));
    if failed > 0 {
        parts.push(format!("{failed} failed"));
    }
    if bad_lines > 0 {
        parts.push(format!("{bad_lines} bad lines"));
    }
    if sealed.deleted > 0 {
        parts.push(format!("{} removed", sealed.deleted));
    }
    if sealed.durable {
        parts.push("durable".into());
    }
    format!("{total} entries in {}: {}", show_time(time), parts.join(", "))
}

/// Time over which the rate is taken.
const RATE_OVER: Duration = Duration::from_secs(1);
