//! A run from its first line to its seal: what comes before the first request, and after the last.
//!
//! The seal is the last word: every entry has its ending, and what was written is on disk. Only then, and
//! only if the list was complete and nothing failed, is anything removed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::counts::{Counts, Stage};
use super::crew::{Crew, Shared};
use super::extra::extraneous;
use super::hosts::Hosts;
use super::large::Trials;
use super::limit::{Limit, late, stopped};
use super::lines::Lines;
use super::linking::Linker;
use super::removal::Removal;
use super::results::Results;
use super::rows::Prints;
use super::tally::{CHECKPOINT_EVERY, Tally};
use super::way::Waiting;
use super::{List, Order, Sealed, compare, deadline, survey};
use crate::catalog::{Journal, State};
use crate::engine::Stopper;
use crate::error::{Error, Kind, Result};
use crate::limits::{CHECKPOINT_BYTES, LINK_PASSES_MAX, RECEIVE_SLICE};
use crate::throttle::Throttle;
use crate::tree::Tree;

/// Lives the life of a run; see [`super::start`].
pub(super) fn live(
    order: &Order,
    counts: &Arc<Counts>,
    stopper: &Stopper,
    tell: &mut dyn FnMut(&str, &str) -> Result<()>,
) -> Result<Sealed> {
    let begun = Instant::now();
    check(order)?;
    let tree = Arc::new(Tree::open(&order.directory)?);
    let place = place(order, &tree)?;
    let limit = Limit { stopper: stopper.clone(), until: deadline(&order.options, begun) };
    let (_alone, state) = alone(&tree, &place)?;
    tree.clear_away()?;
    let tempo = order.tempo();
    let catalog = survey::catalog(order, &place, counts, &limit, tempo.as_ref())?;
    let catalog = Arc::new(catalog);
    counts.set_total(catalog.len() + catalog.bad_len(), catalog.duplicates());
    let (journal, mut snapshot) = state.begin(|| tree.sync())?;
    let tally = books(order, &place, catalog.len(), journal, counts)?;
    let compared = compare::compare(
        &compare::Comparison {
            order,
            catalog: &catalog,
            tree: &tree,
            tally: &tally,
            counts,
            limit: &limit,
            state: &place,
        },
        &mut snapshot,
        tell,
    )?;
    if order.dry_run {
        if order.delete {
            let mut each = |path: &str| tell("delete", path);
            extraneous(order, &catalog, &tree, &place, &limit, &mut each)?;
        }
        counts.set_stage(Stage::Done);
        let standing = counts.standing();
        return Ok(Sealed { standing, deleted: 0, not_deleted: None, durable: false });
    }
    let is_work_left = !compared.queues.is_empty();
    let shared = Arc::new(Shared {
        order: order.clone(),
        catalog: Arc::clone(&catalog),
        tree: Arc::clone(&tree),
        hosts: Hosts::new(compared.queues, order.per_host.get(), Crew::threads(order))?,
        tally,
        counts: Arc::clone(counts),
        stopper: stopper.clone(),
        limit,
        tempo,
        trials: Trials::default(),
        throttle: order
            .options
            .limit_rate
            .map(|rate| Mutex::new(Throttle::new(rate, Instant::now()))),
    });
    let mut ended = if is_work_left { fetch(&shared) } else { Ok(()) };
    if let (Ok(()), Some(how), Some(twins)) = (&ended, order.dedupe, &compared.twins) {
        ended = link(&shared, Linker::new(&shared, twins, how, &place));
    }
    let mut removal = Removal::new(&shared, state.directory());
    if ended.is_ok() && compared.waiting.count > 0 {
        ended = make_room(&shared, &mut removal, compared.waiting);
    }
    seal(&shared, removal, ended)
}

/// The books of a run.
fn books(
    order: &Order,
    place: &Path,
    entries: u64,
    journal: Journal,
    counts: &Arc<Counts>,
) -> Result<Tally> {
    let lines = |path: Option<PathBuf>| match (order.dry_run, path) {
        (false, Some(path)) => Lines::create(&path).map(Some),
        _ => Ok(None),
    };
    let results = order.results.clone().unwrap_or_else(|| place.join("results.jsonl"));
    let results = Results::new(lines(Some(results))?, lines(order.failures.clone())?);
    let tally = Tally::new(entries, journal, results, Arc::clone(counts));
    if order.dedupe.is_none() {
        return Ok(tally);
    }
    let prints = Prints::new(place).map_err(|error| Error::local("write", place, error))?;
    Ok(tally.with_prints(prints))
}

/// Takes the state: whoever fills the directory is alone there, wherever the state is kept.
fn alone(tree: &Tree, place: &Path) -> Result<(Option<State>, State)> {
    let own = tree.state_directory();
    let is_own = std::fs::canonicalize(place).is_ok_and(|place| place == own);
    let alone = if is_own { None } else { Some(State::open(&own)?) };
    Ok((alone, State::open(place)?))
}

