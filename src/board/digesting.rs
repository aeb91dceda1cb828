//! How the digest of a file comes about while the file lands.

use super::Job;
use crate::block::{Block, Place, Pool};
use crate::digest::{Checksum, Follower};
use crate::error::{Error, Kind, Result};
use crate::plan::Plan;
use crate::sink::Stream;

/// How the digest of a file comes about while the file lands.
pub(crate) enum Digesting {
    /// Nobody asked for one, or the sink sees to it.
    Nothing,
    /// Blocks land in any order, and what was not hashed from memory in passing is read back.
    Behind(Follower),
    /// Blocks are hashed from memory, each in its turn, before they count as landed; none is read back.
    ///
    /// Leases are dealt no further ahead than there is memory, so they are short: for servers that answer at
    /// once ([`crate::limits::IN_TURN_WAIT_MAX`]).
    InTurn(Stream),
}

impl Digesting {
    /// Tells how far the file may be read.
    pub(super) fn follow(&self, plan: &Plan) {
        let Self::Behind(follower) = self else { return };
        let frontier = plan.landed_prefix();
        let is_inside = plan.blocks().is_none_or(|blocks| frontier < blocks);
        let offset = if is_inside { Some(plan.extent(frontier).start) } else { plan.size() };
        if let Some(offset) = offset {
            follower.landed_below(offset);
        }
    }

    /// Whether a block that is in the file must wait for its turn before it has landed.
    pub(crate) fn is_in_turn(&self) -> bool {
        matches!(self, Self::InTurn(_))
    }

    /// Hashes a block that is in the file when its turn has come; gives it back where none has a turn.
    ///
    /// # Errors
    /// If the thread that hashes is gone.
    pub(crate) async fn in_turn(&self, block: Block) -> Result<Option<Block>> {
        match self {
            Self::InTurn(hashing) => hashing.commit(block).await.map(|()| None),
            Self::Nothing | Self::Behind(_) => Ok(Some(block)),
        }
    }

    /// Offers a block that has landed, to be hashed from memory if it comes next.
    pub(crate) fn offer(&self, block: Block) {
        if let Self::Behind(follower) = self {
            follower.offer(block);
        }
    }

    /// The digest, after all `size` bytes have landed; `None` if there is none here.
    ///
    /// # Errors
    /// As [`Follower::finish`]; `Kind::Internal` if the thread that hashes has died.
    pub(crate) async fn finish(&self, size: u64) -> Result<Option<Checksum>> {
        match self {
            Self::Nothing => Ok(None),
            Self::Behind(follower) => follower.finish(size).await.map(Some),
            Self::InTurn(hashing) => match hashing.finish() {
                Some(digest) => Ok(Some(digest)),
                None => Err(Error::new(Kind::Internal, "the thread that hashes died")),
            },
        }
    }
}

impl Job {
    /// Whether blocks count in their order only, at most a pool of them ahead.
    pub(crate) fn is_in_order(&self) -> bool {
        self.sink.is_in_order() || self.digesting.is_in_turn()
    }

    /// Lends a block for a place that another lane is filling as well: [`crate::sink::Sink::lend_twin`].
    pub(crate) async fn lend_twin(&self, pool: &Pool, place: Place) -> Block {
        if self.digesting.is_in_turn() {
            // Blocks that wait for this one may have all of the pool.
            if let Some(block) = pool.lend_beside(place) {
                return block;
            }
        }
        self.sink.lend_twin(pool, place).await
    }
}
