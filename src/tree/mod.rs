//! The directory that a mirror fills: every name below it is reached by descriptors, and none leads out of
//! it.
//!
//! Directories are opened by openat2(2) beneath the root, with symbolic links refused on the way, so that
//! whoever else writes to the tree can swap what he likes: nothing is created outside. A file is made in a
//! directory of ours on the same file system and gets its name by a rename.
//!
//! Invariant: a name in the tree shows a whole file or none.

mod directories;
mod draft;
mod link;
mod walk;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps};

use self::directories::Directories;
pub(crate) use self::draft::Draft;
pub(crate) use self::link::Source;
use crate::error::{Error, Escaped, Kind, Result};
use crate::fault;
use crate::limits::MODIFIED_MAX;

/// A directory and all beneath it.
pub(crate) struct Tree {
    root: OwnedFd,
    /// For syncfs(2), which tells a failed write-back once to each descriptor that was open before it.
    synced: OwnedFd,
    path: PathBuf,
    /// Where drafts are made.
    drafts: OwnedFd,
    /// Whether drafts need no name there.
    has_unnamed: bool,
    number: AtomicU64,
    directories: Mutex<Directories>,
}

/// What tells a file from what it was: any write, and any file in its place, has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) size: u64,
    pub(crate) mtime_ns: i64,
    pub(crate) ino: u64,
    pub(crate) ctime_ns: i64,
}

