//! What `--delete` removes, when it refuses to, and what a dry run says and leaves alone.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;

use super::runner::Place;
use super::{bare_table, files, origin_of, table};
use crate::origin::{File, Origin, Reply, Running};

/// A place whose tree has more than the list.
fn littered() -> Place {
    let place = Place::new();
    for name in ["extra", "d0/extra", "d0/e0/f0.bin.old", "old/er/x", "old/er/y"] {
        place.put(&format!("tree/{name}"), name);
    }
    place
}

#[test]
fn files_that_the_list_does_not_have_are_removed_and_nothing_else() {
    let files = files(10);
    let origin = origin_of(&files).start();
    let place = littered();
    place.put("outside/kept", "kept").put("list.tsv", table(&origin, &files));
    symlink("../outside", place.tree("link")).unwrap();
    symlink("../../outside/kept", place.tree("d0/link")).unwrap();
    let ended = place.run(&["list.tsv", "--delete"]);
    ended.assert_ends(0, &[("fetched", 10), ("deleted", 7)]);
    place.assert_holds(&files);
    assert!(!place.tree("old").exists(), "empty directories go with their files");
    assert_eq!(fs::read(place.path("outside/kept")).unwrap(), b"kept");
    place.run(&["list.tsv", "--delete"]).assert_ends(0, &[("unchanged", 10), ("deleted", 0)]);
}

#[test]
fn without_being_asked_nothing_is_removed() {
    let files = files(3);
    let origin = origin_of(&files).start();
    let place = littered();
    place.put("list.tsv", table(&origin, &files));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 3), ("deleted", 0)]);
    assert_eq!(place.names().len(), 8);
}

#[test]
fn nothing_is_removed_where_an_entry_failed() {
    let files = files(3);
    let origin = origin_of(&files[..2]).start();
    let place = littered();
    place.put("list.tsv", table(&origin, &files));
    let ended = place.run(&["list.tsv", "--delete"]);
    ended.assert_ends(9, &[("failed", 1), ("deleted", 0)]);
    assert!(ended.stderr.contains("nothing was removed"), "{}", ended.stderr);
    assert_eq!(place.names().len(), 7);
}

#[test]
fn nothing_is_removed_where_a_line_makes_no_entry() {
    let files = files(3);
    let origin = origin_of(&files).start();
    let place = littered();
    place.put("list.tsv", table(&origin, &files) + "half a li");
    place.run(&["list.tsv", "--delete"]).assert_ends(9, &[("bad_lines", 1), ("deleted", 0)]);
    assert_eq!(place.names().len(), 8);
}

#[test]
fn nothing_is_removed_for_an_empty_list() {
    for list in ["", "\n\n", "url\tpath\n"] {
        let place = littered();
        place.put("list.tsv", list);
        let ended = place.run(&["list.tsv", "--delete"]);
        assert_ne!(ended.code, Some(0), "{list:?}");
        assert_eq!(place.names().len(), 5);
    }
}

#[test]
fn nothing_is_removed_beyond_the_most_that_was_allowed() {
    let files = files(3);
    let origin = origin_of(&files).start();
    let place = littered();
    place.put("list.tsv", table(&origin, &files));
    let ended = place.run(&["list.tsv", "--delete", "--max-delete", "4"]);
    ended.assert_ends(9, &[("fetched", 3), ("deleted", 0)]);
    assert!(ended.stderr.contains("--max-delete"), "{}", ended.stderr);
    assert_eq!(place.names().len(), 8);
    let ended = place.run(&["list.tsv", "--delete", "--max-delete", "5"]);
    ended.assert_ends(0, &[("unchanged", 3), ("deleted", 5)]);
    place.assert_holds(&files);
}

