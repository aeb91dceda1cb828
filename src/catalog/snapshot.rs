//! What earlier runs know of the files, sorted by path: read once from front to back beside a catalog.
//!
//! A frame that is damaged ends it: what is behind is not known, and looked at again.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use super::encoding::{Reader, Writer, get_record, put_record};
use crate::digest::Checksum;
use crate::error::{Error, Result};
use crate::limits::{FRAME_BYTES_MAX, SORT_BUFFER_BYTES};
use crate::tree::Fingerprint;
use crate::units::narrow;

/// What is known of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) path: String,
    /// Where it came from, as the list had it.
    pub(crate) url: String,
    pub(crate) checksum: Option<Checksum>,
    /// The file at that time.
    pub(crate) size: u64,
    pub(crate) mtime_ns: i64,
    pub(crate) ino: u64,
    pub(crate) ctime_ns: i64,
    /// What the server said, as it came.
    pub(crate) etag: Option<Vec<u8>>,
    pub(crate) last_modified: Option<String>,
    pub(crate) proof: Proof,
}

/// What says that the bytes are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A digest of the list.
    Digest,
    /// The length, and an answer that came whole.
    Length,
    /// Nothing any more: the machine went down before it was on disk. Size and date may be right all the
    /// same.
    Lost,
    /// Nothing any more: a sync has failed. The page cache may show bytes that the disk never got, so to read
    /// the file again proves nothing.
    Unsynced,
}

impl Record {
    /// Whether a file is still the one of this record.
    pub(crate) fn is_of(&self, there: &Fingerprint) -> bool {
        self.print() == *there
    }

    /// The file of this record.
    pub(crate) fn print(&self) -> Fingerprint {
        Fingerprint {
            size: self.size,
            mtime_ns: self.mtime_ns,
            ino: self.ino,
            ctime_ns: self.ctime_ns,
        }
    }
}

/// Records in order of their paths.
pub(crate) struct Snapshot {
    frames: Option<Frames<BufReader<File>>>,
    next: Option<Record>,
}

impl Snapshot {
    /// Opens a snapshot; one that is missing knows nothing.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let frames = match File::open(path) {
            Ok(file) => Some(Frames(BufReader::with_capacity(SORT_BUFFER_BYTES, file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::local("open", path, error)),
        };
        let mut snapshot = Self { frames, next: None };
        snapshot.next = snapshot.read();
        Ok(snapshot)
    }

    /// The record of a path, if there is one. Paths must be asked for in order.
    #[cfg(test)]
    pub(crate) fn join(&mut self, path: &str) -> Option<Record> {
        while self.before(path).is_some() {}
        self.take(path)
    }

    /// The next record of a path before this one; when there is none any more, [`Self::take`] has the one of
    /// the path itself.
    pub(crate) fn before(&mut self, path: &str) -> Option<Record> {
        self.next.as_ref().filter(|next| next.path.as_str() < path)?;
        self.advance()
    }

    /// The record of a path whose forerunners have been taken.
    pub(crate) fn take(&mut self, path: &str) -> Option<Record> {
        self.next.as_ref().filter(|next| next.path == path)?;
        self.advance()
    }

    /// The next record.
    pub(crate) fn advance(&mut self) -> Option<Record> {
        let next = self.read();
        std::mem::replace(&mut self.next, next)
    }

    /// The path that is next.
    pub(super) fn path(&self) -> Option<&str> {
        self.next.as_ref().map(|next| next.path.as_str())
    }

    fn read(&mut self) -> Option<Record> {
        let frame = self.frames.as_mut()?.next()?;
        get_record(&mut Reader(&frame))
    }
}

/// A row of frames: length, checksum, payload.
pub(super) struct Frames<R>(pub(super) R);

impl<R: Read> Frames<R> {
    /// The payload of the next frame; `None` at the end, and before anything that is damaged.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        let mut head = [0; 8];
        self.0.read_exact(&mut head).ok()?;
        let [a, b, c, d, sum @ ..] = head;
        let length = u64::from(u32::from_le_bytes([a, b, c, d]));
        if length > FRAME_BYTES_MAX {
            return None;
        }
        let mut payload = vec![0; narrow(length)];
        self.0.read_exact(&mut payload).ok()?;
        (crc32fast::hash(&payload) == u32::from_le_bytes(sum)).then_some(payload)
    }
}

/// Writes a frame.
pub(super) fn put_frame(out: &mut impl Write, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&crc32fast::hash(payload).to_le_bytes())?;
    out.write_all(payload)
}

/// Writes records to a snapshot.
pub(super) fn put(out: &mut BufWriter<File>, record: &Record) -> io::Result<()> {
    let mut payload = Vec::new();
    put_record(&mut Writer(&mut payload), record);
    put_frame(out, &payload)
}
