//! What lasts from run to run: the snapshot, and the journal of what happened since it was written.
//!
//! The journal is appended to after a file has its name, and begins with the boot that it is written in. In
//! another boot only what stands before its last checkpoint counts: the rest may never have reached the disk,
//! and is marked as lost. After a sync that failed the same is so in any boot, and nothing but to fetch it
//! again helps.
//! A torn end is ignored. At the start of a run the journal is merged into a new snapshot, which takes the
//! place of the old one by a rename; only then the journal is begun anew.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::encoding::{Reader, Writer, get_record, put_record};
use super::snapshot::{Frames, Proof, Record, Snapshot, put, put_frame};
use crate::error::{Error, Kind, Result};
use crate::fault;
use crate::limits::{SORT_BUFFER_BYTES, SORT_BYTES_MAX};
use crate::sorting::Sorter;

/// The directory of a state, which one run at a time may use.
pub(crate) struct State {
    directory: PathBuf,
    /// Locked while this lives.
    _lock: File,
}

/// Tells the next run what this one did.
pub(crate) struct Journal {
    out: BufWriter<File>,
}

impl State {
    /// Opens a state, and makes it where there is none.
    ///
    /// # Errors
    /// `Kind::Exists` if another run is using it.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let failed = |error| Error::local("use", directory, error);
        std::fs::create_dir_all(directory).map_err(failed)?;
        let path = directory.join("lock");
        let open = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = open.map_err(|error| Error::local("open", &path, error))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let place = directory.to_string_lossy();
                let place = crate::error::Escaped(&place);
                let message = format!("another run is at work with the state in {place}");
                return Err(Error::new(Kind::Exists, message)
                    .hint("wait for its end, or give this one another --state and --dir"));
            }
            Err(error) => return Err(failed(error.into())),
        }
        Ok(Self { directory: directory.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Brings the snapshot up to date and begins a journal. `sync` makes durable what the journal tells of:
    /// the snapshot is believed in every boot.
    ///
    /// # Errors
    /// If the snapshot cannot be read or written.
    pub(crate) fn begin(&self, sync: impl FnOnce() -> Result<()>) -> Result<(Journal, Snapshot)> {
        let (snapshot, journal) = (self.directory.join("snapshot"), self.directory.join("journal"));
        let trust = match File::open(&journal) {
            Ok(file) => trusted(BufReader::with_capacity(SORT_BUFFER_BYTES, file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Trust::default(),
            Err(error) => return Err(Error::local("open", &journal, error)),
        };
        if trust.believed > trust.durable
            && let Err(error) = sync()
        {
            // The next sync would succeed, and vouch for what this one has lost.
            distrust(&journal, trust.end)
                .map_err(|error| Error::local("write", &journal, error))?;
            return Err(error);
        }
        self.merge(&snapshot, &journal, &trust)
            .map_err(|error| Error::local("use", &journal, error))?;
        let begun =
            Journal::begin(&journal).map_err(|error| Error::local("create", &journal, error))?;
        Ok((begun, Snapshot::open(&snapshot)?))
    }

    /// Merges the journal into the snapshot.
    fn merge(&self, snapshot: &Path, journal: &Path, trust: &Trust) -> io::Result<()> {
        if trust.end == 0 {
            return Ok(());
        }
        let mut sorter = Sorter::new(&self.directory, SORT_BYTES_MAX);
        let file = BufReader::with_capacity(SORT_BUFFER_BYTES, File::open(journal)?);
        let mut frames = Frames(file.take(trust.end));
        let mut at = 0_u64;
        while let Some(mut frame) = frames.next() {
            let place = at.to_be_bytes();
            at += frame_bytes(&frame);
            if at > trust.believed {
                doubt(&mut frame, trust.proof);
            }
            if let Some(path) = path_of(&frame) {
                // The order of the journal is kept among the frames of one path.
                sorter.push(&[path.as_bytes(), &[0], &place, &frame].concat())?;
            }
        }
        let mut news = sorter.finish()?;
        let mut old = Snapshot::open(snapshot).map_err(io::Error::other)?;
        let beside = self.directory.join("snapshot.new");
        fault::check("snapshot")?;
        let mut out = BufWriter::with_capacity(SORT_BUFFER_BYTES, File::create(&beside)?);
        let mut pending: Option<(String, Option<Record>)> = None;
        while let Some(row) = news.next()? {
            let at = row.iter().position(|byte| *byte == 0).unwrap_or(row.len());
            let path = String::from_utf8_lossy(&row[..at]).into_owned();
            let frame = row.get(at + 1 + size_of::<u64>()..).unwrap_or_default();
            let record = match frame.split_first() {
                Some((&DONE, rest)) => get_record(&mut Reader(rest)),
                _ => None,
            };
            // The last word on a path counts.
            if let Some((before, known)) = pending.replace((path.clone(), record))
                && before != path
            {
                settle(&mut old, &mut out, &before, known.as_ref())?;
            }
        }
        if let Some((path, known)) = pending {
            settle(&mut old, &mut out, &path, known.as_ref())?;
        }
        while let Some(record) = old.advance() {
            put(&mut out, &record)?;
        }
        fault::check("snapshot")?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        fault::check("snapshot")?;
        file.sync_data()?;
        fault::check("snapshot")?;
        std::fs::rename(&beside, snapshot)?;
        fault::check("snapshot")?;
        File::open(&self.directory)?.sync_all()
    }
}

/// Writes what comes before a path in the old snapshot, and then what is known of the path now.
fn settle(
    old: &mut Snapshot,
    out: &mut BufWriter<File>,
    path: &str,
    record: Option<&Record>,
) -> io::Result<()> {
    while old.path().is_some_and(|next| next < path) {
        if let Some(record) = old.advance() {
            put(out, &record)?;
        }
    }
    if old.path() == Some(path) {
        old.advance();
    }
    record.map_or(Ok(()), |record| put(out, record))
}

/// How much of a journal is to be believed: bytes from its beginning.
struct Trust {
    /// The last whole frame ends here.
    end: u64,
    /// What stands before has happened as it is told.
    believed: u64,
    /// What stands before is on disk.
    durable: u64,
    /// What is left to say of the files behind what is believed.
    proof: Proof,
}

impl Default for Trust {
    fn default() -> Self {
        Self { end: 0, believed: 0, durable: 0, proof: Proof::Lost }
    }
}

fn trusted(file: BufReader<File>) -> Trust {
    let mut frames = Frames(file);
    let Some(begin) = frames.next() else { return Trust::default() };
    let is_this_boot = begin.split_first() == Some((&BEGIN, boot().as_bytes()));
    let mut end = frame_bytes(&begin);
    let (mut durable, mut is_doubtful) = (end, false);
    while let Some(frame) = frames.next() {
        end += frame_bytes(&frame);
        if frame == [CHECKPOINT] {
            durable = end;
        }
        is_doubtful |= frame == [DOUBT];
    }
    let is_all = is_this_boot && !is_doubtful;
    // Another boot has another page cache: what can be read there is what the disk has.
    let proof = if is_this_boot { Proof::Unsynced } else { Proof::Lost };
    Trust { end, believed: if is_all { end } else { durable }, durable, proof }
}

/// Notes behind the whole frames of a journal that a sync has failed.
fn distrust(journal: &Path, end: u64) -> io::Result<()> {
    let mut file = File::options().write(true).open(journal)?;
    file.set_len(end)?;
    file.seek(io::SeekFrom::Start(end))?;
    put_frame(&mut file, &[DOUBT])?;
    file.sync_data()
}

/// Has a frame tell that its file may never have reached the disk.
fn doubt(frame: &mut Vec<u8>, proof: Proof) {
    if let Some((&DONE, rest)) = frame.split_first()
        && let Some(record) = get_record(&mut Reader(rest))
    {
        frame.truncate(1);
        put_record(&mut Writer(frame), &Record { proof, ..record });
    }
}

fn frame_bytes(payload: &[u8]) -> u64 {
    8 + crate::units::wide(payload.len())
}

/// The path that a frame is about.
fn path_of(frame: &[u8]) -> Option<String> {
    match frame.split_first()? {
        (&DONE, rest) => get_record(&mut Reader(rest)).map(|record| record.path),
        (&GONE, path) => String::from_utf8(path.to_vec()).ok(),
        _ => None,
    }
}

/// What tells one boot of the machine from another; without it no journal is trusted beyond its checkpoints.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_else(|_| format!("unknown {}", fastrand::u64(..)))
}

impl Journal {
    fn begin(path: &Path) -> io::Result<Self> {
        let out = BufWriter::with_capacity(SORT_BUFFER_BYTES, File::create(path)?);
        let mut journal = Self { out };
        journal.put(&[&[BEGIN], boot().as_bytes()].concat())?;
        journal.flush()?;
        Ok(journal)
    }

    fn put(&mut self, payload: &[u8]) -> io::Result<()> {
        fault::check("journal")?;
        put_frame(&mut self.out, payload)
    }

    /// A file has its name.
    pub(crate) fn done(&mut self, record: &Record) -> io::Result<()> {
        let mut payload = vec![DONE];
        put_record(&mut Writer(&mut payload), record);
        self.put(&payload)
    }

    /// A file was removed.
    pub(crate) fn gone(&mut self, path: &str) -> io::Result<()> {
        self.put(&[&[GONE], path.as_bytes()].concat())
    }

    /// Hands what waits to the kernel: a kill costs nothing of it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        fault::check("journal")?;
        self.out.flush()
    }

    /// A sync has failed: what was told since the last checkpoint is not to be believed, not even in this
    /// boot.
    pub(crate) fn doubt(&mut self) -> io::Result<()> {
        self.put(&[DOUBT])?;
        self.sync()
    }

    /// All that was told so far is on disk, it itself and the files.
    pub(crate) fn checkpoint(&mut self) -> io::Result<()> {
        self.put(&[CHECKPOINT])?;
        self.sync()
    }

    fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        fault::check("sync journal")?;
        self.out.get_ref().sync_data()
    }
}

// The first byte of a frame.
const BEGIN: u8 = 1;
const DONE: u8 = 2;
const GONE: u8 = 3;
const CHECKPOINT: u8 = 4;
const DOUBT: u8 = 5;
