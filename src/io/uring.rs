//! The io_uring backend, and the only file besides `Cargo.toml` that names tokio-uring.
//!
//! Two operations are our own submission entries, put through tokio-uring's one-shot door: a receive that
//! waits for all its bytes (`IORING_OP_RECV` with `MSG_WAITALL`: one completion a block) and a write from
//! registered memory.
//!
//! Known of tokio-uring 0.5 and kept in mind here: `start` panics where the kernel refuses a ring, so
//! `Runtime::new` is used; entries are submitted only when the thread parks, so nothing on a lane thread
//! may spin; dropping an operation does not cancel it, so a receive that has waited long enough is
//! cancelled by its descriptor, and what it had got by then is reported exactly; `DEFER_TASKRUN` makes its
//! wake-ups hang, so it is not asked for.
//!
//! # Why the `unsafe` here is sound
//! The kernel reads or writes memory after the call returns. Each entry names memory inside a [`Block`] and
//! a descriptor, and the block and an owner of the descriptor are stored with the operation until its
//! completion has been seen, even if the future is dropped (tokio-uring keeps the stored data) or the
//! runtime ends (its driver cancels and waits).

#![expect(unsafe_code, reason = "buffers are lent to the kernel; the module doc has the argument")]

use std::cell::OnceCell;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;
use std::sync::Arc;

use io_uring::{cqueue, opcode, squeue, types};
use tokio::net::TcpStream;
use tokio_uring::buf::fixed::FixedBufRegistry;
use tokio_uring::buf::{IoBuf, IoBufMut};
use tokio_uring::{InFlightOneshot, OneshotOutputTransform, UnsubmittedOneshot};

use super::{Enough, Io, Received, Until, Work};
use crate::block::{Block, Pool};
use crate::fault;
use crate::limits::{RING_ENTRIES, RING_ENTRIES_MIN};

/// Why io_uring cannot be used here.
#[derive(Debug)]
pub(crate) struct Refusal(io::Error);

impl std::fmt::Display for Refusal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
        let disabled = disabled.is_ok_and(|text| text.trim() != "0");
        out.write_str(match self.0.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) if disabled => "kernel.io_uring_disabled forbids it",
            Some(libc::EPERM | libc::EACCES) => "forbidden here, likely by a seccomp filter",
            Some(libc::ENOSYS) => "this kernel or a seccomp filter does not offer it",
            Some(libc::ENOMEM) => "the limit on locked memory is too small (see `ulimit -l`)",
            Some(libc::EMFILE | libc::ENFILE) => "too many open files",
            Some(libc::EINVAL) => "this kernel's io_uring is too old",
            _ => return write!(out, "{}", crate::error::reason(&self.0)),
        })
    }
}

/// Tries whether a ring can be made and entered: a filter may allow the one and not the other.
pub(crate) fn probe() -> Result<(), Refusal> {
    let mut ring = io_uring::IoUring::new(RING_ENTRIES_MIN).map_err(Refusal)?;
    if !ring.params().is_feature_nodrop() {
        // A completion could be lost, and its block with it.
        return Err(Refusal(io::Error::from_raw_os_error(libc::EINVAL)));
    }
    // What can do this can do all we need: cancelling by descriptor came with Linux 5.19.
    let socket = UnixDatagram::unbound().map_err(Refusal)?;
    let target = types::CancelBuilder::fd(types::Fd(socket.as_raw_fd())).all();
    let cancel = opcode::AsyncCancel2::new(target).build();
    // SAFETY: a cancellation names no memory, and the descriptor lives until the completion is here.
    let pushed = unsafe { ring.submission().push(&cancel) };
    pushed.map_err(|full| Refusal(io::Error::other(full)))?;
    ring.submit_and_wait(1).map_err(Refusal)?;
    let result = ring.completion().next().map_or(-libc::EINVAL, |entry| entry.result());
    // Nothing was there to cancel.
    if result >= 0 || result == -libc::ENOENT {
        return Ok(());
    }
    Err(Refusal(io::Error::from_raw_os_error(-result)))
}

/// Runs `work` on this thread with a ring of its own until its future ends; gives `work` back where no ring
/// can be made.
pub(super) fn run(pool: &Pool, work: Work) -> Result<(), (Refusal, Work)> {
    let runtime = match make_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return Err((Refusal(error), work)),
    };
    runtime.block_on(async {
        let ring = Rc::new(Ring::default());
        work(Io::Uring(Rc::clone(&ring))).await;
        ring.unregister(pool);
    });
    Ok(())
}

/// What a thread's ring knows of the thread's pool.
#[derive(Default)]
pub(crate) struct Ring(OnceCell<Option<FixedBufRegistry<Whole>>>);

