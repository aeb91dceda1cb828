//! The part file and its ledger: begun, left by one run, and gone on with by another.
//!
//! It moves no bytes. Its invariant: whatever is doubtful is not believed but fetched again, and said.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use url::Url;

use crate::error::{Error, Kind, Result, reason};
use crate::gate::Version;
use crate::ledger::{Extents, FORMAT, Found, Head, Ledger, Unusable};
use crate::plan::Plan;
use crate::sink::{Named, Part, Publish, ledger_path};
use crate::sys;

/// The files beside the target while it is not complete. Dropped, they stay for another run if the ledger
/// says anything, and go otherwise.
pub(crate) struct Partial {
    pub(crate) part: Part,
    pub(crate) ledger: Option<Arc<Ledger>>,
    /// Bytes that an earlier run has left.
    pub(crate) resumed_bytes: u64,
    /// The file system had allocated all of the file before its first byte.
    was_allocated: bool,
}

/// What an earlier run has left, and what is known to be right of it.
pub(crate) struct Left {
    part: Part,
    found: Found,
    landed: Extents,
}

/// What was found beside the target.
pub(crate) enum Look {
    Nothing,
    /// Something that cannot be gone on with, and why.
    Doubtful(String),
    Left(Box<Left>),
}

/// What a ledger must name to belong to this download. Hashes: neither can be read from a file on disk.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    url: String,
    digest: Option<String>,
}

impl Source {
    pub(crate) fn new(url: &Url, proof: Option<String>) -> Self {
        let mut bare = url.clone();
        // Who asks does not change what is there; a URL with a host takes these without fail.
        let _ = bare.set_username("");
        let _ = bare.set_password(None);
        bare.set_fragment(None);
        Self { url: hash(bare.as_str()), digest: proof.map(|wanted| hash(&wanted)) }
    }

    /// Why bytes of `head` may not be bytes of this file. The same digest is the same file, wherever it is;
    /// bytes that were gathered under a digest are worth nothing without it, for they may be of several
    /// addresses.
    fn doubts(&self, head: &Head) -> Option<&'static str> {
        match (&self.digest, &head.digest) {
            (None, None) if self.url != head.url => Some("it belongs to another URL"),
            (ours, theirs) if ours != theirs => {
                Some("it was begun with another --checksum, or without one")
            }
            _ => None,
        }
    }
}

impl Left {
    /// Looks for what an earlier run has left of `target`. What is doubtful stays where it is.
    ///
    /// # Errors
    /// `Kind::Exists` if another process is at work on it; `Kind::LocalIo` if the disk fails to tell.
    pub(crate) fn look(target: &Path, source: &Source) -> Result<Look> {
        let ledger = ledger_path(target);
        let seen = open_own(&ledger);
        let Some(part) = Part::reopen(target)? else {
            // The part file has its name already, or was removed: what the ledger says is of no use.
            remove_seen(seen, &ledger);
            return Ok(Look::Nothing);
        };
        let doubt = match Found::read(&ledger) {
            Ok(None) => None,
            Ok(Some(found)) => match believe(&part, &found, source) {
                Ok(landed) => return Ok(Look::Left(Box::new(Self { part, found, landed }))),
                Err(doubt) => Some(doubt),
            },
            Err(Unusable::Doubtful(doubt)) => Some(doubt),
            // The disk may be better the next time: what is there stays.
            Err(Unusable::Failed(error)) => {
                return Err(Error::local("read what was left of", target, error));
            }
        };
        // It stays until there is something to put in its place: the server may not answer at all.
        Ok(doubt.map_or(Look::Nothing, Look::Doubtful))
    }

    /// Removes the ledger of a part file that has its name already, or was removed.
    pub(crate) fn clear_stale(target: &Path) {
        let ledger = ledger_path(target);
        let seen = open_own(&ledger);
        if Part::is_missing(target) {
            remove_seen(seen, &ledger);
        }
    }

