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
    /// Where the current window and its second half began, as far as they have.
    marks: Vec<Mark>,
    lowered: Option<Instant>,
}

/// The bytes received until some time.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    received: u64,
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
        Self { allowed, stage, marks: Vec::with_capacity(2), lowered: None }
    }

    /// The connections allowed at present, at least one.
    pub(crate) fn allowed(&self) -> u16 {
        self.allowed
    }

    /// Takes note of the bytes received so far; call it as often as convenient.
    ///
    /// Only a window in which the rate has stopped growing by itself says something of the number: over a
    /// long path connections take a second to get going, and would do so without more beside them. A raise
    /// is judged by the second and third such window after it; if the first shows growth already, the next
    /// raise follows at once. A window without a byte says nothing either.
    pub(crate) fn sample(&mut self, now: Instant, received: u64) {
        let mark = Mark { at: now, received };
        let is_anew = self.marks.last().is_none_or(|last| last.received > received);
        if is_anew {
            self.pass(now, received);
            return;
        }
        if self.marks.last().is_some_and(|last| now.saturating_duration_since(last.at) < HALF) {
            return;
        }
        let &[start, middle] = self.marks.as_slice() else {
            self.marks.push(mark);
            return;
        };
        if middle.rate_until(&mark) > start.rate_until(&middle) * GROWTH_BY_ITSELF {
            self.marks = vec![middle, mark];
            return;
        }
        self.pass(now, received);
        if received > start.received {
            self.judge(start.rate_until(&mark));
        }
    }

    /// Takes note of the bytes received so far while something else than the connections sets the pace, such
    /// as a rate limit: that says nothing of their number.
    pub(crate) fn pass(&mut self, now: Instant, received: u64) {
        self.marks.clear();
        self.marks.push(Mark { at: now, received });
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
            Stage::Trying { before, windows: 1.., .. } if rate >= before * GROWTH_TO_KEEP => {
                self.stage = Stage::Waiting { before };
            }
            Stage::Trying { from, before, windows } if windows < WINDOWS_TO_HELP => {
                self.stage = Stage::Trying { from, before, windows: windows + 1 };
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

impl Mark {
    fn rate_until(&self, later: &Self) -> f64 {
        units::rate(later.received - self.received, later.at.saturating_duration_since(self.at))
    }
}

/// Time over which the halves of a window are measured, at least; samples come every 250 ms, more or less.
const HALF: Duration = Duration::from_millis(200);
/// Growth from one half of a window to the other that is no noise.
const GROWTH_BY_ITSELF: f64 = 1.20;
/// Growth of the rate since the last raise that is worth another: where twice the connections bring less, the
/// line is nearly full.
const GROWTH_TO_RAISE: f64 = 1.30;
/// Growth of the rate that is worth keeping a raise; less is noise. Where 16 connections held to 20 MB/s each
/// leave a fifth of a line unused, 32 bring a fifth more.
const GROWTH_TO_KEEP: f64 = 1.10;
/// Windows after its first that a raise has to help in. It is taken back for good, and one window in which
/// the
/// machine is busy with something else must not do that.
const WINDOWS_TO_HELP: u32 = 2;
/// Objections closer than this have one cause.
const OBJECTION_GAP: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_millis(400);

    /// Feeds one rate per window and returns the allowed number after each.
    fn run(pace: &mut Pace, rates: &[u64]) -> Vec<u16> {
        let halves: Vec<_> = rates.iter().flat_map(|rate| [*rate, *rate]).collect();
        run_halves(pace, &halves).into_iter().skip(1).step_by(2).collect()
    }

    /// Feeds one rate per half of a window and returns the allowed number after each.
    fn run_halves(pace: &mut Pace, rates: &[u64]) -> Vec<u16> {
        let (mut now, mut received) = (Instant::now(), 0);
        pace.sample(now, received);
        let mut allowed = Vec::new();
        for rate in rates {
            now += HALF;
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
        assert_eq!(run(&mut Pace::auto(), &[100, 100, 104, 104, 900]), [8, 8, 8, 4, 4]);
        let after_a_good_one = [100, 150, 150, 150, 150, 900];
        assert_eq!(run(&mut Pace::auto(), &after_a_good_one), [8, 16, 16, 16, 8, 8]);
    }

    #[test]
    fn one_bad_window_takes_no_raise_back() {
        assert_eq!(run(&mut Pace::auto(), &[100, 100, 60, 125, 125, 131]), [8, 8, 8, 8, 8, 16]);
    }

    #[test]
    fn a_raise_that_helps_a_little_is_kept() {
        assert_eq!(run(&mut Pace::auto(), &[100, 100, 112, 90, 128, 131]), [8, 8, 8, 8, 8, 16]);
    }

    #[test]
    fn a_window_without_a_byte_says_nothing() {
        assert_eq!(run(&mut Pace::auto(), &[0, 100, 0, 0, 0, 200]), [4, 8, 8, 8, 8, 16]);
    }

    #[test]
    fn a_rate_that_grows_by_itself_is_waited_for() {
        // Over a long path four connections fill the line, and eight bring no more.
        let slow_start = [10, 20, 40, 80, 160, 200, 200, 205, 205, 205];
        let allowed = [4, 4, 4, 4, 4, 4, 8, 8, 8, 8];
        let mut pace = Pace::auto();
        assert_eq!(run_halves(&mut pace, &slow_start), allowed);
        assert_eq!(run(&mut pace, &[205, 205, 205, 900]), [8, 4, 4, 4]);
    }

    #[test]
    fn bytes_that_are_told_now_and_then_are_no_growth() {
        let told = [0, 100, 0, 100, 0, 100, 0, 100, 0, 100];
        assert_eq!(run_halves(&mut Pace::auto(), &told)[9], 4);
    }

    #[test]
    fn while_something_else_sets_the_pace_the_number_stays() {
        let (mut pace, start) = (Pace::auto(), Instant::now());
        pace.sample(start, 0);
        for step in 1..20 {
            pace.pass(start + WINDOW * step, 100 * u64::from(step));
        }
        assert_eq!(pace.allowed(), CONNECTIONS_AUTO_FIRST);
        pace.sample(start + HALF * 39, 1950);
        assert_eq!(pace.allowed(), CONNECTIONS_AUTO_FIRST);
        pace.sample(start + HALF * 40, 2000);
        assert_eq!(pace.allowed(), 2 * CONNECTIONS_AUTO_FIRST, "a whole window has passed again");
    }

    #[test]
    fn a_download_that_starts_anew_is_measured_anew() {
        let (mut pace, start) = (Pace::auto(), Instant::now());
        pace.sample(start, 1000);
        pace.sample(start + HALF, 10);
        pace.sample(start + HALF * 2, 260);
        assert_eq!(pace.allowed(), 4);
        pace.sample(start + HALF * 3, 510);
        assert_eq!(pace.allowed(), 8);
    }

    #[test]
    fn samples_within_a_window_wait_for_its_end() {
        let (mut pace, start) = (Pace::auto(), Instant::now());
        for ms in 0..400 {
            pace.sample(start + Duration::from_millis(ms), ms * 1000);
        }
        assert_eq!(pace.allowed(), CONNECTIONS_AUTO_FIRST);
        pace.sample(start + WINDOW, 400_000);
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
