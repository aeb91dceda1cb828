//! What a run leaves to read: `results.jsonl`, a line for every entry and every bad line, and `failures`, the
//! lines of the list that are to be tried again.

use serde::Serialize;

use super::lines::Lines;
use crate::catalog::Record;
use crate::error::{Error, Kind, Result};
use crate::manifest::{BadLine, Entry};

/// How an entry ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// Its file was fetched.
    Fetched(Record),
    /// Its file was made from another of the same digest.
    Linked(Record, Link),
    /// Its file was right already; with a record, if there is something new to know of it.
    Unchanged(Option<Record>),
    /// It failed, after so many attempts.
    Failed(Error, u32),
}

/// What a file was made from.
#[derive(Debug)]
pub(super) struct Link {
    /// The path of the other.
    pub(super) from: String,
    /// `reflink` or `hardlink`.
    pub(super) how: &'static str,
}

/// The results and the failures of a run, each if somebody wants it.
#[derive(Default)]
pub(super) struct Results {
    results: Option<Lines>,
    failures: Option<Lines>,
}

/// A line of the results.
#[derive(Serialize)]
struct Line<'a> {
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    line: u64,
}

impl Results {
    /// Where results and failures are written to.
    pub(super) fn new(results: Option<Lines>, failures: Option<Lines>) -> Self {
        Self { results, failures }
    }

    /// Writes the ending of an entry.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(super) fn entry(&mut self, entry: &Entry, ending: &Ending) -> Result<()> {
        if let (Ending::Failed(..), Some(failures)) = (ending, &mut self.failures) {
            let mut line = Vec::new();
            crate::manifest::write_line(entry, &mut line);
            while line.last() == Some(&b'\n') {
                line.pop();
            }
            failures.line(&line)?;
        }
        let (state, record, failure) = match ending {
            Ending::Fetched(record) => ("fetched", Some(record), None),
            Ending::Linked(record, _) => ("linked", Some(record), None),
            Ending::Unchanged(record) => ("unchanged", record.as_ref(), None),
            Ending::Failed(error, attempts) => ("failed", None, Some((error, *attempts))),
        };
        let verified = match ending {
            Ending::Failed(..) => None,
            _ if entry.checksum.is_some() || entry.stretches.is_some() => Some("digest"),
            _ => Some("length"),
        };
        let link = match ending {
            Ending::Linked(_, link) => Some(link),
            _ => None,
        };
        self.write(&Line {
            path: Some(&entry.path),
            url: entry.urls.first().map(url::Url::as_str),
            state,
            how: link.map(|link| link.how),
            from: link.map(|link| link.from.as_str()),
            size_bytes: record.map(|record| record.size).or(entry.size),
            verified,
            kind: failure.map(|(error, _)| error.kind().name()),
            exit_code: failure.map(|(error, _)| error.exit_code()),
            message: failure.map(|(error, _)| error.to_string()),
            attempts: failure.map(|(_, attempts)| attempts),
            line: entry.line,
        })
    }

    /// Writes a line of the list that makes no entry.
    ///
    /// # Errors
    /// If the results cannot be written.
    pub(super) fn bad_line(&mut self, bad: &BadLine) -> Result<()> {
        self.write(&Line {
            path: bad.path.as_deref(),
            url: None,
            state: "bad_line",
            how: None,
            from: None,
            size_bytes: None,
            verified: None,
            kind: Some(Kind::Usage.name()),
            exit_code: Some(Kind::Usage.exit_code()),
            message: Some(bad.why.clone()),
            attempts: None,
            line: bad.line,
        })
    }

    /// Gives results and failures their names.
    ///
    /// # Errors
    /// If a file cannot be written or named.
    pub(super) fn publish(&mut self) -> Result<()> {
        self.results.take().map_or(Ok(()), Lines::publish)?;
        self.failures.take().map_or(Ok(()), Lines::publish)
    }

    fn write(&mut self, line: &Line<'_>) -> Result<()> {
        let Some(results) = &mut self.results else { return Ok(()) };
        let text = serde_json::to_vec(line).expect("proof: text and numbers are always JSON");
        results.line(&text)
    }
}
