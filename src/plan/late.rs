//! What is late: blocks that are too long in the making are leased to others, too.
//!
//! A lease has a clock, which runs while its lane waits for the server and for nothing else. When it has run
//! too long, an idle lane takes what the late one has not begun; and when there is nothing of that kind, it
//! fills the same block a second time. Whoever has the whole block first wins it, alone, before it goes
//! anywhere: so every block is written once.

use std::time::{Duration, Instant};

use super::{Lease, LeaseId, Plan};
use crate::limits::COPIES_MAX;
use crate::units::as_f64;

/// When an idle lane takes a lease for late.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Time that every block has, and every silence in it.
    pub limit: Duration,
    /// Time that the idle lane would take itself: what will be there sooner is not late.
    pub own: Duration,
}

impl Plan {
    /// Starts the clock of a lease: it was just dealt, or there is memory for the block that was claimed.
    pub(crate) fn begun(&mut self, lease: LeaseId, now: Instant) {
        if let Some(out) = self.leases.get_mut(&lease) {
            out.since = Some(now);
        }
    }

    /// Notes that a lane has `filled` bytes of its block by now.
    pub(crate) fn heard(&mut self, lease: LeaseId, filled: u64, now: Instant) {
        if let Some(out) = self.leases.get_mut(&lease) {
            out.heard = Some((now, filled));
        }
    }

    /// Whether a block is still for the lane of this lease to fill.
    pub(crate) fn holds(&self, lease: LeaseId, index: u32) -> bool {
        self.leases.get(&lease).is_some_and(|out| out.blocks.contains(&index))
    }

    /// A lane has all bytes of a block: says how many other lanes have lost it by that, or `None` if this one
    /// has.
    ///
    /// Only after this the block may land.
    pub(crate) fn win(&mut self, lease: LeaseId, index: u32, now: Instant) -> Option<u32> {
        let out = self.leases.get_mut(&lease).filter(|out| out.making == Some(index))?;
        (out.making, out.since, out.heard) = (None, Some(now), None);
        let losers: Vec<_> = self.makers(index).collect();
        for loser in &losers {
            self.cut(*loser, index);
        }
        Some(u32::try_from(losers.len()).unwrap_or(u32::MAX))
    }

    /// Takes what the latest lane has not begun; otherwise leases the block that is latest in the making once
    /// more.
    ///
    /// A late lease keeps the block it is at: were that
    /// taken away, two lanes that are both late could take it from each other for ever. `None` if nothing is
    /// late, or all that is late has [`COPIES_MAX`] lanes already. A stream of unknown size is never late.
    pub(crate) fn take_late(&mut self, patience: &Patience, now: Instant) -> Option<Lease> {
        self.blocks?;
        let mut late: Vec<_> = self
            .leases
            .iter()
            .filter(|(_, out)| out.is_late(patience, self.block_size, now))
            .map(|(id, out)| (out.since, *id))
            .collect();
        late.sort_unstable();
        let late = || late.iter().map(|(_, id)| *id);
        self.take_rest(late()).or_else(|| self.double(late(), patience, now))
    }

    /// Takes all that the first of these leases that has something left has not begun.
    fn take_rest(&mut self, mut late: impl Iterator<Item = LeaseId>) -> Option<Lease> {
        let id = late.find(|id| !self.leases[id].rest().is_empty())?;
        let rest = self.leases[&id].rest();
        self.cut(id, rest.start);
        Some(self.deal(rest))
    }

    /// Leases the block that the first of these leases fills once more, if all who fill it are late.
    fn double(
        &mut self,
        mut late: impl Iterator<Item = LeaseId>,
        patience: &Patience,
        now: Instant,
    ) -> Option<Lease> {
        let is_late = |id| self.leases[&id].is_late(patience, self.block_size, now);
        let block = late.find_map(|id| {
            let block = self.leases[&id].making?;
            (self.makers(block).all(is_late) && self.holders(block) < COPIES_MAX).then_some(block)
        })?;
        Some(Lease { twin: true, ..self.deal(block..block + 1) })
    }

    /// Ends a lease at `end`: what it misses behind is another lane's business.
    pub(super) fn cut(&mut self, lease: LeaseId, end: u32) {
        let out = self.leases.get_mut(&lease).expect("proof: the caller has found it");
        // Blocks are begun in order, so that none of these has landed.
        let blocks = out.blocks.end - end;
        out.blocks.end = end;
        out.making = out.making.filter(|block| *block < end);
        self.forget_missing(lease, blocks);
    }

    /// The number of lanes that fill a block.
    pub(crate) fn holders(&self, block: u32) -> u32 {
        u32::try_from(self.makers(block).count()).unwrap_or(u32::MAX)
    }

    fn makers(&self, block: u32) -> impl Iterator<Item = LeaseId> {
        let makers = self.leases.iter().filter(move |(_, out)| out.making == Some(block));
        makers.map(|(id, _)| *id)
    }
}

impl super::Out {
    /// The blocks that its lane has not begun.
    fn rest(&self) -> std::ops::Range<u32> {
        self.claimed..self.blocks.end
    }

    /// Whether its block has taken long enough, and is silent or still takes longer than the idle lane would.
    fn is_late(&self, patience: &Patience, block_size: u64, now: Instant) -> bool {
        let Some(since) = self.since else { return false };
        let time = now.saturating_duration_since(since);
        let (heard, filled) = self.heard.unwrap_or((since, 0));
        let silence = now.saturating_duration_since(heard);
        let left = as_f64(block_size.saturating_sub(filled)) / as_f64(filled);
        let took = heard.saturating_duration_since(since);
        let longer = took.as_secs_f64() * left >= patience.own.as_secs_f64();
        time >= patience.limit && (silence >= patience.limit || longer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Want;
    use super::*;

    /// Whether a lane that would take `own` seconds finds the block late that has this many bytes of a
    /// hundred after ten seconds, the last of them after `heard` seconds.
    fn is_late(own: u64, heard: u64, filled: u64) -> bool {
        let all = Want { lanes: 1, at_least: 1, at_most: 1, below: 1 };
        let patience = Patience { limit: Duration::from_secs(3), own: Duration::from_secs(own) };
        let mut plan = Plan::new(Some(100), 100).unwrap();
        let (lease, start) = (plan.lease(&all).unwrap(), Instant::now());
        plan.claim(lease.id, 0);
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(plan.take_late(&patience, after(100)), None, "late while it waits for memory");
        plan.begun(lease.id, start);
        plan.heard(lease.id, filled, after(heard));
        plan.take_late(&patience, after(10)).is_some()
    }

    #[test]
    fn what_will_soon_be_there_is_not_late() {
        assert!(!is_late(2, 9, 90), "a second to go");
        assert!(is_late(2, 9, 50), "ten seconds to go");
        assert!(!is_late(30, 9, 50), "nobody would be faster");
        assert!(is_late(30, 9, 1), "a thousand seconds to go");
        assert!(is_late(30, 7, 90), "silent");
    }
}
