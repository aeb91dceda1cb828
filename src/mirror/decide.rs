//! Decides what an entry needs, from what the list says, what an earlier run knew, and what is there. Pure.

use std::time::SystemTime;

use super::{Verify, seconds};
use crate::catalog::{Proof, Record};
use crate::manifest::Entry;
use crate::tree::Fingerprint;

/// What an entry needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: it is as the list wants it.
    Nothing,
    /// The file must be read and hashed; if that fails, fetched.
    Hash,
    /// The file must be read and hashed; if that fails, it waits for one of the same digest.
    Look,
    /// The server must be asked whether it has another version than this.
    Check(Known),
    /// The file must be fetched.
    Fetch,
    /// The file is made from another of the same digest.
    Link,
}

/// What the server once said of a version, verbatim; or the date of a file that nobody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) etag: Option<Vec<u8>>,
    pub(super) last_modified: Option<String>,
    /// Whether this run's forebears fetched the file. If not, all that is known is its date, and the server
    /// must say that very date: an older one says nothing of what is in a file that somebody else put there.
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
    if record.is_some_and(|record| record.proof == Proof::Unsynced) {
        return Need::Fetch;
    }
    if entry.size.is_some_and(|size| size != there.size) {
        return Need::Fetch;
    }
    let wanted = entry.wanted();
    if wanted.is_none() && record.is_some_and(|record| record.proof == Proof::Lost) {
        return Need::Fetch;
    }
    let known = record.filter(|record| record.is_of(there) && record.proof != Proof::Lost);
    let rehash = verify == Verify::All || (verify == Verify::Sample && sample);
    if wanted.is_some() {
        return match known {
            Some(known) if known.checksum == wanted && !rehash => Need::Nothing,
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
        Some(record) => Known {
            etag: record.etag.clone(),
            // What the engine has fetched has the server's date, unless the list gave it one.
            last_modified: record
                .last_modified
                .clone()
                .or_else(|| entry.modified.is_none().then(|| date(there)).flatten()),
            is_recorded: true,
        },
        None => Known { etag: None, last_modified: date(there), is_recorded: false },
    })
}

/// The date of a file as HTTP writes it.
fn date(there: &Fingerprint) -> Option<String> {
    let seconds = u64::try_from(there.mtime_ns.div_euclid(1_000_000_000)).ok()?;
    let date = SystemTime::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds))?;
    // Beyond the year 9999 there is no way to write it.
    (seconds < 253_402_300_800).then(|| httpdate::fmt_http_date(date))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{Algo, Stretches};
    use crate::limits::STRETCH_BYTES_MIN;

    const THERE: Fingerprint =
        Fingerprint { size: 5, mtime_ns: 1_000_000_000_000_000_000, ino: 7, ctime_ns: 9 };

    fn entry(checksum: bool) -> Entry {
        Entry {
            path: "f".into(),
            urls: vec!["http://h/f".parse().unwrap()],
            size: None,
            checksum: checksum.then(|| "md5=900150983cd24fb0d6963f7d28e17f72".parse().unwrap()),
            stretches: None,
            modified: None,
            line: 1,
        }
    }

    fn record(entry: &Entry, proof: Proof) -> Record {
        Record {
            path: "f".into(),
            url: "http://h/f".into(),
            checksum: entry.checksum.clone(),
            size: THERE.size,
            mtime_ns: THERE.mtime_ns,
            ino: THERE.ino,
            ctime_ns: THERE.ctime_ns,
            etag: None,
            last_modified: None,
            proof,
        }
    }

    fn need(entry: &Entry, record: Option<&Record>, there: &Fingerprint) -> Need {
        decide(entry, record, Some(there), Verify::None, false)
    }

    #[test]
    fn a_digest_is_believed_only_of_the_file_that_had_it() {
        let entry = entry(true);
        let known = record(&entry, Proof::Digest);
        assert_eq!(need(&entry, Some(&known), &THERE), Need::Nothing);
        assert_eq!(decide(&entry, Some(&known), None, Verify::None, false), Need::Fetch);
        assert_eq!(decide(&entry, Some(&known), Some(&THERE), Verify::All, false), Need::Hash);
        for other in [
            Fingerprint { mtime_ns: 0, ..THERE },
            Fingerprint { ino: 8, ..THERE },
            Fingerprint { ctime_ns: 10, ..THERE },
        ] {
            assert_eq!(need(&entry, Some(&known), &other), Need::Hash);
        }
        let lost = record(&entry, Proof::Lost);
        assert_eq!(need(&entry, Some(&lost), &THERE), Need::Hash);
        let unsynced = record(&entry, Proof::Unsynced);
        assert_eq!(need(&entry, Some(&unsynced), &THERE), Need::Fetch);
        let wanted = Entry { size: Some(6), ..entry };
        assert_eq!(need(&wanted, Some(&known), &THERE), Need::Fetch);
    }

    #[test]
    fn the_digests_of_stretches_are_as_good_as_one_of_the_whole() {
        let of = |byte| Stretches::new(Algo::Sha256, STRETCH_BYTES_MIN, vec![byte; 32]).unwrap();
        let told = |byte| Entry { stretches: Some(of(byte).into()), ..entry(false) };
        let (entry, other) = (told(1), told(2));
        let known = Record { checksum: entry.wanted(), ..record(&entry, Proof::Digest) };
        assert_eq!(need(&entry, Some(&known), &THERE), Need::Nothing);
        assert_eq!(need(&other, Some(&known), &THERE), Need::Hash);
        assert_eq!(decide(&entry, Some(&known), Some(&THERE), Verify::All, false), Need::Hash);
        let modified = Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000));
        let dated = Entry { size: Some(5), modified, ..entry };
        assert_eq!(need(&dated, None, &THERE), Need::Hash, "the date is no digest");
    }

    #[test]
    fn without_a_digest_the_server_is_asked_or_the_file_fetched() {
        let entry = entry(false);
        let known = record(&entry, Proof::Length);
        let asked = |need| match need {
            Need::Check(known) => known,
            other => panic!("{other:?}"),
        };
        let by_date = asked(need(&entry, Some(&known), &THERE));
        assert!(by_date.is_recorded && by_date.last_modified.is_some());
        assert!(!asked(need(&entry, None, &THERE)).is_recorded);
        let elsewhere = Record { url: "http://h/g".into(), ..known };
        assert!(!asked(need(&entry, Some(&elsewhere), &THERE)).is_recorded);
        let lost = record(&entry, Proof::Lost);
        assert_eq!(need(&entry, Some(&lost), &THERE), Need::Fetch);
        let dated = Entry {
            size: Some(5),
            modified: Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)),
            ..entry
        };
        assert_eq!(need(&dated, None, &THERE), Need::Nothing);
        assert_eq!(need(&dated, Some(&lost), &THERE), Need::Fetch);
        let unsynced = record(&dated, Proof::Unsynced);
        assert_eq!(need(&dated, Some(&unsynced), &THERE), Need::Fetch);
    }
}
