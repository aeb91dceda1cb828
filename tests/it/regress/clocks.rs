//! Every wait has a clock: bytes nobody wants, a FIFO nobody reads.

use std::time::Duration;

use rustix::process::Signal;

use crate::ends::{Fault, SIZE};
use crate::harness::{Run, Started};
use crate::origin::{Body, Cut, File, Origin, Reply, Request, Running};
use crate::ways::backends;

/// Long enough that a body of many such steps never ends within a test.
const STEP: Duration = Duration::from_millis(50);

/// The first answer is honest. The next begins at byte 0 and comes in drops; the others come in parts.
fn early(request: &Request) -> Reply {
    let file = File::new(SIZE);
    match (request.nth, &request.range) {
        (1, Some(range)) => {
            let early = Reply::part(&file, 0..range.end.min(SIZE)).set("ETag", &file.etag());
            early.dribble(100, STEP)
        }
        (2.., _) => Reply::honest(&file, request).cut(100_000, Cut::Close),
        _ => Reply::honest(&file, request),
    }
}

fn early_origin() -> Running {
    Origin::new().at("/f.bin", early).start()
}

#[test]
fn a_body_that_begins_too_early_obeys_the_time_limit() {
    for io in backends() {
        let origin = early_origin();
        let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-b", "64k", "-c", "2"]);
        run.args(["--max-time", "1"]).finish().assert_fails(3, &["--max-time"]);
    }
}

#[test]
fn a_body_that_begins_too_early_obeys_a_signal() {
    for io in backends() {
        let origin = early_origin();
        let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-b", "64k", "-c", "2"]);
        let started = run.start();
        // The other lane has come back for more: the first one is amid what it does not want.
        origin.wait_for_requests(4);
        started.signal(Signal::INT);
        started.finish().assert_fails(130, &[]);
    }
}

#[test]
fn a_body_that_begins_too_early_and_stalls_is_given_up() {
    let file = File::new(SIZE);
    Fault::new(move |request, reply| match &request.range {
        Some(range) if range.start > 0 => {
            let early = Reply::part(&file, 0..range.end.min(SIZE)).set("ETag", &file.etag());
            early.cut(1000, Cut::Stall)
        }
        _ => reply.cut(200_000, Cut::Close),
    })
    .args(&["--stall-timeout", "1"])
    .retries("0")
    .over(&["2"])
    .ends(&[3]);
}

/// Breaks after `reached` bytes; then answers every range from byte 0.
fn begins_at_zero(file: File, reached: u64) -> Running {
    let script = move |request: &Request, reply: Reply| match &request.range {
        _ if request.nth == 0 => reply.cut(reached, Cut::Close),
        Some(range) => Reply::part(&file, 0..range.end.min(file.size)).set("ETag", &file.etag()),
        None => reply,
    };
    Origin::new().bent("/f.bin", file, script).start()
}

#[test]
fn a_body_that_begins_far_too_early_is_not_waited_for() {
    let file = File::new((18 << 20) + 1);
    for io in backends() {
        for (reached, ranges) in [(15 << 20, 2), (17 << 20, 2)] {
            let origin = begins_at_zero(file, reached);
            let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-c", "1"]);
            run.finish().assert_gives("f.bin", &file);
            let log = origin.log();
            assert_eq!(log.iter().filter(|request| request.range.is_some()).count(), ranges);
            assert_eq!(log.len() > ranges, reached > 16 << 20, "{log:?}");
        }
    }
}

/// Starts to fetch into a FIFO that nobody reads.
fn unread(origin: &Running, args: &[&str]) -> Started {
    let run = Run::new(&origin.url("/f.bin")).args(["-o", "pipe"]).args(args);
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, run.path("pipe"), mode).unwrap();
    run.start()
}

#[test]
fn a_fifo_without_a_reader_obeys_time_limit_and_signal() {
    for io in backends() {
        let origin = Origin::new().file("/f.bin", File::new(SIZE)).start();
        let outcome = unread(&origin, &["--io", io, "--max-time", "1"]).finish();
        outcome.assert_fails(3, &["--max-time"]);
        let origin = Origin::new().file("/f.bin", File::new(SIZE)).start();
        let started = unread(&origin, &["--io", io]);
        origin.wait_for_requests(1);
        started.signal(Signal::INT);
        started.finish().assert_fails(130, &[]);
    }
}

#[test]
fn a_redirect_whose_body_never_ends_does_not_hold_the_download() {
    let file = File::new(SIZE);
    for io in backends() {
        let origin = Origin::new()
            .file("/f.bin", file)
            .at("/r.bin", |_| {
                let slow = Reply::redirect("302 Found", "/f.bin").set("Content-Length", "10000");
                slow.body(Body::Bytes(vec![b'x'; 10_000])).dribble(1, Duration::from_millis(300))
            })
            .start();
        let run = Run::new(&origin.url("/r.bin")).args(["--io", io, "-b", "64k"]);
        run.finish().assert_gives("r.bin", &file);
    }
}
