//! The last steps of a part file: mode and time, the sync, and its name. Nothing here writes a byte of it.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::oneshot;

use super::{Part, directory_of};
use crate::crash;
use crate::error::{Error, Escaped, Kind, Result};
use crate::fault;
use crate::sys::is_at;

/// What publishing gives the file, and what it may replace.
pub(crate) struct Publish {
    pub(crate) modified: Option<SystemTime>,
    pub(crate) overwrite: bool,
    pub(crate) sync: bool,
}

/// What became of the name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// It survives a power cut.
    Durable,
    /// It may not: nobody asked for it, or the directory cannot be synced, for this reason.
    Unsynced(Option<String>),
}

impl Part {
    /// Gives the file its mode and time.
    ///
    /// # Errors
    /// `Kind::LocalIo` if somebody has replaced the part file.
    pub(crate) fn prepare(&self, how: &Publish) -> Result<()> {
        self.check_identity()?;
        let mode = Permissions::from_mode(0o666 & !crate::sys::umask());
        let set = fault::check("set mode").and_then(|()| self.file.set_permissions(mode));
        set.map_err(|error| self.failed("set the mode of", error))?;
        crash::point();
        let Some(modified) = how.modified else { return Ok(()) };
        let set = fault::check("set time").and_then(|()| self.file.set_modified(modified));
        set.map_err(|error| self.failed("set the time of", error))
    }

    /// Waits until the disk has the file. A failure is final: the pages that could not be written are lost
    /// (`fsync(2)`). Dropping the future abandons the file.
    pub(crate) async fn sync(&self) -> Result<()> {
        let (tell, told) = oneshot::channel();
        let file = Arc::clone(&self.file);
        // On a thread of its own, since a disk in trouble may take minutes and nothing must wait for it.
        let started = std::thread::Builder::new().name("ringpull-sync".into()).spawn(move || {
            // Nobody may wait any more.
            let _ = tell.send(fault::check("last sync").and_then(|()| file.sync_all()));
        });
        let synced = match started {
            Ok(_) => told.await.unwrap_or_else(|_| Err(io::Error::other("its thread has died"))),
            Err(_) => self.file.sync_all(),
        };
        synced.map_err(|error| self.sync_failed(error))
    }

    /// A file system without fsync keeps no promise about power cuts, and neither can we: that is for the
    /// user to accept. Nothing is lost by it.
    fn sync_failed(&self, error: io::Error) -> Error {
        let has_none = crate::sys::has_no_sync(&error);
        let failed = self.failed("sync", error);
        match has_none {
            true => failed.hint("this file system has no fsync; use --no-sync to do without"),
            false => failed,
        }
    }

    /// Gives the file its name, without replacing unless that is allowed, and makes the name durable.
    ///
    /// # Errors
    /// `Kind::Exists` if the target has appeared and may not be replaced.
    pub(crate) fn publish(&mut self, how: &Publish) -> Result<Named> {
        self.check_identity()?;
        let directory = directory_of(&self.target);
        // Opened before the rename: afterwards a failure would leave a file under the target's name.
        let open = |directory| {
            fault::check("open directory").and_then(|()| crate::sys::open_directory(directory))
        };
        let opened = how.sync.then(|| open(directory));
        let opened = match opened.transpose() {
            // A directory that one may write to and not read.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Some(Err(error)),
            opened => opened.map_err(|error| Error::local("open", directory, error))?.map(Ok),
        };
        crash::point();
        let renamed = match how.overwrite {
            true => fault::check("rename").and_then(|()| std::fs::rename(&self.path, &self.target)),
            false => crate::sys::rename_new(&self.path, &self.target),
        };
        renamed.map_err(|error| self.rename_failed(error))?;
        self.published = true;
        crash::point();
        let sync =
            |directory: File| fault::check("sync directory").and_then(|()| directory.sync_all());
        match opened {
            Some(opened) => self.settle_name(how, opened.and_then(sync)),
            None => Ok(Named::Unsynced(None)),
        }
    }

    /// Judges how the sync of the directory has ended.
    ///
    /// Where there is none for directories, or none for us, the file itself is durable and the name most
    /// likely is. Where it failed, the name must not look as if it were durable: the file is a part file
    /// again, so that another run only has to publish it. A target that was replaced stays: what stood
    /// there is gone, and what stands there is whole.
    pub(super) fn settle_name(&mut self, how: &Publish, synced: io::Result<()>) -> Result<Named> {
        let Err(error) = synced else { return Ok(Named::Durable) };
        if crate::sys::has_no_sync(&error) || error.kind() == io::ErrorKind::PermissionDenied {
            return Ok(Named::Unsynced(Some(crate::error::reason(&error))));
        }
        if !how.overwrite && is_at(&self.file, &self.target) {
            match crate::sys::rename_new(&self.target, &self.path) {
                Ok(()) => self.published = false,
                // Best effort, on a disk in trouble.
                Err(_) => drop(std::fs::remove_file(&self.target)),
            }
        }
        Err(Error::local("sync", directory_of(&self.target), error))
    }

    /// Whether the file has its name, durable or not.
    pub(crate) fn is_published(&self) -> bool {
        self.published
    }

    fn rename_failed(&self, error: io::Error) -> Error {
        if error.kind() != io::ErrorKind::Unsupported {
            return self.failed("rename to", error);
        }
        let target = self.target.to_string_lossy();
        let message = format!(
            "the file system can neither rename to {} without replacing nor link",
            Escaped(&target)
        );
        Error::new(Kind::LocalIo, message)
            .hint("run it again with --overwrite: what was fetched is kept where it can be")
            .because(error)
    }
}

/// Syncs a file that is there already, and its name, as far as its owner lets us.
///
/// # Errors
/// As [`Error::local`], if the disk fails.
pub(crate) fn sync_existing(target: &Path) -> Result<()> {
    let directory = directory_of(target);
    let file = File::open(target).and_then(|file| file.sync_all());
    let name = crate::sys::open_directory(directory).and_then(|directory| directory.sync_all());
    for (synced, path) in [(file, target), (name, directory)] {
        match synced {
            Err(error)
                if !crate::sys::has_no_sync(&error)
                    && error.kind() != io::ErrorKind::PermissionDenied =>
            {
                return Err(Error::local("sync", path, error));
            }
            _ => {}
        }
    }
    Ok(())
}
