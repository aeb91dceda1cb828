//! One version of the file on its way into one sink, and the flag that ends it.

use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::{Digesting, Manner};
use crate::error::{Error, Result};
use crate::fetch::Partial;
use crate::gate::Version;
use crate::ledger::{Due, Ledger};
use crate::sink::Sink;

/// One version of the file on its way into one sink.
pub(crate) struct Job {
    pub(crate) sink: Sink,
    partial: Mutex<Option<Partial>>,
    ledger: Option<Arc<Ledger>>,
    /// Bytes that an earlier run has left.
    pub(crate) resumed_bytes: u64,
    target: PathBuf,
    pub(crate) digesting: Digesting,
    pub(crate) version: Version,
    pub(crate) manner: Manner,
    /// Responses whose bytes went into the file.
    pub(crate) responses: AtomicU32,
    /// Answers without the range, since the last good one.
    odd_answers: AtomicU32,
    /// If-Range makes this server forget the range.
    unconditional: AtomicBool,
    cancel: Cancel,
}

/// A flag that can be waited for.
#[derive(Default)]
struct Cancel {
    set: AtomicBool,
    changed: Notify,
}

impl Job {
    pub(crate) fn new(
        sink: Sink,
        partial: Option<Partial>,
        digesting: Digesting,
        version: Version,
        manner: Manner,
    ) -> Self {
        Self {
            sink,
            ledger: partial.as_ref().and_then(|partial| partial.ledger.clone()),
            resumed_bytes: partial.as_ref().map_or(0, |partial| partial.resumed_bytes),
            target: partial
                .as_ref()
                .map_or_else(PathBuf::new, |partial| partial.part.target().to_owned()),
            partial: Mutex::new(partial),
            digesting,
            version,
            manner,
            responses: AtomicU32::new(0),
            odd_answers: AtomicU32::new(0),
            unconditional: AtomicBool::new(false),
            cancel: Cancel::default(),
        }
    }

    /// Ends the part file, if there is one, where the file ends.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(crate) fn cut(&self, size: u64) -> Result<()> {
        match &*self.partial.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(partial) => partial.part.cut(size),
            None => Ok(()),
        }
    }

    /// The part file, if there is one, and what it is to become.
    pub(crate) fn file(&self) -> Option<(Arc<File>, PathBuf)> {
        let partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        let file = partial.as_ref().map(|partial| Arc::clone(partial.part.file()));
        file.map(|file| (file, self.target.clone()))
    }

    /// Takes the files, to publish or to leave them.
    pub(crate) fn take_partial(&self) -> Option<Partial> {
        self.partial.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Removes the files: the download starts anew, or the bytes are wrong.
    pub(crate) fn forget(&self) {
        if let Some(partial) = &*self.partial.lock().unwrap_or_else(PoisonError::into_inner) {
            partial.forget();
        }
    }

    /// A sync that failed: what it should have made durable may be lost.
    pub(crate) fn sync_failed(&self, error: std::io::Error) -> Error {
        Error::local("sync", &self.target, error)
    }

    /// What remembers the bytes that land, if the download can be continued.
    pub(crate) fn ledger(&self) -> Option<&Arc<Ledger>> {
        self.ledger.as_ref()
    }

    /// Notes bytes that are in the part file, and returns the sync that is due by now.
    pub(crate) fn landed(&self, bytes: Range<u64>, syncs: bool) -> Option<Due> {
        let ledger = self.ledger.as_ref()?;
        ledger.landed(bytes);
        if syncs { ledger.due(Instant::now()) } else { None }
    }

    /// Notes an answer to a range that holds it.
    pub(crate) fn answered_well(&self) {
        self.odd_answers.store(0, Relaxed);
    }

    /// Notes an answer to a range that does not hold it, and returns how many there were before it since the
    /// last good one.
    pub(crate) fn answered_oddly(&self) -> u32 {
        self.odd_answers.fetch_add(1, Relaxed)
    }

    /// Whether ranges must be asked for without a condition here.
    pub(crate) fn is_unconditional(&self) -> bool {
        self.unconditional.load(Relaxed)
    }

    pub(crate) fn set_unconditional(&self) {
        self.unconditional.store(true, Relaxed);
    }

    /// Whether the stage has ended: let go.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.set.load(Relaxed)
    }

    /// Waits until the stage has ended.
    pub(crate) async fn cancelled(&self) {
        loop {
            let mut changed = std::pin::pin!(self.cancel.changed.notified());
            changed.as_mut().enable();
            if self.is_cancelled() {
                return;
            }
            // Lanes that lose a block are stirred by the same bell.
            changed.await;
        }
    }

    /// Waits until the stage has ended or a lane has lost something to another.
    ///
    /// What happened since the future was made counts, even if it was not polled before.
    pub(super) fn stirred(&self) -> tokio::sync::futures::Notified<'_> {
        self.cancel.changed.notified()
    }

    /// Has lanes that wait look whether they still hold what they wait for.
    pub(super) fn stir(&self) {
        self.cancel.changed.notify_waiters();
    }

    pub(super) fn cancel(&self) {
        self.cancel.set.store(true, Relaxed);
        self.cancel.changed.notify_waiters();
    }
}
