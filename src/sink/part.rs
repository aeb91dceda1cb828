//! The part file: where bytes wait, unseen under the target's name, until all of them are right and on disk.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::{FlockOperation, OFlags};
use tokio::sync::oneshot;

use crate::error::{Error, Escaped, Kind, Result};
use crate::name;

/// A file of fixed-length name beside its target, mode 0600, locked. Dropped unpublished, it is removed.
pub(crate) struct Part {
    file: Arc<File>,
    path: PathBuf,
    target: PathBuf,
    published: bool,
}

/// What publishing gives the file, and what it may replace.
pub(crate) struct Publish {
    pub(crate) modified: Option<SystemTime>,
    pub(crate) overwrite: bool,
    pub(crate) sync: bool,
}

impl Part {
    /// Creates the part file of `target`; what a killed run has left there is removed.
    ///
    /// # Errors
    /// `Kind::Exists` if another process is at work on it; otherwise as [`Error::local`].
    pub(crate) fn create(target: &Path) -> Result<Self> {
        let directory = directory_of(target);
        let name = target.file_name().unwrap_or_default();
        let path = directory.join(name::part(name, &canonical(directory)));
        let failed = |error| Error::local("create a file in", directory, error);
        for _ in 0..2 {
            match open_new(&path) {
                Ok(file) => {
                    lock(&file, target)?;
                    if !is_at(&file, &path) {
                        // Another process took it for a leftover before it was locked.
                        continue;
                    }
                    let target = target.to_owned();
                    return Ok(Self { file: Arc::new(file), path, target, published: false });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    remove_stale(&path, target)?;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Err(busy(target))
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
        synced.map_err(|error| self.failed("sync", error))
    }

    /// Gives the file its name, without replacing unless that is allowed, and makes the name durable.
    ///
    /// # Errors
    /// `Kind::Exists` if the target has appeared and may not be replaced.
    pub(crate) fn publish(mut self, how: &Publish) -> Result<()> {
        self.check_identity()?;
        let directory = directory_of(&self.target);
        // Opened before the rename: afterwards a failure would leave a file under the target's name.
        let opened = match how.sync {
            true => Some(
                File::open(directory).map_err(|error| Error::local("open", directory, error))?,
            ),
            false => None,
        };
        let renamed = match how.overwrite {
            true => std::fs::rename(&self.path, &self.target),
            false => crate::sys::rename_new(&self.path, &self.target),
        };
        renamed.map_err(|error| self.failed("rename to", error))?;
        self.published = true;
        match opened.map(|directory| directory.sync_all()) {
            // Some file systems cannot sync a directory; the file itself is safe by then.
            Some(Err(error)) if error.raw_os_error() != Some(libc::EINVAL) => {
                if !how.overwrite && is_at(&self.file, &self.target) {
                    // The name is not durable: it must not look as if it were.
                    let _ = std::fs::remove_file(&self.target);
                }
                Err(Error::local("sync", directory_of(&self.target), error))
            }
            _ => Ok(()),
        }
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
        if !self.published && self.check_identity().is_ok() {
            // Best effort: a leftover is removed by the next run.
            let _ = std::fs::remove_file(&self.path);
        }
    }
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
        match File::options().write(true).open(path) {
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

/// Locks without waiting. A file system without locks is no reason to fail: correctness rests on the inode
/// and the rename.
fn lock(file: &File, target: &Path) -> Result<()> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(busy(target)),
        _ => Ok(()),
    }
}

fn busy(target: &Path) -> Error {
    let target = target.to_string_lossy();
    let message = format!("another process is downloading to {}", Escaped(&target));
    Error::new(Kind::Exists, message).hint("wait for it, or choose another target with --output")
}

/// Whether the path still names this very file.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    const NEW: Publish = Publish { modified: None, overwrite: false, sync: true };

    #[test]
    fn a_part_is_private_until_published_and_gone_if_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("f");
        let part = Part::create(&target).unwrap();
        let path = part.path.clone();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        drop(part);
        assert!(!path.exists() && !target.exists());
        let part = Part::create(&target).unwrap();
        part.file().write_all_at(b"hello", 0).unwrap();
        part.publish(&NEW).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"hello");
        assert!(!path.exists());
    }

    #[test]
    fn a_target_that_appeared_meanwhile_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("f");
        let part = Part::create(&target).unwrap();
        std::fs::write(&target, "theirs").unwrap();
        assert_eq!(part.publish(&NEW).unwrap_err().kind(), Kind::Exists);
        assert_eq!(std::fs::read(&target).unwrap(), b"theirs");
        let part = Part::create(&target).unwrap();
        part.publish(&Publish { overwrite: true, ..NEW }).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_second_run_waits_its_turn_and_a_stale_part_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("f");
        let first = Part::create(&target).unwrap();
        assert_eq!(Part::create(&target).err().unwrap().kind(), Kind::Exists);
        let path = first.path.clone();
        drop(first);
        std::fs::write(&path, "left by a killed run").unwrap();
        let second = Part::create(&target).unwrap();
        assert_eq!(second.file().metadata().unwrap().len(), 0);
    }

    #[test]
    fn a_replaced_part_is_not_published_nor_removed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("f");
        let part = Part::create(&target).unwrap();
        let path = part.path.clone();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "evil").unwrap();
        assert!(part.publish(&NEW).is_err());
        assert!(!target.exists() && path.exists());
    }

    #[test]
    fn a_symlink_planted_at_the_part_is_removed_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("f");
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "keep").unwrap();
        let path = { Part::create(&target).unwrap().path.clone() };
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        let part = Part::create(&target).unwrap();
        part.file().write_all_at(b"x", 0).unwrap();
        assert_eq!(std::fs::read(&victim).unwrap(), b"keep");
    }
}
