//! How much of what seems unchanged is read again: a disk that has lost a bit behind our back shows the
//! size, the dates and the inode that it always had.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::runner::Place;
use super::{bare_table, files, origin_of, table};
use crate::origin::{File, Running};

/// Inode and time of change, as the journal has them.
fn print(path: &Path) -> [u8; 16] {
    let meta = fs::symlink_metadata(path).unwrap();
    let changed = meta.ctime() * 1_000_000_000 + meta.ctime_nsec();
    [meta.ino().to_le_bytes(), changed.to_le_bytes()].concat().try_into().unwrap()
}

/// Flips a bit in each of these files, as a bad disk would: size, dates and inode stay. The kernel notes the
/// time of every change, so the journal is made to know the new one.
fn rot(place: &Place, paths: &[&str]) {
    let mut prints = BTreeMap::new();
    for path in paths {
        let path = place.tree(path);
        let before = print(&path);
        let date = fs::metadata(&path).unwrap().modified().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(&path, bytes).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(date).unwrap();
        prints.insert(before, path);
    }
    let journal = place.tree(".ringpull/journal");
    let (old, mut new) = (fs::read(&journal).unwrap(), Vec::new());
    let mut rest = old.as_slice();
    while let Some((head, behind)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*head)).unwrap();
        let (payload, behind) = behind[4..].split_at(length);
        let mut payload = payload.to_vec();
        let known = |window: &[u8]| prints.get(window).map(|path| print(path));
        let found = payload.windows(16).position(|window| known(window).is_some());
        if let Some(at) = found {
            let now = known(&payload[at..at + 16]).unwrap();
            payload[at..at + 16].copy_from_slice(&now);
        }
        new.extend_from_slice(head);
        new.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
        new.extend_from_slice(&payload);
        rest = behind;
    }
    assert_ne!(old, new);
    fs::write(journal, new).unwrap();
}

/// A place with these files mirrored, all in one run.
fn mirrored(files: &[(String, File)], list: fn(&Running, &[(String, File)]) -> String) -> Mirrored {
    let origin = origin_of(files).start();
    let place = Place::new();
    place.put("list.tsv", list(&origin, files));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", files.len() as u64)]);
    Mirrored { place, origin }
}

struct Mirrored {
    place: Place,
    origin: Running,
}

#[test]
fn a_bit_that_the_disk_has_lost_is_found_by_reading_everything_and_not_without() {
    let files = files(30);
    let Mirrored { place, origin } = mirrored(&files, table);
    let rotten = [files[4].0.as_str(), &files[17].0];
    rot(&place, &rotten);
    let before = place.names();
    for args in [&["list.tsv"][..], &["list.tsv", "--verify", "none"]] {
        place.run(args).assert_ends(0, &[("unchanged", 30), ("requests", 0)]);
        assert_eq!(place.names(), before, "nothing was looked at but names and dates");
    }
    let dry = place.run(&["list.tsv", "--verify", "all", "--dry-run"]);
    assert_eq!(dry.actions().len(), 30, "everything would be read");
    let all = place.run(&["list.tsv", "--verify", "all"]);
    all.assert_ends(0, &[("unchanged", 28), ("fetched", 2), ("requests", 2)]);
    for path in rotten {
        assert_eq!(all.result(path)["state"], "fetched");
    }
    place.assert_holds(&files);
    assert_eq!(origin.log().len(), 32);
    let again = place.run(&["list.tsv", "--verify", "all"]);
    again.assert_ends(0, &[("unchanged", 30), ("requests", 0)]);
}

#[test]
fn a_lost_bit_that_nobody_can_mend_fails_its_entry_and_leaves_the_file() {
    let files = files(12);
    let Mirrored { place, origin } = mirrored(&files, table);
    drop(origin);
    rot(&place, &[&files[7].0]);
    let before = place.names();
    let args = ["list.tsv", "--verify", "all", "--retries", "0", "--failures", "failed.jsonl"];
    let ended = place.run(&args);
    ended.assert_ends(9, &[("unchanged", 11), ("failed", 1)]);
    assert_eq!(ended.failure(&files[7].0), "connect");
    assert_eq!(place.names(), before);
    assert_eq!(fs::read_to_string(place.path("failed.jsonl")).unwrap().lines().count(), 1);
    // What was found out is not forgotten.
    let next = place.run(&["list.tsv", "--retries", "0"]);
    next.assert_ends(9, &[("unchanged", 11), ("failed", 1)]);
}

#[test]
fn what_has_no_digest_cannot_be_verified_and_the_server_is_asked_as_ever() {
    let files = files(12);
    let Mirrored { place, origin } = mirrored(&files, bare_table);
    rot(&place, &[&files[7].0]);
    let ended = place.run(&["list.tsv", "--verify", "all"]);
    ended.assert_ends(0, &[("unchanged", 12), ("requests", 12), ("bytes", 0)]);
    assert_eq!(ended.result(&files[7].0)["verified"], "length", "it does not claim more");
    // A list with digests finds it.
    place.put("sums.tsv", table(&origin, &files));
    place.run(&["sums.tsv"]).assert_ends(0, &[("unchanged", 11), ("fetched", 1)]);
    place.assert_holds(&files);
}

#[test]
fn a_sample_reads_some_mends_what_it_finds_and_leaves_the_rest() {
    // One in a hundred: the chance that none of so many is read is 2 in a billion, that a tenth is, none.
    let files: Vec<_> =
        (0..2000).map(|at| (format!("d{}/f{at}", at % 7), File::new(3).seed(at))).collect();
    let Mirrored { place, origin } = mirrored(&files, table);
    let paths: Vec<_> = files.iter().map(|(path, _)| path.as_str()).collect();
    rot(&place, &paths);
    let ended = place.run(&["list.tsv", "--verify", "sample"]);
    let fetched = ended.count("fetched");
    ended.assert_ends(0, &[("unchanged", 2000 - fetched), ("requests", fetched), ("failed", 0)]);
    assert!((1..200).contains(&fetched), "{fetched}");
    let is_right =
        |(path, file): &&(String, File)| fs::read(place.tree(path)).unwrap() == file.whole();
    assert_eq!(files.iter().filter(is_right).count() as u64, fetched);
    assert_eq!(origin.log().len() as u64, 2000 + fetched);
    let rest = place.run(&["list.tsv", "--verify", "all"]);
    rest.assert_ends(0, &[("unchanged", fetched), ("fetched", 2000 - fetched)]);
    place.assert_right(&files);
}
