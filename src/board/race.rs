//! The race for a block: who may begin it, who has won it, and who falls behind.

use std::time::{Duration, Instant};

use super::{Board, Job};
use crate::limits::{ANSWER_LATE_MIN, LATE_BLOCKS, LATE_MIN, LATE_UNKNOWN, OWN_UNKNOWN};
use crate::plan::{Lease, LeaseId, Patience};
use crate::stragglers::Receipt;

/// What an idle lane says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    /// Blocks below which a request costs it more than it brings.
    pub(crate) at_least: u32,
    /// Time that a request for one block usually takes it; `None` if it has not fetched any.
    pub(crate) block_time: Option<Duration>,
}

/// What a lane is filling.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Making {
    /// The lane's number.
    pub(crate) lane: usize,
    pub(crate) lease: LeaseId,
    /// The block, and how many bytes it has.
    pub(crate) index: u32,
    pub(crate) filled: u64,
}

/// What a lane is to do after a receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    GoOn,
    /// Ask again on a fresh connection: this one brings next to nothing beside the others.
    Afresh,
    /// Stop: the stage is over, or another lane has the block.
    LetGo,
}

impl Asker {
    /// When a block that somebody else fills is late in the eyes of this lane. `share` is the time that a
    /// rate limit gives each block.
    pub(super) fn patience(&self, share: Duration) -> Patience {
        let Some(time) = self.block_time.map(|time| time.max(share)) else {
            return Patience { limit: LATE_UNKNOWN.max(share * 2), own: OWN_UNKNOWN.max(share) };
        };
        let limit = time.saturating_mul(LATE_BLOCKS).max(LATE_MIN);
        Patience { limit, own: time }
    }
}

impl Board {
    /// Something more for a lane at work that has nothing to do but to wait for its writes.
    ///
    /// Where blocks go in order, all lanes may come to wait for the one that is late.
    pub(crate) fn more(&self, job: &Job, asker: &Asker) -> Option<Lease> {
        let mut state = self.lock();
        state.plan_of(job)?;
        let others = state.at_work.saturating_sub(1);
        state.lease(asker, others, self.rules.window, Instant::now())
    }

    /// Asks whether a lane may begin a block of its lease; false if it was recalled or the stage is over.
    pub(crate) fn claim(&self, job: &Job, lease: LeaseId, index: u32) -> bool {
        self.lock().plan_of(job).is_some_and(|plan| plan.claim(lease, index))
    }

    /// Notes that a lane has memory for the block it has claimed: from now on it waits for the server.
    pub(crate) fn begun(&self, job: &Job, lease: LeaseId) {
        if let Some(plan) = self.lock().plan_of(job) {
            plan.begun(lease, Instant::now());
        }
    }

    /// Asks whether a lane that has all bytes of a block is the first: only then may it commit them.
    pub(crate) fn win(&self, job: &Job, lease: LeaseId, index: u32) -> bool {
        let losers = {
            let mut state = self.lock();
            state.plan_of(job).and_then(|plan| plan.win(lease, index, Instant::now()))
        };
        if losers.is_some_and(|losers| losers > 0) {
            job.stir();
        }
        losers.is_some()
    }

    /// Takes note of what a lane has received for a block, and says how it goes on.
    pub(crate) fn received(&self, job: &Job, making: &Making, receipt: &Receipt) -> Step {
        let Making { lane, lease, index, filled } = *making;
        let (mut state, now) = (self.lock(), Instant::now());
        let Some(plan) = state.plan_of(job).filter(|plan| plan.holds(lease, index)) else {
            return Step::LetGo;
        };
        if receipt.bytes > 0 {
            plan.heard(lease, filled, now);
        }
        match state.stragglers.note(lane, receipt, now) {
            true => Step::Afresh,
            false => Step::GoOn,
        }
    }

    /// Takes note of how long an answer took to begin.
    pub(crate) fn answered(&self, time: Duration) {
        let mut state = self.lock();
        state.answer_time = state.answer_time.max(time);
    }

    /// Time after which a request that begins now should be sent again over a fresh connection; `None` while
    /// nobody else is at work.
    pub(crate) fn answer_limit(&self) -> Option<Duration> {
        let state = self.lock();
        let usual = state.answer_time.saturating_mul(LATE_BLOCKS);
        (state.at_work > 1).then(|| usual.max(ANSWER_LATE_MIN))
    }

    /// Whether a block is still for the lane of this lease to fill.
    pub(crate) fn holds(&self, job: &Job, lease: LeaseId, index: u32) -> bool {
        !job.is_cancelled() && self.lock().plan_of(job).is_some_and(|plan| plan.holds(lease, index))
    }

    /// Whether several lanes fill a block.
    pub(crate) fn is_shared(&self, job: &Job, index: u32) -> bool {
        self.lock().plan_of(job).is_some_and(|plan| plan.holders(index) > 1)
    }

    /// Waits until there is no use in filling a block of a lease: the stage is over, or another lane has it.
    pub(crate) async fn released(&self, job: &Job, lease: LeaseId, index: u32) {
        loop {
            let stirred = job.stirred();
            if !self.holds(job, lease, index) {
                return;
            }
            stirred.await;
        }
    }
}