impl Tree {
    /// Opens the directory, making it where it is missing.
    ///
    /// # Errors
    /// If it is none, or may not be written to.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let failed =
            |action: &str, path: &Path, error: io::Error| Error::local(action, path, error);
        std::fs::create_dir_all(path).map_err(|error| failed("create", path, error))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|error| failed("open", path, error.into()))?;
        let ours = path.join(OURS);
        for name in ["", DRAFTS, LARGE] {
            let directory = ours.join(name);
            match std::fs::create_dir(&directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed("create", &directory, error));
                }
                _ => {}
            }
        }
        let drafts = ours.join(DRAFTS);
        let drafts = open_beneath(&root, &format!("{OURS}/{DRAFTS}"))
            .map_err(|error| failed("open", &drafts, error))?;
        let path = std::fs::canonicalize(path).map_err(|error| failed("open", path, error))?;
        let (number, directories) = (AtomicU64::new(0), Mutex::default());
        let has_unnamed = draft::has_unnamed(&drafts);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let synced = rustix::fs::openat(&root, ".", flags, Mode::empty())
            .map_err(|error| failed("open", &path, error.into()))?;
        Ok(Self { root, synced, path, drafts, has_unnamed, number, directories })
    }

    /// Where it is, without a symbolic link on the way.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a run keeps its state, unless told otherwise.
    pub(crate) fn state_directory(&self) -> PathBuf {
        self.path.join(OURS)
    }

    /// Where large entries are made, on the file system of the tree.
    pub(crate) fn large_directory(&self) -> PathBuf {
        self.path.join(OURS).join(LARGE)
    }

    /// The fingerprint of a file; `None` if nothing has that name.
    ///
    /// # Errors
    /// If what has the name is no regular file, or the way there leads over a symbolic link.
    pub(crate) fn stat(&self, path: &str) -> Result<Option<Fingerprint>> {
        let (directory, name) = match self.directory_of(path, false) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(error) => return Err(failed("look for", path, error)),
        };
        match rustix::fs::statat(&*directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => fingerprint(&stat).map(Some).ok_or_else(|| not_a_file(path)),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(failed("look at", path, error.into())),
        }
    }

    /// Whether there is a directory in which a path would be.
    pub(crate) fn has_directory_of(&self, path: &str) -> Result<bool> {
        let found = self.directory_of(path, false);
        found.map(|found| found.is_some()).map_err(|error| failed("look for", path, error))
    }

    /// Opens a file to read it.
    pub(crate) fn read(&self, path: &str) -> Result<File> {
        let open = || -> io::Result<File> {
            let (directory, name) =
                self.directory_of(path, false)?.ok_or(io::ErrorKind::NotFound)?;
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let open = || rustix::fs::openat(&*directory, name, flags, Mode::empty());
            Ok(self.sparing(|| Ok(open()?))?.into())
        };
        open().map_err(|error| failed("open", path, error))
    }

    /// Makes a file that will have this path and has no name yet, and the directories on the way there.
    pub(crate) fn create(&self, path: &str) -> Result<Draft<'_>> {
        let create = || -> io::Result<Draft<'_>> {
            fault::check("create")?;
            let (directory, _) = self.directory_of(path, true)?.ok_or(io::ErrorKind::NotFound)?;
            // Of a directory that is gone the kernel says ENOENT or EPERM.
            self.sparing(|| Draft::create(self, Arc::clone(&directory))).or_else(|_| {
                let directory = self.directory_anew(path)?;
                self.sparing(|| Draft::create(self, Arc::clone(&directory)))
            })
        };
        create().map_err(|error| failed("create", path, error))
    }

    /// Gives a draft of this path its date and its name; a file that has the name is replaced in one step.
    pub(crate) fn publish(
        &self,
        mut draft: Draft<'_>,
        path: &str,
        modified: Option<SystemTime>,
    ) -> Result<Fingerprint> {
        let mut publish = || -> io::Result<Option<Fingerprint>> {
            if let Some(modified) = modified {
                rustix::fs::futimens(draft.file(), &times(modified))?;
            }
            fault::check("rename")?;
            let (_, name) = path.rsplit_once('/').unwrap_or((".", path));
            match draft.publish(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    draft.move_to(self.directory_anew(path)?);
                    draft.publish(name)?;
                }
                published => published?,
            }
            Ok(fingerprint(&rustix::fs::fstat(draft.file())?))
        };
        let published = publish().map_err(|error| failed("write", path, error))?;
        published.ok_or_else(|| not_a_file(path))
    }

    /// Gives a whole file that was made in [`Tree::large_directory`] its name in the tree.
    pub(crate) fn adopt(
        &self,
        from: &Path,
        path: &str,
        modified: Option<SystemTime>,
    ) -> Result<Fingerprint> {
        let adopt = || -> io::Result<Option<Fingerprint>> {
            if let Some(modified) = modified {
                File::options().write(true).open(from)?.set_modified(modified)?;
            }
            let (directory, name) =
                self.directory_of(path, true)?.ok_or(io::ErrorKind::NotFound)?;
            self.check_replaceable(&directory, name)?;
            rustix::fs::renameat(CWD, from, &*directory, name)?;
            let stat = rustix::fs::statat(&*directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(fingerprint(&stat))
        };
        let adopted = adopt().map_err(|error| failed("write", path, error))?;
        adopted.ok_or_else(|| not_a_file(path))
    }

    /// Whether one file answers to names that differ in case alone, or nobody can tell.
    pub(crate) fn folds_case(&self) -> bool {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&self.drafts, "case", flags, Mode::from_raw_mode(0o600));
        let other = rustix::fs::statat(&self.drafts, "CASE", AtFlags::SYMLINK_NOFOLLOW);
        // What stays is cleared away by the next run.
        let _ = rustix::fs::unlinkat(&self.drafts, "case", AtFlags::empty());
        made.is_err() || !matches!(other, Err(rustix::io::Errno::NOENT))
    }

    /// Waits until all of the tree's file system is on disk (syncfs(2)).
    pub(crate) fn sync(&self) -> Result<()> {
        let sync = || -> io::Result<()> {
            fault::check("sync")?;
            Ok(rustix::fs::syncfs(&self.synced)?)
        };
        sync().map_err(|error| Error::local("sync", &self.path, error))
    }

    /// The directory of a path and the last part of it; `None` if there is no such directory, and `make` is
    /// not set.
    fn directory_of<'a>(
        &self,
        path: &'a str,
        make: bool,
    ) -> io::Result<Option<(Arc<OwnedFd>, &'a str)>> {
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        if let Some(open) = self.directories().find(parent) {
            return Ok(Some((open, name)));
        }
        let opened = match self.open_directory(parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && make => {
                self.make_directories(parent)?;
                self.open_directory(parent)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened,
        };
        let opened = Arc::new(opened?);
        self.directories().keep(parent, &opened);
        Ok(Some((opened, name)))
    }

    /// The directory of a path, which somebody has removed while it was kept open.
    fn directory_anew(&self, path: &str) -> io::Result<Arc<OwnedFd>> {
        self.directories().forget(path.rsplit_once('/').map_or(".", |(parent, _)| parent));
        Ok(self.directory_of(path, true)?.ok_or(io::ErrorKind::NotFound)?.0)
    }

    fn open_directory(&self, path: &str) -> io::Result<OwnedFd> {
        self.sparing(|| open_beneath(&self.root, path))
    }

    /// Does something that needs a descriptor, with fewer directories open if there is none left: those only
    /// save time.
    fn sparing<T>(&self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
        loop {
            match open() {
                Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                    if !self.directories().spare() {
                        return Err(error);
                    }
                }
                opened => return opened,
            }
        }
    }

    fn make_directories(&self, path: &str) -> io::Result<()> {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        for end in ends {
            let (parent, name) = path[..end].rsplit_once('/').unwrap_or((".", &path[..end]));
            let parent = self.open_directory(parent)?;
            match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// A rename would replace a symbolic link or a FIFO: somebody else's, and nobody said that it may go.
    fn check_replaceable(&self, directory: &OwnedFd, name: &str) -> io::Result<()> {
        match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => Ok(()),
                FileType::Directory => Err(io::Error::from_raw_os_error(libc::EISDIR)),
                _ => Err(io::Error::other("something that is no regular file is in its place")),
            },
            Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn directories(&self) -> MutexGuard<'_, Directories> {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a directory beneath another, over no symbolic link (openat2(2), Linux 5.6); part by part where a
/// filter does not know that call.
fn open_beneath(root: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    // What is mounted below is another file system: nothing could be renamed there, nor synced.
    let rule = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    match rustix::fs::openat2(root, path, flags, Mode::empty(), rule) {
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {}
        Err(rustix::io::Errno::NAMETOOLONG) => {}
        opened => return Ok(opened?),
    }
    let mut at = rustix::fs::openat(root, ".", flags, Mode::empty())?;
    for part in path.split('/').filter(|part| *part != ".") {
        at = rustix::fs::openat(&at, part, flags, Mode::empty())?;
    }
    Ok(at)
}

fn fingerprint(stat: &rustix::fs::Stat) -> Option<Fingerprint> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let nanoseconds = |seconds: i64, rest: u64| {
        seconds.saturating_mul(1_000_000_000).saturating_add(i64::try_from(rest).unwrap_or(0))
    };
    Some(Fingerprint {
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        ino: stat.st_ino,
        ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
    })
}

/// The dates to give a file: the one of access is left alone.
fn times(modified: SystemTime) -> Timestamps {
    let since = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let since = since.min(MODIFIED_MAX);
    let seconds = i64::try_from(since.as_secs()).unwrap_or(0);
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: i64::from(since.subsec_nanos()) },
    }
}

fn failed(action: &str, path: &str, error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ELOOP) => {
            let message =
                format!("cannot {action} {}: a symbolic link is in the way", Escaped(path));
            Error::new(Kind::LocalIo, message)
                .hint("remove it, or leave the entry out")
                .because(error)
        }
        Some(libc::ENOTDIR) => {
            let message = format!(
                "cannot {action} {}: a file or a symbolic link is where a directory should be",
                Escaped(path)
            );
            Error::new(Kind::LocalIo, message)
                .hint("remove it, or leave the entry out")
                .because(error)
        }
        _ => Error::local(action, Path::new(path), error),
    }
}

fn not_a_file(path: &str) -> Error {
    let message = format!("{} is there and is no regular file", Escaped(path));
    Error::new(Kind::LocalIo, message).hint("remove it, or leave the entry out")
}

/// The directory of the tree that is ours.
const OURS: &str = ".ringpull";
const DRAFTS: &str = "drafts";
const LARGE: &str = "large";

#[cfg(test)]
mod tests;