impl Ring {
    /// Registers the pool's memory, once, for O_DIRECT writes: the kernel then need not pin pages for each.
    ///
    /// All of the memory becomes resident by it, so it waits until somebody needs it. Where the limit on
    /// locked memory refuses, writes work all the same.
    pub(super) fn register(&self, pool: &Pool) {
        self.0.get_or_init(|| {
            let registry = FixedBufRegistry::new([Whole(pool.clone())]);
            let registered = registry.register().is_ok();
            pool.set_registered(registered);
            registered.then_some(registry)
        });
    }

    /// Ends the registration before the ring does: locked memory is accounted for until then.
    fn unregister(&self, pool: &Pool) {
        pool.set_registered(false);
        if let Some(Some(registry)) = self.0.get() {
            // Closing the ring does it otherwise.
            let _ = registry.unregister();
        }
    }
}

/// A ring as large as we like, or as the limit on locked memory allows; without the newer flags on older
/// kernels.
fn make_runtime() -> io::Result<tokio_uring::Runtime> {
    let mut flags = tokio_uring::uring_builder();
    flags.setup_coop_taskrun().setup_single_issuer();
    let plain = tokio_uring::uring_builder();
    let attempts = [
        (RING_ENTRIES, &flags),
        (RING_ENTRIES, &plain),
        (RING_ENTRIES_MIN, &flags),
        (RING_ENTRIES_MIN, &plain),
    ];
    let mut last = None;
    for (entries, flags) in attempts {
        match tokio_uring::Runtime::new(
            tokio_uring::builder().entries(entries).uring_builder(flags),
        ) {
            Ok(runtime) => return Ok(runtime),
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("proof: the loop ran at least once"))
}

/// The memory of a whole pool as one registered buffer: blocks are addressed inside it.
pub(crate) struct Whole(Pool);

// SAFETY: the pointer stays the same and valid while the pool is held; pool memory is always initialised.
unsafe impl IoBuf for Whole {
    fn stable_ptr(&self) -> *const u8 {
        self.0.memory().0.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.0.memory().1
    }

    fn bytes_total(&self) -> usize {
        self.0.memory().1
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for Whole {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.0.memory().0.as_ptr()
    }

    unsafe fn set_init(&mut self, _: usize) {}
}

/// A socket that belongs to the ring.
pub(crate) struct Socket(Rc<OwnedFd>);

impl Socket {
    /// Takes the socket out of epoll, which would wake the thread for every segment that arrives.
    pub(super) fn adopt(stream: TcpStream) -> io::Result<Self> {
        Ok(Self(Rc::new(stream.into_std()?.into())))
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(super) fn release(self) -> io::Result<TcpStream> {
        // A receive that was dropped may still hold the descriptor: such a socket is of no use to anyone.
        let descriptor = Rc::try_unwrap(self.0)
            .map_err(|_| io::Error::other("an operation on the socket is still pending"))?;
        TcpStream::from_std(descriptor.into())
    }

    /// Receives into the block's spare part; see [`super::Socket::receive`].
    pub(super) async fn receive(
        &self,
        mut block: Block,
        max: usize,
        until: Until,
        enough: Enough<'_>,
    ) -> (io::Result<Received>, Block) {
        let max = match fault::transfer("receive", max) {
            Ok(most) => most,
            Err(error) => return (received(Err(error), &mut block), block),
        };
        let flags = match until {
            // TCP drops what it has, and copies nothing (tcp(7)). Not with MSG_WAITALL: what the kernel has
            // dropped of an entry it does not count off what it still waits for (seen on 6.18).
            _ if block.is_unread() => libc::MSG_TRUNC,
            Until::All => libc::MSG_WAITALL,
            Until::Some => 0,
        };
        let length = u32::try_from(max).unwrap_or(u32::MAX);
        let entry = opcode::Recv::new(types::Fd(self.0.as_raw_fd()), block.spare_ptr(), length)
            .flags(flags)
            .build();
        let mut receive = std::pin::pin!(submit(entry, Rc::clone(&self.0), block));
        let (result, mut block) = tokio::select! {
            biased;
            done = &mut receive => done,
            () = enough => {
                self.cancel().await;
                receive.await
            }
        };
        (received(result, &mut block), block)
    }

    /// Cancels what is pending on this socket. The cancelled receive completes with the bytes it already has.
    async fn cancel(&self) {
        let target = types::CancelBuilder::fd(types::Fd(self.0.as_raw_fd())).all();
        let entry = opcode::AsyncCancel2::new(target).build();
        // Whatever the answer, the receive itself tells what happened to it.
        let cancel = UnsubmittedOneshot::new(Rc::clone(&self.0), Outcome::default(), entry);
        let _ = cancel.submit().await;
    }
}

/// Counts what has come into the block.
fn received(result: io::Result<usize>, block: &mut Block) -> io::Result<Received> {
    match result {
        Ok(0) => Ok(Received::End),
        Ok(count) => {
            block.advance(count);
            Ok(Received::Bytes(count))
        }
        Err(error) if is_cancelled(&error) => Ok(Received::Nothing),
        Err(error) => Err(error),
    }
}

/// Writes the block's first `length` bytes at its offset; see [`Io::write`].
pub(super) async fn write(
    file: &Arc<File>,
    mut block: Block,
    length: usize,
) -> (io::Result<()>, Block) {
    let (mut done, mut refusals) = (0, 0);
    while done < length {
        let result;
        (result, block) = match fault::transfer("write", length - done) {
            Ok(most) => {
                let entry = write_entry(file, &block, done, done + most);
                submit(entry, Arc::clone(file), block).await
            }
            Err(error) => (Err(error), block),
        };
        match result {
            Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), block),
            Ok(count) => (done, refusals) = (done + count, 0),
            Err(error) if is_cancelled(&error) && refusals < REFUSALS_MAX => refusals += 1,
            // The kernel finds no thread of its own for it (RLIMIT_NPROC): this one will do.
            Err(error) if is_cancelled(&error) => {
                let offset = block.offset() + crate::units::wide(done);
                return (file.write_all_at(&block.padded(length)[done..], offset), block);
            }
            Err(error) => return (Err(error), block),
        }
    }
    (Ok(()), block)
}

/// Syncs a file; see [`Io::sync`]. The kernel does it on a thread of its own.
pub(super) async fn sync(file: &Arc<File>) -> io::Result<()> {
    let descriptor = types::Fd(file.as_raw_fd());
    let mut refusals = 0;
    loop {
        let entry = opcode::Fsync::new(descriptor).flags(types::FsyncFlags::DATASYNC).build();
        let synced = match fault::check("sync") {
            Ok(()) => {
                let sync = UnsubmittedOneshot::new(Arc::clone(file), Outcome::default(), entry);
                sync.submit().await
            }
            Err(error) => Err(error),
        };
        match synced {
            Ok(_) => return Ok(()),
            Err(error) if is_cancelled(&error) && refusals < REFUSALS_MAX => refusals += 1,
            // Nothing was synced, so nothing was lost by it.
            Err(error) if is_cancelled(&error) => return file.sync_data(),
            Err(error) => return Err(error),
        }
    }
}

/// Times in a row that the kernel may put off one operation.
const REFUSALS_MAX: u32 = 3;

fn write_entry(file: &File, block: &Block, done: usize, length: usize) -> squeue::Entry {
    let descriptor = types::Fd(file.as_raw_fd());
    let rest = &block.padded(length)[done..];
    let count = u32::try_from(rest.len()).unwrap_or(u32::MAX);
    let offset = block.offset() + crate::units::wide(done);
    if block.is_registered() {
        opcode::WriteFixed::new(descriptor, rest.as_ptr(), count, 0).offset(offset).build()
    } else {
        opcode::Write::new(descriptor, rest.as_ptr(), count).offset(offset).build()
    }
}

/// Interrupted, cancelled or out of a resource for a moment: the same operation may simply be repeated.
fn is_cancelled(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ECANCELED | libc::EINTR | libc::EAGAIN))
}

