//! Syncs of the directory: one that fails, one that was not asked for, and what the next run believes then.
//!
//! After a sync has failed, the page cache may show bytes that the disk never got: to read a file again
//! proves nothing, and the next sync would vouch for it. So what came since the last good sync is fetched
//! again.

use std::collections::BTreeMap;

use super::runner::{Ended, Place};
use super::{bare_table, files, origin_of, table};
use crate::origin::{File, Latch, Origin, Running};

/// A run that waits for the disk, with a fault; where its log is to be, the number of its syncs is known.
fn faulty(place: &Place, args: &[&str], fault: &str) -> Ended {
    let mut command = place.durable_command(args);
    command.env("RINGPULL_FAULT", fault).env("RINGPULL_FAULT_LOG", place.path("count"));
    let ended = place.start_command(command).finish();
    place.assert_no_drafts();
    ended
}

fn durable(place: &Place, args: &[&str]) -> Ended {
    faulty(place, args, NO_SYNC_FAILS)
}

/// Syncs of the directory that the last run asked for.
fn syncs(place: &Place) -> u64 {
    let told = std::fs::read_to_string(place.path("count")).unwrap();
    told.split(' ').next().unwrap().parse().unwrap()
}

/// Counts syncs and lets them be.
const NO_SYNC_FAILS: &str = "sync:1000000:EIO";

/// It is not sealed, promises nothing, and says in one line what has failed.
fn assert_not_durable(ended: &Ended) {
    ended.assert_code(7);
    let last = ended.events.last().unwrap();
    assert_eq!((&last["sealed"], &last["durable"]), (&false.into(), &false.into()), "{last}");
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("sync"), "{}", ended.stderr);
    assert!(ended.events.iter().all(|event| event["event"] != "done"));
}

/// It is sealed and durable.
fn assert_durable(ended: &Ended, counts: &[(&str, u64)]) {
    ended.assert_ends(0, counts);
    let last = ended.events.last().unwrap();
    assert_eq!((&last["sealed"], &last["durable"]), (&true.into(), &true.into()), "{last}");
}

/// How often each path was asked for.
fn asked(origin: &Running) -> BTreeMap<String, usize> {
    let mut asked = BTreeMap::new();
    for request in origin.log() {
        *asked.entry(request.path).or_default() += 1;
    }
    asked
}

/// A table with address, path, size and a date: nothing is asked or read where both are right.
fn dated_table(origin: &Running, files: &[(String, File)]) -> String {
    let line = |(path, file): &(String, File)| {
        format!("{}\t{path}\t{}\t1500000001\n", origin.url(&format!("/{path}")), file.size)
    };
    format!("url\tpath\tsize\tmtime\n{}", files.iter().map(line).collect::<String>())
}

type List = fn(&Running, &[(String, File)]) -> String;
const LISTS: [List; 3] = [table, bare_table, dated_table];

#[test]
fn what_a_failed_sync_may_have_lost_is_fetched_again_whatever_the_list_says_of_it() {
    let files = files(12);
    for list in LISTS {
        let origin = origin_of(&files).start();
        let place = Place::new();
        place.put("list.tsv", list(&origin, &files));
        let failed = faulty(&place, &["list.tsv"], "sync:1+:EIO");
        assert_not_durable(&failed);
        assert_eq!(failed.count("fetched"), 12);
        assert!(!place.tree(".ringpull/results.jsonl").exists(), "results are of sealed runs");
        assert_eq!(origin.log().len(), 12);
        let before = place.names();
        assert_durable(&durable(&place, &["list.tsv"]), &[("fetched", 12), ("requests", 12)]);
        place.assert_holds(&files);
        let after = place.names();
        assert!(before.iter().all(|(path, print)| after[path].0 != print.0), "written anew");
        let third = durable(&place, &["list.tsv"]);
        assert_durable(&third, &[("unchanged", 12), ("fetched", 0)]);
    }
}

