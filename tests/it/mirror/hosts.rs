//! Servers that object, flap, lie about lengths, or are not there; and large entries beside small ones.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::runner::Place;
use super::{bare_table, files, origin_of, sha256, table};
use crate::origin::{Cut, File, Origin, Reply, Request};

/// Serves `files`, each reply bent by `script`, which is told how many requests came before, of all.
fn bent(
    files: &[(String, File)],
    script: impl Fn(usize, &Request, Reply) -> Reply + Send + Sync + Clone + 'static,
) -> Origin {
    let count = Arc::new(AtomicUsize::new(0));
    let serve = |origin: Origin, (path, file): &(String, File)| {
        let (count, script) = (count.clone(), script.clone());
        origin.bent(&format!("/{path}"), *file, move |request, reply| {
            script(count.fetch_add(1, SeqCst), request, reply)
        })
    };
    files.iter().fold(Origin::new(), serve)
}

#[test]
fn a_storm_of_429_that_asks_for_no_time_is_outlived() {
    let files = files(24);
    let origin = bent(&files, |before, _, reply| match before {
        4..12 => Reply::status("429 Too Many Requests").set("Retry-After", "0"),
        _ => reply,
    });
    let origin = origin.start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 24)]);
    place.assert_holds(&files);
}

#[test]
fn a_storm_of_429_that_asks_for_a_second_is_outlived() {
    let files = files(16);
    let origin = bent(&files, |before, _, reply| match before {
        3..7 => Reply::status("429 Too Many Requests").set("Retry-After", "1"),
        _ => reply,
    });
    let origin = origin.start();
    let place = Place::new();
    place.put("list.tsv", bare_table(&origin, &files));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 16)]);
    place.assert_holds(&files);
}

#[test]
fn a_burst_of_403_after_success_is_waited_out() {
    let files = files(20);
    let origin = bent(&files, |before, _, reply| match before {
        8..13 => Reply::status("403 Forbidden"),
        _ => reply,
    });
    let origin = origin.start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 20)]);
    place.assert_holds(&files);
}

#[test]
fn a_403_before_any_success_is_final_and_asked_for_once() {
    let files = files(5);
    let origin = bent(&files, |_, _, _| Reply::status("403 Forbidden")).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    let ended = place.run(&["list.tsv"]);
    ended.assert_ends(9, &[("failed", 5)]);
    assert_eq!(origin.log().len(), 5);
}

#[test]
fn a_server_whose_answers_flap_between_503_and_200_is_outlived() {
    let files = files(24);
    let origin = bent(&files, |_, request, reply| match request.nth {
        0 if request.path.ends_with("3.bin") => Reply::status("503 Service Unavailable"),
        _ => reply,
    });
    let origin = origin.start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 24)]);
    place.assert_holds(&files);
}

#[test]
fn bodies_that_are_cut_short_are_asked_for_again_and_never_shown() {
    for cut in [Cut::Reset, Cut::Close] {
        for with_digest in [true, false] {
            let files = files(12);
            let origin = bent(&files, move |_, request, reply| match request.nth {
                0 if request.path.ends_with("7.bin") => reply.cut(50, cut),
                _ => reply,
            });
            let origin = origin.start();
            let place = Place::new();
            let list = if with_digest { table } else { bare_table };
            place.put("list.tsv", list(&origin, &files));
            place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 12)]);
            place.assert_holds(&files);
        }
    }
}

#[test]
fn a_body_without_length_that_ends_early_is_found_out() {
    let file = File::new(9000);
    let files = [("a".to_owned(), file)];
    let origin = bent(&files, |_, request, reply| match request.nth {
        // The end of the connection looks like that of the body.
        0 => {
            Reply { cut: Some((4000, Cut::Close)), ..reply.without("Accept-Ranges").until_close() }
        }
        _ => reply,
    });
    let origin = origin.start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 1)]);
    place.assert_holds(&files);
}

