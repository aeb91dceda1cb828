//! Resource limits: descriptors, file size, threads.

use super::{MIB, file, is_root, limited, origin};
use crate::harness::{Outcome, Run};
use crate::origin::{File, Origin, Reply};
use crate::ways::backends;

/// The right bytes, or one clear line.
fn assert_ends_clearly(outcome: &Outcome, codes: &[i32]) {
    let code = outcome.code.unwrap();
    assert!(codes.contains(&code), "exit code {code}: {}", outcome.stderr);
    if code == 0 {
        outcome.assert_gives("f.bin", &file());
    }
}

#[test]
fn f11_too_few_descriptors_end_well_or_clearly() {
    let origin = origin();
    for io in backends().iter().chain(&["auto"]) {
        for count in 4..=44 {
            let run = limited(&[&format!("--nofile={count}")], &origin.url("/f.bin"));
            let run = run.args(["--io", io, "-t", "2", "-c", "16", "-b", "64k", "--retries", "1"]);
            assert_ends_clearly(&run.finish(), &[0, 1, 2, 3, 7]);
        }
    }
}

#[test]
fn f11_enough_descriptors_for_a_connection_are_enough() {
    let origin = origin();
    let run = limited(&["--nofile=40"], &origin.url("/f.bin"));
    run.args(["-t", "2", "-c", "16", "-b", "64k"]).finish().assert_gives("f.bin", &file());
}

#[test]
fn f04_a_limit_on_file_size_is_a_failure_and_not_a_signal() {
    let unknown = |_: &_| Reply::whole(&file()).chunked(&[70_000]);
    let origin = Origin::new().file("/f.bin", file()).at("/unknown.bin", unknown).start();
    let limit = format!("--fsize={}", 2 * MIB);
    for io in backends() {
        for write in ["auto", "direct", "buffered", "mmap"] {
            let run = limited(&[&limit], &origin.url("/f.bin"));
            let run = run.args(["--io", io, "--write", write, "-b", "64k"]);
            run.finish().assert_fails(7, &["f.bin", "ulimit -f"]);
        }
        let run = limited(&[&limit], &origin.url("/unknown.bin"));
        let run = run.args(["--io", io, "-b", "64k"]);
        run.finish().assert_fails(7, &["unknown.bin", "ulimit -f"]);
    }
}

#[test]
fn f04_a_file_within_the_limit_on_file_size_is_fetched() {
    let small = File::new(2 * MIB);
    let origin = Origin::new().file("/f.bin", small).start();
    for io in backends() {
        let run = limited(&[&format!("--fsize={}", 2 * MIB)], &origin.url("/f.bin"));
        run.args(["--io", io, "-b", "64k"]).finish().assert_gives("f.bin", &small);
    }
}

#[test]
fn f06_too_few_threads_end_well_or_clearly() {
    if !is_root() {
        return;
    }
    let origin = origin();
    // No other process belongs to this user, and root may have as many as it likes.
    let user = 2_000_000_000 + std::process::id() % 1_000_000;
    for io in backends() {
        // The program's own threads, and those that write: the kernel's own for io_uring, four a lane
        // thread for epoll.
        for count in (1..=10).chain([16]) {
            let limit = format!("--nproc={count}");
            let run = Run::as_user(user, &[&limit], &origin.url("/f.bin"));
            let run = run.args(["--io", io, "-t", "2", "-c", "4", "-b", "64k"]);
            assert_ends_clearly(&run.finish(), &[0, 1, 2, 7]);
        }
    }
}
