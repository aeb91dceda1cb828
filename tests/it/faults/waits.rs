//! H29: a server that wants to be left alone for a while.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use super::expiry::{each_way, over};
use crate::ends::SIZE;
use crate::harness::Run;
use crate::origin::{Cut, File, Origin, Reply, Request, Running};
use crate::ways::backends;

/// When each request came.
type Times = Arc<Mutex<Vec<Instant>>>;

/// Requests that may be under way while the client reads that it should wait.
const UNDER_WAY: usize = 2;

/// A short part of what is asked for, that takes a moment.
fn slowly(file: &File, request: &Request) -> Reply {
    let start = request.range.as_ref().unwrap().start;
    let end = request.range.as_ref().unwrap().end.min(start + 131_072).min(file.size);
    let reply = Reply::part(file, start..end).set("ETag", &file.etag());
    reply.dribble(32_768, Duration::from_millis(25))
}

/// Answers slowly, and has the third request wait for a second.
fn patient(file: File, times: Times) -> Running {
    let script = move |request: &Request| {
        times.lock().unwrap().push(Instant::now());
        match request.nth {
            2 => Reply::status("429 Too Many Requests").set("Retry-After", "1"),
            _ => slowly(&file, request),
        }
    };
    Origin::new().at("/f.bin", script).start()
}

#[test]
fn h29_the_wait_that_one_connection_is_asked_for_is_the_wait_of_all() {
    for io in backends() {
        for target in [&[][..], &["-o", "-"]] {
            let times = Times::default();
            let origin = patient(File::new(2 << 20), times.clone());
            let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-b", "64k", "-c", "2"]);
            run.args(target).finish().assert_code(0);
            let refused = origin.log().iter().position(|request| request.nth == 2).unwrap();
            let times = times.lock().unwrap();
            let free = times[refused] + Duration::from_secs(1);
            let early = times[refused + 1..].iter().filter(|time| **time < free).count();
            assert!(early <= UNDER_WAY, "{early} requests within the second of {io} {target:?}");
            assert!(times.len() > refused + 1 + early, "nobody asked again");
        }
    }
}

#[test]
fn h29_another_address_of_the_file_is_asked_while_one_wants_to_be_left_alone() {
    let file = File::new(8 << 20);
    let digest = format!("blake3={}", blake3::hash(&file.whole()));
    for io in backends() {
        let (busy_times, other_times) = (Times::default(), Times::default());
        let busy = patient(file, busy_times.clone());
        let noted = other_times.clone();
        let other = Origin::new().at("/f.bin", move |request| {
            noted.lock().unwrap().push(Instant::now());
            slowly(&file, request)
        });
        let other = other.start();
        let run = Run::new(&busy.url("/f.bin")).args(["--io", io, "-b", "64k", "-c", "4"]);
        let run = run.args(["--alternate", &other.url("/f.bin"), "--checksum", &digest]);
        run.finish().assert_gives("f.bin", &file);
        let busy_times = busy_times.lock().unwrap();
        let free = busy_times[2] + Duration::from_secs(1);
        let early = busy_times[3..].iter().filter(|time| **time < free).count();
        assert!(early <= UNDER_WAY, "{early} requests within the second");
        let meanwhile = other_times.lock().unwrap();
        let meanwhile = meanwhile.iter().filter(|time| (busy_times[2]..free).contains(*time));
        assert!(meanwhile.count() > UNDER_WAY, "the other address was left alone too");
    }
}

#[test]
fn h29_a_wait_in_seconds_is_granted() {
    let file = File::new(SIZE);
    let origin = || {
        Origin::new()
            .bent("/f.bin", file, |request, honest| match request.nth {
                0 => Reply::status("503 Service Unavailable").set("Retry-After", "1"),
                _ => honest,
            })
            .start()
    };
    each_way(origin, &["--json"], |outcome, _| {
        outcome.assert_gives("f.bin", &file);
        let retry = outcome.event("retry");
        assert_eq!(retry["kind"], "unavailable");
        assert!(retry["wait_seconds"].as_f64().unwrap() >= 1.0, "{retry}");
    });
}

#[test]
fn h29_a_date_counts_from_the_servers_clock_and_not_ours() {
    let file = File::new(SIZE);
    let century = Duration::from_secs(100 * 365 * 86_400);
    let ours = SystemTime::now();
    for (connections, theirs) in [("1", ours - century / 2), ("8", ours + century)] {
        let origin = || {
            let until = theirs + Duration::from_secs(1);
            let busy = Reply::status("503 Service Unavailable")
                .set("Date", &httpdate::fmt_http_date(theirs))
                .set("Retry-After", &httpdate::fmt_http_date(until));
            let script = move |request: &Request, honest| match request.nth {
                0 => busy.clone(),
                _ => honest,
            };
            Origin::new().bent("/f.bin", file, script).start()
        };
        over(connections, origin, &["--json"], |outcome, _| {
            outcome.assert_gives("f.bin", &file);
            let wait = outcome.event("retry")["wait_seconds"].as_f64().unwrap();
            assert!((1.0..=1.1).contains(&wait), "{wait} s");
        });
    }
}

#[test]
fn h29_a_wait_beyond_the_longest_ends_the_download_and_is_told() {
    let file = File::new(SIZE);
    for asked in ["86400", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        for first in [0, 1] {
            let origin = || {
                let script = move |request: &Request, honest: Reply| match request.nth < first {
                    true => honest.cut(150_000, Cut::Close),
                    false => Reply::status("429 Too Many Requests").set("Retry-After", asked),
                };
                Origin::new().bent("/f.bin", file, script).start()
            };
            each_way(origin, &[], |outcome, origin| {
                outcome.assert_fails(5, &["429", "again in"]);
                assert!(asked != "86400" || outcome.stderr.contains("24:00:00 h"));
                assert!(origin.log().len() <= first + 8, "{} requests", origin.log().len());
            });
        }
    }
}

#[test]
fn h29_a_wait_of_no_time_is_no_leave_to_hammer() {
    let file = File::new(SIZE);
    let past = "Thu, 01 Jan 1970 00:00:00 GMT";
    for asked in ["0", past] {
        let origin = || {
            let busy = Reply::status("503 Service Unavailable").set("Retry-After", asked);
            Origin::new().bent("/f.bin", file, move |_, _| busy.clone()).start()
        };
        each_way(origin, &["--json"], |outcome, origin| {
            outcome.assert_fails(5, &["503"]);
            assert_eq!(origin.log().len(), 3);
            for event in outcome.events().iter().filter(|event| event["event"] == "retry") {
                assert!(event["wait_seconds"].as_f64().unwrap() >= 0.125, "{event}");
            }
        });
    }
}

#[test]
fn h29_fewer_connections_ask_a_server_that_has_had_enough() {
    let file = File::new(SIZE);
    let refused = Arc::new(AtomicUsize::new(0));
    for io in backends() {
        let counter = refused.clone();
        counter.store(0, SeqCst);
        let script = move |request: &Request, honest: Reply| match request.open > 2 {
            true => {
                counter.fetch_add(1, SeqCst);
                Reply::status("429 Too Many Requests").set("Retry-After", "1").closing()
            }
            false => honest.dribble(16_384, Duration::from_millis(5)),
        };
        let origin = Origin::new().bent("/f.bin", file, script).start();
        let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-b", "64k", "-c", "8"]);
        run.args(["--retries", "8"]).finish().assert_gives("f.bin", &file);
        assert!(refused.load(SeqCst) > 0, "nothing was refused");
    }
}
