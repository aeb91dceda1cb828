//! How often each host is asked: no more requests a second than it was promised.
//!
//! It neither sleeps nor reads a clock; it says how long to wait. Invariant: the requests that it lets go to
//! one host are a gap apart, however many threads ask. Not how many at a time; that is `courtesy`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use url::Origin;

use crate::limits::TEMPO_HOSTS_MAX;

/// The turns of all hosts.
#[derive(Debug)]
pub(crate) struct Tempo {
    gap: Duration,
    /// When the next request to a host may begin.
    free: HashMap<Origin, Instant>,
}

impl Tempo {
    /// Requests to one host begin so far apart.
    pub(crate) fn new(gap: Duration) -> Self {
        Self { gap, free: HashMap::new() }
    }

    /// Takes the next turn at a host, and says how long to wait for it.
    ///
    /// `now` may lie a little before that of an earlier call, as it does when threads meet at a lock.
    pub(crate) fn turn(&mut self, host: &Origin, now: Instant) -> Duration {
        if self.free.len() >= TEMPO_HOSTS_MAX && !self.free.contains_key(host) {
            // Whose turn is free by now has as much as a host that was never asked.
            self.free.retain(|_, free| *free > now);
        }
        let turn = self.free.get(host).map_or(now, |free| now.max(*free));
        if let Some(free) = turn.checked_add(self.gap) {
            self.free.insert(host.clone(), free);
        }
        turn - now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn host(number: usize) -> Origin {
        url::Url::parse(&format!("http://h{number}/")).unwrap().origin()
    }

    #[test]
    fn one_host_waits_for_its_turn_and_another_does_not() {
        let (mut tempo, now) = (Tempo::new(Duration::from_millis(200)), Instant::now());
        let waits = [0, 0, 1, 0].map(|number| tempo.turn(&host(number), now).as_millis());
        assert_eq!(waits, [0, 200, 0, 400]);
        assert_eq!(tempo.turn(&host(0), now + Duration::from_secs(9)), Duration::ZERO);
    }

    #[test]
    fn hosts_that_nobody_asks_any_more_are_forgotten() {
        let (mut tempo, now) = (Tempo::new(Duration::from_millis(1)), Instant::now());
        let later = |number: usize| now + Duration::from_millis(u64::try_from(number).unwrap());
        (0..3 * TEMPO_HOSTS_MAX).for_each(|number| {
            tempo.turn(&host(number), later(number));
        });
        assert!(tempo.free.len() <= TEMPO_HOSTS_MAX);
    }

    proptest! {
        #[test]
        fn requests_to_a_host_are_never_closer_than_the_gap(
            gap in 1..5000_u64,
            steps in prop::collection::vec((0..3_usize, 0..3000_u64), 1..100),
        ) {
            let gap = Duration::from_millis(gap);
            let (mut tempo, mut now) = (Tempo::new(gap), Instant::now());
            let mut last = HashMap::new();
            for (number, ms) in steps {
                now += Duration::from_millis(ms);
                let at = now + tempo.turn(&host(number), now);
                if let Some(before) = last.insert(number, at) {
                    prop_assert!(at - before >= gap);
                    prop_assert!(at == now || at - before == gap, "waits longer than it must");
                }
            }
        }
    }
}
