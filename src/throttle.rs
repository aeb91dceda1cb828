//! Holds all connections of a download together below a rate: a token bucket that may go into debt.
//!
//! It neither sleeps nor reads a clock; it says how long to wait. At any time no more has been released
//! than the rate allows since the start, plus 30 ms' worth and the one slice that is being waited for.

use std::time::{Duration, Instant};

use crate::limits::{RECEIVE_BUFFER_MAX, RECEIVE_BUFFER_MIN, RECEIVE_BUFFER_TIME};
use crate::units::{KIB, MIB};

/// The token bucket of one download.
#[derive(Debug)]
pub(crate) struct Throttle {
    bytes_per_second: u64,
    /// When everything taken so far is paid. Before now: unused rate, kept for a burst.
    paid: Instant,
}

impl Throttle {
    /// A bucket that fills with `bytes_per_second` from `now` on; zero counts as one.
    pub(crate) fn new(bytes_per_second: u64, now: Instant) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), paid: now }
    }

    /// The most bytes to ask for at once: a fiftieth of a second's worth, from 4 KiB to 1 MiB.
    ///
    /// The kernel offers a sender about twice of what was last taken at once.
    pub(crate) fn slice(&self) -> u64 {
        (self.bytes_per_second / 50).clamp(SLICE_MIN, SLICE_MAX)
    }

    /// The receive buffer in bytes that each of so many connections should have; `None` leaves it to the
    /// kernel.
    ///
    /// What is in it has come ahead of its turn: [`take`](Self::take) its size once when it is opened.
    pub(crate) fn receive_buffer(&self, connections: u16) -> Option<u64> {
        let all = u128::from(self.bytes_per_second) * RECEIVE_BUFFER_TIME.as_nanos() / NANOS;
        let share = u64::try_from(all / u128::from(connections.max(1))).unwrap_or(u64::MAX);
        (share <= RECEIVE_BUFFER_MAX).then_some(share.max(RECEIVE_BUFFER_MIN))
    }

    /// Whether all that the rate has allowed so far is taken: whoever comes now has to wait.
    pub(crate) fn is_exhausted(&self, now: Instant) -> bool {
        self.paid > now
    }

    /// Takes `bytes` and says how long to wait before going on. Callers wait one after the other.
    ///
    /// `now` may lie a little before that of an earlier call, as it does when threads meet at a lock.
    pub(crate) fn take(&mut self, bytes: u64, now: Instant) -> Duration {
        let from = now.checked_sub(BURST).map_or(self.paid, |earliest| self.paid.max(earliest));
        // At one byte a second a caller could ask for more time than an Instant holds.
        self.paid = from.checked_add(self.price(bytes)).unwrap_or(from);
        self.paid.saturating_duration_since(now)
    }

    /// Gives back what was taken and not used.
    pub(crate) fn give_back(&mut self, bytes: u64) {
        self.paid = self.paid.checked_sub(self.price(bytes)).unwrap_or(self.paid);
    }

    /// The time in which the rate brings `bytes`, rounded up: the rate is a ceiling.
    pub(crate) fn price(&self, bytes: u64) -> Duration {
        let nanos = (u128::from(bytes) * NANOS).div_ceil(u128::from(self.bytes_per_second));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Unused rate that is kept for later: it makes up for timers that are late.
const BURST: Duration = Duration::from_millis(30);
/// Below this a slow rate would cost a system call for every few bytes.
const SLICE_MIN: u64 = 4 * KIB;
/// Above this a fast rate gains nothing from larger receives.
const SLICE_MAX: u64 = MIB;
const NANOS: u128 = 1_000_000_000;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_given_back_need_not_be_waited_for() {
        let start = Instant::now();
        let mut throttle = Throttle::new(MIB, start);
        let wait = throttle.take(MIB, start);
        throttle.give_back(MIB);
        assert_eq!(throttle.take(MIB, start), wait);
    }

    /// What the rate may release within `time`: the promise of the module.
    fn allowed(rate: u64, time: Duration) -> u128 {
        let nanos = (time + BURST).as_nanos();
        (nanos * u128::from(rate)).div_ceil(NANOS)
    }

    proptest! {
        #[test]
        fn one_connection_never_exceeds_the_rate(
            rate in 1..4_000_000_000u64, steps in prop::collection::vec((0.0..=1.0f64, 0..400u64), 1..100)
        ) {
            let start = Instant::now();
            let mut throttle = Throttle::new(rate, start);
            let (mut now, mut released) = (start, 0u128);
            for (share, idle_ms) in steps {
                let bytes = crate::units::whole_f64(share * crate::units::as_f64(throttle.slice())).unwrap();
                released += u128::from(bytes);
                let ceiling = allowed(rate, now - start) + u128::from(throttle.slice());
                prop_assert!(released <= ceiling, "{released} bytes, {ceiling} allowed");
                now += throttle.take(bytes, now) + Duration::from_millis(idle_ms);
            }
        }

        #[test]
        fn many_connections_that_wait_their_turn_never_exceed_the_rate(
            rate in 1..4_000_000_000u64, steps in prop::collection::vec((1..=MIB, 0..50u64), 1..100)
        ) {
            let start = Instant::now();
            let mut throttle = Throttle::new(rate, start);
            let (mut now, mut released) = (start, 0u128);
            for (bytes, idle_ms) in steps {
                now += Duration::from_millis(idle_ms);
                let release = now + throttle.take(bytes, now);
                released += u128::from(bytes);
                prop_assert!(released <= allowed(rate, release - start));
            }
        }
    }

    #[test]
    fn a_full_rate_is_reached() {
        let start = Instant::now();
        let mut throttle = Throttle::new(MIB, start);
        let mut now = start;
        for _ in 0..1024 {
            now += throttle.take(KIB, now);
        }
        assert!(now - start <= Duration::from_millis(1001), "{:?}", now - start);
    }

    #[test]
    fn an_idle_time_leaves_a_burst_and_no_more() {
        let start = Instant::now();
        let mut throttle = Throttle::new(1000, start);
        let later = start + Duration::from_secs(60);
        assert_eq!(throttle.take(30, later), Duration::ZERO);
        assert_eq!(throttle.take(100, later), Duration::from_millis(100));
        assert_eq!(throttle.take(0, later), Duration::from_millis(100));
    }

    #[test]
    fn slices_stay_within_their_bounds() {
        let slice = |rate| Throttle::new(rate, Instant::now()).slice();
        assert_eq!(slice(1), SLICE_MIN);
        assert_eq!(slice(MIB), MIB / 50);
        assert_eq!(slice(u64::MAX), SLICE_MAX);
    }

    #[test]
    fn absurd_amounts_do_not_overflow() {
        let start = Instant::now();
        let mut throttle = Throttle::new(0, start);
        for _ in 0..100 {
            throttle.take(u64::MAX, start);
        }
        assert!(throttle.take(1, start) > Duration::from_secs(1 << 32));
    }
}
