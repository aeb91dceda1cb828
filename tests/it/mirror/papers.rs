//! Journal, snapshot and catalog on a disk that refuses: the run says so in one line and ends with exit code
//! 7, and the next one completes.

use std::process::Command;

use super::runner::{Ended, Place};
use super::{files, origin_of, table};
use crate::harness::PROGRAM;
use crate::origin::{File, Running, assert_file_is};

/// Every place where the papers are written, and how often it is passed at least.
const STEPS: [(&str, u64); 4] =
    [("journal", 12), ("sync journal", 1), ("snapshot", 5), ("catalog", 2)];

/// A place with ten files of which twenty are wanted now.
fn begun() -> (Place, Running, Vec<(String, File)>) {
    let files = files(20);
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files[..10]));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 10)]);
    place.put("list.tsv", table(&origin, &files));
    (place, origin, files)
}

fn faulty(place: &Place, args: &[&str], fault: &str) -> Ended {
    let mut command = place.durable_command(args);
    command.env("RINGPULL_FAULT", fault);
    let ended = place.start_command(command).finish();
    place.assert_no_drafts();
    ended
}

/// It ends with one line about the cause, and claims nothing.
fn assert_refused(ended: &Ended, cause: &str, about: &str) {
    ended.assert_code(7);
    let last = ended.events.last().unwrap();
    assert_eq!((&last["sealed"], &last["durable"]), (&false.into(), &false.into()), "{about}");
    assert_eq!(ended.stderr.lines().count(), 1, "{about}: {}", ended.stderr);
    assert!(ended.stderr.contains(cause), "{about}: {}", ended.stderr);
}

fn assert_survived(name: &str, number: &str, (error, cause): (&str, &str)) {
    let (place, origin, files) = begun();
    let fault = format!("{name}:{number}:{error}");
    assert_refused(&faulty(&place, &["list.tsv"], &fault), cause, &fault);
    let there: Vec<_> =
        files.iter().filter(|(path, _)| place.tree(path).exists()).cloned().collect();
    place.assert_right(&there);
    assert!(files[..10].iter().all(|file| there.contains(file)), "{fault}");
    let next = place.start_command(place.durable_command(&["list.tsv"])).finish();
    next.assert_ends(0, &[("entries", 20), ("failed", 0)]);
    assert_eq!(next.events.last().unwrap()["durable"], true, "{fault}");
    place.assert_holds(&files);
    let first = |path: &str| files[..10].iter().any(|(first, _)| *first == path[1..]);
    let again = origin.log().iter().filter(|request| first(&request.path)).count();
    assert_eq!(again, 10, "{fault}: what the first run did is known, or found out by reading");
    let requests = origin.log().len();
    let last = place.start_command(place.durable_command(&["list.tsv"])).finish();
    last.assert_ends(0, &[("unchanged", 20), ("requests", 0)]);
    assert_eq!(origin.log().len(), requests, "{fault}");
    place.assert_no_drafts();
}

const FULL: (&str, &str) = ("ENOSPC", "space");
const BROKEN: (&str, &str) = ("EIO", "input/output");

#[test]
fn a_disk_that_is_full_at_any_step_of_the_papers_ends_the_run_and_costs_nothing() {
    for (name, count) in STEPS {
        for number in 1..=count {
            assert_survived(name, &number.to_string(), FULL);
        }
    }
}

#[test]
fn a_disk_that_breaks_at_the_papers_and_stays_so_ends_the_run_and_costs_nothing() {
    for (name, count) in STEPS {
        for number in [1, count.div_ceil(2), count] {
            assert_survived(name, &format!("{number}+"), BROKEN);
        }
    }
}

#[test]
fn a_first_run_that_cannot_write_its_papers_is_completed_by_the_next() {
    let files = files(8);
    for (name, _) in STEPS.iter().filter(|(name, _)| *name != "snapshot") {
        let origin = origin_of(&files).start();
        let place = Place::new();
        place.put("list.tsv", table(&origin, &files)).put("tree/theirs", "theirs");
        let ended = faulty(&place, &["list.tsv", "--delete"], &format!("{name}:1+:ENOSPC"));
        assert_refused(&ended, "space", name);
        assert!(place.tree("theirs").exists(), "{name}");
        let next = place.start_command(place.durable_command(&["list.tsv", "--delete"])).finish();
        next.assert_ends(0, &[("entries", 8), ("failed", 0), ("deleted", 1)]);
        place.assert_holds(&files);
    }
}

/// Runs with the state on a disk of so many KiB, and again when it has room.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn assert_outgrown(kibibytes: u32) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can mount a disk");
        return;
    }
    // Long names, so that the papers are longer than the files.
    let long = "x".repeat(150);
    let files: Vec<_> =
        (0..400).map(|at| (format!("{long}/f{at}"), File::new(at % 3).seed(at))).collect();
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files)).put("state/x", "");
    let mount = format!("mount -t tmpfs -o size={kibibytes}k ringpull state");
    let trial = place.furnish(unshared(&format!("{mount} && exit 7"))).output().unwrap();
    if trial.status.code() != Some(7) {
        eprintln!("skipped: no such disk here");
        return;
    }
    let script = format!(
        "{mount} || exit 98\n\"$@\" >first; code=$?\n\
         test $code = 7 || {{ echo \"exit code $code\" >&2; exit 99; }}\n\
         mount -o remount,size=64m state\n\"$@\" || exit\ncp state/results.jsonl .\n"
    );
    let mut command = unshared(&script);
    command.args([PROGRAM, "mirror", "list.tsv", "-d", "tree", "--json", "--state", "state"]);
    let ended = place.start_command(place.furnish(command)).finish();
    ended.assert_code(0);
    assert!(ended.stderr.contains("space"), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert_eq!(ended.count("fetched") + ended.count("unchanged"), 400);
    files.iter().for_each(|(path, file)| assert_file_is(&place.tree(path), file));
    let results = std::fs::read_to_string(place.path("results.jsonl")).unwrap();
    assert_eq!(results.lines().count(), 400);
}

/// A script in a mount namespace of its own.
fn unshared(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
    command
}

#[test]
fn a_disk_without_room_for_the_papers_ends_the_run_wherever_they_outgrow_it() {
    for kibibytes in [40, 160, 320, 400] {
        assert_outgrown(kibibytes);
    }
}
