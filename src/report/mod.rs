//! The report: the only part that prints. It samples the meter and tells people or programs about
//! it.
//!
//! Not here: what to do about any of it. Invariant: each item gets one closing line or one failure,
//! and with `--json` the summary is the last event.

mod bar;
mod frame;
mod hosts;
mod json;
mod mirror;
mod output;
mod subject;
mod words;

use std::time::{Duration, Instant};

use self::bar::Bar;
use self::frame::{Frame, Rate};
use self::json::Body;
pub(crate) use self::mirror::MirrorReport;
pub(crate) use self::output::Output;
pub(crate) use self::subject::Subject;
pub(crate) use self::words::shown_url;
use crate::error::{Error, Result};
use crate::meter::{Meter, Phase};
use crate::options::Outcome;

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Progress {
    /// A bar on a terminal, plain lines elsewhere
    Auto,
    /// A bar, where standard error is a terminal
    Bar,
    /// A line every two seconds
    Plain,
    /// None, only the closing line
    None,
}

/// What to tell, and how much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// How progress is shown; `Auto` counts as `Plain`.
    pub(crate) progress: Progress,
    /// Nothing for people but errors.
    pub(crate) quiet: bool,
    /// More, and the causes of errors.
    pub(crate) verbose: bool,
    /// Events for programs.
    pub(crate) json: bool,
    /// Whether events share standard error with messages; then there are no messages.
    pub(crate) shared: bool,
}

/// How a command line ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Summary {
    /// Items that were asked for.
    pub(crate) items: usize,
    /// Items that succeeded.
    pub(crate) done: usize,
    /// Items that failed.
    pub(crate) failed: usize,
    /// Bytes of the files that succeeded.
    pub(crate) bytes: u64,
    /// What the process exits with.
    pub(crate) exit_code: u8,
}

/// Tells about one command line.
pub(crate) struct Report {
    output: Output,
    style: Style,
    begun: Instant,
    running: Option<Running>,
}

/// What is known of the item that runs.
struct Running {
    subject: Subject,
    rate: Rate,
    bar: Option<Bar>,
    plain_at: Instant,
    json_at: Instant,
}

impl Report {
    /// A report on `output`.
    pub(crate) fn new(style: Style, output: Output) -> Self {
        Self { output, style, begun: Instant::now(), running: None }
    }

    /// Tells a remark, to people who want to know more.
    pub(crate) fn remark(&mut self, text: &str) {
        if self.style.verbose && self.chats() {
            self.line(&format!("ringpull: note: {text}"));
        }
    }

    /// An item begins.
    pub(crate) fn begin(&mut self, subject: Subject) {
        let bar = (self.style.progress == Progress::Bar && self.chats() && !self.style.json)
            .then(|| Bar::begin(&subject.name));
        let now = Instant::now();
        let (plain_at, json_at) = (now + PLAIN_EVERY, now + JSON_EVERY);
        self.running = Some(Running { subject, rate: Rate::begin(now), bar, plain_at, json_at });
        self.event(&Body::Start {});
    }

    /// Looks at the item that runs, every [`TICK`]: shows its events, and its progress where it is
    /// time for it.
    pub(crate) fn sample(&mut self, meter: &Meter, now: Instant) {
        self.drain(meter);
        let plain = self.style.progress != Progress::None && self.chats();
        let Some(running) = &mut self.running else { return };
        let frame = Frame::look(meter, &mut running.rate, now);
        let json = is_due(&mut running.json_at, JSON_EVERY, now);
        match &mut running.bar {
            Some(bar) => bar.draw(&frame),
            None if is_due(&mut running.plain_at, PLAIN_EVERY, now)
                && plain
                && frame.phase != Phase::Done =>
            {
                let line = words::plain(&running.subject.name, &frame);
                self.line(&line);
            }
            None => (),
        }
        if json {
            self.event(&Body::progress(&frame));
        }
    }

    /// The item that runs is over, for `cpu` of processor time; a failure ends with `exit_code`.
    pub(crate) fn end(
        &mut self,
        meter: &Meter,
        result: &Result<Outcome>,
        cpu: Duration,
        exit_code: u8,
    ) {
        self.drain(meter);
        let Some(running) = &mut self.running else { return };
        running.bar = None;
        match result {
            Ok(outcome) => {
                if let Some(path) = &outcome.path {
                    running.subject.landed_at(path);
                }
                let closing = words::closing(&running.subject.name, outcome, cpu);
                if self.chats() {
                    self.line(&closing);
                }
                self.event(&Body::done(outcome, cpu));
            }
            Err(error) => self.failed(error, exit_code),
        }
        self.running = None;
    }

    /// Something failed: the item that runs, or the command line itself.
    pub(crate) fn failed(&mut self, error: &Error, exit_code: u8) {
        let about = self.running.as_ref().map(|running| running.subject.shown.as_str());
        let lines = words::failure(about, error, self.style.verbose);
        if !(self.style.json && self.style.shared) {
            for line in lines {
                self.line(&line);
            }
        }
        self.event(&Body::error(error, exit_code));
    }

    /// Everything is over.
    pub(crate) fn summary(&mut self, summary: Summary) {
        let Summary { items, done, failed, bytes, exit_code } = summary;
        self.event(&Body::Summary { items, done, failed, bytes, exit_code });
    }

    /// Whether people are told more than failures.
    fn chats(&self) -> bool {
        !self.style.quiet && (!self.style.json || (self.style.verbose && !self.style.shared))
    }

    fn drain(&mut self, meter: &Meter) {
        let (verbose, lively) = (self.style.verbose, self.style.progress != Progress::None);
        for event in meter.take_events() {
            if let Some(line) = words::event(&event, verbose, lively).filter(|_| self.chats()) {
                self.line(&line);
            }
            if let Some(body) = Body::of(&event) {
                self.event(&body);
            }
        }
    }

    fn line(&mut self, text: &str) {
        let output = &mut self.output;
        match self.running.as_ref().and_then(|running| running.bar.as_ref()) {
            Some(bar) => bar.aside(|| output.line(text)),
            None => output.line(text),
        }
    }

    fn event(&mut self, body: &Body<'_>) {
        if self.style.json {
            let subject = self.running.as_ref().map(|running| &running.subject);
            let subject = subject.filter(|_| !matches!(body, Body::Summary { .. }));
            self.output.event(&json::line(self.begun.elapsed(), subject, body));
        }
    }
}

/// Whether `at` has come; then it moves on by `every`, or to `now` where it fell behind.
fn is_due(at: &mut Instant, every: Duration, now: Instant) -> bool {
    let due = now >= *at;
    if due {
        *at = now.max(*at + every);
    }
    due
}

/// The time between two looks: the pace of the bar, and the most that an event waits to be told.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// The time between two plain lines, and before the first: a short download gets none.
const PLAIN_EVERY: Duration = Duration::from_secs(2);
/// The time between two progress events.
const JSON_EVERY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
