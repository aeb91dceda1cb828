//! The plan as lanes see it: what `board` does without waiting, and the only place here that knows the plan.
//!
//! It keeps books of its own beside the plan's. Invariant, checked with every change: each block is free,
//! or in one lease, or landed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Instant;

use crate::error::Kind;
use crate::holds::Holds;
use crate::limits::{COPIES_MAX, RECALL_BLOCKS_MIN, RESTARTS_MAX};
use crate::pace::Pace;
use crate::plan::{Lease, LeaseId, Patience, Plan, Want};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Ranges,
    OneStream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anew {
    Changed,
    OneStream,
    Broken,
}

#[derive(Debug)]
pub(super) enum Deal {
    Probe(Manner),
    Fetch(Lease),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Unprobed,
    Probing,
    Running,
    Ending(Next),
    Over(Ending),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Unprobed,
    Over(Ending),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// A file of so many bytes.
    Landed(u64),
    Failed(Kind),
}

/// What an idle lane says of itself.
pub(super) struct Asker {
    pub(super) at_least: u32,
    pub(super) patience: Patience,
    pub(super) now: Instant,
}

pub(super) struct Table {
    pub(super) stage: Stage,
    pub(super) holds: Holds,
    pub(super) pace: Pace,
    plan: Option<Plan>,
    manner: Manner,
    retries: u32,
    at_work: u32,
    lanes_max: u32,
    changes: u32,
    breaks: u32,
    /// Leases that are out, and the blocks that have landed, by our own account.
    out: Vec<(LeaseId, Range<u32>)>,
    landed: BTreeSet<u32>,
}

impl Table {
    pub(super) fn new(lanes: u16, retries: u32) -> Self {
        Self {
            stage: Stage::Unprobed,
            holds: Holds::default(),
            pace: if lanes == 0 { Pace::auto() } else { Pace::exactly(lanes) },
            plan: None,
            manner: Manner::Ranges,
            retries,
            at_work: 0,
            lanes_max: u32::MAX,
            changes: 0,
            breaks: 0,
            out: Vec::new(),
            landed: BTreeSet::new(),
        }
    }

    pub(super) fn deal(&mut self, manner: Manner, asker: &Asker) -> Option<Deal> {
        let deal = match self.stage {
            Stage::Unprobed => {
                self.stage = Stage::Probing;
                Deal::Probe(self.manner)
            }
            Stage::Running => Deal::Fetch(self.lease(manner, asker)?),
            Stage::Probing | Stage::Ending(_) | Stage::Over(_) => return None,
        };
        self.at_work += 1;
        Some(deal)
    }

    fn lease(&mut self, manner: Manner, asker: &Asker) -> Option<Lease> {
        let lanes = match manner {
            Manner::OneStream => 1,
            Manner::Ranges => u32::from(self.pace.allowed()).min(self.lanes_max),
        };
        if self.at_work >= lanes {
            return None;
        }
        let plan = self.plan.as_mut()?;
        let fair = plan.free_blocks().div_ceil(lanes);
        let at_least = if lanes == 1 { u32::MAX } else { asker.at_least.min(fair).max(1) };
        let want = Want { lanes, at_least, at_most: u32::MAX, below: u32::MAX };
        let mut lease = plan.lease(&want);
        if lease.is_none() && lanes > 1 {
            lease = plan.recall(at_least.max(RECALL_BLOCKS_MIN));
        }
        let lease = lease.or_else(|| plan.take_late(&asker.patience, asker.now))?;
        plan.begun(lease.id, asker.now);
        self.out.push((lease.id, lease.blocks.clone()));
        self.check();
        Some(lease)
    }

    /// Begins to fetch, and deals as many blocks as the first answer serves. `there` are bytes that an
    /// earlier run has left.
    pub(super) fn run(&mut self, plan: Plan, blocks: u32, there: &[Range<u64>]) -> Option<Lease> {
        if self.stage != Stage::Probing {
            return None;
        }
        let is_there = |index: &u32| {
            let block = plan.extent(*index);
            there.iter().any(|range| range.start <= block.start && block.end <= range.end)
        };
        self.landed = (0..plan.blocks().unwrap_or(0)).filter(is_there).collect();
        self.out.clear();
        let plan = self.plan.insert(plan);
        let want = Want { lanes: 1, at_least: blocks, at_most: blocks, below: u32::MAX };
        let lease = if blocks > 0 { plan.lease(&want) } else { None };
        self.out.extend(lease.iter().map(|lease| (lease.id, lease.blocks.clone())));
        self.stage = Stage::Running;
        self.check();
        self.check_complete();
        lease
    }

    pub(super) fn extent(&self, index: u32) -> Range<u64> {
        self.plan.as_ref().expect("proof: whoever has a lease has a plan").extent(index)
    }

    pub(super) fn claim(&mut self, lease: LeaseId, index: u32) -> bool {
        self.stage == Stage::Running
            && self.plan.as_mut().is_some_and(|plan| plan.claim(lease, index))
    }

    /// There is memory for the block: the lane waits for the server now.
    pub(super) fn begun(&mut self, lease: LeaseId, now: Instant) {
        self.plan.iter_mut().for_each(|plan| plan.begun(lease, now));
    }

