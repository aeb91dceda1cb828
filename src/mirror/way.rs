//! What stands where the list has something else: a file in the place of a directory, or a directory in that
//! of a file.
//!
//! Nothing else could make room for the entry, and a run in which an entry fails removes nothing: with
//! `--delete` it goes before. Invariant: only regular files go, as many as may be removed in all, and none
//! that the filters leave out or that are the run's own.

use std::path::{Path, PathBuf};

use super::extra::papers;
use super::tally::Tally;
use super::{Order, most_removed};
use crate::catalog::Catalog;
use crate::error::Result;
use crate::manifest::Filter;
use crate::tree::Tree;

/// Clears the way for entries.
pub(super) struct Way<'a> {
    tree: &'a Tree,
    tally: &'a Tally,
    filter: Filter,
    papers: Vec<PathBuf>,
    is_dry: bool,
    /// Files that may still go.
    left: u64,
    /// Files that went.
    pub(super) removed: u64,
}

impl<'a> Way<'a> {
    /// For a run over a list; `None` if it may remove nothing.
    ///
    /// # Errors
    /// If a filter is none.
    pub(super) fn new(
        order: &Order,
        tree: &'a Tree,
        tally: &'a Tally,
        state: &Path,
        catalog: &Catalog,
    ) -> Result<Option<Self>> {
        // Where README may stand for Readme nobody knows what is in whose way.
        if !order.delete || catalog.bad_len() > 0 || tree.folds_case() {
            return Ok(None);
        }
        let (filter, papers) = (order.filter()?, papers(order, tree, state));
        let (is_dry, left) = (order.dry_run, most_removed(order, catalog.len()));
        Ok(Some(Self { tree, tally, filter, papers, is_dry, left, removed: 0 }))
    }

    /// Whether there is room for an entry now.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub(super) fn clear(&mut self, path: &str) -> Result<bool> {
        let Some(files) = self.tree.obstacles(path)? else { return Ok(false) };
        let count = crate::units::wide(files.len());
        if count > self.left || !files.iter().all(|file| self.may_go(file)) {
            return Ok(false);
        }
        if self.is_dry {
            // They are among what is told to be removed at the end.
            return Ok(true);
        }
        for file in &files {
            self.tree.remove(file)?;
            self.tally.gone(file)?;
        }
        self.tree.remove_hollow(path, &|directory| self.filter.enters(directory))?;
        (self.left, self.removed) = (self.left - count, self.removed + count);
        Ok(true)
    }

    fn may_go(&self, file: &str) -> bool {
        let is_paper = self.papers.iter().any(|paper| Path::new(file).starts_with(paper));
        self.filter.takes(file) && !is_paper
    }
}
