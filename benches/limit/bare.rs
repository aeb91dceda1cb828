//! The bare loop: nothing but what any download has to do, written directly on io_uring.
//!
//! It is no downloader. It trusts the server, judges no answer, remembers nothing and repeats nothing. Each
//! connection asks for a run of the file over and over, receives it block by block, and has up to
//! [`BLOCKS`] blocks in flight. Nothing is allocated for a block.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use rustix::fs::FallocateFlags;

use super::ring::{BLOCK, Done, Rest, Ring};

/// Connections of a loop, dealt evenly to its threads.
pub(crate) const CONNECTIONS: usize = 4;
/// Blocks in flight for each connection.
const BLOCKS: usize = 4;
/// Requests for a file: few enough that the pauses for their answers do not show, and enough that the
/// connections end together.
const REQUESTS: u64 = 64;

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The kernel throws them away (`MSG_TRUNC`).
    Trunc,
    /// Copied to memory and forgotten.
    Copy,
    /// Written through the page cache, then synced.
    Buffered,
    /// Written by O_DIRECT from registered memory, then synced.
    Direct,
}

/// What one run of the loop is to do.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) server: SocketAddr,
    /// Bytes of the served file `f`: whole blocks.
    pub(crate) size: u64,
    pub(crate) way: Way,
    pub(crate) threads: usize,
    /// The file to write, which must not exist.
    pub(crate) target: &'a Path,
}

impl Way {
    pub(crate) fn writes(self) -> bool {
        matches!(self, Self::Buffered | Self::Direct)
    }
}

/// Fetches the whole file; what is written is on disk afterwards.
///
/// # Errors
/// What the ring, the sockets or the file say.
pub(crate) fn run(job: &Job<'_>) -> io::Result<()> {
    assert!(job.size.is_multiple_of(BLOCK.into()), "the loop moves whole blocks");
    let file = if job.way.writes() { Some(create(job)?) } else { None };
    let asked = AtomicU64::new(0);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..job.threads)
            .map(|_| scope.spawn(|| on_thread(job, file.as_ref(), &asked)))
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a thread that ends well"))
    })?;
    file.map_or(Ok(()), |file| file.sync_data())
}

fn create(job: &Job<'_>) -> io::Result<File> {
    let flags = if job.way == Way::Direct { libc::O_DIRECT } else { 0 };
    let file = File::options().write(true).create_new(true).custom_flags(flags).open(job.target)?;
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, job.size)?;
    Ok(file)
}

fn on_thread(job: &Job<'_>, file: Option<&File>, asked: &AtomicU64) -> io::Result<()> {
    let count = CONNECTIONS / job.threads;
    let sockets: Vec<_> =
        (0..count).map(|_| TcpStream::connect(job.server)).collect::<io::Result<_>>()?;
    let mut ring = Ring::new(count * BLOCKS, &sockets, file)?;
    if job.way == Way::Direct {
        ring.register();
    }
    let connections = sockets.iter().map(|socket| Connection { socket, run: 0..0, filling: false });
    let mut pump = Pump {
        job,
        asked,
        ring,
        connections: connections.collect(),
        slots: vec![Slot::default(); count * BLOCKS],
    };
    pump.run()
}

/// One thread of the loop.
struct Pump<'a> {
    job: &'a Job<'a>,
    /// The first byte that nobody has asked for.
    asked: &'a AtomicU64,
    ring: Ring<'a>,
    connections: Vec<Connection<'a>>,
    /// [`BLOCKS`] for each connection, in its order.
    slots: Vec<Slot>,
}

struct Connection<'a> {
    socket: &'a TcpStream,
    /// What was asked for and has no block yet.
    run: Range<u64>,
    filling: bool,
}

/// A block of memory.
#[derive(Clone, Copy, Default)]
struct Slot {
    is_taken: bool,
    /// Where in the file it belongs.
    offset: u64,
    /// Bytes that were received, then bytes that were written.
    done: u32,
}

impl Pump<'_> {
    fn run(&mut self) -> io::Result<()> {
        let mut done = Vec::with_capacity(self.slots.len());
        loop {
            for at in 0..self.connections.len() {
                self.fill(at)?;
            }
            if self.ring.in_flight() == 0 {
                return Ok(());
            }
            self.ring.wait(&mut done)?;
            for Done { slot, is_write, bytes } in done.drain(..) {
                let bytes = bytes?;
                if bytes == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.slots[slot].done += bytes;
                match is_write {
                    true => self.written(slot),
                    false => self.received(slot),
                }
            }
        }
    }

    /// Starts the next receive of a connection that has none and a free block.
    fn fill(&mut self, at: usize) -> io::Result<()> {
        let connection = &mut self.connections[at];
        let own = at * BLOCKS..(at + 1) * BLOCKS;
        let free = own.into_iter().find(|slot| !self.slots[*slot].is_taken);
        let Some(slot) = free.filter(|_| !connection.filling) else { return Ok(()) };
        if connection.run.is_empty() {
            let length = self.job.size.div_ceil(REQUESTS).next_multiple_of(BLOCK.into());
            let start = self.asked.fetch_add(length, Relaxed);
            if start >= self.job.size {
                return Ok(());
            }
            connection.run = start..self.job.size.min(start + length);
            ask(connection.socket, &connection.run)?;
        }
        self.slots[slot] = Slot { is_taken: true, offset: connection.run.start, done: 0 };
        connection.run.start += u64::from(BLOCK);
        connection.filling = true;
        self.receive(slot);
        Ok(())
    }

    fn receive(&mut self, slot: usize) {
        let flags = match self.job.way {
            // Not both: a receive that goes on after a short one starts again from its full length, because
            // what was thrown away is not counted (seen on Linux 6.18).
            Way::Trunc => libc::MSG_TRUNC,
            Way::Copy | Way::Buffered | Way::Direct => libc::MSG_WAITALL,
        };
        let rest = Rest { slot, done: self.slots[slot].done };
        self.ring.receive(slot / BLOCKS, rest, flags);
    }

    fn received(&mut self, slot: usize) {
        if self.slots[slot].done < BLOCK {
            return self.receive(slot);
        }
        self.connections[slot / BLOCKS].filling = false;
        if self.job.way.writes() {
            self.slots[slot].done = 0;
            self.write(slot);
        } else {
            self.slots[slot].is_taken = false;
        }
    }

    fn write(&mut self, slot: usize) {
        let Slot { offset, done, .. } = self.slots[slot];
        self.ring.write(Rest { slot, done }, offset);
    }

    fn written(&mut self, slot: usize) {
        if self.slots[slot].done < BLOCK {
            return self.write(slot);
        }
        self.slots[slot].is_taken = false;
    }
}

/// Asks for a range over a kept-alive connection and reads the head of the answer, to its last byte.
fn ask(mut socket: &TcpStream, run: &Range<u64>) -> io::Result<()> {
    let (first, last) = (run.start, run.end - 1);
    let request = format!("GET /f HTTP/1.1\r\nHost: bench\r\nRange: bytes={first}-{last}\r\n\r\n");
    socket.write_all(request.as_bytes())?;
    let mut head = [0; 4096];
    loop {
        let seen = socket.peek(&mut head)?;
        let end = head[..seen].windows(4).position(|bytes| bytes == b"\r\n\r\n");
        if let Some(end) = end {
            socket.read_exact(&mut head[..end + 4])?;
            break;
        }
        if seen == 0 || seen == head.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let is_partial = head.starts_with(b"HTTP/1.1 206 ");
    is_partial.then_some(()).ok_or_else(|| io::Error::other("the server does not answer with 206"))
}
