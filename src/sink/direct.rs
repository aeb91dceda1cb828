//! O_DIRECT: from aligned blocks around the page cache to the disk.

use std::fs::File;
use std::sync::Arc;

use rustix::fs::OFlags;

use super::Part;
use crate::block::Block;
use crate::error::Result;
use crate::fault;
use crate::io::Io;
use crate::units::narrow;

pub(crate) struct Direct {
    file: Arc<File>,
    path: std::path::PathBuf,
    alignment: usize,
}

impl Direct {
    /// Switches the part file to O_DIRECT.
    pub(super) fn open(part: &Part, alignment: u32) -> Result<Self> {
        let file = Arc::clone(part.file());
        let flags =
            rustix::fs::fcntl_getfl(&*file).map_err(|error| part.failed("open", error.into()))?;
        fault::check("set direct").map_err(|error| part.failed("open with O_DIRECT", error))?;
        rustix::fs::fcntl_setfl(&*file, flags | OFlags::DIRECT)
            .map_err(|error| part.failed("open with O_DIRECT", error.into()))?;
        let alignment = narrow(u64::from(alignment));
        Ok(Self { file, path: part.target().to_owned(), alignment })
    }

    /// Writes the block; the file's last one is padded with zeros to the alignment.
    pub(super) async fn commit(&self, io: &Io, mut block: Block) -> Result<Block> {
        let length = block.pad_to(self.alignment);
        let (written, block) = io.write(&self.file, block, length).await;
        match written {
            Ok(()) => Ok(block),
            Err(error) => Err(crate::error::Error::local("write", &self.path, error)),
        }
    }
}
