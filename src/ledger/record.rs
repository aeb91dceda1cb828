//! The lines of a ledger: one record each, guarded by a checksum. Pure.
//!
//! `CRC32-in-hex SPACE JSON NEWLINE`. Text, so that anyone can look at what a download remembers; it holds
//! neither a URL nor a name nor a credential.

use serde::{Deserialize, Serialize};

use crate::gate::Version;
use crate::limits::LEDGER_LINE_BYTES_MAX;

/// The format of the lines. A ledger of another format is not read.
pub(crate) const FORMAT: u32 = 1;

/// One line of a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    /// What the rest is about; the first line, and only there.
    Head(Head),
    /// A run begins. What was written before and is not durable is there only if the epoch is the same.
    Begin {
        /// Names the time during which the page cache has kept what was written: see
        /// [`crate::sys::epoch`].
        epoch: String,
        /// What this run writes waits in the page cache, where a failed sync loses it.
        cached: bool,
    },
    /// These bytes were written: file offsets, first and one behind the last.
    Written(Vec<(u64, u64)>),
    /// A sync begins of bytes that only the page cache has, those of the first so many `Written` lines. If no
    /// `Durable` or `Lost` follows, nobody has heard how it ended, and the kernel tells a failure only once.
    Syncing(u64),
    /// The disk has what the first so many `Written` lines of the file name.
    Durable(u64),
    /// A sync has failed: what is not durable may be anything by now.
    Lost,
    /// What was written here is not what the file has, whatever was said before: it is missing again.
    Wrong(Vec<(u64, u64)>),
}

/// What a ledger is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// [`FORMAT`].
    pub(crate) format: u32,
    /// The hash of the URL.
    pub(crate) url: String,
    /// The hash of the digest that the file must have, where one was given.
    pub(crate) digest: Option<String>,
    /// The size of the file in bytes.
    pub(crate) size: u64,
    /// The validators of the version, as they came.
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
    pub(crate) date_is_strong: bool,
    pub(crate) is_page: Option<bool>,
    /// The part file that the bytes went to.
    pub(crate) part: crate::sys::FileId,
    /// Whether the file system had allocated the whole part: its blocks can then only grow.
    pub(crate) allocated: bool,
}

/// Why a line is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It does not end, or its checksum or its words are wrong.
    Torn,
    /// It is right and of another format.
    Format(u32),
}

impl Head {
    /// The version of the file that the bytes belong to.
    pub(crate) fn version(&self) -> Version {
        Version {
            size: Some(self.size),
            etag: self.etag.clone(),
            last_modified: self.last_modified.clone(),
            date_is_strong: self.date_is_strong,
            is_page: self.is_page,
        }
    }
}

impl Record {
    /// The line that holds this record.
    pub(crate) fn line(&self) -> String {
        let json =
            serde_json::to_string(self).expect("proof: records hold nothing but text and numbers");
        format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()))
    }
}

/// Splits the first line off and reads it.
///
/// # Errors
/// Why there is no record; nothing behind it can be trusted then.
pub(crate) fn next(bytes: &[u8]) -> Result<(Record, &[u8]), Broken> {
    let length = bytes
        .iter()
        .take(LEDGER_LINE_BYTES_MAX)
        .position(|byte| *byte == b'\n')
        .ok_or(Broken::Torn)?;
    let json = checked(&bytes[..length]).ok_or(Broken::Torn)?;
    let record = serde_json::from_slice(json).map_err(|_| foreign(json))?;
    if let Record::Head(Head { format, .. }) = &record
        && *format != FORMAT
    {
        return Err(Broken::Format(*format));
    }
    Ok((record, &bytes[length + 1..]))
}

/// The text of a line whose checksum is right.
fn checked(line: &[u8]) -> Option<&[u8]> {
    let (sum, rest) = line.split_at_checked(8)?;
    let json = rest.strip_prefix(b" ")?;
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    (sum == crc32fast::hash(json)).then_some(json)
}

/// A head of a format to come may have other fields; its number must still be told.
fn foreign(json: &[u8]) -> Broken {
    #[derive(Deserialize)]
    struct Line {
        head: Number,
    }
    #[derive(Deserialize)]
    struct Number {
        format: u32,
    }
    match serde_json::from_slice::<Line>(json) {
        Ok(Line { head: Number { format } }) if format != FORMAT => Broken::Format(format),
        _ => Broken::Torn,
    }
}
