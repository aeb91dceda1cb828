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
pub(super) struct Writes(VecDeque<(Place, JoinHandle<Result<Commit>>)>);

/// How a write ends well.
pub(super) enum Commit {
    /// The block is where it belongs; its memory, if that is still ours.
    Landed(Option<Block>),
    /// The stage was over before the sink took it.
    Abandoned,
}

/// Which lease a block belongs to, and its number.
type Place = (LeaseId, u32);

/// The end of a write: the lease and the block's number, and its memory if that is still ours.
pub(super) type Written = (Place, Result<Result<Commit>, JoinError>);

/// What comes of some work, unless the stage is over before.
async fn unless_over<T>(job: &Job, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = job.cancelled() => None,
    }
}

impl Writes {
    /// Starts to put a full block into the sink.
    pub(super) fn start(&mut self, io: &Io, job: &Arc<Job>, lease: LeaseId, block: Block) {
        let (place, io, job) = ((lease, block.index()), io.clone(), Arc::clone(job));
        let write = tokio::task::spawn_local(async move {
            let into_sink = job.sink.commit(&io, block);
            let block = if job.sink.may_block_for_ever() {
                match unless_over(&job, into_sink).await {
                    Some(done) => done?,
                    None => return Ok(Commit::Abandoned),
                }
            } else {
                into_sink.await?
            };
            let Some(block) = block else { return Ok(Commit::Landed(None)) };
            // Where the stage ends its turn may never come, but it is in the file.
            let hashed = unless_over(&job, job.digesting.in_turn(block)).await;
            hashed.unwrap_or(Ok(None)).map(Commit::Landed)
        });
        self.0.push_back((place, write));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the oldest has finished.
    pub(super) fn has_finished(&self) -> bool {
        self.0.front().is_some_and(|(_, write)| write.is_finished())
    }

    /// Whether some must finish before another may start: not every sink lends from a pool, which would be
    /// the bound.
    pub(super) fn are_many(&self) -> bool {
        self.0.len() >= WRITES_MAX
    }

    /// Waits for the oldest; for ever if there is none. Dropping the future loses nothing.
    pub(super) async fn oldest(&mut self) -> Written {
        let Some((place, write)) = self.0.front_mut() else { std::future::pending().await };
        let done = (*place, write.await);
        self.0.pop_front();
        done
    }
}
