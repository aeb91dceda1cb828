//! Digests of the stretches of a file: all of one length, but for the last (RFC 5854 section 4.2.12).
//!
//! They tell where a file is wrong. It opens no file and judges no download. Its invariant: a set has as many
//! digests as it says, each as long as its algorithm makes them.

use std::fs::File;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use memmap2::MmapMut;

use super::follower::read_back;
use super::{Algo, Checksum, Hasher};
use crate::error::Result;
use crate::limits::{
    DIGEST_READ_BYTES, STRETCH_BYTES_MAX, STRETCH_BYTES_MIN, STRETCH_DIGESTS_BYTES_MAX,
};
use crate::meter::Meter;
use crate::units::{narrow, wide};

/// Digests of the stretches of a file, in their order.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Stretches {
    algo: Algo,
    length: u64,
    /// One behind the other.
    digests: Box<[u8]>,
}

impl Stretches {
    /// A set for stretches of `length` bytes, whose digests are one behind the other.
    ///
    /// # Errors
    /// A sentence for the user: no digests, too many, a part of one, or a length out of bounds.
    pub(crate) fn new(algo: Algo, length: u64, digests: Vec<u8>) -> Result<Self, String> {
        if !(STRETCH_BYTES_MIN..=STRETCH_BYTES_MAX).contains(&length) {
            return Err(format!("stretches of {length} bytes are too short or too long"));
        }
        if digests.is_empty() || !digests.len().is_multiple_of(algo.digest_len()) {
            return Err("there are no digests of stretches, or a part of one".into());
        }
        if digests.len() > STRETCH_DIGESTS_BYTES_MAX {
            return Err("there are too many digests of stretches".into());
        }
        Ok(Self { algo, length, digests: digests.into() })
    }

    pub(crate) fn algo(&self) -> Algo {
        self.algo
    }

    /// The length of all stretches but the last, in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The digests, one behind the other.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.digests
    }

    pub(crate) fn count(&self) -> u64 {
        wide(self.digests.len() / self.algo.digest_len())
    }

    /// Whether they cover a file of `size` bytes, no more and no less.
    pub(crate) fn covers(&self, size: u64) -> bool {
        size.div_ceil(self.length) == self.count()
    }

    /// The bytes of a stretch in a file of `size` bytes.
    pub(crate) fn extent(&self, index: u64, size: u64) -> Range<u64> {
        let start = index.saturating_mul(self.length).min(size);
        start..start.saturating_add(self.length).min(size)
    }

    /// What ties a download to this set and no other.
    pub(crate) fn identity(&self) -> String {
        let hash = blake3::hash(&self.digests);
        format!("stretches {} {} {}", self.algo.name(), self.length, hash.to_hex())
    }

    /// The same as a digest: files of one size that have it are the same.
    pub(crate) fn mark(&self) -> Checksum {
        Checksum::new(Algo::Blake3, blake3::hash(self.identity().as_bytes()).as_bytes())
    }

    fn digest(&self, index: u64) -> Option<&[u8]> {
        self.digests.chunks_exact(self.algo.digest_len()).nth(narrow(index))
    }
}

impl std::fmt::Debug for Stretches {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Stretches({})", self.identity())
    }
}

/// Compares the bytes of a file with the digests of its stretches, from its first byte on.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    stretches: &'a Stretches,
    hasher: Hasher,
    /// Bytes that went through.
    done: u64,
    wrong: Vec<u64>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(stretches: &'a Stretches) -> Self {
        Self { stretches, hasher: Hasher::new(stretches.algo), done: 0, wrong: Vec::new() }
    }

    /// Takes the bytes that follow all bytes before.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let left = self.stretches.length - self.done % self.stretches.length;
            let (these, rest) = bytes.split_at(bytes.len().min(narrow(left)));
            self.hasher.update(these);
            self.done += wide(these.len());
            bytes = rest;
            if wide(these.len()) == left {
                self.turn();
            }
        }
    }

    /// Ends the file: the stretches that are wrong, and those that the set has no digest for or that it has
    /// beyond the end.
    pub(crate) fn finish(mut self) -> Vec<u64> {
        if !self.done.is_multiple_of(self.stretches.length) {
            self.turn();
        }
        self.wrong.extend(self.done.div_ceil(self.stretches.length)..self.stretches.count());
        self.wrong
    }

    /// Ends the stretch of the last byte.
    fn turn(&mut self) {
        let algo = self.stretches.algo;
        let found = std::mem::replace(&mut self.hasher, Hasher::new(algo)).finish();
        let index = (self.done - 1) / self.stretches.length;
        let is_right = self.stretches.digest(index).is_some_and(|wanted| found.bytes() == wanted);
        // A file that goes on and on makes the list no longer.
        if !is_right && index <= self.stretches.count() {
            self.wrong.push(index);
        }
    }
}