    /// Whether a block is still for the lane of this lease to fill; it has `filled` bytes of it.
    pub(super) fn holds(&mut self, lease: LeaseId, index: u32, filled: u64, now: Instant) -> bool {
        let Some(plan) = self.plan.as_mut().filter(|_| self.stage == Stage::Running) else {
            return false;
        };
        if filled > 0 {
            plan.heard(lease, filled, now);
        }
        plan.holds(lease, index)
    }

    /// Whether this lane is the first to have all of a block.
    pub(super) fn win(&mut self, lease: LeaseId, index: u32, now: Instant) -> bool {
        let Some(plan) = self.plan.as_mut().filter(|_| self.stage == Stage::Running) else {
            return false;
        };
        let won = plan.win(lease, index, now).is_some();
        self.check();
        won
    }

    pub(super) fn landed(&mut self, lease: LeaseId, index: u32) {
        if self.stage != Stage::Running {
            return;
        }
        let Some(plan) = &mut self.plan else { return };
        plan.landed(lease, index);
        assert!(self.landed.insert(index), "block {index} landed twice");
        self.check();
        self.check_complete();
    }

    pub(super) fn give_back(&mut self, lease: LeaseId) {
        if self.stage == Stage::Running
            && let Some(plan) = &mut self.plan
        {
            plan.give_back(lease);
            self.check();
        }
    }

    pub(super) fn ended(&mut self, size: u64) {
        if self.stage == Stage::Running
            && let Some(plan) = &mut self.plan
        {
            plan.ended(size);
            let blocks = plan.blocks().unwrap_or(u32::MAX);
            self.out.iter_mut().for_each(|(_, range)| range.end = range.end.min(blocks));
            self.check();
            self.check_complete();
        }
    }

    fn check(&mut self) {
        let Some(plan) = &self.plan else { return };
        let Some(blocks) = plan.blocks() else { return };
        let held = |(id, range): &(LeaseId, Range<u32>)| {
            let id = *id;
            range.clone().filter(move |block| plan.holds(id, *block)).collect::<Vec<_>>()
        };
        self.out.retain(|out| held(out).iter().any(|block| !self.landed.contains(block)));
        let mut holders = BTreeMap::<u32, u32>::new();
        for block in self.out.iter().flat_map(held) {
            *holders.entry(block).or_default() += 1;
        }
        holders.retain(|block, _| !self.landed.contains(block));
        assert!(holders.values().all(|count| *count <= COPIES_MAX), "{holders:?}");
        let known = u32::try_from(holders.len() + self.landed.len()).unwrap_or(u32::MAX);
        assert_eq!(plan.free_blocks() + known, blocks, "free, leased and landed are not all");
        let extents = self.landed.iter().map(|block| plan.extent(*block));
        assert_eq!(plan.landed_bytes(), extents.map(|block| block.end - block.start).sum::<u64>());
    }

    fn check_complete(&mut self) {
        if let Some(plan) = &self.plan
            && let (true, Some(size)) = (plan.is_complete(), plan.size())
        {
            self.stage = Stage::Ending(Next::Over(Ending::Landed(size)));
        }
    }

    pub(super) fn fail(&mut self, kind: Kind) {
        self.end(Next::Over(Ending::Failed(kind)));
    }

    fn end(&mut self, next: Next) {
        if !matches!(self.stage, Stage::Over(_) | Stage::Ending(Next::Over(_))) {
            self.stage = Stage::Ending(next);
            self.settle();
        }
    }

    /// Returns whether this call was it and the download goes on.
    pub(super) fn start_anew(&mut self, stage: Stage, why: Anew, kind: Kind) -> bool {
        if self.stage != stage {
            return false;
        }
        let count = |counter: &mut u32| {
            *counter += 1;
            *counter
        };
        let allowed = match why {
            Anew::Changed => count(&mut self.changes) <= RESTARTS_MAX,
            Anew::OneStream if self.manner == Manner::Ranges => true,
            Anew::OneStream | Anew::Broken => count(&mut self.breaks) <= self.retries,
        };
        if why != Anew::Changed || self.changes == RESTARTS_MAX {
            self.manner = Manner::OneStream;
        }
        self.end(if allowed { Next::Unprobed } else { Next::Over(Ending::Failed(kind)) });
        allowed
    }

    pub(super) fn objected(&mut self, now: Instant) -> bool {
        let others = self.at_work.saturating_sub(1);
        let retire = others > 0 && self.pace.objected(now);
        if retire {
            self.lanes_max = self.lanes_max.min(others);
        }
        retire
    }

    pub(super) fn retire(&mut self) -> bool {
        let others = self.at_work.saturating_sub(1);
        if others > 0 {
            self.lanes_max = self.lanes_max.min(others);
        }
        others > 0
    }

    /// A lane has let go of everything.
    pub(super) fn let_go(&mut self) {
        self.at_work -= 1;
        if self.stage == Stage::Probing && self.at_work == 0 {
            self.stage = Stage::Unprobed;
        }
        self.settle();
    }

    fn settle(&mut self) {
        if self.at_work == 0 {
            self.stage = match self.stage {
                Stage::Ending(Next::Over(ending)) => Stage::Over(ending),
                Stage::Ending(Next::Unprobed) => Stage::Unprobed,
                other => other,
            };
        }
    }
}
