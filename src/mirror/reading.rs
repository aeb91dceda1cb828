//! Reads files that are there, to see whether they are what the list wants.
//!
//! Nobody is asked. Invariant: what is read says something only of the file that was looked at before.

use std::sync::Arc;

use super::crew::Shared;
use super::delivery::BUFFER_BYTES;
use super::errand::Runner;
use super::evidence::{Checking, is_right, record};
use super::limit::stopped;
use crate::catalog::Record;
use crate::error::{Error, Result};
use crate::manifest::Entry;
use crate::tree::Fingerprint;
use crate::units::wide;

impl Runner {
    /// Reads the file that is there; its record, if it has the digests of the list.
    pub(super) async fn hash(&self, entry: &Entry) -> Result<Option<Record>> {
        let Some(there) = self.shared.tree.stat(&entry.path)? else { return Ok(None) };
        if there.size <= wide(BUFFER_BYTES) {
            // A thread of its own would take longer than the file.
            return hash_there(&self.shared, entry, &there);
        }
        let (shared, entry) = (Arc::clone(&self.shared), entry.clone());
        crate::aside::aside(move || hash_there(&shared, &entry, &there)).await
    }
}

/// Reads a file that is there; its record, if it has the digests of the list.
fn hash_there(shared: &Shared, entry: &Entry, there: &Fingerprint) -> Result<Option<Record>> {
    let checking = match Checking::new(entry) {
        Checking::Nothing => return Ok(None),
        checking => checking,
    };
    // A thread of its own would outlive the run by the rest of a large file.
    let goes_on = || !shared.stopper.is_stopped();
    let read = is_right(&shared.tree.read(&entry.path)?, checking, &goes_on);
    let is_right = read.map_err(|error| match goes_on() {
        true => Error::local("read", entry.path.as_ref(), error),
        false => stopped(),
    })?;
    if !is_right {
        // Should no better file come, the next run must not believe what an earlier one knew.
        shared.tally.gone(&entry.path)?;
        return Ok(None);
    }
    // What was changed meanwhile has another fingerprint at the next look.
    Ok(Some(record(entry, there, None)))
}
