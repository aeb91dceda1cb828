//! All names of a tree, for whoever wants to know which are too many; and how those go.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{OURS, Tree, failed, open_beneath};
use crate::error::{Error, Result};
use crate::units::wide;

impl Tree {
    /// Tells every file, symbolic link and whatever else is no directory, in any order, but what is ours, and
    /// what a check of the file system has found.
    ///
    /// # Errors
    /// If a directory cannot be read: what is in it is unknown then. Whatever `each` says.
    pub(crate) fn walk(&self, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut left = vec![String::new()];
        while let Some(path) = left.pop() {
            self.walk_one(&path, &mut left, each)?;
        }
        Ok(())
    }

    /// Removes a file, and the directories that are empty by that.
    pub(crate) fn remove(&self, path: &str) -> Result<()> {
        let remove = || -> io::Result<()> {
            let Some((directory, name)) = self.parent_of(path)? else { return Ok(()) };
            match rustix::fs::unlinkat(&directory, name, AtFlags::empty()) {
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
            let Ok(Some((directory, name))) = self.parent_of(parent) else { break };
            if rustix::fs::unlinkat(&directory, name, AtFlags::REMOVEDIR).is_err() {
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
    /// If a directory cannot be read. Whatever `check` says, which is asked at each name.
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
            let mut each = |_: &[u8]| {
                has_files = true;
                check()
            };
            let is_there = self.walk_one(&path, &mut left, &mut each)?;
            let is_hollow = is_there && !has_files && left.len() == others && !path.is_empty();
            if is_hollow && may_go(&path) {
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
    /// that is no regular file, or that must stay, as `may_go` says of files and directories, or more than
    /// `most`, or nothing is in the way.
    ///
    /// # Errors
    /// If what is there cannot be looked at. Whatever `check` says, which is asked at each name.
    pub(crate) fn obstacles(
        &self,
        path: &str,
        most: u64,
        may_go: &dyn Fn(&str) -> bool,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<Option<Vec<String>>> {
        let kind = |at: &str| self.kind_of(at).map_err(|error| failed("look at", at, error));
        let ends = path.match_indices('/').map(|(end, _)| end);
        for above in ends.map(|end| &path[..end]) {
            match kind(above)? {
                Some(FileType::Directory) => {}
                Some(FileType::RegularFile) => {
                    return Ok((most > 0 && may_go(above)).then(|| vec![above.to_owned()]));
                }
                _ => return Ok(None),
            }
        }
        if kind(path)? != Some(FileType::Directory) {
            return Ok(None);
        }
        let (mut left, mut files, mut stays) = (vec![path.to_owned()], Vec::new(), false);
        while let Some(directory) = left.pop() {
            let mut each = |file: &[u8]| {
                // No list can name what is not UTF-8, so nobody has said that it may go.
                match str::from_utf8(file) {
                    Ok(file) if !stays && wide(files.len()) < most => files.push(file.to_owned()),
                    _ => stays = true,
                }
                check()
            };
            self.walk_one(&directory, &mut left, &mut each)?;
            if stays || !may_go(&directory) {
                return Ok(None);
            }
        }
        for file in &files {
            check()?;
            if !may_go(file) || kind(file)? != Some(FileType::RegularFile) {
                return Ok(None);
            }
        }
        Ok(Some(files))
    }

    /// The directory that a path lies in, and the name there; `None` if there is none. Looked for anew: a
    /// descriptor that was kept may be of one that somebody has moved out of the tree.
    fn parent_of<'a>(&self, path: &'a str) -> io::Result<Option<(OwnedFd, &'a str)>> {
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        match open_beneath(&self.root, parent) {
            Ok(parent) => Ok(Some((parent, name))),
            Err(error) if is_none(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What has a path; `None` if there is nothing, or a link on the way.
    fn kind_of(&self, path: &str) -> io::Result<Option<FileType>> {
        let Some((parent, name)) = self.parent_of(path)? else { return Ok(None) };
        match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells what is in a directory, and puts the directories in it to those that are left; false if there is
    /// no such directory.
    fn walk_one(
        &self,
        path: &str,
        left: &mut Vec<String>,
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<bool> {
        let unread =
            |error| Error::local("read the directory", &self.path.join(Path::new(path)), error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = || -> io::Result<Dir> {
            let directory = open_beneath(&self.root, if path.is_empty() { "." } else { path })?;
            let directory = rustix::fs::openat(&directory, ".", flags, Mode::empty())?;
            Ok(Dir::new(directory)?)
        };
        let directory = match open() {
            Ok(directory) => directory,
            Err(error) if is_none(&error) => return Ok(false),
            Err(error) => return Err(unread(error)),
        };
        for entry in directory {
            let entry = entry.map_err(|error| unread(error.into()))?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || (path.is_empty() && is_apart(name)) {
                continue;
            }
            let full = match path {
                "" => name.to_vec(),
                path => [path.as_bytes(), b"/", name].concat(),
            };
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let flags = AtFlags::SYMLINK_NOFOLLOW;
                    let stat = rustix::fs::statat(&self.root, full.as_slice(), flags);
                    FileType::from_raw_mode(stat.map_err(|error| unread(error.into()))?.st_mode)
                }
                known => known,
            };
            match (kind, String::from_utf8(full)) {
                (FileType::Directory, Ok(full)) => left.push(full),
                (_, Ok(full)) => each(full.as_bytes())?,
                (_, Err(full)) => each(full.as_bytes())?,
            }
        }
        Ok(true)
    }
}

/// Whether a name right below the root is none of the tree's.
fn is_apart(name: &[u8]) -> bool {
    name == OURS.as_bytes() || name == FOUND.as_bytes()
}

/// Where a file system puts what its check has found, right below its root: it is to stay, and nobody but
/// root may look into it.
const FOUND: &str = "lost+found";

/// Whether there is no directory of a name.
fn is_none(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
