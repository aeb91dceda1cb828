//! Calls that a file system refuses: allocating, O_DIRECT, fsync, renaming without replacing.

use std::fs;

use super::{assert_fetched_once, file, notes, origin, refuse, refuse_bits};
use crate::harness::{Outcome, Run};
use crate::origin::{Latch, Origin};
use crate::ways::backends;

/// Runs over every backend with one way to write.
fn each(write: &str, check: impl Fn(Run)) {
    let origin = origin();
    for io in backends() {
        let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "--write", write]);
        check(run.args(["-b", "64k", "-c", "4"]));
    }
}

/// The file came, written this way.
fn assert_written(outcome: &Outcome, write: &str) {
    outcome.assert_gives("f.bin", &file());
    let written = format!("write {write},");
    assert!(outcome.stderr.contains(&written), "{}", outcome.stderr);
    assert!(notes(outcome).is_empty(), "{}", outcome.stderr);
}

#[test]
fn f13_a_file_system_that_cannot_allocate_still_takes_the_file() {
    for errno in [libc::EOPNOTSUPP, libc::ENOSYS] {
        for write in ["auto", "direct", "buffered"] {
            each(write, |run| {
                let outcome = run.filter(refuse(libc::SYS_fallocate, errno)).finish();
                outcome.assert_gives("f.bin", &file());
            });
        }
    }
}

#[test]
fn f13_what_cannot_be_allocated_is_not_mapped() {
    each("mmap", |run| {
        let outcome = run.filter(refuse(libc::SYS_fallocate, libc::EOPNOTSUPP)).finish();
        outcome.assert_fails(7, &["--write", "f.bin"]);
    });
}

#[test]
fn f01_a_refused_allocation_that_is_a_failure_is_said() {
    for (errno, word) in [(libc::ENOSPC, "space"), (libc::EDQUOT, "quota"), (libc::EIO, "error")] {
        for write in ["auto", "direct", "buffered", "mmap"] {
            each(write, |run| {
                let outcome = run.filter(refuse(libc::SYS_fallocate, errno)).finish();
                outcome.assert_fails(7, &[word, "f.bin"]);
            });
        }
    }
}

#[test]
fn f14_a_kernel_that_does_not_tell_the_alignment_gets_buffered_writes() {
    for errno in [libc::ENOSYS, libc::EPERM] {
        each("auto", |run| {
            assert_written(&run.filter(refuse(libc::SYS_statx, errno)).finish(), "buffered");
        });
        each("direct", |run| {
            let outcome = run.filter(refuse(libc::SYS_statx, errno)).finish();
            outcome.assert_fails(7, &["O_DIRECT", "--write"]);
        });
    }
}

#[test]
fn f14_a_file_system_without_o_direct_gets_buffered_writes() {
    // F_SETFL with O_DIRECT, as file systems without it answer.
    let refused = || refuse_bits(libc::SYS_fcntl, 2, libc::O_DIRECT, libc::EINVAL);
    each("auto", |run| assert_written(&run.filter(refused()).finish(), "buffered"));
    each("direct", |run| run.filter(refused()).finish().assert_fails(7, &["O_DIRECT", "f.bin"]));
    each("buffered", |run| assert_written(&run.filter(refused()).finish(), "buffered"));
}

#[test]
fn f03_a_failed_sync_is_a_failed_download() {
    for errno in [libc::EIO, libc::ENOSPC] {
        for write in ["auto", "direct", "buffered", "mmap"] {
            each(write, |run| {
                let outcome = run.filter(refuse(libc::SYS_fsync, errno)).finish();
                outcome.assert_fails(7, &["sync", "f.bin"]);
            });
        }
    }
}

#[test]
fn f03_a_failed_sync_does_not_cost_the_file_that_was_there() {
    each("auto", |run| {
        let run = run.put("f.bin", b"precious").arg("--overwrite");
        let outcome = run.filter(refuse(libc::SYS_fsync, libc::EIO)).finish();
        outcome.assert_fails(7, &["sync", "f.bin"]);
        assert_eq!(fs::read(outcome.path("f.bin")).unwrap(), b"precious");
    });
}

#[test]
fn f25_without_sync_nothing_needs_fsync() {
    each("buffered", |run| {
        let run = run.arg("--no-sync").filter(refuse(libc::SYS_fsync, libc::EIO));
        run.finish().assert_gives("f.bin", &file());
    });
}

#[test]
fn f18_a_file_system_without_renameat2_still_publishes() {
    for errno in [libc::ENOSYS, libc::EINVAL] {
        each("auto", |run| {
            let outcome = run.filter(refuse(libc::SYS_renameat2, errno)).finish();
            outcome.assert_gives("f.bin", &file());
        });
    }
}

#[test]
fn f18_a_target_that_appears_meanwhile_is_kept_whatever_the_kernel_offers() {
    for errno in [None, Some(libc::ENOSYS), Some(libc::EINVAL)] {
        let latch = Latch::default();
        let shut = latch.clone();
        let origin =
            Origin::new().bent("/f.bin", file(), move |_, reply| reply.after(&shut)).start();
        let mut run = Run::new(&origin.url("/f.bin"));
        if let Some(errno) = errno {
            run = run.filter(refuse(libc::SYS_renameat2, errno));
        }
        let target = run.path("f.bin");
        let started = run.start();
        origin.wait_for_requests(1);
        fs::write(&target, b"precious").unwrap();
        latch.open();
        let outcome = started.end();
        assert_eq!(outcome.code, Some(7), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("--overwrite"), "{}", outcome.stderr);
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        assert_eq!(outcome.left_for_later().len(), 2, "all of the file is there");
    }
}

#[test]
fn f18_where_no_name_can_be_given_without_replacing_the_file_is_kept_for_overwrite() {
    for io in backends() {
        let origin = origin();
        let url = origin.url("/f.bin");
        let poor = |run: Run| {
            let run = run.args(["--io", io, "-b", "64k", "-c", "4"]);
            let run = run.filter(refuse(libc::SYS_renameat2, libc::EINVAL));
            let run = run.filter(refuse(libc::SYS_linkat, libc::EPERM));
            // Older machines have the call without directories, too.
            #[cfg(target_arch = "x86_64")]
            let run = run.filter(refuse(libc::SYS_link, libc::EPERM));
            run
        };
        let first = poor(Run::new(&url)).finish();
        first.assert_fails(7, &["f.bin", "--overwrite"]);
        assert_eq!(first.left_for_later().len(), 2, "all of the file is there");
        poor(first.again(&url)).arg("--overwrite").finish().assert_gives("f.bin", &file());
        assert_fetched_once(&origin);
    }
}

#[test]
fn f19_a_file_system_without_locks_still_takes_the_file() {
    each("auto", |run| {
        let outcome = run.filter(refuse(libc::SYS_flock, libc::EOPNOTSUPP)).finish();
        outcome.assert_gives("f.bin", &file());
    });
}
