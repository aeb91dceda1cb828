//! System calls as this program needs them: thin, named after the intent, errors as `std::io::Error`.
//!
//! rustix carries the unsafe half, so nothing here is unsafe.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FallocateFlags, RenameFlags, StatxFlags};
use rustix::process::{Resource, Rlimit};

use crate::fault;

/// CPU time of this process so far: user and system, all threads, io_uring workers included.
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// What O_DIRECT asks of memory addresses and file offsets, in bytes (`STATX_DIOALIGN`, Linux 6.1).
///
/// `None` where the file system has no O_DIRECT or the kernel does not say.
pub(crate) fn direct_alignment(file: &File) -> Option<u32> {
    fault::check("alignment").ok()?;
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
    fault::check("allocate")?;
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            Err(io::ErrorKind::Unsupported.into())
        }
        done => Ok(done?),
    }
}

/// Names a file beyond its path: its inode number, and its birth or, where the file system knows none, its
/// device.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct FileId {
    inode: u64,
    /// Seconds since 1970, and nanoseconds. Numbers of inodes are given again; births differ.
    born: Option<(i64, u32)>,
    /// Devices are numbered anew with each boot, so this counts only where nothing better is known.
    device: Option<u64>,
}

/// The name of an open file that no copy of it has.
pub(crate) fn file_id(file: &File) -> io::Result<FileId> {
    fault::check("file id")?;
    let flags = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = rustix::fs::statx(file.as_fd(), c"", AtFlags::EMPTY_PATH, flags).ok();
    let stat = stat.filter(|stat| stat.stx_mask & StatxFlags::BTIME.bits() != 0);
    let born = stat.map(|stat| (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec));
    let meta = file.metadata()?;
    let device = if born.is_none() { Some(meta.dev()) } else { None };
    Ok(FileId { inode: meta.ino(), born, device })
}

/// Names the time during which this file system's page cache has kept what was written to it: one boot, and
/// one mount in it. `None` where the system does not say.
///
/// It is a hash: neither machine nor mount can be read from it.
pub(crate) fn epoch(file: &File) -> Option<String> {
    fault::check("epoch").ok()?;
    let boot = std::fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    // STATX_MNT_ID_UNIQUE (Linux 6.8) is never given twice in a boot. The number that older kernels give is
    // given again to the next mount: the page cache would be believed of a disk that was unplugged in
    // between. rustix 1.1 has the field but no name for the flag.
    let unique = StatxFlags::from_bits_retain(0x4000);
    let stat = rustix::fs::statx(file.as_fd(), c"", AtFlags::EMPTY_PATH, unique).ok()?;
    if stat.stx_mask & unique.bits() == 0 {
        return None;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&boot);
    hasher.update(&stat.stx_mnt_id.to_le_bytes());
    hasher.update(&file.metadata().ok()?.dev().to_le_bytes());
    Some(hasher.finalize().to_hex()[..32].to_owned())
}

/// Opens a file again: the same file by a description of its own, with its own offset, flags and errors.
pub(crate) fn reopen(file: &File) -> io::Result<File> {
    use std::os::fd::AsRawFd as _;
    fault::check("reopen")?;
    File::options().read(true).write(true).open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Whether the path still names this very file.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let ours = fault::check("is at").and_then(|()| file.metadata());
    match (ours, std::fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Whether this is a regular file of the user we act for, by no other name somewhere else: what others plant
/// in our way is not taken for our own.
pub(crate) fn is_our_own(meta: &std::fs::Metadata) -> bool {
    let is_ours = meta.uid() == rustix::process::geteuid().as_raw();
    meta.is_file() && meta.nlink() == 1 && is_ours
}

/// Renames without replacing (renameat2(2), `RENAME_NOREPLACE`).
///
/// # Errors
/// `ErrorKind::AlreadyExists` if `to` exists. Where the file system has no such rename, a hard link and an
/// unlink give the same guarantee; `ErrorKind::Unsupported` where it has no hard links either.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    fault::check("rename")?;
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            match std::fs::hard_link(from, to) {
                Err(error) if has_no_links(&error) => Err(io::ErrorKind::Unsupported.into()),
                Err(error) => Err(error),
                Ok(()) => {
                    // The name is right by now; a second one that cannot be removed is no reason to fail.
                    let _ = std::fs::remove_file(from);
                    Ok(())
                }
            }
        }
        done => Ok(done?),
    }
}

/// Whether a hard link was refused because the file system has none (link(2)).
fn has_no_links(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EOPNOTSUPP | libc::ENOSYS))
}

/// Whether a sync was refused because there is none for this file (fsync(2)): nothing is lost by it, and
/// nothing is durable.
pub(crate) fn has_no_sync(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS))
}

/// Opens a directory to sync it.
pub(crate) fn open_directory(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_DIRECTORY).open(path)
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
    fault::check("free space")?;
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
