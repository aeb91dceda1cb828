//! SIGTERM at every stage: nothing stays behind.

use rustix::process::Signal;

use crate::harness::Run;
use crate::origin::{Body, Cut, File, Origin, Reply, Running};
use crate::ways::backends;

/// Sends SIGTERM when `count` requests have come.
fn terminate(run: Run, origin: &Running, count: usize) -> crate::harness::Outcome {
    let started = run.start();
    origin.wait_for_requests(count);
    started.signal(Signal::TERM);
    started.finish()
}

#[test]
fn nothing_stays_of_a_download_that_ends_before_its_first_answer() {
    for io in backends() {
        let silent = || Reply::raw("").body(Body::Bytes(vec![0])).cut(0, Cut::Stall);
        let origin = Origin::new().at("/f.bin", move |_| silent()).start();
        let run = Run::new(&origin.url("/f.bin")).args(["--io", io]);
        terminate(run, &origin, 1).assert_fails(143, &[]);
    }
}

#[test]
fn nothing_stays_of_a_download_that_ends_on_the_way() {
    let file = File::new(8 << 20);
    for io in backends() {
        for write in ["direct", "buffered", "mmap"] {
            let origin = Origin::new()
                .bent("/f.bin", file, |request, reply| match request.nth {
                    0 => reply,
                    _ => reply.cut(100_000, Cut::Stall),
                })
                .start();
            let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "--write", write]);
            // A second request comes only when the part file is there.
            terminate(run.args(["-b", "64k", "-c", "2"]), &origin, 2).assert_fails(143, &[]);
        }
    }
}

#[test]
fn nothing_stays_of_a_download_that_ends_while_it_is_verified() {
    let file = File::new(64 << 20);
    // The digest of md5 is the slowest and lags behind the bytes; that it is wrong must not matter.
    let digest = format!("md5={:032}", 0);
    for io in backends() {
        let origin = Origin::new()
            .at("/f.bin", move |request| {
                let range = request.range.clone().unwrap();
                // All but the end, so that the second request says that the rest has come.
                let end = if range.start == 0 { file.size - 70_000 } else { file.size };
                Reply::part(&file, range.start..end).set("ETag", &file.etag())
            })
            .start();
        let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-c", "1"]);
        let outcome = terminate(run.args(["--checksum", &digest]), &origin, 2);
        // The digest may be done first, and is wrong.
        assert!([Some(143), Some(8)].contains(&outcome.code), "{}", outcome.stderr);
    }
}
