//! Decides how many connections a download may have: few at first, more while that helps, fewer when a
//! server objects.
//!
//! It opens and closes nothing and reads no clock. Once the number has gone down it never goes up again, so
//! it cannot swing.

use std::time::{Duration, Instant};

use crate::limits::{CONNECTIONS_AUTO_FIRST, CONNECTIONS_AUTO_MAX};
use crate::units;

/// The number of connections of one download.
#[derive(Debug)]
pub(crate) struct Pace {
    allowed: u16,
    stage: Stage,
    /// Where the current window began, and the bytes received until then.
    window: Option<(Instant, u64)>,
    lowered: Option<Instant>,
}

/// How far the search for the right number has come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// No rate is known yet.
    Starting,
    /// The number went up from `from`, where the rate was `before` bytes a second; `windows` have passed
    /// since.
    Trying { from: u16, before: f64, windows: u32 },
    /// The last raise helped, but too little to try another yet.
    Waiting { before: f64 },
    /// The number is only lowered from here.
    Settled,
}

impl Pace {
    /// Begins with few connections and adds some while the rate grows.
    pub(crate) fn auto() -> Self {
        Self::new(CONNECTIONS_AUTO_FIRST, Stage::Starting)
    }

    /// Keeps to `n` connections, at least one, unless the server objects.
    pub(crate) fn exactly(n: u16) -> Self {
        Self::new(n.max(1), Stage::Settled)
    }

    fn new(allowed: u16, stage: Stage) -> Self {
        Self { allowed, stage, window: None, lowered: None }
    }

    /// The connections allowed at present, at least one.
    pub(crate) fn allowed(&self) -> u16 {
        self.allowed
    }

    /// Takes note of the bytes received so far; call it as often as convenient.
    ///
    /// A raise is judged by the second window after it, for new connections take some round trips to get
    /// going; if the first shows growth already, the next raise follows at once. A window without a byte
    /// says nothing about the number of connections.
    pub(crate) fn sample(&mut self, now: Instant, received: u64) {
        let Some((start, before)) = self.window.filter(|(_, before)| *before <= received) else {
            self.window = Some((now, received));
            return;
        };
        let time = now.saturating_duration_since(start);
        if time < WINDOW {
            return;
        }
        self.window = Some((now, received));
        if received > before {
            self.judge(units::rate(received - before, time));
        }
    }

    /// Takes note that the server refused or cut a connection while others work; true if that lowered the
    /// number.
    ///
    /// A burst of objections counts as one.
    pub(crate) fn objected(&mut self, now: Instant) -> bool {
        self.stage = Stage::Settled;
        let is_burst =
            self.lowered.is_some_and(|last| now.saturating_duration_since(last) < OBJECTION_GAP);
        if is_burst || self.allowed == 1 {
            return false;
        }
        self.lowered = Some(now);
        self.allowed -= 1;
        true
    }

    fn judge(&mut self, rate: f64) {
        match self.stage {
            Stage::Settled => {}
            Stage::Starting => self.raise(rate),
            Stage::Waiting { before } if rate >= before * GROWTH_TO_RAISE => self.raise(rate),
            Stage::Waiting { .. } => {}
            Stage::Trying { before, .. } if rate >= before * GROWTH_TO_RAISE => self.raise(rate),
            Stage::Trying { from, before, windows: 0 } => {
                self.stage = Stage::Trying { from, before, windows: 1 };
            }
            Stage::Trying { before, .. } if rate >= before * GROWTH_TO_KEEP => {
                self.stage = Stage::Waiting { before };
            }
            Stage::Trying { from, .. } => {
                self.allowed = from;
                self.stage = Stage::Settled;
            }
        }
    }

    fn raise(&mut self, rate: f64) {
        let from = self.allowed;
        self.allowed = from.saturating_mul(2).min(CONNECTIONS_AUTO_MAX);
        self.stage = if self.allowed > from {
            Stage::Trying { from, before: rate, windows: 0 }
        } else {
            Stage::Settled
        };
    }
}

