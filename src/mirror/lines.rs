//! Files of lines that a run writes for its user: the results, and what failed.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A file of lines that gets its name when it is whole.
pub(super) struct Lines {
    out: BufWriter<File>,
    path: PathBuf,
    beside: PathBuf,
}

/// Where such a file is until it has its name.
pub(super) fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    PathBuf::from(beside)
}

impl Lines {
    /// Begins a file that will be at `path`.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let beside = beside(path);
        let file = File::create(&beside).map_err(|error| Error::local("create", &beside, error))?;
        Ok(Self { out: BufWriter::with_capacity(64 << 10, file), path: path.to_owned(), beside })
    }

    pub(super) fn line(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.out.write_all(bytes).and_then(|()| self.out.write_all(b"\n"));
        written.map_err(|error| Error::local("write", &self.beside, error))
    }

    /// Gives the file its name.
    pub(super) fn publish(mut self) -> Result<()> {
        let flushed = self.out.flush().and_then(|()| self.out.get_ref().sync_data());
        flushed
            .and_then(|()| std::fs::rename(&self.beside, &self.path))
            .map_err(|error| Error::local("write", &self.path, error))
    }
}
