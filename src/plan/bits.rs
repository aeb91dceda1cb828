//! A growing set of block indices, one bit each. Indices beyond what was inserted are simply not in it.

use crate::units;

const WORD: u32 = u64::BITS;

/// A set of block indices.
#[derive(Debug)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// An empty set with room for the indices below `blocks`.
    pub(crate) fn with_room(blocks: u32) -> Self {
        Self { words: vec![0; index(blocks.div_ceil(WORD))] }
    }

    /// Whether `block` is in the set.
    pub(crate) fn contains(&self, block: u32) -> bool {
        self.word(block / WORD) >> (block % WORD) & 1 == 1
    }

    /// Adds `block`; false if it was there already.
    pub(crate) fn insert(&mut self, block: u32) -> bool {
        let at = index(block / WORD);
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        let bit = 1 << (block % WORD);
        let is_new = self.words[at] & bit == 0;
        self.words[at] |= bit;
        is_new
    }

    /// The first index in `from..end` that is in the set, or `end`.
    pub(crate) fn first_in(&self, from: u32, end: u32) -> u32 {
        // Beyond the last word nothing is in the set, however far `end` is.
        let stored = u32::try_from(self.words.len()).unwrap_or(u32::MAX).saturating_mul(WORD);
        scan(from, end.min(stored), |at| self.word(at)).unwrap_or(end)
    }

    /// The first index in `from..end` that is not in the set, or `end`.
    pub(crate) fn first_out(&self, from: u32, end: u32) -> u32 {
        scan(from, end, |at| !self.word(at)).unwrap_or(end)
    }

    fn word(&self, at: u32) -> u64 {
        self.words.get(index(at)).copied().unwrap_or(0)
    }
}

/// The first set bit in `from..end`, 64 at a time.
fn scan(from: u32, end: u32, word: impl Fn(u32) -> u64) -> Option<u32> {
    let mut start = from;
    while start < end {
        let rest = word(start / WORD) >> (start % WORD);
        if rest != 0 {
            return start.checked_add(rest.trailing_zeros()).filter(|found| *found < end);
        }
        start = (start / WORD + 1).checked_mul(WORD)?;
    }
    None
}

fn index(at: u32) -> usize {
    units::narrow(u64::from(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scans_stop_at_the_end_and_cross_words() {
        let mut bits = Bits::with_room(10);
        assert_eq!(bits.first_in(0, u32::MAX), u32::MAX);
        assert_eq!(bits.first_out(u32::MAX - 1, u32::MAX), u32::MAX - 1);
        for block in 60..200 {
            assert!(bits.insert(block));
        }
        assert!(!bits.insert(63));
        assert!(bits.contains(64) && !bits.contains(200) && !bits.contains(u32::MAX));
        assert_eq!(bits.first_in(0, 1000), 60);
        assert_eq!(bits.first_in(0, 59), 59);
        assert_eq!(bits.first_out(60, 1000), 200);
        assert_eq!(bits.first_out(60, 130), 130);
        assert_eq!(bits.first_in(200, u32::MAX), u32::MAX);
        assert_eq!(bits.first_in(7, 7), 7);
    }
}
