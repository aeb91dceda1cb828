//! All names of a tree, for whoever wants to know which are too many; and how those go.

use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{OURS, Tree, failed, open_beneath};
use crate::error::{Error, Result};

impl Tree {
    /// Tells every file, symbolic link and whatever else is no directory, in any order, but what is ours.
    ///
    /// # Errors
    /// If a directory cannot be read: what is in it is unknown then. Whatever `check` says, which is asked at
    /// each directory.
    pub(crate) fn walk(
        &self,
        each: &mut dyn FnMut(&[u8]),
        check: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let mut left = vec![String::new()];
        while let Some(path) = left.pop() {
            check()?;
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
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(error) => Err(error.into()),
            }
        };
        remove().map_err(|error| failed("remove", path, error))?;
        self.prune(path);
        Ok(())
    }

    /// Removes the directories of a path that are empty.
    fn prune(&self, path: &str) {
        let mut rest = path;
        while let Some((parent, _)) = rest.rsplit_once('/') {
            let Ok(Some((directory, name))) = self.directory_of(parent, false) else { break };
            if rustix::fs::unlinkat(&*directory, name, AtFlags::REMOVEDIR).is_err() {
                break;
            }
            self.directories().forget(parent);
            rest = parent;
        }
    }

    /// Removes a directory and those below it in which nothing is and which `may_go`, and those above that
    /// are empty by that; `from` is a path, or empty for the root. A run that was killed between two
    /// removals, or before it had a file to put there, leaves such.
    ///
    /// # Errors
    /// If a directory cannot be read. Whatever `check` says, which is asked at each directory.
    pub(crate) fn remove_hollow(
        &self,
        from: &str,
        may_go: &dyn Fn(&str) -> bool,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let (mut left, mut hollow) = (vec![from.to_owned()], Vec::new());
        while let Some(path) = left.pop() {
            check()?;
            let (others, mut has_files) = (left.len(), false);
            match self.walk_one(&path, &mut left, &mut |_| has_files = true) {
                Err(error) if is_none(&error) => continue,
                walked => walked.map_err(|error| failed("look into", &path, error))?,
            }
            let is_hollow = !has_files && left.len() == others && !path.is_empty();
            if is_hollow && path != FOUND && may_go(&path) {
                hollow.push(path);
            }
        }
        for path in hollow {
            self.prune(&format!("{path}/"));
        }
        Ok(())
    }

    /// The files where a file of this path cannot be because of them: one where a directory should be, or all
    /// in a directory that has its name, of which there may be none. `None` if there is something among them
    /// that is no regular file, or nothing is in the way.
    ///
    /// # Errors
    /// If what is there cannot be looked at.
    pub(crate) fn obstacles(&self, path: &str) -> Result<Option<Vec<String>>> {
        self.find_obstacles(path).map_err(|error| failed("look at", path, error))
    }

    fn find_obstacles(&self, path: &str) -> io::Result<Option<Vec<String>>> {
        let ends = path.match_indices('/').map(|(end, _)| end);
        for above in ends.map(|end| &path[..end]) {
            match self.kind_of(above)? {
                Some(FileType::Directory) => {}
                Some(FileType::RegularFile) => return Ok(Some(vec![above.to_owned()])),
                _ => return Ok(None),
            }
        }
        if self.kind_of(path)? != Some(FileType::Directory) {
            return Ok(None);
        }
        let (mut left, mut files) = (vec![path.to_owned()], Vec::new());
        while let Some(directory) = left.pop() {
            self.walk_one(&directory, &mut left, &mut |file| files.push(file.to_vec()))?;
        }
        let mut named = Vec::new();
        for file in files {
            // No list can name what is not UTF-8, so nobody has said that it may go.
            let Ok(file) = String::from_utf8(file) else { return Ok(None) };
            if self.kind_of(&file)? != Some(FileType::RegularFile) {
                return Ok(None);
            }
            named.push(file);
        }
        Ok(Some(named))
    }

    /// What has a path; `None` if there is nothing, or a link on the way.
    fn kind_of(&self, path: &str) -> io::Result<Option<FileType>> {
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        let parent = match open_beneath(&self.root, parent) {
            Ok(parent) => parent,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
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

/// Where a file system puts what its check has found, right below its root: it is empty, and to stay.
const FOUND: &str = "lost+found";

/// Whether there is no directory of a name.
fn is_none(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
