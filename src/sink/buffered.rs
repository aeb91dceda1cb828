//! Through the page cache: any file system, any length.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use crate::block::Block;
use crate::error::{Error, Result};
use crate::fault;
use crate::io::Io;

pub(crate) struct Buffered {
    file: Arc<File>,
    path: PathBuf,
}

impl Buffered {
    pub(super) fn new(file: Arc<File>, path: PathBuf) -> Self {
        Self { file, path }
    }

    pub(super) async fn commit(&self, io: &Io, block: Block) -> Result<Block> {
        let length = block.filled();
        let (written, block) = io.write(&self.file, block, length).await;
        match written {
            Ok(()) => Ok(block),
            Err(error) => Err(Error::local("write", &self.path, error)),
        }
    }

    /// The stream may have ended before what was allocated, and an earlier run may have written around the
    /// page cache beyond the end. A file that is too short stays so, to be noticed.
    pub(super) fn finish(&self, size: u64) -> Result<()> {
        let meta = fault::check("measure").and_then(|()| self.file.metadata());
        let length = meta.map(|meta| meta.len());
        if length.is_ok_and(|length| length <= size) {
            return Ok(());
        }
        let cut = fault::check("cut off").and_then(|()| self.file.set_len(size));
        cut.map_err(|error| Error::local("truncate", &self.path, error))
    }
}
