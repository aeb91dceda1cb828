//! The part file: where bytes wait, unseen under the target's name, until all of them are right and on disk.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::{FlockOperation, OFlags};

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

    /// Makes the file durable and gives it its name: mode and time, fsync, rename, fsync of the directory.
    ///
    /// # Errors
    /// `Kind::Exists` if the target has appeared and may not be replaced; a failed fsync is final, since
    /// the pages it could not write are lost (`fsync(2)`).
    pub(crate) fn publish(mut self, how: &Publish) -> Result<()> {
        self.check_identity()?;
        let mode = 0o666 & !crate::sys::umask();
        let failed = |action, error| Error::local(action, &self.target, error);
        self.file
            .set_permissions(Permissions::from_mode(mode))
            .map_err(|error| failed("set the mode of", error))?;
        if let Some(modified) = how.modified {
            self.file.set_modified(modified).map_err(|error| failed("set the time of", error))?;
        }
        if how.sync {
            self.file.sync_all().map_err(|error| failed("sync", error))?;
        }
        let renamed = match how.overwrite {
            true => std::fs::rename(&self.path, &self.target),
            false => crate::sys::rename_new(&self.path, &self.target),
        };
        renamed.map_err(|error| failed("rename to", error))?;
        self.published = true;
        if how.sync {
            let directory = directory_of(&self.target);
            let synced = File::open(directory).and_then(|directory| directory.sync_all());
            match synced {
                // Some file systems cannot sync a directory; the file itself is safe by then.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                done => done.map_err(|error| Error::local("sync", directory, error))?,
            }
        }
        Ok(())
    }

    /// Someone may have replaced or removed the part file meanwhile: only what we wrote is published.
    fn check_identity(&self) -> Result<()> {
        let ours = self.file.metadata().map_err(|error| self.failed("check", error))?;
        match std::fs::symlink_metadata(&self.path) {
            Ok(there) if same_file(&ours, &there) => Ok(()),
            _ => {
                let path = self.path.to_string_lossy();
                let message =
                    format!("{} was removed or replaced during the download", Escaped(&path));
                Err(Error::new(Kind::LocalIo, message).hint("run the same command again"))
            }
        }
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
            Ok(file) => lock(&file, target)?,
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

fn same_file(one: &std::fs::Metadata, other: &std::fs::Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
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
