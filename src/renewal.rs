//! Decides who asks a typed address again when the one it led to has stopped working, and who waits.
//!
//! A redirect may lead to an address that lives for minutes: a signed one, or one machine of many. When it
//! refuses, one lane asks the typed address for a fresh one and the others wait for its word. This neither
//! asks nor waits: it hands out turns and counts. Invariant: at most one turn to ask is out at a time.

use crate::error::Error;
use crate::limits::{PROGRESS_BYTES_MIN, RENEWALS_MAX};

/// The state of what one typed address leads to.
#[derive(Debug, Default)]
pub(crate) struct Renewal {
    stage: Stage,
    /// Grows with each fresh address, so that an old refusal does not count against it.
    age: u64,
    /// Times the typed address was asked again since the last progress.
    asked: u32,
    /// Bytes of the download when it was asked last.
    bytes: u64,
    /// Why the typed address leads nowhere any more.
    refusal: Option<Error>,
    /// Times that a turn to ask was over, and how it failed last if that may pass.
    rounds: u64,
    passing: Option<Error>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Stage {
    /// What the address leads to is not known to have failed.
    #[default]
    Good,
    /// It has failed, and nobody asks yet.
    Failed,
    /// Somebody asks the typed address.
    Asking,
}

/// What a lane is to do about its next request.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Take the address that is known, of this age.
    Known(u64),
    /// Ask the typed address, and tell what came of it.
    Ask,
    /// Wait until somebody else has asked, which is after this round.
    Wait(u64),
    /// Nothing works for now: this is why.
    Failed(Error),
}

impl Renewal {
    /// The turn of a lane that wants to send a request; `waited` is the round it has waited for, if it has.
    ///
    /// Who waited for a failure that may pass shares it: were the lanes to ask one after the other, each
    /// would wait for the time limits of all.
    pub(crate) fn turn(&mut self, bytes: u64, waited: Option<u64>) -> Turn {
        let has_waited = waited.is_some_and(|round| round < self.rounds);
        if let (true, Some(error)) = (has_waited, &self.passing) {
            return Turn::Failed(error.repeat());
        }
        match self.stage {
            Stage::Good => Turn::Known(self.age),
            Stage::Asking => Turn::Wait(self.rounds),
            Stage::Failed => match &self.refusal {
                Some(error) if !self.may_ask(bytes) => Turn::Failed(error.repeat()),
                _ => {
                    self.count(bytes);
                    self.stage = Stage::Asking;
                    Turn::Ask
                }
            },
        }
    }

    /// An address of this age has failed. Returns whether to take another turn; else its failure stands.
    ///
    /// `bytes` is what the download has received so far: with progress there is no end to fresh addresses.
    pub(crate) fn failed(&mut self, age: u64, bytes: u64) -> bool {
        let is_news = self.stage == Stage::Good && self.age == age;
        if is_news && !self.may_ask(bytes) {
            return false;
        }
        if is_news {
            self.stage = Stage::Failed;
        }
        true
    }

    /// Whether what was known at this age still is the latest.
    pub(crate) fn is_current(&self, age: u64) -> bool {
        self.age == age
    }

    /// The lane whose turn it was has found an address that works.
    pub(crate) fn renewed(&mut self) {
        self.stage = Stage::Good;
        self.age += 1;
        self.rounds += 1;
        (self.refusal, self.passing) = (None, None);
    }

    /// The lane whose turn it was has found none. What may pass, or was not tried to its end, counts not.
    pub(crate) fn not_renewed(&mut self, error: Option<&Error>) {
        self.stage = Stage::Failed;
        self.rounds += 1;
        self.passing = error.filter(|error| error.kind().is_transient()).map(Error::repeat);
        match error {
            Some(error) if self.passing.is_none() => self.refusal = Some(error.repeat()),
            _ => self.asked = self.asked.saturating_sub(1),
        }
    }

    fn may_ask(&self, bytes: u64) -> bool {
        self.asked < RENEWALS_MAX || self.has_progressed(bytes)
    }

    fn has_progressed(&self, bytes: u64) -> bool {
        bytes.saturating_sub(self.bytes) >= PROGRESS_BYTES_MIN
    }

