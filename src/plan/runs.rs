//! A sorted set of runs of block indices. Two runs never touch: neighbours are merged.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of block indices, kept as runs.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    /// End of each run by its start.
    ends: BTreeMap<u32, u32>,
    blocks: u32,
}

impl Runs {
    /// All indices below `blocks`.
    pub(crate) fn full(blocks: u32) -> Self {
        let mut runs = Self::default();
        runs.insert(0..blocks);
        runs
    }

    /// Number of indices in the set.
    pub(crate) fn blocks(&self) -> u32 {
        self.blocks
    }

    /// The run with the lowest indices.
    pub(crate) fn lowest(&self) -> Option<Range<u32>> {
        self.ends.first_key_value().map(|(start, end)| *start..*end)
    }

    /// Adds a run, none of which may be in the set yet.
    pub(crate) fn insert(&mut self, run: Range<u32>) {
        if run.is_empty() {
            return;
        }
        self.blocks += run.end - run.start;
        let before = self.ends.range(..=run.start).next_back().map(|(start, end)| (*start, *end));
        let after = self.ends.range(run.start..).next().map(|(start, end)| (*start, *end));
        assert!(before.is_none_or(|(_, end)| end <= run.start), "{run:?} is free already");
        assert!(after.is_none_or(|(start, _)| run.end <= start), "{run:?} is free already");
        let start = match before {
            Some((start, end)) if end == run.start => start,
            _ => run.start,
        };
        let end = match after {
            Some((start, end)) if start == run.end => {
                self.ends.remove(&start);
                end
            }
            _ => run.end,
        };
        self.ends.insert(start, end);
    }

    /// Removes the head of a run.
    pub(crate) fn remove_head(&mut self, head: &Range<u32>) {
        let end = self.ends.remove(&head.start);
        let end = end.expect("proof: the caller has just seen this run");
        assert!(head.start < head.end && head.end <= end, "{head:?} is not the head of a run");
        self.blocks -= head.end - head.start;
        if head.end < end {
            self.ends.insert(head.end, end);
        }
    }

    /// Removes every index from `end` on.
    pub(crate) fn truncate(&mut self, end: u32) {
        for (start, run_end) in self.ends.split_off(&end) {
            self.blocks -= run_end - start;
        }
        if let Some(mut last) = self.ends.last_entry()
            && *last.get() > end
        {
            self.blocks -= *last.get() - end;
            *last.get_mut() = end;
        }
    }
}