    /// Removes what an earlier run has left of a target that is right as it stands, unless another process
    /// is at work on it.
    pub(crate) fn clear(target: &Path) {
        Self::clear_stale(target);
        if let Ok(Some(part)) = Part::reopen(target) {
            // The ledger first, while the part file keeps others away.
            remove_own(&ledger_path(target));
            part.forget();
        }
    }

    /// The version that an answer must belong to. Under the same digest only the size counts: the digest
    /// decides.
    pub(crate) fn version(&self) -> Version {
        let version = self.found.head().version();
        match self.found.head().digest {
            Some(_) => {
                Version { size: version.size, is_page: version.is_page, ..Version::default() }
            }
            None => version,
        }
    }

    /// What is missing, and what is not.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub(crate) fn plan(&self, block_size: u64) -> Result<Plan> {
        Plan::resumed(self.found.head().size, block_size, self.landed.iter())
    }

    /// The first bytes to ask for: of what is missing, or the last one where nothing is.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub(crate) fn first_missing(&self, block_size: u64) -> Result<Range<u64>> {
        let size = self.found.head().size;
        Ok(self.plan(block_size)?.first_free().unwrap_or(size - 1..size))
    }

    /// The file that the bytes are in.
    pub(crate) fn part(&self) -> &Part {
        &self.part
    }

    /// Goes on with it; `cached` says that what is written waits in the page cache.
    ///
    /// # Errors
    /// If the ledger cannot be written.
    pub(crate) fn resume(self, landed_bytes: u64, cached: bool) -> Result<Partial> {
        let Self { part, found, .. } = self;
        let was_allocated = found.head().allocated;
        let ledger = found
            .resume(part.file(), epoch(&part), cached)
            .map_err(|error| part.failed("continue the ledger of", error))?;
        let ledger = Some(Arc::new(ledger));
        Ok(Partial { part, ledger, resumed_bytes: landed_bytes, was_allocated })
    }

    /// Removes it.
    pub(crate) fn forget(&self) {
        remove_own(&ledger_path(self.part.target()));
        self.part.forget();
    }
}

impl Partial {
    /// The files of a download that begins with nothing. `resumable` is its version if it may be continued
    /// by another run, and `cached` says that what is written waits in the page cache; returns why it cannot
    /// be continued after all.
    pub(crate) fn begin(
        part: Part,
        size: Option<u64>,
        resumable: Option<&Version>,
        source: &Source,
        cached: bool,
    ) -> (Self, Option<Error>) {
        let was_allocated = size.is_some_and(|size| part.is_allocated(size));
        let mut partial = Self { part, ledger: None, resumed_bytes: 0, was_allocated };
        let Some(version) = resumable else {
            // What is there of ours belongs to no part file any more.
            remove_own(&ledger_path(partial.part.target()));
            return (partial, None);
        };
        match partial.begin_ledger(version, source, cached) {
            Ok(ledger) => partial.ledger = Some(Arc::new(ledger)),
            Err(error) => return (partial, Some(error)),
        }
        (partial, None)
    }

    fn begin_ledger(&self, version: &Version, source: &Source, cached: bool) -> Result<Ledger> {
        let failed = |error| self.part.failed("begin a ledger for", error);
        let path = ledger_path(self.part.target());
        // Whatever is there: links that somebody has planted go, too.
        let _ = std::fs::remove_file(&path);
        let head = Head {
            format: FORMAT,
            url: source.url.clone(),
            digest: source.digest.clone(),
            size: version.size.unwrap_or(0),
            etag: version.etag.clone(),
            last_modified: version.last_modified.clone(),
            date_is_strong: version.date_is_strong,
            is_page: version.is_page,
            part: sys::file_id(self.part.file()).map_err(failed)?,
            allocated: self.was_allocated,
        };
        Ledger::create(&path, self.part.file(), head, epoch(&self.part), cached).map_err(failed)
    }

