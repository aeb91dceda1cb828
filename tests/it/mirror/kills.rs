//! Death at moments that the origin chooses, and readers who look at the tree all the while.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

use rustix::process::Signal;

use super::runner::Place;
use super::{bare_table, files, origin_of, table};
use crate::origin::{File, Latch, Origin, Reply, Running};

/// Serves `files`; from request number `from` on, all answers wait for the latch, their bodies if `in_body`.
fn stopping(files: &[(String, File)], from: usize, in_body: bool, latch: &Latch) -> Running {
    let count = Arc::new(AtomicU64::new(0));
    let serve = |origin: Origin, (path, file): &(String, File)| {
        let (count, latch) = (count.clone(), latch.clone());
        origin.bent(&format!("/{path}"), *file, move |_, reply| {
            let is_held = count.fetch_add(1, SeqCst) >= from as u64;
            match (is_held, in_body) {
                (true, true) => reply.body_after(&latch),
                (true, false) => reply.after(&latch),
                _ => reply,
            }
        })
    };
    files.iter().fold(Origin::new(), serve).start()
}

/// The files that can be seen are right.
fn assert_visible_right(place: &Place, files: &[(String, File)]) -> usize {
    let there: Vec<_> =
        files.iter().filter(|(path, _)| place.tree(path).exists()).cloned().collect();
    place.assert_right(&there);
    assert_eq!(place.names().len(), there.len(), "only files of the list can be seen");
    there.len()
}

#[test]
fn a_run_that_is_killed_at_any_request_is_completed_by_the_next() {
    let files = files(40);
    for list in [table, bare_table] {
        for from in [0, 1, 5, 17, 36] {
            for in_body in [false, true] {
                let latch = Latch::default();
                let origin = stopping(&files, from, in_body, &latch);
                let place = Place::new();
                place.put("list.tsv", list(&origin, &files));
                let started = place.start(&["list.tsv"]);
                origin.wait_for_requests(from + 1);
                started.signal(Signal::KILL);
                assert_eq!(started.end_or_die().code, None);
                latch.open();
                assert_visible_right(&place, &files);
                let next = place.run(&["list.tsv"]);
                next.assert_ends(0, &[("entries", 40), ("failed", 0)]);
                place.assert_holds(&files);
                place.run(&["list.tsv"]).assert_ends(0, &[("unchanged", 40)]);
            }
        }
    }
}

#[test]
fn runs_that_are_killed_one_after_the_other_get_there_in_the_end() {
    let files = files(60);
    let place = Place::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // Nobody else gets this port meanwhile.
    let address = listener.local_addr().unwrap();
    let url = |path: &str| format!("http://{address}/{path}");
    let line = |(path, file): &(String, File)| {
        format!("{}\t{path}\t{}\t{}\n", url(path), file.size, super::sha256(file))
    };
    let lines: String = files.iter().map(line).collect();
    place.put("list.tsv", format!("url\tpath\tsize\tsha256\n{lines}"));
    let mut seen = 0;
    for round in 0..4 {
        let latch = Latch::default();
        let origin = stopping_on(&listener, &files, 9 + round, &latch);
        let started = place.start(&["list.tsv"]);
        origin.wait_for_requests(9 + round);
        started.signal(Signal::KILL);
        assert_eq!(started.end_or_die().code, None);
        latch.open();
        let now = assert_visible_right(&place, &files);
        assert!(now >= seen, "what was there is there");
        seen = now;
    }
    let origin = origin_of(&files).start_on(listener);
    place.run(&["list.tsv"]).assert_ends(0, &[("entries", 60), ("failed", 0)]);
    place.assert_holds(&files);
    assert_eq!(origin.log().len(), 60 - seen, "what is right is not fetched again");
}

fn stopping_on(
    listener: &std::net::TcpListener,
    files: &[(String, File)],
    from: usize,
    latch: &Latch,
) -> Running {
    let count = Arc::new(AtomicU64::new(0));
    let serve = |origin: Origin, (path, file): &(String, File)| {
        let (count, latch) = (count.clone(), latch.clone());
        origin.bent(&format!("/{path}"), *file, move |_, reply| {
            match count.fetch_add(1, SeqCst) >= from as u64 {
                true => reply.after(&latch),
                false => reply,
            }
        })
    };
    files.iter().fold(Origin::new(), serve).start_on(listener.try_clone().unwrap())
}

