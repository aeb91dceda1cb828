//! All names of a tree, for whoever wants to know which are too many; and how those go.

use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use super::{OURS, Tree, failed, open_beneath};
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

    /// Removes a file, and the directories that are empty by that.
    pub(crate) fn remove(&self, path: &str) -> Result<()> {
        let remove = || -> io::Result<()> {
            let Some((directory, name)) = self.directory_of(path, false)? else { return Ok(()) };
            match rustix::fs::unlinkat(&*directory, name, AtFlags::empty()) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
                Err(error) => Err(error.into()),
            }
        };
        remove().map_err(|error| failed("remove", path, error))?;
        let mut rest = path;
        while let Some((parent, _)) = rest.rsplit_once('/') {
            let Ok(Some((directory, name))) = self.directory_of(parent, false) else { break };
            if rustix::fs::unlinkat(&*directory, name, AtFlags::REMOVEDIR).is_err() {
                break;
            }
            self.directories().forget(parent);
            rest = parent;
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
                    let stat =
                        rustix::fs::statat(&self.root, full.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
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
