//! A file of the tree made from another of it: as a copy that shares the blocks (FICLONE, ioctl_ficlone(2)),
//! or as one more name of the same file (link(2)).
//!
//! Nothing is judged here but that the source is still the file that it was. Invariant: what gets the name is
//! whole, and a file that has it is replaced in one step, as with drafts.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{Draft, Fingerprint, Tree, failed, fingerprint, not_a_file};
use crate::error::{Error, Kind, Result};
use crate::fault;

/// A whole file of the tree, kept open.
pub(crate) struct Source {
    file: File,
    print: Fingerprint,
    /// Its names.
    pub(crate) names: u64,
}

impl Source {
    /// What it was when it was last looked at.
    pub(crate) fn print(&self) -> Fingerprint {
        self.print
    }

    /// Whether nobody has written to it; that it has more names now does not count.
    ///
    /// # Errors
    /// Whatever fstat(2) says.
    pub(crate) fn look(&mut self) -> Result<bool> {
        let looked = rustix::fs::fstat(&self.file).map_err(|error| {
            Error::local("look at", Path::new("a file of the mirror"), error.into())
        })?;
        let now = fingerprint(&looked).unwrap_or(Fingerprint { ino: 0, ..self.print });
        let is_same = Fingerprint { ctime_ns: self.print.ctime_ns, ..now } == self.print;
        self.print.ctime_ns = now.ctime_ns;
        Ok(is_same)
    }
}

impl Tree {
    /// Opens a file to make others from it.
    ///
    /// # Errors
    /// If it is not there, or is no regular file.
    pub(crate) fn source(&self, path: &str) -> Result<Source> {
        let file = self.read(path)?;
        let look = || Ok((rustix::fs::fstat(&file)?, file.metadata()?.nlink()));
        let (stat, names) = look().map_err(|error: io::Error| failed("look at", path, error))?;
        let print = fingerprint(&stat).ok_or_else(|| not_a_file(path))?;
        Ok(Source { file, print, names })
    }

    /// Makes a file that shares its blocks with the source until one of them is written to.
    ///
    /// # Errors
    /// Where the file system cannot, and if the source was written to meanwhile.
    pub(crate) fn reflink(
        &self,
        source: &mut Source,
        path: &str,
        modified: Option<SystemTime>,
    ) -> Result<Fingerprint> {
        let draft = self.create(path)?;
        let cloned = fault::check("reflink")
            .and_then(|()| Ok(rustix::fs::ioctl_ficlone(draft.file(), &source.file)?));
        cloned.map_err(|error| failed("reflink", path, error))?;
        if !source.look()? {
            let message = "the file that was to be linked is being written to";
            return Err(Error::new(Kind::Changed, message));
        }
        let since = Duration::from_nanos(source.print.mtime_ns.try_into().unwrap_or(0));
        self.publish(draft, path, modified.or_else(|| SystemTime::UNIX_EPOCH.checked_add(since)))
    }

    /// Gives the source one more name: from now on they are one file, with one date.
    ///
    /// # Errors
    /// Where the file system cannot, or allows no more names (EMLINK).
    pub(crate) fn hard_link(&self, source: &Source, path: &str) -> Result<()> {
        // rename(2) does nothing where both names are of one file.
        if self.stat(path)?.is_some_and(|there| there.ino == source.print.ino) {
            return Ok(());
        }
        let draft = fault::check("link").and_then(|()| {
            let (directory, _) = self.directory_of(path, true)?.ok_or(io::ErrorKind::NotFound)?;
            Ok(Draft::of(self, directory, source.file.try_clone()?))
        });
        let draft = draft.map_err(|error| failed("link", path, error))?;
        self.publish(draft, path, None).map(|_| ())
    }
}