    /// Refuses to publish what somebody else has had a hand in.
    ///
    /// # Errors
    /// `Kind::LocalIo` if the part file was cut off, replaced or removed, `Kind::Exists` if another process
    /// has gone on with it.
    pub(crate) fn check(&self, size: u64) -> Result<()> {
        if let Some(ledger) = &self.ledger
            && !ledger.is_ours()
        {
            self.part.keep();
            let message = "another process has changed what this one remembers of the download";
            return Err(Error::new(Kind::Exists, message).hint("run the same command again"));
        }
        if self.ledger.as_ref().is_some_and(|ledger| ledger.is_lost()) {
            let message = "a sync has failed: the disk may not have all that was written";
            return Err(Error::new(Kind::LocalIo, message).hint("run the same command again"));
        }
        self.part.check_whole(size, self.was_allocated)
    }

    /// Takes note of the last sync. After one that failed nothing that is not durable is believed, now or
    /// by another run; one that there is not loses nothing.
    ///
    /// # Errors
    /// The failure.
    pub(crate) fn believe_sync(&self, synced: Result<()>) -> Result<()> {
        let Some(ledger) = &self.ledger else { return synced };
        match &synced {
            Ok(()) => ledger.sync_ends(),
            Err(error) if error.kind() == Kind::Interrupted => {}
            Err(error) if error.system().is_some_and(sys::has_no_sync) => ledger.sync_is_none(),
            Err(_) => ledger.lose(),
        }
        synced
    }

    /// Gives the file its name; then there is nothing left to remember.
    ///
    /// # Errors
    /// As [`Part::publish`].
    pub(crate) fn publish(&mut self, how: &Publish) -> Result<Named> {
        let named = self.part.publish(how);
        if self.part.is_published()
            && let Some(ledger) = &self.ledger
        {
            ledger.forget();
        }
        named
    }

    /// Removes the files: nothing in them counts any more.
    pub(crate) fn forget(&self) {
        if let Some(ledger) = &self.ledger {
            ledger.forget();
        }
        self.part.forget();
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if let Some(ledger) = &self.ledger {
            ledger.flush();
            if ledger.is_kept() {
                self.part.keep();
            }
        }
    }
}

/// What of a part file may be believed on the word of its ledger.
fn believe(part: &Part, found: &Found, source: &Source) -> Result<Extents, String> {
    let head = found.head();
    if let Some(doubt) = source.doubts(head) {
        return Err(doubt.into());
    }
    let id = sys::file_id(part.file()).map_err(|error| reason(&error))?;
    if id != head.part {
        return Err("its part file is not the one that was written".into());
    }
    let length = part.file().metadata().map_err(|error| reason(&error))?.len();
    if length < head.size || (head.allocated && !part.is_allocated(head.size)) {
        return Err("its part file was cut off".into());
    }
    let landed = found.landed(&epoch(part));
    if landed.bytes() == 0 {
        return Err("the disk had nothing of it yet".into());
    }
    Ok(landed)
}

/// The epoch of a part file; one that never comes again where the system does not tell.
fn epoch(part: &Part) -> String {
    sys::epoch(part.file()).unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)))
}

fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// Opens a file that we may have left.
fn open_own(path: &Path) -> Option<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags).open(path).ok()?;
    file.metadata().is_ok_and(|meta| sys::is_our_own(&meta)).then_some(file)
}

/// Removes a ledger that was there before its part file was looked for in vain. One that has come since
/// belongs to another process, which has made both meanwhile.
fn remove_seen(seen: Option<File>, path: &Path) {
    if seen.is_some_and(|file| sys::is_at(&file, path)) {
        // Best effort: without its part file it is not believed.
        let _ = std::fs::remove_file(path);
    }
}

/// Removes a file that we may have left, and nothing else.
fn remove_own(path: &Path) {
    if std::fs::symlink_metadata(path).is_ok_and(|meta| sys::is_our_own(&meta)) {
        // Best effort: without its part file it is not believed.
        let _ = std::fs::remove_file(path);
    }
}
