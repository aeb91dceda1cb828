//! How much one host of a mirror is asked at a time: more while it answers, less when it objects, nothing
//! while it wants to be left alone or cannot be reached.
//!
//! It asks nothing and reads no clock. Invariants: never more in flight than the cap; one probe at a time
//! while a host is paused; a host that stays away costs a bounded number of probes, and not each of its
//! entries an attempt.

use std::time::{Duration, Instant};

use crate::limits::RETRY_AFTER_MAX;

/// The courtesy that one host gets.
#[derive(Debug)]
pub(crate) struct Courtesy {
    cap: u16,
    allowed: u16,
    in_flight: u16,
    /// Good answers since the number last changed.
    clean: u16,
    /// Whether it ever answered well.
    was_good: bool,
    /// Refusals (403) in a row, in a host that answered before.
    refusals: u32,
    /// Failures to reach it, in a row.
    broken: u32,
    /// Pauses in a row without a good answer between.
    pauses: u32,
    lowered: Option<Instant>,
    /// Nothing before this time.
    paused: Option<Instant>,
    is_given_up: bool,
}

/// Whether a request may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// It may, and counts as in flight.
    Yes,
    /// Not before this time has passed.
    Wait(Duration),
    /// Not before another has ended.
    Full,
}

/// How a request ended, as far as the host is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It answered.
    Good,
    /// It answered that there is no such thing, or what else belongs to the entry alone.
    Final,
    /// It refuses (403).
    Refused,
    /// It cannot now (429, 503), and may say for how long.
    Busy {
        /// The time it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// It could not be reached, or cut the connection.
    Broken,
    /// It was not asked after all, which says nothing of it.
    Unasked,
}

/// What becomes of an entry whose request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the entry's own failure.
    Final,
    /// It is the host's: the entry stays, and may be tried after this time.
    Again(Duration),
}

impl Courtesy {
    /// A host that nothing is known of, which gets at most so many connections.
    pub(crate) fn new(cap: u16) -> Self {
        let cap = cap.max(1);
        Self {
            cap,
            allowed: cap.min(FIRST),
            in_flight: 0,
            clean: 0,
            was_good: false,
            refusals: 0,
            broken: 0,
            pauses: 0,
            lowered: None,
            paused: None,
            is_given_up: false,
        }
    }

    /// Connections allowed at present.
    pub(crate) fn allowed(&self) -> u16 {
        self.allowed
    }

    /// Whether it has been tried often enough: what is left of its entries fails without a request.
    pub(crate) fn is_given_up(&self) -> bool {
        self.is_given_up
    }

    /// Whether a request may begin now; counts it if so.
    pub(crate) fn may_begin(&mut self, now: Instant) -> Permit {
        if let Some(until) = self.paused {
            if until > now {
                return Permit::Wait(until - now);
            }
            // One that finds out, before all others come.
            if self.in_flight > 0 {
                return Permit::Full;
            }
        } else if self.in_flight >= self.allowed {
            return Permit::Full;
        }
        self.in_flight += 1;
        Permit::Yes
    }

    /// Whether [`Courtesy::may_begin`] would say yes.
    pub(crate) fn would_begin(&self, now: Instant) -> bool {
        match self.paused {
            Some(until) => until <= now && self.in_flight == 0,
            None => self.in_flight < self.allowed,
        }
    }

    /// A request has ended.
    pub(crate) fn ended(&mut self, ended: Ended, now: Instant) -> Verdict {
        self.in_flight = self.in_flight.saturating_sub(1);
        match ended {
            Ended::Good => self.good(now),
            Ended::Final => {
                // It is there, and it is no refusal of ours.
                (self.broken, self.refusals) = (0, 0);
                self.end_pause(now);
                Verdict::Final
            }
            Ended::Refused => self.refused(now),
            Ended::Busy { retry_after } => {
                self.lower(now);
                let own = self.pause_time();
                let wait = retry_after.map_or(own, |wait| wait.min(RETRY_AFTER_MAX).max(BUSY_MIN));
                self.pause(now, wait);
                // How often an entry comes again is the entry's affair.
                Verdict::Final
            }
            Ended::Broken => self.broke(now),
            Ended::Unasked => Verdict::Final,
        }
    }

