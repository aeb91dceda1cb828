//! The block: the unit of memory, and the pool that limits how much of it there is.
//!
//! A [`Block`] is memory on loan together with its place in the file. It is filled from the front by
//! exactly one owner at a time (ownership travels with each operation) and goes back to its pool when
//! dropped.
//!
//! # Why the `unsafe` here is sound
//! A block holds a raw pointer into memory that lives at least as long as the block: a slot of its pool's
//! anonymous mapping (the block holds an `Arc` of the pool), a window of a file mapping (the same, an
//! `Arc`), or memory of its own. No two blocks overlap: a pool slot is on the free list or in one block,
//! never both; windows are handed out per file block, to one lane at a time (`sink/mmap` sees to it). The
//! memory is always initialised (anonymous and file pages read as zeros), so slices over it are valid. A
//! block is `Send` because nothing in it is tied to a thread.

#![expect(
    unsafe_code,
    reason = "raw memory is lent to the kernel; the module doc has the argument"
)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::{Advice, MmapMut};
use tokio::sync::Notify;

use crate::error::{Error, Kind, Result};
use crate::fault;
use crate::units::{narrow, wide};

/// One block's memory, its place in the file, and how much of it is filled.
pub(crate) struct Block {
    start: NonNull<u8>,
    /// Bytes of the file that belong here.
    wanted: usize,
    filled: usize,
    offset: u64,
    index: u32,
    memory: Memory,
    is_unread: bool,
}

// SAFETY: see the module documentation: one owner at a time, memory outlives the block, nothing thread-bound.
unsafe impl Send for Block {}

/// Whose memory it is.
enum Memory {
    Pooled {
        pool: Arc<Shared>,
        slot: u32,
    },
    Own(Vec<u8>),
    /// Kept alive by whatever the sink mapped.
    Window {
        _mapping: Arc<dyn std::any::Any + Send + Sync>,
    },
}

/// Where a block belongs: its index and its byte range in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) index: u32,
    pub(crate) offset: u64,
    pub(crate) length: usize,
}

impl Block {
    /// A block of memory of its own, for callers who keep it.
    pub(crate) fn own(place: Place) -> Self {
        let mut memory = vec![0; place.length];
        let start =
            NonNull::new(memory.as_mut_ptr()).expect("proof: a Vec's pointer is never null");
        Self::at(start, place, Memory::Own(memory))
    }

    /// A block over memory that a sink has mapped.
    ///
    /// # Safety
    /// `start..start + place.length` is readable and writable until `mapping` is dropped, initialised, and
    /// no other block or reference overlaps it while this block lives.
    pub(crate) unsafe fn window(
        start: NonNull<u8>,
        place: Place,
        mapping: Arc<dyn std::any::Any + Send + Sync>,
    ) -> Self {
        Self::at(start, place, Memory::Window { _mapping: mapping })
    }

    fn at(start: NonNull<u8>, place: Place, memory: Memory) -> Self {
        let Place { index, offset, length } = place;
        fault::taken();
        Self { start, wanted: length, filled: 0, offset, index, memory, is_unread: false }
    }

    /// The same block for bytes that nobody will look at: whoever fills it may count them and no more.
    pub(crate) fn unread(mut self) -> Self {
        self.is_unread = true;
        self
    }

    /// Whether its bytes only need counting.
    pub(crate) fn is_unread(&self) -> bool {
        self.is_unread
    }

    /// The block's number in the file.
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// File offset of its first byte.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes that belong in it.
    pub(crate) fn wanted(&self) -> usize {
        self.wanted
    }

    /// Bytes that are in it.
    pub(crate) fn filled(&self) -> usize {
        self.filled
    }

    pub(crate) fn is_full(&self) -> bool {
        self.filled == self.wanted
    }

