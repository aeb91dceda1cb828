//! What `--dedupe` fetches once, and what it makes from that.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::runner::Place;
use super::{files, origin_of, sha256, table};
use crate::origin::{File, Origin, Reply};

/// So many paths for each of these files.
pub(super) fn copies(count: u64, of: &[File]) -> Vec<(String, File)> {
    let path = |at: u64, kind: usize| format!("d{}/k{kind}-{at}", at % 3);
    let of = of.iter().enumerate();
    of.flat_map(|(kind, file)| (0..count).map(move |at| (path(at, kind), *file))).collect()
}

fn inode(place: &Place, path: &str) -> u64 {
    fs::metadata(place.tree(path)).unwrap().ino()
}

/// Another run has nothing to do, not even to read.
pub(super) fn assert_settled(place: &Place, list: &str) {
    let before = place.names();
    for args in [&[list, "--dry-run"][..], &[list, "--dry-run", "--dedupe"]] {
        let told = place.run(args).actions();
        assert!(told.is_empty(), "{told:?}");
    }
    let again = place.run(&[list, "--dedupe=hardlink"]);
    again.assert_ends(0, &[("unchanged", again.count("entries")), ("requests", 0)]);
    assert_eq!(place.names(), before, "nothing is written again");
}

#[test]
fn entries_of_one_digest_are_fetched_once() {
    let kinds = [File::new(5000).seed(1), File::new(0).seed(2), File::new(777).seed(3)];
    for how in ["--dedupe", "--dedupe=auto", "--dedupe=hardlink"] {
        let mut wanted = copies(5, &kinds);
        wanted.extend(files(4).into_iter().skip(1));
        let origin = origin_of(&wanted).start();
        let place = Place::new();
        place.put("list.tsv", table(&origin, &wanted));
        let ended = place.run(&["list.tsv", how]);
        let saved = 4 * (5000 + 777);
        ended.assert_ends(0, &[("fetched", 6), ("linked", 12), ("linked_bytes", saved)]);
        assert_eq!(origin.log().len(), 6, "{}", origin.log_lines());
        place.assert_holds(&wanted);
        let line = ended.result("d1/k0-4");
        assert_eq!((&line["state"], &line["verified"]), (&"linked".into(), &"digest".into()));
        assert_eq!(line["from"], "d0/k0-0", "{line}");
        assert!(["hardlink", "reflink"].contains(&line["how"].as_str().unwrap()), "{line}");
        if how == "--dedupe=hardlink" {
            assert_eq!(inode(&place, "d0/k0-0"), inode(&place, "d1/k0-4"));
        }
        assert_settled(&place, "list.tsv");
    }
}

#[test]
fn without_being_asked_each_entry_is_fetched() {
    let wanted = copies(4, &[File::new(100)]);
    let origin = origin_of(&wanted).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &wanted));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 4), ("linked", 0), ("requests", 4)]);
    // What is right already stays as it is.
    assert_settled(&place, "list.tsv");
}

#[test]
fn a_large_file_is_fetched_once_too() {
    let wanted = copies(3, &[File::new(9 << 20).seed(5)]);
    let origin = origin_of(&wanted).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &wanted));
    let ended = place.run(&["list.tsv", "--dedupe=hardlink"]);
    ended.assert_ends(0, &[("fetched", 1), ("linked", 2), ("bytes", 9 << 20)]);
    place.assert_holds(&wanted);
    assert_settled(&place, "list.tsv");
    // Another version of one of them leaves the others alone.
    let mut other = wanted;
    other[1].1 = File::new(9 << 20).seed(6);
    let origin = origin_of(&other).start();
    place.put("list.tsv", table(&origin, &other));
    place.run(&["list.tsv", "--dedupe"]).assert_ends(0, &[("fetched", 1), ("unchanged", 2)]);
    place.assert_holds(&other);
    // Their file has lost a name, and is read once for that.
    let again = place.run(&["list.tsv", "--dedupe"]);
    again.assert_ends(0, &[("unchanged", 3), ("requests", 0)]);
    assert_settled(&place, "list.tsv");
}

#[test]
fn a_linked_entry_that_changes_leaves_the_others_alone() {
    let wanted = copies(4, &[File::new(3000).seed(1)]);
    let origin = origin_of(&wanted).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &wanted));
    place.run(&["list.tsv", "--dedupe=hardlink"]).assert_ends(0, &[("linked", 3)]);
    for changed in [0, 2] {
        let mut other = wanted.clone();
        other[changed].1 = File::new(3000).seed(2);
        let origin = origin_of(&other).start();
        place.put("other.tsv", table(&origin, &other));
        let ended = place.run(&["other.tsv", "--dedupe=hardlink"]);
        ended.assert_ends(0, &[("unchanged", 3), ("requests", 1)]);
        place.assert_holds(&other);
        // And back, from one that is there.
        let ended = place.run(&["list.tsv", "--dedupe=hardlink"]);
        ended.assert_ends(0, &[("unchanged", 3), ("linked", 1), ("requests", 0)]);
        place.assert_holds(&wanted);
        assert_settled(&place, "list.tsv");
    }
}