    fn count(&mut self, bytes: u64) {
        if self.has_progressed(bytes) {
            self.asked = 0;
        }
        (self.asked, self.bytes) = (self.asked + 1, bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::Kind;

    fn refusal() -> Error {
        Error::new(Kind::Refused, "no")
    }

    fn failed() -> Renewal {
        let mut renewal = Renewal::default();
        assert!(renewal.failed(0, 0));
        renewal
    }

    #[test]
    fn one_asks_and_the_others_wait_for_the_fresh_address() {
        let mut renewal = failed();
        assert!(matches!(renewal.turn(0, None), Turn::Ask));
        assert!(matches!(renewal.turn(0, None), Turn::Wait(0)));
        assert!(renewal.failed(0, 0), "a late refusal of the old address changes nothing");
        assert!(matches!(renewal.turn(0, None), Turn::Wait(0)));
        renewal.renewed();
        assert!(matches!(renewal.turn(0, None), Turn::Known(1)));
        assert!(renewal.failed(0, 0));
        assert!(matches!(renewal.turn(0, None), Turn::Known(1)));
    }

    #[test]
    fn fresh_addresses_that_bring_nothing_come_to_an_end() {
        let mut renewal = Renewal::default();
        for age in 0..u64::from(RENEWALS_MAX) {
            assert!(renewal.failed(age, 7));
            assert!(matches!(renewal.turn(7, None), Turn::Ask));
            renewal.renewed();
        }
        assert!(!renewal.failed(u64::from(RENEWALS_MAX), 7));
        assert!(renewal.failed(u64::from(RENEWALS_MAX), 7 + PROGRESS_BYTES_MIN));
        assert!(matches!(renewal.turn(7 + PROGRESS_BYTES_MIN, None), Turn::Ask));
    }

    #[test]
    fn a_refusal_of_the_typed_address_is_handed_on_when_it_has_been_asked_enough() {
        let mut renewal = failed();
        for _ in 0..RENEWALS_MAX {
            assert!(matches!(renewal.turn(0, None), Turn::Ask));
            renewal.not_renewed(Some(&refusal()));
        }
        assert!(
            matches!(renewal.turn(0, None), Turn::Failed(error) if error.kind() == Kind::Refused)
        );
        assert!(matches!(renewal.turn(PROGRESS_BYTES_MIN, None), Turn::Ask));
    }

    #[test]
    fn what_passes_does_not_use_the_turns_up() {
        let mut renewal = failed();
        for round in 0..10 * RENEWALS_MAX {
            assert!(matches!(renewal.turn(0, None), Turn::Ask));
            let passing = Error::new(Kind::Unavailable, "busy");
            renewal.not_renewed(Some(&passing).filter(|_| round % 2 == 0));
        }
        assert!(matches!(renewal.turn(0, None), Turn::Ask));
    }

    #[test]
    fn who_waited_for_what_may_pass_shares_it_and_then_takes_a_turn() {
        let mut renewal = failed();
        assert!(matches!(renewal.turn(0, None), Turn::Ask));
        let Turn::Wait(round) = renewal.turn(0, None) else { panic!("two ask at once") };
        renewal.not_renewed(Some(&Error::new(Kind::Stall, "slow")));
        let shared = renewal.turn(0, Some(round));
        assert!(matches!(shared, Turn::Failed(error) if error.kind() == Kind::Stall));
        assert!(matches!(renewal.turn(0, None), Turn::Ask), "whoever comes anew asks");
        renewal.not_renewed(None);
        assert!(matches!(renewal.turn(0, Some(round)), Turn::Ask), "a turn was given up");
        renewal.renewed();
        assert!(matches!(renewal.turn(0, Some(round)), Turn::Known(1)));
    }

    proptest! {
        /// Whatever lanes do in whatever order: one turn is out at a time, and without progress the number
        /// of questions that end is bounded.
        #[test]
        fn turns_are_single_and_bounded(steps in prop::collection::vec(0..5u8, 1..200)) {
            let mut renewal = Renewal::default();
            let (mut is_out, mut ended) = (false, 0);
            for step in steps {
                match step {
                    0 => { renewal.failed(renewal.age, 0); }
                    1 if is_out => { renewal.renewed(); (is_out, ended) = (false, ended + 1); }
                    2 if is_out => {
                        renewal.not_renewed(Some(&refusal()));
                        (is_out, ended) = (false, ended + 1);
                    }
                    3 if is_out => { renewal.not_renewed(None); is_out = false; }
                    _ => {
                        let asks = matches!(renewal.turn(0, None), Turn::Ask);
                        prop_assert!(!(asks && is_out), "two lanes ask at once");
                        is_out |= asks;
                    }
                }
            }
            prop_assert!(ended <= RENEWALS_MAX, "{ended} questions without a byte");
        }
    }
}
