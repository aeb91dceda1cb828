//! What has to go for entries to have room, and when: after all else is done and on disk, or not at all.

use std::fs;

use rustix::process::Signal;

use super::runner::Place;
use super::{origin_of, table};
use crate::origin::{File, Latch, Running};

/// What stands in the way, and what the list has no more.
const OLD: [&str; 4] = ["a", "e/x/y", "e/z", "extra"];

/// Entries of which the first three have no room, and those that have.
fn wanted() -> Vec<(String, File)> {
    let paths = ["a/b/c", "a/b/d", "e", "f", "g/h"];
    let file = |(path, seed): (&&str, _)| ((*path).to_owned(), File::new(3000).seed(seed));
    paths.iter().zip(1..).map(file).collect()
}

/// A tree with files where the list has directories, and the other way round.
fn crowded(origin: &Running, files: &[(String, File)]) -> Place {
    let place = Place::new();
    OLD.iter().for_each(|name| {
        place.put(&format!("tree/{name}"), name);
    });
    place.put("list.tsv", table(origin, files));
    place
}

fn assert_old_stands(place: &Place) {
    for name in OLD {
        assert_eq!(fs::read_to_string(place.tree(name)).unwrap(), name);
    }
}

#[test]
fn what_is_in_the_way_goes_after_all_else_has_come_and_before_what_has_no_room() {
    let files = wanted();
    let origin = origin_of(&files).start();
    let place = crowded(&origin, &files);
    let ended = place.run(&["list.tsv", "--delete"]);
    ended.assert_ends(0, &[("fetched", 5), ("failed", 0), ("deleted", 4)]);
    place.assert_holds(&files);
    let asked: Vec<_> = origin.log().iter().map(|request| request.path.clone()).collect();
    let mut first = asked[..2].to_vec();
    first.sort();
    assert_eq!(first, ["/f", "/g/h"], "{asked:?}");
    place.run(&["list.tsv", "--delete"]).assert_ends(0, &[("unchanged", 5), ("deleted", 0)]);
}

#[test]
fn nothing_makes_room_where_another_entry_failed_and_the_run_says_so() {
    let files = wanted();
    let origin = origin_of(&files[..4]).start();
    let place = crowded(&origin, &files);
    let ended = place.run(&["list.tsv", "--delete"]);
    ended.assert_ends(9, &[("fetched", 1), ("failed", 4), ("deleted", 0)]);
    assert_old_stands(&place);
    let told = ended.stderr.lines().filter(|line| line.contains("nothing was removed"));
    assert_eq!(told.count(), 1, "{}", ended.stderr);
    assert_eq!(ended.failure("a/b/c"), "local_io");
    // What failed is wanted no more.
    place.put("list.tsv", table(&origin, &files[..4]));
    let next = place.run(&["list.tsv", "--delete"]);
    next.assert_ends(0, &[("fetched", 3), ("unchanged", 1), ("deleted", 4)]);
    place.assert_holds(&files[..4]);
}

#[test]
fn nothing_makes_room_where_more_would_have_to_go_than_may() {
    let files = wanted();
    let origin = origin_of(&files).start();
    let place = crowded(&origin, &files);
    let ended = place.run(&["list.tsv", "--delete", "--max-delete", "3"]);
    ended.assert_ends(9, &[("fetched", 2), ("failed", 3), ("deleted", 0)]);
    assert!(ended.stderr.contains("--max-delete"), "{}", ended.stderr);
    assert_old_stands(&place);
    let next = place.run(&["list.tsv", "--delete", "--max-delete", "4"]);
    next.assert_ends(0, &[("fetched", 3), ("unchanged", 2), ("deleted", 4)]);
    place.assert_holds(&files);
}

#[test]
fn a_run_that_is_ended_before_all_else_has_come_has_removed_nothing() {
    let files = wanted();
    let latch = Latch::default();
    let held = latch.clone();
    let origin = origin_of(&files).bent("/g/h", files[4].1, move |_, reply| reply.after(&held));
    let origin = origin.start();
    let place = crowded(&origin, &files);
    let started = place.start(&["list.tsv", "--delete"]);
    origin.wait_for_requests(2);
    started.signal(Signal::TERM);
    let ended = started.finish();
    latch.open();
    ended.assert_code(143);
    assert_old_stands(&place);
    place.run(&["list.tsv", "--delete"]).assert_ends(0, &[("failed", 0), ("deleted", 4)]);
    place.assert_holds(&files);
}

#[test]
fn entries_without_room_are_made_of_others_or_fetched_with_dedupe_too() {
    let file = File::new(4000).seed(8);
    let files = ["a/b", "c", "e"].map(|path| (path.to_owned(), file));
    let origin = origin_of(&files).start();
    let place = crowded(&origin, &files);
    let ended = place.run(&["list.tsv", "--delete", "--dedupe"]);
    ended.assert_ends(0, &[("failed", 0), ("deleted", 4)]);
    place.assert_holds(&files);
    place.run(&["list.tsv", "--dedupe"]).assert_ends(0, &[("unchanged", 3)]);
}

#[test]
fn nothing_makes_room_where_one_of_the_entries_cannot_get_any() {
    let files = wanted();
    let origin = origin_of(&files).start();
    let place = crowded(&origin, &files);
    fs::create_dir(place.tree("e/kept")).unwrap();
    let ended = place.run(&["list.tsv", "--delete", "--exclude", "kept"]);
    ended.assert_ends(9, &[("fetched", 2), ("failed", 3), ("deleted", 0)]);
    assert_old_stands(&place);
}

#[test]
fn what_is_not_included_stays_even_if_it_is_empty() {
    let files = wanted();
    let origin = origin_of(&files).start();
    let place = crowded(&origin, &files);
    fs::create_dir_all(place.tree("incoming/new")).unwrap();
    fs::create_dir_all(place.tree("g/empty")).unwrap();
    let args = ["list.tsv", "--delete", "--include", "g/**", "--include", "f"];
    place.run(&args).assert_ends(0, &[("fetched", 2), ("deleted", 0)]);
    assert!(place.tree("incoming/new").is_dir() && !place.tree("g/empty").exists());
}

#[test]
fn a_list_that_lies_in_the_tree_as_a_link_stays() {
    let files = wanted();
    let origin = origin_of(&files[3..]).start();
    let place = Place::new();
    place.put("tree/lists/new.tsv", table(&origin, &files[3..]));
    place.put("tree/lists/old.tsv", "");
    std::os::unix::fs::symlink("lists/new.tsv", place.tree("current.tsv")).unwrap();
    for _ in 0..2 {
        place.run(&["tree/current.tsv", "--delete"]).assert_code(0);
        place.assert_right(&files[3..]);
        assert!(place.tree("current.tsv").is_file() && !place.tree("lists/old.tsv").exists());
    }
}
