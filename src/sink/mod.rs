//! Where bytes go: a sink lends blocks and commits them. One file a variant, one `match` a verb.
//!
//! A committed block is where it belongs as far as the kernel has said so; durability is the part file's
//! business ([`Part::publish`]).

mod ahead;
mod begun;
mod buffered;
mod chunks;
mod direct;
mod mmap;
mod part;
mod stream;

pub use chunks::Chunk;
pub(crate) use chunks::Chunks;
pub(crate) use part::{Named, Part, Publish, directory_of, ledger_path, sync_existing};
pub(crate) use stream::{Stream, StreamTo};

use std::fs::File;
use std::sync::Arc;

use self::buffered::Buffered;
use self::direct::Direct;
use self::mmap::Mmap;
use crate::block::{Block, Place, Pool};
use crate::error::{Error, Kind, Result};
use crate::io::Io;
use crate::limits::DIRECT_BYTES_MIN;

/// Where the bytes of one item go.
pub(crate) enum Sink {
    /// O_DIRECT into the part file.
    Direct(Direct),
    /// Through the page cache into the part file.
    Buffered(Buffered),
    /// Received straight into the mapped part file.
    Mmap(Mmap),
    /// Nowhere.
    Discard,
    /// In order into a descriptor.
    Stream(Stream),
    /// In any order to the caller of the library.
    Chunks(Chunks),
}

/// How the user wants bytes to reach a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Whichever is faster; through the page cache where the file fits and nobody waits for the disk, or
    /// where it is read back.
    Auto {
        prefers_cache: bool,
    },
    Direct,
    Buffered,
    Mmap,
}

impl Sink {
    /// The sink for a part file of `size` bytes, which it allocates.
    ///
    /// # Errors
    /// `Kind::NoSpace` if the file does not fit; `Kind::LocalIo` if the file system cannot do what was
    /// asked for by name.
    pub(crate) fn open(
        manner: Manner,
        part: &Part,
        size: Option<u64>,
        block_size: u64,
    ) -> Result<Self> {
        let alignment = crate::sys::direct_alignment(part.file())
            .filter(|alignment| block_size.is_multiple_of(u64::from(*alignment)));
        let is_demanded = !matches!(manner, Manner::Auto { .. });
        let manner = match manner {
            Manner::Auto { prefers_cache } if is_for_direct(alignment, size, prefers_cache) => {
                Manner::Direct
            }
            Manner::Auto { .. } => Manner::Buffered,
            named => named,
        };
        match manner {
            Manner::Mmap => return Mmap::open(part, size).map(Self::Mmap),
            Manner::Direct => {
                let alignment = alignment.ok_or_else(|| no_direct(part));
                match alignment.and_then(|alignment| Direct::open(part, alignment)) {
                    Ok(direct) => return allocate(part, size).map(|()| Self::Direct(direct)),
                    Err(error) if is_demanded => return Err(error),
                    // The file system has promised what it does not keep.
                    Err(_) => {}
                }
            }
            _ => {}
        }
        allocate(part, size)?;
        Ok(Self::Buffered(Buffered::new(Arc::clone(part.file()), part.target().to_owned())))
    }

