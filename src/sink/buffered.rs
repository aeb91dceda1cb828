//! Through the page cache: any file system, any length.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use crate::block::Block;
use crate::error::{Error, Result};
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
}
