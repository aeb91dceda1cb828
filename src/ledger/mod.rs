//! Remembers what has landed, across kills and power cuts.
//!
//! A file of lines beside the part file, mode 0600, appended to and never rewritten. A line is written only
//! after the bytes it names: `written` lines at once and unsynced, which a killed process cannot lose, and
//! `durable` lines after a sync of the part file, which a power cut cannot lose either. Before a sync of what
//! only the page cache has comes a `syncing` line: were the program killed in it, nobody would hear of a
//! failure. A `wrong` line takes back what a digest has shown to be wrong. What a reader may believe of it is
//! decided in `replay`; nothing here decides anything.
//!
//! Invariant: no line ever claims more than was true when it was written, and none is written after a sync
//! has failed but the one that says so.

mod due;
mod extents;
#[cfg(test)]
mod file_tests;
mod found;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(feature = "internals")]
pub(crate) mod internals;
mod record;
mod replay;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub(crate) use self::due::Due;
pub(crate) use self::extents::Extents;
pub(crate) use self::found::{Found, Unusable};
pub(crate) use self::record::{FORMAT, Head};

use self::record::Record;
use crate::crash;
use crate::fault;
use crate::limits::{
    LEDGER_BYTES_MAX, LEDGER_RANGES_MAX, LEDGER_RESERVE_BYTES, LEDGER_SYNC_BYTES,
    LEDGER_SYNC_EVERY, LEDGER_WRITE_BYTES_MIN, LEDGER_WRITE_EVERY, LEDGER_WRITES,
};
use crate::units::wide;

/// The ledger of one part file, open for appending. Dropped before it holds anything, it is removed.
pub(crate) struct Ledger {
    path: PathBuf,
    file: Arc<File>,
    /// The part file by a description of its own: a failed sync is told once a description, and the last
    /// sync of the download must not miss it.
    part: Arc<File>,
    /// `None` where one may write to the directory and not read it.
    directory: Option<Arc<File>>,
    /// Bytes that a line waits for.
    line_bytes: u64,
    state: Mutex<State>,
    kept: AtomicBool,
    /// What was written waits in the page cache, where a failed sync loses it.
    is_cached: bool,
}

struct State {
    /// Landed, and in no line yet.
    unwritten: Extents,
    /// `written` lines so far.
    writes: u64,
    /// Bytes in lines that no sync covers.
    unsynced: u64,
    synced_at: Instant,
    is_syncing: bool,
    /// The directory entries of the part file and of this one are durable.
    is_anchored: bool,
    /// Bytes of the file, all of them ours.
    length: u64,
    written_at: Instant,
    /// The file system has no sync: nothing will be durable before the last one has said so.
    has_no_sync: bool,
    /// Why nothing more is written.
    closed: Option<Closed>,
}

/// Why a ledger is not written on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closed {
    /// The disk takes no line, or the file is at its bound. What it says stays true.
    Full,
    /// A sync of the part file has failed.
    Lost,
    /// The file was removed.
    Forgotten,
}

