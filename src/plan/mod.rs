//! Leases runs of blocks and takes them back.
//!
//! The plan knows which blocks of one file are free, leased or landed, and nothing of connections.
//! Every block is in exactly one of the three states at any time; a landed block stays landed. A block that
//! is late in the making (`late`) may be leased to a few lanes; it belongs to the first that has all of it.

mod bits;
mod late;
#[cfg(test)]
mod resume_properties;
mod runs;
#[cfg(test)]
mod tests;

pub(crate) use late::Patience;

use std::collections::HashMap;
use std::ops::Range;
use std::time::Instant;

use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::plan::bits::Bits;
use crate::plan::runs::Runs;
use crate::units;

/// The state of every block of one file.
#[derive(Debug)]
pub(crate) struct Plan {
    size: Option<u64>,
    block_size: u64,
    blocks: Option<u32>,
    free: Runs,
    leases: HashMap<LeaseId, Out>,
    next: LeaseId,
    landed: Bits,
    landed_blocks: u32,
    landed_prefix: u32,
}

/// A run of blocks that one lane may fill: the bounds of one request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lease {
    /// Names the lease when its blocks land or come back.
    pub id: LeaseId,
    /// The blocks, by index; never empty.
    pub blocks: Range<u32>,
    /// Another lane has begun its only block, and is late.
    pub twin: bool,
}

/// Names one lease of one plan; ids are not dealt twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LeaseId(u32);

/// What a lane would like to lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    /// Lanes that share the file; they set how finely the rest is cut.
    pub lanes: u32,
    /// Blocks below which a request costs more than it brings.
    pub at_least: u32,
    /// Most blocks of the lease; wins over `at_least`.
    pub at_most: u32,
    /// Only blocks below this index: the window of a stream, `u32::MAX` for none.
    pub below: u32,
}

/// A lease that is out.
#[derive(Debug)]
struct Out {
    blocks: Range<u32>,
    /// Blocks of it that have not landed.
    missing: u32,
    /// The first block that its lane has not begun.
    claimed: u32,
    /// The block that its lane is filling or asking for, which is not taken away before somebody has all of
    /// it.
    making: Option<u32>,
    /// Since when its lane waits for the server alone; `None` while it waits for memory.
    since: Option<Instant>,
    /// When something came for the block last, and how many bytes it has.
    heard: Option<(Instant, u64)>,
}

impl Plan {
    /// A plan with every block of a file of `size` bytes free; blocks are `block_size` bytes.
    ///
    /// # Errors
    /// `Kind::Usage` if the file has more blocks than [`limits::BLOCKS_MAX`].
    ///
    /// # Panics
    /// If `block_size` is zero.
    pub(crate) fn new(size: Option<u64>, block_size: u64) -> Result<Self> {
        assert!(block_size > 0, "a block holds at least one byte");
        let blocks = size.map(|size| count(size, block_size)).transpose()?;
        // A stream's bitmap grows as it lands; its one lease reaches as far as an index does.
        let (landed, free) = match blocks {
            Some(blocks) => (Bits::with_room(blocks), Runs::full(blocks)),
            None => (Bits::with_room(0), Runs::full(u32::MAX)),
        };
        Ok(Self {
            size,
            block_size,
            blocks,
            free,
            leases: HashMap::new(),
            next: LeaseId(0),
            landed,
            landed_blocks: 0,
            landed_prefix: 0,
        })
    }

