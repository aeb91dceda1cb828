//! Files that change on the server while they are fetched, and servers that flap: what comes is of one
//! version, or nothing is shown.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::runner::{Ended, Place};
use super::{bare_table, table};
use crate::origin::{Body, Cut, File, Origin, Reply, Request, Running, Validator};

const LARGE: u64 = (20 << 20) + 4321;

fn large() -> File {
    File::new(LARGE).seed(8)
}

fn one(file: File) -> [(String, File); 1] {
    [("large".to_owned(), file)]
}

/// Serves one large file; the script is told how many requests came before.
fn scripted(script: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Running {
    let count = AtomicUsize::new(0);
    Origin::new().at("/large", move |request| script(count.fetch_add(1, SeqCst), request)).start()
}

/// Mirrors it with the list that is made for `wanted`.
fn mirror(
    origin: &Running,
    list: fn(&Running, &[(String, File)]) -> String,
    wanted: File,
) -> (Place, Ended) {
    let place = Place::new();
    place.put("list.tsv", list(origin, &one(wanted)));
    let ended = place.run(&["list.tsv"]);
    (place, ended)
}

/// It failed for this reason, and nothing is shown.
fn assert_invisible(place: &Place, ended: &Ended, kinds: &[&str]) {
    ended.assert_ends(9, &[("failed", 1), ("fetched", 0)]);
    let kind = ended.failure("large");
    assert!(kinds.contains(&kind.as_str()), "{kind}: {:#?}", ended.results());
    assert!(place.names().is_empty());
}

#[test]
fn a_large_entry_that_changes_between_two_requests_comes_in_its_new_version() {
    for at in [1, 2, 5] {
        for validator in [Validator::Strong, Validator::Date] {
            let old = large().validator(validator);
            let new = old.version(2);
            let origin = scripted(move |before, request| match before < at {
                true => Reply::honest(&old, request),
                false => Reply::honest(&new, request),
            });
            let (place, ended) = mirror(&origin, bare_table, new);
            ended.assert_ends(0, &[("fetched", 1)]);
            place.assert_holds(&one(new));
        }
    }
}

#[test]
fn a_large_entry_that_changes_to_what_the_list_wants_comes_and_from_it_does_not() {
    let (old, new) = (large(), large().version(2));
    let change = move |before, request: &Request| match before {
        0..3 => Reply::honest(&old, request),
        _ => Reply::honest(&new, request),
    };
    let origin = scripted(change);
    let (place, ended) = mirror(&origin, table, new);
    ended.assert_ends(0, &[("fetched", 1)]);
    place.assert_holds(&one(new));
    let origin = scripted(change);
    let (place, ended) = mirror(&origin, table, old);
    assert_invisible(&place, &ended, &["digest", "changed"]);
    // A list that knows of the new version has it fetched.
    place.put("list.tsv", table(&origin, &one(new)));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 1)]);
    place.assert_holds(&one(new));
}

#[test]
fn a_large_entry_whose_bytes_change_behind_one_etag_is_found_out_by_its_digest() {
    let file = large();
    let origin = scripted(move |before, request| {
        let reply = Reply::honest(&file, request);
        match (before, &reply.body) {
            // The tag of the one, the bytes of the other.
            (1.., Body::File(_, span)) => {
                let body = Body::File(file.version(2), span.clone());
                reply.body(body)
            }
            _ => reply,
        }
    });
    let (place, ended) = mirror(&origin, table, file);
    assert_invisible(&place, &ended, &["digest"]);
}

#[test]
fn a_large_entry_that_gets_longer_or_shorter_comes_in_its_new_length() {
    for size in [LARGE + (1 << 20), LARGE - (1 << 20), 9 << 20, 77, 0] {
        let (old, new) = (large(), File::new(size).seed(8).version(2));
        let origin = scripted(move |before, request| match before {
            0..2 => Reply::honest(&old, request),
            _ => Reply::honest(&new, request),
        });
        let (place, ended) = mirror(&origin, bare_table, new);
        ended.assert_ends(0, &[("fetched", 1)]);
        place.assert_holds(&one(new));
    }
}

#[test]
fn a_large_entry_whose_tag_is_another_in_every_answer_is_right_or_not_shown() {
    for list in [table, bare_table] {
        let file = large();
        let origin = scripted(move |before, request| {
            // As machines do that share a name and not their tags.
            let reply = Reply::honest(&file, &request.without("if-range").without("if-match"));
            reply.set("ETag", &format!("\"machine-{}\"", before % 3))
        });
        let (place, ended) = mirror(&origin, list, file);
        match ended.code {
            Some(0) => place.assert_holds(&one(file)),
            _ => assert_invisible(&place, &ended, &["changed"]),
        }
    }
}

