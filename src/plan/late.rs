//! What is late: blocks that are too long in the making are leased to others, too.
//!
//! A lease has a clock, which runs while its lane waits for the server and for nothing else. When it has run
//! too long, an idle lane takes what the late one has not begun; and when there is nothing of that kind, it
//! fills the same block a second time. Whoever has the whole block first wins it, alone, before it goes
//! anywhere: so every block is written once.

use std::time::{Duration, Instant};

use super::{Lease, LeaseId, Plan};
use crate::limits::COPIES_MAX;

impl Plan {
    /// Starts the clock of a lease: it was just dealt, or there is memory for the block that was claimed.
    pub(crate) fn begun(&mut self, lease: LeaseId, now: Instant) {
        if let Some(out) = self.leases.get_mut(&lease) {
            out.since = Some(now);
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
        (out.making, out.since) = (None, Some(now));
        let losers: Vec<_> = self.makers(index).collect();
        for loser in &losers {
            self.cut(*loser, index);
        }
        Some(u32::try_from(losers.len()).unwrap_or(u32::MAX))
    }

    /// Takes what the latest lane has not begun; otherwise leases the block that is latest in the making once
    /// more.
    ///
    /// Late is a lease whose clock has run for `patience` at least. It keeps the block it is at: were that
    /// taken away, two lanes that are both late could take it from each other for ever. `None` if nothing is
    /// late, or all that is late has [`COPIES_MAX`] lanes already. A stream of unknown size is never late.
    pub(crate) fn take_late(&mut self, patience: Duration, now: Instant) -> Option<Lease> {
        self.blocks?;
        let mut late: Vec<_> = self
            .leases
            .iter()
            .filter(|(_, out)| out.is_late(patience, now))
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
        patience: Duration,
        now: Instant,
    ) -> Option<Lease> {
        let block = late.find_map(|id| {
            let block = self.leases[&id].making?;
            let all_late = self.makers(block).all(|id| self.leases[&id].is_late(patience, now));
            (all_late && self.holders(block) < COPIES_MAX).then_some(block)
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
    pub(super) fn holders(&self, block: u32) -> u32 {
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

    fn is_late(&self, patience: Duration, now: Instant) -> bool {
        self.since.is_some_and(|since| now.saturating_duration_since(since) >= patience)
    }
}
