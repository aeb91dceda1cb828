//! N1 to N7, N12 and N13: connections that end, lie or dawdle.
//!
//! - N5, a stall and a dribble within a body: the tests stand in `stall.rs`.
//! - N11: cannot occur: there is no proxy support yet.
//! - N12: a black hole for large packets is a stall (N5); reordering is undone by the kernel below us.

use std::time::Duration;

use crate::ends::{Fault, SIZE};
use crate::harness::{Outcome, Run};
use crate::origin::{Body, Certificate, Cut, File, Origin, Reply, Request, Running};
use crate::ways::backends;

#[test]
fn n01_a_kept_connection_that_is_closed_costs_no_attempt() {
    for hang_up in [Cut::Close, Cut::Reset] {
        Fault::new(move |request, reply| match request.turn {
            0 => reply,
            // Without a byte, as where the server closed while the request was on its way.
            _ => Reply::raw("").body(Body::Bytes(vec![0])).cut(0, hang_up),
        })
        .retries("0")
        .each(|outcome, origin| {
            outcome.assert_gives("f.bin", &File::new(SIZE));
            assert!(origin.served_bytes() <= SIZE, "{} bytes sent", origin.served_bytes());
        });
    }
}

#[test]
fn n01_a_fresh_connection_that_is_closed_costs_an_attempt() {
    Fault::new(|_, _| Reply::hang_up()).retries("2").over(&["1"]).each(|outcome, origin| {
        outcome.assert_fails(3, &["closed"]);
        assert_eq!(origin.log().len(), 3);
    });
}

#[test]
fn n01_a_server_that_closes_after_every_answer_is_survived() {
    Fault::new(|_, reply| reply.closing()).retries("0").each(|outcome, origin| {
        outcome.assert_gives("f.bin", &File::new(SIZE));
        assert!(origin.log().iter().all(|request| request.turn == 0));
    });
}

/// A short answer, and right behind it what nobody asked for.
fn with_unasked(request: &Request, file: &File, unasked: &[u8]) -> Reply {
    let start = request.range.as_ref().unwrap().start;
    let next = (start + 300_000).min(file.size);
    let reply = Reply::part(file, start..next).set("ETag", &file.etag());
    let bytes = [&file.expected(start..next), unasked].concat();
    // One body for the origin, so that both leave in one write; the head announces the honest part alone.
    if next + 100 > file.size { reply } else { reply.body(Body::Bytes(bytes)) }
}

/// An answer for what will be asked next, with other bytes than those of the file.
fn forged(request: &Request, file: &File) -> Vec<u8> {
    let next = request.range.as_ref().unwrap().start + 300_000;
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {next}-{}/{}\r\n\
         Content-Length: 100\r\nETag: {}\r\n\r\n",
        next + 99,
        file.size,
        file.etag()
    );
    [head.as_bytes(), &[b'!'; 100]].concat()
}

type Unasked = fn(&Request, &File) -> Vec<u8>;

#[test]
fn n02_what_comes_unasked_on_a_kept_connection_is_never_parsed() {
    let file = File::new(SIZE);
    let timed_out = |_: &Request, _: &File| b"HTTP/1.1 408 Request Timeout\r\n\r\n".to_vec();
    let rows: [Unasked; 3] = [forged, timed_out, |_, _| b"x".to_vec()];
    for secure in [true, false] {
        for unasked in rows {
            for io in backends() {
                let script =
                    move |request: &Request| with_unasked(request, &file, &unasked(request, &file));
                let origin = Origin::new().at("/f.bin", script);
                let origin = match secure {
                    true => origin.tls(Certificate::valid_for("localhost")).start(),
                    false => origin.start(),
                };
                for connections in ["1", "8"] {
                    let run = Run::new(&origin.url("/f.bin")).args(["-k", "-b", "64k", "--io", io]);
                    let run = run.args(["-c", connections, "--retries", "0"]);
                    run.finish().assert_gives("f.bin", &file);
                }
            }
        }
    }
}

#[test]
fn n03_a_connection_with_a_body_that_was_not_read_to_its_end_is_not_used_again() {
    let file = File::new(SIZE);
    Fault::of(file, move |request, honest| match &request.range {
        // Twice as much as was asked for, and said so.
        Some(range) if range.end < SIZE => {
            let end = (range.end + (range.end - range.start)).min(SIZE);
            Reply::part(&file, range.start..end).set("ETag", &file.etag())
        }
        _ => honest,
    })
    .retries("0")
    .over(&["2", "8"])
    .each(|outcome, origin| {
        outcome.assert_gives("f.bin", &file);
        let log = origin.log();
        assert!(log.len() > 2 && log.iter().all(|request| request.turn == 0), "{log:?}");
    });
}

#[test]
fn n04_a_reset_within_a_body_keeps_what_came_before() {
    let file = File::new((8 << 20) + 17);
    Fault::of(file, |request, reply| match request.nth {
        0 => reply.cut(6 << 20, Cut::Reset),
        _ => reply,
    })
    .over(&["1"])
    .each(|outcome, origin| {
        outcome.assert_gives("f.bin", &file);
        // The kernel drops what the program has not read yet when the reset comes; all else is kept.
        let kept = origin.log()[1].range.as_ref().unwrap().start;
        assert!(kept > 0, "{:?}", origin.log());
        assert!(origin.served_bytes() <= (6 << 20) + file.size - kept);
    });
    Fault::new(|request, reply| match request.nth {
        0 | 2 => reply.cut(200_000, Cut::Reset),
        _ => reply,
    })
    .is_survived();
}

