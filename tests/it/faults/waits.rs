//! H28 and H29: an address that expires on the way, and a server that wants to be left alone.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use crate::ends::SIZE;
use crate::harness::{Outcome, Run};
use crate::origin::{Cut, File, Origin, Reply, Request, Running};
use crate::ways::backends;

/// Addresses that `/f.bin` leads to before it starts over.
const ADDRESSES: usize = 64;

/// `/f.bin` leads to a fresh address each time; `reply` gets the number of the address and the requests
/// that came for it before.
fn signed(
    file: File,
    reply: impl Fn(usize, &Request, Reply) -> Reply + Clone + Send + Sync + 'static,
) -> Running {
    let mut origin = Origin::new().at("/f.bin", |request| {
        Reply::redirect("302 Found", &format!("/signed?{}", request.nth % ADDRESSES))
    });
    for address in 0..ADDRESSES {
        let reply = reply.clone();
        origin = origin.bent(&format!("/signed?{address}"), file, move |request, honest| {
            reply(address, request, honest)
        });
    }
    origin.start()
}

/// Times that the typed address was asked.
fn asked(origin: &Running) -> usize {
    origin.log().iter().filter(|request| request.path == "/f.bin").count()
}

/// Runs against a fresh origin on every backend, over one and over eight connections.
fn each_way(origin: impl Fn() -> Running, args: &[&str], check: impl Fn(&Outcome, &Running)) {
    for connections in ["1", "8"] {
        over(connections, &origin, args, &check);
    }
}

/// Runs against a fresh origin on every backend.
fn over(
    connections: &str,
    origin: impl Fn() -> Running,
    args: &[&str],
    check: impl Fn(&Outcome, &Running),
) {
    for io in backends() {
        let origin = origin();
        let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-b", "64k"]);
        check(&run.args(["-c", connections, "--retries", "2"]).args(args).finish(), &origin);
    }
}

#[test]
fn h28_an_address_that_expires_is_asked_for_again_by_one_connection() {
    let file = File::new(SIZE);
    for status in ["400 Bad", "401 No", "403 No", "404 No", "410 Gone"] {
        let origin = move || {
            signed(file, move |address, request, honest| match (address, request.nth) {
                (0, 3..) => Reply::status(status),
                (0, _) => honest.cut(150_000, Cut::Close),
                _ => honest,
            })
        };
        each_way(origin, &[], |outcome, origin| {
            outcome.assert_gives("f.bin", &file);
            assert_eq!(asked(origin), 2, "{:?}", origin.log());
            assert_eq!(outcome.stderr.matches("refuse").count(), 0, "{}", outcome.stderr);
        });
    }
}

#[test]
fn h28_an_address_that_expires_costs_no_byte_and_no_attempt() {
    let file = File::new(SIZE);
    let origin = || {
        signed(file, |address, request, honest| match (address, request.nth) {
            (0, 1..) => Reply::status("403 Forbidden"),
            (0, _) => honest.cut(200_000, Cut::Close),
            _ => honest,
        })
    };
    over("1", origin, &[], |outcome, origin| {
        outcome.assert_gives("f.bin", &file);
        let refusals = Reply::status("403 Forbidden").body.len();
        let redirects = 2 * Reply::redirect("302 Found", "").body.len();
        assert_eq!(origin.served_bytes(), SIZE + refusals + redirects);
    });
}

#[test]
fn h28_addresses_that_live_for_some_bytes_only_are_renewed_to_the_end() {
    let file = File::new((1 << 20) + 17);
    let origin = || {
        signed(file, |_, request, honest| match request.nth {
            0 => honest.cut(150_000, Cut::Close),
            _ => Reply::status("403 Forbidden"),
        })
    };
    each_way(origin, &[], |outcome, origin| {
        outcome.assert_gives("f.bin", &file);
        assert!(asked(origin) >= 7, "{}", asked(origin));
    });
}

#[test]
fn h28_a_fresh_address_that_refuses_too_ends_the_download() {
    let file = File::new(SIZE);
    let origin = || {
        signed(file, |address, request, honest| match (address, request.nth) {
            (0, 0..3) => honest.cut(150_000, Cut::Close),
            _ => Reply::status("403 Forbidden"),
        })
    };
    each_way(origin, &[], |outcome, origin| {
        outcome.assert_fails(5, &["403"]);
        assert!((2..=9).contains(&asked(origin)), "{:?}", origin.log());
    });
}

#[test]
fn h28_a_typed_address_that_refuses_by_now_ends_the_download() {
    let file = File::new(SIZE);
    let origin = || {
        Origin::new()
            .at("/f.bin", |request| match request.nth {
                0 => Reply::redirect("302 Found", "/signed"),
                _ => Reply::status("410 Gone"),
            })
            .bent("/signed", file, |request, honest| match request.nth {
                0..3 => honest.cut(150_000, Cut::Close),
                _ => Reply::status("403 Forbidden"),
            })
            .start()
    };
    each_way(origin, &[], |outcome, origin| {
        outcome.assert_fails(5, &["410"]);
        assert!((2..=9).contains(&asked(origin)), "{:?}", origin.log());
    });
}

#[test]
fn h28_a_typed_address_that_is_busy_for_a_while_is_waited_for() {
    let file = File::new(SIZE);
    let origin = || {
        Origin::new()
            .at("/f.bin", |request| match request.nth {
                0 => Reply::redirect("302 Found", "/signed?0"),
                1 => Reply::status("503 Service Unavailable"),
                _ => Reply::redirect("302 Found", "/signed?1"),
            })
            .bent("/signed?0", file, |request, honest| match request.nth {
                0..3 => honest.cut(150_000, Cut::Close),
                _ => Reply::status("403 Forbidden"),
            })
            .file("/signed?1", file)
            .start()
    };
    each_way(origin, &[], |outcome, _| {
        outcome.assert_gives("f.bin", &file);
    });
}

#[test]
fn h28_a_fresh_address_of_another_version_gives_that_version_alone() {
    let old = File::new(SIZE);
    let new = old.version(2);
    let origin = || {
        signed(new, move |address, request, honest| match (address, request.nth) {
            (0, 0..3) => Reply::honest(&old, request).cut(150_000, Cut::Close),
            (0, _) => Reply::status("403 Forbidden"),
            _ => honest,
        })
    };
    each_way(origin, &[], |outcome, _| {
        outcome.assert_gives("f.bin", &new);
    });
}

#[test]
fn h28_an_address_whose_machine_is_gone_is_asked_for_again() {
    let file = File::new(SIZE);
    for io in backends() {
        for connections in ["1", "8"] {
            let stalling =
                |_: &Request, honest: Reply| honest.set("X", "y").cut(40_000, Cut::Stall);
            let gone = Origin::new().bent("/f.bin", file, stalling).start();
            let first = gone.url("/f.bin");
            let origin = Origin::new()
                .at("/f.bin", move |request| match request.nth {
                    0 => Reply::redirect("302 Found", &first),
                    _ => Reply::redirect("302 Found", "/other.bin"),
                })
                .file("/other.bin", file)
                .start();
            let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-b", "64k"]);
            let started = run.args(["-c", connections, "--retries", "2"]).start();
            gone.wait_for_requests(1);
            drop(gone);
            started.finish().assert_gives("f.bin", &file);
        }
    }
}

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
