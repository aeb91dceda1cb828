//! The two ways to move bytes between the kernel and a block: io_uring and epoll. Equal promises, one
//! `match` a verb.
//!
//! Sockets belong to tokio while a head is read, whichever the backend; [`Io::adopt`] takes one over for
//! the body and [`Socket::release`] gives it back. Every operation takes the block by value and returns it
//! with the result: dropping the future of an operation loses the block's bytes but never lets memory go
//! that the kernel still writes to.

pub(crate) mod epoll;
mod low_water;
#[cfg(test)]
mod tests;
pub(crate) mod uring;
mod writers;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpStream;

use self::low_water::LowWater;
use crate::block::{Block, Pool};
use crate::fault;

/// The backend of one lane thread.
#[derive(Clone)]
pub(crate) enum Io {
    /// io_uring through tokio-uring.
    Uring(Rc<uring::Ring>),
    /// tokio's epoll loop, and pwrite(2) on helper threads.
    Epoll(Rc<writers::Writers>),
}

/// A connected socket while a body is received.
pub(crate) struct Socket {
    held: Held,
    low_water: LowWater,
}

/// Who holds the socket.
enum Held {
    Uring(uring::Socket),
    Epoll(TcpStream),
}

/// What a receive brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// This many bytes, at least one; they are counted into the block.
    Bytes(usize),
    /// The peer has closed its side.
    End,
    /// Nothing until it was enough.
    Nothing,
}

/// How much a receive waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// All the bytes asked for, unless it is enough before.
    All,
    /// Whatever comes first.
    Some,
}

/// Ends a wait: a receive goes on until this is ready, and then returns with what it has.
///
/// The kernel is then done with the block, unlike when the receive itself is dropped. Once ready, it is ready
/// at every further poll.
pub(crate) type Enough<'a> = Pin<&'a mut dyn Future<Output = ()>>;

/// What a thread is told to do; see [`run`].
pub(crate) type Work = Box<dyn FnOnce(Io) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

impl Io {
    /// Prepares the pool of this thread for many O_DIRECT writes.
    pub(crate) fn prepare(&self, pool: &Pool) {
        match self {
            Self::Uring(ring) => ring.register(pool),
            Self::Epoll(_) => {}
        }
    }

    /// Takes a socket over from tokio.
    pub(crate) fn adopt(&self, stream: TcpStream) -> io::Result<Socket> {
        fault::check("adopt")?;
        let held = match self {
            Self::Uring(_) => Held::Uring(uring::Socket::adopt(stream)?),
            Self::Epoll(_) => Held::Epoll(stream),
        };
        Ok(Socket { held, low_water: LowWater::new() })
    }

    /// Writes the first `length` bytes of the block's memory at its offset.
    ///
    /// `length` is the filled part, or more where the block was padded.
    pub(crate) async fn write(
        &self,
        file: &Arc<File>,
        block: Block,
        length: usize,
    ) -> (io::Result<()>, Block) {
        match self {
            Self::Uring(_) => uring::write(file, block, length).await,
            Self::Epoll(writers) => epoll::write(writers, file, block, length).await,
        }
    }

    /// Waits until the disk has what was written to a file so far (fdatasync(2)), without holding up
    /// anything else on this thread.
    pub(crate) async fn sync(&self, file: &Arc<File>) -> io::Result<()> {
        match self {
            Self::Uring(_) => uring::sync(file).await,
            Self::Epoll(_) => epoll::sync(file).await,
        }
    }
}

impl Socket {
    /// Receives at most `max` bytes into the block's spare part, until it is `enough`. Of an unread block all
    /// of `max` must be on their way.
    pub(crate) async fn receive(
        &self,
        block: Block,
        max: usize,
        until: Until,
        enough: Enough<'_>,
    ) -> (io::Result<Received>, Block) {
        debug_assert!(max > 0 && max <= block.wanted() - block.filled());
        let is_unread = block.is_unread();
        if is_unread {
            self.low_water.raise(self.held.as_fd(), max);
        }
        let (received, block) = match &self.held {
            Held::Uring(socket) => socket.receive(block, max, until, enough).await,
            Held::Epoll(stream) => {
                epoll::receive(stream, &self.low_water, block, max, until, enough).await
            }
        };
        let received = match received {
            Ok(Received::Nothing) if is_unread => {
                self.low_water.give_up(self.held.as_fd()).map(|()| Received::Nothing)
            }
            Ok(Received::Bytes(count)) if is_unread => {
                self.low_water.note(count, Instant::now());
                Ok(Received::Bytes(count))
            }
            received => received,
        };
        (received, block)
    }

    /// Gives the socket back to tokio.
    pub(crate) fn release(self) -> io::Result<TcpStream> {
        fault::check("release")?;
        self.low_water.lower(self.held.as_fd())?;
        match self.held {
            Held::Uring(socket) => socket.release(),
            Held::Epoll(stream) => Ok(stream),
        }
    }
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Uring(socket) => socket.as_fd(),
            Self::Epoll(stream) => stream.as_fd(),
        }
    }
}

/// Which backend a thread is to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// io_uring, or nothing.
    Uring,
    /// io_uring, or epoll where that is refused.
    Either,
    /// epoll.
    Epoll,
}

/// Runs `work` on this thread with the backend that is wanted, until its future ends.
///
/// `pool` is the one that the ring may register. Returns why io_uring was wanted but not used; `work` has
/// then run on epoll all the same.
///
/// # Errors
/// If what is wanted cannot run: too many open files, most likely.
pub(crate) fn run(wanted: Wanted, pool: &Pool, work: Work) -> io::Result<Option<uring::Refusal>> {
    if wanted == Wanted::Epoll {
        return epoll::run(work).map(|()| None);
    }
    match uring::run(pool, work) {
        Ok(()) => Ok(None),
        Err((refusal, _)) if wanted == Wanted::Uring => Err(io::Error::other(refusal.to_string())),
        Err((refusal, work)) => epoll::run(work).map(|()| Some(refusal)),
    }
}
