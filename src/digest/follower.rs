//! Hashes a file in order on a thread of its own, close behind the bytes that land in it.
//!
//! It is no lane: it never touches a ring, and may block and burn its core. It reads below the frontier only,
//! at offsets and in lengths that O_DIRECT accepts, so the file may be open either way. Its invariant: a byte
//! is hashed once, from memory or from the file, and only after it landed.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use memmap2::MmapMut;
use tokio::sync::oneshot;

use super::{Algo, Checksum, Hasher, internal};
use crate::block::Block;
use crate::error::{Error, Result};
use crate::limits::{BLOCK_SIZE_MIN, DIGEST_QUEUE, DIGEST_READ_BYTES};
use crate::meter::Meter;
use crate::units::{narrow, wide};

/// Hashes a file behind its frontier. Dropping it stops its thread, which takes one read at most.
pub(crate) struct Follower {
    shared: Arc<Shared>,
    digest: Mutex<Option<oneshot::Receiver<Result<Checksum>>>>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Starts the thread; nothing is read before [`Self::landed_below`] or [`Self::finish`] allow it.
    ///
    /// `file` is open for reading, with or without O_DIRECT.
    ///
    /// # Errors
    /// `Kind::Internal` if there is no memory or no thread to be had.
    pub(crate) fn start(algo: Algo, file: Arc<File>, meter: Arc<Meter>) -> Result<Self> {
        let buffer = MmapMut::map_anon(DIGEST_READ_BYTES)
            .map_err(|source| internal("no memory for the digest").because(source))?;
        let shared = Arc::new(Shared::default());
        let (tell, digest) = oneshot::channel();
        let hasher = Hasher::new(algo);
        let reader = Reader { shared: Arc::clone(&shared), file, meter, buffer, hasher, done: 0 };
        let thread = thread::Builder::new()
            .name("ringpull-digest".into())
            .spawn(move || reader.follow(tell))
            .map_err(|source| internal("cannot start the digest thread").because(source))?;
        Ok(Self { shared, digest: Mutex::new(Some(digest)), thread: Some(thread) })
    }

    /// Moves the frontier: the bytes `[0, offset)` are in the file. An offset below an earlier one changes
    /// nothing. Never more than the size of the file; cheap enough to be called for every block.
    pub(crate) fn landed_below(&self, offset: u64) {
        let mut state = self.shared.lock();
        let before = state.frontier;
        state.frontier = before.max(offset);
        // Only whole reads interest the thread before the end is known.
        if before / READ_BYTES != state.frontier / READ_BYTES {
            self.shared.changed.notify_one();
        }
    }

    /// Offers a block that has landed, to be hashed from memory.
    ///
    /// It is taken if it comes next in order and few others wait; otherwise its bytes are read back later.
    /// Either way the memory is free again when this lets go of the block.
    pub(crate) fn offer(&self, block: Block) {
        let mut state = self.shared.lock();
        let next =
            state.blocks.back().map_or(state.claimed, |last| last.offset() + wide(last.filled()));
        if block.offset() == next && state.blocks.len() < DIGEST_QUEUE {
            state.blocks.push_back(block);
            self.shared.changed.notify_one();
        }
    }

    /// Waits until the rest is hashed. The whole file, `size` bytes, has landed.
    ///
    /// Dropping the future loses the digest.
    ///
    /// # Errors
    /// `Kind::LocalIo` and its like if the file cannot be read back or is shorter than `size`;
    /// `Kind::Internal` if the frontier was beyond `size`, the thread died or this is called again.
    pub(crate) async fn finish(&self, size: u64) -> Result<Checksum> {
        self.shared.end_at(size)?;
        let digest = self.digest.lock().unwrap_or_else(PoisonError::into_inner).take();
        match digest {
            Some(digest) => {
                digest.await.unwrap_or_else(|_| Err(internal("the digest thread died")))
            }
            None => Err(internal("the digest was taken before")),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been told by then: `finish` found its end of the channel closed.
            let _ = thread.join();
        }
    }
}

