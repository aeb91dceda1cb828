//! What stands where the list has something else: a file in the place of a directory, or a directory in that
//! of a file.
//!
//! Nothing else could make room for such an entry, and a run in which an entry fails removes nothing. So with
//! `--delete` these entries are held back until all others are done (`removal`). Invariant: only regular
//! files are in the way so that they may go, none that the filters leave out, and none that are the run's
//! own.

use std::path::Path;

use super::Order;
use super::extra::{Papers, papers};
use super::limit::Limit;
use super::queues::{Filling, Queue, Reader, Task};
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::limits::DELETE_FILES_MIN;
use crate::manifest::Filter;
use crate::tree::Tree;

/// Knows what may go.
pub(super) struct Way<'a> {
    tree: &'a Tree,
    filter: Filter,
    papers: Papers,
    most: u64,
    limit: &'a Limit,
}

impl<'a> Way<'a> {
    /// For a run over a list; `None` if it may remove nothing.
    ///
    /// # Errors
    /// If a filter is none.
    pub(super) fn new(
        order: &Order,
        tree: &'a Tree,
        state: &Path,
        catalog: &Catalog,
        limit: &'a Limit,
    ) -> Result<Option<Self>> {
        // Where README may stand for Readme nobody knows what is in whose way.
        if !order.delete || catalog.bad_len() > 0 || tree.folds_case() {
            return Ok(None);
        }
        let (filter, papers) = (order.filter()?, papers(order, tree, state));
        let most = most_removed(order, catalog.len());
        Ok(Some(Self { tree, filter, papers, most, limit }))
    }

    /// The files that are in the way of an entry, of which there may be none in a directory; `None` if one of
    /// them may not go, or are more than may, or nothing is in the way.
    ///
    /// # Errors
    /// If the run is to end.
    pub(super) fn obstacles(&self, path: &str) -> Result<Option<Vec<String>>> {
        let may_go = |at: &str| self.filter.takes(at) && !self.papers.have(at);
        let files = self.tree.obstacles(path, self.most, &may_go, &|| self.limit.check());
        // What cannot be looked at does not go either.
        self.limit.check().map(|()| files.ok().flatten())
    }
}

/// Most files that a run over so many entries may remove.
pub(super) fn most_removed(order: &Order, entries: u64) -> u64 {
    order.max_delete.unwrap_or(DELETE_FILES_MIN.max(entries / 10))
}

/// Entries without room: files of small records, so that memory does not grow with them.
pub(super) struct Held {
    filling: Filling,
    count: u64,
}

/// What is held back.
pub(super) struct Waiting {
    /// Each of them in both queues, to be gone through twice.
    queues: Vec<Queue>,
    /// Entries.
    pub(super) count: u64,
}

impl Held {
    /// None yet; `directory` is where files without a name may be.
    pub(super) fn new(directory: &Path) -> Self {
        Self { filling: Filling::new(directory), count: 0 }
    }

    pub(super) fn push(&mut self, task: &Task) -> std::io::Result<()> {
        self.count += 1;
        self.filling.push("", false, task)?;
        self.filling.push("", true, task)
    }

    pub(super) fn finish(self) -> std::io::Result<Waiting> {
        Ok(Waiting { queues: self.filling.finish()?, count: self.count })
    }
}

impl Waiting {
    /// The next of them that was not looked at yet; `None` at the end.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(super) fn look(&mut self) -> Result<Option<Task>> {
        next(self.queues.first_mut().map(|queue| &mut queue.large))
    }

    /// The next of them, looked at or not; `None` at the end.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<Task>> {
        next(self.queues.first_mut().map(|queue| &mut queue.small))
    }
}

fn next(reader: Option<&mut Reader>) -> Result<Option<Task>> {
    let unreadable = |error| Error::local("read", Path::new("a queue of the run"), error);
    reader.map_or(Ok(None), |reader| reader.next().map_err(unreadable))
}
