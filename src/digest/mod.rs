//! The digest of a file: what a caller asks for, how bytes become one, and who reads them back.
//!
//! It does not judge: whether a digest is the wanted one is for the fetch to say. Its invariant: every byte
//! goes through the hash function once and in file order, in whatever order the bytes reached the file.

mod checksum;
mod follower;
mod hasher;
mod stretches;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::meter::Meter;

pub use checksum::{Algo, Checksum};
pub(crate) use follower::Follower;
pub(crate) use hasher::Hasher;
pub(crate) use stretches::{Judge, Stretches, wrong_in};

/// Hashes a file that is complete already, on a thread of its own.
///
/// `meter` counts the bytes as they are digested. Dropping the future stops the thread and loses the digest.
///
/// # Errors
/// [`Kind::LocalIo`] or [`Kind::Permission`] if the file cannot be opened or read, or is not a regular file;
/// [`Kind::Internal`] if the thread cannot start.
pub(crate) async fn of_file(path: &Path, algo: Algo, meter: Arc<Meter>) -> Result<Checksum> {
    let failed = |source| Error::local("read", path, source);
    // A FIFO would make a blocking open wait for its writer; a regular file does not know the flag.
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        let sentence = "it is not a regular file";
        return Err(failed(std::io::Error::new(std::io::ErrorKind::InvalidInput, sentence)));
    }
    Follower::start(algo, Arc::new(file), meter)?.finish(found.len()).await
}

fn internal(message: &str) -> Error {
    Error::new(Kind::Internal, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_on_disk_has_the_digest_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let meter = Arc::new(Meter::default());
        let found = of_file(&path, Algo::Md5, Arc::clone(&meter)).await.unwrap();
        assert_eq!(found.to_string(), "md5=900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(meter.digested(), 3);
    }

    #[tokio::test]
    async fn what_is_no_regular_file_has_no_digest() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        for path in [dir.path(), &missing] {
            let error = of_file(path, Algo::Md5, Arc::default()).await.unwrap_err();
            assert_eq!(error.kind(), Kind::LocalIo, "{error}");
        }
    }
}
