//! Long ledgers, for `benches/rules.rs`.

use std::fs::File;
use std::path::Path;

use super::record::Record;
use super::{FORMAT, Head, Ledger, replay as reading};
use crate::limits::LEDGER_WRITES;

/// Bytes that a line names.
const LINE: u64 = 1 << 20;
/// Lanes that filled the file, each its own share from front to back.
const LANES: u64 = 4;
/// Lines after which there was a sync.
const SYNCED_LINES: u64 = 512;
/// As many bytes as a ledger notes one line at a time.
const SIZE: u64 = LINE * LEDGER_WRITES;

/// The text of a ledger of `part` with so many lines of landed bytes, and syncs among them. All is durable
/// but the last few lines.
///
/// # Panics
/// If the file cannot be looked at.
pub fn ledger(part: &File, lines: u64) -> Vec<u8> {
    let mut text = Record::Head(head(part)).line();
    text += &Record::Begin { epoch: EPOCH.into(), cached: false }.line();
    for line in 0..lines {
        let start = (line % LANES * (lines / LANES) + line / LANES) * LINE;
        text += &Record::Written(vec![(start, start + LINE)]).line();
        if line % SYNCED_LINES == SYNCED_LINES - 1 {
            text += &Record::Durable(line).line();
        }
    }
    text.into_bytes()
}

/// Reads a ledger; returns the bytes that it says are there.
///
/// # Panics
/// If it is damaged.
pub fn replay(text: &[u8]) -> u64 {
    let replay = reading::read(text).expect("proof: the caller has it from `ledger`");
    replay.landed(EPOCH).bytes()
}

/// A ledger to append to.
pub struct Log(Ledger);

impl Log {
    /// A new ledger in a directory, in place of one that was there.
    ///
    /// # Panics
    /// If the directory takes no file.
    pub fn create(dir: &Path) -> Self {
        let path = dir.join("ledger");
        // There may be none.
        let _ = std::fs::remove_file(&path);
        let part = File::create(dir.join("part")).expect("proof: the caller may write there");
        let ledger = Ledger::create(&path, &part, head(&part), EPOCH.into(), false);
        Self(ledger.expect("proof: the caller may write there"))
    }

    /// Notes that a block has landed, by a line.
    pub fn append(&self, block: u64) {
        // Every other one, so that each line names a range of its own.
        let start = block * 2 * LINE;
        self.0.landed(start..start + LINE);
    }
}

fn head(part: &File) -> Head {
    Head {
        format: FORMAT,
        url: "f0e1".repeat(16),
        digest: None,
        size: SIZE,
        etag: Some("\"6920254c-80000000\"".into()),
        last_modified: Some("Sat, 21 Nov 2026 08:30:00 GMT".into()),
        date_is_strong: true,
        is_page: Some(false),
        part: crate::sys::file_id(part).expect("proof: an open file can be looked at"),
        allocated: true,
    }
}

const EPOCH: &str = "b1e9b7c2d4a64b0f";
