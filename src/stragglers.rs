//! Finds connections that are half dead: those that bring next to nothing, by themselves or beside the
//! others.
//!
//! It is fed with what every receive brought and with the time that the receive took, so that the time in
//! which a lane waits for its sink, for the rate limit or for a lease counts against nobody. It closes no
//! connection and reads no clock.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::limits::{CRAWL_RATE, CRAWL_TIME, SLOW_SHARE, SLOW_WINDOW, SLOW_WINDOWS};
use crate::units::{as_f64, rate};

/// What one receive brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receipt {
    /// Bytes received, perhaps none.
    pub bytes: u64,
    /// Time from the start of the receive to its end.
    pub time: Duration,
    /// Bytes that the answer still holds.
    pub left: u64,
}

/// The clock of one answer: runs out when no byte comes, or next to none.
#[derive(Debug)]
pub(crate) struct Clock {
    timeout: Duration,
    /// Time without a byte.
    silent: Duration,
    /// The window over which the rate is measured, so far.
    window: Duration,
    bytes: u64,
}

/// Why a clock has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stalled {
    /// No byte came for this time, the timeout.
    Silent(Duration),
    /// So many bytes came in this time, less than [`CRAWL_RATE`] allows.
    Crawling(u64, Duration),
}

impl Clock {
    /// A clock that runs out after `timeout` without a byte.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, silent: Duration::ZERO, window: Duration::ZERO, bytes: 0 }
    }

    /// Takes note of a receive, and says whether the connection counts as stalled.
    pub(crate) fn note(&mut self, bytes: u64, time: Duration) -> Option<Stalled> {
        self.silent = if bytes > 0 { Duration::ZERO } else { self.silent + time };
        self.window += time;
        self.bytes += bytes;
        if self.silent >= self.timeout {
            return Some(Stalled::Silent(self.timeout));
        }
        if self.window < self.timeout.max(CRAWL_TIME) {
            return None;
        }
        let (bytes, window) = (self.bytes, self.window);
        (self.bytes, self.window) = (0, Duration::ZERO);
        (rate(bytes, window) < as_f64(CRAWL_RATE)).then_some(Stalled::Crawling(bytes, window))
    }
}

/// The rates of the lanes of one download.
#[derive(Debug, Default)]
pub(crate) struct Stragglers(HashMap<usize, Record>);

/// What one lane brings.
#[derive(Debug)]
struct Record {
    /// When its window began.
    since: Instant,
    bytes: u64,
    /// Time of the window in which it received.
    receiving: Duration,
    /// When the window before ended, and the rate over it, whatever the lane waited for.
    before: Option<(Instant, f64)>,
    /// Windows in a row in which it was too slow.
    slow: u32,
}

impl Stragglers {
    /// Takes note of a receive by a lane, and says whether its connection is so much slower than the others
    /// that it should be replaced.
    ///
    /// The lane is judged by its rate while it received, the others by what they brought in all: where a rate
    /// limit or a sink sets the pace, nobody is slow.
    pub(crate) fn note(&mut self, lane: usize, receipt: &Receipt, now: Instant) -> bool {
        let record = self.0.entry(lane).or_insert_with(|| Record::new(now, receipt.time));
        record.bytes += receipt.bytes;
        record.receiving += receipt.time;
        let wall = now.saturating_duration_since(record.since);
        if wall < SLOW_WINDOW {
            return false;
        }
        let own = rate(record.bytes, record.receiving);
        // What came in an instant says little of the connection.
        let says_much = record.receiving >= SLOW_WINDOW / 2;
        record.before = Some((now, rate(record.bytes, wall)));
        (record.since, record.bytes, record.receiving) = (now, 0, Duration::ZERO);
        let others = self.median_of_others(lane, now);
        let record = self.0.get_mut(&lane).expect("proof: it was just noted");
        let too_slow = says_much && others.is_some_and(|others| own < others * SLOW_SHARE);
        record.slow = if too_slow { record.slow + 1 } else { 0 };
        let soon_done = as_f64(receipt.left) <= own * SLOW_WINDOW.as_secs_f64();
        if record.slow < SLOW_WINDOWS || soon_done {
            return false;
        }
        record.slow = 0;
        true
    }

    /// What a lane in the middle of the others has brought of late.
    fn median_of_others(&self, lane: usize, now: Instant) -> Option<f64> {
        let is_fresh = |at| now.saturating_duration_since(at) <= SLOW_WINDOW * 2;
        let others = self.0.iter().filter(|(other, _)| **other != lane);
        let mut rates: Vec<f64> = others
            .filter_map(|(_, record)| record.before.filter(|(at, _)| is_fresh(*at)))
            .map(|(_, rate)| rate)
            .collect();
        rates.sort_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied()
    }
}

