//! What there is to count while a run goes on, for whoever looks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use url::{Position, Url};

use crate::limits::QUEUES_MAX;
use crate::meter::Event;

/// What there is to count, while a run goes on and at its end.
#[derive(Debug, Default)]
pub struct Counts {
    total: AtomicU64,
    pub(super) fetched: AtomicU64,
    pub(super) linked: AtomicU64,
    pub(super) linked_bytes: AtomicU64,
    pub(super) unchanged: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) bad: AtomicU64,
    duplicates: AtomicU64,
    bytes: AtomicU64,
    hosts: Mutex<BTreeMap<String, u64>>,
    requests: AtomicU64,
    in_flight: AtomicU64,
    stage: AtomicU8,
    events: Mutex<Vec<Event>>,
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// Entries of the list, bad lines included.
    pub total: u64,
    /// Entries whose file was fetched.
    pub fetched: u64,
    /// Entries whose file was made from another of the same digest.
    pub linked: u64,
    /// Bytes of their files, none of which was fetched.
    pub linked_bytes: u64,
    /// Entries whose file was right already.
    pub unchanged: u64,
    /// Entries that failed.
    pub failed: u64,
    /// Lines that make no entry.
    pub bad_lines: u64,
    /// Lines that repeat another word for word.
    pub duplicates: u64,
    /// Body bytes received.
    pub bytes: u64,
    /// Requests sent.
    pub requests: u64,
    /// Entries in flight.
    pub in_flight: u64,
    /// What the run is about.
    pub stage: Stage,
}

/// What a run is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Reading the list.
    #[default]
    Reading,
    /// Comparing it with the directory.
    Comparing,
    /// Fetching.
    Fetching,
    /// Making files from others of the same digest.
    Linking,
    /// Waiting for the disk.
    Syncing,
    /// Removing what is not in the list.
    Deleting,
    /// At its end.
    Done,
}

impl Standing {
    /// Entries that have a terminal state.
    pub fn ended(&self) -> u64 {
        self.fetched + self.linked + self.unchanged + self.failed + self.bad_lines
    }

    /// Whether every entry is as the list wants it.
    pub fn is_whole(&self) -> bool {
        self.is_whole_but(0)
    }
}

impl Standing {
    /// Whether every entry is as the list wants it but for so many that have no terminal state.
    pub(super) fn is_whole_but(&self, open: u64) -> bool {
        self.failed == 0 && self.bad_lines == 0 && self.ended() + open == self.total
    }
}

impl Counts {
    /// The counts now.
    pub fn standing(&self) -> Standing {
        Standing {
            total: self.total.load(Relaxed),
            fetched: self.fetched.load(Relaxed),
            linked: self.linked.load(Relaxed),
            linked_bytes: self.linked_bytes.load(Relaxed),
            unchanged: self.unchanged.load(Relaxed),
            failed: self.failed.load(Relaxed),
            bad_lines: self.bad.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            requests: self.requests.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            stage: STAGES[usize::from(self.stage.load(Relaxed))],
        }
    }

    /// The notices since the last call, oldest first.
    pub fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn tell(&self, event: Event) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() < crate::limits::EVENTS_MAX {
            events.push(event);
        }
    }

    pub(super) fn set_total(&self, total: u64, duplicates: u64) {
        self.total.store(total, Relaxed);
        self.duplicates.store(duplicates, Relaxed);
    }

    pub(super) fn set_stage(&self, stage: Stage) {
        let at = STAGES.iter().position(|known| *known == stage).unwrap_or_default();
        self.stage.store(u8::try_from(at).unwrap_or_default(), Relaxed);
    }

    /// Counts body bytes that came from this address.
    pub(super) fn add_bytes(&self, from: &Url, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
        let host = &from[Position::BeforeHost..Position::AfterPort];
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = hosts.get_mut(host) {
            *known += bytes;
        } else if hosts.len() < QUEUES_MAX {
            hosts.insert(host.to_owned(), bytes);
        }
    }

    /// Body bytes by host and port, of the first hosts that sent some: at most [`QUEUES_MAX`].
    pub fn hosts(&self) -> BTreeMap<String, u64> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn add_request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// Counts an entry as in flight until the guard is dropped.
    pub(super) fn in_flight(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self)
    }
}

/// An entry in flight.
pub(super) struct InFlight<'a>(&'a Counts);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

const STAGES: [Stage; 7] = [
    Stage::Reading,
    Stage::Comparing,
    Stage::Fetching,
    Stage::Linking,
    Stage::Syncing,
    Stage::Deleting,
    Stage::Done,
];
