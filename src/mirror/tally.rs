//! The books of a run: one ending for every entry, counted, told in the results, and in the journal for the
//! next run.
//!
//! Invariant: an entry has one terminal state, and the counts are those of the lines in the results. The
//! journal never says that something is durable which was renamed after the sync of the tree began: what
//! comes in between waits.

use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::counts::Counts;
use super::lines::Lines;
use super::rows::Prints;
use crate::catalog::{Journal, Proof, Record};
use crate::error::{Error, Kind, Result};
use crate::limits::JOURNAL_HELD_MAX;
use crate::manifest::{BadLine, Entry};
use crate::meter::Event;
use crate::tree::Fingerprint;

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

/// Which state an entry has: terminal ones are written once.
const PENDING: u8 = 0;
const ENDED: u8 = 1;

/// The books of one run.
pub(super) struct Tally {
    states: Vec<AtomicU8>,
    books: Mutex<Books>,
    counts: Arc<Counts>,
    /// Where it is noted which files came right, if somebody wants to know.
    prints: Option<Prints>,
}

struct Books {
    journal: Journal,
    /// Records that came while a sync of the tree ran; `None` where none runs.
    held: Option<Vec<Record>>,
    results: Option<Lines>,
    failures: Option<Lines>,
    unsynced_bytes: u64,
    /// A sync has failed: nobody knows what it has lost.
    is_doubtful: bool,
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

impl Tally {
    /// Books for so many entries.
    pub(super) fn new(
        entries: u64,
        journal: Journal,
        results: Option<Lines>,
        failures: Option<Lines>,
        counts: Arc<Counts>,
    ) -> Self {
        let states = (0..entries).map(|_| AtomicU8::new(PENDING)).collect();
        let books =
            Books { journal, held: None, results, failures, unsynced_bytes: 0, is_doubtful: false };
        Self { states, books: Mutex::new(books), counts, prints: None }
    }

    /// Has it noted which files came right.
    pub(super) fn with_prints(mut self, prints: Prints) -> Self {
        self.prints = Some(prints);
        self
    }

    /// The file of an entry that came right in this run, as far as that is noted.
    pub(super) fn print(&self, ordinal: u64) -> Result<Option<Fingerprint>> {
        let found = self.prints.as_ref().map(|prints| prints.find(ordinal)).transpose();
        found.map(Option::flatten).map_err(noting_failed)
    }

    /// Whether an entry has its ending.
    pub(super) fn has_ended(&self, ordinal: u64) -> bool {
        let state = usize::try_from(ordinal).ok().and_then(|at| self.states.get(at));
        state.is_some_and(|state| state.load(Relaxed) == ENDED)
    }

    /// Takes the ending of an entry.
    ///
    /// # Errors
    /// If the books cannot be written: the run cannot go on then.
    pub(super) fn end(&self, ordinal: u64, entry: &Entry, ending: Ending) -> Result<()> {
        let state = usize::try_from(ordinal).ok().and_then(|at| self.states.get(at));
        let before = state.map(|state| state.swap(ENDED, Relaxed));
        if before != Some(PENDING) {
            return Err(Error::new(Kind::Internal, "an entry of the list ended twice"));
        }
        if let (Some(prints), Ending::Fetched(record) | Ending::Unchanged(Some(record))) =
            (&self.prints, &ending)
            && record.proof == Proof::Digest
        {
            prints.put(ordinal, record).map_err(noting_failed)?;
        }
        let mut books = self.books();
        books.result(entry, &ending)?;
        let (count, record) = match ending {
            Ending::Fetched(record) => (&self.counts.fetched, Some(record)),
            Ending::Linked(record, _) => {
                self.counts.linked_bytes.fetch_add(record.size, Relaxed);
                (&self.counts.linked, Some(record))
            }
            Ending::Unchanged(record) => (&self.counts.unchanged, record),
            Ending::Failed(error, _) => {
                let path = crate::error::Escaped(&entry.path);
                self.counts.tell(Event::Notice(format!("{path}: {error}")));
                (&self.counts.failed, None)
            }
        };
        if let Some(record) = record {
            books.unsynced_bytes += record.size;
            books.note(record)?;
        }
        count.fetch_add(1, Relaxed);
        Ok(())
    }

    /// The file of an entry that has its ending is to be known anew: another name of it was made or went.
    pub(super) fn renew(&self, record: Record) -> Result<()> {
        self.books().note(record)
    }

    /// Takes a line of the list that makes no entry.
    pub(super) fn bad_line(&self, bad: &BadLine) -> Result<()> {
        let line = Line {
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
        };
        let mut books = self.books();
        books.write(&line)?;
        self.counts.tell(Event::Notice(format!("line {}: {}", bad.line, bad.why)));
        self.counts.bad.fetch_add(1, Relaxed);
        Ok(())
    }

