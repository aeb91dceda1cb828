//! Signals: a prompt end with the right code, and nothing left behind.

use rustix::process::Signal;

use crate::harness::Run;
use crate::origin::{Cut, File, Origin, Running};
use crate::ways::backends;

/// Answers a little and then falls silent.
fn stalling() -> Running {
    let file = File::new(64 << 20);
    Origin::new().bent("/f.bin", file, |_, reply| reply.cut(700_000, Cut::Stall)).start()
}

#[test]
fn f30_a_signal_ends_a_stalled_download() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        for io in backends() {
            for args in [["-c", "1"], ["-c", "8"], ["-o", "-"], ["--write", "mmap"]] {
                let origin = stalling();
                let run = Run::new(&origin.url("/f.bin")).args(["--io", io]).args(args);
                let started = run.start();
                origin.wait_for_requests(1);
                started.signal(signal);
                started.finish().assert_fails(code, &[]);
            }
        }
    }
}

#[test]
fn f30_a_signal_ends_a_wait_between_attempts() {
    let origin = Origin::new()
        .at("/f.bin", |_| {
            crate::origin::Reply::status("503 Service Unavailable").set("Retry-After", "500")
        })
        .start();
    let started = Run::new(&origin.url("/f.bin")).start();
    origin.wait_for_requests(1);
    started.signal(Signal::TERM);
    started.finish().assert_fails(143, &[]);
}

#[test]
fn f30_a_signal_ends_a_connect_that_hangs() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/f.bin", listener.local_addr().unwrap());
    let started = Run::new(&url).start();
    let held = listener.accept().unwrap();
    started.signal(Signal::INT);
    started.finish().assert_fails(130, &[]);
    drop(held);
}

#[test]
fn f30_no_other_url_is_begun_after_a_signal() {
    let origin = stalling();
    let started = Run::new(&origin.url("/f.bin")).arg(origin.url("/g.bin")).start();
    origin.wait_for_requests(1);
    started.signal(Signal::INT);
    started.finish().assert_code(130);
    assert!(origin.log().iter().all(|request| request.path == "/f.bin"), "{:?}", origin.log());
}

#[test]
fn f30_a_second_signal_ends_what_the_first_could_not() {
    // A FIFO that nobody reads is where everything waits.
    for io in backends() {
        let origin = stalling();
        let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-o", "-"]);
        let mut started = run.start();
        let reader = started.stdout.take();
        origin.wait_for_requests(1);
        started.signal(Signal::TERM);
        started.signal(Signal::TERM);
        let outcome = started.end();
        assert_eq!(outcome.code, Some(143), "{}", outcome.stderr);
        drop(reader);
    }
}

#[test]
fn f30_a_signal_keeps_what_has_landed_for_every_way_to_write() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        for io in backends() {
            for write in ["auto", "buffered", "mmap"] {
                let file = File::new(4 << 20);
                let origin = Origin::new()
                    .bent("/f.bin", file, |request, reply| match request.nth {
                        0 => reply.cut(3 << 20, Cut::Stall),
                        _ => reply,
                    })
                    .start();
                let url = origin.url("/f.bin");
                let args = ["--io", io, "--write", write, "-b", "64k", "-c", "1"];
                let started = Run::new(&url).args(args).start();
                started.wait_for_landed();
                started.signal(signal);
                let outcome = started.finish();
                outcome.assert_fails(code, &[]);
                let again = outcome.again(&url).args(args).finish();
                again.assert_gives("f.bin", &file);
                assert!(again.stderr.contains("going on"), "{}", again.stderr);
            }
        }
    }
}
