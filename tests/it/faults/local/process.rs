//! The process itself: its memory, its descriptors, its clocks, and being stopped for a while.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rustix::process::Signal;

use super::{MIB, file, limited, notes};
use crate::harness::Run;
use crate::origin::{File, Latch, Origin};
use crate::ways::backends;

/// Every wait for the kernel is interrupted by it (signal(7)).
#[test]
fn f06_a_program_that_is_stopped_and_let_go_over_and_over_ends_well() {
    for io in backends() {
        for write in ["auto", "buffered", "mmap"] {
            let origin = Origin::new()
                .bent("/f.bin", file(), |_, reply| reply.dribble(300_000, Duration::from_millis(1)))
                .start();
            let run = Run::new(&origin.url("/f.bin"));
            let args = ["--io", io, "--write", write, "-b", "64k", "-c", "4"];
            let started = run.args(args).start();
            origin.wait_for_requests(1);
            for _ in 0..200 {
                started.signal(Signal::STOP);
                started.signal(Signal::CONT);
            }
            started.finish().assert_gives("f.bin", &file());
        }
    }
}

/// Writable memory of its own, resident or not: blocks, stacks, heaps. A file in it would not fit.
#[test]
fn f29_memory_does_not_grow_with_the_file() {
    let file = File::new(100 * MIB);
    let origin = Origin::new().file("/f.bin", file).start();
    for io in backends() {
        for write in ["auto", "buffered", "mmap"] {
            let run = limited(&[&format!("--data={}", 72 * MIB)], &origin.url("/f.bin"));
            let run = run.args(["--io", io, "--write", write, "-c", "16", "-t", "2"]);
            run.finish().assert_gives("f.bin", &file);
        }
    }
}

#[test]
fn f31_a_date_that_no_file_can_have_is_no_reason_to_fail_and_is_found_again() {
    let dates = [
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Tue, 19 Jan 2038 03:14:08 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ];
    for date in dates {
        let origin = Origin::new()
            .bent("/f.bin", file(), move |_, reply| {
                reply.without("last-modified").set("Last-Modified", date)
            })
            .start();
        let url = origin.url("/f.bin");
        let outcome = Run::new(&url).finish();
        outcome.assert_gives("f.bin", &file());
        let found = fs::metadata(outcome.path("f.bin")).unwrap().modified().unwrap();
        assert!(found >= UNIX_EPOCH, "{date}: {found:?}");
        let again = outcome.again(&url).finish();
        again.assert_code(0);
        assert!(again.stderr.contains("up to date"), "{date}: {}", again.stderr);
    }
    let origin = Origin::new()
        .bent("/f.bin", file(), |_, reply| {
            reply.without("last-modified").set("Last-Modified", "Sun, 31 Feb 0000 99:99:99 GMT")
        })
        .start();
    let outcome = Run::new(&origin.url("/f.bin")).finish();
    outcome.assert_gives("f.bin", &file());
    assert!(notes(&outcome).is_empty(), "{}", outcome.stderr);
}

/// The descriptors of a process, and whether a child inherits them.
fn descriptors(fdinfo: &Path) -> BTreeMap<u32, bool> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(fdinfo).unwrap() {
        let path = entry.unwrap().path();
        // One that was closed meanwhile is no leak.
        let Ok(info) = fs::read_to_string(&path) else { continue };
        let line = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        let flags = i32::from_str_radix(line.trim(), 8).unwrap();
        let number = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        all.insert(number, flags & libc::O_CLOEXEC == 0);
    }
    all
}

/// A child of whoever uses the library inherits no socket, no file and no ring.
#[test]
fn f34_every_descriptor_is_closed_for_children() {
    let outside = descriptors(Path::new("/proc/self/fdinfo"));
    for io in backends() {
        for write in ["auto", "buffered", "mmap"] {
            let latch = Latch::default();
            let shut = latch.clone();
            let origin = Origin::new()
                .bent("/f.bin", file(), move |request, reply| match request.nth {
                    0 => reply,
                    _ => reply.after(&shut),
                })
                .start();
            let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "--write", write]);
            let started = run.args(["-b", "64k", "-c", "4"]).start();
            origin.wait_for_requests(2);
            let all = descriptors(&started.look("fdinfo"));
            assert!(all.len() > 5, "{all:?}");
            for (number, is_inherited) in all {
                // What the tests were started with goes to everyone.
                let from_outside = number <= 2 || outside.get(&number) == Some(&true);
                let what = fs::read_link(started.look(&format!("fd/{number}")));
                assert!(!is_inherited || from_outside, "{io} {write}: {number} is {what:?}");
            }
            latch.open();
            started.finish().assert_gives("f.bin", &file());
        }
    }
}
