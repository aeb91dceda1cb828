//! Runs that are ended from outside, by a signal or by their time: they say so, and the next goes on.

use std::process::Stdio;

use rustix::process::Signal;

use super::runner::{Place, Started};
use super::{files, origin_of, table};
use crate::origin::{Body, File, Latch, Origin, Reply, Running};

/// Serves `files`; the answers to one of them wait for the latch.
fn held(files: &[(String, File)], which: usize, latch: &Latch) -> Running {
    let (path, file, latch) = (files[which].0.clone(), files[which].1, latch.clone());
    origin_of(files).bent(&format!("/{path}"), file, move |_, reply| reply.after(&latch)).start()
}

/// Starts a run, waits until it holds still at one entry, and has it ended by `end`. The next run completes,
/// and asks for nothing that the first has done.
fn assert_resumable(code: i32, which: usize, args: &[&str], end: impl Fn(&Started)) {
    let files = files(40);
    let latch = Latch::default();
    let origin = held(&files, which, &latch);
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    let mut all = vec!["list.tsv"];
    all.extend(args);
    let started = place.start(&all);
    // All but the one that is held: what was asked for is on its way, or there.
    origin.wait_for_requests(40);
    end(&started);
    let ended = started.finish();
    latch.open();
    ended.assert_code(code);
    assert_eq!(ended.events.last().unwrap()["sealed"], false);
    assert!(!place.tree(".ringpull/results.jsonl").exists(), "results are of sealed runs");
    assert!(!place.tree(&files[which].0).exists());
    let there: Vec<_> =
        files.iter().filter(|(path, _)| place.tree(path).exists()).cloned().collect();
    place.assert_right(&there);
    let (before, done) = (origin.log().len() as u64, ended.count("fetched"));
    assert_eq!(there.len() as u64, done, "what is there has been counted");
    let next = place.run(&["list.tsv"]);
    next.assert_ends(0, &[("unchanged", done), ("fetched", 40 - done)]);
    assert_eq!(origin.log().len() as u64 - before, 40 - done);
    place.assert_holds(&files);
}

#[test]
fn a_run_that_is_terminated_can_be_gone_on_with() {
    for which in [0, 20, 39] {
        assert_resumable(143, which, &[], |started| started.signal(Signal::TERM));
    }
}

#[test]
fn a_run_that_is_interrupted_can_be_gone_on_with() {
    assert_resumable(130, 7, &[], |started| started.signal(Signal::INT));
}

#[test]
fn a_run_whose_time_is_over_can_be_gone_on_with() {
    assert_resumable(75, 11, &["--max-time", "3"], |_| {});
}

#[test]
fn a_large_entry_that_was_terminated_is_gone_on_with_where_it_stopped() {
    let file = File::new(24 << 20).seed(5);
    let latch = Latch::default();
    let held = latch.clone();
    let origin = Origin::new()
        .bent("/large", file, move |_, reply| match is_late(&reply) {
            true => reply.after(&held),
            false => reply,
        })
        .start();
    let place = Place::new();
    let wanted = [("large".to_owned(), file)];
    place.put("list.tsv", table(&origin, &wanted));
    let started = place.start(&["list.tsv", "--per-host", "4"]);
    place.wait_until(|| origin.served_bytes() > (8 << 20));
    started.signal(Signal::TERM);
    let ended = started.finish();
    latch.open();
    ended.assert_code(143);
    assert!(place.names().is_empty());
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 1)]);
    place.assert_holds(&wanted);
    // What the next run repeats is what was underway in the first.
    assert!(origin.served_bytes() < file.size * 2, "{}", origin.served_bytes());
}

/// Whether a reply has the end of a large file.
fn is_late(reply: &Reply) -> bool {
    matches!(&reply.body, Body::File(file, span) if span.start > file.size / 2)
}

#[test]
fn a_run_that_waits_for_more_of_its_list_can_be_terminated() {
    let place = Place::new();
    let mut command = place.command(&["-", "--format", "list"]);
    command.stdin(Stdio::piped());
    let mut started = place.start_command(command);
    let pipe = started.stdin.take();
    // It is at work when it has made its directory.
    place.wait_until(|| place.tree(".ringpull/lock").exists());
    started.signal(Signal::TERM);
    started.finish().assert_code(143);
    drop(pipe);
}

#[test]
fn a_run_whose_list_is_still_on_its_way_can_be_terminated() {
    let latch = Latch::default();
    let held = latch.clone();
    let origin =
        Origin::new().at("/list.txt", move |_| Reply::status("200 OK").after(&held)).start();
    let place = Place::new();
    let started = place.start(&[origin.url("/list.txt")]);
    origin.wait_for_requests(1);
    started.signal(Signal::TERM);
    let ended = started.finish();
    latch.open();
    ended.assert_code(143);
}

#[test]
fn a_walk_that_waits_for_an_index_can_be_terminated() {
    let latch = Latch::default();
    let held = latch.clone();
    let origin = Origin::new().at("/www/", move |_| Reply::status("200 OK").after(&held)).start();
    let place = Place::new();
    let started = place.start(&[origin.url("/www/")]);
    origin.wait_for_requests(1);
    started.signal(Signal::TERM);
    let ended = started.finish();
    latch.open();
    ended.assert_code(143);
}

#[test]
fn the_time_of_a_run_counts_while_its_index_is_walked() {
    let latch = Latch::default();
    let held = latch.clone();
    let origin = Origin::new().at("/www/", move |_| Reply::status("200 OK").after(&held)).start();
    let place = Place::new();
    let ended = place.start(&[origin.url("/www/").as_str(), "--max-time", "1"]).finish();
    latch.open();
    ended.assert_code(75);
}

#[test]
fn a_dry_run_can_be_terminated() {
    let place = Place::new();
    let mut command = place.command(&["-", "--format", "list", "--dry-run"]);
    command.stdin(Stdio::piped());
    let mut started = place.start_command(command);
    let pipe = started.stdin.take();
    place.wait_until(|| place.tree(".ringpull/lock").exists());
    started.signal(Signal::TERM);
    started.finish().assert_code(143);
    drop(pipe);
}

#[test]
fn a_run_that_reads_a_large_file_can_be_ended() {
    // So much that nobody reads it in this test, and takes no room.
    let bytes: u64 = 1 << 40;
    for (args, code) in [(&["--max-time", "1"][..], 75), (&[], 143)] {
        let place = Place::new();
        place.put("tree/huge", "").put("log", "");
        let huge = std::fs::File::options().write(true).open(place.tree("huge")).unwrap();
        huge.set_len(bytes).unwrap();
        let digest = "a".repeat(64);
        let row = format!("http://127.0.0.1:1/huge\thuge\t{bytes}\t{digest}\n");
        place.put("list.tsv", format!("url\tpath\tsize\tsha256\n{row}"));
        let started = place.start(&[&["list.tsv"], args].concat());
        place.wait_until(|| place.tree(".ringpull/results.jsonl.new").exists());
        if code == 143 {
            started.signal(Signal::TERM);
        }
        let ended = started.finish();
        ended.assert_code(code);
        assert_eq!(ended.events.last().unwrap()["sealed"], false);
    }
}