#[test]
fn what_was_durable_before_a_failed_sync_is_still_believed() {
    let files = files(12);
    for list in LISTS {
        let origin = origin_of(&files).start();
        let place = Place::new();
        place.put("list.tsv", list(&origin, &files[..5]));
        assert_durable(&durable(&place, &["list.tsv"]), &[("fetched", 5)]);
        place.put("list.tsv", list(&origin, &files));
        assert_not_durable(&faulty(&place, &["list.tsv"], "sync:1+:EIO"));
        let last = durable(&place, &["list.tsv"]);
        assert_durable(&last, &[("unchanged", 5), ("fetched", 7)]);
        place.assert_holds(&files);
    }
}

#[test]
fn a_sync_that_fails_once_is_not_made_good_by_one_that_succeeds() {
    let files = files(12);
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    assert_not_durable(&faulty(&place, &["list.tsv"], "sync:1:EIO"));
    // A run that does not wait for the disk does not make it so either.
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 12)]);
    assert_durable(&durable(&place, &["list.tsv"]), &[("unchanged", 12), ("requests", 0)]);
    place.assert_holds(&files);
    assert!(asked(&origin).values().all(|count| *count == 2));
}

#[test]
fn doubt_outlives_a_run_that_is_killed_before_it_has_fetched_again() {
    let files = files(12);
    let latch = Latch::default();
    let (path, file, held) = (files[3].0.clone(), files[3].1, latch.clone());
    let origin = origin_of(&files)
        .bent(&format!("/{path}"), file, move |request, reply| match request.nth {
            1 => reply.after(&held),
            _ => reply,
        })
        .start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    assert_not_durable(&faulty(&place, &["list.tsv"], "sync:1+:EIO"));
    let args = ["list.tsv", "--jobs", "1", "--per-host", "1", "--threads", "1"];
    let started = place.start_command(place.durable_command(&args));
    place.wait_until(|| asked(&origin)[&format!("/{path}")] == 2);
    started.signal(rustix::process::Signal::KILL);
    started.end_or_die();
    latch.open();
    let left = durable(&place, &["list.tsv"]);
    assert_durable(&left, &[("entries", 12), ("failed", 0)]);
    assert!(left.count("fetched") > 0);
    place.assert_holds(&files);
    assert!(asked(&origin).values().all(|count| *count >= 2), "{:?}", asked(&origin));
}

#[test]
fn a_failed_sync_of_what_an_earlier_run_left_casts_doubt_on_that_too() {
    let files = files(12);
    for list in LISTS {
        let origin = origin_of(&files).start();
        let place = Place::new();
        place.put("list.tsv", list(&origin, &files));
        place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 12)]);
        // This run syncs before it takes over what the journal tells, and asks nothing.
        let failed = faulty(&place, &["list.tsv"], "sync:1:EIO");
        assert_not_durable(&failed);
        assert_eq!(origin.log().len(), 12);
        assert_durable(&durable(&place, &["list.tsv"]), &[("fetched", 12)]);
        place.assert_holds(&files);
        let last = durable(&place, &["list.tsv"]);
        assert_durable(&last, &[("unchanged", 12), ("fetched", 0)]);
    }
}

#[test]
fn a_large_entry_whose_directory_could_not_be_synced_is_fetched_again() {
    let wanted = [("large".to_owned(), File::new(9 << 20).seed(4)), ("small".into(), File::new(9))];
    let origin = origin_of(&wanted).start();
    let place = Place::new();
    place.put("list.tsv", bare_table(&origin, &wanted));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 2)]);
    assert_not_durable(&faulty(&place, &["list.tsv"], "sync:1:EIO"));
    assert_durable(&durable(&place, &["list.tsv"]), &[("fetched", 2)]);
    place.assert_holds(&wanted);
}