#[test]
fn chunked_bodies_arrive_whole_and_one_without_its_end_does_not() {
    let files = files(8);
    let origin = bent(&files, |_, request, reply| {
        let chunked = reply.chunked(&[1, 1000, 7]);
        match request.nth {
            0 if request.path.ends_with("3.bin") => chunked.cut(2000, Cut::Close),
            _ => chunked,
        }
    });
    let origin = origin.start();
    let place = Place::new();
    place.put("list.tsv", bare_table(&origin, &files));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 8)]);
    place.assert_holds(&files);
}

#[test]
fn a_server_that_resets_every_other_connection_is_outlived() {
    let files = files(16);
    let origin = bent(&files, |before, _, reply| match before % 3 {
        1 => Reply::hang_up(),
        _ => reply,
    });
    let origin = origin.start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    place.run(&["list.tsv", "--per-host", "2"]).assert_ends(0, &[("fetched", 16)]);
    place.assert_holds(&files);
}

#[test]
fn a_dead_host_beside_a_live_one_fails_its_own_entries() {
    let files = files(30);
    let origin = origin_of(&files).start();
    // Nobody listens there any more.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let digest = sha256(&File::new(9));
    let lost: String =
        (0..30).map(|at| format!("http://{dead}/x{at}\tlost/x{at}\t\t{digest}\n")).collect();
    let place = Place::new();
    // What is right here needs no host, however dead.
    for at in 20..30 {
        place.put(&format!("tree/lost/x{at}"), File::new(9).whole());
    }
    place.put("list.tsv", format!("{}{lost}", table(&origin, &files)));
    let ended = place.run(&["list.tsv", "--retries", "1", "--failures", "failed.jsonl"]);
    let counts = [("entries", 60), ("fetched", 30), ("unchanged", 10), ("failed", 20)];
    ended.assert_ends(9, &counts);
    assert_eq!(ended.failure("lost/x7"), "connect");
    place.assert_right(&files);
    let failed = std::fs::read_to_string(place.path("failed.jsonl")).unwrap();
    assert_eq!(failed.lines().count(), 20);
}

const LARGE: u64 = (20 << 20) + 12345;

#[test]
fn a_large_entry_comes_over_several_connections_beside_small_ones() {
    let mut files = files(20);
    files.push(("large/one.iso".to_owned(), File::new(LARGE).seed(99)));
    let origin = origin_of(&files).start();
    let place = Place::new();
    for (list, second) in [(table as fn(&_, &_) -> _, 0), (bare_table, 21)] {
        place.put("list.tsv", list(&origin, &files));
        let _ = std::fs::remove_dir_all(place.tree(""));
        place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 21)]);
        place.assert_holds(&files);
        let before = origin.log().len();
        let again = place.run(&["list.tsv"]);
        again.assert_ends(0, &[("unchanged", 21), ("fetched", 0)]);
        assert_eq!(origin.log().len() - before, second);
    }
    let ranges = origin.log().iter().filter(|request| request.range.is_some()).count();
    assert!(ranges > 1, "parts of the large one are asked for apart");
}

#[test]
fn a_large_entry_with_a_wrong_digest_is_never_shown() {
    let file = File::new(LARGE);
    let wanted = [("large".to_owned(), file), ("small".to_owned(), File::new(77))];
    let origin = Origin::new().file("/large", file.version(2)).file("/small", wanted[1].1).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &wanted));
    let ended = place.run(&["list.tsv"]);
    ended.assert_ends(9, &[("fetched", 1), ("failed", 1)]);
    assert_eq!(ended.failure("large"), "digest");
    place.assert_holds(&wanted[1..]);
}

#[test]
fn a_large_entry_of_a_server_without_ranges_comes_too() {
    let file = File::new(LARGE);
    let wanted = [("large".to_owned(), file)];
    let origin = Origin::new()
        .at("/large", move |request| {
            Reply::honest(&file, &request.without("range")).without("Accept-Ranges")
        })
        .start();
    let place = Place::new();
    place.put("list.tsv", bare_table(&origin, &wanted));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 1)]);
    place.assert_holds(&wanted);
}

#[test]
fn a_large_entry_whose_connections_are_cut_comes_all_the_same() {
    let file = File::new(LARGE);
    let wanted = [("large".to_owned(), file)];
    let origin = bent(&wanted, |before, _, reply| match before {
        1..4 => reply.cut(300_000, Cut::Reset),
        _ => reply,
    });
    let origin = origin.start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &wanted));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 1)]);
    place.assert_holds(&wanted);
}