#[test]
fn a_large_entry_whose_run_is_killed_is_gone_on_with() {
    let file = File::new(24 << 20).seed(6);
    let wanted = [("large".to_owned(), file)];
    let origin = origin_of(&wanted).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &wanted));
    for bytes in [1 << 20, 12 << 20] {
        let before = origin.served_bytes();
        let started = place.start(&["list.tsv"]);
        place.wait_until(|| origin.served_bytes() - before > bytes);
        started.signal(Signal::KILL);
        started.end_or_die();
        assert_visible_right(&place, &wanted);
    }
    let last = place.run(&["list.tsv"]);
    assert_eq!(last.count("failed"), 0);
    place.assert_holds(&wanted);
}

#[test]
fn a_large_entry_that_somebody_holds_is_waited_for_and_then_fails_alone() {
    let wanted =
        [("large".to_owned(), File::new(10 << 20).seed(6)), ("x".to_owned(), File::new(7))];
    let latch = Latch::default();
    let origin = stopping(&wanted, 0, true, &latch);
    let place = Place::new();
    place.put("list.tsv", table(&origin, &wanted));
    let large = || fs::read_dir(place.tree(".ringpull/large")).into_iter().flatten().flatten();
    let part = || large().find(|found| found.path().extension().is_some_and(|end| end == "part"));
    let started = place.start(&["list.tsv"]);
    place.wait_until(|| part().is_some());
    started.signal(Signal::KILL);
    started.end_or_die();
    latch.open();
    let held = fs::File::open(part().unwrap().path()).unwrap();
    place.wait_until(|| {
        rustix::fs::flock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok()
    });
    let ended = place.run(&["list.tsv"]);
    ended.assert_ends(9, &[("failed", 1), ("fetched", 1)]);
    assert_eq!(
        (ended.failure("large"), &ended.result("large")["attempts"]),
        ("exists".into(), &4.into())
    );
    drop(held);
    place.run(&["list.tsv"]).assert_ends(0, &[("unchanged", 1), ("fetched", 1)]);
    place.assert_holds(&wanted);
}

#[test]
fn a_reader_never_sees_anything_but_a_whole_file_of_one_version() {
    let files = files(30);
    let version = Arc::new(AtomicU64::new(1));
    let serve = |origin: Origin, (path, file): &(String, File)| {
        let (file, version) = (*file, version.clone());
        origin.at(&format!("/{path}"), move |request| {
            Reply::honest(&file.version(version.load(SeqCst)), request)
        })
    };
    let origin = files.iter().fold(Origin::new(), serve).start();
    let place = Place::new();
    place.put("list.tsv", bare_table(&origin, &files));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| read_over_and_over(&place, &files, &is_over));
        for now in 1..=5 {
            version.store(now, SeqCst);
            let ended = place.run(&["list.tsv"]);
            assert_eq!((ended.code, ended.count("failed")), (Some(0), 0));
        }
        is_over.store(true, SeqCst);
        assert!(reader.join().unwrap() > 0, "it has seen something");
    });
    let last = files.iter().map(|(path, file)| (path.clone(), file.version(5)));
    place.assert_holds(&last.collect::<Vec<_>>());
}

/// Reads what can be seen until it is told to end; how many files it has seen.
fn read_over_and_over(place: &Place, files: &[(String, File)], is_over: &AtomicBool) -> u64 {
    let mut seen = 0;
    loop {
        let is_last = is_over.load(SeqCst);
        for (path, file) in files {
            let Ok(bytes) = fs::read(place.tree(path)) else { continue };
            seen += 1;
            let is_whole = (1..=5).any(|version| file.version(version).whole() == bytes);
            assert!(is_whole, "{path} with {} bytes is of no version", bytes.len());
        }
        if is_last {
            return seen;
        }
    }
}
