//! System calls as this program needs them: thin, named after the intent, errors as `std::io::Error`.
//!
//! rustix carries the unsafe half, so nothing here is unsafe.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FallocateFlags, RenameFlags, StatxFlags};
use rustix::process::{Resource, Rlimit};

/// CPU time of this process so far: user and system, all threads, io_uring workers included.
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// What O_DIRECT asks of memory addresses and file offsets, in bytes (`STATX_DIOALIGN`, Linux 6.1).
///
/// `None` where the file system has no O_DIRECT or the kernel does not say.
pub(crate) fn direct_alignment(file: &File) -> Option<u32> {
    // rustix 1.1 has the fields but no name for the flag.
    let dioalign = StatxFlags::from_bits_retain(0x2000);
    let stat = rustix::fs::statx(file.as_fd(), c"", AtFlags::EMPTY_PATH, dioalign).ok()?;
    let filled = stat.stx_mask & dioalign.bits() != 0;
    let alignment = stat.stx_dio_mem_align.max(stat.stx_dio_offset_align);
    (filled && alignment > 0).then_some(alignment)
}

/// Allocates the first `size` bytes of `file` and sets its size (fallocate(2), mode 0).
///
/// # Errors
/// `ErrorKind::Unsupported` where the file system cannot: never emulated by writing, as glibc would.
pub(crate) fn allocate(file: &File, size: u64) -> io::Result<()> {
    if size == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            Err(io::ErrorKind::Unsupported.into())
        }
        done => Ok(done?),
    }
}

/// Renames without replacing (renameat2(2), `RENAME_NOREPLACE`).
///
/// # Errors
/// `ErrorKind::AlreadyExists` if `to` exists. Where the file system has no such rename, a hard link and an
/// unlink give the same guarantee.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            std::fs::hard_link(from, to)?;
            // The name is right by now; a second one that cannot be removed is no reason to fail.
            let _ = std::fs::remove_file(from);
            Ok(())
        }
        done => Ok(done?),
    }
}

/// Raises the soft limit on locked memory to the hard limit: rings and registered blocks count against it.
pub(crate) fn raise_memlock() {
    let limit = rustix::process::getrlimit(Resource::Memlock);
    if limit.current != limit.maximum {
        // Best effort: a ring that does not fit falls back further on.
        let _ = rustix::process::setrlimit(
            Resource::Memlock,
            Rlimit { current: limit.maximum, maximum: limit.maximum },
        );
    }
}

/// Free space for this user on the file system of `file`, in bytes.
pub(crate) fn free_space(file: &File) -> io::Result<u64> {
    let stat = rustix::fs::fstatvfs(file)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The file mode creation mask of this process.
pub(crate) fn umask() -> u32 {
    // /proc is the only way to read the mask without changing it for other threads for a moment.
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        })
        .unwrap_or(0o022)
}
