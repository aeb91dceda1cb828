//! What answers and files say of an entry: whether it is the version that is there, whether it is what the
//! list wants, and whom a failure is to be blamed on. Pure, but for the reading of a file.

use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::{HeaderName, HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;
use url::Url;

use super::decide::Known;
use super::page::Trouble;
use crate::catalog::{Proof, Record};
use crate::courtesy::Ended;
use crate::digest::{Checksum, Hasher, Judge};
use crate::error::{Error, Kind, Result};
use crate::gate::Version;
use crate::limits::DIGEST_READ_BYTES;
use crate::manifest::Entry;
use crate::tree::Fingerprint;

/// The field that asks only for another version than the known one: its ETag as it came, else its date as it
/// came (RFC 9110 section 13.1.2 and 13.1.3).
pub(super) fn condition(known: &Known) -> Option<(HeaderName, HeaderValue)> {
    let etag = known.etag.as_ref().and_then(|etag| HeaderValue::from_bytes(etag).ok());
    let date = || known.last_modified.as_ref().and_then(|date| HeaderValue::from_str(date).ok());
    etag.map(|etag| (IF_NONE_MATCH, etag)).or_else(|| Some((IF_MODIFIED_SINCE, date()?)))
}

/// Whether an answer that was not 304 names the version that is there all the same.
pub(super) fn is_same(known: &Known, version: &Version, there: &Fingerprint) -> bool {
    let size_is_same = version.size == Some(there.size);
    let etag_is_same = match (&known.etag, &version.etag) {
        (Some(known), Some(etag)) => Some(*known == latin1(etag)),
        _ => None,
    };
    let date_is_same =
        known.last_modified.is_some() && known.last_modified == version.last_modified;
    size_is_same && etag_is_same.unwrap_or(date_is_same)
}

/// The bytes of a field whose characters stand for bytes.
pub(super) fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|char| u8::try_from(u32::from(char)).unwrap_or(b'?')).collect()
}

pub(super) fn record(entry: &Entry, there: &Fingerprint, version: Option<&Version>) -> Record {
    let wanted = entry.wanted();
    let proof = if wanted.is_some() { Proof::Digest } else { Proof::Length };
    Record {
        path: entry.path.clone(),
        url: entry.urls[0].to_string(),
        checksum: wanted,
        size: there.size,
        mtime_ns: there.mtime_ns,
        ino: there.ino,
        ctime_ns: there.ctime_ns,
        etag: version.and_then(|version| version.etag.as_deref().map(latin1)),
        last_modified: version.and_then(|version| version.last_modified.clone()),
        proof,
    }
}

/// Refuses the index of what an index named as a file, and what is a directory by now: servers lead there.
pub(super) fn check_file(asked: &Url, came: &Url) -> Result<()> {
    let directory = percent_decode_str(asked.path()).chain(*b"/");
    if percent_decode_str(came.path()).eq(directory) {
        let message = "the server has a directory there now, and had a file when it was listed";
        return Err(Error::new(Kind::Refused, message).hint("run the same command again"));
    }
    Ok(())
}

pub(super) fn check_size(entry: &Entry, size: Option<u64>) -> Result<()> {
    match (entry.size, size) {
        (Some(wanted), Some(size)) if wanted != size => {
            let message = format!("the server's file has {size} bytes, and the list says {wanted}");
            Err(Error::new(Kind::Digest, message))
        }
        _ => Ok(()),
    }
}

fn compare(got: &Checksum, wanted: &Checksum) -> Result<()> {
    if got == wanted {
        return Ok(());
    }
    Err(Error::new(Kind::Digest, format!("the bytes have {got}, and the list says {wanted}")))
}

/// What compares the bytes of an entry with its digests while they come: with that of the whole where the
/// list has it, else with those of its stretches.
pub(super) enum Checking<'a> {
    Nothing,
    Whole(Hasher, &'a Checksum),
    Stretches(Judge<'a>),
}

impl<'a> Checking<'a> {
    pub(super) fn new(entry: &'a Entry) -> Self {
        match (&entry.checksum, &entry.stretches) {
            (Some(wanted), _) => Self::Whole(Hasher::new(wanted.algo()), wanted),
            (None, Some(stretches)) => Self::Stretches(Judge::new(stretches)),
            (None, None) => Self::Nothing,
        }
    }

    /// Takes the bytes that follow all bytes before.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Nothing => {}
            Self::Whole(hasher, _) => hasher.update(bytes),
            Self::Stretches(judge) => judge.update(bytes),
        }
    }

    /// Whether the bytes are those of the entry.
    ///
    /// # Errors
    /// [`Kind::Digest`] if they are not.
    pub(super) fn finish(self) -> Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Whole(hasher, wanted) => compare(&hasher.finish(), wanted),
            Self::Stretches(judge) => match judge.finish().len() {
                0 => Ok(()),
                wrong => {
                    let message = format!("stretches of the bytes are wrong: {wrong} of them");
                    Err(Error::new(Kind::Digest, message))
                }
            },
        }
    }
}

/// Whether a file has the digests that its bytes are held against. `goes_on` is asked before each read.
///
/// # Errors
/// If the file cannot be read, or is not read to its end.
pub(super) fn is_right(
    file: &std::fs::File,
    mut checking: Checking<'_>,
    goes_on: &dyn Fn() -> bool,
) -> std::io::Result<bool> {
    let mut buffer = vec![0; DIGEST_READ_BYTES];
    loop {
        if !goes_on() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        match std::io::Read::read(&mut &*file, &mut buffer) {
            Ok(0) => return Ok(checking.finish().is_ok()),
            Ok(count) => checking.update(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What a failure says of the host.
pub(super) fn blame(trouble: &Trouble) -> Ended {
    match (trouble.status, trouble.error.kind()) {
        (Some(StatusCode::FORBIDDEN), _) => Ended::Refused,
        (_, Kind::Unavailable) => Ended::Busy { retry_after: trouble.error.wait_asked() },
        (_, Kind::Connect | Kind::Reset | Kind::Resolve | Kind::Stall | Kind::Tls) => Ended::Broken,
        (None, Kind::LocalIo | Kind::Permission | Kind::Exists) => Ended::Unasked,
        _ => Ended::Final,
    }
}

/// Whether a failure that the server would repeat is worth another address, or a question past caches. Where
/// an attempt `has_kept` what was right, the first asked all addresses at once, and each has a turn alone.
pub(super) fn is_worth_another(
    kind: Kind,
    failures: u32,
    entry: &Entry,
    has_kept: impl FnOnce() -> bool,
) -> bool {
    let others = u32::try_from(entry.urls.len()).unwrap_or(u32::MAX);
    match kind {
        Kind::Digest => failures < others.max(2) + u32::from(has_kept()),
        Kind::Refused | Kind::Redirect | Kind::Tls => failures < others,
        _ => false,
    }
}

/// The failure of an entry whose host has been given up after failures of this kind.
pub(super) fn lost(entry: &Entry, kind: Kind) -> Trouble {
    let host = entry.urls[0].host_str().unwrap_or_default();
    let what = match kind {
        Kind::Tls => "be trusted",
        _ => "be reached",
    };
    let message = format!("{host} could not {what} for other entries, and was not asked for this");
    Error::new(kind, message).into()
}