impl Ledger {
    /// Begins a ledger at `path`, which must not exist. `cached` says that what is written waits in the page
    /// cache.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(crate) fn create(
        path: &Path,
        part: &File,
        head: Head,
        epoch: String,
        cached: bool,
    ) -> io::Result<Self> {
        let file =
            open(path, File::options().read(true).append(true).create_new(true).mode(0o600))?;
        let ledger =
            Self::new(path.to_owned(), file, part, head.size, cached).inspect_err(|_| {
                // Best effort: without a head it is not believed.
                let _ = std::fs::remove_file(path);
            })?;
        {
            let mut state = ledger.lock();
            state.append(&ledger.file, &Record::Head(head))?;
            state.append(&ledger.file, &Record::Begin { epoch, cached })?;
        }
        Ok(ledger)
    }

    fn new(path: PathBuf, file: File, part: &File, size: u64, is_cached: bool) -> io::Result<Self> {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let state = State {
            unwritten: Extents::default(),
            writes: 0,
            unsynced: 0,
            synced_at: Instant::now(),
            is_syncing: false,
            is_anchored: false,
            length: 0,
            written_at: Instant::now(),
            has_no_sync: false,
            closed: None,
        };
        Ok(Self {
            file: Arc::new(file),
            part: Arc::new(crate::sys::reopen(part)?),
            directory: crate::sys::open_directory(directory).ok().map(Arc::new),
            path,
            line_bytes: crash::line_bytes(LEDGER_WRITE_BYTES_MIN.max(size / LEDGER_WRITES)),
            state: Mutex::new(state),
            kept: AtomicBool::new(false),
            is_cached,
        })
    }

    /// Notes bytes that are in the part file; they are in the ledger when enough have come together.
    pub(crate) fn landed(&self, range: Range<u64>) {
        let mut state = self.lock();
        state.unwritten.insert(range);
        if state.unwritten.bytes() >= self.line_bytes {
            self.write(&mut state);
        }
    }

    /// Writes what has landed and is in no line yet.
    pub(crate) fn flush(&self) {
        self.write(&mut self.lock());
    }

    /// The same if it has waited long enough. A download that takes days must not end in a ledger at its
    /// bound.
    pub(crate) fn flush_old(&self, now: Instant) {
        let mut state = self.lock();
        if now.saturating_duration_since(state.written_at) >= LEDGER_WRITE_EVERY {
            self.write(&mut state);
        }
    }

    fn write(&self, state: &mut State) {
        if state.closed.is_some() || state.unwritten.bytes() == 0 {
            return;
        }
        state.written_at = Instant::now();
        let extents = state.unwritten.take();
        let ranges = extents.iter().map(|range| (range.start, range.end)).collect();
        // A disk that takes no line takes no more blocks either, and that is reported; a ledger at its
        // bound only remembers less.
        if state.append(&self.file, &Record::Written(ranges)).is_ok() {
            state.writes += 1;
            state.unsynced += extents.bytes();
            self.kept.store(true, Relaxed);
        }
    }

    /// The sync that is due by now, by bytes or by time. One at a time.
    pub(crate) fn due(self: &Arc<Self>, now: Instant) -> Option<Due> {
        let mut state = self.lock();
        let is_late = now.saturating_duration_since(state.synced_at) >= LEDGER_SYNC_EVERY;
        let bytes = state.unsynced + state.unwritten.bytes();
        let is_enough = bytes >= crash::sync_bytes(LEDGER_SYNC_BYTES);
        if bytes == 0 || !(is_enough || is_late) {
            return None;
        }
        self.begin_sync(&mut state, now)
    }

    /// A sync of whatever is not durable, due or not, for a run that ends and may not wait for it; `None` if
    /// all is, or while another is at work.
    ///
    /// None of what the page cache has, either: a sync that nobody hears the end of takes with it what would
    /// have outlived the run.
    pub(crate) fn parting_sync(self: &Arc<Self>, now: Instant) -> Option<Due> {
        let mut state = self.lock();
        if self.is_cached || state.unsynced + state.unwritten.bytes() == 0 {
            return None;
        }
        self.begin_sync(&mut state, now)
    }

    fn begin_sync(self: &Arc<Self>, state: &mut State, now: Instant) -> Option<Due> {
        if state.is_syncing || state.has_no_sync {
            return None;
        }
        self.write(state);
        if state.closed.is_some() {
            return None;
        }
        if !self.note_sync(state) {
            return None;
        }
        (state.is_syncing, state.synced_at) = (true, now);
        Some(Due { ledger: Arc::clone(self), writes: state.writes, bytes: state.unsynced })
    }

    /// Notes that the last sync begins.
    pub(crate) fn sync_begins(&self) {
        let mut state = self.lock();
        self.write(&mut state);
        self.note_sync(&mut state);
    }

    /// Notes that the last sync has gone well, should the file get no name after all.
    pub(crate) fn sync_ends(&self) {
        let mut state = self.lock();
        if state.closed.is_none() && self.is_cached {
            let durable = Record::Durable(state.writes);
            // Where it fails the lines count for less than they could.
            let _ = state.append(&self.file, &durable);
        }
    }

    /// Notes that there is no sync: what was written stays as true as it was.
    pub(crate) fn sync_is_none(&self) {
        let mut state = self.lock();
        state.has_no_sync = true;
        if state.closed.is_none() && self.is_cached {
            // Where it fails the lines count for less than they could.
            let _ = state.append(&self.file, &Record::Durable(0));
        }
    }

    fn note_sync(&self, state: &mut State) -> bool {
        if !self.is_cached || state.closed.is_some() {
            return state.closed.is_none();
        }
        let syncing = Record::Syncing(state.writes);
        state.append(&self.file, &syncing).is_ok()
    }

    /// Notes that a sync has failed: what is not durable by now may be anything, and nothing that follows
    /// is to be believed either.
    pub(crate) fn lose(&self) {
        let mut state = self.lock();
        if matches!(state.closed, Some(Closed::Lost | Closed::Forgotten)) {
            return;
        }
        // Behind a torn line none is read. The last word needs little room, and the disk may have it by now.
        let is_clean = self.file.set_len(state.length).is_ok();
        if !is_clean || state.append(&self.file, &Record::Lost).is_err() {
            // It would be believed on the word of its last lines.
            self.kept.store(false, Relaxed);
            self.remove();
        }
        state.closed = Some(Closed::Lost);
    }

    /// Notes bytes that have landed and are wrong: they are missing again. Whoever asks has seen all that
    /// landed. False if that cannot be noted; then the ledger says more than is right.
    pub(crate) fn disown(&self, wrong: &[Range<u64>]) -> bool {
        let mut state = self.lock();
        self.write(&mut state);
        wrong.chunks(LEDGER_RANGES_MAX).all(|wrong| {
            let ranges = wrong.iter().map(|range| (range.start, range.end)).collect();
            state.closed.is_none() && state.append(&self.file, &Record::Wrong(ranges)).is_ok()
        })
    }

    /// Whether a sync of the part file has failed.
    pub(crate) fn is_lost(&self) -> bool {
        self.lock().closed == Some(Closed::Lost)
    }

    /// Whether nobody else has gone on with this download: the lines are all ours.
    pub(crate) fn is_ours(&self) -> bool {
        let state = self.lock();
        let is_there = crate::sys::is_at(&self.file, &self.path);
        let length = self.file.metadata().map(|meta| meta.len());
        match state.closed {
            None => is_there && length.is_ok_and(|length| length == state.length),
            // A line may have been torn.
            Some(Closed::Full) => is_there,
            Some(Closed::Lost | Closed::Forgotten) => true,
        }
    }

    /// Whether another run can go on from what it says.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.load(Relaxed)
    }

    /// Removes the file: nothing of it counts any more.
    pub(crate) fn forget(&self) {
        crash::point();
        self.lock().closed = Some(Closed::Forgotten);
        self.kept.store(false, Relaxed);
        self.remove();
    }

    fn remove(&self) {
        if crate::sys::is_at(&self.file, &self.path) {
            // Best effort: without its part file it is not believed.
            let _ = std::fs::remove_file(&self.path);
            crash::point();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.flush();
        if !self.kept.load(Relaxed) {
            self.remove();
        }
    }
}

