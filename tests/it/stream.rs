//! Standard output as the target: every byte in order, nothing else among them.

use std::io::Read;

use crate::harness::{Run, parse_events};
use crate::origin::{Cut, File, Latch, Origin, Reply, Request, Running};
use crate::ways::backends;

fn file() -> File {
    File::new((6 << 20) + 5)
}

fn origin() -> Running {
    Origin::new().file("/f.bin", file()).start()
}

fn streaming(origin: &Running) -> Run {
    Run::new(&origin.url("/f.bin")).args(["-o", "-", "-b", "64k", "-c", "4"])
}

#[test]
fn f33_the_body_is_all_that_comes_out() {
    let origin = origin();
    for io in backends() {
        let outcome = streaming(&origin).args(["--io", io]).finish();
        outcome.assert_leaves_nothing();
        assert_eq!(file().difference(&outcome.stdout[..]), None);
    }
}

#[test]
fn events_go_to_stderr_beside_a_body() {
    let origin = origin();
    let outcome = streaming(&origin).arg("--json").finish();
    outcome.assert_leaves_nothing();
    assert_eq!(file().difference(&outcome.stdout[..]), None);
    let events = parse_events(&outcome.stderr);
    assert_eq!(events.first().unwrap()["event"], "start");
    assert_eq!(events.last().unwrap()["event"], "summary");
}

#[test]
fn a_stream_has_no_sink_of_another_kind() {
    let origin = origin();
    for write in ["mmap", "direct", "buffered"] {
        let run = streaming(&origin).args(["--write", write]);
        run.finish().assert_fails(2, &[write]);
    }
    assert_eq!(origin.log().len(), 0);
}

#[test]
fn f30_a_reader_that_goes_away_ends_the_download() {
    let origin = origin();
    for io in backends() {
        let mut started = streaming(&origin).args(["--io", io]).start();
        let mut reader = started.stdout.take().unwrap();
        let mut first = [0];
        reader.read_exact(&mut first).unwrap();
        assert_eq!(first[..], file().expected(0..1));
        drop(reader);
        started.finish().assert_fails(7, &[]);
    }
}

#[test]
fn a_slow_reader_holds_the_download_back() {
    let size = 256 << 20;
    let origin = Origin::new().file("/f.bin", File::new(size)).start();
    let mut started = streaming(&origin).start();
    let mut reader = started.stdout.take().unwrap();
    let mut first = [0; 4096];
    reader.read_exact(&mut first).unwrap();
    started.signal(rustix::process::Signal::INT);
    started.finish().assert_fails(130, &[]);
    assert!(origin.served_bytes() < size / 2, "{} bytes fetched", origin.served_bytes());
}

#[test]
fn a_broken_connection_leaves_no_gap_in_a_stream() {
    let origin = Origin::new()
        .bent("/f.bin", file(), |request, reply| match request.nth {
            0 | 2 | 3 => reply.cut(100_000, Cut::Reset),
            _ => reply,
        })
        .start();
    for io in backends() {
        let outcome = streaming(&origin).args(["--io", io]).finish();
        assert_eq!(file().difference(&outcome.stdout[..]), None, "{}", outcome.stderr);
    }
}

#[test]
fn a_file_that_changes_cannot_be_taken_back_from_a_stream() {
    for io in backends() {
        let emitted = Latch::default();
        let held = emitted.clone();
        let origin = Origin::new()
            .at("/f.bin", move |request| match request.nth {
                0 => Reply::honest(&file(), request),
                _ => Reply::honest(&file().version(2), request).after(&held),
            })
            .start();
        let mut started = streaming(&origin).args(["--io", io]).start();
        let mut reader = started.stdout.take().unwrap();
        let mut first = [0];
        reader.read_exact(&mut first).unwrap();
        emitted.open();
        let rest = std::thread::spawn(move || reader.read_to_end(&mut Vec::new()));
        started.finish().assert_fails(6, &["changed"]);
        rest.join().unwrap().unwrap();
    }
}

#[test]
fn a_gap_that_never_comes_does_not_hold_the_end_up() {
    // Blocks behind the gap wait for their turn in the stream when the download fails.
    let gap = 700_000;
    for io in backends() {
        let origin = Origin::new()
            .bent("/f.bin", file(), move |request, reply| match &request.range {
                Some(range) if request.nth > 0 && range.contains(&gap) => {
                    Reply::status("404 Not Found")
                }
                _ => reply,
            })
            .start();
        let run = streaming(&origin).args(["--io", io, "--retries", "0"]);
        run.finish().assert_fails(5, &["404"]);
    }
}

#[test]
fn f33_a_fifo_gets_the_bytes_in_order_and_stays_a_fifo() {
    use std::os::unix::fs::FileTypeExt;
    let origin = origin();
    let run = Run::new(&origin.url("/f.bin")).args(["-o", "pipe", "-b", "64k", "-c", "4"]);
    let pipe = run.path("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
    let started = run.start();
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || file().difference(std::fs::File::open(pipe).unwrap())
    });
    let outcome = started.finish();
    outcome.assert_leaves_nothing();
    assert!(std::fs::symlink_metadata(pipe).unwrap().file_type().is_fifo());
    assert_eq!(reader.join().unwrap(), None);
}

#[test]
fn a_stream_from_a_server_without_ranges_is_one_answer() {
    // More blocks than any lane has memory for.
    for length in [true, false] {
        let script = move |_: &Request| match length {
            true => Reply::whole(&file()).without("accept-ranges"),
            false => Reply::whole(&file()).until_close(),
        };
        let origin = Origin::new().at("/f.bin", script).start();
        for (asked, (io, connections)) in combinations().enumerate() {
            let outcome = streaming(&origin).args(["--io", io, "-c", connections]).finish();
            outcome.assert_leaves_nothing();
            assert_eq!(file().difference(&outcome.stdout[..]), None);
            assert_eq!(origin.log().len(), asked + 1, "{io}, {connections}");
        }
    }
}

#[test]
fn a_stream_over_one_connection_is_asked_for_once() {
    for io in backends() {
        let origin = origin();
        let outcome = streaming(&origin).args(["--io", io, "-c", "1"]).finish();
        outcome.assert_leaves_nothing();
        assert_eq!(file().difference(&outcome.stdout[..]), None);
        assert_eq!(origin.log().len(), 1);
    }
}

#[test]
fn a_digest_without_a_file_needs_one_answer_of_a_server_without_ranges() {
    let origin = Origin::new().at("/f.bin", |_| Reply::whole(&file())).start();
    let digest = format!("blake3={}", blake3::hash(&file().whole()));
    for (asked, (io, connections)) in combinations().enumerate() {
        let run = Run::new(&origin.url("/f.bin")).args(["--write", "discard", "-b", "64k"]);
        let run = run.args(["--checksum", &digest, "--io", io, "-c", connections]);
        run.finish().assert_leaves_nothing();
        assert_eq!(origin.log().len(), asked + 1, "{io}, {connections}");
    }
}

/// Both backends, with one connection and with several.
fn combinations() -> impl Iterator<Item = (&'static str, &'static str)> {
    backends().iter().flat_map(|io| ["1", "8", "auto"].map(|connections| (*io, connections)))
}
