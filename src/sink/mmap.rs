//! A memory-mapped, fully allocated file: the kernel receives straight into it.
//!
//! No copy of ours, but page faults inside the receive, and the kernel's own time for writing back. An
//! error of the disk cannot be reported to a store into memory, so nothing is mapped that is not allocated
//! first.
//!
//! # Why the `unsafe` here is sound
//! The file is the part file that this process created, locked and allocated; its name starts with a dot
//! and nobody else has a reason to touch it. Another process that truncates it all the same has the kernel
//! refuse to receive (EFAULT), or ends this one with SIGBUS at a store of ours: a failure, never a wrong byte
//! under the target name, and the reason why nothing is mapped unless `--write mmap` asks for it. Windows into
//! the mapping do not overlap: the plan leases each block to one lane at a time.

#![expect(
    unsafe_code,
    reason = "the file's pages are lent as blocks; the module doc has the argument"
)]

use std::any::Any;
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};

use super::Part;
use crate::block::{Block, Place};
use crate::error::{Error, Escaped, Kind, Result};
use crate::units::narrow;

pub(crate) struct Mmap {
    /// `None` for an empty file, which cannot be mapped.
    mapping: Option<Arc<MmapRaw>>,
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
        if size == 0 {
            return Ok(Self { mapping: None });
        }
        match crate::sys::allocate(part.file(), size) {
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
        let mapping = MmapOptions::new()
            .len(narrow(size))
            .map_raw(&**part.file())
            .map_err(|error| part.failed("map", error))?;
        Ok(Self { mapping: Some(Arc::new(mapping)) })
    }

    /// Lends the window of the mapping that belongs to `place`.
    pub(super) fn lend(&self, place: Place) -> Block {
        let mapping = self.mapping.as_ref().expect("proof: an empty file has no block to lend");
        let offset = narrow(place.offset);
        assert!(offset + place.length <= mapping.len(), "a block must lie inside the mapped file");
        // SAFETY: `offset` is inside the mapping, as just asserted.
        let start = unsafe { mapping.as_mut_ptr().add(offset) };
        let start = NonNull::new(start).expect("proof: mmap never returns null");
        let keep: Arc<dyn Any + Send + Sync> = Arc::<MmapRaw>::clone(mapping);
        // SAFETY: the range lies inside the mapping, which `keep` holds; see the module doc for overlap and
        // contents.
        unsafe { Block::window(start, place, keep) }
    }
}