    fn good(&mut self, now: Instant) -> Verdict {
        (self.was_good, self.refusals, self.broken, self.pauses) = (true, 0, 0, 0);
        self.end_pause(now);
        self.clean += 1;
        if self.clean >= self.allowed && self.allowed < self.cap {
            (self.allowed, self.clean) = (self.allowed + 1, 0);
        }
        Verdict::Final
    }

    /// A refusal belongs to the entry, unless it comes in a burst from a host that answered before: such a
    /// host has had enough of us.
    fn refused(&mut self, now: Instant) -> Verdict {
        self.broken = 0;
        if !self.was_good || self.pauses >= REFUSAL_PAUSES_MAX {
            self.paused = None;
            return Verdict::Final;
        }
        self.refusals += 1;
        if self.refusals < BURST {
            // Nobody knows yet; it waits for what the others hear.
            return Verdict::Again(BUSY_MIN);
        }
        self.lower(now);
        if self.paused.is_none_or(|until| until <= now) {
            self.pauses += 1;
            let wait = self.pause_time();
            self.pause(now, wait);
        }
        Verdict::Again(self.paused.map_or(BUSY_MIN, |until| until.saturating_duration_since(now)))
    }

    fn broke(&mut self, now: Instant) -> Verdict {
        self.lower(now);
        self.broken += 1;
        if self.broken < DEAD_AFTER {
            return Verdict::Final;
        }
        if self.paused.is_none_or(|until| until <= now) {
            self.pauses += 1;
            let most = if self.was_good { DEAD_PAUSES_MAX } else { UNKNOWN_PAUSES_MAX };
            self.is_given_up |= self.pauses > most;
            let wait = self.pause_time();
            self.pause(now, wait);
        }
        match self.is_given_up {
            true => Verdict::Final,
            false => Verdict::Again(
                self.paused.map_or(BUSY_MIN, |until| until.saturating_duration_since(now)),
            ),
        }
    }

    /// Halves the number; a burst of objections counts as one.
    fn lower(&mut self, now: Instant) {
        self.clean = 0;
        if self.lowered.is_none_or(|last| now.saturating_duration_since(last) >= LOWER_GAP) {
            self.lowered = Some(now);
            self.allowed = (self.allowed / 2).max(1);
        }
    }

    /// Ends a pause that is over; an answer that was under way before it says nothing of it.
    fn end_pause(&mut self, now: Instant) {
        self.paused = self.paused.filter(|until| *until > now);
    }

    fn pause(&mut self, now: Instant, wait: Duration) {
        let until = now + wait;
        self.paused = Some(self.paused.map_or(until, |before| before.max(until)));
    }

    /// The longer, the more pauses there were.
    fn pause_time(&self) -> Duration {
        PAUSE_FIRST.saturating_mul(1 << self.pauses.saturating_sub(1).min(16)).min(PAUSE_MAX)
    }
}

