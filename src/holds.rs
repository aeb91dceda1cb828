//! Remembers which origins want to be left alone, and for how long.
//!
//! A server that answers "later" means all connections of a download (RFC 9110 section 10.2.3), and only
//! those to itself: another address of the same file is asked on. It waits for nothing and reads no clock.

use std::time::{Duration, Instant};

use url::Origin;

/// The origins that asked us to wait. At most one entry an origin, and none that is over, so that the length
/// is bounded by what a download asks within one longest wait.
#[derive(Debug, Default)]
pub(crate) struct Holds(Vec<(Origin, Instant)>);

impl Holds {
    /// Leaves an origin alone for `wait` from `now`; a hold that lasts longer already stays.
    pub(crate) fn hold(&mut self, origin: &Origin, wait: Duration, now: Instant) {
        self.0.retain(|(_, until)| *until > now);
        let Some(until) = now.checked_add(wait) else { return };
        match self.0.iter_mut().find(|(held, _)| held == origin) {
            Some((_, before)) => *before = until.max(*before),
            None => self.0.push((origin.clone(), until)),
        }
    }

    /// How long an origin is still to be left alone; zero if it may be asked.
    pub(crate) fn left(&self, origin: &Origin, now: Instant) -> Duration {
        let held = self.0.iter().find(|(held, _)| held == origin);
        held.map_or(Duration::ZERO, |(_, until)| until.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    fn origin(url: &str) -> Origin {
        Url::parse(url).unwrap().origin()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_hold_counts_for_its_origin_alone() {
        let (mut holds, now) = (Holds::default(), Instant::now());
        holds.hold(&origin("http://a/x"), SECOND, now);
        assert_eq!(holds.left(&origin("http://a/y?z"), now), SECOND);
        for other in ["http://b/x", "https://a/x", "http://a:81/x"] {
            assert_eq!(holds.left(&origin(other), now), Duration::ZERO, "{other}");
        }
    }

    #[test]
    fn absurd_waits_do_not_overflow() {
        let (mut holds, now) = (Holds::default(), Instant::now());
        holds.hold(&origin("http://a/"), Duration::MAX, now);
        assert_eq!(holds.left(&origin("http://a/"), now), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn the_longest_wait_counts_and_no_more_is_kept_than_lasts(
            waits in prop::collection::vec((0..4u8, 0..100u64, 0..50u64), 1..50)
        ) {
            let (mut holds, mut now) = (Holds::default(), Instant::now());
            let mut model = [now; 4];
            for (host, wait, passes) in waits {
                let of = origin(&format!("http://h{host}/"));
                holds.hold(&of, SECOND * u32::try_from(wait).unwrap(), now);
                let until = &mut model[usize::from(host)];
                *until = (*until).max(now + Duration::from_secs(wait));
                prop_assert_eq!(holds.left(&of, now), until.saturating_duration_since(now));
                prop_assert!(holds.0.len() <= model.len());
                now += Duration::from_secs(passes);
            }
        }
    }
}
