//! Sorts byte records on disk: memory is bounded, however many there are.
//!
//! Records are compared byte by byte, and equal ones keep their order. Runs that do not fit into memory are
//! written to files without a name and merged. It knows nothing of what records mean.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek as _, Write};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::limits::{SORT_BUFFER_BYTES, SORT_RUNS_MAX};
use crate::units::{narrow, wide};

/// Takes records in any order.
pub(crate) struct Sorter {
    directory: std::path::PathBuf,
    memory_bytes: usize,
    bytes: Vec<u8>,
    /// Where each record in `bytes` begins and ends.
    records: Vec<(u32, u32)>,
    runs: Vec<File>,
}

/// Gives records in order.
pub(crate) struct Sorted {
    runs: Vec<Run>,
    /// The run whose record was given last, and has to move on.
    used: Option<usize>,
}

/// Records in order: those still in memory, or those of a file.
struct Run {
    source: Source,
    /// The record that is its turn.
    record: Vec<u8>,
    is_over: bool,
}

enum Source {
    Memory { bytes: Vec<u8>, records: std::vec::IntoIter<(u32, u32)> },
    File(BufReader<File>),
}

impl Sorter {
    /// A sorter that keeps at most so many bytes in memory, and the rest in files in `directory`.
    pub(crate) fn new(directory: &Path, memory_bytes: usize) -> Self {
        let directory = directory.to_owned();
        let memory_bytes = memory_bytes.min(narrow(u64::from(u32::MAX)));
        Self { directory, memory_bytes, bytes: Vec::new(), records: Vec::new(), runs: Vec::new() }
    }

    /// Takes a record, of less than 4 GiB.
    ///
    /// # Errors
    /// If a run cannot be written.
    pub(crate) fn push(&mut self, record: &[u8]) -> io::Result<()> {
        let index = self.records.len() * size_of::<(u32, u32)>();
        if self.bytes.len() + index + record.len() > self.memory_bytes && !self.records.is_empty() {
            self.spill()?;
        }
        let place = |at: usize| {
            u32::try_from(at).map_err(|_| io::Error::other("a record is too large to be sorted"))
        };
        let start = place(self.bytes.len())?;
        let end = place(self.bytes.len() + record.len())?;
        self.bytes.extend_from_slice(record);
        self.records.push((start, end));
        Ok(())
    }

    /// Ends the input.
    ///
    /// # Errors
    /// If a run cannot be written or read.
    pub(crate) fn finish(mut self) -> io::Result<Sorted> {
        self.sort();
        let memory = Source::Memory { bytes: self.bytes, records: self.records.into_iter() };
        let files = self.runs.into_iter().map(reader);
        let sources = files.chain([Ok(memory)]).collect::<io::Result<Vec<_>>>()?;
        Sorted::new(sources)
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.records.sort_by(|one, other| slice(bytes, *one).cmp(slice(bytes, *other)));
    }

    /// Writes what is in memory to a file, and merges the files where there are too many.
    fn spill(&mut self) -> io::Result<()> {
        self.sort();
        let mut out = BufWriter::with_capacity(SORT_BUFFER_BYTES, unnamed(&self.directory)?);
        self.records.iter().try_for_each(|place| put(&mut out, slice(&self.bytes, *place)))?;
        self.runs.push(out.into_inner().map_err(io::IntoInnerError::into_error)?);
        self.bytes.clear();
        self.records.clear();
        if self.runs.len() < SORT_RUNS_MAX {
            return Ok(());
        }
        let sources = self.runs.drain(..).map(reader).collect::<io::Result<Vec<_>>>()?;
        let mut sorted = Sorted::new(sources)?;
        let mut out = BufWriter::with_capacity(SORT_BUFFER_BYTES, unnamed(&self.directory)?);
        while let Some(record) = sorted.next()? {
            put(&mut out, record)?;
        }
        self.runs.push(out.into_inner().map_err(io::IntoInnerError::into_error)?);
        Ok(())
    }
}

