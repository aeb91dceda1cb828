//! One connection of eight is half dead and never recovers; the download ends all the same.
//!
//! No test here has a clock but the deadline of the harness: `--stall-timeout` is ten minutes, so that only a
//! lane that takes over what another is late with can end the run.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures_util::TryStreamExt;
use ringpull::{Chunk, Downloader};

use crate::harness::{Outcome, Run, parse_events};
use crate::origin::{Body, Certificate, Cut, File, Latch, Origin, Reply, Request, Running};
use crate::ways::{Way, backends, every_way};

const BLOCK: u64 = 64 << 10;
/// Forty-eight blocks and a bit.
const SIZE: u64 = 48 * BLOCK + 17;
/// Time between two bytes of a connection that dribbles.
const DRIP: Duration = Duration::from_millis(100);

/// What is wrong with the one connection.
#[derive(Clone, Copy, Debug)]
enum Illness {
    /// It says no more after so many bytes of its answer.
    Silent(u64),
    /// It sends a byte now and then.
    Dribbles,
    /// It takes the request and does not answer.
    Mute,
}

impl Illness {
    fn befall(self, reply: Reply) -> Reply {
        match self {
            Self::Silent(after) => reply.cut(after, Cut::Stall),
            Self::Dribbles => reply.dribble(1, DRIP),
            Self::Mute => {
                let mut silent = Reply::raw("").cut(0, Cut::Stall);
                silent.body = Body::Bytes(vec![0]);
                silent
            }
        }
    }
}

/// Serves `file`. The first answers for which `is_ill` says so, at most `most` of them, are ill for ever.
fn origin(file: File, illness: Illness, most: usize, is_ill: fn(&Request) -> bool) -> Running {
    let ill = AtomicUsize::new(0);
    let script = move |request: &Request, reply: Reply| match is_ill(request)
        && ill.fetch_add(1, SeqCst) < most
    {
        true => illness.befall(reply),
        false => reply,
    };
    Origin::new().bent("/f.bin", file, script).start()
}

fn run(origin: &Running) -> Run {
    Run::new(&origin.url("/f.bin")).args(["-b", "64k", "--stall-timeout", "600", "--retries", "0"])
}

/// The rightful file comes whatever the sink, and little of it twice.
fn is_survived_everywhere(illness: Illness, is_ill: fn(&Request) -> bool) {
    let file = File::new(SIZE);
    every_way(|way| {
        if way.connections == "1" {
            return;
        }
        let origin = origin(file, illness, 1, is_ill);
        let outcome = way.take(run(&origin)).finish();
        way.assert_gives(&outcome, "f.bin", &file);
        // What the kernels hold of connections that were dropped counts as sent.
        let most = SIZE + 24 * BLOCK;
        let sent = origin.served_bytes();
        assert!(sent <= most, "{way:?}: {sent} bytes sent");
    });
}

fn is_first(request: &Request) -> bool {
    request.nth == 0
}

fn is_near_the_end(request: &Request) -> bool {
    request.range.as_ref().is_some_and(|range| range.end.min(SIZE) == SIZE)
}

#[test]
fn the_first_connection_falls_silent_amid_a_block() {
    is_survived_everywhere(Illness::Silent(3 * BLOCK + 1000), is_first);
}

#[test]
fn the_first_connection_falls_silent_behind_its_head() {
    is_survived_everywhere(Illness::Silent(0), is_first);
}

#[test]
fn the_connection_with_the_last_block_falls_silent() {
    is_survived_everywhere(Illness::Silent(10), is_near_the_end);
}

#[test]
fn the_connection_with_the_last_block_dribbles_for_ever() {
    is_survived_everywhere(Illness::Dribbles, is_near_the_end);
}

#[test]
fn a_connection_that_never_answers_is_not_waited_for() {
    is_survived_everywhere(Illness::Mute, |request| request.nth == 3);
}

#[test]
fn a_second_connection_may_fall_silent_over_the_same_block() {
    let file = File::new(SIZE);
    for io in backends() {
        let origin = origin(file, Illness::Silent(10), 2, is_near_the_end);
        let outcome = run(&origin).args(["--io", io, "-c", "8"]).finish();
        outcome.assert_gives("f.bin", &file);
    }
}

#[test]
fn a_file_of_one_block_is_taken_from_a_connection_that_falls_silent() {
    let file = File::new(BLOCK - 5);
    for io in backends() {
        let origin = origin(file, Illness::Silent(1000), 1, is_first);
        let outcome = run(&origin).args(["--io", io, "-c", "2"]).finish();
        outcome.assert_gives("f.bin", &file);
    }
}

