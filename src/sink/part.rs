//! The part file: where bytes wait, unseen under the target's name, until all of them are right and on disk.

mod publish;
#[cfg(test)]
mod tests;

pub(crate) use publish::{Named, Publish, sync_existing};

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::fs::{FlockOperation, OFlags};

use crate::crash;
use crate::error::{Error, Escaped, Kind, Result};
use crate::fault;
use crate::name;
use crate::sys::is_at;

/// A file of fixed-length name beside its target, mode 0600, locked. Dropped unpublished, it is removed
/// unless it is kept for another run.
pub(crate) struct Part {
    file: Arc<File>,
    path: PathBuf,
    target: PathBuf,
    is_locked: bool,
    kept: AtomicBool,
    published: bool,
}

impl Part {
    /// Creates the part file of `target`; what an earlier run has left there is removed.
    ///
    /// # Errors
    /// `Kind::Exists` if another process is at work on it; otherwise as [`Error::local`].
    pub(crate) fn create(target: &Path) -> Result<Self> {
        let path = path_of(target);
        for _ in 0..2 {
            match open_new(&path) {
                Ok(file) => {
                    crash::point();
                    let is_locked = lock(&file, target)?;
                    if !is_at(&file, &path) {
                        // Another process took it for a leftover before it was locked.
                        continue;
                    }
                    return Ok(Self::new(file, path, target, is_locked));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    remove_stale(&path, target)?;
                }
                Err(error) => {
                    return Err(Error::local("create a file in", directory_of(target), error));
                }
            }
        }
        Err(busy(target))
    }

    /// Opens the part file that an earlier run has left; `None` if there is none that is safe to go on
    /// with: a file of ours, by no other name, that we alone hold.
    ///
    /// # Errors
    /// `Kind::Exists` if another process is at work on it.
    pub(crate) fn reopen(target: &Path) -> Result<Option<Self>> {
        let path = path_of(target);
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let open = || File::options().read(true).write(true).custom_flags(flags).open(&path);
        let opened = fault::check("open part").and_then(|()| open());
        let Ok(file) = opened else { return Ok(None) };
        if !file.metadata().is_ok_and(|meta| crate::sys::is_our_own(&meta)) {
            return Ok(None);
        }
        let is_locked = lock(&file, target)?;
        // Without a lock nobody knows who else goes on with it; a new file is nobody else's.
        if !is_locked || !is_at(&file, &path) {
            return Ok(None);
        }
        // A killed run may have made it ready for its name; a file system without modes has none to lose.
        let _ = file.set_permissions(Permissions::from_mode(0o600));
        let part = Self::new(file, path, target, is_locked);
        part.keep();
        Ok(Some(part))
    }

