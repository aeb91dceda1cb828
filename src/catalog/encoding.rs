//! Entries and records as bytes. What is read was written by this program; whatever else it may be is `None`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use url::Url;

use super::snapshot::{Proof, Record};
use crate::digest::{Algo, Checksum, Stretches};
use crate::manifest::{BadLine, Entry};
use crate::units::narrow;

/// Appends values.
pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

/// Takes values off the front.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Writer<'_> {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(crate::units::wide(bytes.len()));
        self.0.extend_from_slice(bytes);
    }

    fn option<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.0.push(u8::from(value.is_some()));
        if let Some(value) = value {
            put(self, value);
        }
    }

    fn checksum(&mut self, checksum: Option<&Checksum>) {
        self.option(checksum, |out, checksum| {
            out.bytes(checksum.algo().name().as_bytes());
            out.bytes(checksum.bytes());
        });
    }
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(narrow(length))
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn option<T>(&mut self, get: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.take(1)? {
            [0] => Some(None),
            [1] => get(self).map(Some),
            _ => None,
        }
    }

    fn checksum(&mut self) -> Option<Option<Checksum>> {
        self.option(|from| {
            let algo: Algo = from.text()?.parse().ok()?;
            let bytes = from.bytes()?;
            (bytes.len() == algo.digest_len()).then(|| Checksum::new(algo, bytes))
        })
    }
}

pub(super) fn put_entry(out: &mut Writer<'_>, entry: &Entry) {
    out.bytes(entry.path.as_bytes());
    out.number(crate::units::wide(entry.urls.len()));
    entry.urls.iter().for_each(|url| out.bytes(url.as_str().as_bytes()));
    out.option(entry.size, Writer::number);
    out.checksum(entry.checksum.as_ref());
    out.option(entry.stretches.as_deref(), |out, stretches| {
        out.bytes(stretches.algo().name().as_bytes());
        out.number(stretches.length());
        out.bytes(stretches.bytes());
    });
    out.option(entry.modified, |out, modified| {
        // Dates before 1970 become that one, as they do for files.
        let since = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        out.number(since.as_secs());
        out.number(u64::from(since.subsec_nanos()));
    });
    out.number(entry.line);
}

pub(super) fn get_entry(from: &mut Reader<'_>) -> Option<Entry> {
    let path = from.text()?;
    let count = from.number()?;
    let urls = (0..count).map(|_| Url::parse(&from.text()?).ok()).collect::<Option<Vec<_>>>()?;
    let size = from.option(Reader::number)?;
    let checksum = from.checksum()?;
    let stretches = from.option(|from| {
        let (algo, length) = (from.text()?.parse().ok()?, from.number()?);
        Stretches::new(algo, length, from.bytes()?.to_vec()).ok().map(Arc::new)
    })?;
    let modified = from.option(|from| {
        let (seconds, nanoseconds) = (from.number()?, u32::try_from(from.number()?).ok()?);
        SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))
    })?;
    let line = from.number()?;
    let entry = Entry { path, urls, size, checksum, stretches, modified, line };
    (!entry.urls.is_empty()).then_some(entry)
}

pub(super) fn put_bad(out: &mut Writer<'_>, bad: &BadLine) {
    out.number(bad.line);
    out.option(bad.path.as_deref(), |out, path| out.bytes(path.as_bytes()));
    out.bytes(bad.why.as_bytes());
}

pub(super) fn get_bad(from: &mut Reader<'_>) -> Option<BadLine> {
    let line = from.number()?;
    let path = from.option(Reader::text)?;
    Some(BadLine { line, path, why: from.text()? })
}

pub(super) fn put_record(out: &mut Writer<'_>, record: &Record) {
    out.bytes(record.path.as_bytes());
    out.bytes(record.url.as_bytes());
    out.checksum(record.checksum.as_ref());
    out.number(record.size);
    out.0.extend_from_slice(&record.mtime_ns.to_le_bytes());
    out.number(record.ino);
    out.0.extend_from_slice(&record.ctime_ns.to_le_bytes());
    out.option(record.etag.as_deref(), Writer::bytes);
    out.option(record.last_modified.as_deref(), |out, date| out.bytes(date.as_bytes()));
    out.0.push(match record.proof {
        Proof::Length => 0,
        Proof::Digest => 1,
        Proof::Lost => 2,
        Proof::Unsynced => 3,
    });
}

pub(super) fn get_record(from: &mut Reader<'_>) -> Option<Record> {
    let signed = |from: &mut Reader<'_>| Some(i64::from_le_bytes(from.take(8)?.try_into().ok()?));
    Some(Record {
        path: from.text()?,
        url: from.text()?,
        checksum: from.checksum()?,
        size: from.number()?,
        mtime_ns: signed(from)?,
        ino: from.number()?,
        ctime_ns: signed(from)?,
        etag: from.option(|from| from.bytes().map(<[u8]>::to_vec))?,
        last_modified: from.option(Reader::text)?,
        proof: match from.take(1)? {
            [0] => Proof::Length,
            [1] => Proof::Digest,
            [3] => Proof::Unsynced,
            _ => Proof::Lost,
        },
    })
}
