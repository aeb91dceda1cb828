//! A file of the tree before it has its name. Dropped, it goes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use rustix::fs::{AtFlags, Mode, OFlags};

use super::Tree;
use crate::error::{Error, Result};
use crate::fault;

/// A file without a name in the tree.
pub(crate) struct Draft<'a> {
    tree: &'a Tree,
    file: File,
    name: String,
    is_kept: bool,
}

impl<'a> Draft<'a> {
    pub(super) fn create(tree: &'a Tree) -> io::Result<Self> {
        let name = tree.number.fetch_add(1, Relaxed).to_string();
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&tree.drafts, &name, flags, Mode::from_raw_mode(0o666))?;
        Ok(Self { tree, file: file.into(), name, is_kept: false })
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

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// It has its name now.
    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            // What stays is cleared away by the next run.
            let _ = rustix::fs::unlinkat(&self.tree.drafts, &self.name, AtFlags::empty());
        }
    }
}
