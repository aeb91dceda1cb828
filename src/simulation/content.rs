//! What lies in a file: not its bytes but where they came from, so that files of any size cost nothing.

use std::collections::BTreeMap;
use std::ops::Range;

/// Where bytes came from: a version of the file on the server, and how far from their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) version: usize,
    /// Their place in the version less their place in the file.
    pub(super) shift: i64,
}

/// Ranges of a file with their tags; what lies between was never written.
#[derive(Clone, Debug, Default)]
pub(super) struct Content(BTreeMap<u64, (u64, Tag)>);

impl Content {
    /// Overwrites a range.
    pub(super) fn put(&mut self, range: Range<u64>, tag: Tag) {
        if range.is_empty() {
            return;
        }
        let hit: Vec<_> =
            self.0.range(..range.end).map(|(start, (end, tag))| (*start, *end, *tag)).collect();
        for (start, end, old) in hit.into_iter().rev().take_while(|(_, end, _)| *end > range.start)
        {
            self.0.remove(&start);
            if start < range.start {
                self.0.insert(start, (range.start, old));
            }
            if end > range.end {
                self.0.insert(range.end, (end, old));
            }
        }
        self.0.insert(range.start, (range.end, tag));
    }

    /// The tag of all of a range; `None` where there are several, or holes.
    pub(super) fn only(&self, range: &Range<u64>) -> Option<Tag> {
        let (_, (mut reached, tag)) =
            self.0.range(..=range.start).next_back().map(|(at, rest)| (*at, *rest))?;
        if reached <= range.start {
            return None;
        }
        for (start, (end, next)) in self.0.range(range.start + 1..range.end) {
            if *start != reached || *next != tag {
                return None;
            }
            reached = *end;
        }
        (reached >= range.end).then_some(tag)
    }
}
