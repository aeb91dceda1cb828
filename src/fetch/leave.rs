//! What is done for a later run: looking for what an earlier one has left, and leaving something in turn.

use std::sync::Arc;
use std::time::Instant;

use super::partial::Left;
use super::{Fetch, Goal};
use crate::aside::aside;
use crate::board::Board;
use crate::error::Result;
use crate::ledger::Due;
use crate::limits::STOP_GRACE;

impl Fetch {
    /// Looks beside the target for what an earlier run has left.
    ///
    /// # Errors
    /// `Kind::Exists` if another process is at work on it.
    pub(super) fn look_beside(&self) -> Result<()> {
        match &self.goal {
            Goal::File(path) if self.existing.is_none() => self.look_for_left(path),
            Goal::File(path) => {
                Left::clear_stale(path);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Writes down what has landed, and begins the sync that is due: lanes look for it only when a block
    /// lands.
    pub(super) fn remember(&self, board: &Arc<Board>) {
        let Some(job) = self.job() else { return };
        let Some(ledger) = job.ledger() else { return };
        ledger.flush_old(Instant::now());
        let due = self.options.sync.then(|| ledger.due(Instant::now())).flatten();
        if let Some(due) = due {
            let board = Arc::clone(board);
            // It ends by itself, with the download at the latest.
            tokio::spawn(async move {
                if let Err(error) = settle(due).await {
                    board.fail(job.sync_failed(error));
                }
            });
        }
    }

    /// Leaves what has landed to another run: durable, if it went past the page cache and the disk is quick.
    pub(super) async fn leave(&self) {
        let Some(job) = self.job() else { return };
        self.set_job(None);
        let Some(ledger) = job.ledger() else { return };
        ledger.flush();
        let due = self.options.sync.then(|| ledger.parting_sync(Instant::now())).flatten();
        if let Some(due) = due {
            // What is written down survives anything but a power cut as it is.
            let _ = tokio::time::timeout(STOP_GRACE / 2, settle(due)).await;
        }
    }
}

/// Settles a sync on a thread beside this one.
async fn settle(due: Due) -> std::io::Result<()> {
    due.settle(|file| async move {
        let synced = aside(move || Ok(file.sync_data())).await;
        synced.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    })
    .await
}
