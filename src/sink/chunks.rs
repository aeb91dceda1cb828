//! Chunks for the caller of the library: each in memory of its own, in whatever order they arrive.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::begun::Begun;
use crate::block::Block;
use crate::error::{Error, Kind, Result};
use crate::units::wide;

/// A piece of the file and where it belongs.
#[derive(Clone, PartialEq, Eq)]
pub struct Chunk {
    /// File offset of the first byte.
    pub offset: u64,
    /// The bytes; the caller's to keep.
    pub bytes: Bytes,
}

impl Chunk {
    /// File offset behind the last byte.
    pub fn end(&self) -> u64 {
        self.offset + wide(self.bytes.len())
    }
}

impl std::fmt::Debug for Chunk {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Chunk({}..{})", self.offset, self.end())
    }
}

pub(crate) struct Chunks {
    sender: mpsc::Sender<Result<Chunk>>,
    begun: Begun,
}

impl Chunks {
    pub(crate) fn new(sender: mpsc::Sender<Result<Chunk>>) -> Self {
        Self { sender, begun: Begun::default() }
    }

    /// See [`super::Sink::give_up`].
    pub(super) fn give_up(&self) -> bool {
        self.begun.close()
    }

    /// Waits until the caller has room for the chunk.
    pub(super) async fn commit(&self, block: Block) -> Result<()> {
        if !self.begun.begin() {
            // The download starts anew, and nobody waits for this block any more.
            return Ok(());
        }
        let chunk = Chunk { offset: block.offset(), bytes: block.into_bytes() };
        let gone = |_| Error::new(Kind::Interrupted, "the receiver of the chunks is gone");
        self.sender.send(Ok(chunk)).await.map_err(gone)
    }
}
