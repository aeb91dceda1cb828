//! A file that exists nowhere: its bytes are a pure function of seed, version and offset, so every byte of a
//! download can be checked and no byte has to be stored.

use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The unit of generating and comparing, in bytes.
const PIECE: usize = 1 << 20;

/// A virtual file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) size: u64,
    pub(crate) seed: u64,
    pub(crate) version: u64,
    pub(crate) validator: Validator,
}

/// Which validators the answers carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validator {
    /// A strong ETag and Last-Modified.
    Strong,
    /// A weak ETag alone.
    Weak,
    /// A Last-Modified that is far older than Date.
    Date,
    /// A Last-Modified equal to Date: the file may change again within the same second.
    FreshDate,
    /// Neither.
    None,
}

impl File {
    pub(crate) fn new(size: u64) -> Self {
        Self { size, seed: 0, version: 1, validator: Validator::Strong }
    }

    pub(crate) fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The same name at another time: other bytes, another ETag.
    pub(crate) fn version(self, version: u64) -> Self {
        Self { version, ..self }
    }

    pub(crate) fn validator(self, validator: Validator) -> Self {
        Self { validator, ..self }
    }

    /// When this version appeared, long ago: a strong date by RFC 9110 section 8.8.2.2.
    pub(crate) fn modified(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_500_000_000 + self.version)
    }

    pub(crate) fn etag(&self) -> String {
        format!("\"{:x}-{:x}-{:x}\"", self.seed, self.version, self.size)
    }

    /// Fills `out` with the bytes at `offset`. They come from an extendable hash, so no two places look
    /// alike.
    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes()).update(&self.version.to_le_bytes());
        let mut bytes = hasher.finalize_xof();
        bytes.set_position(offset);
        bytes.fill(out);
    }

    pub(crate) fn expected(&self, range: Range<u64>) -> Vec<u8> {
        assert!(range.end <= self.size, "{range:?} is not within {self:?}");
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
        self.read(range.start, &mut bytes);
        bytes
    }

    pub(crate) fn whole(&self) -> Vec<u8> {
        self.expected(0..self.size)
    }

    /// Says where `reader` first differs from this file, if it does.
    pub(crate) fn difference(&self, mut reader: impl Read) -> Option<String> {
        let mut found = Vec::with_capacity(PIECE);
        let mut wanted = vec![0; PIECE];
        let mut offset = 0;
        loop {
            found.clear();
            reader.by_ref().take(PIECE as u64).read_to_end(&mut found).unwrap();
            let end = offset + found.len() as u64;
            if end > self.size || (found.len() < PIECE && end < self.size) {
                return Some(format!("{} bytes wanted, at least {end} found", self.size));
            }
            let wanted = &mut wanted[..found.len()];
            self.read(offset, wanted);
            if found != wanted {
                let at = found.iter().zip(wanted).position(|(found, wanted)| found != wanted);
                return Some(format!("the first wrong byte is at {}", offset + at.unwrap() as u64));
            }
            if found.len() < PIECE {
                return None;
            }
            offset = end;
        }
    }
}

/// Panics unless the file at `path` holds exactly the bytes of `file`.
pub(crate) fn assert_file_is(path: &Path, file: &File) {
    let found =
        std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if let Some(difference) = file.difference(found) {
        panic!("{} is not {file:?}: {difference}", path.display());
    }
}