#[test]
fn nothing_is_removed_of_more_than_a_thousand_files_unless_told() {
    let files = files(3);
    let origin = origin_of(&files).start();
    let place = Place::new();
    for at in 0..1001 {
        place.put(&format!("tree/extra/{at}"), "");
    }
    place.put("list.tsv", table(&origin, &files));
    let ended = place.run(&["list.tsv", "--delete"]);
    ended.assert_ends(9, &[("fetched", 3), ("deleted", 0)]);
    assert_eq!(place.names().len(), 1004);
    fs::remove_file(place.tree("extra/7")).unwrap();
    place.run(&["list.tsv", "--delete"]).assert_ends(0, &[("deleted", 1000)]);
    place.assert_holds(&files);
}

#[test]
fn a_name_that_no_list_can_have_is_left_alone() {
    let files = files(3);
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("tree/x", "").put("list.tsv", table(&origin, &files));
    let odd = place.tree("").join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    fs::write(&odd, "theirs").unwrap();
    place.run(&["list.tsv", "--delete"]).assert_ends(0, &[("deleted", 1)]);
    assert!(odd.exists());
}

#[test]
fn what_is_excluded_is_not_removed_either() {
    let files = files(6);
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("tree/mine/notes", "mine").put("tree/d1/extra", "extra");
    place.put("list.tsv", table(&origin, &files));
    let args = ["list.tsv", "--delete", "--exclude", "mine/**", "--exclude", "d2/**"];
    place.run(&args).assert_ends(0, &[("fetched", 4), ("deleted", 1)]);
    assert!(place.tree("mine/notes").exists() && !place.tree("d1/extra").exists());
    let args = ["list.tsv", "--delete", "--include", "d0/**"];
    place.run(&args).assert_ends(0, &[("unchanged", 2), ("deleted", 0)]);
    assert_eq!(place.names().len(), 5);
}

#[test]
fn the_papers_of_the_run_are_not_removed_where_they_lie_in_the_tree() {
    let files = files(3);
    let origin = origin_of(&files).start();
    let place = littered();
    place.put("tree/papers/list.tsv", table(&origin, &files));
    let args = [
        "tree/papers/list.tsv",
        "--delete",
        "--state",
        "tree/papers/state",
        "--results",
        "tree/papers/results.jsonl",
        "--failures",
        "tree/papers/failures.jsonl",
    ];
    for run in 0..3 {
        let ended = place.start(&args).finish();
        ended.assert_code(0);
        assert_eq!(ended.count("deleted"), if run == 0 { 5 } else { 0 }, "{}", ended.stderr);
        place.assert_right(&files);
        for name in ["list.tsv", "results.jsonl", "failures.jsonl", "state/lock"] {
            assert!(place.tree("papers").join(name).exists(), "{name}");
        }
        assert_eq!(origin.log().len(), 3, "what is known is kept");
    }
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let files = files(6);
    let origin = origin_of(&files).start();
    let place = littered();
    place.put("tree/d1/e1/f1.bin", files[1].1.whole());
    place.put("tree/d2/e0/f2.bin", "of another length");
    place.put("list.tsv", table(&origin, &files));
    let before = place.names();
    let ended = place.run(&["list.tsv", "--dry-run", "--delete"]);
    ended.assert_code(0);
    let wanted = [
        "delete d0/e0/f0.bin.old",
        "delete d0/extra",
        "delete extra",
        "delete old/er/x",
        "delete old/er/y",
        "fetch d0/e0/f0.bin",
        "fetch d0/e1/f3.bin",
        "fetch d1/e0/f4.bin",
        "fetch d2/e0/f2.bin",
        "fetch d2/e1/f5.bin",
        "hash d1/e1/f1.bin",
    ];
    assert_eq!(ended.actions(), wanted);
    assert_eq!(place.names(), before);
    assert_eq!(origin.log().len(), 0);
    assert!(!place.tree(".ringpull/results.jsonl").exists());
}