/// A head of which a byte comes in time, and the whole never.
fn dribbled_head() -> Reply {
    let head = format!("HTTP/1.1 206 Partial Content\r\nX: {}\r\n", "x".repeat(10_000));
    let mut reply = Reply::raw("").body(Body::Bytes(head.into_bytes()));
    reply = reply.dribble(1, Duration::from_millis(50));
    reply
}

#[test]
fn n06_one_deadline_holds_for_the_whole_head() {
    Fault::new(|_, _| dribbled_head())
        .args(&["--stall-timeout", "1"])
        .retries("0")
        .over(&["1", "8"])
        .each(|outcome, _| outcome.assert_fails(3, &["did not answer within", "--stall-timeout"]));
    Fault::new(|request, reply| match request.nth {
        0 | 2 => dribbled_head(),
        _ => reply,
    })
    .args(&["--stall-timeout", "1"])
    .is_survived();
}

/// Fetches `path` over TLS on every backend.
fn over_tls(origin: &Running, path: &str, check: impl Fn(&Outcome)) {
    for io in backends() {
        for connections in ["1", "8"] {
            let run = Run::new(&origin.url(path)).args(["-k", "--io", io, "-b", "64k"]);
            check(&run.args(["-c", connections, "--retries", "1"]).finish());
        }
    }
}

/// The body of `reply` and nothing behind it, not even TLS's closing message.
fn then_cut(reply: Reply, body: Vec<u8>) -> Reply {
    let length = body.len() as u64;
    let body = Body::Bytes([body, vec![0]].concat());
    reply.body(body).cut(length, Cut::Close)
}

#[test]
fn n07_a_body_that_tells_its_end_needs_no_close_notify() {
    let file = File::new(500_000);
    let origin = Origin::new()
        .tls(Certificate::valid_for("localhost"))
        .bent("/sized.bin", file, |_, reply| {
            let mut body = vec![0; usize::try_from(reply.body.len()).unwrap()];
            reply.body.read(0, &mut body);
            then_cut(reply, body)
        })
        .at("/chunked.bin", move |_| {
            let body = [b"7a120\r\n", &file.whole()[..], b"\r\n0\r\n\r\n"].concat();
            let whole = Reply::whole(&file).without("Content-Length");
            then_cut(whole.set("Transfer-Encoding", "chunked"), body)
        })
        .start();
    for name in ["sized.bin", "chunked.bin"] {
        over_tls(&origin, &format!("/{name}"), |outcome| {
            outcome.assert_gives(name, &file);
        });
    }
}

#[test]
fn n07_a_body_that_ends_with_the_connection_needs_close_notify() {
    let file = File::new(500_000);
    let origin = Origin::new()
        .tls(Certificate::valid_for("localhost"))
        .at("/good.bin", move |_| Reply::whole(&file).until_close())
        .at("/cut.bin", move |_| then_cut(Reply::whole(&file).until_close(), file.whole()))
        .at("/short.bin", move |_| {
            then_cut(Reply::whole(&file).until_close(), file.whole()[..400_000].to_vec())
        })
        .start();
    over_tls(&origin, "/good.bin", |outcome| {
        outcome.assert_gives("good.bin", &file);
    });
    for path in ["/cut.bin", "/short.bin"] {
        over_tls(&origin, path, |outcome| outcome.assert_fails(3, &["closing message"]));
    }
}

#[test]
fn n12_a_body_in_packets_of_one_byte_is_put_together() {
    let file = File::new(20_003);
    Fault::of(file, |_, reply| reply.dribble(1, Duration::ZERO))
        .args(&["-b", "4k"])
        .retries("0")
        .is_survived();
}

#[test]
fn n13_connections_that_end_before_the_request_is_read_are_replaced() {
    let file = File::new(SIZE);
    for cut in [Cut::Close, Cut::Reset] {
        for io in backends() {
            for connections in ["1", "8"] {
                let origin = Origin::new().deaf(2, cut).file("/f.bin", file).start();
                let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-b", "64k"]);
                let run = run.args(["-c", connections, "--retries", "2"]);
                run.finish().assert_gives("f.bin", &file);
                let origin = Origin::new().deaf(usize::MAX, cut).file("/f.bin", file).start();
                let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "--retries", "1"]);
                run.args(["-c", connections]).finish().assert_fails(3, &[]);
                assert!(origin.log().is_empty());
            }
        }
    }
}

#[test]
fn n13_an_answer_to_nothing_followed_by_a_reset_does_no_harm() {
    let file = File::new(SIZE);
    let busy = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    let odd = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n\r\nhello";
    for answer in [&busy[..], odd, b"\0\0"] {
        for cut in [Cut::Close, Cut::Reset] {
            for io in backends() {
                for connections in ["1", "8"] {
                    let origin = Origin::new().hasty(2, answer, cut).file("/f.bin", file).start();
                    let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-b", "64k"]);
                    let run = run.args(["-c", connections, "--retries", "2"]);
                    run.finish().assert_gives("f.bin", &file);
                }
            }
        }
    }
}
