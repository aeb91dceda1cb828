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

use super::counts::Counts;
use super::results::{Ending, Results};
use super::rows::Prints;
use crate::catalog::{Journal, Proof, Record};
use crate::error::{Error, Kind, Result};
use crate::limits::JOURNAL_HELD_MAX;
use crate::manifest::{BadLine, Entry};
use crate::meter::Event;
use crate::tree::Fingerprint;

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
    results: Results,
    unsynced_bytes: u64,
    /// A sync has failed: nobody knows what it has lost.
    is_doubtful: bool,
}

impl Tally {
    /// Books for so many entries.
    pub(super) fn new(
        entries: u64,
        journal: Journal,
        results: Results,
        counts: Arc<Counts>,
    ) -> Self {
        let states = (0..entries).map(|_| AtomicU8::new(PENDING)).collect();
        let books = Books { journal, held: None, results, unsynced_bytes: 0, is_doubtful: false };
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
        books.results.entry(entry, &ending)?;
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
        self.books().results.bad_line(bad)?;
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
        let held = books.held.take();
        let is_vouched = held.is_some();
        let held = held.unwrap_or_default();
        if let Err(error) = synced {
            // The next sync would succeed, and vouch for what this one has lost.
            books.is_doubtful = true;
            books.journal.doubt().map_err(journal_failed)?;
            // What came meanwhile is as doubtful.
            let kept = held.iter().try_for_each(|record| books.journal.done(record));
            kept.map_err(journal_failed)?;
            return Err(error);
        }
        if is_vouched {
            books.journal.checkpoint().map_err(journal_failed)?;
        }
        held.iter().try_for_each(|record| books.journal.done(record)).map_err(journal_failed)
    }

    /// Whether every entry has its ending.
    pub(super) fn is_complete(&self) -> bool {
        self.states.iter().all(|state| state.load(Relaxed) == ENDED)
    }

    /// Gives results and failures their names.
    pub(super) fn publish(&self) -> Result<()> {
        self.books().results.publish()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn note(&mut self, record: Record) -> Result<()> {
        if let Some(held) = &mut self.held {
            held.push(record);
            if held.len() < JOURNAL_HELD_MAX {
                return Ok(());
            }
            // Nothing may be forgotten: they go to the journal, which cannot vouch for this sync then.
            let held = self.held.take().unwrap_or_default();
            return held
                .iter()
                .try_for_each(|record| self.journal.done(record))
                .map_err(journal_failed);
        }
        self.journal.done(&record).map_err(journal_failed)
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
        Entry {
            path: path.into(),
            urls,
            size: None,
            checksum: None,
            stretches: None,
            modified: None,
            line: 1,
        }
    }

    #[test]
    fn more_than_can_wait_for_a_sync_is_noted_all_the_same_but_not_as_durable() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(directory.path()).unwrap();
        let (journal, _) = state.begin(|| Ok(())).unwrap();
        let all = JOURNAL_HELD_MAX + 1;
        let tally = Tally::new(all as u64, journal, Results::default(), Arc::default());
        tally
            .checkpoint(|| {
                for at in 0..all {
                    let entry = entry(&format!("{at:08}"));
                    let there = Fingerprint { size: 1, mtime_ns: 2, ino: 3, ctime_ns: 4 };
                    let record = record(&entry, &there, None);
                    tally.end(at as u64, &entry, Ending::Fetched(record))?;
                }
                Ok(())
            })
            .unwrap();
        tally.flush().unwrap();
        let synced = std::cell::Cell::new(false);
        let sync = || {
            synced.set(true);
            Ok(())
        };
        let mut snapshot = state.begin(sync).unwrap().1;
        assert!(synced.get(), "the journal vouches for what came during the sync");
        assert!((0..all).all(|at| snapshot.join(&format!("{at:08}")).is_some()));
    }

    /// Proofs of "a" and "b", of which the one ends before a sync and the other meanwhile.
    fn proofs(sync: Result<()>) -> [Proof; 2] {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(directory.path()).unwrap();
        let (journal, _) = state.begin(|| Ok(())).unwrap();
        let tally = Tally::new(2, journal, Results::default(), Arc::default());
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
