//! Hashes a file in order on a thread of its own, close behind the bytes that land in it.
//!
//! It is no lane: it never touches a ring, and may block and burn its core. It reads below the frontier only,
//! at offsets and in lengths that O_DIRECT accepts, so the file may be open either way. Its invariant: a byte
//! is read only after it landed, and counted only in the run that landed it; a run ends with `start_anew`.

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
use crate::error::{Error, Result};
use crate::limits::{BLOCK_SIZE_MIN, DIGEST_READ_BYTES};
use crate::meter::Meter;
use crate::units::{narrow, wide};

/// Hashes a file behind its frontier. Dropping it stops its thread, which takes one read at most.
#[derive(Debug)]
pub(crate) struct Follower {
    shared: Arc<Shared>,
    digest: oneshot::Receiver<Result<Checksum>>,
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
        let reader = Reader {
            shared: Arc::clone(&shared),
            file,
            meter,
            algo,
            buffer,
            hasher,
            run: 0,
            done: 0,
            failed: None,
        };
        let thread = thread::Builder::new()
            .name("ringpull-digest".into())
            .spawn(move || reader.follow(tell))
            .map_err(|source| internal("cannot start the digest thread").because(source))?;
        Ok(Self { shared, digest, thread: Some(thread) })
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

    /// Forgets all bytes, because the file changed on the server: the frontier is 0 again.
    ///
    /// No lane still writes for the old version. After the return no byte of it is counted any more, so the
    /// meter starts anew after the follower.
    pub(crate) fn start_anew(&self) {
        let mut state = self.shared.lock();
        state.run += 1;
        state.frontier = 0;
        self.shared.changed.notify_one();
    }

    /// Waits until the rest is hashed. The whole file, `size` bytes, has landed.
    ///
    /// Dropping the future stops the thread and loses the digest.
    ///
    /// # Errors
    /// `Kind::LocalIo` and its like if the file cannot be read back or is shorter than `size`;
    /// `Kind::Internal` if the frontier was beyond `size` or the thread died.
    pub(crate) async fn finish(mut self, size: u64) -> Result<Checksum> {
        self.shared.end_at(size)?;
        match (&mut self.digest).await {
            Ok(digest) => digest,
            Err(_) => Err(internal("the digest thread ended without a digest")),
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
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The bytes `[0, frontier)` are in the file.
    frontier: u64,
    /// Grows by one each time the file starts anew.
    run: u64,
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
    /// Read and hash this many bytes, at most a buffer.
    Hash(usize),
    /// Forget all bytes; this is the new run.
    Anew(u64),
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
    algo: Algo,
    /// Page-aligned memory, as O_DIRECT wants it.
    buffer: MmapMut,
    hasher: Hasher,
    run: u64,
    /// The bytes `[0, done)` went through the hasher: a multiple of the buffer until the end.
    done: u64,
    /// A failed read waits here: the file may still start anew.
    failed: Option<Error>,
}

impl Reader {
    fn follow(mut self, tell: oneshot::Sender<Result<Checksum>>) {
        loop {
            match self.next() {
                Step::Hash(length) => self.hash(length),
                Step::Anew(run) => {
                    (self.run, self.done, self.failed) = (run, 0, None);
                    self.hasher = Hasher::new(self.algo);
                }
                Step::Tell => {
                    let digest = self.failed.map_or_else(|| Ok(self.hasher.finish()), Err);
                    // Nobody listens where the future was dropped meanwhile.
                    let _ = tell.send(digest);
                    return;
                }
                Step::Stop => return,
            }
        }
    }

    /// Waits until there is something to do.
    fn next(&self) -> Step {
        let mut state = self.shared.lock();
        loop {
            if state.stopped {
                return Step::Stop;
            }
            if state.run != self.run {
                return Step::Anew(state.run);
            }
            let ready = state.frontier - self.done;
            let ended = state.size.is_some();
            if ended && (ready == 0 || self.failed.is_some()) {
                return Step::Tell;
            }
            if self.failed.is_none() && (ended || ready >= READ_BYTES) {
                return Step::Hash(narrow(ready.min(READ_BYTES)));
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn hash(&mut self, length: usize) {
        match read_back(&self.file, &mut self.buffer, self.done, length) {
            Ok(()) => {
                self.hasher.update(&self.buffer[..length]);
                self.done += wide(length);
                // Under the lock, so that nothing of an old run is counted after `start_anew`.
                let state = self.shared.lock();
                if state.run == self.run {
                    self.meter.add_digested(wide(length));
                }
            }
            Err(source) => {
                self.failed = Some(Error::local("read back", &name_of(&self.file), source));
            }
        }
    }
}

const READ_BYTES: u64 = DIGEST_READ_BYTES as u64;

// Offsets are multiples of the buffer, and O_DIRECT wants multiples of a page at most.
const _: () = assert!(READ_BYTES.is_multiple_of(BLOCK_SIZE_MIN));

/// Fills the first `length` bytes of the buffer from `offset`; asks for the whole buffer, because O_DIRECT
/// wants a whole length at the end of the file too.
fn read_back(file: &File, buffer: &mut [u8], offset: u64, length: usize) -> io::Result<()> {
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut buffer[filled..], offset + wide(filled)) {
            Ok(0) => {
                let sentence = "the file is shorter than what was written";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, sentence));
            }
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
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
