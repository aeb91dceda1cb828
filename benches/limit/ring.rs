//! The ring of one thread of the bare loop, with its memory: the only file outside the library that may be
//! `unsafe`, for there is no safe way to push a submission entry.
//!
//! It decides nothing: it starts what it is told to and says what has ended.
//!
//! # Why the `unsafe` here is sound
//! The kernel reads and writes memory after a call has returned. All of it lies in `memory`, to which no
//! reference exists once the ring is made, and which is never unmapped while an operation is in flight: then
//! it is leaked instead. The descriptors are borrowed for longer than the ring lives.

#![expect(unsafe_code, reason = "memory is lent to the kernel; the module doc has the argument")]

use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;

use io_uring::{IoUring, opcode, squeue, types};
use memmap2::{Advice, MmapMut};

/// Bytes of a block: as ringpull has it by default.
pub(crate) const BLOCK: u32 = 1 << 20;
/// Entries of the ring: more than are ever in flight.
const ENTRIES: u32 = 128;

/// A ring, and one block of memory for each of its slots.
pub(crate) struct Ring<'a> {
    uring: IoUring,
    sockets: &'a [TcpStream],
    file: Option<&'a File>,
    start: *mut u8,
    slots: usize,
    is_registered: bool,
    in_flight: usize,
    memory: Option<MmapMut>,
}

/// The rest of a block: what lies behind its first `done` bytes.
#[derive(Clone, Copy)]
pub(crate) struct Rest {
    pub(crate) slot: usize,
    pub(crate) done: u32,
}

/// An operation that has ended.
pub(crate) struct Done {
    pub(crate) slot: usize,
    pub(crate) is_write: bool,
    /// Bytes that it has moved.
    pub(crate) bytes: io::Result<u32>,
}

impl<'a> Ring<'a> {
    /// A ring that receives from `sockets` and writes to `file`.
    pub(crate) fn new(
        slots: usize,
        sockets: &'a [TcpStream],
        file: Option<&'a File>,
    ) -> io::Result<Self> {
        let mut memory = MmapMut::map_anon(slots * BLOCK as usize)?;
        // Without huge pages it works as well.
        let _ = memory.advise(Advice::HugePage);
        let start = memory.as_mut_ptr();
        let memory = Some(memory);
        let (is_registered, in_flight) = (false, 0);
        Ok(Self { uring: make()?, sockets, file, start, slots, is_registered, in_flight, memory })
    }

    /// Registers the memory for writes; where the limit on locked memory refuses, they work all the same.
    pub(crate) fn register(&mut self) {
        let iov_len = self.slots * BLOCK as usize;
        let whole = libc::iovec { iov_base: self.start.cast(), iov_len };
        // SAFETY: it is one mapping of this length, which stays while the ring has operations in flight.
        let registered = unsafe { self.uring.submitter().register_buffers(&[whole]) };
        self.is_registered = registered.is_ok();
    }

    /// Starts to receive the rest of a block.
    pub(crate) fn receive(&mut self, socket: usize, rest: Rest, flags: i32) {
        let (start, length) = self.place(rest);
        let socket = types::Fd(self.sockets[socket].as_raw_fd());
        let entry = opcode::Recv::new(socket, start, length).flags(flags).build();
        self.push(&entry.user_data(token(rest.slot, false)));
    }

    /// Starts to write the rest of a block to where it belongs in the file, which begins at `offset`.
    pub(crate) fn write(&mut self, rest: Rest, offset: u64) {
        let (start, length) = self.place(rest);
        let file = types::Fd(self.file.expect("a loop that writes has a file").as_raw_fd());
        let offset = offset + u64::from(rest.done);
        let entry = match self.is_registered {
            true => opcode::WriteFixed::new(file, start, length, 0).offset(offset).build(),
            false => opcode::Write::new(file, start, length).offset(offset).build(),
        };
        self.push(&entry.user_data(token(rest.slot, true)));
    }

    /// Operations that have not ended.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Submits what was started, waits until something has ended, and adds all that has to `done`.
    pub(crate) fn wait(&mut self, done: &mut Vec<Done>) -> io::Result<()> {
        match self.uring.submit_and_wait(1) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for entry in self.uring.completion() {
            self.in_flight -= 1;
            let slot = usize::try_from(entry.user_data() >> 1).expect("a token of ours");
            let result = entry.result();
            let bytes = u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result));
            done.push(Done { slot, is_write: entry.user_data() & 1 == 1, bytes });
        }
        Ok(())
    }

    fn place(&self, rest: Rest) -> (*mut u8, u32) {
        assert!(rest.slot < self.slots && rest.done < BLOCK, "there is no such memory");
        let start = rest.slot * BLOCK as usize + rest.done as usize;
        (self.start.wrapping_add(start), BLOCK - rest.done)
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: `place` has seen to it that the entry names bytes within the memory, which outlives the
        // operation, as the descriptors do: see the head of this file.
        let pushed = unsafe { self.uring.submission().push(entry) };
        pushed.expect("the ring has room for all that can be in flight");
        self.in_flight += 1;
    }
}

impl Drop for Ring<'_> {
    fn drop(&mut self) {
        if self.in_flight > 0 {
            // Only after a failure. The kernel may still use the memory, so nobody else must ever get it.
            std::mem::forget(self.memory.take());
        }
    }
}

/// A ring that does its work when it is waited on, or a plain one before Linux 6.1.
fn make() -> io::Result<IoUring> {
    let mut lazy = IoUring::builder();
    lazy.setup_coop_taskrun().setup_single_issuer().setup_defer_taskrun();
    lazy.build(ENTRIES).or_else(|_| IoUring::new(ENTRIES))
}

fn token(slot: usize, is_write: bool) -> u64 {
    (slot as u64) << 1 | u64::from(is_write)
}
