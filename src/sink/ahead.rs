//! Populates windows of a mapped file on a thread beside the lanes: a receive into a window that is there
//! meets no page fault.
//!
//! Best effort: a window that comes too late, or cannot be populated, is filled fault by fault.

use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;

use memmap2::{Advice, MmapRaw};

use crate::limits::POPULATE_AHEAD;

/// The thread, and the way to tell it what to do next. Dropped, it ends by itself.
pub(super) struct Ahead(Mutex<Option<(SyncSender<Window>, JoinHandle<()>)>>);

/// Offset and length in the mapping, in bytes.
type Window = (usize, usize);

impl Ahead {
    /// Starts the thread, if there is one to be had.
    pub(super) fn start(mapping: &Arc<MmapRaw>) -> Self {
        let (tell, told) = mpsc::sync_channel::<Window>(POPULATE_AHEAD);
        let mapping: Weak<MmapRaw> = Arc::downgrade(mapping);
        let populate = move || {
            while let (Ok((offset, length)), Some(mapping)) = (told.recv(), mapping.upgrade()) {
                // MADV_POPULATE_WRITE, Linux 5.14 (madvise(2)).
                let _ = mapping.advise_range(Advice::PopulateWrite, offset, length);
            }
        };
        let builder = std::thread::Builder::new().name("ringpull-ahead".into());
        Self(Mutex::new(builder.spawn(populate).ok().map(|thread| (tell, thread))))
    }

    /// Asks for a window inside the mapping, unless it is empty or too many wait already.
    pub(super) fn ask(&self, window: Window) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some((tell, _)), (_, 1..)) = (&*running, window) {
            let _ = tell.try_send(window);
        }
    }

    /// Waits until the thread has ended: a page that is populated changes the date of the file.
    pub(super) fn stop(&self) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((tell, thread)) = running {
            drop(tell);
            // There is nothing in it that could panic.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use memmap2::MmapOptions;

    use super::*;

    #[test]
    fn windows_are_there_when_the_thread_has_ended() {
        let (page, file) = (rustix::param::page_size(), tempfile::tempfile().unwrap());
        file.set_len(4 * page as u64).unwrap();
        let mapping = Arc::new(MmapOptions::new().len(4 * page).map_raw(&file).unwrap());
        let blocks = || std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap());
        let ahead = Ahead::start(&mapping);
        assert_eq!(blocks(), 0);
        ahead.ask((page, 2 * page));
        ahead.ask((0, 0));
        ahead.stop();
        file.sync_all().unwrap();
        assert_eq!(blocks() * 512, 2 * page as u64);
        ahead.ask((3 * page, page));
        ahead.stop();
    }
}