/// What the lanes and the thread both see.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The bytes `[0, frontier)` are in the file.
    frontier: u64,
    /// The bytes `[0, claimed)` are hashed, or being read to be.
    claimed: u64,
    /// Blocks in memory that follow without a gap.
    blocks: VecDeque<Block>,
    /// The size of the file, once all of it landed.
    size: Option<u64>,
    stopped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_at(&self, size: u64) -> Result<()> {
        let mut state = self.lock();
        if state.frontier > size {
            return Err(internal("more bytes landed than the file has"));
        }
        state.frontier = size;
        state.size = Some(size);
        self.changed.notify_one();
        Ok(())
    }
}

/// What the thread does next.
enum Step {
    /// Hash this block from memory.
    Take(Block),
    /// Read and hash this many bytes, at most a buffer.
    Read(usize),
    /// Tell the digest.
    Tell,
    /// End without one.
    Stop,
}

/// The thread's own side.
struct Reader {
    shared: Arc<Shared>,
    file: Arc<File>,
    meter: Arc<Meter>,
    /// Page-aligned memory, as O_DIRECT wants it.
    buffer: MmapMut,
    hasher: Hasher,
    /// The bytes `[0, done)` went through the hasher: a multiple of a block until the end.
    done: u64,
}

impl Reader {
    fn follow(mut self, tell: oneshot::Sender<Result<Checksum>>) {
        let digest = loop {
            match self.next() {
                Step::Take(block) => self.hash_block(&block),
                Step::Read(length) => {
                    if let Err(error) = self.hash_file(length) {
                        break Err(error);
                    }
                }
                Step::Tell => break Ok(self.hasher.finish()),
                Step::Stop => return,
            }
        };
        // Nobody listens where the future was dropped meanwhile.
        let _ = tell.send(digest);
    }

    /// Waits until there is something to do.
    fn next(&self) -> Step {
        let mut state = self.shared.lock();
        loop {
            if state.stopped {
                return Step::Stop;
            }
            if let Some(block) = state.blocks.pop_front() {
                state.claimed = block.offset() + wide(block.filled());
                return Step::Take(block);
            }
            let ready = state.frontier.saturating_sub(self.done);
            let ended = state.size.is_some();
            if ended && ready == 0 {
                return Step::Tell;
            }
            if ended || ready >= READ_BYTES {
                let length = ready.min(READ_BYTES);
                state.claimed = self.done + length;
                return Step::Read(narrow(length));
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn hash_block(&mut self, block: &Block) {
        assert_eq!(block.offset(), self.done, "blocks are hashed in order");
        self.hasher.update(block.bytes());
        self.count(block.filled());
    }

    fn hash_file(&mut self, length: usize) -> Result<()> {
        let read = read_back(&self.file, &mut self.buffer, self.done, length);
        read.map_err(|(offset, source)| {
            let action = format!("read back from byte {offset} of");
            Error::local(&action, &name_of(&self.file), source)
        })?;
        self.hasher.update(&self.buffer[..length]);
        self.count(length);
        Ok(())
    }

    fn count(&mut self, length: usize) {
        self.done += wide(length);
        self.meter.add_digested(wide(length));
    }
}

const READ_BYTES: u64 = DIGEST_READ_BYTES as u64;

// Offsets are multiples of a block or of the buffer, and O_DIRECT wants multiples of a page at most.
const _: () = assert!(READ_BYTES.is_multiple_of(BLOCK_SIZE_MIN));

/// Fills the first `length` bytes of the buffer from `offset`; asks for the whole buffer, because O_DIRECT
/// wants a whole length at the end of the file too. A failure tells the offset it happened at.
pub(super) fn read_back(
    file: &File,
    buffer: &mut [u8],
    offset: u64,
    length: usize,
) -> Result<(), (u64, io::Error)> {
    let mut filled = 0;
    while filled < length {
        let at = offset + wide(filled);
        match file.read_at(&mut buffer[filled..], at) {
            Ok(0) => {
                let sentence = "the file is shorter than what was written";
                return Err((at, io::Error::new(io::ErrorKind::UnexpectedEof, sentence)));
            }
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((at, error)),
        }
    }
    Ok(())
}

/// The path of an open file, for a message.
fn name_of(file: &File) -> PathBuf {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .unwrap_or_else(|_| PathBuf::from("the file"))
}

#[cfg(test)]
mod tests;
