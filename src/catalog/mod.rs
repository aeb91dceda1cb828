//! The list of a mirror, sorted by path, and what earlier runs know of the files: all of it on disk.
//!
//! An entry's place in the sorted list is its ordinal, from 0 without a gap; the books of a run are kept by
//! it.
//! The catalog does not change once it is built, and goes with the run. What lasts is the state: a snapshot,
//! sorted like the catalog, and the journal of what happened since (`state`).
//!
//! Invariant: a path has one entry, and no entry is a directory of another.

mod encoding;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use self::encoding::{Reader, Writer, get_bad, get_entry, put_bad, put_entry};
pub(crate) use self::snapshot::{Proof, Record, Snapshot};
pub(crate) use self::state::{Journal, State};
use crate::error::{Error, Escaped, Kind, Result};
use crate::limits::{SORT_BUFFER_BYTES, SORT_BYTES_MAX};
use crate::manifest::{BadLine, Entry, Found};
use crate::sorting::{Sorter, unnamed};
use crate::units::{narrow, wide};

/// Takes the entries of a list in any order.
pub(crate) struct Builder {
    directory: PathBuf,
    sorter: Sorter,
    bad: Rows,
}

/// A file of rows while it is written.
struct Rows {
    out: BufWriter<File>,
    count: u64,
    end: u64,
}

/// The sorted list.
pub(crate) struct Catalog {
    entries: File,
    len: u64,
    end: u64,
    bad: File,
    bad_len: u64,
    bad_end: u64,
    duplicates: u64,
}

/// Walks the catalog in order.
pub(crate) struct Entries<'a> {
    rows: RowReader<'a>,
    ordinal: u64,
}

/// Reads rows one after the other.
struct RowReader<'a> {
    file: &'a File,
    end: u64,
    at: u64,
    buffer: Vec<u8>,
    used: usize,
}

impl Builder {
    /// A builder whose files are in `directory`, without names.
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let sorter = Sorter::new(directory, SORT_BYTES_MAX);
        Ok(Self { directory: directory.to_owned(), sorter, bad: Rows::new(directory)? })
    }

    /// Takes what was found in a list.
    pub(crate) fn push(&mut self, found: Found) -> Result<()> {
        match found {
            Found::Entry(entry) => {
                // Sorted by path, then by line; no path holds a zero byte.
                let mut row = entry.path.as_bytes().to_vec();
                row.push(0);
                row.extend_from_slice(&entry.line.to_be_bytes());
                put_entry(&mut Writer(&mut row), &entry);
                self.sorter.push(&row).map_err(|error| failed(&self.directory, error))
            }
            Found::Bad(bad) => self.add_bad(&bad),
            Found::Doubt(_) => Ok(()),
        }
    }

    fn add_bad(&mut self, bad: &BadLine) -> Result<()> {
        let mut row = Vec::new();
        put_bad(&mut Writer(&mut row), bad);
        self.bad.push(&row).map_err(|error| failed(&self.directory, error)).map(|_| ())
    }

    /// Sorts, and turns away what cannot be beside what came before it.
    ///
    /// # Errors
    /// If a file cannot be written or read. Whatever `check` says, which is asked at each entry.
    pub(crate) fn finish(mut self, check: &dyn Fn() -> Result<()>) -> Result<Catalog> {
        let directory = self.directory.clone();
        let failed = |error| failed(&directory, error);
        let sorter = std::mem::replace(&mut self.sorter, Sorter::new(&self.directory, 0));
        let mut sorted = sorter.finish().map_err(failed)?;
        let mut rows = Rows::new(&self.directory)?;
        // Entries whose paths are the beginning of the current one.
        let mut above: Vec<Above> = Vec::new();
        let mut duplicates = 0;
        while let Some(row) = sorted.next().map_err(failed)? {
            check()?;
            let path_end = row.iter().position(|byte| *byte == 0).unwrap_or(row.len());
            let Some(entry) = get_entry(&mut Reader(&row[path_end + LINE_BYTES..])) else {
                return Err(damaged(&self.directory));
            };
            while above.last().is_some_and(|last| !entry.path.starts_with(&last.0.path)) {
                above.pop();
            }
            let conflict = above.iter().find(|Above(other, _)| {
                let rest = entry.path.get(other.path.len()..).unwrap_or_default();
                rest.is_empty() || rest.starts_with('/')
            });
            let why = match conflict {
                None => None,
                Some(first) if first.is_the_same(&entry) => {
                    duplicates += 1;
                    continue;
                }
                Some(Above(first, _)) if first.path == entry.path => {
                    Some(format!("line {} has another entry for this path", first.line))
                }
                Some(Above(first, _)) => {
                    let path = Escaped(&first.path);
                    Some(format!("a directory of it, {path}, is a file in line {}", first.line))
                }
            };
            if let Some(why) = why {
                let why = format!("{}: {why}", Escaped(&entry.path));
                self.add_bad(&BadLine { line: entry.line, path: Some(entry.path), why })?;
                continue;
            }
            rows.push(&row[path_end + LINE_BYTES..]).map_err(failed)?;
            above.push(Above::new(entry));
        }
        let (entries, len, end) = rows.finish().map_err(failed)?;
        let (bad, bad_len, bad_end) = self.bad.finish().map_err(failed)?;
        Ok(Catalog { entries, len, end, bad, bad_len, bad_end, duplicates })
    }
}

/// An entry above others, without the digests of its stretches, which may be many, but with what names them.
struct Above(Entry, Option<String>);