/// Where the state is kept: not among the files of the tree, where `--delete` would remove it.
fn place(order: &Order, tree: &Tree) -> Result<PathBuf> {
    let place = order.state.clone().unwrap_or_else(|| tree.state_directory());
    if std::fs::canonicalize(&place).is_ok_and(|place| place == tree.path()) {
        let message = "the state cannot be kept in the directory itself, among its files";
        return Err(Error::new(Kind::Usage, message).hint("name another with --state"));
    }
    Ok(place)
}

/// Refuses what can never work.
fn check(order: &Order) -> Result<()> {
    if order.delete && matches!(order.list, List::Stdin) && order.format.is_none() && order.dry_run
    {
        return Ok(());
    }
    if let List::Url(url) = &order.list {
        order.options.check(url)?;
    }
    order.filter().map(|_| ())
}

/// Runs the errands to their end, with a checkpoint now and then.
fn fetch(shared: &Arc<Shared>) -> Result<()> {
    shared.counts.set_stage(Stage::Fetching);
    let crew = Crew::start(shared)?;
    let (mut synced, mut is_late) = (Instant::now(), false);
    while !crew.is_over() {
        std::thread::park_timeout(LOOK_EVERY);
        if shared.stopper.is_stopped() {
            shared.hosts.close();
        }
        if shared.limit.is_late() && !is_late {
            is_late = true;
            shared.stopper.stop();
            shared.hosts.close();
        }
        let is_due = synced.elapsed() >= CHECKPOINT_EVERY
            || shared.tally.unsynced_bytes() >= CHECKPOINT_BYTES;
        let kept = match is_due {
            true => {
                synced = Instant::now();
                shared.keep()
            }
            false => shared.tally.flush(),
        };
        if let Err(error) = kept {
            shared.hosts.fail(error);
        }
    }
    crew.join()?;
    if is_late { Err(late()) } else { Ok(()) }
}

/// Links what waits for others of the same digest, and fetches what cannot be linked.
fn link(shared: &Arc<Shared>, mut linker: Linker<'_>) -> Result<()> {
    for pass in 1..=LINK_PASSES_MAX {
        if shared.hosts.is_closed() {
            return Ok(());
        }
        let left = linker.pass(pass == LINK_PASSES_MAX)?;
        if left.is_empty() {
            return Ok(());
        }
        shared.hosts.refill(left, shared.order.per_host.get())?;
        fetch(shared)?;
    }
    Ok(())
}

/// Fetches what has room only when something else has gone.
fn make_room(shared: &Arc<Shared>, removal: &mut Removal<'_>, waiting: Waiting) -> Result<()> {
    if shared.hosts.is_closed() {
        return Ok(());
    }
    // Nothing goes for what may still be lost.
    shared.keep()?;
    let queues = removal.make_room(waiting)?;
    if queues.is_empty() {
        return Ok(());
    }
    shared.hosts.refill(queues, shared.order.per_host.get())?;
    fetch(shared)
}

/// Makes durable what there is, and says how it ended.
fn seal(shared: &Arc<Shared>, mut removal: Removal<'_>, ended: Result<()>) -> Result<Sealed> {
    let (tally, counts, order) = (&shared.tally, &shared.counts, &shared.order);
    counts.set_stage(Stage::Syncing);
    // Whatever else went wrong, the next run need not do again what landed.
    // A run that finds nothing to do vouches for what is there, too.
    let synced = shared.keep();
    let failure = ended.err().or_else(|| shared.hosts.failure()).or_else(|| synced.err());
    let is_stopped = shared.stopper.is_stopped();
    if let Some(error) = failure {
        return Err(error);
    }
    if is_stopped || !tally.is_complete() {
        return Err(stopped());
    }
    tally.publish()?;
    let not_deleted = if order.delete { removal.delete()?.err() } else { None };
    let standing = counts.standing();
    if standing.ended() != standing.total {
        return Err(Error::new(Kind::Internal, "the counts of the run do not add up"));
    }
    if standing.is_whole() {
        // Of entries that have left the list, nobody would go on with them.
        shared.tree.clear_large()?;
    }
    counts.set_stage(Stage::Done);
    Ok(Sealed { standing, deleted: removal.removed, not_deleted, durable: order.options.sync })
}

impl Shared {
    /// Has the journal know what there is. Nothing is noted as durable that was not synced: the next run
    /// would believe it, whatever has become of it.
    pub(super) fn keep(&self) -> Result<()> {
        match self.order.options.sync {
            true => self.tally.checkpoint(|| self.tree.sync()),
            false => self.tally.flush(),
        }
    }
}

/// How often the thread of the run looks around.
const LOOK_EVERY: std::time::Duration = RECEIVE_SLICE;