    /// The name in flags and reports.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Direct(_) => "direct",
            Self::Buffered(_) => "buffered",
            Self::Mmap(_) => "mmap",
            Self::Discard => "discard",
            Self::Stream(stream) => stream.name(),
            Self::Chunks(_) => "stream",
        }
    }

    /// Gets a lane thread ready for its commits.
    pub(crate) fn prepare(&self, io: &Io, pool: &Pool) {
        if let Self::Direct(_) = self {
            io.prepare(pool);
        }
    }

    /// Lends the block for a place in the file. Waits for a free one: the only back-pressure there is.
    pub(crate) async fn lend(&self, pool: &Pool, place: Place) -> Block {
        match self {
            Self::Mmap(mmap) => mmap.lend(place),
            Self::Chunks(_) => Block::own(place),
            Self::Direct(_) | Self::Buffered(_) | Self::Stream(_) => pool.lend(place).await,
            Self::Discard => pool.lend(place).await.unread(),
        }
    }

    /// Lends a block for a place that another lane is filling as well.
    ///
    /// It has memory of its own where the window of the file is with the other lane, and where blocks that
    /// wait for this one may have all of the pool.
    pub(crate) async fn lend_twin(&self, pool: &Pool, place: Place) -> Block {
        match self {
            Self::Mmap(_) | Self::Stream(_) | Self::Chunks(_) => Block::own(place),
            Self::Direct(_) | Self::Buffered(_) => pool.lend(place).await,
            Self::Discard => pool.lend(place).await.unread(),
        }
    }

    /// Puts a full block where it belongs and returns it, if the memory is still ours.
    ///
    /// Of the lanes that fill the same block only the one that has won it may commit it.
    pub(crate) async fn commit(&self, io: &Io, block: Block) -> Result<Option<Block>> {
        assert!(block.is_full(), "only full blocks are committed");
        match self {
            Self::Direct(direct) => direct.commit(io, block).await.map(Some),
            Self::Buffered(buffered) => buffered.commit(io, block).await.map(Some),
            Self::Mmap(mmap) => mmap.commit(io, block).await.map(Some),
            Self::Discard => Ok(Some(block)),
            Self::Stream(stream) => stream.commit(block).await.map(|()| None),
            Self::Chunks(chunks) => chunks.commit(block).await.map(|()| None),
        }
    }

    /// Whether blocks must come in order, at most a pool of them ahead.
    pub(crate) fn is_in_order(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Waits until nothing is at work on the file any more; no block may be lent after this.
    pub(crate) fn settle(&self) {
        if let Self::Mmap(mmap) = self {
            mmap.settle();
        }
    }

    /// Whether what is committed waits in the page cache, where a failed sync loses it.
    pub(crate) fn is_cached(&self) -> bool {
        matches!(self, Self::Buffered(_) | Self::Mmap(_))
    }

    /// Whether a commit may wait for somebody who never comes: the reader of a pipe, the caller.
    pub(crate) fn may_block_for_ever(&self) -> bool {
        matches!(self, Self::Stream(_) | Self::Chunks(_))
    }

    /// Gives the sink up for a new one; false if bytes went where they cannot be taken back.
    pub(crate) fn give_up(&self) -> bool {
        match self {
            Self::Stream(stream) => stream.give_up(),
            Self::Chunks(chunks) => chunks.give_up(),
            Self::Direct(_) | Self::Buffered(_) | Self::Mmap(_) | Self::Discard => true,
        }
    }
}

/// Whether `--write auto` goes around the page cache; the reasons and figures are at [`DIRECT_BYTES_MIN`].
fn is_for_direct(alignment: Option<u32>, size: Option<u64>, prefers_cache: bool) -> bool {
    let Some(size) = size else { return false };
    let fits_cache = || size <= available_memory() / 4;
    alignment.is_some() && size >= DIRECT_BYTES_MIN && !(prefers_cache && fits_cache())
}

/// Memory that the page cache could take without pressing others, in bytes.
fn available_memory() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Allocates the whole file before the first byte, so that a full disk shows at once. Where the file system
/// cannot allocate, the free space is at least compared, and only the size is set.
fn allocate(part: &Part, size: Option<u64>) -> Result<()> {
    let Some(size) = size else { return Ok(()) };
    let file: &File = part.file();
    // What an earlier run has allocated is not asked for again: some file systems want the room twice.
    if part.is_allocated(size) && file.metadata().is_ok_and(|meta| meta.len() >= size) {
        return Ok(());
    }
    match crate::sys::allocate(file, size) {
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {}
        done => return done.map_err(|error| part.failed("allocate", error)),
    }
    let missing = size.saturating_sub(part.allocated_bytes());
    if crate::sys::free_space(file).is_ok_and(|free| free < missing) {
        return Err(part.failed("allocate", std::io::Error::from_raw_os_error(libc::ENOSPC)));
    }
    file.set_len(size).map_err(|error| part.failed("extend", error))
}

fn no_direct(part: &Part) -> Error {
    let path = part.target().to_string_lossy();
    let path = crate::error::Escaped(&path);
    Error::new(
        Kind::LocalIo,
        format!("the file system of {path} has no O_DIRECT for this block size"),
    )
    .hint("use --write auto or --write buffered")
}