#[test]
fn a_file_that_is_there_serves_for_new_entries() {
    let wanted = copies(6, &[File::new(2000).seed(7)]);
    let origin = origin_of(&wanted).start();
    let place = Place::new();
    for count in [1, 3, 6] {
        place.put("list.tsv", table(&origin, &wanted[..count]));
        let ended = place.run(&["list.tsv", "--dedupe=hardlink"]);
        assert_eq!((ended.code, ended.count("failed")), (Some(0), 0));
        place.assert_holds(&wanted[..count]);
        assert_settled(&place, "list.tsv");
    }
    assert_eq!(origin.log().len(), 1, "{}", origin.log_lines());
    // Whoever has lost the state reads one name of each file.
    fs::remove_dir_all(place.tree(".ringpull")).unwrap();
    let lost = place.run(&["list.tsv", "--dedupe=hardlink"]);
    lost.assert_ends(0, &[("unchanged", 6), ("requests", 0)]);
    assert_settled(&place, "list.tsv");
}

#[test]
fn what_has_moved_is_not_fetched_again() {
    let file = |at: u64| File::new(100 + at).seed(at);
    let named = |directory: &str| -> Vec<_> {
        (0..5).map(|at| (format!("{directory}/f{at}"), file(at))).collect()
    };
    let (old, new) = (named("old"), named("new"));
    let all = [&old[..], &new].concat();
    let origin = origin_of(&all).start();
    for how in ["--dedupe=hardlink", "--dedupe"] {
        let place = Place::new();
        place.put("old.tsv", table(&origin, &old)).put("new.tsv", table(&origin, &new));
        place.run(&["old.tsv"]).assert_ends(0, &[("fetched", 5)]);
        // What somebody has written to since is no source.
        fs::write(place.tree("old/f3"), "?").unwrap();
        let told = place.run(&["new.tsv", how, "--delete", "--dry-run"]).actions();
        assert!(told.contains(&"link new/f0".into()), "{told:?}");
        let ended = place.run(&["new.tsv", how, "--delete"]);
        let counts = [("fetched", 1), ("linked", 4), ("deleted", 5), ("requests", 1)];
        ended.assert_ends(0, &counts);
        place.assert_holds(&new);
        place.run(&["new.tsv", how]).assert_ends(0, &[("unchanged", 5), ("requests", 0)]);
        assert_settled(&place, "new.tsv");
    }
}

#[test]
fn a_dry_run_says_what_would_be_linked() {
    let wanted = copies(3, &[File::new(10).seed(1), File::new(10).seed(2)]);
    let origin = origin_of(&wanted).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &wanted));
    let told = place.run(&["list.tsv", "--dedupe", "--dry-run"]).actions();
    let linked = ["link d1/k0-1", "link d1/k1-1", "link d2/k0-2", "link d2/k1-2"];
    assert_eq!(told, [&["fetch d0/k0-0", "fetch d0/k1-0"][..], &linked].concat());
    assert!(place.names().is_empty());
    assert_eq!(origin.log().len(), 0);
}

#[test]
fn where_the_first_cannot_be_had_the_others_come() {
    let wanted = copies(4, &[File::new(600).seed(3)]);
    let serve = |origin: Origin, (path, file): &(String, File)| match path.as_str() {
        "d0/k0-0" => origin.at("/d0/k0-0", |_| Reply::status("404 Not Found")),
        _ => origin.file(&format!("/{path}"), *file),
    };
    let origin = wanted.iter().fold(Origin::new(), serve).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &wanted));
    let ended = place.run(&["list.tsv", "--dedupe"]);
    ended.assert_ends(9, &[("failed", 1), ("fetched", 3), ("linked", 0)]);
    place.assert_holds(&wanted[1..]);
    // Then there is something to make it from.
    let next = place.run(&["list.tsv", "--dedupe"]);
    next.assert_ends(0, &[("linked", 1), ("unchanged", 3), ("requests", 0)]);
    place.assert_holds(&wanted);
}

