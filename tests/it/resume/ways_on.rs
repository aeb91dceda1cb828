//! What goes on: every way to stop, and what the next run makes of it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;

use rustix::process::Signal;

use super::{GOT, Halves, SIZE, ledger, part};
use crate::harness::{PROGRAM, Run};
use crate::origin::{Cut, File, Origin, Reply};
use crate::ways::backends;

#[test]
fn the_same_command_goes_on_and_says_how_much_was_there() {
    for io in backends() {
        for write in ["direct", "buffered", "mmap"] {
            let halves = Halves::new();
            let first = halves.begun_by(|run| run.args(["--io", io, "--write", write]));
            first.assert_fails(3, &[]);
            let served = halves.origin.served_bytes();
            let next = halves.again(&first).args(["--io", io, "--write", write, "--json"]).finish();
            next.assert_gives("f.bin", &halves.file);
            assert_eq!(halves.origin.served_bytes() - served, SIZE - GOT, "{io}, {write}");
            let done = next.event("done");
            assert_eq!(done["resumed_bytes"], GOT);
            assert_eq!(done["bytes"], SIZE);
            assert_eq!(done["verified"], "one_version", "one answer did not bring all of it");
            let notice = next.event("notice");
            assert!(notice["message"].to_string().contains("1.00 MiB of 2.00 MiB"), "{notice}");
        }
    }
}

#[test]
fn another_way_to_write_goes_on_with_the_same_file() {
    for (before, after) in
        [("direct", "mmap"), ("direct", "buffered"), ("mmap", "direct"), ("buffered", "mmap")]
    {
        let halves = Halves::new();
        let first = halves.begun_by(|run| run.args(["--write", before]));
        let next = halves.again(&first).args(["--write", after]).finish();
        next.assert_gives("f.bin", &halves.file);
        assert!(next.stderr.contains("going on"), "{}", next.stderr);
    }
}

#[test]
fn padding_of_an_earlier_run_is_cut_off() {
    // The last block, which a direct write pads, lands first.
    for after in ["direct", "buffered", "mmap"] {
        let file = File::new(SIZE);
        let origin = Origin::new()
            .bent("/f.bin", file, |request, reply| match request.range.clone() {
                Some(range) if range.start == 0 && request.nth == 0 => reply.cut(10, Cut::Stall),
                _ => reply,
            })
            .start();
        let url = origin.url("/f.bin");
        let args = ["-b", "64k", "-c", "2"];
        let run = Run::new(&url).args(args).args(["--write", "direct", "--max-time", "1"]);
        let first = run.finish();
        first.assert_fails(3, &[]);
        assert!(fs::metadata(part(&first)).unwrap().len() > SIZE, "it was padded");
        let next = first.again(&url).args(args).args(["--write", after]).finish();
        next.assert_gives("f.bin", &file);
    }
}

#[test]
fn every_end_with_something_landed_can_be_gone_on_with() {
    let signals = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)];
    let ways = ["auto", "direct", "buffered", "mmap"].into_iter();
    for ((signal, code), write) in ways.flat_map(|write| signals.map(|signal| (signal, write))) {
        let file = File::new(SIZE);
        let origin = Origin::new()
            .bent("/f.bin", file, |request, reply| match request.nth {
                0 => reply.cut(GOT, Cut::Stall),
                _ => reply,
            })
            .start();
        let args = ["-b", "64k", "-c", "1", "--write", write];
        let run = Run::new(&origin.url("/f.bin")).args(args).env("RINGPULL_LINE_BYTES", "65536");
        let started = run.start();
        // The first line of the ledger that names bytes tells that something has landed.
        started.wait_for_file(".ledger", "written");
        started.signal(signal);
        let first = started.finish();
        first.assert_fails(code, &[]);
        let next = first.again(&origin.url("/f.bin")).args(args).finish();
        next.assert_gives("f.bin", &file);
        assert!(next.stderr.contains("going on"), "{}", next.stderr);
    }
}

#[test]
fn a_refusal_in_the_middle_leaves_what_landed() {
    for (status, code) in [("403 Forbidden", 5), ("500 Internal Server Error", 5)] {
        let file = File::new(SIZE);
        let refuses = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
        let asked = refuses.clone();
        let origin = Origin::new()
            .bent("/f.bin", file, move |request, reply| match request.nth {
                0 => reply.cut(GOT, Cut::Close),
                _ if asked.load(SeqCst) => Reply::status(status),
                _ => reply,
            })
            .start();
        let args = ["-b", "64k", "-c", "1", "--retries", "1"];
        let first = Run::new(&origin.url("/f.bin")).args(args).finish();
        first.assert_fails(code, &[]);
        // A refusal of the whole run is no reason to forget either.
        let second = first.again(&origin.url("/f.bin")).args(args).finish();
        second.assert_fails(code, &[]);
        refuses.store(false, SeqCst);
        let next = second.again(&origin.url("/f.bin")).args(args).finish();
        next.assert_gives("f.bin", &file);
        assert!(next.stderr.contains("1.00 MiB of 2.00 MiB are there"), "{}", next.stderr);
    }
}