#[test]
fn a_digest_is_that_of_the_block_that_won() {
    let file = File::new(SIZE);
    let digest = format!("blake3={}", blake3::hash(&file.whole()));
    for write in ["direct", "buffered", "mmap"] {
        for io in backends() {
            let origin = origin(file, Illness::Silent(3 * BLOCK + 1000), 1, is_first);
            let run = run(&origin).args(["--io", io, "--write", write, "-c", "8"]);
            run.args(["--checksum", &digest]).finish().assert_gives("f.bin", &file);
        }
    }
}

#[test]
fn a_caller_gets_every_chunk_once() {
    let file = File::new(SIZE);
    let origin = origin(file, Illness::Silent(3 * BLOCK + 1000), 1, is_first);
    let builder = Downloader::builder(origin.url("/f.bin")).connections(8).block_size(BLOCK);
    let patient = builder.options(|options| options.stall_timeout = Duration::from_secs(600));
    let downloader = patient.build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut chunks: Vec<Chunk> =
        runtime.block_on(downloader.start().try_collect()).expect("a download that ends well");
    chunks.sort_by_key(|chunk| chunk.offset);
    let mut end = 0;
    for chunk in &chunks {
        assert_eq!(chunk.offset, end, "a gap, or bytes twice");
        assert_eq!(chunk.bytes[..], file.expected(chunk.offset..chunk.end()));
        end = chunk.end();
    }
    assert_eq!(end, file.size);
}

/// Brings 32 KiB every 100 ms, except for one connection that brings 100 bytes in that time.
fn one_is_slow(file: File) -> Running {
    let script = |request: &Request, reply: Reply| match request.nth {
        3 => reply.dribble(100, DRIP),
        _ => reply.dribble(32 << 10, DRIP),
    };
    Origin::new().bent("/f.bin", file, script).start()
}

#[test]
fn a_connection_far_slower_than_the_others_is_replaced_and_its_bytes_are_kept() {
    let file = File::new(200 * BLOCK);
    for io in backends() {
        let origin = one_is_slow(file);
        run(&origin).args(["--io", io, "-c", "8"]).finish().assert_gives("f.bin", &file);
        let log = origin.log();
        let slow = log[3].range.clone().unwrap();
        let again: Vec<u64> = log[4..]
            .iter()
            .filter_map(|request| request.range.clone())
            .filter(|range| range.end == slow.end && slow.contains(&range.start))
            .map(|range| range.start - slow.start)
            .collect();
        assert_eq!(again.len(), 1, "asked again from {again:?} of {slow:?}");
        let reached = again[0];
        assert!(
            reached > 0 && reached < BLOCK && reached.is_multiple_of(100),
            "{reached} bytes kept"
        );
    }
}

#[test]
fn a_request_that_gets_no_answer_is_sent_again_while_others_are_at_work() {
    let file = File::new(300 * BLOCK);
    for io in backends() {
        let script = |request: &Request, reply: Reply| match request.nth {
            3 => Illness::Mute.befall(reply),
            _ => reply.dribble(32 << 10, DRIP),
        };
        let origin = Origin::new().bent("/f.bin", file, script).start();
        run(&origin).args(["--io", io, "-c", "8"]).finish().assert_gives("f.bin", &file);
        let log = origin.log();
        let same = log.iter().filter(|request| request.range == log[3].range);
        assert_eq!(same.count(), 2, "{:?}", log[3].range);
    }
}

#[test]
fn it_does_not_matter_what_frames_the_body() {
    let file = File::new(SIZE);
    let ill = |request: &Request, reply: Reply| match request.nth {
        0 => reply.cut(3 * BLOCK + 1000, Cut::Stall),
        _ => reply,
    };
    let chunked = move |request: &Request, reply: Reply| ill(request, reply.chunked(&[5000]));
    for io in backends() {
        for write in ["buffered", "mmap"] {
            let framed = Origin::new().bent("/f.bin", file, chunked).start();
            let args = ["--io", io, "--write", write, "-c", "8"];
            run(&framed).args(args).finish().assert_gives("f.bin", &file);
            let certificate = Certificate::valid_for("localhost");
            let secret = Origin::new().tls(certificate).bent("/f.bin", file, ill).start();
            let authority = &secret.certificate.as_ref().unwrap().authority_pem;
            let run = run(&secret).put("ca.pem", authority.as_bytes()).args(args);
            run.args(["--cacert", "ca.pem"]).finish().assert_gives("f.bin", &file);
        }
    }
}

