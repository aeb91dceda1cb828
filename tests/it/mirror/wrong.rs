//! Entries that fail, lines that are none, and paths that lead out of the directory: each is told and
//! counted, and the rest is done.

use std::fs;
use std::os::unix::fs::symlink;

use super::runner::Place;
use super::{files, origin_of, sha256, table};
use crate::origin::{Body, File, Origin, Reply};

#[test]
fn a_wrong_digest_fails_its_entry_and_shows_nothing_under_its_name() {
    let files = files(6);
    let good: Vec<_> = files.iter().filter(|(path, _)| *path != files[4].0).cloned().collect();
    // Other bytes of the same length.
    let wrong = files[4].1.version(2);
    let origin = origin_of(&good).file(&format!("/{}", files[4].0), wrong).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    let ended = place.run(&["list.tsv", "--failures", "failed.jsonl"]);
    ended.assert_ends(9, &[("fetched", 5), ("failed", 1)]);
    assert_eq!(ended.failure(&files[4].0), "digest");
    assert_eq!(ended.result(&files[4].0)["exit_code"], 8);
    place.assert_holds(&good);
    let failed = fs::read_to_string(place.path("failed.jsonl")).unwrap();
    assert_eq!(failed.lines().count(), 1, "{failed}");
}

#[test]
fn what_was_there_stays_where_the_new_bytes_are_wrong() {
    let file = File::new(500);
    let origin = Origin::new().file("/a", file.version(3)).start();
    let place = Place::new();
    place.put("tree/a", "old").put("list.tsv", table(&origin, &[("a".to_owned(), file)]));
    place.run(&["list.tsv"]).assert_ends(9, &[("failed", 1)]);
    assert_eq!(fs::read(place.tree("a")).unwrap(), b"old");
}

#[test]
fn the_failures_of_one_run_are_the_list_of_the_next() {
    let files = files(9);
    let bad = [&files[2], &files[5], &files[7]];
    let broken = origin_of(&files)
        .at(&format!("/{}", bad[0].0), |_| Reply::status("404 Not Found"))
        .at(&format!("/{}", bad[1].0), |_| Reply::status("410 Gone"))
        .file(&format!("/{}", bad[2].0), bad[2].1.version(9));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let broken = broken.start_on(listener.try_clone().unwrap());
    let place = Place::new();
    place.put("list.tsv", table(&broken, &files));
    let ended = place.run(&["list.tsv", "--failures", "failed.jsonl"]);
    ended.assert_ends(9, &[("fetched", 6), ("failed", 3)]);
    let kinds = bad.map(|(path, _)| ended.failure(path));
    assert_eq!(kinds, ["refused", "refused", "digest"]);
    drop(broken);
    // The same address, mended.
    let _mended = origin_of(&files).start_on(listener);
    let next = place.run(&["failed.jsonl", "--failures", "failed.jsonl"]);
    next.assert_ends(0, &[("entries", 3), ("fetched", 3)]);
    place.assert_holds(&files);
    assert_eq!(fs::read(place.path("failed.jsonl")).unwrap(), b"");
}

#[test]
fn a_size_other_than_that_of_the_list_fails_the_entry() {
    let file = File::new(500);
    let origin = Origin::new()
        .file("/a", file)
        .file("/b", file)
        .at("/c", move |_| Reply::whole(&file).chunked(&[77]));
    let origin = origin.start();
    let place = Place::new();
    let [a, b, c] = ["/a", "/b", "/c"].map(|path| origin.url(path));
    place.put("list.tsv", format!("url\tpath\tsize\n{a}\ta\t500\n{b}\tb\t501\n{c}\tc\t499\n"));
    let ended = place.run(&["list.tsv"]);
    ended.assert_ends(9, &[("fetched", 1), ("failed", 2)]);
    place.assert_holds(&[("a".to_owned(), file)]);
}

