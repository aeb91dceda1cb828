//! The part file: where bytes wait, unseen under the target's name, until all of them are right and on disk.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, OFlags};
use tokio::sync::oneshot;

use crate::error::{Error, Escaped, Kind, Result};
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

/// What publishing gives the file, and what it may replace.
pub(crate) struct Publish {
    pub(crate) modified: Option<SystemTime>,
    pub(crate) overwrite: bool,
    pub(crate) sync: bool,
}

/// What became of the name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// It survives a power cut.
    Durable,
    /// It may not: nobody asked for it, or the directory cannot be synced, for this reason.
    Unsynced(Option<String>),
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
        let opened = File::options().read(true).write(true).custom_flags(flags).open(&path);
        let Ok(file) = opened else { return Ok(None) };
        if !file.metadata().is_ok_and(|meta| crate::sys::is_our_own(&meta)) {
            return Ok(None);
        }
        let is_locked = lock(&file, target)?;
        // Without a lock nobody knows who else goes on with it; a new file is nobody else's.
        if !is_locked || !is_at(&file, &path) {
            return Ok(None);
        }
        let part = Self::new(file, path, target, is_locked);
        part.keep();
        Ok(Some(part))
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
        if is_at(&self.file, &self.path) {
            // Best effort: a leftover is removed by the next run.
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Whether the file system has allocated all of `size` bytes.
    pub(crate) fn is_allocated(&self, size: u64) -> bool {
        let blocks = self.file.metadata().map_or(0, |meta| meta.blocks());
        blocks.saturating_mul(STAT_BLOCK_BYTES) >= size
    }

    /// Refuses a file that somebody has cut off meanwhile: what was in it would be zeros.
    ///
    /// `was_allocated` says that [`Self::is_allocated`] was true before the first byte: blocks do not go
    /// away by themselves.
    ///
    /// # Errors
    /// `Kind::LocalIo`; as [`Self::prepare`] if the file was replaced or removed.
    pub(crate) fn check_whole(&self, size: u64, was_allocated: bool) -> Result<()> {
        self.check_identity()?;
        let length = self.file.metadata().map_err(|error| self.failed("look at", error))?.len();
        if length >= size && (!was_allocated || self.is_allocated(size)) {
            return Ok(());
        }
        self.forget();
        let path = self.path.to_string_lossy();
        let message = format!("{} was cut off during the download", Escaped(&path));
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

    /// Gives the file its mode and time.
    ///
    /// # Errors
    /// `Kind::LocalIo` if somebody has replaced the part file.
    pub(crate) fn prepare(&self, how: &Publish) -> Result<()> {
        self.check_identity()?;
        let mode = Permissions::from_mode(0o666 & !crate::sys::umask());
        self.file.set_permissions(mode).map_err(|error| self.failed("set the mode of", error))?;
        let Some(modified) = how.modified else { return Ok(()) };
        self.file.set_modified(modified).map_err(|error| self.failed("set the time of", error))
    }

    /// Waits until the disk has the file. A failure is final: the pages that could not be written are lost
    /// (`fsync(2)`). Dropping the future abandons the file.
    pub(crate) async fn sync(&self) -> Result<()> {
        let (tell, told) = oneshot::channel();
        let file = Arc::clone(&self.file);
        // On a thread of its own, since a disk in trouble may take minutes and nothing must wait for it.
        let started = std::thread::Builder::new().name("ringpull-sync".into()).spawn(move || {
            // Nobody may wait any more.
            let _ = tell.send(file.sync_all());
        });
        let synced = match started {
            Ok(_) => told.await.unwrap_or_else(|_| Err(io::Error::other("its thread has died"))),
            Err(_) => self.file.sync_all(),
        };
        synced.map_err(|error| self.sync_failed(error))
    }

    /// A file system without fsync keeps no promise about power cuts, and neither can we: that is for the
    /// user to accept. Nothing is lost by it.
    fn sync_failed(&self, error: io::Error) -> Error {
        let has_none = crate::sys::has_no_sync(&error);
        let failed = self.failed("sync", error);
        match has_none {
            true => failed.hint("this file system has no fsync; use --no-sync to do without"),
            false => failed,
        }
    }

    /// Gives the file its name, without replacing unless that is allowed, and makes the name durable.
    ///
    /// # Errors
    /// `Kind::Exists` if the target has appeared and may not be replaced.
    pub(crate) fn publish(&mut self, how: &Publish) -> Result<Named> {
        self.check_identity()?;
        let directory = directory_of(&self.target);
        // Opened before the rename: afterwards a failure would leave a file under the target's name.
        let opened = how.sync.then(|| crate::sys::open_directory(directory));
        let opened = match opened.transpose() {
            // A directory that one may write to and not read.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Some(Err(error)),
            opened => opened.map_err(|error| Error::local("open", directory, error))?.map(Ok),
        };
        let renamed = match how.overwrite {
            true => std::fs::rename(&self.path, &self.target),
            false => crate::sys::rename_new(&self.path, &self.target),
        };
        renamed.map_err(|error| self.rename_failed(error))?;
        self.published = true;
        match opened {
            Some(opened) => {
                self.settle_name(how, opened.and_then(|directory| directory.sync_all()))
            }
            None => Ok(Named::Unsynced(None)),
        }
    }

    /// Judges how the sync of the directory has ended.
    ///
    /// Where there is none for directories, or none for us, the file itself is durable and the name most
    /// likely is. Where it failed, the name must not look as if it were durable: the file is a part file
    /// again, so that another run only has to publish it. A target that was replaced stays: what stood
    /// there is gone, and what stands there is whole.
    fn settle_name(&mut self, how: &Publish, synced: io::Result<()>) -> Result<Named> {
        let Err(error) = synced else { return Ok(Named::Durable) };
        if crate::sys::has_no_sync(&error) || error.kind() == io::ErrorKind::PermissionDenied {
            return Ok(Named::Unsynced(Some(crate::error::reason(&error))));
        }
        if !how.overwrite && is_at(&self.file, &self.target) {
            match crate::sys::rename_new(&self.target, &self.path) {
                Ok(()) => self.published = false,
                // Best effort, on a disk in trouble.
                Err(_) => drop(std::fs::remove_file(&self.target)),
            }
        }
        Err(Error::local("sync", directory_of(&self.target), error))
    }

    /// Whether the file has its name, durable or not.
    pub(crate) fn is_published(&self) -> bool {
        self.published
    }

    fn rename_failed(&self, error: io::Error) -> Error {
        if error.kind() != io::ErrorKind::Unsupported {
            return self.failed("rename to", error);
        }
        let target = self.target.to_string_lossy();
        let message = format!(
            "the file system can neither rename to {} without replacing nor link",
            Escaped(&target)
        );
        Error::new(Kind::LocalIo, message)
            .hint("run it again with --overwrite: what was fetched is kept where it can be")
            .because(error)
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

#[cfg(test)]
mod tests;
