//! The epoll backend: tokio's current-thread loop for sockets, pwrite(2) on threads of our own for files.
//!
//! Where io_uring is refused this is what runs, with the same promises; in benchmarks it is the honest
//! baseline.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;

use rustix::net::RecvFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::low_water::LowWater;
use super::writers::Writers;
use super::{Enough, Io, Received, Until, Work};
use crate::block::Block;
use crate::fault;
use crate::units::wide;

/// Runs `work` on this thread until its future ends.
///
/// # Errors
/// If the kernel refuses the descriptors: nothing can run then.
pub(super) fn run(work: Work) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, work(Io::Epoll(Rc::default())));
    Ok(())
}

/// Receives into the block's spare part; see [`super::Socket::receive`].
pub(super) async fn receive(
    stream: &TcpStream,
    low_water: &LowWater,
    mut block: Block,
    max: usize,
    until: Until,
    mut enough: Enough<'_>,
) -> (io::Result<Received>, Block) {
    let mut got = 0;
    while got < max {
        let most = fault::transfer("receive", max - got);
        match most.and_then(|most| try_receive(stream, &mut block, most)) {
            Ok(0) if got == 0 => return (Ok(Received::End), block),
            Ok(0) => break,
            Ok(count) => {
                block.advance(count);
                got += count;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if got > 0 && until == Until::Some {
                    break;
                }
                if block.is_unread() {
                    low_water.raise(stream.as_fd(), max - got);
                }
                let readable = tokio::select! {
                    biased;
                    readable = stream.readable() => readable,
                    () = &mut enough => break,
                };
                match readable {
                    Ok(()) => {}
                    Err(error) if got == 0 => return (Err(error), block),
                    Err(_) => break,
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if got == 0 => return (Err(error), block),
            Err(_) => break,
        }
    }
    (Ok(if got > 0 { Received::Bytes(got) } else { Received::Nothing }), block)
}

/// Receives what there is, at most `most` bytes.
fn try_receive(stream: &TcpStream, block: &mut Block, most: usize) -> io::Result<usize> {
    let is_unread = block.is_unread();
    let into = &mut block.spare_mut()[..most];
    if !is_unread {
        return stream.try_read(into);
    }
    // TCP then drops what it has, and copies nothing (tcp(7)).
    let drop = || Ok(rustix::net::recv(stream, &mut *into, RecvFlags::TRUNC)?.1);
    stream.try_io(Interest::READABLE, drop)
}

/// Syncs a file; see [`Io::sync`]. On a thread of its own, not to keep writes waiting.
pub(super) async fn sync(file: &Arc<File>) -> io::Result<()> {
    let file = Arc::clone(file);
    let sync = move || Ok(fault::check("sync").and_then(|()| file.sync_data()));
    let synced = crate::aside::aside(sync).await;
    synced.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Writes the block's first `length` bytes at its offset; see [`Io::write`].
pub(super) async fn write(
    writers: &Writers,
    file: &Arc<File>,
    block: Block,
    length: usize,
) -> (io::Result<()>, Block) {
    let file = Arc::clone(file);
    let (tell, told) = oneshot::channel();
    writers.run(Box::new(move || {
        let result = write_all(&file, block.padded(length), block.offset());
        // The lane may be gone already.
        let _ = tell.send((result, block));
    }));
    told.await.expect("proof: a write tells its result, and does not panic")
}

/// Writes all, however much goes at once.
fn write_all(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let most = fault::transfer("write", bytes.len());
        match most.and_then(|most| file.write_at(&bytes[..most], offset)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => (bytes, offset) = (&bytes[count..], offset + wide(count)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
