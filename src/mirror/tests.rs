//! Whatever goes through a list looks for the end of the run, at each entry.

use std::sync::Arc;
use std::time::Instant;

use super::compare::{Comparison, compare};
use super::crew::Shared;
use super::decide::Need;
use super::evidence::record;
use super::extra::extraneous;
use super::hosts::Hosts;
use super::large::Trials;
use super::limit::{Limit, late};
use super::linking::Linker;
use super::queues::Task;
use super::results::Results;
use super::tally::Tally;
use super::twins::Gathering;
use super::{Dedupe, List, Order};
use crate::catalog::{Builder, Catalog, State};
use crate::error::{Error, Kind, Result};
use crate::manifest::{Entry, Found};
use crate::tree::Tree;

/// Entries that all want the same bytes.
fn entry(number: u64) -> Entry {
    Entry {
        path: format!("f{number}"),
        urls: vec![format!("http://h/{number}").parse().unwrap()],
        size: None,
        checksum: Some("md5=900150983cd24fb0d6963f7d28e17f72".parse().unwrap()),
        stretches: None,
        modified: None,
        line: number,
    }
}

struct Place {
    directory: tempfile::TempDir,
    tree: Arc<Tree>,
    catalog: Arc<Catalog>,
    order: Order,
    state: State,
}

impl Place {
    /// A tree with one of the two files of a list.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tree = Arc::new(Tree::open(directory.path()).unwrap());
        std::fs::write(directory.path().join("f0"), "abc").unwrap();
        let state = State::open(&tree.state_directory()).unwrap();
        let mut builder = Builder::new(state.directory()).unwrap();
        (0..2).for_each(|number| builder.push(Found::Entry(entry(number))).unwrap());
        let catalog = Arc::new(builder.finish(&|| Ok(())).unwrap());
        let mut order = Order::new(List::Stdin, directory.path().to_owned());
        order.dedupe = Some(Dedupe::Auto);
        Self { directory, tree, catalog, order, state }
    }

    fn tally(&self) -> Tally {
        let (journal, _) = self.state.begin(|| Ok(())).unwrap();
        Tally::new(self.catalog.len(), journal, Results::default(), Arc::default())
    }

    fn compare(&self, limit: &Limit) -> Result<usize> {
        let (_, mut snapshot) = self.state.begin(|| Ok(())).unwrap();
        let about = Comparison {
            order: &self.order,
            catalog: &self.catalog,
            tree: &self.tree,
            tally: &self.tally(),
            counts: &Arc::default(),
            limit,
            state: self.state.directory(),
        };
        compare(&about, &mut snapshot, &mut |_, _| Ok(())).map(|compared| compared.queues.len())
    }

    fn link(&self, limit: Limit) -> Result<usize> {
        let mut gathering = Gathering::new(self.state.directory()).unwrap();
        let there = self.tree.stat("f0").unwrap().unwrap();
        for (ordinal, need) in [(0, Need::Nothing), (1, Need::Fetch)] {
            let task = Task { ordinal, position: 0, need };
            gathering.take(&entry(ordinal), &task, Some(&there)).unwrap();
        }
        let (_, twins) = gathering.finish(false, &|| Ok(())).unwrap();
        let shared = Shared {
            order: self.order.clone(),
            catalog: Arc::clone(&self.catalog),
            tree: Arc::clone(&self.tree),
            hosts: Hosts::new(Vec::new(), 1, 1).unwrap(),
            tally: self.tally(),
            counts: Arc::default(),
            stopper: limit.stopper.clone(),
            limit,
            throttle: None,
            tempo: None,
            trials: Trials::default(),
        };
        let mut linker = Linker::new(&shared, &twins, Dedupe::Auto, self.state.directory());
        linker.pass(true).map(|left| left.len())
    }
}

/// A run that may go on, one that was stopped, and one whose time is over.
fn limits() -> [(Limit, Option<Kind>); 3] {
    let limit = |until| Limit { stopper: crate::engine::Stopper::default(), until };
    let stopped = limit(None);
    stopped.stopper.stop();
    [
        (limit(None), None),
        (stopped, Some(Kind::Interrupted)),
        (limit(Some(Instant::now())), Some(Kind::TimedOut)),
    ]
}

fn kind<T>(result: Result<T>) -> Option<Kind> {
    result.err().map(|error| error.kind())
}

#[test]
fn a_comparison_ends_with_its_run() {
    for (limit, ends) in limits() {
        assert_eq!(kind(Place::new().compare(&limit)), ends);
    }
}

#[test]
fn linking_ends_with_its_run() {
    for (limit, ends) in limits() {
        assert_eq!(kind(Place::new().link(limit)), ends);
    }
}

#[test]
fn a_search_for_what_is_not_in_the_list_ends_with_its_run() {
    for (limit, ends) in limits() {
        let Place { directory, tree, catalog, order, state } = Place::new();
        std::fs::write(directory.path().join("extra"), "").unwrap();
        let place = state.directory();
        let found = extraneous(&order, &catalog, &tree, place, &limit, &mut |_| Ok(()));
        assert_eq!(kind(found), ends);
    }
}

#[test]
fn sorting_ends_with_its_run() {
    let place = Place::new();
    let mut builder = Builder::new(place.state.directory()).unwrap();
    builder.push(Found::Entry(entry(0))).unwrap();
    assert_eq!(kind(builder.finish(&|| Err(late()))), Some(Kind::TimedOut));
    let mut gathering = Gathering::new(place.state.directory()).unwrap();
    let task = Task { ordinal: 0, position: 0, need: Need::Fetch };
    gathering.take(&entry(0), &task, None).unwrap();
    assert_eq!(kind(gathering.finish(false, &|| Err(late()))), Some(Kind::TimedOut));
}

#[test]
fn a_file_is_read_no_further_than_its_run_lasts() {
    let place = Place::new();
    let wanted = entry(0);
    let read = |goes_on: bool| -> Result<bool> {
        let file = place.tree.read("f0")?;
        super::evidence::is_right(&file, super::evidence::Checking::new(&wanted), &|| goes_on)
            .map_err(|error| Error::local("read", "f0".as_ref(), error))
    };
    assert!(read(true).unwrap());
    assert!(read(false).is_err());
    let there = place.tree.stat("f0").unwrap().unwrap();
    assert_eq!(record(&entry(0), &there, None).size, 3);
}
