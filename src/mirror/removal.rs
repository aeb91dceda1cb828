//! What goes with `--delete`, and when.
//!
//! Invariant: nothing is removed before the list has been read to its end and every entry that can come
//! without that is done and on disk, nor where all that the list does not have is more than may go. What is
//! in the way of entries goes first, then they are fetched, and when they too are done the rest goes.

use std::collections::BTreeSet;
use std::path::Path;

use super::compare::queue;
use super::counts::Stage;
use super::crew::Shared;
use super::decide::Need;
use super::extra::extraneous;
use super::queues::{Filling, Queue, Task};
use super::results::Ending;
use super::way::{Waiting, Way, most_removed};
use crate::crash;
use crate::error::{Error, Escaped, Result};
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
    /// be fetched now. The others end here. Where there is one for which no room can be made, nothing goes.
    ///
    /// # Errors
    /// If something cannot be read, written or removed, or the run is to end.
    pub(super) fn make_room(&mut self, mut waiting: Waiting) -> Result<Vec<Queue>> {
        let Shared { order, catalog, tree, counts, limit, .. } = self.shared;
        counts.set_stage(Stage::Deleting);
        self.refused = self.extra(waiting.count)?.err();
        let may_go = self.refused.is_none();
        let way = Way::new(order, tree, self.state, catalog, limit)?.filter(|_| may_go);
        let files = way.map_or(Ok(None), |way| self.obstacles(&way, &mut waiting))?;
        if let Some(files) = &files {
            self.remove(files)?;
        }
        let filter = order.filter()?;
        let mut filling = Filling::new(self.state);
        let unwritten = |error| Error::local("write", self.state, error);
        while let Some(task) = waiting.next()? {
            limit.check()?;
            let entry = catalog.read_at(task.position)?;
            if files.is_some() {
                tree.remove_hollow(&entry.path, &|at| filter.takes(at), &|| limit.check())?;
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

    /// All that is in the way of the entries held back; `None` if it may not go.
    fn obstacles(&self, way: &Way<'_>, waiting: &mut Waiting) -> Result<Option<BTreeSet<String>>> {
        // One file may be in the way of many entries.
        let mut all = BTreeSet::new();
        while let Some(task) = waiting.look()? {
            let entry = self.shared.catalog.read_at(task.position)?;
            let Some(files) = way.obstacles(&entry.path)? else { return Ok(None) };
            all.extend(files);
            if wide(all.len()) > self.most() {
                return Ok(None);
            }
        }
        Ok(Some(all))
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
        let (tree, limit) = (&self.shared.tree, &self.shared.limit);
        tree.remove_hollow("", &|at| filter.takes(at), &|| limit.check())?;
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
        let (mut extra, mut count, most) = (Vec::new(), 0, self.most());
        extraneous(order, catalog, tree, self.state, limit, &mut |path| {
            count += 1;
            // A wrong list has the whole tree against it.
            if count <= most {
                extra.push(path.to_owned());
            }
            Ok(())
        })?;
        if count + self.removed > most {
            return Ok(Err(format!(
                "{count} files are not in the list, and at most {most} may be removed (--max-delete)"
            )));
        }
        Ok(Ok(extra))
    }

    fn remove<'f>(&mut self, files: impl IntoIterator<Item = &'f String>) -> Result<()> {
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
