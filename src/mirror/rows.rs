//! The rows of entries that are to have the same bytes, and the fingerprints of what came right: on disk.
//!
//! What is read here was written by this run. Invariant: all rows have one length, so that a group can be
//! gone through as often as it takes.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::catalog::Record;
use crate::digest::Checksum;
use crate::limits::SORT_BUFFER_BYTES;
use crate::sorting::unnamed;
use crate::tree::Fingerprint;
use crate::units::{narrow, wide};

/// The groups of more than one entry, on disk.
pub(super) struct Twins {
    rows: File,
    count: u64,
    /// Paths that the list does not have.
    paths: File,
}

/// What is known of one entry of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) ordinal: u64,
    /// Where its entry is in the catalog, or its path among those that the list does not have.
    pub(super) position: u64,
    pub(super) class: Class,
    /// The size of the list, or of the file that is right.
    pub(super) size: Option<u64>,
    /// The file that is there, where it counts.
    pub(super) print: Fingerprint,
}

/// How an entry stands before anything is done. The order is that in which they come in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Its file is right: digest and fingerprint are those of the snapshot.
    Right,
    /// So is this file, and the list does not have it.
    Unlisted,
    /// A file is there, and nobody knows whether it is right.
    Unknown,
    /// It has to come from somewhere.
    Missing,
}

/// Writes groups of more than one.
pub(super) struct Writing {
    out: BufWriter<File>,
    count: u64,
    /// The first of a group, until there is a second.
    first: Option<Member>,
}

impl Writing {
    pub(super) fn new(state: &Path) -> io::Result<Self> {
        let out = BufWriter::with_capacity(SORT_BUFFER_BYTES, unnamed(state)?);
        Ok(Self { out, count: 0, first: None })
    }

    /// Begins a group.
    pub(super) fn begin(&mut self, first: Member) {
        self.first = Some(first);
    }

    /// Adds to the group that was begun last.
    pub(super) fn add(&mut self, member: &Member) -> io::Result<()> {
        if let Some(first) = self.first.take() {
            self.write(true, &first)?;
        }
        self.write(false, member)
    }

    fn write(&mut self, is_first: bool, member: &Member) -> io::Result<()> {
        self.count += 1;
        self.out.write_all(&[if is_first { FIRST } else { 0 }])?;
        self.out.write_all(&tail(member))
    }

    pub(super) fn finish(self, paths: Paths) -> io::Result<Twins> {
        let rows = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        let paths = paths.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Twins { rows, count: self.count, paths })
    }
}

/// Writes paths that the list does not have.
pub(super) struct Paths {
    out: BufWriter<File>,
    end: u64,
}

impl Paths {
    pub(super) fn new(state: &Path) -> io::Result<Self> {
        Ok(Self { out: BufWriter::with_capacity(SORT_BUFFER_BYTES, unnamed(state)?), end: 0 })
    }

    /// Where the path is then.
    pub(super) fn add(&mut self, path: &str) -> io::Result<u64> {
        let length = u32::try_from(path.len()).map_err(io::Error::other)?;
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(path.as_bytes())?;
        let at = self.end;
        self.end += 4 + wide(path.len());
        Ok(at)
    }
}

impl Twins {
    /// A path that the list does not have.
    pub(super) fn path(&self, position: u64) -> io::Result<String> {
        let mut length = [0; 4];
        self.paths.read_exact_at(&mut length, position)?;
        let mut path = vec![0; narrow(u64::from(u32::from_be_bytes(length)))];
        self.paths.read_exact_at(&mut path, position + 4)?;
        String::from_utf8(path).map_err(io::Error::other)
    }

    /// Rows of all groups.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The row of this number.
    pub(super) fn at(&self, row: u64) -> io::Result<Row> {
        let mut bytes = [0; 1 + TAIL_BYTES];
        self.rows.read_exact_at(&mut bytes, row * wide(1 + TAIL_BYTES))?;
        let odd = || io::Error::other("a waiting row of the run is damaged");
        let member = get(&bytes[1..]).ok_or_else(odd)?;
        Ok(Row { is_first: bytes[0] & FIRST != 0, is_named: bytes[0] & NAMED != 0, member })
    }

    /// Notes that the entry of a row has the name of its file.
    pub(super) fn mark(&self, row: u64) -> io::Result<()> {
        let first = if self.at(row)?.is_first { FIRST } else { 0 };
        self.rows.write_all_at(&[first | NAMED], row * wide(1 + TAIL_BYTES))
    }
}

