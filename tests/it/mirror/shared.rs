//! What a run shares with others: its state, its directory, and the room on the disk.

use std::process::Command;

use super::runner::Place;
use super::{files, origin_of, table};
use crate::harness::PROGRAM;
use crate::origin::{File, Latch, Origin, Running};

/// Serves `files`; the body of the first waits for the latch.
fn held(files: &[(String, File)], latch: &Latch) -> Running {
    let latch = latch.clone();
    let held = move |origin: Origin| {
        let path = format!("/{}", files[5].0);
        origin.bent(&path, files[5].1, move |request, reply| match request.nth {
            0 => reply.body_after(&latch),
            _ => reply,
        })
    };
    held(origin_of(files)).start()
}

/// Two runs at once with these states: the first is not disturbed by the second.
fn assert_undisturbed(first: &[&str], second: &[&str], is_refused: bool) {
    let files = files(12);
    let latch = Latch::default();
    let origin = held(&files, &latch);
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    let begun = place.start(&[&["list.tsv"], first].concat());
    // It has one file in the making, or is about to.
    place.wait_until(|| origin.log().iter().any(|request| request.path[1..] == files[5].0));
    let other = place.start(&[&["list.tsv"], second].concat()).finish();
    latch.open();
    let ended = begun.finish();
    if is_refused {
        other.assert_code(7);
        assert!(other.stderr.contains("another run"), "{}", other.stderr);
        assert!(other.stderr.lines().count() == 1, "{}", other.stderr);
    }
    ended.assert_code(0);
    assert_eq!((ended.count("fetched"), ended.count("failed")), (12, 0), "{:#?}", ended.events);
    place.assert_holds(&files);
}

#[test]
fn a_second_run_with_the_same_state_is_refused_and_does_not_disturb_the_first() {
    assert_undisturbed(&[], &[], true);
}

#[test]
fn a_second_run_with_another_state_does_not_disturb_the_first_either() {
    assert_undisturbed(&[], &["--state", "other"], true);
}

#[test]
fn the_lock_of_a_run_that_was_killed_holds_nobody_up() {
    let files = files(12);
    let latch = Latch::default();
    let origin = held(&files, &latch);
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    let started = place.start(&["list.tsv"]);
    origin.wait_for_requests(1);
    started.signal(rustix::process::Signal::KILL);
    started.end_or_die();
    latch.open();
    place.run(&["list.tsv"]).assert_ends(0, &[("entries", 12), ("failed", 0)]);
    place.assert_holds(&files);
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn a_disk_without_room_ends_the_run_and_the_next_goes_on_when_there_is_some() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can mount a disk");
        return;
    }
    let files: Vec<_> =
        (0..40).map(|at| (format!("d{}/f{at}", at % 4), File::new(60_000).seed(at))).collect();
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files)).put("state/x", "");
    std::fs::create_dir(place.tree("")).unwrap();
    let mount = "mount -t tmpfs -o size=1m ringpull tree";
    let trial = place.furnish(unshared(&format!("{mount} && exit 7"), &[])).output().unwrap();
    if trial.status.code() != Some(7) {
        eprintln!("skipped: no such disk here");
        return;
    }
    let script = format!(
        "{mount} || exit 98\n\"$@\" >first; code=$?\ncp -a tree half\n\
         test $code = 7 || {{ echo \"exit code $code\" >&2; exit 99; }}\n\
         mount -o remount,size=64m tree\n\"$@\"; code=$?\ncp -a tree whole\nexit $code\n"
    );
    let args = ["mirror", "list.tsv", "-d", "tree", "--json", "--state", "state"];
    let ended = place.start_command(place.furnish(unshared(&script, &args))).finish();
    ended.assert_code(0);
    assert!(ended.stderr.contains("space"), "{}", ended.stderr);
    let right = |root: &str| {
        let there = files.iter().filter(|(path, _)| place.path(root).join(path).exists());
        there
            .inspect(|(path, file)| {
                crate::origin::assert_file_is(&place.path(root).join(path), file);
            })
            .count() as u64
    };
    assert_eq!(right("whole"), 40);
    let half = right("half");
    assert!(half < 40);
    assert_eq!((ended.count("fetched"), ended.count("unchanged")), (40 - half, half));
}

/// The program with these arguments, started by a script in a mount namespace of its own.
fn unshared(script: &str, args: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh", PROGRAM]);
    command.args(args);
    command
}

#[test]
fn what_a_durable_run_has_sealed_is_called_durable() {
    let files = files(4);
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    let ended = place.start_command(place.durable_command(&["list.tsv"])).finish();
    ended.assert_ends(0, &[("fetched", 4)]);
    let last = ended.events.last().unwrap();
    assert_eq!((&last["sealed"], &last["durable"]), (&true.into(), &true.into()));
    let ended = place.run(&["list.tsv"]);
    assert_eq!(ended.events.last().unwrap()["durable"], false);
}

#[test]
fn entries_that_share_their_directories_with_files_of_others_leave_those_alone() {
    let files = files(9);
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("tree/d0/theirs", "theirs").put("tree/.ringpull-x.part", "theirs");
    place.put("list.tsv", table(&origin, &files));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 9)]);
    place.assert_right(&files);
    assert_eq!(std::fs::read(place.tree("d0/theirs")).unwrap(), b"theirs");
    assert_eq!(std::fs::read(place.tree(".ringpull-x.part")).unwrap(), b"theirs");
}