    /// The filled part.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.padded(self.filled)
    }

    /// The part still to be filled.
    pub(crate) fn spare_mut(&mut self) -> &mut [u8] {
        let length = self.wanted - self.filled;
        let start = self.spare_ptr();
        // SAFETY: the memory is valid and initialised for `wanted` bytes, and `&mut self` makes this the
        // only reference.
        unsafe { std::slice::from_raw_parts_mut(start, length) }
    }

    /// Where the part still to be filled starts, for operations the kernel finishes later.
    pub(crate) fn spare_ptr(&mut self) -> *mut u8 {
        // SAFETY: `filled <= wanted`, so the result is inside the memory or one past its end.
        unsafe { self.start.as_ptr().add(self.filled) }
    }

    /// Counts `count` bytes that were just put at the front of the spare part.
    pub(crate) fn advance(&mut self, count: usize) {
        assert!(count <= self.wanted - self.filled, "a block was filled beyond its end");
        self.filled += count;
    }

    /// Copies what fits of `bytes` into the spare part and says how much that was.
    pub(crate) fn fill_from(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.wanted - self.filled);
        self.spare_mut()[..count].copy_from_slice(&bytes[..count]);
        self.advance(count);
        count
    }

    /// Forgets what is in it, so that it can be filled again.
    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }

    /// Wants no more than it has: the stream ended inside it.
    pub(crate) fn end_here(&mut self) {
        self.wanted = self.filled;
    }

    /// Zeroes the memory from the filled part to the next multiple of `alignment` and returns that length.
    /// Only a pooled block has that room; any other returns its filled length.
    pub(crate) fn pad_to(&mut self, alignment: usize) -> usize {
        let padded = self.filled.next_multiple_of(alignment);
        let Memory::Pooled { pool, .. } = &self.memory else { return self.filled };
        assert!(padded <= pool.block_size, "padding must stay inside the block");
        let rest = self.spare_ptr();
        // SAFETY: a pooled block owns `block_size >= padded` bytes, of which `filled..padded` start at
        // `rest`.
        unsafe { rest.write_bytes(0, padded - self.filled) };
        padded
    }

    /// The first `length` bytes of the memory: the filled part, and what [`Block::pad_to`] zeroed behind it.
    pub(crate) fn padded(&self, length: usize) -> &[u8] {
        let room = match &self.memory {
            Memory::Pooled { pool, .. } => pool.block_size,
            _ => self.wanted,
        };
        assert!(length <= room, "a write must stay inside the block");
        // SAFETY: the memory is valid and initialised for `room` bytes, and `&self` keeps others from
        // filling it.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), length) }
    }

    /// Whether io_uring knows this memory as registered buffer 0 of the ring of its pool's thread.
    pub(crate) fn is_registered(&self) -> bool {
        match &self.memory {
            Memory::Pooled { pool, .. } => pool.registered.load(Relaxed),
            Memory::Own(_) | Memory::Window { .. } => false,
        }
    }

    /// Whether its memory is where it belongs in the file already.
    pub(crate) fn is_window(&self) -> bool {
        matches!(self.memory, Memory::Window { .. })
    }

    /// The filled bytes as a value of their own, without a copy where the memory is the block's own.
    pub(crate) fn into_bytes(mut self) -> bytes::Bytes {
        let filled = self.filled;
        match &mut self.memory {
            Memory::Own(memory) => {
                let mut memory = std::mem::take(memory);
                memory.truncate(filled);
                memory.into()
            }
            _ => bytes::Bytes::copy_from_slice(self.bytes()),
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        fault::returned();
        if let Memory::Pooled { pool, slot } = &self.memory {
            pool.free.lock().unwrap_or_else(PoisonError::into_inner).push(*slot);
            pool.freed.notify_one();
        }
    }
}

/// The blocks of one lane thread: their number is the bound on its memory.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    memory: Mapping,
    block_size: usize,
    blocks: u32,
    registered: AtomicBool,
    /// Free slots; the last freed is lent first, so that its pages are warm and few pages are ever touched.
    free: Mutex<Vec<u32>>,
    freed: Notify,
}

/// An anonymous mapping that is only ever reached through blocks.
struct Mapping {
    start: NonNull<u8>,
    length: usize,
    _memory: MmapMut,
}