impl Sorted {
    fn new(sources: Vec<Source>) -> io::Result<Self> {
        let begin = |source| {
            let mut run = Run { source, record: Vec::new(), is_over: false };
            run.advance().map(|()| run)
        };
        let runs = sources.into_iter().map(begin).collect::<io::Result<Vec<_>>>()?;
        Ok(Self { runs, used: None })
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// If a run cannot be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        if let Some(used) = self.used.take() {
            self.runs[used].advance()?;
        }
        let mut least: Option<usize> = None;
        for (at, run) in self.runs.iter().enumerate().filter(|(_, run)| !run.is_over) {
            // Of equal records the one that came first is in an earlier run.
            let is_less = |best: usize| run.record.cmp(&self.runs[best].record) == Ordering::Less;
            if least.is_none_or(is_less) {
                least = Some(at);
            }
        }
        self.used = least;
        Ok(least.map(|at| self.runs[at].record.as_slice()))
    }
}

impl Run {
    fn advance(&mut self) -> io::Result<()> {
        self.record.clear();
        match &mut self.source {
            Source::Memory { bytes, records } => match records.next() {
                Some(place) => self.record.extend_from_slice(slice(bytes, place)),
                None => self.is_over = true,
            },
            Source::File(file) => {
                let mut length = [0; 4];
                match file.read_exact(&mut length) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        self.is_over = true;
                        return Ok(());
                    }
                    Err(error) => return Err(error),
                }
                let length = u64::from(u32::from_le_bytes(length));
                self.record.resize(narrow(length), 0);
                file.read_exact(&mut self.record)?;
            }
        }
        Ok(())
    }
}

/// A file in a directory that has no name, or none any more: it goes with its last descriptor.
///
/// # Errors
/// Whatever open(2) says.
pub(crate) fn unnamed(directory: &Path) -> io::Result<File> {
    let mode = Mode::from_raw_mode(0o600);
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, directory, flags | OFlags::TMPFILE, mode) {
        Ok(file) => return Ok(file.into()),
        Err(error) if !is_unsupported(error) => return Err(error.into()),
        Err(_) => {}
    }
    let path = directory.join(format!("sort-{:016x}", fastrand::u64(..)));
    let file = rustix::fs::openat(CWD, &path, flags | OFlags::CREATE | OFlags::EXCL, mode)?;
    rustix::fs::unlinkat(CWD, &path, AtFlags::empty())?;
    Ok(file.into())
}

/// File systems without files that have no name (open(2)).
fn is_unsupported(error: rustix::io::Errno) -> bool {
    [rustix::io::Errno::OPNOTSUPP, rustix::io::Errno::ISDIR, rustix::io::Errno::INVAL]
        .contains(&error)
}

fn reader(mut file: File) -> io::Result<Source> {
    file.rewind()?;
    Ok(Source::File(BufReader::with_capacity(SORT_BUFFER_BYTES, file)))
}

fn put(out: &mut impl Write, record: &[u8]) -> io::Result<()> {
    let length = u32::try_from(wide(record.len())).map_err(io::Error::other)?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(record)
}

fn slice(bytes: &[u8], (start, end): (u32, u32)) -> &[u8] {
    &bytes[narrow(u64::from(start))..narrow(u64::from(end))]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sorted(records: &[Vec<u8>], memory: usize) -> Vec<Vec<u8>> {
        let directory = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(directory.path(), memory);
        records.iter().for_each(|record| sorter.push(record).unwrap());
        let mut sorted = sorter.finish().unwrap();
        let mut all = Vec::new();
        while let Some(record) = sorted.next().unwrap() {
            all.push(record.to_vec());
        }
        assert!(std::fs::read_dir(directory.path()).unwrap().next().is_none());
        all
    }

    proptest! {
        #[test]
        fn records_come_out_as_a_sort_in_memory_gives_them(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..300),
            memory in 0..400_usize,
        ) {
            let mut wanted = records.clone();
            wanted.sort();
            prop_assert_eq!(sorted(&records, memory), wanted);
        }
    }

    #[test]
    fn many_runs_are_merged_in_between() {
        let records: Vec<Vec<u8>> =
            (0..1000_u32).rev().map(|number| number.to_be_bytes().to_vec()).collect();
        let wanted: Vec<_> = records.iter().rev().cloned().collect();
        assert_eq!(sorted(&records, 24), wanted);
    }
}
