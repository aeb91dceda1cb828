//! The race for a block: who may begin it, who has won it, and who falls behind.

use std::time::{Duration, Instant};

use super::{Board, Job};
use crate::limits::{LATE_BLOCKS, LATE_MIN, LATE_UNKNOWN};
use crate::plan::{Lease, LeaseId};
use crate::stragglers::Receipt;

/// What an idle lane says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    /// Blocks below which a request costs it more than it brings.
    pub(crate) at_least: u32,
    /// Time that a request for one block usually takes it; `None` if it has not fetched any.
    pub(crate) block_time: Option<Duration>,
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
    /// Time after which a block that somebody else fills is late in the eyes of this lane.
    pub(super) fn patience(&self) -> Duration {
        let usual = self.block_time.map_or(LATE_UNKNOWN, |time| time.saturating_mul(LATE_BLOCKS));
        usual.max(LATE_MIN)
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

    /// Takes note of what a lane has received for the block `index`, and says how it goes on.
    pub(crate) fn received(
        &self,
        job: &Job,
        (lease, index): (LeaseId, u32),
        lane: usize,
        receipt: &Receipt,
    ) -> Step {
        let mut state = self.lock();
        let holds = state.plan_of(job).is_some_and(|plan| plan.holds(lease, index));
        if !holds || job.is_cancelled() {
            return Step::LetGo;
        }
        match state.stragglers.note(lane, receipt, Instant::now()) {
            true => Step::Afresh,
            false => Step::GoOn,
        }
    }

    /// Whether a block is still for the lane of this lease to fill.
    pub(crate) fn holds(&self, job: &Job, lease: LeaseId, index: u32) -> bool {
        !job.is_cancelled() && self.lock().plan_of(job).is_some_and(|plan| plan.holds(lease, index))
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
