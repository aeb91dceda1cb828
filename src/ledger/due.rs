//! One sync of the part file, and the line that says so.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::Ledger;
use super::record::Record;
use crate::crash;

/// A sync that is due. Dropped undone, another may be.
pub(crate) struct Due {
    pub(super) ledger: Arc<Ledger>,
    pub(super) writes: u64,
    pub(super) bytes: u64,
}

impl Due {
    /// Syncs the part file, writes the line that says so, and syncs that. `sync` does one `fdatasync`.
    ///
    /// Dropping the future leaves the lines as they are: true, and not durable.
    ///
    /// # Errors
    /// If the part file cannot be synced: its pages may be lost (fsync(2)), and no later sync may be
    /// believed.
    pub(crate) async fn settle<S>(self, mut sync: impl FnMut(Arc<File>) -> S) -> io::Result<()>
    where
        S: Future<Output = io::Result<()>>,
    {
        let ledger = &self.ledger;
        match sync(Arc::clone(&ledger.part)).await {
            Ok(()) => {}
            // Nothing is lost, and nothing is durable: what that means is for the last sync to say.
            Err(error) if crate::sys::has_no_sync(&error) => {
                ledger.sync_is_none();
                return Ok(());
            }
            Err(error) => {
                ledger.lose();
                return Err(error);
            }
        }
        crash::point();
        let is_anchored = {
            let mut state = ledger.lock();
            let durable = Record::Durable(self.writes);
            if state.closed.is_some() || state.append(&ledger.file, &durable).is_err() {
                return Ok(());
            }
            state.unsynced = state.unsynced.saturating_sub(self.bytes);
            state.is_anchored
        };
        // A line that is not durable is a line less to believe, and no more.
        let mut anchored = sync(Arc::clone(&ledger.file)).await.is_ok();
        if !is_anchored && let Some(directory) = &ledger.directory {
            anchored = anchored && sync(Arc::clone(directory)).await.is_ok();
            ledger.lock().is_anchored = anchored;
        }
        Ok(())
    }
}

impl Drop for Due {
    fn drop(&mut self) {
        self.ledger.lock().is_syncing = false;
    }
}