// SAFETY: the mapping is never resized or unmapped before drop, and its bytes are reached only through
// blocks, which never overlap.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Pool {
    /// `blocks` blocks of `block_size` bytes, page-aligned, untouched until used.
    ///
    /// # Errors
    /// `Kind::Internal` if the address space has no room.
    pub(crate) fn new(blocks: u32, block_size: u64) -> Result<Self> {
        let block_size = narrow(block_size);
        let length = block_size * narrow(u64::from(blocks));
        let mut memory = MmapMut::map_anon(length).map_err(|error| {
            Error::new(Kind::Internal, format!("cannot map {length} bytes for the block pool"))
                .because(error)
        })?;
        // Fewer TLB misses while the kernel copies into it; without huge pages it works as well.
        let _ = memory.advise(Advice::HugePage);
        let start = NonNull::new(memory.as_mut_ptr()).expect("proof: mmap never returns null");
        Ok(Self(Arc::new(Shared {
            memory: Mapping { start, length, _memory: memory },
            block_size,
            blocks,
            registered: false.into(),
            free: Mutex::new((0..blocks).rev().collect()),
            freed: Notify::new(),
        })))
    }

    /// Lends a block of memory beside the pool, as well aligned; `None` if there is none to be had.
    pub(crate) fn lend_beside(&self, place: Place) -> Option<Block> {
        Self::new(1, wide(self.0.block_size)).ok()?.try_lend(place)
    }

    /// Blocks in all.
    pub(crate) fn blocks(&self) -> u32 {
        self.0.blocks
    }

    /// Waits for a free block. Dropping the future loses nothing.
    pub(crate) async fn lend(&self, place: Place) -> Block {
        loop {
            let freed = self.0.freed.notified();
            if let Some(block) = self.try_lend(place) {
                return block;
            }
            freed.await;
        }
    }

    fn try_lend(&self, place: Place) -> Option<Block> {
        assert!(place.length <= self.0.block_size, "a place is at most one block long");
        let slot = self.0.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        let first = self.0.memory.start;
        // SAFETY: `slot < blocks`, so the slot lies inside the mapping of `blocks * block_size` bytes.
        let start = unsafe { first.add(narrow(u64::from(slot)) * self.0.block_size) };
        Some(Block::at(start, place, Memory::Pooled { pool: Arc::clone(&self.0), slot }))
    }

    /// The whole memory, to be registered with a ring.
    pub(crate) fn memory(&self) -> (NonNull<u8>, usize) {
        (self.0.memory.start, self.0.memory.length)
    }

    /// Notes whether the memory is registered with the ring of this pool's thread.
    pub(crate) fn set_registered(&self, registered: bool) {
        self.0.registered.store(registered, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(index: u32, length: usize) -> Place {
        Place { index, offset: u64::from(index) * 8192, length }
    }

    #[test]
    fn a_block_fills_from_the_front_and_comes_back_clean() {
        let pool = Pool::new(1, 8192).unwrap();
        let mut block = pool.try_lend(place(3, 8192)).unwrap();
        assert_eq!(block.fill_from(&[7; 5000]), 5000);
        assert_eq!(block.fill_from(&[8; 5000]), 3192);
        assert!(block.is_full());
        assert_eq!((block.bytes()[4999], block.bytes()[5000], block.offset()), (7, 8, 24576));
        assert!(pool.try_lend(place(0, 1)).is_none());
        drop(block);
        assert_eq!(pool.try_lend(place(0, 1)).unwrap().filled(), 0);
    }

    #[test]
    fn padding_zeroes_what_an_earlier_loan_left() {
        let pool = Pool::new(1, 8192).unwrap();
        pool.try_lend(place(0, 8192)).unwrap().fill_from(&[9; 8192]);
        let mut block = pool.try_lend(place(1, 100)).unwrap();
        block.fill_from(&[1; 100]);
        assert_eq!(block.pad_to(4096), 4096);
        block.wanted = 4096;
        block.advance(3996);
        assert!(block.bytes()[100..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn two_blocks_never_overlap() {
        let pool = Pool::new(2, 4096).unwrap();
        let mut blocks =
            [pool.try_lend(place(0, 4096)).unwrap(), pool.try_lend(place(1, 4096)).unwrap()];
        for (block, value) in blocks.iter_mut().zip([1, 2]) {
            block.fill_from(&[value; 4096]);
        }
        assert!(blocks.iter().zip([1, 2]).all(|(block, value)| block.bytes() == [value; 4096]));
    }

    #[test]
    fn a_block_of_its_own_becomes_bytes_without_its_unfilled_end() {
        let mut block = Block::own(place(0, 10));
        block.fill_from(b"abc");
        assert_eq!(block.into_bytes().as_ref(), b"abc");
    }

    #[test]
    fn a_waiting_lender_gets_the_block_that_is_dropped() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let pool = Pool::new(1, 4096).unwrap();
        let held = pool.try_lend(place(0, 1)).unwrap();
        runtime.block_on(async {
            let mut waiting = Box::pin(pool.lend(place(1, 1)));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(waiting.as_mut().poll(&mut context).is_pending());
            drop(held);
            assert_eq!(waiting.await.index(), 1);
        });
    }
}