#[test]
fn a_dry_run_before_a_second_run_costs_nothing_of_what_is_known() {
    let files = files(6);
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("list.tsv", bare_table(&origin, &files)).put("all.tsv", table(&origin, &files));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 6)]);
    let dry = place.run(&["list.tsv", "--dry-run"]);
    assert_eq!((dry.code, dry.actions().len()), (Some(0), 6));
    assert!(dry.actions().iter().all(|action| action.starts_with("check ")));
    place.run(&["list.tsv"]).assert_ends(0, &[("unchanged", 6), ("requests", 6)]);
    let asked = origin.log().split_off(6);
    assert!(asked.iter().all(|request| request.header("if-none-match").is_some()));
}

#[test]
fn a_file_that_the_list_no_longer_has_is_removed_when_the_rest_is_done_and_not_before() {
    let files = files(8);
    let origin = origin_of(&files).at("/gone", |_| Reply::status("404 Not Found")).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 8)]);
    let fewer = table(&origin, &files[..6]);
    place.put("list.tsv", format!("{fewer}{}\tnew\t\t\n", origin.url("/gone")));
    place.run(&["list.tsv", "--delete"]).assert_ends(9, &[("failed", 1), ("deleted", 0)]);
    place.assert_holds(&files);
    place.put("list.tsv", fewer);
    place.run(&["list.tsv", "--delete"]).assert_ends(0, &[("unchanged", 6), ("deleted", 2)]);
    place.assert_holds(&files[..6]);
    // Known no more: it is fetched if it is wanted again.
    place.put("list.tsv", table(&origin, &files));
    place.run(&["list.tsv"]).assert_ends(0, &[("unchanged", 6), ("fetched", 2)]);
    place.assert_holds(&files);
}

#[test]
fn a_list_that_is_cut_off_on_its_way_removes_nothing() {
    let files = files(8);
    let place = littered();
    let body = b"url\tpath\nhttp://127.0.0.1:1/x\tx\n".to_vec();
    let origin = Origin::new().at("/list.tsv", move |_| {
        let reply = Reply::status("200 OK").set("Content-Length", "5000");
        let reply = reply.body(crate::origin::Body::Bytes(body.clone()));
        Reply { close: true, ..reply }
    });
    let origin = origin.start();
    drop(files);
    let ended = place.run(&[&origin.url("/list.tsv"), "--delete", "--retries", "0"]);
    assert_ne!(ended.code, Some(0));
    assert_eq!(place.names().len(), 5);
}

/// A tree with a file where the list has a directory, and the other way round.
fn in_the_way() -> (Place, Vec<(String, File)>, Running) {
    let files: Vec<_> = ["a/b/c", "a/b/d", "e", "f"]
        .iter()
        .zip(1..)
        .map(|(path, seed)| ((*path).to_owned(), File::new(3000).seed(seed)))
        .collect();
    let origin = origin_of(&files).start();
    let place = Place::new();
    for name in ["a", "e/x/y", "e/z"] {
        place.put(&format!("tree/{name}"), name);
    }
    place.put("list.tsv", table(&origin, &files));
    (place, files, origin)
}

#[test]
fn what_stands_where_the_list_has_something_else_makes_room_for_it() {
    let (place, files, _origin) = in_the_way();
    let ended = place.run(&["list.tsv", "--delete"]);
    ended.assert_ends(0, &[("fetched", 4), ("failed", 0), ("deleted", 3)]);
    place.assert_holds(&files);
    place.run(&["list.tsv", "--delete"]).assert_ends(0, &[("unchanged", 4), ("deleted", 0)]);
}

#[test]
fn empty_directories_go_with_what_the_list_does_not_have() {
    let files = files(3);
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files)).put("tree/mine/not/x", "mine");
    for name in ["e/m/p/ty", "d0/none", "mine/none", "lost+found"] {
        fs::create_dir_all(place.tree(name)).unwrap();
    }
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 3)]);
    assert!(place.tree("e/m/p/ty").exists());
    let ended = place.run(&["list.tsv", "--delete", "--exclude", "mine"]);
    ended.assert_ends(0, &[("unchanged", 3), ("deleted", 0)]);
    assert!(!place.tree("e").exists() && !place.tree("d0/none").exists());
    assert!(place.tree("mine/none").exists() && place.tree("lost+found").exists());
    assert_eq!(fs::read(place.tree("mine/not/x")).unwrap(), b"mine");
}