/// Bytes that were received in all, by the event that ends a run with `--json`.
fn fetched(outcome: &Outcome, text: &[u8]) -> u64 {
    let events = parse_events(std::str::from_utf8(text).unwrap());
    let done = events.iter().find(|event| event["event"] == "done");
    done.unwrap_or_else(|| panic!("{}", outcome.stderr))["fetched_bytes"].as_u64().unwrap()
}

/// Nobody was late, unless the machine that runs the test was itself for a moment.
fn assert_hardly_twice(fetched: u64) {
    assert!((SIZE..=SIZE + 2 * BLOCK).contains(&fetched), "{} bytes twice", fetched - SIZE);
}

#[test]
fn connections_that_are_all_as_slow_do_not_race() {
    let file = File::new(SIZE);
    for io in backends() {
        let origin =
            Origin::new().bent("/f.bin", file, |_, reply| reply.dribble(16 << 10, DRIP)).start();
        let outcome = run(&origin).args(["--io", io, "-c", "8", "--json"]).finish();
        outcome.assert_gives("f.bin", &file);
        assert_hardly_twice(fetched(&outcome, &outcome.stdout));
    }
}

#[test]
fn a_rate_limit_makes_nobody_late() {
    let file = File::new(SIZE);
    let origin = Origin::new().file("/f.bin", file).start();
    for io in backends() {
        let limited = run(&origin).args(["--io", io, "-c", "8", "--json", "--overwrite"]);
        let outcome = limited.args(["--limit-rate", "700k"]).finish();
        outcome.assert_gives("f.bin", &file);
        assert_hardly_twice(fetched(&outcome, &outcome.stdout));
    }
}

#[test]
fn a_reader_that_takes_its_time_makes_nobody_late() {
    let file = File::new(SIZE);
    let origin = Origin::new().file("/f.bin", file).start();
    for io in backends() {
        let run = run(&origin).args(["--io", io, "-c", "8", "-o", "-", "--json"]);
        let mut started = run.start();
        let mut reader = started.stdout.take().unwrap();
        let (mut out, mut part) = (Vec::new(), vec![0; 1 << 20]);
        loop {
            let count = reader.read(&mut part).unwrap();
            out.extend_from_slice(&part[..count]);
            if count == 0 {
                break;
            }
            // Never opened: it paces the reader, about half a megabyte a second.
            Latch::default().is_open_within(DRIP);
        }
        let outcome = started.finish();
        outcome.assert_leaves_nothing();
        assert_eq!(file.difference(&out[..]), None);
        assert_hardly_twice(fetched(&outcome, outcome.stderr.as_bytes()));
    }
}

#[test]
fn a_download_of_which_every_connection_dribbles_ends() {
    let file = File::new(SIZE);
    for io in backends() {
        let origin = Origin::new().bent("/f.bin", file, |_, reply| reply.dribble(1, DRIP)).start();
        let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-b", "64k", "-c", "8"]);
        let run = run.args(["--stall-timeout", "1", "--retries", "0"]);
        run.finish().assert_fails(3, &["came in"]);
    }
}

#[test]
fn any_two_connections_may_fall_ill_at_any_time() {
    let writes = ["buffered", "mmap", "discard", "stream"];
    for seed in 0..20 {
        let file = File::new(SIZE).seed(seed);
        let mut chance = fastrand::Rng::with_seed(seed);
        let ill = [chance.usize(0..24), chance.usize(0..24)];
        let illnesses = [0, 1].map(|_| match chance.u64(0..4) {
            0 => Illness::Dribbles,
            // The first request is the only one that nobody can send for its lane.
            1 if !ill.contains(&0) => Illness::Mute,
            _ => Illness::Silent(chance.u64(0..4 * BLOCK)),
        });
        let script = move |request: &Request, reply: Reply| match ill
            .iter()
            .position(|nth| *nth == request.nth)
        {
            Some(at) => illnesses[at].befall(reply),
            None => reply.dribble(64 << 10, DRIP / 20),
        };
        let origin = Origin::new().bent("/f.bin", file, script).start();
        let backends = backends();
        let io = backends[chance.usize(0..backends.len())];
        let way = Way { io, write: writes[chance.usize(0..writes.len())], connections: "8" };
        let outcome = way.take(run(&origin)).finish();
        way.assert_gives(&outcome, "f.bin", &file);
    }
}