/// Submits an entry whose memory is in `block` and whose descriptor is kept open by `owner`.
fn submit<O: 'static>(
    entry: squeue::Entry,
    owner: O,
    block: Block,
) -> InFlightOneshot<(O, Block), Transfer<O>> {
    UnsubmittedOneshot::new((owner, block), Transfer(PhantomData), entry).submit()
}

/// Turns a completion into a byte count and gives the block back.
struct Transfer<O>(PhantomData<O>);

impl<O: 'static> OneshotOutputTransform for Transfer<O> {
    type Output = (io::Result<usize>, Block);
    type StoredData = (O, Block);

    fn transform_oneshot_output(
        self,
        (_, block): (O, Block),
        entry: cqueue::Entry,
    ) -> Self::Output {
        (count(&entry), block)
    }
}

/// Turns a completion into its result; `O` keeps the descriptor open until then.
struct Outcome<O>(PhantomData<O>);

impl<O> Default for Outcome<O> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<O: 'static> OneshotOutputTransform for Outcome<O> {
    type Output = io::Result<usize>;
    type StoredData = O;

    fn transform_oneshot_output(self, _: O, entry: cqueue::Entry) -> Self::Output {
        count(&entry)
    }
}

fn count(entry: &cqueue::Entry) -> io::Result<usize> {
    usize::try_from(entry.result()).map_err(|_| io::Error::from_raw_os_error(-entry.result()))
}