/// Connections to a host that nothing is known of.
const FIRST: u16 = 4;
/// The least time that a host which cannot now is left alone.
const BUSY_MIN: Duration = Duration::from_millis(250);
/// Refusals in a row that are a burst.
const BURST: u32 = 3;
/// Pauses for refusals after which they are taken as meant.
const REFUSAL_PAUSES_MAX: u32 = 4;
/// Failures in a row to reach a host after which it is left alone.
const DEAD_AFTER: u32 = 4;
/// Pauses in a row after which a host is given up: about a minute.
const DEAD_PAUSES_MAX: u32 = 6;
/// The same of a host that never answered: its name may well be wrong.
const UNKNOWN_PAUSES_MAX: u32 = 2;
/// The first pause and the longest.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Objections closer than this have one cause.
const LOWER_GAP: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_host_that_answers_gets_as_many_as_it_may() {
        let (mut host, now) = (Courtesy::new(8), Instant::now());
        for _ in 0..40 {
            assert_eq!(host.may_begin(now), Permit::Yes);
            host.ended(Ended::Good, now);
        }
        assert_eq!(host.allowed(), 8);
        for _ in 0..8 {
            assert_eq!(host.may_begin(now), Permit::Yes);
        }
        assert_eq!(host.may_begin(now), Permit::Full);
    }

    #[test]
    fn who_was_not_asked_has_said_nothing() {
        let (mut host, now) = (Courtesy::new(8), Instant::now());
        for failure in 1..=DEAD_AFTER {
            assert_eq!(host.may_begin(now), Permit::Yes);
            assert_eq!(host.ended(Ended::Unasked, now), Verdict::Final);
            assert_eq!(host.may_begin(now), Permit::Yes);
            let verdict = host.ended(Ended::Broken, now);
            assert_eq!(matches!(verdict, Verdict::Again(_)), failure == DEAD_AFTER);
        }
    }

    #[test]
    fn a_host_that_cannot_now_is_left_alone_for_so_long_and_then_asked_once() {
        let (mut host, now) = (Courtesy::new(8), Instant::now());
        assert_eq!((host.may_begin(now), host.may_begin(now)), (Permit::Yes, Permit::Yes));
        let wait = Duration::from_secs(7);
        host.ended(Ended::Busy { retry_after: Some(wait) }, now);
        assert_eq!(host.may_begin(now), Permit::Wait(wait));
        host.ended(Ended::Busy { retry_after: Some(wait) }, now);
        assert_eq!(host.allowed(), 2, "a burst counts once");
        assert_eq!(host.may_begin(now + wait), Permit::Yes);
        assert_eq!(host.may_begin(now + wait), Permit::Full);
        host.ended(Ended::Good, now + wait);
        assert_eq!(host.may_begin(now + wait), Permit::Yes);
        assert_eq!(host.may_begin(now + wait), Permit::Yes);
    }

    #[test]
    fn a_refusal_is_the_entrys_own_until_it_comes_in_a_burst_after_good_answers() {
        let (mut host, now) = (Courtesy::new(8), Instant::now());
        assert_eq!(host.ended(Ended::Refused, now), Verdict::Final);
        host.ended(Ended::Good, now);
        for _ in 0..10 {
            assert!(matches!(host.ended(Ended::Refused, now), Verdict::Again(_)));
        }
        assert!(matches!(host.may_begin(now), Permit::Wait(_)));
        let mut later = now;
        let mut probes = 0;
        while let Verdict::Again(wait) = {
            while let Permit::Wait(wait) = host.may_begin(later) {
                later += wait;
            }
            probes += 1;
            host.ended(Ended::Refused, later)
        } {
            later += wait;
            assert!(probes < 20, "refusals must be taken as meant some time");
        }
    }

    #[test]
    fn a_host_that_is_gone_costs_few_attempts_and_is_given_up() {
        let (mut host, mut now, mut attempts) = (Courtesy::new(8), Instant::now(), 0);
        while !host.is_given_up() {
            match host.may_begin(now) {
                Permit::Yes => {
                    attempts += 1;
                    host.ended(Ended::Broken, now);
                }
                Permit::Wait(wait) => now += wait,
                Permit::Full => unreachable!("nothing is in flight"),
            }
        }
        assert!(attempts <= 12, "{attempts}");
    }

    proptest! {
        #[test]
        fn never_more_are_in_flight_than_allowed_and_every_wait_ends(
            cap in 1..20_u16,
            steps in prop::collection::vec((0..6_u8, 0..3000_u64), 1..200),
        ) {
            let (mut host, mut now, mut in_flight) = (Courtesy::new(cap), Instant::now(), 0_u16);
            for (what, ms) in steps {
                now += Duration::from_millis(ms);
                let ended = match what {
                    0 | 1 => None,
                    2 => Some(Ended::Good),
                    3 => Some(Ended::Refused),
                    4 => Some(Ended::Busy { retry_after: Some(Duration::from_millis(ms)) }),
                    _ => Some(Ended::Broken),
                };
                match ended.filter(|_| in_flight > 0) {
                    Some(ended) => {
                        host.ended(ended, now);
                        in_flight -= 1;
                    }
                    None if host.may_begin(now) == Permit::Yes => in_flight += 1,
                    None => {}
                }
                prop_assert!(in_flight <= cap);
                let would = host.would_begin(now);
                if host.may_begin(now) == Permit::Yes {
                    prop_assert!(would);
                    in_flight += 1;
                } else {
                    prop_assert!(!would);
                }
                prop_assert!((1..=cap).contains(&host.allowed()));
            }
            while in_flight > 0 {
                host.ended(Ended::Good, now);
                in_flight -= 1;
            }
            while let Permit::Wait(wait) = host.may_begin(now) {
                prop_assert!(!wait.is_zero() && wait <= RETRY_AFTER_MAX);
                now += wait;
            }
        }
    }
}