impl State {
    /// Appends one line in one write.
    fn append(&mut self, file: &File, record: &Record) -> io::Result<()> {
        let line = record.line();
        let length = self.length + wide(line.len());
        crash::point();
        crash::point_within(file, line.as_bytes());
        // What begins and ends a run has room where what has landed has none any more.
        let reserve = if matches!(record, Record::Written(_) | Record::Syncing(_)) {
            LEDGER_RESERVE_BYTES
        } else {
            0
        };
        let written = match length + reserve <= LEDGER_BYTES_MAX {
            true => append(file, line.as_bytes()),
            false => Err(io::ErrorKind::FileTooLarge.into()),
        };
        crash::point();
        match &written {
            Ok(()) => self.length = length,
            Err(_) => self.closed = Some(Closed::Full),
        }
        written
    }
}

fn append(mut file: &File, line: &[u8]) -> io::Result<()> {
    if let Err(error) = fault::check("append") {
        // A full disk leaves torn lines.
        file.write_all(&line[..line.len() / 2])?;
        return Err(error);
    }
    file.write_all(line)
}

/// Opens without following a link or waiting for the other end of a FIFO.
fn open(path: &Path, options: &mut std::fs::OpenOptions) -> io::Result<File> {
    fault::check("open ledger")?;
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}
