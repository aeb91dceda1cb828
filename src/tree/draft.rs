//! A file of the tree before it has its name. Dropped, it goes.
//!
//! Where the file system can, it is a file without a name in the directory that it belongs to (`O_TMPFILE`,
//! open(2)): there is nothing to clear away after a kill, and the file system puts it where it puts the
//! others of the directory. All files of a mirror made in one directory would be looked for room in one
//! corner of the disk: 10,000 of them took three times the system time on ext4. Elsewhere it has a number in
//! a directory of ours.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::{DRAFTS, OURS, Tree};
use crate::error::{Error, Result};
use crate::fault;

/// A file without a name in the tree.
pub(crate) struct Draft<'a> {
    tree: &'a Tree,
    directory: Arc<OwnedFd>,
    file: File,
    /// Its name among the drafts, if it has one.
    name: Option<String>,
}

impl<'a> Draft<'a> {
    /// A draft of a file in a directory.
    pub(super) fn create(tree: &'a Tree, directory: Arc<OwnedFd>) -> io::Result<Self> {
        if tree.has_unnamed {
            let file = unnamed(&directory)?;
            return Ok(Self { tree, directory, file, name: None });
        }
        let name = number(tree);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&tree.drafts, &name, flags, Mode::from_raw_mode(0o666))?;
        Ok(Self { tree, directory, file: file.into(), name: Some(name) })
    }

    /// A whole file that gets one more name.
    pub(super) fn of(tree: &'a Tree, directory: Arc<OwnedFd>, file: File) -> Self {
        Self { tree, directory, file, name: None }
    }

    /// Writes bytes at an offset, all of them.
    ///
    /// # Errors
    /// `Kind::NoSpace` where the disk is full, and whatever else the file system says.
    pub(crate) fn write_all_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let written = fault::check("write").and_then(|()| self.file.write_all_at(bytes, offset));
        written.map_err(|error| Error::local("write", Path::new("a file of the mirror"), error))
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// It belongs to another directory, on the same file system.
    pub(super) fn move_to(&mut self, directory: Arc<OwnedFd>) {
        self.directory = directory;
    }

    /// Gives it its name in the tree; a file that has it is replaced in one step.
    pub(super) fn publish(&mut self, name: &str) -> io::Result<()> {
        if self.name.is_none() {
            match link(&self.file, &self.directory, name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                done => return done,
            }
        }
        self.tree.check_replaceable(&self.directory, name)?;
        if self.name.is_none() {
            let number = number(self.tree);
            link(&self.file, &self.tree.drafts, &number)?;
            self.name = Some(number);
        }
        if let Some(draft) = &self.name {
            rustix::fs::renameat(&self.tree.drafts, draft, &*self.directory, name)?;
        }
        self.name = None;
        Ok(())
    }
}

impl Tree {
    /// Clears away the drafts that a killed run has left. Only for whoever is alone here.
    ///
    /// # Errors
    /// If they cannot be removed.
    pub(crate) fn clear_away(&self) -> Result<()> {
        clear(&self.path.join(OURS).join(DRAFTS))
    }

    /// Clears away what was begun of large entries and has not been finished. Only for whoever is alone
    /// here, and needs none of them any more.
    ///
    /// # Errors
    /// If they cannot be removed.
    pub(crate) fn clear_large(&self) -> Result<()> {
        clear(&self.large_directory())
    }
}

fn clear(directory: &Path) -> Result<()> {
    let failed = |action: &str, error| Error::local(action, directory, error);
    for left in std::fs::read_dir(directory).map_err(|error| failed("read", error))? {
        let left = left.map_err(|error| failed("read", error))?.path();
        std::fs::remove_file(&left).map_err(|error| failed("clear", error))?;
    }
    Ok(())
}

/// Whether files without a name can be made here, and get one later.
pub(super) fn has_unnamed(drafts: &OwnedFd) -> bool {
    let named = unnamed(drafts).and_then(|file| link(&file, drafts, "probe"));
    let removed = rustix::fs::unlinkat(drafts, "probe", AtFlags::empty());
    named.is_ok() && removed.is_ok()
}

fn unnamed(directory: &OwnedFd) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, ".", flags, Mode::from_raw_mode(0o666))?.into())
}

/// Gives a file without a name one (open(2), `O_TMPFILE`).
///
/// Through its descriptor, which saves the kernel a walk through /proc (3 us of 40 for a small file). Before
/// Linux 6.10 that takes CAP_DAC_READ_SEARCH, and whoever lacks it is told that there is no such file.
fn link(file: &File, directory: &OwnedFd, name: &str) -> io::Result<()> {
    match rustix::fs::linkat(file, "", directory, name, AtFlags::EMPTY_PATH) {
        Err(Errno::NOENT) => {}
        done => return Ok(done?),
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::linkat(CWD, path, directory, name, AtFlags::SYMLINK_FOLLOW)?)
}

fn number(tree: &Tree) -> String {
    tree.number.fetch_add(1, Relaxed).to_string()
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // What stays is cleared away by the next run.
            let _ = rustix::fs::unlinkat(&self.tree.drafts, name, AtFlags::empty());
        }
    }
}
