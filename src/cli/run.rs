//! Runs the items of a command line, one after the other, and adds up how it went.
//!
//! Not here: what an option means, what a line looks like. Invariant: every item that began has
//! ended before the next begins, and after a signal none begins; what then does not end in time is
//! given up.

use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::config::{Item, Work};
use super::signals::Signal;
use crate::engine::{self, Stopper};
use crate::error::{Error, Kind, Result};
use crate::options::Outcome;
use crate::report::{Report, Subject, Summary, TICK};
use crate::sys;

/// The signal that asks the program to stop, once there is one.
pub type Stop = watch::Receiver<Option<Signal>>;

/// Runs all items, tells `report`, and returns the exit code. A value in `stop` ends the item that
/// runs and keeps the others from beginning.
pub(super) async fn all(work: &Work, report: &mut Report, stop: Stop) -> u8 {
    let mut tally = Tally { items: work.items.len(), ..Tally::default() };
    for item in &work.items {
        if stop.borrow().is_some() {
            break;
        }
        let result = one(item, report, &stop).await;
        tally.add(&result);
    }
    let summary = tally.summary(*stop.borrow());
    report.summary(summary);
    summary.exit_code
}

/// Runs one item and shows it.
async fn one(item: &Item, report: &mut Report, stop: &Stop) -> Result<Outcome> {
    report.begin(Subject::new(&item.url, &item.target, item.options.content_disposition));
    let cpu_before = sys::cpu_time();
    let download = engine::start(item.url.clone(), item.target.clone(), &item.options);
    let (meter, stopper) = (download.meter().clone(), download.stopper());
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut wait = Box::pin(download.wait());
    let mut given_up = pin!(given_up(stop.clone(), &stopper));
    let result = loop {
        tokio::select! {
            biased;
            result = &mut wait => break result,
            error = &mut given_up => {
                // Dropping it would wait for the very threads that did not end.
                std::mem::forget(wait);
                break Err(error);
            }
            _ = tick.tick() => report.sample(&meter, Instant::now()),
        }
    };
    let exit_code = result.as_ref().map_or_else(|error| exit_code(error, *stop.borrow()), |_| 0);
    report.end(&meter, &result, sys::cpu_time().saturating_sub(cpu_before), exit_code);
    result
}

/// Stops the download once `stop` holds a signal, and gives up on it where it does not end in time.
/// A sender that is gone sends no signal; then only the download itself ends.
async fn given_up(mut stop: Stop, stopper: &Stopper) -> Error {
    if stop.wait_for(Option::is_some).await.is_err() {
        std::future::pending::<()>().await;
    }
    stopper.stop();
    tokio::time::sleep(GRACE).await;
    Error::new(Kind::Interrupted, "interrupted; the download did not end in time")
}

/// The exit code of one failure: that of the signal, where one caused it.
fn exit_code(error: &Error, signal: Option<Signal>) -> u8 {
    match signal {
        Some(signal) if error.kind() == Kind::Interrupted => signal.exit_code(),
        _ => error.exit_code(),
    }
}

/// How the items went.
#[derive(Debug, Default)]
struct Tally {
    items: usize,
    done: usize,
    bytes: u64,
    failures: Vec<u8>,
}

impl Tally {
    fn add(&mut self, result: &Result<Outcome>) {
        match result {
            Ok(outcome) => {
                self.done += 1;
                self.bytes = self.bytes.saturating_add(outcome.bytes);
            }
            Err(error) => self.failures.push(error.exit_code()),
        }
    }

    /// The end of it all; `signal` cut it short if there are items left.
    fn summary(&self, signal: Option<Signal>) -> Summary {
        let interrupted = self.failures.contains(&Kind::Interrupted.exit_code());
        let unfinished = interrupted || self.done + self.failures.len() < self.items;
        let exit_code = match (signal, self.failures.first()) {
            (Some(signal), _) if unfinished => signal.exit_code(),
            (_, None) => 0,
            (_, Some(first)) if self.failures.iter().all(|code| code == first) => *first,
            _ => Kind::Several.exit_code(),
        };
        Summary {
            items: self.items,
            done: self.done,
            failed: self.failures.len(),
            bytes: self.bytes,
            exit_code,
        }
    }
}

/// Time a download has to end after a signal: enough to settle what is under way, and little enough
/// to tell about it within the two seconds in which a signal ends the program.
const GRACE: Duration = Duration::from_millis(1500);

#[cfg(test)]
mod tests {
    use super::*;

    fn code(items: usize, done: usize, failures: &[u8], signal: Option<Signal>) -> u8 {
        let tally = Tally { items, done, bytes: 0, failures: failures.to_vec() };
        tally.summary(signal).exit_code
    }

    #[test]
    fn failures_of_one_cause_share_its_code_and_others_are_several() {
        assert_eq!(code(2, 2, &[], None), 0);
        assert_eq!(code(2, 1, &[5], None), 5);
        assert_eq!(code(3, 1, &[5, 5], None), 5);
        assert_eq!(code(3, 1, &[5, 8], None), 9);
    }

    #[test]
    fn a_signal_decides_where_it_cut_something_short() {
        let signal = Some(Signal::Terminate);
        assert_eq!(code(1, 0, &[130], signal), 143);
        assert_eq!(code(3, 1, &[5], signal), 143);
        assert_eq!(code(1, 1, &[], signal), 0);
        assert_eq!(code(1, 0, &[130], None), 130);
        assert_eq!(exit_code(&Error::new(Kind::Refused, "no"), signal), 5);
        assert_eq!(exit_code(&Error::new(Kind::Interrupted, "stop"), signal), 143);
    }
}
