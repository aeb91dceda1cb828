//! The stages of a download, and what is dealt in each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Asker, Deal, Ending, Job, Manner};
use crate::error::Result;
use crate::holds::Holds;
use crate::limits::RECALL_BLOCKS_MIN;
use crate::pace::Pace;
use crate::plan::{Lease, Plan, Want};
use crate::stragglers::Stragglers;
use crate::throttle::Throttle;

/// What stands behind the board's mutex.
pub(super) struct State {
    pub(super) stage: Stage,
    pub(super) at_work: u32,
    /// Of those at work, the ones that retire as soon as they have let go.
    pub(super) retiring: u32,
    pub(super) manner: Manner,
    pub(super) pace: Pace,
    /// Lanes that the server has been found to bear.
    pub(super) lanes_max: u32,
    pub(super) throttle: Option<Throttle>,
    pub(super) stragglers: Stragglers,
    /// The longest that an answer has taken to begin.
    pub(super) answer_time: Duration,
    /// Who wants to be left alone.
    pub(super) holds: Holds,
    pub(super) changes: u32,
    pub(super) breaks: u32,
}

/// How far a download is.
pub(super) enum Stage {
    /// Somebody must ask for the first bytes.
    Unprobed,
    Probing,
    Running(Arc<Job>, Plan),
    /// Cancelled; becomes the next stage when no lane is at work.
    Ending(Next),
    Over(Option<Result<Ending>>),
}

/// What follows a stage that ends.
pub(super) enum Next {
    Unprobed,
    Over(Result<Ending>),
}

impl State {
    pub(super) fn new(manner: Manner, pace: Pace, throttle: Option<Throttle>) -> Self {
        Self {
            stage: Stage::Unprobed,
            at_work: 0,
            retiring: 0,
            manner,
            pace,
            lanes_max: u32::MAX,
            throttle,
            stragglers: Stragglers::default(),
            answer_time: Duration::ZERO,
            holds: Holds::default(),
            changes: 0,
            breaks: 0,
        }
    }

    /// What a lane is to do, if there is something.
    pub(super) fn deal(&mut self, asker: &Asker, window: u32, now: Instant) -> Option<Deal> {
        match &mut self.stage {
            Stage::Unprobed => {
                self.stage = Stage::Probing;
                Some(Deal::Probe(self.manner))
            }
            Stage::Running(job, _) => {
                let job = Arc::clone(job);
                let lease = self.lease(asker, self.at_work, window, now)?;
                Some(Deal::Fetch(job, lease))
            }
            Stage::Probing | Stage::Ending(_) | Stage::Over(_) => None,
        }
    }

    /// Something to fetch for a lane beside which `others` are at work: what is free, what a slow lane has
    /// not begun, or what a late lane has.
    pub(super) fn lease(
        &mut self,
        asker: &Asker,
        others: u32,
        window: u32,
        now: Instant,
    ) -> Option<Lease> {
        let lanes = self.lanes();
        let Stage::Running(job, plan) = &mut self.stage else { return None };
        if others >= lanes {
            return None;
        }
        let fair = plan.free_blocks().div_ceil(lanes);
        let (at_most, below) = match job.is_in_order() && lanes > 1 {
            true => ((window / lanes).max(1), plan.landed_prefix().saturating_add(window)),
            false => (u32::MAX, u32::MAX),
        };
        let at_least = if lanes == 1 { u32::MAX } else { asker.at_least.min(fair).max(1) };
        let want = Want { lanes, at_least, at_most, below };
        let mut lease = plan.lease(&want);
        if lease.is_none() && lanes > 1 && at_most == u32::MAX {
            lease = plan.recall(asker.at_least.max(RECALL_BLOCKS_MIN));
        }
        if lease.is_none() {
            // Under a rate limit a block takes its lane's share of it, whatever the connections can do.
            let block_size = plan.block_size();
            let price =
                self.throttle.as_ref().map_or(Duration::ZERO, |rate| rate.price(block_size));
            let share = price.saturating_mul(others + 1);
            lease = plan.take_late(&asker.patience(share), now);
            if lease.is_some() {
                // The late lane may still wait for an answer that it has no use for now.
                job.stir();
            }
        }
        lease.inspect(|lease| plan.begun(lease.id, now))
    }

    /// Lanes at work that do not retire.
    pub(super) fn staying(&self) -> u32 {
        self.at_work - self.retiring
    }

    /// Connections that there may be at present. Where it is one, it stays one.
    fn lanes(&self) -> u32 {
        match &self.stage {
            Stage::Running(job, _) => self.lanes_of(job),
            _ => u32::from(self.pace.allowed()).min(self.lanes_max),
        }
    }

    fn lanes_of(&self, job: &Job) -> u32 {
        match job.manner {
            Manner::OneStream => 1,
            Manner::Ranges => u32::from(self.pace.allowed()).min(self.lanes_max),
        }
    }

    /// The most blocks that the answer to the first request may serve. In order, nobody may be further ahead
    /// than there is memory; a lane that is alone has all that lies before it in the file already.
    pub(super) fn first_blocks_max(&self, job: &Job, window: u32) -> u32 {
        match job.is_in_order() && self.lanes_of(job) > 1 {
            true => window.max(1),
            false => u32::MAX,
        }
    }

    /// Whether an idle lane should look again after a while, because others may fall behind.
    pub(super) fn may_fall_late(&self) -> bool {
        let is_running = matches!(self.stage, Stage::Running(..));
        is_running && (1..self.lanes()).contains(&self.at_work)
    }

    /// The plan, if the stage is still the one of `job`.
    pub(super) fn plan_of(&mut self, job: &Job) -> Option<&mut Plan> {
        match &mut self.stage {
            Stage::Running(running, plan) if std::ptr::eq(&**running, job) => Some(plan),
            _ => None,
        }
    }

    /// Ends the stage well if every block has landed.
    pub(super) fn check_complete(&mut self) {
        if let Stage::Running(job, plan) = &self.stage
            && let (true, Some(size)) = (plan.is_complete(), plan.size())
        {
            let landed = Ending::Landed(Arc::clone(job), size);
            // A lane may still fill what another has won.
            job.cancel();
            self.stage = Stage::Ending(Next::Over(Ok(landed)));
        }
    }
}