/// Reads a file of `size` bytes back and tells which of its stretches are wrong; nothing if `stopped` was set
/// meanwhile. The file is open for reading, with or without O_DIRECT.
///
/// # Errors
/// If it cannot be read to its end; the offset beside it.
pub(crate) fn wrong_in(
    file: &File,
    size: u64,
    stretches: &Stretches,
    meter: &Meter,
    stopped: &AtomicBool,
) -> Result<Option<Vec<u64>>, (u64, std::io::Error)> {
    let mut buffer = MmapMut::map_anon(DIGEST_READ_BYTES).map_err(|error| (0, error))?;
    let mut judge = Judge::new(stretches);
    let mut at = 0;
    while at < size {
        if stopped.load(Relaxed) {
            return Ok(None);
        }
        let length = narrow((size - at).min(wide(DIGEST_READ_BYTES)));
        read_back(file, &mut buffer, at, length)?;
        judge.update(&buffer[..length]);
        at += wide(length);
        meter.add_digested(wide(length));
    }
    Ok(Some(judge.finish()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LENGTH: u64 = STRETCH_BYTES_MIN;

    fn content(size: u64) -> Vec<u8> {
        (0..size).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect()
    }

    fn set(bytes: &[u8], algo: Algo) -> Stretches {
        let digest = |part: &[u8]| {
            let mut hasher = Hasher::new(algo);
            hasher.update(part);
            hasher.finish().bytes().to_vec()
        };
        let digests = bytes.chunks(narrow(LENGTH)).flat_map(digest).collect();
        Stretches::new(algo, LENGTH, digests).unwrap()
    }

    proptest! {
        #[test]
        fn exactly_the_stretches_with_a_wrong_byte_are_wrong(
            size in 1..5 * LENGTH,
            flips in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
            cuts in prop::collection::vec(1..3 * LENGTH, 1..5),
        ) {
            let mut bytes = content(size);
            let stretches = set(&bytes, Algo::Md5);
            let mut wanted: Vec<u64> = Vec::new();
            let places: std::collections::BTreeSet<_> =
                flips.iter().map(|at| at.index(bytes.len())).collect();
            for at in places {
                bytes[at] ^= 1;
                wanted.push(wide(at) / LENGTH);
            }
            wanted.dedup();
            let mut judge = Judge::new(&stretches);
            let (mut rest, mut cuts) = (bytes.as_slice(), cuts.iter().cycle());
            while !rest.is_empty() {
                let cut = rest.len().min(narrow(*cuts.next().unwrap()));
                judge.update(&rest[..cut]);
                rest = &rest[cut..];
            }
            prop_assert_eq!(judge.finish(), wanted);
        }
    }

    #[test]
    fn a_file_of_another_length_is_wrong_where_it_ends() {
        let bytes = content(3 * LENGTH + 5);
        let stretches = set(&bytes, Algo::Sha256);
        assert!(stretches.covers(3 * LENGTH + 5) && stretches.covers(4 * LENGTH));
        assert!(!stretches.covers(3 * LENGTH) && !stretches.covers(4 * LENGTH + 1));
        assert_eq!(stretches.extent(3, 3 * LENGTH + 5), 3 * LENGTH..3 * LENGTH + 5);
        let judged = |length: u64| {
            let mut judge = Judge::new(&stretches);
            let long = content(9 * LENGTH);
            judge.update(&long[..narrow(length)]);
            judge.finish()
        };
        assert_eq!(judged(3 * LENGTH + 5), [0; 0]);
        assert_eq!(judged(3 * LENGTH + 4), [3]);
        assert_eq!(judged(LENGTH), [1, 2, 3]);
        assert_eq!(judged(0), [0, 1, 2, 3]);
        assert_eq!(judged(9 * LENGTH), [3, 4], "no more than there are digests, and one");
    }

    #[test]
    fn a_file_is_read_back_to_its_end() {
        let size = wide(DIGEST_READ_BYTES) + LENGTH + 3;
        let mut bytes = content(size);
        let stretches = set(&bytes, Algo::Sha1);
        let file = tempfile::NamedTempFile::new().unwrap();
        bytes[DIGEST_READ_BYTES] ^= 1;
        std::fs::write(file.path(), &bytes).unwrap();
        let stopped = AtomicBool::new(false);
        let wrong = |size| {
            wrong_in(file.as_file(), size, &stretches, &Meter::default(), &stopped)
                .map_err(|(at, _)| at)
        };
        assert_eq!(wrong(size), Ok(Some(vec![wide(DIGEST_READ_BYTES) / LENGTH])));
        assert_eq!(wrong(size + 1), Err(size), "it is shorter than it should be");
        stopped.store(true, Relaxed);
        assert_eq!(wrong(size), Ok(None));
    }

    #[test]
    fn a_set_that_cannot_be_is_none() {
        let new = |length, digests| Stretches::new(Algo::Md5, length, vec![0; digests]).is_ok();
        assert!(new(LENGTH, 16) && new(STRETCH_BYTES_MAX, 16 * 9));
        assert!(
            new(LENGTH, STRETCH_DIGESTS_BYTES_MAX) && !new(LENGTH, STRETCH_DIGESTS_BYTES_MAX + 16)
        );
        assert!(!new(LENGTH - 1, 16) && !new(STRETCH_BYTES_MAX + 1, 16) && !new(0, 16));
        assert!(!new(LENGTH, 0) && !new(LENGTH, 15) && !new(LENGTH, 17));
    }
}