impl Above {
    fn new(mut entry: Entry) -> Self {
        let stretches = entry.stretches.take().map(|stretches| stretches.identity());
        Self(entry, stretches)
    }

    /// Whether another entry wants the same file from the same place.
    fn is_the_same(&self, other: &Entry) -> bool {
        let Self(first, stretches) = self;
        let theirs = other.stretches.as_ref().map(|stretches| stretches.identity());
        (&first.path, &first.urls, first.size, &first.checksum, stretches, first.modified)
            == (&other.path, &other.urls, other.size, &other.checksum, &theirs, other.modified)
    }
}

impl Catalog {
    /// Entries.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Lines that make no entry.
    pub(crate) fn bad_len(&self) -> u64 {
        self.bad_len
    }

    /// Lines that repeat another.
    pub(crate) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// All entries, in order of their paths.
    pub(crate) fn entries(&self) -> Entries<'_> {
        Entries { rows: RowReader::new(&self.entries, self.end), ordinal: 0 }
    }

    /// The entry at a position that [`Entries::next`] gave.
    pub(crate) fn read_at(&self, position: u64) -> Result<Entry> {
        let read = || -> std::io::Result<Option<Entry>> {
            // Most rows are short, and come with their length in one read.
            let mut start = [0; ROW_BYTES_USUAL];
            let there = narrow(self.end - position).min(ROW_BYTES_USUAL);
            self.entries.read_exact_at(&mut start[..there], position)?;
            let (length, start) = start.split_first_chunk::<4>().ok_or(ErrorKind::UnexpectedEof)?;
            let length = narrow(u64::from(u32::from_le_bytes(*length)));
            if let Some(row) = start.get(..length) {
                return Ok(get_entry(&mut Reader(row)));
            }
            let mut row = vec![0; length];
            self.entries.read_exact_at(&mut row, position + 4)?;
            Ok(get_entry(&mut Reader(&row)))
        };
        read()
            .map_err(|error| failed(Path::new("the catalog"), error))?
            .ok_or_else(|| damaged(Path::new("the catalog")))
    }

    /// Tells all lines that make no entry.
    pub(crate) fn bad_lines(&self, each: &mut dyn FnMut(BadLine) -> Result<()>) -> Result<()> {
        let mut rows = RowReader::new(&self.bad, self.bad_end);
        while let Some((_, row)) = rows.next()? {
            each(get_bad(&mut Reader(row)).ok_or_else(|| damaged(Path::new("the catalog")))?)?;
        }
        Ok(())
    }
}

impl Entries<'_> {
    /// The next entry, its ordinal and its position; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, u64, Entry)>> {
        let Some((position, row)) = self.rows.next()? else { return Ok(None) };
        let entry = get_entry(&mut Reader(row)).ok_or_else(|| damaged(Path::new("the catalog")))?;
        self.ordinal += 1;
        Ok(Some((self.ordinal - 1, position, entry)))
    }
}

impl Rows {
    fn new(directory: &Path) -> Result<Self> {
        let file = unnamed(directory).map_err(|error| failed(directory, error))?;
        Ok(Self { out: BufWriter::with_capacity(SORT_BUFFER_BYTES, file), count: 0, end: 0 })
    }

    fn push(&mut self, row: &[u8]) -> std::io::Result<()> {
        let length = u32::try_from(row.len()).map_err(std::io::Error::other)?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(row)?;
        self.count += 1;
        self.end += 4 + wide(row.len());
        Ok(())
    }

    fn finish(self) -> std::io::Result<(File, u64, u64)> {
        crate::fault::check("catalog")?;
        let file = self.out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        Ok((file, self.count, self.end))
    }
}

impl<'a> RowReader<'a> {
    fn new(file: &'a File, end: u64) -> Self {
        Self { file, end, at: 0, buffer: Vec::new(), used: 0 }
    }

    /// The next row and where it begins.
    fn next(&mut self) -> Result<Option<(u64, &[u8])>> {
        if self.at == self.end {
            return Ok(None);
        }
        let failed = |error| failed(Path::new("the catalog"), error);
        self.have(4).map_err(failed)?;
        let head = &self.buffer[self.used..self.used + 4];
        let length = narrow(u64::from(u32::from_le_bytes([head[0], head[1], head[2], head[3]])));
        self.have(4 + length).map_err(failed)?;
        let (position, start) = (self.at, self.used + 4);
        self.at += 4 + wide(length);
        self.used = start + length;
        Ok(Some((position, &self.buffer[start..start + length])))
    }

    /// Makes sure that so many bytes are there.
    fn have(&mut self, count: usize) -> std::io::Result<()> {
        if self.buffer.len() - self.used >= count {
            return Ok(());
        }
        self.buffer.drain(..self.used);
        self.used = 0;
        let (known, read_at) = (self.buffer.len(), self.at + wide(self.buffer.len()));
        let more = count.max(SORT_BUFFER_BYTES) - known.min(count.max(SORT_BUFFER_BYTES));
        let more = more.min(narrow(self.end - read_at));
        self.buffer.resize(known + more, 0);
        self.file.read_exact_at(&mut self.buffer[known..], read_at)
    }
}

fn failed(place: &Path, error: std::io::Error) -> Error {
    Error::local("use", place, error)
}

fn damaged(place: &Path) -> Error {
    let place = place.to_string_lossy();
    Error::new(Kind::Internal, format!("what was just written in {} is damaged", Escaped(&place)))
}

/// Bytes of a row that are read at once with its length.
const ROW_BYTES_USUAL: usize = 512;
/// The zero byte behind a path and the line number.
const LINE_BYTES: usize = 9;
