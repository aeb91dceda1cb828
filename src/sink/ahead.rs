//! Populates windows of a mapped file on a thread beside the lanes: a receive into a window that is there
//! meets no page fault.
//!
//! Best effort: a window that comes too late, or cannot be populated, is filled fault by fault.

use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Weak};

use memmap2::{Advice, MmapRaw};

use crate::limits::POPULATE_AHEAD;

/// The thread, and what it is to do next. Dropped, it ends by itself.
pub(super) struct Ahead(SyncSender<(usize, usize)>);

impl Ahead {
    /// Starts the thread; `None` where there is none to be had.
    pub(super) fn start(mapping: &Arc<MmapRaw>) -> Option<Self> {
        let (tell, told) = mpsc::sync_channel(POPULATE_AHEAD);
        let mapping: Weak<MmapRaw> = Arc::downgrade(mapping);
        let populate = move || {
            while let (Ok((offset, length)), Some(mapping)) = (told.recv(), mapping.upgrade()) {
                // MADV_POPULATE_WRITE, Linux 5.14 (madvise(2)).
                let _ = mapping.advise_range(Advice::PopulateWrite, offset, length);
            }
        };
        let builder = std::thread::Builder::new().name("ringpull-ahead".into());
        builder.spawn(populate).is_ok().then_some(Self(tell))
    }

    /// Asks for a window inside the mapping, given by offset and length in bytes, unless it is empty or too
    /// many wait already.
    pub(super) fn ask(&self, offset: usize, length: usize) {
        if length > 0 {
            let _ = self.0.try_send((offset, length));
        }
    }
}
