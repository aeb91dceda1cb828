//! Compares the catalog with what is known and there, path by path: what is right ends at once, the rest is
//! queued, host by host.
//!
//! Nobody is asked and no file is read here. Memory does not grow with the list.

use std::path::Path;

use super::counts::{Counts, Stage};
use super::decide::{Need, decide};
use super::limit::Limit;
use super::queues::{Filling, Queue, Task};
use super::results::Ending;
use super::rows::Twins;
use super::tally::Tally;
use super::twins::Gathering;
use super::way::{Held, Waiting, Way};
use super::{Order, Verify};
use crate::catalog::{Catalog, Record, Snapshot};
use crate::error::{Error, Result};
use crate::limits::ENTRY_LARGE_BYTES;
use crate::manifest::Entry;
use crate::tree::{Fingerprint, Tree};

/// What a comparison looks at.
pub(super) struct Comparison<'a> {
    pub(super) order: &'a Order,
    pub(super) catalog: &'a Catalog,
    pub(super) tree: &'a Tree,
    pub(super) tally: &'a Tally,
    pub(super) counts: &'a Counts,
    pub(super) limit: &'a Limit,
    pub(super) state: &'a Path,
}

/// What a comparison leaves to be done.
pub(super) struct Compared {
    pub(super) queues: Vec<Queue>,
    /// What waits for another of the same digest.
    pub(super) twins: Option<Twins>,
    /// Entries for which there is no room before something goes.
    pub(super) waiting: Waiting,
}

/// Compares the catalog with what is known and there: what is right ends at once, the rest is queued.
///
/// `tell` is told what a dry run would do.
pub(super) fn compare(
    about: &Comparison<'_>,
    snapshot: &mut Snapshot,
    tell: &mut dyn FnMut(&str, &str) -> Result<()>,
) -> Result<Compared> {
    let Comparison { order, catalog, tree, tally, counts, limit, state } = *about;
    let unwritten = |error| Error::local("write", state, error);
    counts.set_stage(Stage::Comparing);
    let mut filling = Filling::new(state);
    let gathering = order.dedupe.map(|_| Gathering::new(state)).transpose();
    let mut gathering = gathering.map_err(unwritten)?;
    catalog.bad_lines(&mut |bad| limit.check().and_then(|()| tally.bad_line(&bad)))?;
    let mut entries = catalog.entries();
    let mut absent = Absent::default();
    let (way, mut held) = (Way::new(order, tree, state, catalog, limit)?, Held::new(state));
    while let Some((ordinal, position, entry)) = entries.next()? {
        limit.check()?;
        while let Some(record) = snapshot.before(&entry.path) {
            limit.check()?;
            pass_over(order, gathering.as_mut(), &record).map_err(unwritten)?;
        }
        let record = snapshot.take(&entry.path);
        let there = match absent.stat(tree, &entry.path) {
            Ok(there) => there,
            Err(error) => {
                let obstacles = way.as_ref().map_or(Ok(None), |way| way.obstacles(&entry.path))?;
                if obstacles.is_none() {
                    tally.end(ordinal, &entry, Ending::Failed(error, 0))?;
                } else if order.dry_run {
                    // What has to go for it is among what is told to go.
                    tell(verb(&Need::Fetch), &entry.path)?;
                } else {
                    let task = Task { ordinal, position, need: Need::Fetch };
                    held.push(&task).map_err(unwritten)?;
                }
                continue;
            }
        };
        let sample = order.verify == Verify::Sample && fastrand::u32(..100) == 0;
        let need = decide(&entry, record.as_ref(), there.as_ref(), order.verify, sample);
        let task = Task { ordinal, position, need };
        if let Some(gathering) = &mut gathering {
            gathering.take(&entry, &task, there.as_ref()).map_err(unwritten)?;
        }
        if task.need == Need::Nothing {
            if !order.dry_run {
                tally.end(ordinal, &entry, Ending::Unchanged(None))?;
            }
        } else if gathering.is_none() {
            deal(about, &mut filling, &entry, &task, tell)?;
        }
    }
    let mut twins = None;
    if let Some(mut gathering) = gathering {
        while let Some(record) = snapshot.advance() {
            limit.check()?;
            pass_over(order, Some(&mut gathering), &record).map_err(unwritten)?;
        }
        let (mut tasks, waiting) = gathering.finish(order.dry_run, &|| limit.check())?;
        while let Some(task) = tasks.next().map_err(unwritten)? {
            limit.check()?;
            deal(about, &mut filling, &catalog.read_at(task.position)?, &task, tell)?;
        }
        twins = Some(waiting);
    }
    let waiting = held.finish().map_err(unwritten)?;
    Ok(Compared { queues: filling.finish().map_err(unwritten)?, twins, waiting })
}

/// A file that the list does not have may be where an entry was before.
fn pass_over(
    order: &Order,
    gathering: Option<&mut Gathering>,
    record: &Record,
) -> std::io::Result<()> {
    match gathering {
        // It would have to be read first.
        Some(gathering) if order.verify != Verify::All => gathering.take_unlisted(record),
        _ => Ok(()),
    }
}

/// Tells what would be done, or queues it.
fn deal(
    about: &Comparison<'_>,
    filling: &mut Filling,
    entry: &Entry,
    task: &Task,
    tell: &mut dyn FnMut(&str, &str) -> Result<()>,
) -> Result<()> {
    match about.order.dry_run {
        true => tell(verb(&task.need), &entry.path),
        false => queue(about.order, filling, entry, task)
            .map_err(|error| Error::local("write", about.state, error)),
    }
}

/// Queues what is to be done.
pub(super) fn queue(
    order: &Order,
    filling: &mut Filling,
    entry: &Entry,
    task: &Task,
) -> std::io::Result<()> {
    // A file that is there may be the right one still, and then nothing large comes.
    let is_large = task.need == Need::Fetch
        && order.is_split(entry)
        && entry.size.is_some_and(|size| size > ENTRY_LARGE_BYTES);
    filling.push(&host(entry), is_large, task)
}

/// The directory that was last looked for in vain: what lies in it comes next, and is not looked for.
#[derive(Default)]
struct Absent(Option<String>);

impl Absent {
    fn stat(&mut self, tree: &Tree, path: &str) -> Result<Option<Fingerprint>> {
        let parent = path.rsplit_once('/').map(|(parent, _)| parent);
        if parent.is_some() && parent == self.0.as_deref() {
            return Ok(None);
        }
        let there = tree.stat(path)?;
        if there.is_none() && !tree.has_directory_of(path)? {
            self.0 = parent.map(ToOwned::to_owned);
        }
        Ok(there)
    }
}

/// What a dry run says of a need.
fn verb(need: &Need) -> &'static str {
    match need {
        Need::Nothing => "keep",
        Need::Hash | Need::Look => "hash",
        Need::Link => "link",
        Need::Check(_) => "check",
        Need::Fetch => "fetch",
    }
}

/// The host that an entry asks, with its port.
fn host(entry: &Entry) -> String {
    let url = &entry.urls[0];
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", url.host_str().unwrap_or_default())
}
