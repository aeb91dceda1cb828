//! One version of the file on its way into one sink, and the flag that ends it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::Manner;
use crate::digest::Follower;
use crate::gate::Version;
use crate::sink::{Part, Sink};

/// One version of the file on its way into one sink.
pub(crate) struct Job {
    pub(crate) sink: Sink,
    part: Mutex<Option<Part>>,
    pub(crate) follower: Option<Follower>,
    pub(crate) version: Version,
    pub(crate) manner: Manner,
    /// Responses whose bytes went into the file.
    pub(crate) responses: AtomicU32,
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
        part: Option<Part>,
        follower: Option<Follower>,
        version: Version,
        manner: Manner,
    ) -> Self {
        Self {
            sink,
            part: Mutex::new(part),
            follower,
            version,
            manner,
            responses: AtomicU32::new(0),
            unconditional: AtomicBool::new(false),
            cancel: Cancel::default(),
        }
    }

    /// Takes the part file, to publish it.
    pub(crate) fn take_part(&self) -> Option<Part> {
        self.part.lock().unwrap_or_else(PoisonError::into_inner).take()
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
        let mut changed = std::pin::pin!(self.cancel.changed.notified());
        changed.as_mut().enable();
        if !self.is_cancelled() {
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
