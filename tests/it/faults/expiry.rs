//! H28: an address that a redirect led to expires on the way.

use crate::ends::SIZE;
use crate::harness::{Outcome, Run};
use crate::origin::{Cut, File, Latch, Origin, Reply, Request, Running};
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
pub(super) fn each_way(
    origin: impl Fn() -> Running,
    args: &[&str],
    check: impl Fn(&Outcome, &Running),
) {
    for connections in ["1", "8"] {
        over(connections, &origin, args, &check);
    }
}

/// Runs against a fresh origin on every backend.
pub(super) fn over(
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

/// A short part of what is asked for.
fn shortly(file: &File, request: &Request) -> Reply {
    let range = request.range.as_ref().unwrap();
    let end = range.end.min(range.start + 131_072).min(file.size);
    Reply::part(file, range.start..end).set("ETag", &file.etag())
}

#[test]
fn h28_a_late_answer_by_the_old_address_does_not_bring_it_back() {
    let file = File::new(SIZE);
    let origin = || {
        let is_renewed = Latch::default();
        signed(file, move |address, request, _| match (address, request.nth) {
            (0, 0) => shortly(&file, request),
            (0, 1) => shortly(&file, request).after(&is_renewed),
            (0, _) => Reply::status("403 Forbidden"),
            _ => {
                if request.nth > 0 {
                    is_renewed.open();
                }
                shortly(&file, request)
            }
        })
    };
    over("2", origin, &[], |outcome, origin| {
        outcome.assert_gives("f.bin", &file);
        assert_eq!(asked(origin), 2, "{:?}", origin.log());
    });
}
