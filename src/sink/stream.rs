//! In order into a descriptor: standard output, a FIFO, a device, or nowhere but through the digest.
//!
//! A thread of its own writes, because a pipe may block for as long as its reader likes. Blocks wait for
//! their turn in a map; the board deals leases only as far ahead as a pool has blocks, so the next block in
//! turn always has memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::oneshot;

use super::begun::Begun;
use crate::aside::aside;
use crate::block::Block;
use crate::digest::{Algo, Checksum, Hasher};
use crate::error::{Error, Kind, Result};
use crate::fault;
use crate::units::wide;

/// A descriptor that takes bytes in order.
#[derive(Clone, Debug)]
pub(crate) enum StreamTo {
    /// Standard output.
    Stdout,
    /// A FIFO or device.
    Path(PathBuf),
}

pub(crate) struct Stream {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    goes_nowhere: bool,
    /// The output once more, if it lies on a disk.
    disk: Option<Arc<File>>,
    begun: Begun,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<u64, (Block, oneshot::Sender<Result<()>>)>,
    over: bool,
    /// The thread has ended: nothing goes any more.
    broken: bool,
    /// Why, if a write has failed.
    failure: Option<Error>,
    digest: Option<Checksum>,
}

impl Stream {
    /// Starts the writer; `out: None` only hashes.
    ///
    /// # Errors
    /// `Kind::Internal` if no thread can be started.
    pub(crate) fn start(out: Option<File>, algo: Option<Algo>) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let goes_nowhere = out.is_none();
        let disk = out.as_ref().and_then(on_disk).map(Arc::new);
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("ringpull-stream".into())
            .spawn(move || write_in_order(&theirs, out, algo.map(Hasher::new)))
            .map_err(|error| Error::new(Kind::Internal, "cannot start a thread").because(error))?;
        let (thread, begun) = (Mutex::new(Some(thread)), Begun::default());
        Ok(Self { shared, thread, goes_nowhere, disk, begun })
    }

    pub(super) fn name(&self) -> &'static str {
        if self.goes_nowhere { "discard" } else { "stream" }
    }

    /// See [`super::Sink::give_up`].
    pub(super) fn give_up(&self) -> bool {
        self.begun.close() || self.goes_nowhere
    }

    /// Waits until the block's turn has come and it is written.
    pub(crate) async fn commit(&self, block: Block) -> Result<()> {
        if !self.begun.begin() {
            // The download starts anew, and nobody waits for this block any more.
            return Ok(());
        }
        let (done, written) = oneshot::channel();
        self.shared.lock().add(block, done);
        self.shared.changed.notify_one();
        match written.await {
            Ok(written) => written,
            Err(_) => Err(self.shared.lock().why_ended()),
        }
    }

    /// Ends the stream after all commits are done; the digest, if one was asked for.
    pub(crate) fn finish(&self) -> Option<Checksum> {
        self.end();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic there has been reported; there is then no digest, which the caller notices.
            let _ = thread.join();
        }
        self.shared.lock().digest.take()
    }

    /// Waits until the disk has what went into a regular file or a block device; nothing else has one.
    ///
    /// # Errors
    /// As [`Error::local`].
    pub(crate) async fn sync(&self) -> Result<()> {
        let Some(disk) = self.disk.clone() else { return Ok(()) };
        aside(move || match disk.sync_all() {
            Err(error) if !crate::sys::has_no_sync(&error) => {
                Err(Error::local("sync", Path::new("the output"), error))
            }
            _ => Ok(()),
        })
        .await
    }

    fn end(&self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_one();
    }
}

impl StreamTo {
    /// Opens it; a FIFO waits for its reader.
    ///
    /// # Errors
    /// As [`Error::local`]; also if a regular file has taken the place of the FIFO or device meanwhile.
    pub(crate) fn open(&self) -> Result<File> {
        match self {
            Self::Stdout => std::io::stdout()
                .as_fd()
                .try_clone_to_owned()
                .map(File::from)
                .map_err(|error| Error::local("write to", Path::new("standard output"), error)),
            Self::Path(path) => {
                open_special(path).map_err(|error| Error::local("open", path, error))
            }
        }
    }
}

/// The output once more, if it lies on a disk.
fn on_disk(out: &File) -> Option<File> {
    let kind = out.metadata().ok()?.file_type();
    if kind.is_file() || kind.is_block_device() { out.try_clone().ok() } else { None }
}

fn open_special(path: &Path) -> std::io::Result<File> {
    let file = File::options().write(true).open(path)?;
    if file.metadata()?.is_file() {
        // Whoever put it there, or a link to it, must not have its bytes replaced in place.
        return Err(std::io::Error::other("it has become a regular file"));
    }
    Ok(file)
}

impl Drop for Stream {
    /// Does not wait: a write into a pipe nobody reads cannot be interrupted, and ends with the process.
    fn drop(&mut self) {
        self.end();
    }
}

impl State {
    /// A block waits for its turn; after a failure it is let go at once, which tells whoever waits.
    fn add(&mut self, block: Block, done: oneshot::Sender<Result<()>>) {
        if !self.broken {
            self.waiting.insert(block.offset(), (block, done));
        }
    }

    /// What to tell those whose blocks will not go any more: what the first failure was.
    fn why_ended(&self) -> Error {
        let stopped = || Error::new(Kind::Interrupted, "the stream was stopped");
        self.failure.as_ref().map_or_else(stopped, Error::repeat)
    }

    fn close(&mut self) {
        self.broken = true;
        self.waiting.clear();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the block at `offset`; `None` when the stream is over.
    fn take(&self, offset: u64) -> Option<(Block, oneshot::Sender<Result<()>>)> {
        let mut state = self.lock();
        loop {
            if let Some(next) = state.waiting.remove(&offset) {
                return Some(next);
            }
            if state.over {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn write_in_order(shared: &Shared, mut out: Option<File>, mut hasher: Option<Hasher>) {
    let _closing = Closing(shared);
    let mut offset = 0;
    while let Some((block, done)) = shared.take(offset) {
        let written = match &mut out {
            Some(out) => write_all(out, block.bytes()).map_err(explain),
            None => Ok(()),
        };
        let failed = written.as_ref().err().map(Error::repeat);
        if let Some(hasher) = &mut hasher {
            hasher.update(block.bytes());
        }
        offset += wide(block.filled());
        drop(block);
        let over = failed.is_some();
        if over {
            shared.lock().failure = failed;
        }
        // The lane may be gone already; then nobody is there to be told.
        let _ = done.send(written);
        if over {
            return;
        }
    }
    shared.lock().digest = hasher.map(Hasher::finish);
}

/// Lets go of all that waits when the thread ends, whatever the reason: what follows a hole is worth
/// nothing, and the lanes are told by their closed channels.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.lock().close();
    }
}

/// Writes all, waiting where a descriptor that does not block would have us try again.
fn write_all(out: &mut File, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let most = fault::transfer("write stream", bytes.len());
        match most.and_then(|most| out.write(&bytes[..most])) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let mut ready = [PollFd::new(out, PollFlags::OUT)];
                poll(&mut ready, None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn explain(error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => {
            Error::new(Kind::LocalIo, "the output was closed before the whole file was written")
        }
        _ => Error::local("write to", "the output stream".as_ref(), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_took_the_place_of_a_device_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, place) = (dir.path().join("victim"), dir.path().join("place"));
        std::fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, &place).unwrap();
        for path in [&victim, &place] {
            let error = StreamTo::Path(path.clone()).open().unwrap_err();
            assert_eq!(error.exit_code(), 7);
        }
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
        StreamTo::Path("/dev/null".into()).open().unwrap();
    }
}
