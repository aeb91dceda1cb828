//! What does not go on: another version, another file, a ledger that cannot be right.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::sync::atomic::Ordering::SeqCst;

use super::{GOT, Halves, SIZE, ledger, part};
use crate::harness::{Outcome, Run};
use crate::origin::{File, Origin, Reply, Validator};

const NO_USE: &str = "of no use";

/// One way to spoil what a run has left, and what the next one says of it.
fn spoiled(words: &str, spoil: impl Fn(&Outcome)) {
    let halves = Halves::new();
    let first = halves.begun();
    spoil(&first);
    halves.starts_anew(&first, words);
}

#[test]
fn another_version_starts_anew_and_says_so() {
    let halves = Halves::new();
    let first = halves.begun();
    halves.version.store(2, SeqCst);
    let served = halves.origin.served_bytes();
    let next = halves.again(&first).arg("--json").finish();
    next.assert_gives("f.bin", &halves.now());
    assert!(next.event("changed")["message"].as_str().unwrap().contains("ETag"));
    assert!(halves.origin.served_bytes() - served >= SIZE);
}

#[test]
fn another_size_or_date_starts_anew() {
    let old = File::new(SIZE).validator(Validator::Date);
    for new in [old.version(2), File { size: SIZE - 1, ..old }, File { size: 2 * SIZE, ..old }] {
        let cut = move |reply: Reply| reply.cut(GOT, crate::origin::Cut::Close);
        let origin = Origin::new()
            .at("/f.bin", move |request| match request.nth {
                0 => cut(Reply::honest(&old, request)),
                _ => Reply::honest(&new, request),
            })
            .start();
        let args = ["-b", "64k", "-c", "1", "--retries", "0"];
        let first = Run::new(&origin.url("/f.bin")).args(args).finish();
        assert_eq!(first.left_for_later().len(), 2);
        let next = first.again(&origin.url("/f.bin")).args(args).finish();
        next.assert_gives("f.bin", &new);
        assert!(next.stderr.contains("starting anew"), "{}", next.stderr);
    }
}

#[test]
fn a_server_that_has_no_ranges_any_more_starts_anew() {
    let file = File::new(SIZE);
    let origin = Origin::new()
        .bent("/f.bin", file, move |request, reply| match request.nth {
            0 => reply.cut(GOT, crate::origin::Cut::Close),
            _ => Reply::whole(&file).set("ETag", &file.etag()),
        })
        .start();
    let args = ["-b", "64k", "-c", "1", "--retries", "0"];
    let first = Run::new(&origin.url("/f.bin")).args(args).finish();
    assert_eq!(first.left_for_later().len(), 2);
    let next = first.again(&origin.url("/f.bin")).args(args).finish();
    next.assert_gives("f.bin", &file);
    assert!(next.stderr.contains("starting anew"), "{}", next.stderr);
}

#[test]
fn another_url_with_the_same_name_starts_anew() {
    let halves = Halves::new();
    let first = halves.begun();
    let other = Origin::new().file("/other/f.bin", File::new(SIZE).seed(9)).start();
    let next = first.again(&other.url("/other/f.bin")).finish();
    next.assert_gives("f.bin", &File::new(SIZE).seed(9));
    assert!(next.stderr.contains("another URL"), "{}", next.stderr);
}

#[test]
fn a_ledger_of_zeros_or_of_another_format_is_not_believed() {
    spoiled("damaged", |first| {
        let length = fs::metadata(ledger(first)).unwrap().len();
        fs::write(ledger(first), vec![0; usize::try_from(length).unwrap()]).unwrap();
    });
    spoiled("format 2", |first| {
        let json = r#"{"head":{"format":2,"more":"words"}}"#;
        let line = format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()));
        fs::write(ledger(first), line).unwrap();
    });
    spoiled("", |first| fs::write(ledger(first), "").unwrap());
    spoiled("", |first| fs::remove_file(ledger(first)).unwrap());
    spoiled(NO_USE, |first| {
        let path = ledger(first);
        fs::rename(&path, first.path("elsewhere")).unwrap();
        symlink("elsewhere", &path).unwrap();
        // Whoever plants this finds it again.
        fs::remove_file(first.path("elsewhere")).unwrap();
    });
}

