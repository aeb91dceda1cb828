//! Decides what an entry needs, from what the list says, what an earlier run knew, and what is there. Pure.

use std::time::SystemTime;

use super::{Verify, seconds};
use crate::catalog::Record;
use crate::manifest::Entry;
use crate::tree::Fingerprint;

/// What an entry needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: it is as the list wants it.
    Nothing,
    /// The file must be read and hashed; if that fails, fetched.
    Hash,
    /// The server must be asked whether it has another version than this.
    Check(Known),
    /// The file must be fetched.
    Fetch,
}

/// What the server once said of a version, verbatim; or the date of a file that nobody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) etag: Option<Vec<u8>>,
    pub(super) last_modified: Option<String>,
    /// Whether this run's forebears fetched the file. If not, all that is known is its date, and the server
    /// must
    /// say that very date: an older one says nothing of what is in a file that somebody else put there.
    pub(super) is_recorded: bool,
}

/// Decides. `record` is what an earlier run wrote of this path, `there` what is there now.
///
/// The record counts only if the file is still the one that it was written for (size, date, inode, time of
/// change), and the list still wants what it wanted then.
pub(super) fn decide(
    entry: &Entry,
    record: Option<&Record>,
    there: Option<&Fingerprint>,
    verify: Verify,
    sample: bool,
) -> Need {
    let Some(there) = there else { return Need::Fetch };
    if entry.size.is_some_and(|size| size != there.size) {
        return Need::Fetch;
    }
    let known = record.filter(|record| record.is_of(there));
    let rehash = verify == Verify::All || (verify == Verify::Sample && sample);
    if let Some(wanted) = &entry.checksum {
        return match known {
            Some(known) if known.checksum.as_ref() == Some(wanted) && !rehash => Need::Nothing,
            _ => Need::Hash,
        };
    }
    if let (Some(_), Some(modified)) = (entry.size, entry.modified)
        && i128::from(there.mtime_ns).div_euclid(1_000_000_000) == i128::from(seconds(modified))
    {
        return Need::Nothing;
    }
    let asks_the_same =
        |record: &&Record| entry.urls.first().is_some_and(|url| record.url == url.as_str());
    Need::Check(match known.filter(asks_the_same) {
        Some(record) if record.etag.is_some() || record.last_modified.is_some() => Known {
            etag: record.etag.clone(),
            last_modified: record.last_modified.clone(),
            is_recorded: true,
        },
        _ => Known { etag: None, last_modified: date(there), is_recorded: false },
    })
}

/// The date of a file as HTTP writes it.
fn date(there: &Fingerprint) -> Option<String> {
    let seconds = u64::try_from(there.mtime_ns.div_euclid(1_000_000_000)).ok()?;
    let date = SystemTime::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds))?;
    // Beyond the year 9999 there is no way to write it.
    (seconds < 253_402_300_800).then(|| httpdate::fmt_http_date(date))
}
