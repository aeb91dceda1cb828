//! A memory-mapped, fully allocated file: the kernel receives straight into it.
//!
//! No copy of ours, but page faults inside the receive where a window was not populated in time (`ahead`),
//! and the kernel's own time for writing back. An error of the disk cannot be reported to a store into
//! memory, so nothing is mapped that is not allocated first.
//!
//! # Why the `unsafe` here is sound
//! The file is the part file that this process created, locked and allocated; its name starts with a dot
//! and nobody else has a reason to touch it. Another process that truncates it all the same has the kernel
//! refuse to receive (EFAULT), or ends this one with SIGBUS at a store of ours: a failure, never a wrong byte
//! under the target name, and the reason why nothing is mapped unless `--write mmap` asks for it. Windows
//! into the mapping do not overlap: the plan leases each block to one lane at a time, and the second lane of
//! a late block gets memory of its own. That is written into the file when the window is back, so that
//! nobody receives into it any more.

#![expect(
    unsafe_code,
    reason = "the file's pages are lent as blocks; the module doc has the argument"
)]

use std::any::Any;
use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::{Advice, MmapOptions, MmapRaw};
use tokio::sync::Notify;

use super::Part;
use super::ahead::Ahead;
use crate::block::{Block, Place};
use crate::error::{Error, Escaped, Kind, Result};
use crate::fault;
use crate::io::Io;
use crate::units::narrow;

pub(crate) struct Mmap {
    file: Arc<File>,
    path: PathBuf,
    /// `None` for an empty file, which cannot be mapped.
    shared: Option<Arc<Shared>>,
}

/// The mapping, and which windows of it are out.
struct Shared {
    mapping: Arc<MmapRaw>,
    ahead: Ahead,
    lent: Mutex<HashSet<u32>>,
    returned: Notify,
}

/// A window that is out. Dropping it says that nobody fills it any more.
struct Window {
    shared: Arc<Shared>,
    index: u32,
}

impl Mmap {
    /// Allocates and maps the part file.
    pub(super) fn open(part: &Part, size: Option<u64>) -> Result<Self> {
        let path = part.target().to_string_lossy();
        let path = Escaped(&path);
        let Some(size) = size else {
            let message = "the server does not say the size, so the file cannot be mapped";
            return Err(Error::new(Kind::Usage, message).hint("use --write auto"));
        };
        let (file, target) = (Arc::clone(part.file()), part.target().to_owned());
        if size == 0 {
            return Ok(Self { file, path: target, shared: None });
        }
        let is_there =
            part.is_allocated(size) && part.file().metadata().is_ok_and(|meta| meta.len() >= size);
        let allocated = if is_there { Ok(()) } else { crate::sys::allocate(part.file(), size) };
        match allocated {
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
                let message = format!(
                    "the file system of {path} cannot allocate files (fallocate), \
                     so it cannot be mapped safely"
                );
                return Err(
                    Error::new(Kind::LocalIo, message).hint("use --write auto or --write buffered")
                );
            }
            done => done.map_err(|error| part.failed("allocate", error))?,
        }
        // An earlier run may have written beyond the end, around the page cache.
        let cut = fault::check("cut off").and_then(|()| part.file().set_len(size));
        cut.map_err(|error| part.failed("truncate", error))?;
        let map = || MmapOptions::new().len(narrow(size)).map_raw(&**part.file());
        let mapping =
            fault::check("map").and_then(|()| map()).map_err(|error| part.failed("map", error))?;
        // The page cache is then filled in units of 2 MiB where the file system has them. Measured on ext4
        // (kernel 6.18, 2 GiB, not synced, medians of four interleaved runs): 0.97 to 0.74 s, CPU time 1.36
        // to 1.05 s; buffered writes take 0.68 and 1.01 s. Where the kernel has no such pages it says so.
        let _ = mapping.advise(Advice::HugePage);
        let mapping = Arc::new(mapping);
        let ahead = Ahead::start(&mapping);
        let shared = Shared { mapping, ahead, lent: Mutex::default(), returned: Notify::new() };
        Ok(Self { file, path: target, shared: Some(Arc::new(shared)) })
    }

    /// Lends the window of the mapping that belongs to `place`.
    pub(super) fn lend(&self, place: Place) -> Block {
        let shared = self.shared.as_ref().expect("proof: an empty file has no block to lend");
        let (mapping, offset) = (&shared.mapping, narrow(place.offset));
        assert!(offset + place.length <= mapping.len(), "a block must lie inside the mapped file");
        // The lane will most likely ask for the one behind it next.
        let next = offset + place.length;
        shared.ahead.ask((next, place.length.min(mapping.len() - next)));
        // SAFETY: `offset` is inside the mapping, as just asserted.
        let start = unsafe { mapping.as_mut_ptr().add(offset) };
        let start = NonNull::new(start).expect("proof: mmap never returns null");
        let first = shared.lent().insert(place.index);
        assert!(first, "a window of the file has one owner at a time");
        let keep: Arc<dyn Any + Send + Sync> =
            Arc::new(Window { shared: Arc::clone(shared), index: place.index });
        // SAFETY: the range lies inside the mapping, which `keep` holds; see the module doc for overlap and
        // contents.
        unsafe { Block::window(start, place, keep) }
    }

    /// Waits until nothing changes the file any more beside blocks that are lent.
    pub(super) fn settle(&self) {
        if let Some(shared) = &self.shared {
            shared.ahead.stop();
        }
    }

    /// Writes a block that is none of the mapping's windows, once that window is back.
    pub(super) async fn commit(&self, io: &Io, block: Block) -> Result<Block> {
        if block.is_window() {
            return Ok(block);
        }
        if let Some(shared) = &self.shared {
            shared.until_returned(block.index()).await;
        }
        let length = block.filled();
        let (written, block) = io.write(&self.file, block, length).await;
        match written {
            Ok(()) => Ok(block),
            Err(error) => Err(Error::local("write", &self.path, error)),
        }
    }
}

impl Shared {
    fn lent(&self) -> std::sync::MutexGuard<'_, HashSet<u32>> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a window is with nobody.
    async fn until_returned(&self, index: u32) {
        loop {
            let returned = self.returned.notified();
            if !self.lent().contains(&index) {
                return;
            }
            returned.await;
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.shared.lent().remove(&self.index);
        self.shared.returned.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::rc::Rc;
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_second_copy_goes_into_the_file_when_the_window_is_back() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let part = Part::create(&dir.path().join("f")).unwrap();
        let mmap = Mmap::open(&part, Some(8192)).unwrap();
        let place = Place { index: 1, offset: 4096, length: 4096 };
        let (mut window, mut copy) = (mmap.lend(place), Block::own(place));
        copy.fill_from(&[2; 4096]);
        runtime.block_on(async {
            let io = Io::Epoll(Rc::default());
            let mut commit = pin!(mmap.commit(&io, copy));
            let mut context = std::task::Context::from_waker(Waker::noop());
            assert!(commit.as_mut().poll(&mut context).is_pending());
            window.fill_from(&[1; 4096]);
            drop(window);
            commit.await.unwrap();
        });
        assert_eq!(mmap.lend(place).padded(4096), [2; 4096]);
    }
}
