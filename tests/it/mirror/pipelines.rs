//! Small entries with size and digest wait in line for each other's answers. Servers that cannot have that,
//! or gain nothing by it, are asked over several connections, and no file is the worse for it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::runner::Place;
use super::{bare_table, files, origin_of, table};
use crate::origin::{Certificate, Cut, File, Latch, Origin, Reply, Request, Running};

/// Entries that are small, each of its own size.
fn small(count: u64) -> Vec<(String, File)> {
    let file = |nth| (format!("d{}/f{nth}", nth % 3), File::new(900 + nth).seed(nth));
    (0..count).map(file).collect()
}

/// Serves files with a script that bends their honest answers.
fn bent(
    files: &[(String, File)],
    script: impl Fn(&File, &Request, Reply) -> Reply + Clone + Send + Sync + 'static,
) -> Running {
    let bend = |origin: Origin, (path, file): &(String, File)| {
        let script = script.clone();
        let file = *file;
        origin.bent(&format!("/{path}"), file, move |request, reply| script(&file, request, reply))
    };
    files.iter().fold(Origin::new(), bend).start()
}

/// Mirrors what is served, which must all come right, with so many threads.
fn mirror(origin: &Running, files: &[(String, File)], threads: &str) {
    let place = Place::new();
    place.put("list.tsv", table(origin, files));
    let ended = place.run(&["list.tsv", "--threads", threads]);
    ended.assert_ends(0, &[("fetched", files.len() as u64), ("failed", 0)]);
    place.assert_holds(files);
}

fn in_line(origin: &Running) -> usize {
    origin.log().iter().filter(|request| request.has_followers).count()
}

#[test]
fn entries_with_size_and_digest_wait_in_line_and_no_others() {
    let files = small(60);
    let origin = origin_of(&files).start();
    mirror(&origin, &files, "1");
    assert!(in_line(&origin) > 0, "nobody waited in line");
    assert!(origin.connections() <= 8, "{} connections", origin.connections());
    assert_eq!(origin.log().len(), 60, "each is asked for once");

    let place = Place::new();
    place.put("list.tsv", bare_table(&origin, &files));
    let before = in_line(&origin);
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 60)]);
    place.assert_holds(&files);
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    place.run(&["list.tsv", "--limit-rate", "10M"]).assert_ends(0, &[("fetched", 60)]);
    assert_eq!(in_line(&origin), before, "a body without a digest, or under a rate");
}

#[test]
fn a_server_that_answers_out_of_turn_is_found_out_and_asked_one_by_one() {
    let files = small(40);
    let origin = bent(&files, |file, request, reply| match request.has_followers {
        // The bytes of another, as many as were asked for: nothing but the digest tells.
        true => Reply::whole(&file.seed(99)),
        false => reply,
    });
    mirror(&origin, &files, "1");
    let asked = origin.log().len();
    assert!(asked < 60, "{asked} requests for 40 files");
}

#[test]
fn a_server_that_hears_the_first_request_alone_is_asked_over_other_connections() {
    let files = small(30);
    let lost = std::sync::Arc::new(AtomicUsize::new(0));
    let count = lost.clone();
    let never = Latch::default();
    let latch = never.clone();
    let origin = bent(&files, move |_, request, reply| match request.turn {
        // The second on a connection in which others wait hears nothing.
        turn if turn > 0 && request.has_followers => {
            count.fetch_add(1, Relaxed);
            reply.after(&latch)
        }
        _ => reply,
    });
    mirror(&origin, &files, "1");
    never.open();
    assert!(lost.load(Relaxed) <= 2, "{} lines were tried", lost.load(Relaxed));
}

#[test]
fn connections_that_close_after_a_few_answers_cost_nobody_a_file() {
    let files = small(60);
    for every in [1, 2, 3, 9] {
        let origin = bent(&files, move |_, request, reply| match request.turn + 1 == every {
            true => reply.closing(),
            false => reply,
        });
        mirror(&origin, &files, "2");
        let asked = origin.log().len();
        assert!(asked <= 60 + 8, "{asked} requests for 60 files, closed after {every}");
    }
}

#[test]
fn connections_that_are_cut_between_two_answers_cost_nobody_a_file() {
    let files = small(40);
    for cut in [Cut::Close, Cut::Reset] {
        let origin = bent(&files, move |_, request, reply| match (request.turn, request.nth) {
            (3, 0) => reply.cut_head(0, cut),
            (5, 0) => reply.cut(100, cut),
            _ => reply,
        });
        mirror(&origin, &files, "2");
    }
}

