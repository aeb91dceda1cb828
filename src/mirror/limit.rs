//! How long a run goes on: until somebody stops it, or its time is over.
//!
//! A list may come from a pipe that stays silent, or from a server that does, and what is done for each of
//! its entries may take long. Invariant: whoever waits for more of a list, or goes through it, also looks for
//! the end of the run.

use std::fs::File;
use std::io::{self, Read};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::engine::Stopper;
use crate::error::{Error, Kind, Result};
use crate::limits::RECEIVE_SLICE;

/// What ends a run.
#[derive(Clone)]
pub(super) struct Limit {
    pub(super) stopper: Stopper,
    pub(super) until: Option<Instant>,
}

impl Limit {
    /// Whether the time of the run is over.
    pub(super) fn is_late(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// # Errors
    /// If the run is to end.
    pub(super) fn check(&self) -> Result<()> {
        if self.stopper.is_stopped() {
            return Err(stopped());
        }
        if self.is_late() { Err(late()) } else { Ok(()) }
    }

    /// Waits until the run is to end; why.
    pub(super) async fn over(&self) -> Error {
        let end = async {
            match self.until {
                Some(until) => tokio::time::sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.stopper.stopped() => stopped(),
            () = end => late(),
        }
    }

    /// Reads a file only as long as the run goes on.
    pub(super) fn heed(&self, file: File) -> Heeding<'_> {
        Heeding { file, limit: self }
    }
}

/// A list as it comes.
pub(super) struct Heeding<'a> {
    file: File,
    limit: &'a Limit,
}

impl Read for Heeding<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let slice = Timespec { tv_sec: 0, tv_nsec: i64::from(RECEIVE_SLICE.subsec_nanos()) };
        loop {
            self.limit.check().map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&slice)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return self.file.read(out),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Somebody has stopped the run.
pub(super) fn stopped() -> Error {
    Error::new(Kind::Interrupted, "stopped; run the same command again to continue")
}

/// The time of the run is over.
pub(super) fn late() -> Error {
    Error::new(Kind::TimedOut, "the time is over; run the same command again to continue")
}
