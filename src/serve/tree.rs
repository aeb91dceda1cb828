//! Opens what lies below the served directory.
//!
//! It knows nothing of HTTP but the status that says why something cannot be had. Invariant: what
//! it opens lies beneath the directory, whatever symbolic links point to, and is a regular file or
//! a directory.
//!
//! The kernel keeps the first half (openat2 with `RESOLVE_BENEATH`, Linux 5.6). Where that call is
//! missing or blocked, the path is resolved first and compared with the directory, which holds as
//! long as nobody moves directories about meanwhile.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use http::StatusCode;
use rustix::fs::{Dir, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::listing::{Entry, EntryKind};
use super::target;
use crate::error::{Error, Kind, Result};

/// The served directory.
#[derive(Debug)]
pub(super) struct Tree {
    root: File,
    /// The resolved path of `root`, where the kernel cannot keep lookups beneath it.
    resolved: Option<PathBuf>,
}

/// Something open below the directory.
#[derive(Debug)]
pub(super) enum Found {
    File(File, Metadata),
    Directory(File),
}

impl Tree {
    /// Opens the directory to serve.
    ///
    /// # Errors
    /// What [`Error::local`] makes of a directory that cannot be opened; [`Kind::Usage`] if `dir`
    /// is none.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let failed = |source| Error::local("serve", dir, source);
        let root = File::open(dir).map_err(failed)?;
        if !root.metadata().map_err(failed)?.is_dir() {
            let shown = dir.display().to_string();
            let what = format!("cannot serve {}: not a directory", crate::error::Escaped(&shown));
            return Err(
                Error::new(Kind::Usage, what).hint("name the directory that holds the file")
            );
        }
        let resolved = match open_beneath(&root, Path::new("."), OFlags::PATH) {
            // Docker's older seccomp profiles answer EPERM to calls they do not know.
            Err(Errno::NOSYS | Errno::PERM) => Some(dir.canonicalize().map_err(failed)?),
            _ => None,
        };
        Ok(Self { root, resolved })
    }

    /// Opens the file or directory at a relative path; the empty path is the directory itself.
    ///
    /// # Errors
    /// 404 for what is not there, 403 for what may not be read, lies outside or is no file (a FIFO,
    /// a device), 503 while the process has no descriptor to spare, 500 for the rest.
    pub(super) fn find(&self, path: &Path) -> Result<Found, StatusCode> {
        if target::names_unfinished(path) {
            return Err(StatusCode::NOT_FOUND);
        }
        // O_NONBLOCK: opening a FIFO must not wait for someone who writes to it.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = self.open_at(path, flags)?;
        let metadata = file.metadata().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        if metadata.is_file() {
            Ok(Found::File(file, metadata))
        } else if metadata.is_dir() {
            Ok(Found::Directory(file))
        } else {
            Err(StatusCode::FORBIDDEN)
        }
    }

    /// Lists what can be asked for in an open directory at `path`: files and directories, and the
    /// links to them that do not lead out.
    ///
    /// # Errors
    /// 500 if the directory cannot be read or has more than a million entries: a listing that is
    /// cut would look to a program that walks it as if files had been deleted.
    pub(super) fn list(&self, path: &Path, directory: &File) -> Result<Vec<Entry>, StatusCode> {
        let failed = |_| StatusCode::INTERNAL_SERVER_ERROR;
        let mut entries = Vec::new();
        for found in Dir::read_from(directory).map_err(failed)? {
            let found = found.map_err(failed)?;
            let name = found.file_name().to_bytes();
            if matches!(name, b"." | b"..") || target::is_unfinished(name) {
                continue;
            }
            if entries.len() == LISTING_ENTRIES_MAX {
                return Err(StatusCode::INTERNAL_SERVER_ERROR);
            }
            let below = path.join(std::ffi::OsStr::from_bytes(name));
            entries.extend(self.entry(&below, name));
        }
        Ok(entries)
    }

    fn entry(&self, path: &Path, name: &[u8]) -> Option<Entry> {
        let metadata = self.open_at(path, OFlags::PATH).ok()?.metadata().ok()?;
        let kind = if metadata.is_dir() {
            EntryKind::Directory
        } else if metadata.is_file() {
            EntryKind::File(metadata.len())
        } else {
            return None;
        };
        let modified = super::conditions::whole_seconds(&metadata);
        Some(Entry { name: name.into(), kind, modified: UNIX_EPOCH + modified })
    }

    fn open_at(&self, path: &Path, flags: OFlags) -> Result<File, StatusCode> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        match &self.resolved {
            None => open_beneath(&self.root, path, flags).map(File::from).map_err(status),
            Some(root) => open_resolved(root, path, flags),
        }
    }
}

