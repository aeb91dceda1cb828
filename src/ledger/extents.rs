//! A set of bytes of one file, as ranges that neither touch nor overlap.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges of file offsets, ascending, with a gap between any two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extents {
    /// End of each range by its start.
    ends: BTreeMap<u64, u64>,
    bytes: u64,
}

impl Extents {
    /// Adds a range; what of it was there already stays there once.
    pub(crate) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        // All that overlap or touch begin at or before the end; from behind until one lies clear in front.
        while let Some((&there, &until)) = self.ends.range(..=end).next_back() {
            if until < start {
                break;
            }
            self.ends.remove(&there);
            self.bytes -= until - there;
            (start, end) = (start.min(there), end.max(until));
        }
        self.ends.insert(start, end);
        self.bytes += end - start;
    }

    /// Takes a range out; what of it was not there changes nothing.
    pub(crate) fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        while let Some((&there, &until)) = self.ends.range(..range.end).next_back() {
            if until <= range.start {
                break;
            }
            self.ends.remove(&there);
            self.bytes -= until - there;
            // What is left on either side; only the front can be met again, and it ends before the range.
            self.insert(there..range.start.max(there));
            self.insert(range.end.min(until)..until);
        }
    }

    /// Whether a byte of a range is in the set.
    pub(crate) fn overlaps(&self, range: &Range<u64>) -> bool {
        let last = self.ends.range(..range.end).next_back();
        !range.is_empty() && last.is_some_and(|(_, until)| *until > range.start)
    }

    /// The ranges in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ends.iter().map(|(start, end)| *start..*end)
    }

    /// Bytes in all ranges together.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Empties the set and returns what was in it.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_the_set_of_their_bytes(
            ranges in prop::collection::vec((0..60u64, 0..12u64, 0..3), 0..30)
        ) {
            let (mut extents, mut model) = (Extents::default(), BTreeSet::new());
            for (start, length, kind) in ranges {
                if kind == 0 {
                    extents.remove(start..start + length);
                    model.retain(|at| !(start..start + length).contains(at));
                } else {
                    extents.insert(start..start + length);
                    model.extend(start..start + length);
                }
                let overlaps = extents.overlaps(&(start..start + length));
                prop_assert_eq!(overlaps, kind != 0 && length > 0);
                let (near, far) = (start + 5, start + 5 + length);
                prop_assert_eq!(extents.overlaps(&(near..far)), model.range(near..far).next().is_some());
                let bytes: Vec<_> = extents.iter().flatten().collect();
                prop_assert_eq!(&bytes, &model.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(extents.bytes(), u64::try_from(model.len()).unwrap());
                let ranges: Vec<_> = extents.iter().collect();
                prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
        }
    }
}
