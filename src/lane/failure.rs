//! What follows a failure of one lease: another attempt, fewer lanes, a fresh start or the end.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::haul::{Haul, Stop};
use super::tries::{Tries, Verdict};
use super::{Anew, Manner};
use crate::error::{Error, Kind};
use crate::limits::REFUSALS_MAX;
use crate::meter::Event;
use crate::wire::has_run_out;

/// What happened since the last failure.
pub(super) struct Since {
    /// Bytes that came.
    pub(super) progress: u64,
    /// Whether bytes came to other lanes.
    pub(super) others: bool,
}

impl Haul<'_> {
    /// Whether the lease is tried again after a failure; waits as long as the rules say.
    pub(super) async fn goes_on(
        &mut self,
        tries: &mut Tries<'_>,
        error: Error,
        since: &Since,
    ) -> bool {
        if !self.lane.board.holds(&self.job, self.lease.id, self.index()) {
            return false;
        }
        let progress = since.progress;
        self.lane.pulse.broke = matches!(error.kind(), Kind::Reset | Kind::Protocol);
        let board = Arc::clone(&self.lane.board);
        if matches!(error.kind(), Kind::LocalIo | Kind::NoSpace | Kind::Permission)
            && !has_run_out(&error)
        {
            // No server is to blame, and no other lane would fare better.
            board.fail(error);
            return false;
        }
        let fetch = Arc::clone(&self.lane.fetch);
        if self.job.manner == Manner::OneStream
            && self.cursor > 0
            && !fetch.may_combine(&self.job.version)
        {
            // What broke may mend itself in a moment; the prober waits for that.
            if let Verdict::Again(wait) = tries.judge(error.repeat(), progress) {
                board.hold(&fetch.origin(self.lane.address), wait, Instant::now());
            }
            if board.start_anew(Some(&self.job), &Anew::Broken, error) {
                self.job.forget();
            }
            return false;
        }
        // The lanes ahead wait for this block, and nobody else has it.
        let is_needed = self.job.is_in_order() && !board.is_shared(&self.job, self.index());
        if has_run_out(&error) && !is_needed && self.at_work.retire() {
            return false;
        }
        let error = match is_objection(error.kind(), since) && self.at_work.objected(Instant::now())
        {
            true if !is_needed => return false,
            true => {
                let wait = error.wait_asked();
                Error::new(Kind::Unavailable, error.to_string()).retry_after(wait)
            }
            false => error,
        };
        let error = self.second_chance(error);
        match tries.judge(error, progress) {
            Verdict::Again(wait) => {
                tokio::select! {
                    biased;
                    () = self.released() => false,
                    () = tokio::time::sleep(wait) => true,
                }
            }
            Verdict::GiveUp(error) if fetch.give_up_address(self.lane.address, &error) => {
                *tries = Tries::new(tries.fetch());
                true
            }
            Verdict::GiveUp(_) if !is_needed && self.at_work.retire() => false,
            Verdict::GiveUp(error) => {
                board.fail(error);
                false
            }
        }
    }

    /// A server that bears few connections may have counted one that was just ending: where others have been
    /// answered, a refusal stands only when it is repeated.
    fn second_chance(&mut self, error: Error) -> Error {
        let was_answered = self.job.responses.load(Relaxed) > 1 && !self.lane.fetch.is_single();
        if error.kind() != Kind::Refused || !was_answered || self.refusals == REFUSALS_MAX {
            return error;
        }
        self.refusals += 1;
        Error::new(Kind::Unavailable, error.to_string())
    }

    pub(super) fn anew(&self, why: &Anew) -> Stop {
        let message = match why {
            Anew::Changed(why) => format!("the file keeps changing on the server: {why}"),
            Anew::OneStream | Anew::Broken => {
                "the server does not answer ranges reliably".to_owned()
            }
        };
        let kind = if matches!(why, Anew::Changed(_)) { Kind::Changed } else { Kind::Protocol };
        let begun = self.lane.board.start_anew(Some(&self.job), why, Error::new(kind, message));
        if begun {
            self.job.forget();
        }
        if let (true, Anew::Changed(why)) = (begun, why) {
            self.lane.fetch.meter.tell(Event::Changed { why: why.clone() });
        }
        Stop::LetGo
    }
}

/// Whether a server that fails like this may have had enough of so many connections.
fn is_objection(kind: Kind, since: &Since) -> bool {
    match kind {
        Kind::Refused | Kind::Unavailable => true,
        // Where nobody is answered it is the server that is gone, or the network.
        Kind::Connect | Kind::Reset => since.progress == 0 && since.others,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_answers_nobody_objects_to_no_connection() {
        let since = |progress, others| Since { progress, others };
        for kind in [Kind::Connect, Kind::Reset] {
            assert!(is_objection(kind, &since(0, true)));
            assert!(!is_objection(kind, &since(0, false)), "it restarts, or the network is away");
            assert!(!is_objection(kind, &since(1, true)), "it has begun to answer");
        }
        assert!(is_objection(Kind::Refused, &since(0, false)));
        assert!(!is_objection(Kind::Stall, &since(0, true)));
    }
}
