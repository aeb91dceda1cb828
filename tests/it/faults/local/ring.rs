//! io_uring refused: by containers, by old kernels, by the limit on locked memory.

use super::{file, is_root, notes, origin, refuse};
use crate::harness::{Outcome, Run};
use crate::ways::backends;

fn run(url: &str, io: &str) -> Run {
    Run::new(url).args(["--io", io, "-b", "64k", "-c", "4"])
}

/// The file came through `--io epoll`, and one line says why.
fn assert_fell_back(outcome: &Outcome, reason: &str) {
    outcome.assert_gives("f.bin", &file());
    assert!(outcome.stderr.contains("; io epoll,"), "{}", outcome.stderr);
    let notes = notes(outcome);
    assert_eq!(notes.len(), 1, "{}", outcome.stderr);
    assert!(notes[0].contains("io_uring") && notes[0].contains(reason), "{}", notes[0]);
}

#[test]
fn f09_a_refused_ring_means_epoll_and_one_line_that_says_why() {
    let origin = origin();
    let cases = [
        (libc::SYS_io_uring_setup, libc::EPERM, "seccomp"),
        (libc::SYS_io_uring_setup, libc::EACCES, "seccomp"),
        (libc::SYS_io_uring_setup, libc::ENOSYS, "kernel"),
        (libc::SYS_io_uring_setup, libc::EINVAL, "old"),
        (libc::SYS_io_uring_setup, libc::ENOMEM, "locked memory"),
        (libc::SYS_io_uring_setup, libc::EMFILE, "open files"),
        (libc::SYS_io_uring_enter, libc::EPERM, "seccomp"),
        (libc::SYS_io_uring_enter, libc::ENOSYS, "kernel"),
    ];
    for (call, errno, reason) in cases {
        let url = origin.url("/f.bin");
        let refused = refuse(call, errno);
        assert_fell_back(&run(&url, "auto").filter(refused.clone()).finish(), reason);
        let demanded = run(&url, "uring").filter(refused.clone()).finish();
        demanded.assert_fails(2, &["io_uring", reason, "--io"]);
        let other = run(&url, "epoll").filter(refused).finish();
        other.assert_gives("f.bin", &file());
        assert!(notes(&other).is_empty(), "{}", other.stderr);
    }
}

#[test]
fn f09_a_refused_ring_is_said_once_for_all_threads_and_not_to_those_who_want_quiet() {
    let origin = origin();
    let refused = || refuse(libc::SYS_io_uring_setup, libc::EPERM);
    let many = Run::new(&origin.url("/f.bin")).args(["-t", "4", "-c", "8", "-b", "64k"]);
    assert_fell_back(&many.filter(refused()).finish(), "seccomp");
    let quiet = Run::new(&origin.url("/f.bin")).arg("--quiet").filter(refused()).finish();
    quiet.assert_gives("f.bin", &file());
    assert_eq!(quiet.stderr, "");
}

#[test]
fn f09_the_backend_in_use_stands_in_the_json() {
    let origin = origin();
    let refused = refuse(libc::SYS_io_uring_setup, libc::EPERM);
    let outcome = Run::new(&origin.url("/f.bin")).arg("--json").filter(refused).finish();
    outcome.assert_gives("f.bin", &file());
    assert_eq!(outcome.event("done")["io"], "epoll");
}

#[test]
fn what_is_thrown_away_needs_no_ring_unless_one_is_asked_for() {
    let origin = origin();
    let backend = |args: &[&str]| {
        let run = Run::new(&origin.url("/f.bin")).args(["--json", "--write", "discard"]);
        let outcome = run.args(args).finish();
        outcome.assert_code(0);
        outcome.event("done")["io"].as_str().unwrap().to_owned()
    };
    assert_eq!(backend(&[]), "epoll");
    for &io in backends() {
        assert_eq!(backend(&["--io", io]), io);
    }
}

#[test]
fn f10_refused_registration_of_memory_does_not_matter() {
    let origin = origin();
    for errno in [libc::EPERM, libc::ENOMEM, libc::ENOSYS] {
        for io in ["auto", "uring"] {
            if !backends().contains(&io) && io == "uring" {
                continue;
            }
            let refused = refuse(libc::SYS_io_uring_register, errno);
            let outcome = run(&origin.url("/f.bin"), io).filter(refused).finish();
            outcome.assert_gives("f.bin", &file());
            assert!(notes(&outcome).len() <= 1, "{}", outcome.stderr);
        }
    }
}

#[test]
fn f10_little_locked_memory_is_enough() {
    if !is_root() {
        return;
    }
    let origin = origin();
    // Nothing at all, a page, the default before Linux 5.16, the default since.
    for limit in ["0", "4096", "65536", "8388608"] {
        let limit = format!("--memlock={limit}:{limit}");
        for args in [&["-c", "4", "-b", "64k"], &["-c", "16", "-b", "1M"]] {
            let run = Run::as_user(65_534, &[&limit], &origin.url("/f.bin"));
            let outcome = run.args(args).finish();
            outcome.assert_gives("f.bin", &file());
            assert!(notes(&outcome).len() <= 1, "{limit}: {}", outcome.stderr);
        }
    }
}

#[test]
fn f12_a_kernel_that_does_not_know_an_operation_means_epoll() {
    let origin = origin();
    for errno in [libc::EINVAL, libc::EOPNOTSUPP] {
        for call in [libc::SYS_io_uring_enter, libc::SYS_io_uring_setup] {
            let outcome = run(&origin.url("/f.bin"), "auto").filter(refuse(call, errno)).finish();
            assert_fell_back(&outcome, if errno == libc::EINVAL { "old" } else { "" });
        }
    }
}