    /// A file was removed, or is not what it was: it is not to be known any more.
    pub(super) fn gone(&self, path: &str) -> Result<()> {
        self.books().journal.gone(path).map_err(journal_failed)
    }

    /// Writes what waits to the journal, so that a kill costs little.
    pub(super) fn flush(&self) -> Result<()> {
        self.books().journal.flush().map_err(journal_failed)
    }

    /// Bytes that came since the last sync.
    pub(super) fn unsynced_bytes(&self) -> u64 {
        self.books().unsynced_bytes
    }

    /// Runs a sync of the tree, and notes that all that ended before it is durable.
    pub(super) fn checkpoint(&self, sync: impl FnOnce() -> Result<()>) -> Result<()> {
        {
            let mut books = self.books();
            books.journal.flush().map_err(journal_failed)?;
            if books.is_doubtful {
                return Err(Error::new(
                    Kind::LocalIo,
                    "an earlier sync of the directory has failed",
                ));
            }
            books.held = Some(Vec::new());
            books.unsynced_bytes = 0;
        }
        let synced = sync();
        let mut books = self.books();
        let held = books.held.take().unwrap_or_default();
        if let Err(error) = synced {
            // The next sync would succeed, and vouch for what this one has lost.
            books.is_doubtful = true;
            books.journal.doubt().map_err(journal_failed)?;
            // What came meanwhile is as doubtful.
            let kept = held.iter().try_for_each(|record| books.journal.done(record));
            kept.map_err(journal_failed)?;
            return Err(error);
        }
        books.journal.checkpoint().map_err(journal_failed)?;
        held.iter().try_for_each(|record| books.journal.done(record)).map_err(journal_failed)
    }

    /// Whether every entry has its ending.
    pub(super) fn is_complete(&self) -> bool {
        self.states.iter().all(|state| state.load(Relaxed) == ENDED)
    }

    /// Gives results and failures their names.
    pub(super) fn publish(&self) -> Result<()> {
        let mut books = self.books();
        books.results.take().map_or(Ok(()), Lines::publish)?;
        books.failures.take().map_or(Ok(()), Lines::publish)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn note(&mut self, record: Record) -> Result<()> {
        match &mut self.held {
            // What is not kept is looked at again by the next run.
            Some(held) if held.len() < JOURNAL_HELD_MAX => held.push(record),
            Some(_) => {}
            None => self.journal.done(&record).map_err(journal_failed)?,
        }
        Ok(())
    }

    fn result(&mut self, entry: &Entry, ending: &Ending) -> Result<()> {
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
            _ if entry.checksum.is_some() => Some("digest"),
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

    fn write(&mut self, line: &Line<'_>) -> Result<()> {
        let Some(results) = &mut self.results else { return Ok(()) };
        let text = serde_json::to_vec(line).expect("proof: text and numbers are always JSON");
        results.line(&text)
    }
}

fn noting_failed(error: std::io::Error) -> Error {
    Error::local("write", Path::new("what came right"), error)
}

fn journal_failed(error: std::io::Error) -> Error {
    Error::local("write", Path::new("the journal"), error)
}

/// Time after which what was written is synced and noted as durable, while a run goes on.
pub(super) const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Proof, State};
    use crate::mirror::evidence::record;
    use crate::tree::Fingerprint;

    fn entry(path: &str) -> Entry {
        let urls = vec!["http://h/f".parse().unwrap()];
        Entry { path: path.into(), urls, size: None, checksum: None, modified: None, line: 1 }
    }

    /// Proofs of "a" and "b", of which the one ends before a sync and the other meanwhile.
    fn proofs(sync: Result<()>) -> [Proof; 2] {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(directory.path()).unwrap();
        let (journal, _) = state.begin(|| Ok(())).unwrap();
        let tally = Tally::new(2, journal, None, None, Arc::default());
        let end = |ordinal, path| {
            let (entry, there) =
                (entry(path), Fingerprint { size: 1, mtime_ns: 2, ino: 3, ctime_ns: 4 });
            let record = record(&entry, &there, None);
            tally.end(ordinal, &entry, Ending::Fetched(record)).unwrap();
        };
        end(0, "a");
        let is_good = sync.is_ok();
        let kept = tally.checkpoint(|| {
            end(1, "b");
            sync
        });
        assert_eq!(kept.is_ok(), is_good);
        tally.flush().unwrap();
        let mut snapshot = state.begin(|| Ok(())).unwrap().1;
        ["a", "b"].map(|path| snapshot.join(path).unwrap().proof)
    }

    #[test]
    fn what_ends_while_a_sync_fails_is_as_doubtful_as_what_came_before_it() {
        assert_eq!(proofs(Ok(())), [Proof::Length; 2]);
        let failed = Error::new(Kind::LocalIo, "the disk is broken");
        assert_eq!(proofs(Err(failed)), [Proof::Unsynced; 2]);
    }
}