#[test]
fn one_digest_with_two_sizes_is_not_one_file() {
    let wanted = copies(4, &[File::new(600).seed(3)]);
    let origin = origin_of(&wanted).start();
    let place = Place::new();
    let sizes = ["600", "601", "", "600"];
    let line = |(at, (path, file)): (usize, &(String, File))| {
        let url = origin.url(&format!("/{path}"));
        format!("{url}\t{path}\t{}\t{}\n", sizes[at], sha256(file))
    };
    let lines: String = wanted.iter().enumerate().map(line).collect();
    place.put("list.tsv", format!("url\tpath\tsize\tsha256\n{lines}"));
    let ended = place.run(&["list.tsv", "--dedupe"]);
    ended.assert_ends(9, &[("fetched", 1), ("linked", 2), ("failed", 1)]);
    assert_eq!(ended.failure("d1/k0-1"), "digest");
    let right = [&wanted[..1], &wanted[2..]].concat();
    place.assert_holds(&right);
}

#[test]
fn files_with_one_date_are_not_fetched_again_for_the_dates_of_the_list() {
    let wanted = copies(3, &[File::new(600).seed(3)]);
    let origin = origin_of(&wanted).start();
    let place = Place::new();
    let line = |(at, (path, file)): (u64, &(String, File))| {
        let (url, digest) = (origin.url(&format!("/{path}")), sha256(file));
        format!("{url}\t{path}\t600\t{digest}\t{}\n", 1_500_000_001 + at)
    };
    let lines: String = (0..).zip(&wanted).map(line).collect();
    place.put("list.tsv", format!("url\tpath\tsize\tsha256\tmtime\n{lines}"));
    for how in ["--dedupe=hardlink", "--dedupe"] {
        let ended = place.run(&["list.tsv", how]);
        assert_eq!((ended.code, ended.count("failed")), (Some(0), 0));
        let date = |path: &str| fs::metadata(place.tree(path)).unwrap().mtime();
        let dates = wanted.iter().map(|(path, _)| date(path)).collect::<Vec<_>>();
        assert_eq!(dates, [1_500_000_001; 3]);
    }
    assert_eq!(origin.log().len(), 1);
    assert_settled(&place, "list.tsv");
}

#[test]
fn wrong_files_are_replaced_and_right_ones_stay() {
    let wanted = copies(6, &[File::new(900).seed(4)]);
    let origin = origin_of(&wanted).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &wanted));
    for (path, _) in &wanted[..4] {
        place.put(&format!("tree/{path}"), vec![b'x'; 900]);
    }
    fs::remove_file(place.tree(&wanted[3].0)).unwrap();
    fs::hard_link(place.tree(&wanted[2].0), place.tree(&wanted[3].0)).unwrap();
    let ended = place.run(&["list.tsv", "--dedupe=hardlink"]);
    ended.assert_ends(0, &[("fetched", 1), ("linked", 5), ("requests", 1)]);
    place.assert_holds(&wanted);
    assert_settled(&place, "list.tsv");
    // Somebody writes into the file of all.
    fs::write(place.tree(&wanted[5].0), vec![b'y'; 900]).unwrap();
    let ended = place.run(&["list.tsv", "--dedupe=hardlink"]);
    ended.assert_ends(0, &[("fetched", 1), ("linked", 5), ("requests", 1)]);
    place.assert_holds(&wanted);
    assert_settled(&place, "list.tsv");
    // A copy of somebody else's is right, and left alone.
    let copy = place.tree(&wanted[1].0);
    fs::remove_file(&copy).unwrap();
    fs::copy(place.tree(&wanted[0].0), &copy).unwrap();
    let own = inode(&place, &wanted[1].0);
    let ended = place.run(&["list.tsv", "--dedupe=hardlink", "--verify", "all"]);
    ended.assert_ends(0, &[("unchanged", 6), ("requests", 0)]);
    assert_eq!(inode(&place, &wanted[1].0), own);
    assert_settled(&place, "list.tsv");
}

#[test]
fn what_is_removed_and_what_is_durable_stays_as_it_was() {
    let wanted = copies(4, &[File::new(500).seed(2)]);
    let origin = origin_of(&wanted).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &wanted)).put("tree/extra", "extra");
    let command = place.durable_command(&["list.tsv", "--dedupe", "--delete"]);
    let ended = place.start_command(command).finish();
    ended.assert_ends(0, &[("fetched", 1), ("linked", 3), ("deleted", 1)]);
    assert_eq!(ended.events.last().unwrap()["durable"], true);
    place.assert_holds(&wanted);
    // A name that goes leaves the file to the others.
    place.put("list.tsv", table(&origin, &wanted[1..]));
    let ended = place.run(&["list.tsv", "--dedupe", "--delete"]);
    ended.assert_ends(0, &[("unchanged", 3), ("deleted", 1), ("requests", 0)]);
    place.assert_holds(&wanted[1..]);
    let ended = place.run(&["list.tsv", "--dedupe", "--delete"]);
    ended.assert_ends(0, &[("unchanged", 3), ("requests", 0)]);
    assert_settled(&place, "list.tsv");
}
