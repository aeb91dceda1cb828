//! All names of a tree, for whoever wants to know which are too many.

use std::io;
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags};

use super::{OURS, Tree, open_beneath};
use crate::error::{Error, Result};

impl Tree {
    /// Tells every file, symbolic link and whatever else is no directory, in any order, but what is ours.
    ///
    /// # Errors
    /// If a directory cannot be read: what is in it is unknown then.
    pub(crate) fn walk(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut left = vec![String::new()];
        while let Some(path) = left.pop() {
            self.walk_one(&path, &mut left, each).map_err(|error| {
                Error::local("read the directory", &self.path.join(Path::new(&path)), error)
            })?;
        }
        Ok(())
    }

    fn walk_one(
        &self,
        path: &str,
        left: &mut Vec<String>,
        each: &mut dyn FnMut(&[u8]),
    ) -> io::Result<()> {
        let directory = open_beneath(&self.root, if path.is_empty() { "." } else { path })?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(&directory, ".", flags, Mode::empty())?;
        for entry in Dir::new(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || (path.is_empty() && name == OURS.as_bytes()) {
                continue;
            }
            let full = match path {
                "" => name.to_vec(),
                path => [path.as_bytes(), b"/", name].concat(),
            };
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let stat = rustix::fs::statat(
                        &self.root,
                        full.as_slice(),
                        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
                    )?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                known => known,
            };
            match (kind, String::from_utf8(full)) {
                (FileType::Directory, Ok(full)) => left.push(full),
                (_, Ok(full)) => each(full.as_bytes()),
                (_, Err(full)) => each(full.as_bytes()),
            }
        }
        Ok(())
    }
}