#[test]
fn lines_that_make_no_entry_are_told_with_their_numbers_and_stop_nothing() {
    let file = File::new(10);
    let origin = Origin::new().file("/a", file).file("/z", file).start();
    let (a, z) = (origin.url("/a"), origin.url("/z"));
    let place = Place::new();
    let text = format!(
        "url\tpath\tsize\tsha256\n{a}\ta\t\t\nonly one cell\n{a}\tb\tmany\t\n{a}\tc\t\tabc\n\
         ftp://h/x\td\t\t\n\t\t\t\n{a}\te\u{1b}[2J\t\t\n{z}\tz\t10\t\n"
    );
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(b"\xff\xfe\tg\t\t\n");
    place.put("list.tsv", bytes);
    let ended = place.run(&["list.tsv"]);
    let lines: Vec<_> = ended.bad_lines().into_iter().map(|(line, _)| line).collect();
    assert_eq!(
        lines.iter().filter(|line| **line != 7).copied().collect::<Vec<_>>(),
        [3, 4, 5, 6, 8, 10]
    );
    ended.assert_ends(9, &[("fetched", 2), ("bad_lines", lines.len() as u64)]);
    place.assert_holds(&[("a".to_owned(), file), ("z".to_owned(), file)]);
}

#[test]
fn broken_lines_of_json_stop_nothing() {
    let file = File::new(10);
    let origin = Origin::new().file("/a", file).file("/b", file).start();
    let (a, b) = (origin.url("/a"), origin.url("/b"));
    let place = Place::new();
    let entry = |url: &str, path: &str| serde_json::json!({"url": url, "path": path});
    let (a, b) = (entry(&a, "a"), entry(&b, "b"));
    place.put("list.jsonl", format!("{a}\n{{\"url\":\n[]\n\n{b}\n{{\"url"));
    let ended = place.run(&["list.jsonl"]);
    ended.assert_ends(9, &[("fetched", 2), ("bad_lines", 3)]);
    let lines: Vec<_> = ended.bad_lines().into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [2, 3, 6]);
}

#[test]
fn the_same_line_twice_is_one_entry_and_two_for_one_path_are_none() {
    let file = File::new(10);
    let origin = Origin::new().file("/a", file).file("/b", file.version(2)).start();
    let (a, b) = (origin.url("/a"), origin.url("/b"));
    let place = Place::new();
    place.put("list.tsv", format!("url\tpath\n{a}\tx\n{a}\tx\n{a}\ty\n{b}\ty\n{b}\tz\n{b}\tz\n"));
    let ended = place.run(&["list.tsv"]);
    ended.assert_code(9);
    assert_eq!(ended.count("duplicates"), 2);
    assert!(ended.count("bad_lines") >= 1, "{:#?}", ended.results());
    ended.assert_ends(9, &[]);
    place.assert_right(&[("x".to_owned(), file), ("z".to_owned(), file.version(2))]);
}

#[test]
fn a_path_out_of_the_directory_is_refused_and_the_rest_comes() {
    let file = File::new(10);
    let origin = Origin::new().file("/a", file).start();
    let url = origin.url("/a");
    let place = Place::new();
    let bad = [
        "../up",
        "x/../../up",
        "/tmp/ringpull-absolute",
        "./x",
        "x//y",
        "x/",
        ".ringpull/lock",
        "",
        "x/.",
    ];
    let rows: String = bad
        .iter()
        .map(|path| format!("{}\n", serde_json::json!({"url": url, "path": path})))
        .collect();
    let good = serde_json::json!({"url": url, "path": "good"});
    place.put("list.jsonl", format!("{rows}{good}\n"));
    let ended = place.run(&["list.jsonl"]);
    ended.assert_ends(9, &[("fetched", 1), ("bad_lines", bad.len() as u64)]);
    place.assert_holds(&[("good".to_owned(), file)]);
    assert!(!place.path("up").exists());
    assert!(!std::path::Path::new("/tmp/ringpull-absolute").exists());
}

#[test]
fn names_that_hide_a_way_out_in_their_address_are_refused() {
    let file = File::new(10);
    let origin = Origin::new().file("/a", file).start();
    let place = Place::new();
    let base = origin.url("/");
    place.put("list.txt", "a\n%2e%2e%2fup\n..%2fup\nx%2f..%2f..%2fup\nx%00y\n%2fetc%2fup\n");
    let ended = place.run(&["list.txt", "--base-url", &base]);
    assert!(!place.path("up").exists());
    assert_eq!(ended.count("fetched"), 1, "{:#?}", ended.results());
    assert_eq!(place.names().len(), 1);
    ended.assert_ends(9, &[]);
}