#[test]
fn nothing_is_removed_where_the_sync_before_has_failed() {
    let files = files(6);
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files)).put("tree/extra", "extra");
    assert_not_durable(&faulty(&place, &["list.tsv", "--delete"], "sync:1+:EIO"));
    assert!(place.tree("extra").exists());
    let next = durable(&place, &["list.tsv", "--delete"]);
    assert_durable(&next, &[("fetched", 6), ("deleted", 1)]);
    place.assert_holds(&files);
    // The sync after a removal fails: what is gone is gone, and the rest was durable before.
    place.put("tree/extra", "extra");
    assert_not_durable(&faulty(&place, &["list.tsv", "--delete"], "sync:2:EIO"));
    let last = durable(&place, &["list.tsv", "--delete"]);
    assert_durable(&last, &[("unchanged", 6), ("deleted", 0)]);
    place.assert_holds(&files);
}

#[test]
fn without_sync_nothing_is_synced_and_the_next_run_with_it_makes_up_for_that() {
    let files = files(12);
    for list in LISTS {
        let origin = origin_of(&files).start();
        let place = Place::new();
        place.put("list.tsv", list(&origin, &files));
        let quick = faulty(&place, &["list.tsv", "--no-sync"], NO_SYNC_FAILS);
        quick.assert_ends(0, &[("fetched", 12)]);
        assert_eq!((&quick.events.last().unwrap()["durable"], syncs(&place)), (&false.into(), 0));
        let second = durable(&place, &["list.tsv"]);
        assert_durable(&second, &[("unchanged", 12), ("fetched", 0)]);
        // For what it found, and for what it did itself.
        assert!(syncs(&place) >= 2, "{}", syncs(&place));
        // What is durable already needs no other sync of a run that is not asked for one.
        let third = faulty(&place, &["list.tsv", "--no-sync"], NO_SYNC_FAILS);
        third.assert_ends(0, &[("unchanged", 12)]);
        assert_eq!(third.events.last().unwrap()["durable"], false);
    }
}

#[test]
fn a_run_that_finds_nothing_to_do_syncs_all_the_same() {
    let files = files(7);
    let origin = origin_of(&files).start();
    let place = Place::new();
    for (path, file) in &files {
        place.put(&format!("tree/{path}"), file.whole());
    }
    // Put there by somebody who did not wait for the disk.
    place.put("list.tsv", table(&origin, &files));
    assert_not_durable(&faulty(&place, &["list.tsv"], "sync:1+:EIO"));
    let next = durable(&place, &["list.tsv"]);
    assert_durable(&next, &[("entries", 7), ("failed", 0)]);
    assert!(syncs(&place) >= 1);
    place.assert_holds(&files);
    place.put("list.tsv", dated_table(&origin, &files));
    durable(&place, &["list.tsv"]).assert_code(0);
    assert_durable(&durable(&place, &["list.tsv"]), &[("unchanged", 7), ("requests", 0)]);
    assert!(syncs(&place) >= 1);
}

#[test]
fn a_run_that_is_terminated_syncs_what_it_did() {
    let files = files(9);
    let latch = Latch::default();
    let held = latch.clone();
    let origin = files[1..]
        .iter()
        .fold(Origin::new(), |origin, (path, file)| origin.file(&format!("/{path}"), *file));
    let (path, file) = files[0].clone();
    let origin = origin.bent(&format!("/{path}"), file, move |_, reply| reply.after(&held)).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    let mut command = place.durable_command(&["list.tsv"]);
    command.env("RINGPULL_FAULT", NO_SYNC_FAILS).env("RINGPULL_FAULT_LOG", place.path("count"));
    let started = place.start_command(command);
    place.wait_until(|| files[1..].iter().all(|(path, _)| place.tree(path).exists()));
    started.signal(rustix::process::Signal::TERM);
    let ended = started.finish();
    latch.open();
    ended.assert_code(143);
    assert!(syncs(&place) >= 1);
    assert_eq!(ended.events.last().unwrap()["durable"], false, "it is not sealed");
    assert_durable(&durable(&place, &["list.tsv"]), &[("unchanged", 8), ("fetched", 1)]);
    place.assert_holds(&files);
}