    /// Whether nothing has the name of this target's part file.
    pub(crate) fn is_missing(target: &Path) -> bool {
        let there = std::fs::symlink_metadata(path_of(target));
        there.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    fn new(file: File, path: PathBuf, target: &Path, is_locked: bool) -> Self {
        let (file, target) = (Arc::new(file), target.to_owned());
        Self { file, path, target, is_locked, kept: AtomicBool::new(false), published: false }
    }

    /// Whether we alone hold it, as far as locks are known here.
    pub(crate) fn is_locked(&self) -> bool {
        self.is_locked
    }

    /// Lets the file stay for another run if it is dropped unpublished.
    pub(crate) fn keep(&self) {
        self.kept.store(true, Relaxed);
    }

    /// Removes the file: nothing of it counts any more.
    pub(crate) fn forget(&self) {
        self.kept.store(false, Relaxed);
        self.remove();
    }

    fn remove(&self) {
        if is_at(&self.file, &self.path) && fault::check("remove part").is_ok() {
            // Best effort: a leftover is removed by the next run.
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Whether the file system has allocated all of `size` bytes.
    pub(crate) fn is_allocated(&self, size: u64) -> bool {
        self.allocated_bytes() >= size
    }

    /// Bytes that the file takes on the disk.
    pub(crate) fn allocated_bytes(&self) -> u64 {
        let meta = fault::check("count blocks").and_then(|()| self.file.metadata());
        let blocks = meta.map_or(0, |meta| meta.blocks());
        blocks.saturating_mul(STAT_BLOCK_BYTES)
    }

    /// Ends the file at `size` bytes: cuts off the padding of a direct write, of this run or of an earlier
    /// one, and what was allocated in vain. A file that is too short stays so, to be noticed.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(crate) fn cut(&self, size: u64) -> Result<()> {
        let meta = fault::check("measure").and_then(|()| self.file.metadata());
        if meta.map_err(|error| self.failed("look at", error))?.len() <= size {
            return Ok(());
        }
        let cut = fault::check("cut off").and_then(|()| self.file.set_len(size));
        cut.map_err(|error| self.failed("truncate", error))
    }

    /// Refuses a file that somebody has cut off or lengthened meanwhile: what was in it would be zeros.
    ///
    /// `was_allocated` says that [`Self::is_allocated`] was true before the first byte: blocks do not go
    /// away by themselves.
    ///
    /// # Errors
    /// `Kind::LocalIo`; as [`Self::prepare`] if the file was replaced or removed.
    pub(crate) fn check_whole(&self, size: u64, was_allocated: bool) -> Result<()> {
        self.check_identity()?;
        let meta = fault::check("measure").and_then(|()| self.file.metadata());
        let length = meta.map_err(|error| self.failed("look at", error))?.len();
        if length == size && (!was_allocated || self.is_allocated(size)) {
            return Ok(());
        }
        self.forget();
        let path = self.path.to_string_lossy();
        let message = format!("{} was cut off or lengthened during the download", Escaped(&path));
        Err(Error::new(Kind::LocalIo, message).hint("run the same command again"))
    }

    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// A failed operation on this file, told by its target's name.
    pub(crate) fn failed(&self, action: &str, error: io::Error) -> Error {
        Error::local(action, &self.target, error)
    }

    /// Someone may have replaced or removed the part file meanwhile: only what we wrote is published.
    fn check_identity(&self) -> Result<()> {
        if is_at(&self.file, &self.path) {
            return Ok(());
        }
        let path = self.path.to_string_lossy();
        let message = format!("{} was removed or replaced during the download", Escaped(&path));
        Err(Error::new(Kind::LocalIo, message).hint("run the same command again"))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        match self.kept.load(Relaxed) {
            // It may have been made ready for its name already.
            true => drop(self.file.set_permissions(Permissions::from_mode(0o600))),
            false => self.remove(),
        }
    }
}

/// Where the part file of a target lies.
fn path_of(target: &Path) -> PathBuf {
    let directory = directory_of(target);
    let name = target.file_name().unwrap_or_default();
    directory.join(name::part(name, &canonical(directory)))
}

/// Where the ledger of a target lies.
pub(crate) fn ledger_path(target: &Path) -> PathBuf {
    let directory = directory_of(target);
    let name = target.file_name().unwrap_or_default();
    directory.join(name::ledger(name, &canonical(directory)))
}

/// The directory a target lies in, as a path that can be opened.
pub(crate) fn directory_of(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn canonical(directory: &Path) -> PathBuf {
    std::fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned())
}

fn open_new(path: &Path) -> io::Result<File> {
    fault::check("create part")?;
    let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
    File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(nofollow)
        .open(path)
}

/// Removes the part file of a run that is over; one that is alive holds the lock.
fn remove_stale(path: &Path, target: &Path) -> Result<()> {
    let failed = |error| Error::local("replace", path, error);
    let there = std::fs::symlink_metadata(path);
    if there.as_ref().is_ok_and(|meta| meta.is_file()) {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        match File::options().write(true).custom_flags(flags).open(path) {
            Ok(file) => {
                lock(&file, target)?;
                if !is_at(&file, path) {
                    // Somebody else has removed it, and what is there now is alive.
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

/// Locks without waiting; false where the file system has no locks. That is no reason to fail: correctness
/// rests on the inode and the rename.
fn lock(file: &File, target: &Path) -> Result<bool> {
    if fault::check("lock").is_err() {
        return Ok(false);
    }
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(busy(target)),
        locked => Ok(locked.is_ok()),
    }
}

fn busy(target: &Path) -> Error {
    let target = target.to_string_lossy();
    let message = format!("another process is downloading to {}", Escaped(&target));
    Error::new(Kind::Exists, message).hint("wait for it, or choose another target with --output")
}

/// What `st_blocks` counts (inode(7)).
const STAT_BLOCK_BYTES: u64 = 512;