/// Time over which a rate is measured.
const WINDOW: Duration = Duration::from_millis(500);
/// Growth of the rate since the last raise that is worth another.
const GROWTH_TO_RAISE: f64 = 1.10;
/// Growth of the rate that is worth keeping a raise.
const GROWTH_TO_KEEP: f64 = 1.05;
/// Objections closer than this have one cause.
const OBJECTION_GAP: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds one rate per window and returns the allowed number after each.
    fn run(pace: &mut Pace, rates: &[u64]) -> Vec<u16> {
        let mut now = Instant::now();
        let mut received = 0;
        pace.sample(now, received);
        let mut allowed = Vec::new();
        for rate in rates {
            now += WINDOW;
            received += rate;
            pace.sample(now, received);
            allowed.push(pace.allowed());
        }
        allowed
    }

    #[test]
    fn the_number_doubles_while_the_rate_grows() {
        assert_eq!(run(&mut Pace::auto(), &[100, 200, 400, 800, 1600]), [8, 16, 32, 32, 32]);
    }

    #[test]
    fn a_raise_that_does_not_help_is_taken_back_for_good() {
        assert_eq!(run(&mut Pace::auto(), &[100, 100, 104, 900, 9000]), [8, 8, 4, 4, 4]);
        assert_eq!(run(&mut Pace::auto(), &[100, 150, 150, 150, 900]), [8, 16, 16, 8, 8]);
    }

    #[test]
    fn a_raise_that_helps_a_little_is_kept() {
        assert_eq!(run(&mut Pace::auto(), &[100, 100, 107, 90, 108, 111]), [8, 8, 8, 8, 8, 16]);
    }

    #[test]
    fn a_window_without_a_byte_says_nothing() {
        assert_eq!(run(&mut Pace::auto(), &[0, 100, 0, 0, 0, 200]), [4, 8, 8, 8, 8, 16]);
    }

    #[test]
    fn a_download_that_starts_anew_is_measured_anew() {
        let (mut pace, start) = (Pace::auto(), Instant::now());
        pace.sample(start, 1000);
        pace.sample(start + WINDOW, 10);
        assert_eq!(pace.allowed(), 4);
        pace.sample(start + WINDOW * 2, 500);
        assert_eq!(pace.allowed(), 8);
    }

    #[test]
    fn samples_within_a_window_wait_for_its_end() {
        let (mut pace, start) = (Pace::auto(), Instant::now());
        for ms in 0..500 {
            pace.sample(start + Duration::from_millis(ms), ms * 1000);
        }
        assert_eq!(pace.allowed(), CONNECTIONS_AUTO_FIRST);
        pace.sample(start + WINDOW, 500_000);
        assert_eq!(pace.allowed(), 2 * CONNECTIONS_AUTO_FIRST);
    }

    #[test]
    fn a_burst_of_objections_counts_as_one() {
        let (mut pace, start) = (Pace::exactly(3), Instant::now());
        assert!(pace.objected(start));
        assert!(!pace.objected(start + Duration::from_millis(249)));
        assert!(pace.objected(start + Duration::from_millis(250)));
        assert!(!pace.objected(start + Duration::from_secs(9)), "one connection stays");
        assert_eq!(pace.allowed(), 1);
    }

    #[test]
    fn zero_connections_are_one() {
        assert_eq!(Pace::exactly(0).allowed(), 1);
    }

    proptest! {
        #[test]
        fn after_an_objection_the_number_never_rises(
            rates in prop::collection::vec(0..1000u64, 0..10),
            after in prop::collection::vec(0..1000u64, 0..10),
        ) {
            let mut pace = Pace::auto();
            run(&mut pace, &rates);
            pace.objected(Instant::now());
            let ceiling = pace.allowed();
            for allowed in run(&mut pace, &after) {
                prop_assert!((1..=ceiling).contains(&allowed));
            }
        }

        #[test]
        fn an_exact_number_is_kept_whatever_the_rate(
            n in 1..300u16,
            rates in prop::collection::vec(0..1000u64, 0..10),
        ) {
            for allowed in run(&mut Pace::exactly(n), &rates) {
                prop_assert_eq!(allowed, n);
            }
        }
    }
}
