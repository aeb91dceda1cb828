//! The stages of a download, and what is dealt in each.

use std::sync::Arc;

use super::{Deal, Ending, Job, Manner};
use crate::error::Result;
use crate::holds::Holds;
use crate::limits::RECALL_BLOCKS_MIN;
use crate::pace::Pace;
use crate::plan::{Plan, Want};
use crate::throttle::Throttle;

/// What stands behind the board's mutex.
pub(super) struct State {
    pub(super) stage: Stage,
    pub(super) at_work: u32,
    pub(super) manner: Manner,
    pub(super) pace: Pace,
    /// Lanes that the server has been found to bear.
    pub(super) lanes_max: u32,
    pub(super) throttle: Option<Throttle>,
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
            manner,
            pace,
            lanes_max: u32::MAX,
            throttle,
            holds: Holds::default(),
            changes: 0,
            breaks: 0,
        }
    }

    /// What a lane is to do, if there is something.
    pub(super) fn deal(&mut self, at_least: u32, window: u32) -> Option<Deal> {
        match &mut self.stage {
            Stage::Unprobed => {
                self.stage = Stage::Probing;
                Some(Deal::Probe(self.manner))
            }
            Stage::Running(job, plan) => {
                let lanes = match job.manner {
                    Manner::OneStream => 1,
                    Manner::Ranges => u32::from(self.pace.allowed()).min(self.lanes_max),
                };
                if self.at_work >= lanes {
                    return None;
                }
                let fair = plan.free_blocks().div_ceil(lanes);
                let (at_most, below) = match job.sink.is_in_order() {
                    true => ((window / lanes).max(1), plan.landed_prefix().saturating_add(window)),
                    false => (u32::MAX, u32::MAX),
                };
                let at_least = if lanes == 1 { u32::MAX } else { at_least.min(fair).max(1) };
                let want = Want { lanes, at_least, at_most, below };
                let lease = match plan.lease(&want) {
                    None if lanes > 1 && at_most == u32::MAX => {
                        plan.recall(at_least.max(RECALL_BLOCKS_MIN))
                    }
                    lease => lease,
                }?;
                Some(Deal::Fetch(Arc::clone(job), lease))
            }
            Stage::Probing | Stage::Ending(_) | Stage::Over(_) => None,
        }
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
            self.stage = Stage::Ending(Next::Over(Ok(landed)));
        }
    }
}
