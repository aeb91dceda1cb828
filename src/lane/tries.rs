//! Counts the failures of one lane in a row and asks the rules what follows.

use std::time::Duration;

use crate::error::{Error, Kind};
use crate::fetch::Fetch;
use crate::limits::{FIRST_CONNECTS_MAX, PROGRESS_BYTES_MIN};
use crate::meter::Event;
use crate::retry::{self, Decision, Policy};

/// The failures since the last progress.
pub(super) struct Tries<'a> {
    fetch: &'a Fetch,
    failures: u32,
    /// The most retries of a connection that cannot be made.
    connects_max: u32,
}

/// What follows a failure.
pub(super) enum Verdict {
    Again(Duration),
    GiveUp(Error),
}

impl<'a> Tries<'a> {
    pub(super) fn new(fetch: &'a Fetch) -> Self {
        Self { fetch, failures: 0, connects_max: u32::MAX }
    }

    /// For the first question: a server that cannot be reached at all is more likely misspelt than busy.
    pub(super) fn first(fetch: &'a Fetch) -> Self {
        Self { connects_max: FIRST_CONNECTS_MAX, ..Self::new(fetch) }
    }

    pub(super) fn fetch(&self) -> &'a Fetch {
        self.fetch
    }

    /// Takes note of bytes that came without a failure: the failures before them count no more.
    pub(super) fn progressed(&mut self, progress: u64) {
        if progress >= PROGRESS_BYTES_MIN {
            self.failures = 0;
        }
    }

    /// Judges a failure that came after `progress` bytes since the last one.
    pub(super) fn judge(&mut self, error: Error, progress: u64) -> Verdict {
        self.progressed(progress);
        self.failures += 1;
        let most = if error.kind() == Kind::Connect { self.connects_max } else { u32::MAX };
        let policy = Policy { retries: self.fetch.options.retries.min(most) };
        let asked = error.wait_asked();
        // A name that was known a moment ago is not misspelt: its resolver is away.
        let kind = match error.kind() {
            Kind::Resolve if self.connects_max == u32::MAX => Kind::Connect,
            kind => kind,
        };
        match retry::judge(kind, self.failures, asked, fastrand::f64(), &policy) {
            Decision::Again(wait) => {
                self.fetch.meter.tell(Event::Retry {
                    kind: error.kind(),
                    attempt: self.failures,
                    wait,
                    message: error.to_string(),
                });
                Verdict::Again(wait)
            }
            Decision::GiveUp => Verdict::GiveUp(error),
        }
    }
}
