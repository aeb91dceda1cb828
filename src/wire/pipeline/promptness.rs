//! Whether a server answers in one go what it was asked in one go.

use std::time::{Duration, Instant};

use crate::limits::PIPELINE_PAUSE;

/// How promptly answers follow each other. A server that thinks about each makes those behind it wait, where
/// over connections of their own they would not.
#[derive(Debug, Default)]
pub(super) struct Promptness {
    /// The shortest time that an answer took: the way there and back, and the thought.
    least: Option<Duration>,
    /// Late answers more than prompt ones.
    late: u32,
}

impl Promptness {
    /// Takes note of an answer that was asked for at `asked` and `came` whole, the one in front of it at
    /// `before` if there was one in line. False once too many were late.
    pub(super) fn note(&mut self, asked: Instant, before: Option<Instant>, came: Instant) -> bool {
        let took = came.saturating_duration_since(asked);
        let least = self.least.map_or(took, |least| least.min(took));
        self.least = Some(least);
        let Some(before) = before else { return true };
        let due = before.max(asked + least);
        match came.saturating_duration_since(due) > PIPELINE_PAUSE {
            true => self.late += 1,
            false => self.late = self.late.saturating_sub(1),
        }
        self.late < LATE_MAX
    }
}

/// Late answers, more than prompt ones, that tell a server that thinks from a hitch on the way.
const LATE_MAX: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds of four requests that go out together; `think` is what the server takes for each.
    fn rounds(count: u32, way: Duration, think: Duration) -> bool {
        let (mut promptness, mut now, mut goes_on) = (Promptness::default(), Instant::now(), true);
        for _ in 0..count {
            let (asked, mut before) = (now, None);
            now += way;
            for _ in 0..4 {
                now += think;
                goes_on &= promptness.note(asked, before, now);
                before = Some(now);
            }
        }
        goes_on
    }

    #[test]
    fn a_server_that_thinks_about_each_answer_is_found_out_however_far_it_is() {
        for way in [0, 1, 100].map(Duration::from_millis) {
            assert!(rounds(1000, way, Duration::from_micros(50)));
            assert!(rounds(1000, way, PIPELINE_PAUSE));
            assert!(!rounds(10, way, PIPELINE_PAUSE * 2));
        }
    }

    #[test]
    fn what_is_asked_while_another_waits_is_not_late_for_the_way() {
        let (mut promptness, start) = (Promptness::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(promptness.note(at(0), None, at(100)));
        for round in 0..100 {
            // Asked 60 ms before the one in front is answered, it comes 40 ms behind it.
            assert!(promptness.note(
                at(40 + 40 * round),
                Some(at(100 + 40 * round)),
                at(140 + 40 * round)
            ));
        }
    }

    #[test]
    fn a_hitch_now_and_then_is_forgiven() {
        let (mut promptness, start) = (Promptness::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        for round in 0..100 {
            let asked = at(300 * round);
            assert!(promptness.note(asked, None, asked + PIPELINE_PAUSE));
            assert!(promptness.note(asked, Some(asked + PIPELINE_PAUSE), asked + PIPELINE_PAUSE));
            assert!(promptness.note(asked, Some(asked), asked + Duration::from_millis(200)));
        }
    }
}