/// A row as it is read back.
pub(super) struct Row {
    /// Whether a group begins with it.
    pub(super) is_first: bool,
    /// Whether its file was linked, and the books do not know yet.
    pub(super) is_named: bool,
    pub(super) member: Member,
}

/// The fingerprints of what came right in this run, by ordinal: a file with holes.
pub(super) struct Prints(File);

impl Prints {
    pub(super) fn new(state: &Path) -> io::Result<Self> {
        unnamed(state).map(Self)
    }

    /// Notes what became of an entry.
    pub(super) fn put(&self, ordinal: u64, record: &Record) -> io::Result<()> {
        let mut bytes = [1; 1 + PRINT_BYTES];
        bytes[1..].copy_from_slice(&print_bytes(&record.print()));
        self.0.write_all_at(&bytes, ordinal * wide(bytes.len()))
    }

    /// What was noted; `None` for what did not come right.
    pub(super) fn find(&self, ordinal: u64) -> io::Result<Option<Fingerprint>> {
        let mut bytes = [0; 1 + PRINT_BYTES];
        match self.0.read_exact_at(&mut bytes, ordinal * wide(1 + PRINT_BYTES)) {
            Ok(()) if bytes[0] == 1 => Ok(get_print(&bytes[1..])),
            Ok(()) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A row: the digest, and then what it is sorted by within it.
pub(super) fn row(checksum: &Checksum, member: &Member) -> Vec<u8> {
    let mut row = checksum.algo().name().as_bytes().to_vec();
    row.push(0);
    row.extend_from_slice(checksum.bytes());
    row.extend_from_slice(&tail(member));
    row
}

/// Class, inode and ordinal come first: numbers are sorted byte by byte.
fn tail(member: &Member) -> Vec<u8> {
    let mut tail = vec![member.class as u8];
    for number in [member.print.ino, member.ordinal, member.position] {
        tail.extend_from_slice(&number.to_be_bytes());
    }
    tail.push(u8::from(member.size.is_some()));
    tail.extend_from_slice(&member.size.unwrap_or(0).to_be_bytes());
    tail.extend_from_slice(&print_bytes(&member.print));
    tail
}

fn print_bytes(print: &Fingerprint) -> [u8; PRINT_BYTES] {
    let mut bytes = [0; PRINT_BYTES];
    bytes[..8].copy_from_slice(&print.size.to_be_bytes());
    bytes[8..16].copy_from_slice(&print.mtime_ns.to_be_bytes());
    bytes[16..24].copy_from_slice(&print.ino.to_be_bytes());
    bytes[24..].copy_from_slice(&print.ctime_ns.to_be_bytes());
    bytes
}

/// The digest and the member of a row.
pub(super) fn member(row: &[u8]) -> Option<(&[u8], Member)> {
    let (digest, tail) = row.split_at_checked(row.len().checked_sub(TAIL_BYTES)?)?;
    Some((digest, get(tail)?))
}

fn get(tail: &[u8]) -> Option<Member> {
    let number = |at: usize| Some(u64::from_be_bytes(tail.get(at..at + 8)?.try_into().ok()?));
    let class = match tail.first()? {
        0 => Class::Right,
        1 => Class::Unlisted,
        2 => Class::Unknown,
        3 => Class::Missing,
        _ => return None,
    };
    let size = number(26)?;
    Some(Member {
        class,
        ordinal: number(9)?,
        position: number(17)?,
        size: (tail.get(25) == Some(&1)).then_some(size),
        print: get_print(tail.get(34..)?)?,
    })
}

fn get_print(bytes: &[u8]) -> Option<Fingerprint> {
    let word = |at: usize| -> Option<[u8; 8]> { bytes.get(at..at + 8)?.try_into().ok() };
    Some(Fingerprint {
        size: u64::from_be_bytes(word(0)?),
        mtime_ns: i64::from_be_bytes(word(8)?),
        ino: u64::from_be_bytes(word(16)?),
        ctime_ns: i64::from_be_bytes(word(24)?),
    })
}

/// The print of what is not there.
pub(super) const NO_PRINT: Fingerprint = Fingerprint { size: 0, mtime_ns: 0, ino: 0, ctime_ns: 0 };
// What the first byte of a row says.
const FIRST: u8 = 1;
const NAMED: u8 = 2;
const PRINT_BYTES: usize = 32;
const TAIL_BYTES: usize = 34 + PRINT_BYTES;
