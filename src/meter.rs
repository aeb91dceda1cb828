//! Counts what happens, for whoever wants to look. The lanes add, a report samples; nothing is called back.
//!
//! One [`Meter`] belongs to one download. All counters only grow, except `connections`, which is a level, and
//! `received`, which falls back when bytes turn out to be received in vain.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::error::Kind;
use crate::limits::EVENTS_MAX;

/// The counters of one download.
#[derive(Debug)]
pub struct Meter {
    size: AtomicU64,
    received: AtomicU64,
    /// Received in vain: before the file started anew, or what another lane had sooner.
    discarded: AtomicU64,
    landed: AtomicU64,
    digested: AtomicU64,
    connections: AtomicU32,
    connections_max: AtomicU32,
    phase: AtomicU8,
    events: Mutex<VecDeque<Event>>,
}

/// What a download is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Asking for the first bytes.
    Probing,
    /// Receiving and writing.
    Fetching,
    /// Reading back what is left for the digest.
    Verifying,
    /// Waiting for the disk.
    Syncing,
    /// Over, well or not.
    Done,
}

/// Something worth telling, in the order it happened. Remote strings in it are raw: a report escapes them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The first answer told what the server has.
    Probe {
        /// Size of the file in bytes, if the server says.
        size_bytes: Option<u64>,
        /// Whether ranges can be asked for.
        ranges: bool,
        /// The validator that ties all answers to one version: the ETag, or the Last-Modified date.
        validator: Option<String>,
        /// The protocol, such as `http/1.1`.
        protocol: &'static str,
        /// The address and port that answered.
        remote_addr: String,
    },
    /// A connection failed and is tried again.
    Retry {
        /// Why.
        kind: Kind,
        /// The number of this attempt; the first retry is 1.
        attempt: u32,
        /// Time until it starts.
        wait: Duration,
        /// The failure as a sentence.
        message: String,
    },
    /// The file on the server changed: everything starts anew.
    Changed {
        /// What gave it away.
        why: String,
    },
    /// Something a user wants to know once, such as why io_uring is not used.
    Notice(String),
    /// Detail for `--verbose`.
    Detail(String),
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            size: AtomicU64::new(u64::MAX),
            received: AtomicU64::new(0),
            discarded: AtomicU64::new(0),
            landed: AtomicU64::new(0),
            digested: AtomicU64::new(0),
            connections: AtomicU32::new(0),
            connections_max: AtomicU32::new(0),
            phase: AtomicU8::new(Phase::Probing as u8),
            events: Mutex::new(VecDeque::new()),
        }
    }
}

impl Meter {
    /// The size of the file in bytes, once known.
    pub fn size(&self) -> Option<u64> {
        Some(self.size.load(Relaxed)).filter(|size| *size != u64::MAX)
    }

    /// Body bytes received so far.
    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Body bytes received in all, those in vain included.
    pub fn fetched(&self) -> u64 {
        self.discarded.load(Relaxed) + self.received()
    }

    /// Bytes written so far.
    pub fn landed(&self) -> u64 {
        self.landed.load(Relaxed)
    }

    /// Bytes that went through the digest so far.
    pub fn digested(&self) -> u64 {
        self.digested.load(Relaxed)
    }

    /// Connections that receive now.
    pub fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    /// The most connections that received at the same time.
    pub fn connections_max(&self) -> u32 {
        self.connections_max.load(Relaxed)
    }

    /// What the download is doing.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Probing,
            1 => Phase::Fetching,
            2 => Phase::Verifying,
            3 => Phase::Syncing,
            _ => Phase::Done,
        }
    }

    /// Takes the events since the last call, oldest first.
    pub fn take_events(&self) -> Vec<Event> {
        self.lock_events().drain(..).collect()
    }

    pub(crate) fn set_size(&self, size: Option<u64>) {
        self.size.store(size.unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn add_received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn add_landed(&self, bytes: u64) {
        self.landed.fetch_add(bytes, Relaxed);
    }

    /// Takes bytes back that were received in vain, because another lane had them sooner; they stay counted
    /// as fetched.
    pub(crate) fn waste(&self, bytes: u64) {
        self.discarded.fetch_add(bytes, Relaxed);
        self.received.fetch_sub(bytes, Relaxed);
    }

    pub(crate) fn add_digested(&self, bytes: u64) {
        self.digested.fetch_add(bytes, Relaxed);
    }

    /// Begins to count again, because the file starts anew; what was received in vain stays counted as
    /// fetched.
    pub(crate) fn start_anew(&self) {
        self.discarded.fetch_add(self.received.swap(0, Relaxed), Relaxed);
        self.landed.store(0, Relaxed);
        self.digested.store(0, Relaxed);
    }

    /// Counts a connection that receives until the returned guard is dropped.
    pub(crate) fn connection(&self) -> ConnectionGuard<'_> {
        let now = self.connections.fetch_add(1, Relaxed) + 1;
        self.connections_max.fetch_max(now, Relaxed);
        ConnectionGuard(self)
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    pub(crate) fn tell(&self, event: Event) {
        let mut events = self.lock_events();
        if events.len() == EVENTS_MAX {
            events.pop_front();
        }
        events.push_back(event);
    }

    fn lock_events(&self) -> std::sync::MutexGuard<'_, VecDeque<Event>> {
        self.events.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// One connection at work; see [`Meter::connection`].
pub(crate) struct ConnectionGuard<'a>(&'a Meter);

impl Drop for ConnectionGuard<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_bounded_and_ordered() {
        let meter = Meter::default();
        for number in 0..EVENTS_MAX + 5 {
            meter.tell(Event::Notice(number.to_string()));
        }
        let events = meter.take_events();
        assert_eq!(events.len(), EVENTS_MAX);
        assert_eq!(events[0], Event::Notice("5".into()));
        assert!(meter.take_events().is_empty());
    }

    #[test]
    fn connections_count_up_and_down() {
        let meter = Meter::default();
        let first = meter.connection();
        drop(meter.connection());
        drop(first);
        assert_eq!((meter.connections(), meter.connections_max()), (0, 2));
    }
}