#[test]
fn empty_directories_make_room_too() {
    let (place, files, _origin) = in_the_way();
    // As a run leaves them that was killed between two removals, or before it had a file to put there.
    fs::create_dir_all(place.tree("e/x/none/at/all")).unwrap();
    fs::create_dir_all(place.tree("f/none")).unwrap();
    let ended = place.run(&["list.tsv"]);
    ended.assert_ends(9, &[("fetched", 0), ("failed", 4)]);
    assert!(place.tree("f/none").exists());
    let ended = place.run(&["list.tsv", "--delete", "--dry-run"]);
    ended.assert_code(0);
    assert!(place.tree("f/none").exists());
    let ended = place.run(&["list.tsv", "--delete"]);
    ended.assert_ends(0, &[("fetched", 4), ("failed", 0), ("deleted", 3)]);
    place.assert_holds(&files);
}

#[test]
fn what_stands_in_the_way_stays_where_it_may_not_go() {
    for args in [&["list.tsv"][..], &["list.tsv", "--delete", "--max-delete", "0"]] {
        let (place, files, _origin) = in_the_way();
        place.run(args).assert_ends(9, &[("failed", 3), ("fetched", 1), ("deleted", 0)]);
        for name in ["a", "e/x/y", "e/z"] {
            assert_eq!(fs::read_to_string(place.tree(name)).unwrap(), name, "{args:?}");
        }
        place.assert_right(&files[3..]);
    }
    let (place, _, _origin) = in_the_way();
    let ended = place.run(&["list.tsv", "--delete", "--exclude", "e/**"]);
    // One entry cannot be done, so the others get no room either.
    ended.assert_ends(9, &[("failed", 3), ("fetched", 1), ("bad_lines", 0), ("deleted", 0)]);
    assert!(ended.stderr.contains("nothing was removed"), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(place.tree("e/z")).unwrap(), "e/z");
    let (place, _, origin) = in_the_way();
    place.put(
        "list.tsv",
        format!("{}nonsense\n", fs::read_to_string(place.path("list.tsv")).unwrap()),
    );
    place.run(&["list.tsv", "--delete"]).assert_ends(9, &[("failed", 3), ("deleted", 0)]);
    assert_eq!(origin.log().len(), 1);
}

#[test]
fn a_link_in_the_way_is_nobodys_to_remove() {
    let (place, _, _origin) = in_the_way();
    fs::remove_file(place.tree("a")).unwrap();
    symlink("nowhere", place.tree("a")).unwrap();
    let ended = place.run(&["list.tsv", "--delete"]);
    ended.assert_ends(9, &[("failed", 3), ("deleted", 0)]);
    assert!(place.tree("a").is_symlink());
}

#[test]
fn a_dry_run_says_that_what_is_in_the_way_goes_and_leaves_it() {
    let (place, _, origin) = in_the_way();
    let ended = place.run(&["list.tsv", "--delete", "--dry-run"]);
    ended.assert_code(0);
    let mut actions = ended.actions();
    actions.sort();
    let wanted = [
        "delete a",
        "delete e/x/y",
        "delete e/z",
        "fetch a/b/c",
        "fetch a/b/d",
        "fetch e",
        "fetch f",
    ];
    assert_eq!(actions, wanted);
    assert_eq!(place.names().len(), 3);
    assert!(origin.log().is_empty());
}

#[test]
fn a_state_among_the_files_of_the_tree_is_refused() {
    let files = files(2);
    let origin = origin_of(&files).start();
    let place = littered();
    place.put("list.tsv", table(&origin, &files));
    for state in ["tree", "tree/.", "tree/old/.."] {
        let ended = place.run(&["list.tsv", "--state", state]);
        ended.assert_code(2);
        assert!(ended.stderr.contains("--state"), "{}", ended.stderr);
    }
    assert_eq!(place.names().len(), 5);
}
