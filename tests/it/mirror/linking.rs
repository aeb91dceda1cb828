//! `--dedupe` on rough ground: what cannot be linked, runs that die, and any list after any other.

use std::fs;

use rustix::process::Signal;

use super::dedupe::{assert_settled, copies};
use super::runner::{Ended, Place};
use super::{origin_of, sha256, table};
use crate::origin::{File, Latch, Origin};

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

/// Does something to a file of the tree that nobody expects.
fn meddle(place: &Place, dice: &mut fastrand::Rng, paths: &[String]) {
    let (one, other) = (dice.choice(paths).unwrap(), dice.choice(paths).unwrap());
    let (one, other) = (place.tree(one), place.tree(other));
    if !one.exists() || one == other {
        return;
    }
    match dice.u8(..5) {
        0 => fs::remove_file(one).unwrap(),
        1 => fs::write(one, vec![b'w'; dice.usize(50..90)]).unwrap(),
        2 if other.exists() => fs::rename(other, one).unwrap(),
        3 if other.exists() => fs::copy(other, one).map(|_| ()).unwrap(),
        4 if other.exists() => {
            fs::remove_file(&one).unwrap();
            fs::hard_link(other, one).unwrap();
        }
        _ => {}
    }
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
fn any_list_after_any_other_makes_the_tree_that_it_wants() {
    let kinds: Vec<_> = (0..4).map(|kind| File::new(kind * 100).seed(kind)).collect();
    let paths: Vec<_> = (0..14).map(|at| format!("p{}/f{at}", at % 2)).collect();
    let serve = |origin: Origin, file: &File| origin.file(&format!("/{}", file.size / 100), *file);
    let origin = kinds.iter().fold(Origin::new(), serve).start();
    for seed in 0..6 {
        let (mut dice, place) = (fastrand::Rng::with_seed(seed), Place::new());
        for round in 0..12 {
            let (mut lines, mut wanted) = (String::from("url\tpath\tsize\tsha256\n"), Vec::new());
            for path in &paths {
                let Some(file) = kinds.get(dice.usize(..6)) else { continue };
                let url = origin.url(&format!("/{}", file.size / 100));
                let size = if dice.bool() { file.size.to_string() } else { String::new() };
                lines += &format!("{url}\t{path}\t{size}\t{}\n", sha256(file));
                wanted.push((path.clone(), *file));
            }
            place.put("list.tsv", lines);
            let how = ["--dedupe=hardlink", "--dedupe", "--dedupe=reflink", "-v"][dice.usize(..4)];
            let args = ["list.tsv", "--delete", how];
            let mut command = place.command(&args);
            match dice.u8(..4) {
                0 => command.env("RINGPULL_CRASH_AT", dice.u8(1..9).to_string()),
                1 => command.env("RINGPULL_FAULT", format!("link:{}:EMLINK", dice.u8(1..5))),
                _ => &mut command,
            };
            let ended = place.start_command(command).end_or_die();
            let context = format!("seed {seed}, round {round}, {how}: {}", ended.stderr);
            assert!(ended.code.is_none_or(|code| code == 0), "{context}");
            if ended.code.is_none() {
                place.run(&args).assert_code(0);
            }
            assert_eq!(place.names().len(), wanted.len(), "{context}");
            place.assert_holds(&wanted);
            place.assert_no_drafts();
            (0..dice.u8(..4)).for_each(|_| meddle(&place, &mut dice, &paths));
        }
    }
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
