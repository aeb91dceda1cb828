//! Decides what follows a failure: another attempt after a wait, or the end.
//!
//! It waits for nothing and counts nothing; the caller counts failures in a row and forgets them with any
//! progress.

use std::time::Duration;

use crate::error::Kind;
use crate::limits::{RETRY_AFTER_MAX, RETRY_WAIT_FIRST, RETRY_WAIT_MAX};

/// How patient a download is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// Attempts after the first that a run of failures without progress may cost.
    pub retries: u32,
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Decision {
    /// Try again after this time.
    Again(Duration),
    /// End with the failure.
    GiveUp,
}

/// Decides what follows the failure number `attempt` in a row without progress, the first being 1.
///
/// `asked` is the server's `Retry-After` (RFC 9110 section 10.2.3); `jitter` is a random number from 0 to 1
/// that keeps many clients from coming back in step.
pub(crate) fn judge(
    kind: Kind,
    attempt: u32,
    asked: Option<Duration>,
    jitter: f64,
    policy: &Policy,
) -> Decision {
    if !kind.is_transient() || attempt > retries(kind, policy) {
        return Decision::GiveUp;
    }
    let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.0 };
    let half = backoff(attempt) / 2;
    let own = half + half.mul_f64(jitter);
    match asked {
        Some(wait) if wait > RETRY_AFTER_MAX => Decision::GiveUp,
        // A server that asks for no time at all, or a date in its own past, must not be hammered.
        Some(wait) => Decision::Again(own.max(stagger(wait, jitter))),
        None => Decision::Again(own),
    }
}

/// A wait that a server asked for, and a little more, so that not all who were asked come back at once.
///
/// `jitter` is a random number from 0 to 1.
pub(crate) fn stagger(asked: Duration, jitter: f64) -> Duration {
    asked.saturating_add(asked.mul_f64(jitter * ASKED_JITTER))
}

/// Retries that a kind of failure is worth.
fn retries(kind: Kind, policy: &Policy) -> u32 {
    match kind {
        // A wrong name or a broken server seldom mends itself within seconds.
        Kind::Protocol | Kind::Resolve => policy.retries.min(HOPELESS_RETRIES),
        _ => policy.retries,
    }
}

/// The longest wait before the attempt that follows failure number `attempt`.
fn backoff(attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(31);
    RETRY_WAIT_FIRST.saturating_mul(1 << doublings).min(RETRY_WAIT_MAX)
}

/// Retries of failures that seldom pass.
const HOPELESS_RETRIES: u32 = 2;
/// Share of a `Retry-After` that is added at most.
const ASKED_JITTER: f64 = 0.1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: Policy = Policy { retries: 8 };

    fn waits(kind: Kind, jitter: f64) -> Vec<Duration> {
        (1..)
            .map_while(|attempt| match judge(kind, attempt, None, jitter, &POLICY) {
                Decision::Again(wait) => Some(wait),
                Decision::GiveUp => None,
            })
            .collect()
    }

    #[test]
    fn waits_double_up_to_the_longest_and_then_it_ends() {
        let waits = waits(Kind::Reset, 1.0);
        assert_eq!(waits.len(), 8);
        assert_eq!(waits[0], RETRY_WAIT_FIRST);
        assert_eq!(waits[3], RETRY_WAIT_FIRST * 8);
        assert_eq!(waits[7], RETRY_WAIT_MAX);
    }

    #[test]
    fn broken_answers_and_unknown_names_get_two_more_attempts() {
        assert_eq!(waits(Kind::Protocol, 0.5).len(), 2);
        assert_eq!(waits(Kind::Resolve, 0.5).len(), 2);
        assert_eq!(judge(Kind::Protocol, 1, None, 0.0, &Policy { retries: 0 }), Decision::GiveUp);
    }

    #[test]
    fn what_will_not_change_is_not_tried_again() {
        for kind in [Kind::Refused, Kind::NoSpace, Kind::Tls, Kind::Digest, Kind::Changed] {
            assert_eq!(judge(kind, 1, Some(Duration::ZERO), 0.0, &POLICY), Decision::GiveUp);
        }
    }

    #[test]
    fn a_retry_after_is_honoured_up_to_the_longest() {
        let ask = |asked| judge(Kind::Unavailable, 1, Some(asked), 0.0, &POLICY);
        assert_eq!(ask(Duration::from_secs(7)), Decision::Again(Duration::from_secs(7)));
        assert_eq!(ask(RETRY_AFTER_MAX), Decision::Again(RETRY_AFTER_MAX));
        assert_eq!(ask(RETRY_AFTER_MAX + Duration::from_nanos(1)), Decision::GiveUp);
        assert_eq!(ask(Duration::MAX), Decision::GiveUp);
    }

    proptest! {
        #[test]
        fn waits_stay_between_half_and_full(attempt: u32, jitter: f64) {
            let policy = Policy { retries: u32::MAX };
            let full = backoff(attempt);
            let Decision::Again(wait) = judge(Kind::Stall, attempt, None, jitter, &policy) else {
                panic!("gave up");
            };
            prop_assert!(full / 2 <= wait && wait <= full && full <= RETRY_WAIT_MAX);
        }

        #[test]
        fn nobody_comes_back_before_the_server_asked(seconds in 0..=600u64, jitter in 0.0..=1.0f64) {
            let asked = Duration::from_secs(seconds);
            let decision = judge(Kind::Unavailable, 1, Some(asked), jitter, &POLICY);
            let Decision::Again(wait) = decision else { panic!("gave up") };
            let most = (asked + asked / 10 + Duration::from_nanos(1)).max(RETRY_WAIT_FIRST);
            prop_assert!(asked <= wait && wait <= most);
            prop_assert!(wait >= RETRY_WAIT_FIRST / 2, "hammers a server that asks for no time");
        }
    }
}
