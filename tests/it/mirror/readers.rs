//! Somebody who reads all that can be seen in the tree, over and over, while runs change it: every name shows
//! a whole file of one version, and no name is there that the list does not have.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

use rustix::process::Signal;

use super::runner::Place;
use super::{bare_table, files, table};
use crate::origin::{File, Latch, Origin, Reply, Request, Running};

const VERSIONS: u64 = 4;

/// Digests that a path may have.
type Allowed = BTreeMap<PathBuf, Vec<blake3::Hash>>;

fn allowed(files: &[(String, File)]) -> Allowed {
    let digests = |file: &File| {
        (1..=VERSIONS).map(|version| blake3::hash(&file.version(version).whole())).collect()
    };
    files.iter().map(|(path, file)| (path.into(), digests(file))).collect()
}

/// Who reads, until it is told to end.
#[derive(Default)]
struct Reader {
    is_over: AtomicBool,
    passes: AtomicU64,
    seen: AtomicU64,
}

impl Reader {
    fn read(&self, root: &Path, allowed: &Allowed) {
        loop {
            let is_last = self.is_over.load(SeqCst);
            self.pass(root, root, allowed);
            self.passes.fetch_add(1, SeqCst);
            if is_last {
                return;
            }
        }
    }

    fn pass(&self, root: &Path, directory: &Path, allowed: &Allowed) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() && entry.file_name() != ".ringpull" {
                self.pass(root, &path, allowed);
            }
            if !kind.is_file() {
                continue;
            }
            // It may be gone by now, or another.
            let Ok(bytes) = fs::read(&path) else { continue };
            self.seen.fetch_add(1, SeqCst);
            let name = path.strip_prefix(root).unwrap();
            let digests = allowed.get(name).unwrap_or_else(|| panic!("who made {name:?}?"));
            let is_whole = digests.contains(&blake3::hash(&bytes));
            assert!(is_whole, "{name:?} with {} bytes is of no version", bytes.len());
        }
    }

    /// Has him end, also where the test fails: whoever waits for him would wait for ever.
    fn ending(&self) -> Ending<'_> {
        Ending(self)
    }

    /// Waits until everything has been looked at once more, from its beginning.
    fn look_once_more(&self, place: &Place) {
        let before = self.passes.load(SeqCst);
        place.wait_until(|| self.passes.load(SeqCst) >= before + 2);
    }
}

struct Ending<'a>(&'a Reader);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, SeqCst);
    }
}

/// Serves the version of the hour; `script` bends the answers.
fn serving(
    files: &[(String, File)],
    version: &Arc<AtomicU64>,
    script: impl Fn(u64, &Request, Reply) -> Reply + Clone + Send + Sync + 'static,
) -> Running {
    let serve = |origin: Origin, (path, file): &(String, File)| {
        let (file, version, script) = (*file, version.clone(), script.clone());
        origin.at(&format!("/{path}"), move |request| {
            let now = version.load(SeqCst);
            script(now, request, Reply::honest(&file.version(now), request))
        })
    };
    files.iter().fold(Origin::new(), serve).start()
}

fn at_version(files: &[(String, File)], version: u64) -> Vec<(String, File)> {
    files.iter().map(|(path, file)| (path.clone(), file.version(version))).collect()
}

/// Small files, empty ones, and one that is fetched in parts.
fn wanted() -> Vec<(String, File)> {
    let mut wanted = files(20);
    wanted.push(("large/one.iso".to_owned(), File::new((9 << 20) + 11).seed(77)));
    wanted
}

/// Runs once a version while somebody reads; each run is held in the middle until he has looked at it all.
fn assert_never_partial(list: fn(&Running, &[(String, File)]) -> String, ends: &[Option<Signal>]) {
    let files = wanted();
    let version = Arc::new(AtomicU64::new(1));
    let latches: Vec<Latch> = (0..=VERSIONS).map(|_| Latch::default()).collect();
    let held = latches.clone();
    let origin = serving(&files, &version, move |now, request, reply| {
        let latch = &held[usize::try_from(now).unwrap()];
        let is_part = reply.is_part();
        match request.path.as_str() {
            "/d1/e1/f7.bin" => reply.body_after(latch),
            "/large/one.iso" if is_part && request.range.as_ref().unwrap().start > 0 => {
                reply.after(latch)
            }
            _ => reply,
        }
    });
    let place = Place::new();
    fs::create_dir_all(place.tree("")).unwrap();
    let (reader, allowed, root) = (Reader::default(), allowed(&files), place.tree(""));
    thread::scope(|scope| {
        let ending = reader.ending();
        let reading = scope.spawn(|| reader.read(&root, &allowed));
        for now in 1..=VERSIONS {
            version.store(now, SeqCst);
            place.put("list.tsv", list(&origin, &at_version(&files, now)));
            let before = origin.log().len();
            let started = place.start(&["list.tsv", "--delete"]);
            let is_asked =
                |path: &str| origin.log()[before..].iter().any(|request| request.path == path);
            place.wait_until(|| is_asked("/d1/e1/f7.bin") && is_asked("/large/one.iso"));
            reader.look_once_more(&place);
            let end = ends[usize::try_from(now).unwrap() % ends.len()];
            if let Some(signal) = end {
                started.signal(signal);
            }
            latches[usize::try_from(now).unwrap()].open();
            let ended = started.end_or_die();
            assert!(end.is_some() || ended.code == Some(0), "{}", ended.stderr);
            reader.look_once_more(&place);
        }
        place.run(&["list.tsv", "--delete"]).assert_code(0);
        drop(ending);
        reading.join().unwrap();
    });
    assert!(reader.seen.load(SeqCst) > files.len() as u64);
    place.assert_holds(&at_version(&files, VERSIONS));
}

#[test]
fn a_reader_sees_whole_files_of_one_version_while_entries_with_digests_change() {
    assert_never_partial(table, &[None]);
}

#[test]
fn a_reader_sees_whole_files_of_one_version_while_entries_without_digests_change() {
    assert_never_partial(bare_table, &[None]);
}

#[test]
fn a_reader_sees_whole_files_of_one_version_while_runs_are_killed() {
    assert_never_partial(table, &[Some(Signal::KILL), Some(Signal::TERM), None]);
}
