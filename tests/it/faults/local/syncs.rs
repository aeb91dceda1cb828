//! Syncs that fail, syncs that there are not, and what the next run makes of either; reads that fail.

use std::process::Stdio;

use super::{assert_fetched_once, file, is_root, notes, origin, refuse, refuse_bits};
use crate::harness::{Outcome, Run};
use crate::origin::{Cut, Origin};
use crate::ways::backends;

/// Every backend with every way to write a file.
fn ways() -> Vec<[&'static str; 8]> {
    let mut ways = Vec::new();
    for &io in backends() {
        for write in ["auto", "buffered", "mmap"] {
            ways.push(["--io", io, "--write", write, "-b", "64k", "-c", "4"]);
        }
    }
    ways
}

/// A file system that has no sync at all, for files or directories.
fn without_sync(run: Run, errno: i32) -> Run {
    run.filter(refuse(libc::SYS_fsync, errno)).filter(refuse(libc::SYS_fdatasync, errno))
}

fn checksum() -> String {
    format!("blake3={}", blake3::hash(&file().whole()))
}

/// Reads of the size that digests are made with fail; the program's loader reads less.
fn unreadable(run: Run) -> Run {
    run.filter(refuse_bits(libc::SYS_pread64, 2, 1 << 20, libc::EIO))
}

#[test]
fn f03_after_a_failed_sync_the_next_run_believes_nothing_that_is_not_durable() {
    for args in ways() {
        let origin = origin();
        let url = origin.url("/f.bin");
        let first = Run::new(&url).args(args).filter(refuse(libc::SYS_fsync, libc::EIO)).finish();
        first.assert_fails(7, &["sync", "f.bin"]);
        assert!(!first.path("f.bin").exists());
        first.again(&url).args(args).finish().assert_gives("f.bin", &file());
        assert!(origin.served_bytes() >= 2 * file().size, "{args:?}: lost pages were believed");
    }
}

#[test]
fn f05_a_part_that_cannot_be_read_back_is_kept_and_the_place_is_named() {
    for args in ways() {
        let origin = Origin::new()
            .bent("/f.bin", file(), |request, reply| match request.nth {
                0 => reply.cut(200_000, Cut::Close),
                _ => reply,
            })
            .start();
        let url = origin.url("/f.bin");
        let asked = |run: Run| run.args(args).args(["--checksum", &checksum()]);
        let first = asked(Run::new(&url)).args(["-c", "1", "--retries", "0"]).finish();
        first.assert_fails(3, &[]);
        let second = unreadable(asked(first.again(&url))).finish();
        second.assert_fails(7, &["read back from byte 0 of", "error"]);
        assert_eq!(second.left_for_later().len(), 2, "{args:?}");
        asked(second.again(&url)).finish().assert_gives("f.bin", &file());
        assert_fetched_once(&origin);
    }
}

#[test]
fn f05_a_target_that_cannot_be_read_back_is_kept() {
    let origin = origin();
    let run = Run::new(&origin.url("/f.bin")).put("f.bin", &file().whole());
    let outcome = unreadable(run.args(["--checksum", &checksum()])).finish();
    outcome.assert_fails(7, &["read back from byte 0 of", "f.bin"]);
    assert_eq!(outcome.path("f.bin").metadata().unwrap().len(), file().size);
}

/// Exit code 0 would promise what this file system cannot keep; a warning that nobody reads is no answer
/// to that. So the run fails, loses nothing, and names the flag that gives the promise up.
#[test]
fn f25_a_file_system_without_fsync_wants_no_sync_and_loses_nothing() {
    for errno in [libc::EINVAL, libc::EOPNOTSUPP] {
        for args in ways() {
            let origin = origin();
            let url = origin.url("/f.bin");
            let first = without_sync(Run::new(&url).args(args), errno).finish();
            first.assert_fails(7, &["sync", "f.bin", "--no-sync"]);
            assert_eq!(first.left_for_later().len(), 2, "{args:?}");
            let second = without_sync(first.again(&url).args(args), errno).arg("--no-sync");
            second.finish().assert_gives("f.bin", &file());
            assert_fetched_once(&origin);
        }
    }
}

fn assert_named_but_not_durable(outcome: &Outcome) {
    outcome.assert_gives("f.bin", &file());
    let notes = notes(outcome);
    assert_eq!(notes.len(), 1, "{}", outcome.stderr);
    assert!(notes[0].contains("power cut"), "{}", notes[0]);
}

#[test]
fn f26_a_directory_that_cannot_be_opened_to_sync_it_draws_a_note() {
    let origin = origin();
    for io in backends() {
        let refused = || refuse_bits(libc::SYS_openat, 2, libc::O_DIRECTORY, libc::EACCES);
        let run = || Run::new(&origin.url("/f.bin")).args(["--io", io]).filter(refused());
        assert_named_but_not_durable(&run().finish());
        let told = run().arg("--json").finish();
        told.assert_gives("f.bin", &file());
        assert_eq!(told.event("done")["durable"], false);
    }
}

#[test]
fn f26_a_directory_that_one_may_write_to_and_not_read_takes_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    if !is_root() {
        return;
    }
    let origin = origin();
    for io in backends() {
        let run = Run::as_user(65_534, &[], &origin.url("/f.bin")).args(["--io", io]);
        let blind = std::fs::Permissions::from_mode(0o300);
        std::fs::set_permissions(run.path(""), blind).unwrap();
        assert_named_but_not_durable(&run.finish());
    }
}

#[test]
fn f26_a_directory_that_fails_gives_no_name_and_costs_no_byte() {
    for args in ways() {
        let origin = origin();
        let url = origin.url("/f.bin");
        let broken = refuse_bits(libc::SYS_openat, 2, libc::O_DIRECTORY, libc::EIO);
        let first = Run::new(&url).args(args).filter(broken).finish();
        first.assert_fails(7, &["open"]);
        assert!(!first.path("f.bin").exists());
        first.again(&url).args(args).finish().assert_gives("f.bin", &file());
        assert_fetched_once(&origin);
    }
}

#[test]
fn f03_standard_output_that_is_a_file_is_synced_too() {
    let origin = origin();
    for io in backends() {
        let out = || Stdio::from(tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
        let run = || Run::new(&origin.url("/f.bin")).args(["--io", io, "-o", "-"]).stdout(out());
        run().finish().assert_code(0);
        let failed = || refuse(libc::SYS_fsync, libc::EIO);
        run().filter(failed()).finish().assert_fails(7, &["sync"]);
        run().filter(failed()).arg("--no-sync").finish().assert_code(0);
    }
}

#[test]
fn f21_a_file_that_is_there_already_is_on_the_disk_before_it_is_called_right() {
    let origin = origin();
    let url = origin.url("/f.bin");
    // As a run leaves it that is killed right after the rename, or does not sync.
    let first = Run::new(&url).arg("--no-sync").finish();
    first.assert_gives("f.bin", &file());
    for args in [&[][..], &["--checksum", &checksum()]] {
        let again = || first.again(&url).args(args);
        again().filter(refuse(libc::SYS_fsync, libc::EIO)).finish().assert_fails(7, &["sync"]);
        again().finish().assert_code(0);
    }
}
