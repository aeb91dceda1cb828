//! The blocks of one lane that are on their way into the sink, each in a task of the lane's own.
//!
//! They are tasks because a finished io_uring operation holds its block until it is polled: writes that
//! nobody polls while their lane waits for memory would starve the pool.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::{JoinError, JoinHandle};

use crate::block::Block;
use crate::board::Job;
use crate::error::Result;
use crate::io::Io;
use crate::limits::WRITES_MAX;
use crate::plan::LeaseId;

/// The writes of one lane, oldest first.
#[derive(Default)]
pub(super) struct Writes(VecDeque<(Place, JoinHandle<Result<Option<Block>>>)>);

/// Which lease a block belongs to, and its number.
type Place = (LeaseId, u32);

/// The end of a write: the lease and the block's number, and its memory if that is still ours.
pub(super) type Written = (Place, Result<Result<Option<Block>>, JoinError>);

impl Writes {
    /// Starts to put a full block into the sink.
    pub(super) fn start(&mut self, io: &Io, job: &Arc<Job>, lease: LeaseId, block: Block) {
        let (place, io, job) = ((lease, block.index()), io.clone(), Arc::clone(job));
        let write = tokio::task::spawn_local(async move {
            if !job.sink.may_block_for_ever() {
                return job.sink.commit(&io, block).await;
            }
            tokio::select! {
                biased;
                done = job.sink.commit(&io, block) => done,
                () = job.cancelled() => Ok(None),
            }
        });
        self.0.push_back((place, write));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the oldest has finished, or must before another may start: not every sink lends from a pool,
    /// which would be the bound.
    pub(super) fn is_due(&self) -> bool {
        self.0.len() >= WRITES_MAX || self.0.front().is_some_and(|(_, write)| write.is_finished())
    }

    /// Waits for the oldest; for ever if there is none. Dropping the future loses nothing.
    pub(super) async fn oldest(&mut self) -> Written {
        let Some((place, write)) = self.0.front_mut() else { std::future::pending().await };
        let done = (*place, write.await);
        self.0.pop_front();
        done
    }
}
