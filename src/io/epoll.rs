//! The epoll backend: tokio's current-thread loop for sockets, pwrite(2) on its helper threads for files.
//!
//! Where io_uring is refused this is what runs, with the same promises; in benchmarks it is the honest
//! baseline.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::{Io, Received, Until, Work};
use crate::block::Block;
use crate::limits::EPOLL_WRITERS;

/// Runs `work` on this thread until its future ends.
///
/// # Errors
/// If the kernel refuses the descriptors: nothing can run then.
pub(super) fn run(work: Work) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(EPOLL_WRITERS)
        .build()?;
    tokio::task::LocalSet::new().block_on(&runtime, work(Io::Epoll));
    Ok(())
}

/// Receives into the block's spare part; see [`super::Socket::receive`].
pub(super) async fn receive(
    stream: &TcpStream,
    mut block: Block,
    max: usize,
    until: Until,
    wait: Duration,
) -> (io::Result<Received>, Block) {
    let mut got = 0;
    let deadline = tokio::time::Instant::now() + wait;
    while got < max {
        match stream.try_read(&mut block.spare_mut()[..max - got]) {
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
                match tokio::time::timeout_at(deadline, stream.readable()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) if got == 0 => return (Err(error), block),
                    Ok(Err(_)) | Err(_) => break,
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if got == 0 => return (Err(error), block),
            Err(_) => break,
        }
    }
    (Ok(if got > 0 { Received::Bytes(got) } else { Received::Nothing }), block)
}

/// Writes the block's first `length` bytes at its offset; see [`Io::write`].
pub(super) async fn write(
    file: &Arc<File>,
    block: Block,
    length: usize,
) -> (io::Result<()>, Block) {
    let file = Arc::clone(file);
    let write = tokio::task::spawn_blocking(move || {
        let result = file.write_all_at(block.padded(length), block.offset());
        (result, block)
    });
    match write.await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