#[test]
fn entries_small_and_large_come_right_under_a_limit_of_their_rate() {
    let mut files = files(12);
    files.push(("large".to_owned(), File::new(9 << 20).seed(3)));
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    place.run(&["list.tsv", "--limit-rate", "16M"]).assert_ends(0, &[("fetched", 13)]);
    place.assert_holds(&files);
}

#[test]
fn entries_above_the_largest_size_are_refused_and_the_rest_comes() {
    let wanted =
        [("big", 5000), ("ok", 100)].map(|(path, size)| (path.to_owned(), File::new(size)));
    let origin = origin_of(&wanted).start();
    let place = Place::new();
    place.put("list.tsv", bare_table(&origin, &wanted));
    let ended = place.run(&["list.tsv", "--max-filesize", "1k"]);
    ended.assert_ends(9, &[("fetched", 1), ("failed", 1)]);
    assert_eq!(ended.failure("big"), "refused");
    place.assert_holds(&wanted[1..]);
}

#[test]
fn no_more_connections_are_opened_to_a_host_than_allowed() {
    let files = files(60);
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    place.run(&["list.tsv", "--per-host", "3"]).assert_ends(0, &[("fetched", 60)]);
    let most = origin.log().iter().map(|request| request.open).max().unwrap();
    assert!(most <= 3, "{most} connections at a time");
    assert!(origin.connections() <= 6, "{} connections for 60 files", origin.connections());
}

#[test]
fn a_host_is_not_asked_more_often_than_the_rate_says() {
    let files = files(5);
    let times = Arc::new(Mutex::new(Vec::new()));
    let mut origin = Origin::new();
    for (path, file) in &files {
        let times = Arc::clone(&times);
        origin = origin.bent(&format!("/{path}"), *file, move |_, honest| {
            times.lock().unwrap().push(Instant::now());
            honest
        });
    }
    let origin = origin.start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    place.run(&["list.tsv", "--request-rate", "10"]).assert_ends(0, &[("fetched", 5)]);
    place.assert_holds(&files);
    let times = times.lock().unwrap();
    // The first may have been late, and the last cannot be early.
    assert!(times[4] - times[0] > Duration::from_millis(200), "{:?}", times[4] - times[0]);
    let refused = place.run(&["list.tsv", "--request-rate", "0"]);
    refused.assert_code(2);
    assert!(refused.stderr.contains("0.001"), "{}", refused.stderr);
}

#[test]
fn a_redirect_is_followed_and_the_file_is_called_as_the_list_says() {
    let file = File::new(3000);
    let origin = Origin::new()
        .at("/a", |_| Reply::redirect("302 Found", "/store/b?token=1"))
        .file("/store/b?token=1", file)
        .start();
    let place = Place::new();
    let wanted = [("a".to_owned(), file)];
    place.put("list.tsv", bare_table(&origin, &wanted));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 1)]);
    place.assert_holds(&wanted);
    place.run(&["list.tsv"]).assert_ends(0, &[("unchanged", 1)]);
}

#[test]
fn credentials_go_to_the_server_that_the_list_came_from_and_to_no_other_in_it() {
    let file = File::new(300);
    let other = Origin::new().file("/b", file).start();
    let there = other.url("/b");
    let origin = Origin::new()
        .file("/a", file)
        .at("/list.tsv", move |_| {
            let list = format!("url\tpath\n/a\ta\n{there}\tb\n").into_bytes();
            Reply::status("200 OK")
                .set("Content-Length", &list.len().to_string())
                .body(crate::origin::Body::Bytes(list))
        })
        .start();
    let place = Place::new();
    place
        .run(&[origin.url("/list.tsv").as_str(), "-H", "X-Secret: s", "--retries", "0"])
        .assert_code(0);
    assert!(origin.log().iter().all(|request| request.header("x-secret") == Some("s")));
    assert_eq!(other.log()[0].header("x-secret"), None);
}