#[test]
fn nothing_is_left_where_nothing_landed() {
    let halves = Halves::new();
    halves.limit.store(1000, SeqCst);
    let first = halves.begun();
    first.assert_fails(3, &[]);
    assert_eq!(first.left_for_later(), Vec::<PathBuf>::new());
}

#[test]
fn restart_forgets() {
    let halves = Halves::new();
    let first = halves.begun();
    let served = halves.origin.served_bytes();
    let next = halves.again(&first).arg("--restart").finish();
    next.assert_gives("f.bin", &halves.file);
    assert_eq!(halves.origin.served_bytes() - served, SIZE);
}

#[test]
fn both_files_are_private_whatever_the_mask() {
    let halves = Halves::new();
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 000; exec \"$@\"", "sh", PROGRAM, "--progress", "none"]);
    let run = Run::by(shell).arg(halves.url()).args(["-b", "64k", "-c", "1", "--retries", "0"]);
    // The end of a failed run looks at the modes itself.
    let first = run.finish();
    assert_eq!(first.left_for_later().len(), 2);
    // A run that died while it published had made the part file ready for its name.
    fs::set_permissions(part(&first), Permissions::from_mode(0o666)).unwrap();
    halves.again(&first).finish().assert_fails(3, &[]);
}

#[test]
fn a_name_that_comes_with_the_answer_is_found_again() {
    let name = "attachment; filename=\"named.bin\"";
    let halves = Halves::bent(move |reply| reply.set("Content-Disposition", name));
    let first = halves.begun_by(|run| run.arg("--content-disposition"));
    first.assert_fails(3, &[]);
    let served = halves.origin.served_bytes();
    let next = halves.again(&first).args(["--content-disposition", "-d", "."]).finish();
    next.assert_gives("named.bin", &halves.file);
    assert!(next.stderr.contains("going on"), "{}", next.stderr);
    // What the first answer brings is in vain: it comes before the name.
    let most = SIZE - GOT + 8 * (64 << 10);
    assert!(halves.origin.served_bytes() - served <= most);
}

#[test]
fn where_all_has_landed_one_byte_finishes_the_file() {
    let file = File::new(SIZE);
    let origin = Origin::new().file("/f.bin", file).start();
    let url = origin.url("/f.bin");
    let digest = format!("blake3={}", blake3::hash(&file.whole()));
    for more in [&[][..], &["--checksum", &digest]] {
        let args = ["-b", "64k", "-c", "1"];
        let mut point = 1;
        // Dies later and later, until everything is there and only the name is missing.
        let (last, served) = loop {
            let run = Run::new(&url).args(args).args(more);
            let run = run.env("RINGPULL_CRASH_AT", &point.to_string());
            let outcome = run.start().end_or_die();
            let is_whole = crate::crash::Left::of(&outcome)
                .is_some_and(|left| left.landed().iter().all(|landed| *landed));
            if is_whole && !outcome.path("f.bin").exists() {
                break (outcome, origin.served_bytes());
            }
            assert!(outcome.was_killed(), "it never was whole without a name");
            point += 1;
        };
        let requests = origin.log().len();
        let next = last.again(&url).args(args).args(more).finish();
        next.assert_gives("f.bin", &file);
        assert_eq!(origin.log().len(), requests + 1);
        assert_eq!(origin.served_bytes(), served + 1);
    }
}

#[test]
fn what_is_right_already_needs_nothing_beside_it() {
    for more in [&[][..], &["--content-disposition"]] {
        let halves = Halves::new();
        let first = halves.begun();
        let (part, ledger) = (part(&first), ledger(&first));
        fs::write(first.path("f.bin"), halves.file.whole()).unwrap();
        let target = fs::File::open(first.path("f.bin")).unwrap();
        target.set_modified(halves.file.modified()).unwrap();
        let next = halves.again(&first).args(more).finish();
        next.assert_code(0);
        assert!(!part.exists() && !ledger.exists(), "{}", next.stderr);
    }
}

#[test]
fn a_file_that_goes_on_is_not_allocated_again() {
    for write in ["direct", "buffered", "mmap"] {
        let halves = Halves::new();
        let first = halves.begun_by(|run| run.args(["--write", write]));
        let blocks = |path: PathBuf| fs::metadata(path).unwrap().blocks();
        let before = blocks(part(&first));
        // Were it asked to, this disk would not.
        let again = halves.again(&first).args(["--write", write]);
        let next = again.env("RINGPULL_FAULT", "allocate:1:ENOSPC").finish();
        next.assert_gives("f.bin", &halves.file);
        assert!(blocks(next.path("f.bin")) <= before, "{write}");
    }
}
