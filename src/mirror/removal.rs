//! What goes with `--delete`, and when.
//!
//! Invariant: nothing is removed before the list has been read to its end and every entry that can come
//! without that is done and on disk, nor where all that the list does not have is more than may go. What is
//! in the way of entries goes first, then they are fetched, and when they too are done the rest goes.

use std::path::Path;

use super::Order;
use super::compare::queue;
use super::counts::Stage;
use super::crew::Shared;
use super::decide::Need;
use super::extra::extraneous;
use super::queues::{Filling, Queue, Task};
use super::results::Ending;
use super::way::{Waiting, Way};
use crate::crash;
use crate::error::{Error, Escaped, Result};
use crate::limits::DELETE_FILES_MIN;
use crate::meter::Event;
use crate::units::wide;

/// Removes things.
pub(super) struct Removal<'a> {
    shared: &'a Shared,
    /// Where the run keeps its state.
    state: &'a Path,
    /// Files that went.
    pub(super) removed: u64,
    /// Why nothing made room, if that was so.
    refused: Option<String>,
}

impl<'a> Removal<'a> {
    /// For a run that has removed nothing yet.
    pub(super) fn new(shared: &'a Shared, state: &'a Path) -> Self {
        Self { shared, state, removed: 0, refused: None }
    }

    /// Makes room for entries that were held back, once all others are done and on disk: gives those that can
    /// be fetched now. The others end here.
    ///
    /// # Errors
    /// If something cannot be read, written or removed, or the run is to end.
    pub(super) fn make_room(&mut self, mut waiting: Waiting) -> Result<Vec<Queue>> {
        let Shared { order, catalog, tree, counts, .. } = self.shared;
        counts.set_stage(Stage::Deleting);
        self.refused = self.extra(waiting.count)?.err();
        let may_go = self.refused.is_none();
        let way = Way::new(order, tree, self.state, catalog)?.filter(|_| may_go);
        let filter = order.filter()?;
        let mut filling = Filling::new(self.state);
        let unwritten = |error| Error::local("write", self.state, error);
        while let Some(task) = waiting.next()? {
            self.shared.limit.check()?;
            let entry = catalog.read_at(task.position)?;
            let files = way.as_ref().and_then(|way| way.obstacles(&entry.path));
            if let Some(files) =
                files.filter(|files| self.removed + wide(files.len()) <= self.most())
            {
                self.remove(&files)?;
                let may_go = |directory: &str| filter.enters(directory);
                tree.remove_hollow(&entry.path, &may_go, &|| self.shared.limit.check())?;
            }
            match tree.stat(&entry.path) {
                Ok(_) => {
                    let task = Task { need: Need::Fetch, ..task };
                    queue(order, &mut filling, &entry, &task).map_err(unwritten)?;
                }
                Err(error) => {
                    self.shared.tally.end(task.ordinal, &entry, Ending::Failed(error, 0))?;
                }
            }
        }
        filling.finish().map_err(unwritten)
    }

    /// Removes what the list does not have, and makes that durable; says why not, if it must not.
    ///
    /// # Errors
    /// If something cannot be read or removed, or the run is to end.
    pub(super) fn delete(&mut self) -> Result<Result<(), String>> {
        self.shared.counts.set_stage(Stage::Deleting);
        let extra = match self.extra(0)? {
            Ok(extra) => extra,
            // Entries that got no room have failed for the first reason.
            Err(why) => return Ok(Err(self.refused.take().unwrap_or(why))),
        };
        self.remove(&extra)?;
        let filter = self.shared.order.filter()?;
        let may_go = |directory: &str| filter.enters(directory);
        self.shared.tree.remove_hollow("", &may_go, &|| self.shared.limit.check())?;
        self.shared.keep()?;
        Ok(Ok(()))
    }

    /// What the list does not have, where so many entries are held back; or why nothing may go.
    fn extra(&self, held: u64) -> Result<Result<Vec<String>, String>> {
        let Shared { order, catalog, tree, counts, limit, .. } = self.shared;
        if !counts.standing().is_whole_but(held) {
            return Ok(Err(
                "not every entry is done, so what is missing in the list is not certain".into(),
            ));
        }
        if catalog.len() == 0 {
            return Ok(Err("the list is empty".into()));
        }
        if tree.folds_case() {
            // What the list calls README may stand there as Readme.
            return Ok(Err("the file system does not tell upper from lower case".into()));
        }
        let extra = extraneous(order, catalog, tree, self.state, limit)?;
        let (count, most) = (wide(extra.len()), self.most());
        if count + self.removed > most {
            return Ok(Err(format!(
                "{count} files are not in the list, and at most {most} may be removed (--max-delete)"
            )));
        }
        Ok(Ok(extra))
    }

    fn remove(&mut self, files: &[String]) -> Result<()> {
        for path in files {
            self.shared.limit.check()?;
            crash::point();
            self.shared.tree.remove(path)?;
            self.shared.tally.gone(path)?;
            self.removed += 1;
            self.shared.counts.tell(Event::Detail(format!("removed {}", Escaped(path))));
        }
        crash::point();
        Ok(())
    }

    fn most(&self) -> u64 {
        most_removed(&self.shared.order, self.shared.catalog.len())
    }
}

/// Most files that a run over so many entries may remove.
fn most_removed(order: &Order, entries: u64) -> u64 {
    order.max_delete.unwrap_or(DELETE_FILES_MIN.max(entries / 10))
}