#[test]
fn a_ledger_that_was_cut_off_or_changed_is_believed_up_to_there() {
    let length = fs::metadata(ledger(&Halves::new().begun())).unwrap().len();
    // Each of its bytes where time does not matter.
    let step = if crate::crash::number("RINGPULL_CYCLES").is_some() { 1 } else { 37 };
    for at in (0..usize::try_from(length).unwrap()).step_by(step) {
        for flip in [None, Some(1), Some(0x80)] {
            let halves = Halves::new();
            let first = halves.begun();
            let mut bytes = fs::read(ledger(&first)).unwrap();
            let head = bytes.iter().position(|byte| *byte == b'\n').unwrap();
            let at = at.min(bytes.len() - 1);
            match flip {
                None => bytes.truncate(at),
                Some(bit) => bytes[at] ^= bit,
            }
            fs::write(ledger(&first), bytes).unwrap();
            let next = halves.again(&first).finish();
            next.assert_gives("f.bin", &halves.file);
            let goes_on = next.stderr.contains("going on");
            assert!(!goes_on || at > head, "it goes on without a head: {at}, {flip:?}");
        }
    }
}

#[test]
fn a_part_file_that_is_not_the_one_that_was_written_is_not_believed() {
    spoiled("not the one", |first| {
        let path = part(first);
        fs::copy(&path, first.path("copy")).unwrap();
        fs::rename(first.path("copy"), path).unwrap();
    });
    spoiled("not the one", |first| {
        let path = part(first);
        fs::write(first.path("other"), vec![0; usize::try_from(SIZE).unwrap()]).unwrap();
        fs::rename(first.path("other"), path).unwrap();
    });
    spoiled("cut off", |first| {
        OpenOptions::new().write(true).open(part(first)).unwrap().set_len(GOT).unwrap();
    });
    spoiled("cut off", |first| {
        let file = OpenOptions::new().write(true).open(part(first)).unwrap();
        file.set_len(1000).unwrap();
        file.set_len(SIZE).unwrap();
    });
    spoiled("", |first| fs::remove_file(part(first)).unwrap());
}

#[test]
fn a_link_in_the_place_of_the_part_file_is_not_followed() {
    let halves = Halves::new();
    let first = halves.begun();
    let (path, victim) = (part(&first), first.path("victim"));
    fs::rename(&path, &victim).unwrap();
    symlink(&victim, &path).unwrap();
    let before = fs::read(&victim).unwrap();
    let next = halves.again(&first).finish();
    next.assert_gives("f.bin", &halves.file);
    assert_eq!(fs::read(&victim).unwrap(), before);
    assert!(!next.stderr.contains("going on"), "{}", next.stderr);
}

#[test]
fn a_wrong_digest_forgets_both_files() {
    let halves = Halves::new();
    let first = halves.begun();
    let wrong = format!("sha256={}", "0".repeat(64));
    let next = halves.again(&first).args(["--checksum", &wrong]).finish();
    next.assert_fails(8, &["sha256"]);
    assert_eq!(next.left_for_later(), Vec::<std::path::PathBuf>::new());
    let last = halves.again(&next).finish();
    last.assert_gives("f.bin", &halves.file);
    assert!(!last.stderr.contains("going on"), "{}", last.stderr);
}

#[test]
fn what_was_written_in_an_unknown_epoch_is_not_believed() {
    let halves = Halves::new();
    let first = halves.begun_by(|run| run.arg("--no-sync"));
    let served = halves.origin.served_bytes();
    // A kernel that does not name its mounts for good.
    let next = halves.again(&first).env("RINGPULL_FAULT", "epoch:1+:EIO").finish();
    next.assert_gives("f.bin", &halves.file);
    assert!(next.stderr.contains("had nothing of it yet"), "{}", next.stderr);
    assert!(halves.origin.served_bytes() - served >= SIZE);
}

#[test]
fn what_was_gathered_on_a_promise_counts_only_under_it() {
    let bare = |promise: &str| {
        let halves = Halves::bent(|reply| reply.without("etag").without("last-modified"));
        let promised = |run: Run| run.arg("--assume-immutable");
        let first = halves.begun_by(promised);
        let served = halves.origin.served_bytes();
        let again = halves.again(&first);
        let next = if promise.is_empty() { again } else { again.arg(promise) }.finish();
        next.assert_gives("f.bin", &halves.file);
        (next.stderr, halves.origin.served_bytes() - served)
    };
    let (told, bytes) = bare("--assume-immutable");
    assert!(told.contains("going on") && bytes < SIZE, "{bytes}: {told}");
    let (told, bytes) = bare("");
    assert!(told.contains("cannot be combined") && bytes >= SIZE, "{bytes}: {told}");
}