fn open_beneath(root: &File, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::CLOEXEC;
    for _ in 1..LOOKUPS_MAX {
        match rustix::fs::openat2(root.as_fd(), path, flags, Mode::empty(), beneath) {
            // A rename elsewhere while a link with ".." was followed (openat2(2)), or a signal.
            Err(Errno::AGAIN | Errno::INTR) => {}
            outcome => return outcome,
        }
    }
    rustix::fs::openat2(root.as_fd(), path, flags, Mode::empty(), beneath)
}

fn open_resolved(root: &Path, path: &Path, flags: OFlags) -> Result<File, StatusCode> {
    let failed = |error: io::Error| status(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    let resolved = root.join(path).canonicalize().map_err(failed)?;
    if !resolved.starts_with(root) {
        return Err(StatusCode::FORBIDDEN);
    }
    let flags = (flags | OFlags::NOFOLLOW).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(resolved).map_err(failed)
}

/// The status that says why a file could not be opened.
fn status(errno: Errno) -> StatusCode {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP => StatusCode::NOT_FOUND,
        // EXDEV: a link leads out of the directory. ENXIO: a socket, or a device nobody drives.
        Errno::ACCESS | Errno::PERM | Errno::XDEV | Errno::NXIO => StatusCode::FORBIDDEN,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Most entries of one listing, which is drawn in memory.
const LISTING_ENTRIES_MAX: usize = 1 << 20;
/// Times a lookup is tried that something else disturbed.
const LOOKUPS_MAX: u32 = 8;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// The same tree twice: kept by the kernel, and by comparing resolved paths.
    fn trees(dir: &Path) -> [Tree; 2] {
        let kept = Tree::open(dir).unwrap();
        let compared =
            Tree { root: File::open(dir).unwrap(), resolved: Some(dir.canonicalize().unwrap()) };
        [kept, compared]
    }

    fn outcome(tree: &Tree, path: &str) -> Result<&'static str, u16> {
        match tree.find(Path::new(path)) {
            Ok(Found::File(..)) => Ok("file"),
            Ok(Found::Directory(_)) => Ok("directory"),
            Err(status) => Err(status.as_u16()),
        }
    }

    fn sample() -> tempfile::TempDir {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        std::fs::create_dir_all(root.join("d/e")).unwrap();
        std::fs::write(outer.path().join("secret"), "s").unwrap();
        std::fs::write(root.join("f"), "1234").unwrap();
        std::fs::write(root.join("d/.ringpull-1.part"), "half").unwrap();
        symlink("../f", root.join("d/inside")).unwrap();
        symlink("../../secret", root.join("d/outside")).unwrap();
        symlink(outer.path().join("secret"), root.join("absolute")).unwrap();
        symlink("/proc/self/fd/0", root.join("magic")).unwrap();
        symlink("circle", root.join("circle")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("fifo"),
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        outer
    }

    #[test]
    fn only_files_and_directories_beneath_are_opened() {
        let outer = sample();
        for tree in trees(&outer.path().join("root")) {
            for (path, expected) in [
                ("", Ok("directory")),
                ("f", Ok("file")),
                ("d", Ok("directory")),
                ("d/inside", Ok("file")),
                ("d/outside", Err(403)),
                ("absolute", Err(403)),
                ("fifo", Err(403)),
                ("circle", Err(404)),
                ("missing", Err(404)),
                ("f/x", Err(404)),
                ("d/.ringpull-1.part", Err(404)),
            ] {
                assert_eq!(outcome(&tree, path), expected, "{path} {:?}", tree.resolved);
            }
            assert!(outcome(&tree, "magic").is_err());
        }
    }

    #[test]
    fn a_listing_names_what_can_be_fetched_and_nothing_else() {
        let outer = sample();
        for tree in trees(&outer.path().join("root")) {
            let names = |path: &str| {
                let Ok(Found::Directory(directory)) = tree.find(Path::new(path)) else { panic!() };
                let entries = tree.list(Path::new(path), &directory).unwrap();
                let mut names: Vec<_> = entries
                    .into_iter()
                    .map(|entry| String::from_utf8(entry.name).unwrap())
                    .collect();
                names.sort();
                names
            };
            assert_eq!(names(""), ["d", "f"]);
            assert_eq!(names("d"), ["e", "inside"]);
        }
    }

    #[test]
    fn a_file_is_no_directory_to_serve() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(Tree::open(file.path()).unwrap_err().kind(), Kind::Usage);
    }
}
