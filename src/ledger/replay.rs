//! Reads a ledger back: what of a file is there, and what of that would survive a power cut. Pure.
//!
//! Its invariant: whatever the bytes, an extent counts only if an intact line names it and every line before
//! that one is intact, and it counts as durable only if an intact line behind a completed sync says so.

use std::collections::VecDeque;

use super::extents::Extents;
use super::record::{self, Broken, Head, Record};

/// What a ledger says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replay {
    pub(crate) head: Head,
    /// What the disk has.
    pub(crate) durable: Extents,
    /// What was written in the last epoch and is still waiting for a sync; the number of its line first.
    written: VecDeque<(u64, Extents)>,
    /// `Written` lines so far.
    pub(crate) writes: u64,
    epoch: Option<String>,
    /// Something that the page cache may still hold was written there in this epoch.
    cached: bool,
    /// The `Written` lines that a sync is about whose end is not known.
    syncing: u64,
    /// The intact lines, in bytes: what follows is torn.
    pub(crate) length: u64,
}

/// Why a ledger cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// It does not begin with an intact head, or says what cannot be.
    Corrupt,
    /// Another version of this program wrote it.
    Format(u32),
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Corrupt => out.write_str("its ledger is damaged"),
            Self::Format(format) => write!(out, "its ledger has the unknown format {format}"),
        }
    }
}

/// Reads all intact lines of a ledger.
///
/// # Errors
/// [`Doubt`] if nothing in it can be believed. A torn tail is no reason: it is left out.
pub(crate) fn read(bytes: &[u8]) -> Result<Replay, Doubt> {
    let (first, mut rest) = record::next(bytes).map_err(|broken| match broken {
        Broken::Torn => Doubt::Corrupt,
        Broken::Format(format) => Doubt::Format(format),
    })?;
    let Record::Head(head) = first else { return Err(Doubt::Corrupt) };
    let mut replay = Replay {
        head,
        durable: Extents::default(),
        written: VecDeque::new(),
        writes: 0,
        epoch: None,
        cached: false,
        syncing: 0,
        length: 0,
    };
    while let Ok((record, behind)) = record::next(rest) {
        replay.apply(record)?;
        rest = behind;
    }
    replay.length = crate::units::wide(bytes.len() - rest.len());
    Ok(replay)
}

impl Replay {
    /// What is there in this epoch.
    pub(crate) fn landed(&self, epoch: &str) -> Extents {
        let mut landed = self.durable.clone();
        if self.epoch.as_deref() == Some(epoch) {
            let believed = self.written.iter().filter(|(at, _)| *at > self.syncing);
            for range in believed.flat_map(|(_, extents)| extents.iter()) {
                landed.insert(range);
            }
        }
        landed
    }

    /// Whether the page cache may hold something in this epoch that is not durable.
    pub(crate) fn is_cached(&self, epoch: &str) -> bool {
        self.cached && self.epoch.as_deref() == Some(epoch)
    }

    fn apply(&mut self, record: Record) -> Result<(), Doubt> {
        match record {
            Record::Head(_) => return Err(Doubt::Corrupt),
            Record::Begin { epoch, cached } => {
                if self.epoch.as_ref() != Some(&epoch) {
                    self.written.clear();
                    self.cached = false;
                }
                self.cached |= cached;
                let unheard = std::mem::take(&mut self.syncing);
                self.written.retain(|(at, _)| *at > unheard);
                self.epoch = Some(epoch);
            }
            Record::Written(ranges) => {
                if self.epoch.is_none() {
                    return Err(Doubt::Corrupt);
                }
                let extents = self.extents(&ranges)?;
                self.writes += 1;
                self.written.push_back((self.writes, extents));
            }
            Record::Syncing(writes) | Record::Durable(writes) if writes > self.writes => {
                return Err(Doubt::Corrupt);
            }
            Record::Syncing(writes) => self.syncing = writes,
            Record::Durable(writes) => {
                self.syncing = 0;
                while self.written.front().is_some_and(|(at, _)| *at <= writes) {
                    let synced = self.written.pop_front().map(|(_, extents)| extents);
                    for range in synced.iter().flat_map(Extents::iter) {
                        self.durable.insert(range);
                    }
                }
            }
            Record::Lost => {
                self.syncing = 0;
                self.written.clear();
            }
            Record::Wrong(ranges) => {
                let wrong = self.extents(&ranges)?;
                let written = self.written.iter_mut().map(|(_, extents)| extents);
                for extents in written.chain([&mut self.durable]) {
                    wrong.iter().for_each(|range| extents.remove(range));
                }
            }
        }
        Ok(())
    }

    /// The bytes that a line names.
    fn extents(&self, ranges: &[(u64, u64)]) -> Result<Extents, Doubt> {
        let mut extents = Extents::default();
        for (start, end) in ranges {
            if start >= end || *end > self.head.size {
                return Err(Doubt::Corrupt);
            }
            extents.insert(*start..*end);
        }
        Ok(extents)
    }
}