#[test]
fn a_symbolic_link_in_the_way_fails_its_entries_and_is_not_followed() {
    let file = File::new(10);
    let names = ["in/a", "out/b", "link", "dangling", "c"].map(|path| (path.to_owned(), file));
    let origin = origin_of(&names).start();
    let place = Place::new();
    place.put("outside/kept", "kept").put("outside/b", "theirs").put("tree/real/x", "x");
    symlink("real", place.tree("in")).unwrap();
    symlink("../outside", place.tree("out")).unwrap();
    symlink("../outside/kept", place.tree("link")).unwrap();
    symlink("../outside/new", place.tree("dangling")).unwrap();
    place.put("list.tsv", table(&origin, &names));
    let ended = place.run(&["list.tsv"]);
    ended.assert_ends(9, &[("fetched", 1), ("failed", 4)]);
    place.assert_right(&[("c".to_owned(), file)]);
    assert_eq!(fs::read(place.path("outside/b")).unwrap(), b"theirs");
    assert_eq!(fs::read(place.path("outside/kept")).unwrap(), b"kept");
    assert!(!place.path("outside/new").exists() && !place.tree("real/a").exists());
    assert!(fs::symlink_metadata(place.tree("link")).unwrap().is_symlink());
}

#[test]
fn a_file_where_a_directory_is_needed_and_the_other_way_round_fail_alone() {
    let file = File::new(10);
    let names = ["flat/a", "full", "c"].map(|path| (path.to_owned(), file));
    let origin = origin_of(&names).start();
    let place = Place::new();
    place.put("tree/flat", "a file").put("tree/full/x", "x");
    place.put("list.tsv", table(&origin, &names));
    let ended = place.run(&["list.tsv"]);
    ended.assert_ends(9, &[("fetched", 1), ("failed", 2)]);
    assert_eq!(fs::read(place.tree("flat")).unwrap(), b"a file");
    assert_eq!(fs::read(place.tree("full/x")).unwrap(), b"x");
    place.assert_right(&[("c".to_owned(), file)]);
}

#[test]
fn a_path_that_the_list_has_as_file_and_as_directory_is_not_both() {
    let file = File::new(10);
    let names = ["a", "a/b", "a-b", "c"].map(|path| (path.to_owned(), file));
    let origin = Origin::new().file("/x", file).start();
    let url = origin.url("/x");
    let rows: String = names.iter().map(|(path, _)| format!("{url}\t{path}\n")).collect();
    let place = Place::new();
    place.put("list.tsv", format!("url\tpath\n{rows}"));
    let ended = place.run(&["list.tsv"]);
    ended.assert_ends(9, &[("fetched", 3)]);
    place.assert_right(&[("a-b".to_owned(), file), ("c".to_owned(), file)]);
}

#[test]
fn what_is_missing_on_the_server_does_not_stop_the_rest() {
    let files = files(40);
    let there: Vec<_> =
        files.iter().filter(|(path, _)| !path.ends_with("5.bin")).cloned().collect();
    let origin = origin_of(&there).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    let ended = place.run(&["list.tsv"]);
    ended.assert_ends(9, &[("fetched", 36), ("failed", 4)]);
    place.assert_holds(&there);
    assert_eq!(origin.log().len(), 40, "what is missing is asked for once");
}

#[test]
fn a_page_that_answers_for_every_name_is_found_out_by_digest_and_size() {
    let files = files(4);
    let page = |_: &_| {
        Reply::status("200 OK").body(Body::Bytes(b"<html>".to_vec())).set("Content-Length", "6")
    };
    let at = |origin: Origin, (path, _): &(String, File)| origin.at(&format!("/{path}"), page);
    let origin = files.iter().fold(Origin::new(), at).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    place.run(&["list.tsv"]).assert_ends(9, &[("failed", 4)]);
    assert!(place.names().is_empty());
}

#[test]
fn a_list_that_is_not_there_ends_with_one_sentence_and_makes_no_claim() {
    let place = Place::new();
    let ended = place.run(&["nothing.tsv"]);
    ended.assert_code(7);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert_eq!(ended.events.last().unwrap()["sealed"], false);
}

#[test]
fn an_entry_without_bytes_is_a_file_without_bytes() {
    let file = File::new(0);
    let files = [("empty".to_owned(), file)];
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put(
        "list.tsv",
        format!("url\tpath\tsha256\n{}\tempty\t{}\n", origin.url("/empty"), sha256(&file)),
    );
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 1)]);
    place.assert_holds(&files);
    place.run(&["list.tsv"]).assert_ends(0, &[("unchanged", 1)]);
}