impl Record {
    fn new(now: Instant, already: Duration) -> Self {
        let since = now.checked_sub(already).unwrap_or(now);
        Self { since, bytes: 0, receiving: Duration::ZERO, before: None, slow: 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::MIB;

    const SLICE: Duration = Duration::from_millis(500);
    const LEFT: u64 = 1 << 40;

    /// Feeds `seconds` of these rates a lane in bytes a second, each lane receiving for that share of the
    /// time. Returns when each was first found slow, in seconds.
    fn run(lanes: &[(u64, f64)], left: u64, seconds: u32) -> Vec<Option<f64>> {
        let (start, mut all) = (Instant::now(), Stragglers::default());
        let mut found = vec![None; lanes.len()];
        for step in 1..=seconds * 2 {
            let now = start + SLICE * step;
            for (lane, (rate, share)) in lanes.iter().enumerate() {
                let receipt = Receipt { bytes: rate / 2, time: SLICE.mul_f64(*share), left };
                if all.note(lane, &receipt, now) {
                    found[lane].get_or_insert((now - start).as_secs_f64());
                }
            }
        }
        found
    }

    fn with_one(rate: u64, share: f64) -> Vec<(u64, f64)> {
        let mut lanes = vec![(20 * MIB, 1.0); 7];
        lanes.push((rate, share));
        lanes
    }

    #[test]
    fn a_lane_that_brings_next_to_nothing_is_found_within_seconds() {
        for rate in [0, 100, MIB / 5] {
            let found = run(&with_one(rate, 1.0), LEFT, 10);
            assert!(found[7].is_some_and(|at| at <= 4.0), "{rate}: {found:?}");
            assert_eq!(found[..7], [None; 7]);
        }
    }

    #[test]
    fn a_lane_that_is_merely_slow_is_left_alone() {
        assert_eq!(run(&with_one(2 * MIB, 1.0), LEFT, 60), [None; 8]);
    }

    #[test]
    fn a_lane_that_is_soon_done_is_left_alone() {
        assert_eq!(run(&with_one(MIB / 5, 1.0), MIB / 10, 60), [None; 8]);
    }

    #[test]
    fn nobody_is_slow_alone() {
        assert_eq!(run(&[(0, 1.0)], LEFT, 60), [None]);
        assert_eq!(run(&[(1000, 1.0); 8], LEFT, 60), [None; 8]);
    }

    #[test]
    fn a_lane_that_waits_for_its_sink_is_left_alone() {
        // It brings little, but in no time.
        assert_eq!(run(&with_one(MIB / 5, 0.01), LEFT, 60), [None; 8]);
    }

    #[test]
    fn where_a_limit_sets_the_pace_nobody_is_slow() {
        // All bring as much; one needs all the time for it, the others find it in their sockets.
        let mut lanes = vec![(MIB / 10, 0.001); 7];
        lanes.push((MIB / 10, 1.0));
        assert_eq!(run(&lanes, LEFT, 60), [None; 8]);
    }

    #[test]
    fn lanes_that_have_gone_are_nobody_to_be_compared_with() {
        let (start, mut all) = (Instant::now(), Stragglers::default());
        let fast = Receipt { bytes: 20 * MIB, time: SLOW_WINDOW, left: LEFT };
        all.note(0, &fast, start + SLOW_WINDOW);
        for step in 3..60 {
            let slow = Receipt { bytes: 10, time: SLOW_WINDOW, left: LEFT };
            assert!(!all.note(1, &slow, start + SLOW_WINDOW * step));
        }
    }

    #[test]
    fn a_clock_runs_out_after_silence_or_a_crawl() {
        let mut silent = Clock::new(SLICE * 3);
        assert_eq!((silent.note(0, SLICE), silent.note(1, SLICE)), (None, None));
        assert_eq!((silent.note(0, SLICE), silent.note(0, SLICE)), (None, None));
        assert_eq!(silent.note(0, SLICE), Some(Stalled::Silent(SLICE * 3)));
        let mut crawling = Clock::new(SLICE * 3);
        let ends = (1..).find_map(|step| Some((step, crawling.note(5, SLICE)?))).unwrap();
        assert_eq!(ends, (20, Stalled::Crawling(100, CRAWL_TIME)));
        let mut patient = Clock::new(CRAWL_TIME * 6);
        assert!((0..119).all(|_| patient.note(5, SLICE).is_none()));
        assert!(patient.note(5, SLICE).is_some());
    }

    proptest! {
        #[test]
        fn a_clock_never_runs_out_above_its_rate(
            steps in prop::collection::vec((1..3000u64, 0..2000u64), 1..200)
        ) {
            let mut clock = Clock::new(Duration::from_secs(1));
            for (millis, surplus) in steps {
                let bytes = (millis * CRAWL_RATE).div_ceil(1000) + surplus;
                prop_assert_eq!(clock.note(bytes, Duration::from_millis(millis)), None);
            }
        }
    }
}