    /// A plan of which some bytes are in the file already: the blocks that lie in `landed` wholly.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn resumed(
        size: u64,
        block_size: u64,
        landed: impl Iterator<Item = Range<u64>>,
    ) -> Result<Self> {
        let mut plan = Self::new(Some(size), block_size)?;
        for bytes in landed {
            let first = bytes.start.div_ceil(block_size);
            let last =
                if bytes.end >= size { size.div_ceil(block_size) } else { bytes.end / block_size };
            for index in (first..last).filter_map(|index| u32::try_from(index).ok()) {
                plan.landed_blocks += u32::from(plan.landed.insert(index));
            }
        }
        let blocks = plan.blocks.unwrap_or(0);
        plan.free = Runs::default();
        plan.free_missing(0..blocks);
        plan.landed_prefix = plan.landed.first_out(0, blocks);
        Ok(plan)
    }

    /// The lowest run of bytes that nobody has leased; `None` if there is none.
    pub(crate) fn first_free(&self) -> Option<Range<u64>> {
        let run = self.free.lowest()?;
        Some(self.extent(run.start).start..self.extent(run.end - 1).end)
    }

    /// Size of the file in bytes; `None` while it is unknown.
    pub(crate) fn size(&self) -> Option<u64> {
        self.size
    }

    /// Size of a block in bytes; the last one may be shorter.
    pub(crate) fn block_size(&self) -> u64 {
        self.block_size
    }

    /// Number of blocks; `None` while the size is unknown.
    pub(crate) fn blocks(&self) -> Option<u32> {
        self.blocks
    }

    /// The bytes of a block, as file offsets; the last block is short. While the size is unknown all are
    /// whole.
    ///
    /// # Panics
    /// If the file has no such block.
    pub(crate) fn extent(&self, index: u32) -> Range<u64> {
        assert!(
            self.blocks.is_none_or(|blocks| index < blocks),
            "block {index} is beyond the file"
        );
        let start = u64::from(index) * self.block_size;
        let end = start + self.block_size;
        start..self.size.map_or(end, |size| end.min(size))
    }

    /// Leases blocks from the head of the lowest free run; `None` if no block below `want.below` is free.
    ///
    /// Guided self-scheduling: a lane gets half its share of what is free, so leases shrink towards the end
    /// and the lanes end together. A file of unknown size is leased whole, to the first who asks.
    pub(crate) fn lease(&mut self, want: &Want) -> Option<Lease> {
        let run = self.free.lowest().filter(|run| run.start < want.below)?;
        let blocks = match self.blocks {
            None => run,
            Some(_) => {
                let share = self.free.blocks() / want.lanes.max(1).saturating_mul(2);
                let length = share.max(want.at_least).min(want.at_most).max(1);
                run.start..run.start.saturating_add(length).min(run.end).min(want.below)
            }
        };
        self.free.remove_head(&blocks);
        Some(self.deal(blocks))
    }

    /// Asks whether a lane may begin a block of its lease; false if that part of the lease was recalled.
    ///
    /// Blocks are begun in order, each again after a failed attempt as often as need be.
    pub(crate) fn claim(&mut self, lease: LeaseId, index: u32) -> bool {
        let Some(out) = self.leases.get_mut(&lease) else { return false };
        let granted = out.blocks.contains(&index);
        if granted {
            out.claimed = out.claimed.max(index + 1);
            (out.making, out.since, out.heard) = (Some(index), None, None);
        }
        granted
    }

    /// Recalls the rear half of what the slowest lane has not begun, and leases it to the asker.
    ///
    /// `None` if no lease has `2 * at_least` blocks left to begin, or something is free. A stream is never
    /// recalled.
    pub(crate) fn recall(&mut self, at_least: u32) -> Option<Lease> {
        if self.blocks.is_none() || self.free.blocks() > 0 {
            return None;
        }
        let left = |out: &Out| out.blocks.end.saturating_sub(out.claimed);
        let (id, out) = self.leases.iter().max_by_key(|(id, out)| (left(out), id.0))?;
        let (id, middle, end) = (*id, out.claimed + left(out) / 2, out.blocks.end);
        if left(out) < at_least.max(1).saturating_mul(2) {
            return None;
        }
        self.shrink(id, middle);
        self.free.remove_head(&(middle..end));
        Some(self.deal(middle..end))
    }

    fn deal(&mut self, blocks: Range<u32>) -> Lease {
        let id = self.next;
        self.next = LeaseId(id.0.wrapping_add(1));
        let out = Out {
            missing: blocks.end - blocks.start,
            claimed: blocks.start + 1,
            blocks: blocks.clone(),
            making: Some(blocks.start),
            since: None,
            heard: None,
        };
        let before = self.leases.insert(id, out);
        assert!(before.is_none(), "lease {id:?} is dealt twice");
        Lease { id, blocks, twin: false }
    }

    /// Notes that a block of a lease is in the file. The lease ends with its last block.
    ///
    /// # Panics
    /// If the block is not in the lease or has landed before.
    pub(crate) fn landed(&mut self, lease: LeaseId, index: u32) {
        let Some(out) = self.leases.get_mut(&lease) else {
            panic!("block {index} landed for {lease:?}, which is not out");
        };
        assert!(
            out.blocks.contains(&index),
            "block {index} landed outside {lease:?} {:?}",
            out.blocks
        );
        assert_ne!(out.making, Some(index), "block {index} of {lease:?} landed before it was won");
        assert!(self.landed.insert(index), "block {index} of {lease:?} landed twice");
        out.missing -= 1;
        if out.missing == 0 {
            self.leases.remove(&lease);
        }
        self.landed_blocks += 1;
        if index == self.landed_prefix {
            self.landed_prefix = self.landed.first_out(index, self.blocks.unwrap_or(u32::MAX));
        }
    }

    /// Ends a lease: what its lane has not won is free again, unless another lane fills it too. What it has
    /// won lands yet.
    ///
    /// Does nothing if the lease has ended already, so a lane may give back whatever it still has.
    pub(crate) fn give_back(&mut self, lease: LeaseId) {
        let Some(out) = self.leases.get(&lease) else { return };
        let (making, end) = (out.making, out.blocks.end);
        let from = making.unwrap_or(out.claimed).min(end);
        let is_shared = making.is_some_and(|block| self.holders(block) > 1);
        // Blocks are begun in order, so that none of these has landed.
        self.free.insert(from + u32::from(is_shared)..end);
        self.cut(lease, from);
    }

    /// Recalls the tail of a lease: it now ends at `end`, and its blocks from there that have not landed
    /// are free.
    ///
    /// The lane may no longer land those. Does nothing if the lease has ended already.
    ///
    /// # Panics
    /// If `end` is outside the lease.
    fn shrink(&mut self, lease: LeaseId, end: u32) {
        let Some(out) = self.leases.get_mut(&lease) else { return };
        let Range { start, end: old } = out.blocks;
        assert!((start..=old).contains(&end), "{lease:?} {start}..{old} cannot shrink to {end}");
        out.blocks.end = end;
        let freed = self.free_missing(end..old);
        self.forget_missing(lease, freed);
    }

    /// Notes that a stream of unknown size ended after `size` bytes; what reached beyond is cut off.
    ///
    /// # Panics
    /// If the size was known to be another, or blocks beyond it have landed.
    pub(crate) fn ended(&mut self, size: u64) {
        if self.size.is_some() {
            assert_eq!(self.size, Some(size), "a known size cannot change");
            return;
        }
        let blocks = u32::try_from(size.div_ceil(self.block_size))
            .expect("proof: the lease of a stream ends before its index does");
        let beyond = self.landed.first_in(blocks, u32::MAX);
        assert_eq!(beyond, u32::MAX, "block {beyond} landed beyond the end of the stream");
        self.size = Some(size);
        self.blocks = Some(blocks);
        self.free.truncate(blocks);
        let long: Vec<_> = self
            .leases
            .iter()
            .filter(|(_, out)| out.blocks.end > blocks)
            .map(|(id, _)| *id)
            .collect();
        for id in long {
            let out = self.leases.get_mut(&id).expect("proof: just listed");
            let cut = out.blocks.end - out.blocks.start.max(blocks);
            out.blocks = out.blocks.start.min(blocks)..blocks;
            self.forget_missing(id, cut);
        }
    }

    /// Whether the size is known and every block has landed.
    pub(crate) fn is_complete(&self) -> bool {
        self.blocks == Some(self.landed_blocks)
    }

    /// Whether no lease is out.
    #[cfg(test)]
    fn is_idle(&self) -> bool {
        self.leases.is_empty()
    }

    /// Bytes of the blocks that have landed.
    pub(crate) fn landed_bytes(&self) -> u64 {
        let whole = u64::from(self.landed_blocks) * self.block_size;
        match self.blocks.and_then(|blocks| blocks.checked_sub(1)) {
            Some(last) if self.landed.contains(last) => {
                let extent = self.extent(last);
                whole - (self.block_size - (extent.end - extent.start))
            }
            _ => whole,
        }
    }

    /// The number of blocks before the first that has not landed.
    pub(crate) fn landed_prefix(&self) -> u32 {
        self.landed_prefix
    }

    /// Blocks that are neither leased nor landed.
    pub(crate) fn free_blocks(&self) -> u32 {
        self.free.blocks()
    }

    /// Frees what has not landed of `blocks`, and says how many blocks that is.
    fn free_missing(&mut self, blocks: Range<u32>) -> u32 {
        let mut freed = 0;
        let mut start = self.landed.first_out(blocks.start, blocks.end);
        while start < blocks.end {
            let end = self.landed.first_in(start, blocks.end);
            self.free.insert(start..end);
            freed += end - start;
            start = self.landed.first_out(end, blocks.end);
        }
        freed
    }

    /// Takes `blocks` that a lease no longer covers off its count; the lease ends when nothing is left to
    /// land.
    fn forget_missing(&mut self, lease: LeaseId, blocks: u32) {
        let out = self.leases.get_mut(&lease).expect("proof: the caller has just changed it");
        out.missing -= blocks;
        if out.missing == 0 {
            self.leases.remove(&lease);
        }
    }
}

fn count(size: u64, block_size: u64) -> Result<u32> {
    let blocks = size.div_ceil(block_size);
    u32::try_from(blocks).ok().filter(|blocks| *blocks <= limits::BLOCKS_MAX).ok_or_else(|| {
        let (size, block) = (units::show_size(size), units::show_size(block_size));
        Error::new(
            Kind::Usage,
            format!("{size} in blocks of {block} makes {blocks} blocks, too many to track"),
        )
        .hint("use a larger --block-size")
    })
}
