//! One look at a download: what a bar, a plain line and a progress event show alike.
//!
//! Not here: words and layout. Time comes in as an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::meter::{Meter, Phase};
use crate::units::{self, as_f64};

/// What a download looks like at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Frame {
    /// What it is doing.
    pub(super) phase: Phase,
    /// Bytes written, or digested while it verifies.
    pub(super) bytes: u64,
    /// Size of the file in bytes, once known.
    pub(super) size: Option<u64>,
    /// Bytes per second lately.
    pub(super) rate: f64,
    /// Connections that receive.
    pub(super) connections: u32,
}

impl Frame {
    /// Looks at `meter`.
    pub(super) fn look(meter: &Meter, rate: &mut Rate, now: Instant) -> Self {
        let phase = meter.phase();
        let bytes = if phase == Phase::Verifying { meter.digested() } else { meter.landed() };
        Self {
            phase,
            bytes,
            size: meter.size(),
            rate: rate.add(meter.received(), now),
            connections: meter.connections(),
        }
    }

    /// The share of the file in percent, rounded down, so that 100 means all of it.
    pub(super) fn percent(&self) -> Option<u64> {
        let size = self.size?;
        Some(u128::from(self.bytes.min(size)) * 100)
            .map(|share| share.checked_div(u128::from(size)).unwrap_or(100))
            .and_then(|percent| u64::try_from(percent).ok())
    }

    /// The time to the last byte at the present rate.
    pub(super) fn eta(&self) -> Option<Duration> {
        let rest = as_f64(self.size?.saturating_sub(self.bytes));
        let known = self.phase == Phase::Fetching && self.rate > 0.0;
        known.then(|| Duration::try_from_secs_f64(rest / self.rate).ok()).flatten()
    }
}

/// The rate over the last few seconds.
#[derive(Debug)]
pub(super) struct Rate {
    samples: VecDeque<(Instant, u64)>,
}

impl Rate {
    /// Begins at zero bytes.
    pub(super) fn begin(now: Instant) -> Self {
        Self { samples: VecDeque::from([(now, 0)]) }
    }

    /// Adds a sample and tells the bytes per second since the oldest one that is kept.
    fn add(&mut self, bytes: u64, now: Instant) -> f64 {
        // The count falls when a download starts anew; what was before says nothing about what
        // follows.
        if self.samples.back().is_some_and(|(_, before)| *before > bytes) {
            self.samples.clear();
        }
        while self.samples.len() >= SAMPLES_MAX || self.reaches_far(now) {
            self.samples.pop_front();
        }
        self.samples.push_back((now, bytes));
        match self.samples.front() {
            Some((then, before)) => {
                units::rate(bytes - before, now.saturating_duration_since(*then))
            }
            None => 0.0,
        }
    }

    /// Whether the second sample alone covers the window: then the first is not needed.
    fn reaches_far(&self, now: Instant) -> bool {
        self.samples.get(1).is_some_and(|(then, _)| now.saturating_duration_since(*then) >= WINDOW)
    }
}

/// Long enough to be calm, short enough to show a change.
const WINDOW: Duration = Duration::from_secs(3);
/// More samples than the fastest tick puts into the window.
const SAMPLES_MAX: usize = 64;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A download in full swing.
    pub(crate) fn frame() -> Frame {
        Frame {
            phase: Phase::Fetching,
            bytes: 880 << 20,
            size: Some(2 << 30),
            rate: 1_181_116_006.0,
            connections: 8,
        }
    }

    #[test]
    fn a_hundred_percent_means_every_byte() {
        let percent = |bytes, size| Frame { bytes, size: Some(size), ..frame() }.percent();
        assert_eq!(percent((2 << 30) - 1, 2 << 30), Some(99));
        assert_eq!(percent(2 << 30, 2 << 30), Some(100));
        assert_eq!(percent(0, 0), Some(100));
        assert_eq!(percent(u64::MAX / 2, u64::MAX - 1), Some(50));
        assert_eq!(Frame { size: None, ..frame() }.percent(), None);
    }

    #[test]
    fn there_is_no_forecast_without_a_rate_or_a_size() {
        assert_eq!(frame().eta().map(|eta| eta.as_millis()), Some(1036));
        assert_eq!(Frame { rate: 0.0, ..frame() }.eta(), None);
        assert_eq!(Frame { rate: 1e-300, ..frame() }.eta(), None);
        assert_eq!(Frame { size: None, ..frame() }.eta(), None);
    }

    #[test]
    fn the_rate_forgets_what_is_long_ago() {
        let begun = Instant::now();
        let mut rate = Rate::begin(begun);
        let mut last = 0.0;
        for second in 1..=10 {
            last = rate.add(second * 100, begun + Duration::from_secs(second));
        }
        assert!((last - 100.0).abs() < 0.01, "{last}");
        for second in 11..=14 {
            last = rate.add(1000, begun + Duration::from_secs(second));
        }
        assert!(last == 0.0, "{last}");
        assert!(rate.add(5, begun + Duration::from_secs(15)) == 0.0, "a restart is no rate");
    }
}
