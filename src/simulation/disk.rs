//! A disk that keeps what was synced, and what was only written as it likes.
//!
//! The part file is a model; the ledger is a real file, of which the disk knows how much is durable.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use fastrand::Rng;

use super::content::{Content, Tag};
use crate::sys::FileId;
use crate::units::{narrow, wide};

/// Two files in one directory.
pub(super) struct Disk {
    pub(super) ledger: PathBuf,
    part: Option<Part>,
    parts: u64,
    epoch: u32,
    writes: u64,
    /// Syncs that have failed. Each opening of a file is told of those since (fsync(2)).
    pub(super) failures: u32,
}

struct Part {
    number: u64,
    durable: Content,
    /// Written and not synced, with the number of each write.
    dirty: Vec<(u64, Range<u64>, Tag)>,
    /// Bytes of the ledger that the disk has.
    ledger_durable: u64,
    /// The names are durable.
    is_anchored: bool,
}

/// What a sync covers that begins now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(u64);

impl Disk {
    pub(super) fn new(ledger: PathBuf) -> Self {
        let _ = fs::remove_file(&ledger);
        Self { ledger, part: None, parts: 0, epoch: 0, writes: 0, failures: 0 }
    }

    pub(super) fn epoch(&self) -> String {
        self.epoch.to_string()
    }

    /// The number of the part file, if there is one.
    pub(super) fn part(&self) -> Option<u64> {
        self.part.as_ref().map(|part| part.number)
    }

    /// What a ledger calls a part file.
    pub(super) fn name_of(number: u64) -> FileId {
        let text = format!(r#"{{"inode":{number},"born":[0,0],"device":null}}"#);
        serde_json::from_str(&text).expect("proof: this is how names are written")
    }

    pub(super) fn create(&mut self) -> u64 {
        self.parts += 1;
        let (durable, dirty) = (Content::default(), Vec::new());
        let number = self.parts;
        self.part = Some(Part { number, durable, dirty, ledger_durable: 0, is_anchored: false });
        number
    }

    pub(super) fn remove(&mut self) {
        self.part = None;
    }

    pub(super) fn write(&mut self, number: u64, range: Range<u64>, tag: Tag) {
        self.writes += 1;
        if let Some(part) = self.part.as_mut().filter(|part| part.number == number) {
            part.dirty.push((self.writes, range, tag));
        }
    }

    /// What whoever reads the part file sees.
    pub(super) fn cached(&self) -> Content {
        let Some(part) = &self.part else { return Content::default() };
        let mut content = part.durable.clone();
        part.dirty.iter().for_each(|(_, range, tag)| content.put(range.clone(), *tag));
        content
    }

    pub(super) fn durable(&self) -> Content {
        self.part.as_ref().map_or_else(Content::default, |part| part.durable.clone())
    }

    pub(super) fn begin_sync(&self) -> Mark {
        Mark(self.writes)
    }

    /// The disk has what was written before the mark.
    pub(super) fn synced(&mut self, mark: Mark) {
        self.settle(mark, |_| Kept::All);
    }

    /// The disk could not write some of it, and the page cache forgets that.
    pub(super) fn failed(&mut self, mark: Mark, rng: &mut Rng) {
        self.failures += 1;
        self.settle(mark, |_| {
            *rng.choice(&[Kept::All, Kept::Half, Kept::Nothing]).unwrap_or(&Kept::All)
        });
    }

    fn settle(&mut self, mark: Mark, mut kept: impl FnMut(u64) -> Kept) {
        let Some(part) = &mut self.part else { return };
        for (number, range, tag) in std::mem::take(&mut part.dirty) {
            match kept(number) {
                _ if number > mark.0 => part.dirty.push((number, range, tag)),
                Kept::All => part.durable.put(range, tag),
                Kept::Half => part.durable.put(range.start..range.start.midpoint(range.end), tag),
                Kept::Nothing => {}
            }
        }
    }

    pub(super) fn ledger_synced(&mut self, length: u64) {
        if let Some(part) = &mut self.part {
            part.ledger_durable = part.ledger_durable.max(length);
        }
    }

    pub(super) fn anchored(&mut self) {
        if let Some(part) = &mut self.part {
            part.is_anchored = true;
        }
    }

    /// The power fails: what was not synced is there or not, each write for itself, and the ledger has an end
    /// of some kind.
    pub(super) fn power_cut(&mut self, rng: &mut Rng) {
        self.epoch += 1;
        self.failed(Mark(u64::MAX), rng);
        let Some(part) = &self.part else { return };
        if let Ok(mut bytes) = fs::read(&self.ledger) {
            let durable = part.ledger_durable;
            let kept = narrow(rng.u64(durable..=wide(bytes.len()).max(durable)));
            let kept = kept.min(bytes.len());
            match rng.u8(0..4) {
                0 => bytes[kept..].fill(0),
                1 if kept < bytes.len() => bytes[kept] ^= 1 << rng.u8(0..8),
                _ => bytes.truncate(kept),
            }
            fs::write(&self.ledger, bytes).expect("proof: the directory is the test's own");
        }
        if !part.is_anchored && rng.bool() {
            let _ = fs::remove_file(&self.ledger);
        }
        if !part.is_anchored && rng.bool() {
            self.part = None;
        }
    }
}

/// What is left of a write.
#[derive(Clone, Copy)]
enum Kept {
    All,
    Half,
    Nothing,
}
