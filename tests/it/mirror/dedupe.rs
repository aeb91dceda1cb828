//! What `--dedupe` fetches once, what it makes from that, and what comes all the same where it cannot.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use rustix::process::Signal;

use super::runner::{Ended, Place};
use super::{files, origin_of, sha256, table};
use crate::origin::{File, Latch, Origin, Reply};

/// So many paths for each of these files.
fn copies(count: u64, of: &[File]) -> Vec<(String, File)> {
    let path = |at: u64, kind: usize| format!("d{}/k{kind}-{at}", at % 3);
    let of = of.iter().enumerate();
    of.flat_map(|(kind, file)| (0..count).map(move |at| (path(at, kind), *file))).collect()
}

fn inode(place: &Place, path: &str) -> u64 {
    fs::metadata(place.tree(path)).unwrap().ino()
}

/// Another run has nothing to do, not even to read.
fn assert_settled(place: &Place, list: &str) {
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

/// Six entries of one digest, with a fault.
fn faulty(fault: &str, how: &str) -> (Place, Ended, usize) {
    let wanted = copies(6, &[File::new(4000).seed(8)]);
    let origin = origin_of(&wanted).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &wanted));
    let mut command = place.command(&["list.tsv", how]);
    command.env("RINGPULL_FAULT", fault);
    let ended = place.start_command(command).finish();
    if ended.code == Some(0) {
        place.assert_holds(&wanted);
        place.assert_no_drafts();
        assert_settled(&place, "list.tsv");
    }
    let requests = origin.log().len();
    place.run(&["list.tsv", "--dedupe"]).assert_code(0);
    place.assert_holds(&wanted);
    place.assert_no_drafts();
    (place, ended, requests)
}

#[test]
fn a_file_with_too_many_names_has_the_next_one_fetched_and_linked_on() {
    let (_place, ended, requests) = faulty("link:3:EMLINK", "--dedupe=hardlink");
    assert_eq!((ended.count("fetched"), ended.count("linked"), requests), (2, 4, 2));
    let (_place, ended, requests) = faulty("link:1+:EMLINK", "--dedupe=hardlink");
    assert_eq!((ended.count("fetched"), ended.count("linked"), requests), (6, 0, 6));
}

#[test]
fn where_nothing_can_be_linked_everything_is_fetched_and_that_is_told_once() {
    for (fault, how) in [
        ("link:1+:EPERM", "--dedupe=hardlink"),
        ("link:1+:EXDEV", "--dedupe=hardlink"),
        ("reflink:1+:EOPNOTSUPP", "--dedupe=reflink"),
    ] {
        let (_place, ended, requests) = faulty(fault, how);
        assert_eq!((ended.count("fetched"), requests), (6, 6), "{fault}");
        let told = ended.events.iter().filter(|event| event["event"] == "notice").count();
        assert_eq!(told, 1, "{fault}: {:#?}", ended.events);
    }
    // What cannot share blocks may have names.
    let (_place, ended, _) = faulty("reflink:1+:EOPNOTSUPP", "--dedupe");
    assert_eq!((ended.count("fetched"), ended.count("linked")), (1, 5));
}

#[test]
fn a_disk_that_is_full_ends_the_run_before_it_is_sealed() {
    for fault in ["link:2:ENOSPC", "rename:4:ENOSPC"] {
        let (_place, ended, _) = faulty(fault, "--dedupe=hardlink");
        assert_eq!(ended.code, Some(7), "{fault}: {}", ended.stderr);
    }
    let (_place, ended, requests) = faulty("rename:3:EIO", "--dedupe=hardlink");
    assert_eq!((ended.code, ended.count("linked"), requests), (Some(0), 4, 2));
}

#[test]
fn a_run_that_is_killed_is_completed_by_the_next() {
    let wanted = copies(7, &[File::new(800).seed(1), File::new(801).seed(2), File::new(802)]);
    let latch = Latch::default();
    let held = latch.clone();
    // The second of the digests comes after the kill.
    let serve = |origin: Origin, (path, file): &(String, File)| match path.starts_with("d0/k1") {
        true => {
            let held = held.clone();
            origin.bent(&format!("/{path}"), *file, move |_, reply| reply.after(&held))
        }
        false => origin.file(&format!("/{path}"), *file),
    };
    let origin = wanted.iter().fold(Origin::new(), serve).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &wanted));
    let started = place.start(&["list.tsv", "--dedupe=hardlink"]);
    origin.wait_for_requests(3);
    started.signal(Signal::KILL);
    started.end_or_die();
    latch.open();
    let next = place.run(&["list.tsv", "--dedupe=hardlink"]);
    next.assert_ends(0, &[("entries", 21), ("failed", 0)]);
    place.assert_holds(&wanted);
    assert_settled(&place, "list.tsv");
}

#[test]
fn a_run_that_dies_while_it_links_is_completed_by_the_next() {
    let wanted = copies(3, &[File::new(700).seed(1), File::new(701).seed(2)]);
    let origin = origin_of(&wanted).start();
    let mut deaths = 0;
    for how in ["--dedupe=hardlink", "--dedupe=reflink", "--dedupe"] {
        for at in 1.. {
            let place = Place::new();
            place.put("list.tsv", table(&origin, &wanted));
            let mut command = place.command(&["list.tsv", how]);
            command.env("RINGPULL_CRASH_AT", at.to_string());
            let ended = place.start_command(command).end_or_die();
            let is_dead = ended.code.is_none();
            deaths += u32::from(is_dead);
            let there = wanted.iter().filter(|(path, _)| place.tree(path).exists());
            place.assert_right(&there.cloned().collect::<Vec<_>>());
            let next = place.run(&["list.tsv", how]);
            next.assert_ends(0, &[("entries", 6), ("failed", 0)]);
            place.assert_holds(&wanted);
            assert_settled(&place, "list.tsv");
            if !is_dead {
                break;
            }
        }
    }
    assert!(deaths >= 12, "{deaths}");
}

#[test]
fn names_that_the_books_do_not_know_are_read_once() {
    let wanted = copies(5, &[File::new(1200).seed(9)]);
    let origin = origin_of(&wanted).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &wanted[..1]));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 1)]);
    // As a run leaves it that is killed while it links.
    for (path, _) in &wanted[1..3] {
        fs::create_dir_all(place.tree(path).parent().unwrap()).unwrap();
        fs::hard_link(place.tree(&wanted[0].0), place.tree(path)).unwrap();
    }
    fs::hard_link(place.tree(&wanted[0].0), place.tree(".ringpull/drafts/3")).unwrap();
    place.put("list.tsv", table(&origin, &wanted));
    let ended = place.run(&["list.tsv", "--dedupe=hardlink"]);
    ended.assert_ends(0, &[("unchanged", 3), ("linked", 2), ("requests", 0)]);
    place.assert_holds(&wanted);
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
