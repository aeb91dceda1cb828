//! The low-water mark of a socket: how many bytes must be there before the kernel wakes who waits for them.
//!
//! Only for bytes that nobody will look at. Where bytes are copied, a thread that sleeps until a whole block
//! is there comes late to the copy: with the mark at 1 MiB durable downloads took 1.2 times as long. Without
//! a copy all that a receive costs is being woken: the mark halves the CPU time of `--write discard` on
//! loopback (0.24 to 0.12 s for 2 GiB, medians of six interleaved runs) and takes a fifth off its wall time.
//!
//! And only where bytes come fast: the kernel widens its receive window by what is taken from it in a round
//! trip, and takes far longer to find the width of a long path whose bytes are taken in lumps (100 ms and
//! 100 MB/s: 1.5 s instead of 0.7 s until the link was full).

#![expect(unsafe_code, reason = "no safe crate names SO_RCVLOWAT")]

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Instant;

use crate::limits::{UNREAD_LAP_BYTES, UNREAD_LAP_MAX};

/// What a socket's mark is, and whether it may be raised.
pub(super) struct LowWater {
    bytes: Cell<libc::c_int>,
    /// The last lap took so short that the mark may be raised.
    is_fast: Cell<bool>,
    /// When this lap began, and bytes that have come in it.
    lap: Cell<(Instant, usize)>,
}

impl LowWater {
    /// The mark of a fresh socket: 1 byte.
    pub(super) fn new() -> Self {
        Self { bytes: Cell::new(1), is_fast: Cell::new(false), lap: Cell::new((Instant::now(), 0)) }
    }

    /// Raises the mark to `bytes`, all of which must be on their way, or lowers it where they come slowly.
    /// The kernel keeps it below half of the receive buffer. A failure only costs wake-ups.
    pub(super) fn raise(&self, socket: BorrowedFd<'_>, bytes: usize) {
        let bytes = if self.is_fast.get() { bytes } else { 1 };
        let _ = self.set(socket, libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX));
    }

    /// So many bytes have come.
    pub(super) fn note(&self, bytes: usize, now: Instant) {
        let (begun, had) = self.lap.get();
        let has = had.saturating_add(bytes);
        if has < UNREAD_LAP_BYTES {
            return self.lap.set((begun, has));
        }
        self.is_fast.set(now.saturating_duration_since(begun) <= UNREAD_LAP_MAX);
        self.lap.set((now, 0));
    }

    /// A wait has ended in vain: what there is counts now, however little.
    pub(super) fn give_up(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.is_fast.set(false);
        self.lower(socket)
    }

    /// Back to 1 byte, so that a short response head wakes too. Wakes who waits for bytes that are there.
    pub(super) fn lower(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.set(socket, 1)
    }

    /// `SO_RCVLOWAT` of socket(7).
    fn set(&self, socket: BorrowedFd<'_>, bytes: libc::c_int) -> io::Result<()> {
        if self.bytes.get() == bytes {
            return Ok(());
        }
        let length = libc::socklen_t::try_from(size_of::<libc::c_int>())
            .expect("proof: an int is a few bytes long");
        let (descriptor, value) = (socket.as_raw_fd(), (&raw const bytes).cast());
        // SAFETY: the descriptor is open while it is borrowed, and the kernel reads `length` bytes of an int.
        let result = unsafe {
            libc::setsockopt(descriptor, libc::SOL_SOCKET, libc::SO_RCVLOWAT, value, length)
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        self.bytes.set(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_mark_is_raised_while_bytes_come_fast() {
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let mark = LowWater::new();
        let raised = |bytes| {
            mark.raise(socket.as_fd(), bytes);
            mark.bytes.get()
        };
        let mut now = Instant::now();
        assert_eq!(raised(4096), 1, "nothing is known of a fresh socket");
        let mut lap = |took: Duration| {
            now += took;
            mark.note(UNREAD_LAP_BYTES - 1, now);
            mark.note(1, now);
        };
        lap(Duration::ZERO);
        assert_eq!(raised(4096), 4096);
        lap(UNREAD_LAP_MAX * 2);
        assert_eq!(raised(4096), 1, "a long path must be filled");
        lap(UNREAD_LAP_MAX / 2);
        assert_eq!(raised(8192), 8192);
        mark.note(UNREAD_LAP_BYTES - 1, now + UNREAD_LAP_MAX);
        assert_eq!(raised(8192), 8192, "less than a lap says nothing");
        mark.give_up(socket.as_fd()).unwrap();
        assert_eq!(raised(8192), 1);
    }
}