#[test]
fn an_answer_that_is_not_plain_reaches_its_entry_alone() {
    let files = small(48);
    let origin = bent(&files, |_, request, reply| match request.turn % 8 {
        2 => reply.chunked(&[7, 300]),
        3 => reply.interim("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 2),
        5 => reply.until_close(),
        6 if request.nth == 0 => Reply::status("503 Service Unavailable"),
        7 => reply.dribble(200, std::time::Duration::from_millis(1)),
        _ => reply,
    });
    mirror(&origin, &files, "1");
}

#[test]
fn what_is_missing_or_moved_in_the_midst_of_a_line_is_that_of_its_entry() {
    let mut files = small(30);
    let (gone, moved) = (files[11].0.clone(), files[17].clone());
    let bend = |origin: Origin, (path, file): &(String, File)| match path {
        path if *path == gone => origin,
        path if *path == moved.0 => origin
            .at(&format!("/{path}"), |_| Reply::redirect("302 Found", "/elsewhere"))
            .file("/elsewhere", *file),
        path => origin.file(&format!("/{path}"), *file),
    };
    let origin = files.iter().fold(Origin::new(), bend).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    let ended = place.run(&["list.tsv", "--threads", "1"]);
    ended.assert_ends(9, &[("fetched", 29), ("failed", 1)]);
    files.remove(11);
    place.assert_holds(&files);
}

#[test]
fn a_body_that_is_much_longer_than_the_list_says_fails_its_entry_and_no_other() {
    let files = small(30);
    let long = File::new(3 << 20);
    let path = format!("/{}", files[13].0);
    let origin = files.iter().filter(|(other, _)| format!("/{other}") != path);
    let origin = origin
        .fold(Origin::new(), |origin, (other, file)| origin.file(&format!("/{other}"), *file));
    let origin = origin.file(&path, long).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    let ended = place.run(&["list.tsv", "--threads", "1"]);
    ended.assert_ends(9, &[("fetched", 29), ("failed", 1)]);
}

#[test]
fn a_server_that_thinks_about_each_answer_is_asked_over_several_connections() {
    let files = small(120);
    let think = std::time::Duration::from_millis(25);
    let origin = bent(&files, move |_, _, reply| reply.dribble_head(1 << 10, think));
    mirror(&origin, &files, "1");
    let (log, all) = (origin.log(), 120);
    let late = log.iter().skip(all * 2 / 3).filter(|request| request.has_followers).count();
    assert_eq!(late, 0, "it is still asked in line");
}

#[test]
fn over_tls_they_wait_in_line_too() {
    let files = small(40);
    let certificate = Certificate::valid_for("127.0.0.1");
    let authority = certificate.authority_pem.clone();
    let origin = files.iter().fold(Origin::new().tls(certificate), |origin, (path, file)| {
        origin.file(&format!("/{path}"), *file)
    });
    let origin = origin.start();
    let place = Place::new();
    place.put("ca.pem", &authority);
    place.put("list.tsv", table(&origin, &files));
    let ended = place.run(&["list.tsv", "--cacert", "ca.pem", "--threads", "1"]);
    ended.assert_ends(0, &[("fetched", 40)]);
    place.assert_holds(&files);
    assert!(origin.connections() <= 8, "{} connections", origin.connections());
    assert_eq!(origin.log().len(), 40);
}

#[test]
fn lines_and_other_requests_share_the_connections_that_a_host_gets() {
    let files = files(80);
    let origin = origin_of(&files).start();
    let place = Place::new();
    // Every other entry has no digest.
    let (checked, bare) = (table(&origin, &files), bare_table(&origin, &files));
    let lines = checked.lines().zip(bare.lines()).enumerate().map(|(at, (checked, bare))| {
        let columns = checked.matches('\t').count() - bare.matches('\t').count();
        match at {
            at if at % 2 == 0 => format!("{checked}\n"),
            _ => format!("{bare}{}\n", "\t".repeat(columns)),
        }
    });
    place.put("list.tsv", lines.collect::<String>());
    place.run(&["list.tsv", "--per-host", "4"]).assert_ends(0, &[("fetched", 80)]);
    place.assert_holds(&files);
    let most = origin.log().iter().map(|request| request.open).max().unwrap();
    assert!(most <= 4, "{most} connections at a time");
}
