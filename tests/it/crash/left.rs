//! What a run has left beside its target, read without the code under test, and held against the file.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::harness::Outcome;
use crate::origin::File;

/// A part file and its ledger.
pub(crate) struct Left {
    part: PathBuf,
    pub(crate) ledger: PathBuf,
    /// The lines that are intact.
    pub(crate) lines: Vec<Value>,
}

/// A `written` line: its number, and bytes that it names.
type Line = (u64, Range<usize>);

/// The smallest block of all runs, in bytes.
pub(crate) const GRAIN: u64 = 16 << 10;

/// Words of the request that no file may hold.
pub(crate) const SECRETS: [&str; 4] = ["s3cr3t", "127.0.0.1", "http", "f.bin"];

impl Left {
    /// `None` where there is nothing to go on with.
    pub(crate) fn of(outcome: &Outcome) -> Option<Self> {
        let left = Self::at(outcome.left("part")?, outcome.left("ledger")?)?;
        // A death may leave a fresh part file beside the ledger of the one before.
        (left.lines[0]["head"]["part"] == name_of(&left.part)).then_some(left)
    }

    /// From these two files, or copies of them.
    pub(crate) fn at(part: PathBuf, ledger: PathBuf) -> Option<Self> {
        let text = fs::read(&ledger).unwrap();
        let lines: Vec<_> = text.split(|byte| *byte == b'\n').map_while(intact).collect();
        (!lines.is_empty()).then_some(Self { part, ledger, lines })
    }

    /// The tag of the version that it belongs to.
    pub(crate) fn etag(&self) -> &str {
        self.lines[0]["head"]["etag"].as_str().unwrap()
    }

    fn size(&self) -> usize {
        usize::try_from(self.lines[0]["head"]["size"].as_u64().unwrap()).unwrap()
    }

    /// What it says is there as long as the machine and the mount live, by bytes of the file.
    pub(crate) fn landed(&self) -> Vec<bool> {
        let (mut landed, written, syncing) = self.replay();
        let believed = written.into_iter().filter(|(number, _)| *number > syncing);
        believed.for_each(|(_, range)| landed[range].fill(true));
        landed
    }

    /// What any line names, whether it is believed or not.
    fn named(&self) -> Vec<bool> {
        let mut named = vec![false; self.size()];
        let lines = self.lines.iter().filter_map(|line| line["written"].as_array());
        lines.flatten().for_each(|pair| named[range_of(pair)].fill(true));
        named
    }

    /// What it says is there whatever happens, by bytes of the file.
    pub(crate) fn durable(&self) -> Vec<bool> {
        self.replay().0
    }

    /// What is durable, and what was only written since, each with the number of its line; and up to which
    /// line a sync has ended unheard.
    fn replay(&self) -> (Vec<bool>, Vec<Line>, u64) {
        let mut durable = vec![false; self.size()];
        let (mut pending, mut writes, mut epoch) = (Vec::new(), 0, &Value::Null);
        let mut syncing = 0;
        for line in &self.lines {
            if let Some(begun) = line.get("begin").map(|begin| &begin["epoch"]) {
                if *begun != *epoch {
                    pending.clear();
                }
                pending.retain(|(number, _)| *number > syncing);
                syncing = 0;
                epoch = begun;
            }
            if let Some(ranges) = line["written"].as_array() {
                writes += 1;
                pending.extend(ranges.iter().map(|pair| (writes, range_of(pair))));
            }
            syncing = line["syncing"].as_u64().unwrap_or(syncing);
            if let Some(count) = line["durable"].as_u64() {
                syncing = 0;
                let synced = pending.iter().filter(|(number, _)| *number <= count);
                synced.for_each(|(_, range)| durable[range.clone()].fill(true));
                pending.retain(|(number, _)| *number > count);
            }
            if *line == "lost" {
                syncing = 0;
                pending.clear();
            }
        }
        (durable, pending, syncing)
    }

    /// Every byte that it says is durable is there.
    pub(crate) fn check_durable(&self, file: &File) {
        let (durable, found, wanted) =
            (self.durable(), fs::read(&self.part).unwrap(), file.whole());
        let wrong =
            (0..durable.len()).find(|at| durable[*at] && found.get(*at) != Some(&wanted[*at]));
        assert_eq!(wrong, None, "the ledger says that this byte is durable: {:?}", self.lines);
    }

    /// Holds what it says against `file`, and returns which bytes of whole [`GRAIN`]s are right and in no
    /// line.
    pub(crate) fn check(&self, file: &File) -> Vec<bool> {
        assert_eq!(self.etag(), file.etag());
        let (landed, found, wanted) = (self.landed(), fs::read(&self.part).unwrap(), file.whole());
        let wrong =
            (0..landed.len()).find(|at| landed[*at] && found.get(*at) != Some(&wanted[*at]));
        assert_eq!(wrong, None, "the ledger says that this byte is there: {:?}", self.lines);
        let named = self.named();
        let is_unknown = |block: &Range<usize>| {
            found.get(block.clone()) == Some(&wanted[block.clone()]) && !named[block.clone()][0]
        };
        let mut unknown = vec![false; landed.len()];
        for block in blocks(file.size, GRAIN).filter(is_unknown) {
            unknown[block].fill(true);
        }
        unknown
    }

    /// Neither file tells where the bytes come from.
    pub(crate) fn check_secrets(&self) {
        let ledger = String::from_utf8_lossy(&fs::read(&self.ledger).unwrap()).into_owned();
        assert_eq!(SECRETS.iter().find(|secret| ledger.contains(**secret)), None, "{ledger}");
        assert!(!holds(&self.part, SECRETS[0]));
    }
}

/// The blocks of a file.
pub(crate) fn blocks(size: u64, block_size: u64) -> impl Iterator<Item = Range<usize>> {
    let at = move |offset: u64| usize::try_from(offset.min(size)).unwrap();
    (0..size.div_ceil(block_size))
        .map(move |index| at(index * block_size)..at((index + 1) * block_size))
}

/// What a ledger calls a file: its inode and its birth.
fn name_of(path: &Path) -> Value {
    let meta = fs::metadata(path).unwrap();
    let born = meta.created().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let born = [born.as_secs(), born.subsec_nanos().into()];
    json!({ "inode": meta.ino(), "born": born, "device": null })
}

fn range_of(pair: &Value) -> Range<usize> {
    let [start, end] = [0, 1].map(|at| usize::try_from(pair[at].as_u64().unwrap()).unwrap());
    start..end
}

fn intact(line: &[u8]) -> Option<Value> {
    let (sum, json) = line.split_at_checked(9)?;
    let sum = u32::from_str_radix(std::str::from_utf8(&sum[..8]).ok()?, 16).ok()?;
    (sum == crc32fast::hash(json)).then(|| serde_json::from_slice(json).unwrap())
}

fn holds(path: &Path, word: &str) -> bool {
    fs::read(path).unwrap().windows(word.len()).any(|bytes| bytes == word.as_bytes())
}