#[test]
fn a_large_entry_that_changes_in_every_answer_is_given_up_and_not_shown() {
    let file = large();
    let origin = scripted(move |before, request| {
        Reply::honest(&file.version(before as u64 + 1), request).cut(3 << 20, Cut::Reset)
    });
    let (place, ended) = mirror(&origin, bare_table, file);
    assert_invisible(&place, &ended, &["changed"]);
}

#[test]
fn large_bodies_that_end_too_early_are_gone_on_with() {
    for cut in [Cut::Reset, Cut::Close] {
        let file = large();
        let origin = scripted(move |before, request| {
            let reply = Reply::honest(&file, request);
            if before < 9 { reply.cut(700_001, cut) } else { reply }
        });
        let (place, ended) = mirror(&origin, bare_table, file);
        ended.assert_ends(0, &[("fetched", 1)]);
        place.assert_holds(&one(file));
    }
}

#[test]
fn a_server_that_flaps_between_503_and_206_brings_a_large_entry_whole() {
    let file = large();
    let origin = scripted(move |before, request| match before % 3 {
        1 if before < 15 => Reply::status("503 Service Unavailable").set("Retry-After", "0"),
        _ => Reply::honest(&file, request),
    });
    let (place, ended) = mirror(&origin, table, file);
    ended.assert_ends(0, &[("fetched", 1)]);
    place.assert_holds(&one(file));
}

#[test]
fn a_storm_of_429_over_the_parts_of_a_large_entry_is_outlived() {
    let file = large();
    let origin = scripted(move |before, request| match before {
        1..6 => Reply::status("429 Too Many Requests").set("Retry-After", "0"),
        _ => Reply::honest(&file, request),
    });
    let (place, ended) = mirror(&origin, bare_table, file);
    ended.assert_ends(0, &[("fetched", 1)]);
    place.assert_holds(&one(file));
}

#[test]
fn a_server_that_only_ever_says_503_fails_its_entries_and_keeps_what_is_there() {
    let files: Vec<_> = (0..4).map(|at| (format!("f{at}"), File::new(50).seed(at))).collect();
    let busy = |_: &Request| Reply::status("503 Service Unavailable").set("Retry-After", "0");
    let at = |origin: Origin, (path, _): &(String, File)| origin.at(&format!("/{path}"), busy);
    let origin = files.iter().fold(Origin::new(), at).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files)).put("tree/f0", "old").put("tree/x", "extra");
    let ended = place.run(&["list.tsv", "--retries", "1", "--delete"]);
    ended.assert_ends(9, &[("failed", 4), ("deleted", 0)]);
    assert!(files.iter().all(|(path, _)| ended.failure(path) == "unavailable"));
    assert_eq!(std::fs::read(place.tree("f0")).unwrap(), b"old");
    assert!(place.tree("x").exists());
}

#[test]
fn small_entries_that_change_in_every_attempt_are_of_one_version() {
    let files: Vec<_> = (0..6).map(|at| (format!("f{at}"), File::new(9000).seed(at))).collect();
    let serve = |origin: Origin, (path, file): &(String, File)| {
        let file = *file;
        origin.at(&format!("/{path}"), move |request| {
            // A server that cut every answer would be left alone.
            let (is_cut, version) = match file.seed % 3 {
                0 => (request.nth < 2, request.nth as u64 + 1),
                _ => (false, 3),
            };
            let reply = Reply::honest(&file.version(version), request);
            if is_cut { reply.cut(5000, Cut::Reset) } else { reply }
        })
    };
    let origin = files.iter().fold(Origin::new(), serve).start();
    let place = Place::new();
    place.put("list.tsv", bare_table(&origin, &files));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 6)]);
    let new: Vec<_> = files.iter().map(|(path, file)| (path.clone(), file.version(3))).collect();
    place.assert_holds(&new);
}

#[test]
fn a_file_that_changes_between_its_index_and_its_fetch_fails_and_is_right_next_time() {
    let file = File::new(900).seed(3);
    let walks = AtomicUsize::new(0);
    let page = move |_: &Request| {
        // The first index is of the version before.
        let size = if walks.fetch_add(1, SeqCst) == 0 { 800 } else { 900 };
        let date = httpdate::fmt_http_date(file.modified());
        let record = serde_json::json!(
            [{"name": "a", "type": "file", "size": size, "mtime": date}]
        );
        let page = record.to_string();
        let reply = Reply::status("200 OK").set("Content-Length", &page.len().to_string());
        reply.set("Content-Type", "application/json").body(Body::Bytes(page.into_bytes()))
    };
    let origin = Origin::new().at("/d/", page).file("/d/a", file).start();
    let place = Place::new();
    let url = origin.url("/d/");
    place.run(&[&url]).assert_ends(9, &[("failed", 1)]);
    assert!(place.names().is_empty());
    place.run(&[&url]).assert_ends(0, &[("fetched", 1)]);
    place.assert_holds(&[("a".to_owned(), file)]);
}
