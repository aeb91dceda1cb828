//! The ledger that an earlier run has left: read, and gone on with.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use super::extents::Extents;
use super::record::{Head, Record};
use super::replay::{self, Replay};
use super::{Ledger, open};
use crate::crash;
use crate::fault;
use crate::limits::LEDGER_BYTES_MAX;
use crate::units::wide;

/// What an earlier run has left.
pub(crate) struct Found {
    path: PathBuf,
    file: File,
    pub(super) replay: Replay,
}

/// Why an earlier run's ledger is of no use.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// It cannot be believed, for this reason.
    Doubtful(String),
    /// It cannot be read now; that may pass.
    Failed(io::Error),
}

impl Found {
    /// Reads the ledger at `path`; `None` if there is none.
    ///
    /// # Errors
    /// [`Unusable`].
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, Unusable> {
        let strange = || Unusable::Doubtful("its ledger is not a file of ours".into());
        let file = match open(path, File::options().read(true).append(true)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if is_strange(&error) => return Err(strange()),
            Err(error) => return Err(Unusable::Failed(error)),
        };
        let meta = file.metadata().map_err(Unusable::Failed)?;
        // Nobody else can have written to it: on its word the part file is believed.
        if !crate::sys::is_our_own(&meta) || meta.mode() & 0o022 != 0 {
            return Err(strange());
        }
        let mut bytes = Vec::new();
        let read = fault::check("read ledger")
            .and_then(|()| (&file).take(LEDGER_BYTES_MAX + 1).read_to_end(&mut bytes));
        read.map_err(Unusable::Failed)?;
        if wide(bytes.len()) > LEDGER_BYTES_MAX {
            return Err(Unusable::Doubtful("its ledger is too long".into()));
        }
        let replay = replay::read(&bytes).map_err(|doubt| Unusable::Doubtful(doubt.to_string()))?;
        Ok(Some(Self { path: path.to_owned(), file, replay }))
    }

    pub(crate) fn head(&self) -> &Head {
        &self.replay.head
    }

    /// What is there, if this is the epoch.
    pub(crate) fn landed(&self, epoch: &str) -> Extents {
        self.replay.landed(epoch)
    }

    /// Goes on with this ledger: cuts off what is torn and begins another run, of which `cached` is as in
    /// [`Ledger::create`].
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(crate) fn resume(self, part: &File, epoch: String, cached: bool) -> io::Result<Ledger> {
        let was_cached = self.replay.is_cached(&epoch);
        let Replay { head, writes, length, .. } = self.replay;
        fault::check("cut ledger").and_then(|()| self.file.set_len(length))?;
        crash::point();
        // What an earlier run has left in the page cache waits for a sync of this one.
        let ledger = Ledger::new(self.path, self.file, part, head.size, cached || was_cached)?;
        ledger.kept.store(true, Relaxed);
        {
            let mut state = ledger.lock();
            (state.writes, state.length) = (writes, length);
            state.append(&ledger.file, &Record::Begin { epoch, cached })?;
        }
        Ok(ledger)
    }
}

/// Whether what stands in the place of a ledger is none, or not for us.
fn is_strange(error: &io::Error) -> bool {
    let strange = [libc::ELOOP, libc::ENXIO, libc::EISDIR, libc::EACCES, libc::EPERM];
    error.raw_os_error().is_some_and(|code| strange.contains(&code))
}
