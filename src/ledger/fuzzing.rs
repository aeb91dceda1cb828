//! Ledgers that nobody of ours wrote, for the fuzz targets.

use super::extents::Extents;
use super::replay::{self, Replay};
use crate::units::narrow;

/// A ledger, once as it is and once with the right checksum in front of every line.
pub fn ledger(bytes: &[u8]) {
    replayed(bytes);
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').flat_map(|line| {
        let json = line.strip_suffix(b"\n").unwrap_or(line);
        [format!("{:08x} ", crc32fast::hash(json)).as_bytes(), line].concat()
    });
    replayed(&lines.collect::<Vec<_>>());
}

/// Fails if more is believed than intact lines say.
fn replayed(bytes: &[u8]) {
    let Ok(replay) = replay::read(bytes) else { return };
    let intact = &bytes[..narrow(replay.length)];
    assert!(intact.ends_with(b"\n"), "a line without an end counts");
    assert_eq!(replay::read(intact).as_ref(), Ok(&replay), "what is torn has a say");
    assert!(!intact.is_empty() && replay.head.format == super::FORMAT);
    let named = named(intact);
    let mut epochs = epochs(intact);
    epochs.push("another".to_owned());
    for epoch in &epochs {
        let landed = replay.landed(epoch);
        assert!(covers(&landed, &replay.durable), "what is durable has landed");
        assert!(covers(&named, &landed), "{landed:?} are in no line");
        assert!(landed.iter().all(|range| range.end <= replay.head.size));
    }
    cut_anywhere(bytes, &replay);
}

/// Fails if a power cut within the ledger adds to what is believed, or takes more than the line it hit.
fn cut_anywhere(bytes: &[u8], whole: &Replay) {
    let takes_back = records(bytes).any(|record| !record["wrong"].is_null());
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    for end in ends.take(LINES_MAX) {
        let Ok(replay) = replay::read(&bytes[..end]) else { continue };
        assert!(takes_back || covers(&whole.durable, &replay.durable), "less than there was");
        assert!(replay.writes <= whole.writes && replay.length <= whole.length);
        let torn = replay::read(&bytes[..bytes.len().min(end + 9)]);
        let is_torn = !bytes[end..].iter().take(9).any(|byte| *byte == b'\n');
        assert!(!is_torn || torn == Ok(replay), "a torn line has a say");
    }
}

/// All bytes that any line names, read without regard to order.
fn named(intact: &[u8]) -> Extents {
    let mut named = Extents::default();
    for record in records(intact) {
        for range in record["written"].as_array().into_iter().flatten() {
            if let (Some(start), Some(end)) = (range[0].as_u64(), range[1].as_u64()) {
                named.insert(start..end);
            }
        }
    }
    named
}

fn epochs(intact: &[u8]) -> Vec<String> {
    let epoch = |record: serde_json::Value| record["begin"]["epoch"].as_str().map(str::to_owned);
    records(intact).filter_map(epoch).take(LINES_MAX).collect()
}

fn records(intact: &[u8]) -> impl Iterator<Item = serde_json::Value> {
    let lines = intact.split(|byte| *byte == b'\n');
    lines.filter_map(|line| serde_json::from_slice(line.get(9..)?).ok())
}

/// Whether all of `part` is in `all`.
fn covers(all: &Extents, part: &Extents) -> bool {
    let mut both = all.clone();
    part.iter().for_each(|range| both.insert(range));
    both == *all
}

/// Lines that are looked at one by one.
const LINES_MAX: usize = 64;
