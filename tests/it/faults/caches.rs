//! Proxies, caches and copies that change what they hand on: H15, H16, H23, H31, H39 and H40.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::{Row, SIZE, SURVIVED, Turns, at_every_turn, digest_of, file, span, tagged_part, whole};
use crate::ends::{Fault, hold};
use crate::harness::Run;
use crate::origin::{Body, Cut, File, Origin, Reply, Request};
use crate::ways::backends;

/// Two retries do not help against a server that does this all the time.
const REFUSED: Turns = [&[0], &[0], &[6], &[6]];

/// Fetches `/f.bin` of `typed`, with the same path of `other` as an alternate.
fn mirrored(
    typed: File,
    other: File,
    args: &[&str],
    check: impl Fn(&crate::harness::Outcome, [usize; 2]),
) {
    for io in backends() {
        for connections in ["1", "8"] {
            let tag = |reply: Reply, tag: &str| reply.set("ETag", tag);
            let first = Origin::new().bent("/f.bin", typed, move |request, reply| {
                let reply = tag(reply, "\"one\"");
                if request.nth == 0 { reply.cut(200_000, Cut::Close) } else { reply }
            });
            let second = Origin::new().bent("/f.bin", other, move |_, reply| tag(reply, "\"two\""));
            let (first, second) = (first.start(), second.start());
            let run = Run::new(&first.url("/f.bin")).args(["--alternate", &second.url("/f.bin")]);
            let outcome =
                run.args(["--io", io, "-c", connections, "-b", "64k"]).args(args).finish();
            check(&outcome, [first.log().len(), second.log().len()]);
        }
    }
}

#[test]
fn h15_tags_of_different_hosts_are_not_compared() {
    let digest = digest_of(&file());
    mirrored(file(), file(), &["--checksum", &digest], |outcome, _| {
        outcome.assert_gives("f.bin", &file());
    });
}

#[test]
fn h15_copies_are_combined_under_a_digest_alone() {
    mirrored(file(), file().version(2), &[], |outcome, [_, second]| {
        outcome.assert_gives("f.bin", &file());
        assert_eq!(second, 0, "the alternate only stands in");
    });
    let digest = digest_of(&file());
    mirrored(file().version(2), file().version(2), &["--checksum", &digest], |outcome, _| {
        outcome.assert_fails(8, &[]);
    });
}

/// A fault that looks at the request: its name and how it bends a reply.
type BendRow = (&'static str, fn(&Request, Reply) -> Reply);

#[test]
fn h16_a_coding_that_was_not_asked_for_is_refused() {
    let rows: [BendRow; 6] = [
        ("gzip", |_, reply| reply.set("Content-Encoding", "gzip")),
        ("br in chunks", |_, reply| reply.set("Content-Encoding", "br").chunked(&[5000])),
        ("zstd and a weak tag", |_, reply| {
            reply.set("Content-Encoding", "zstd").set("ETag", "W/\"a\"")
        }),
        ("gzip of the whole", |request, _| {
            whole(request).set("Content-Encoding", "gzip").chunked(&[1000])
        }),
        ("two fields", |_, reply| {
            reply.line("Content-Encoding: identity").line("Content-Encoding: gzip")
        }),
        ("no word at all", |_, reply| reply.set("Content-Encoding", "")),
    ];
    hold(rows.into_iter().flat_map(|(name, bend)| at_every_turn(name, REFUSED, bend)));
}

#[test]
fn h16_identity_is_asked_for_and_is_no_coding() {
    hold(at_every_turn("identity", SURVIVED, |request, reply| {
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        reply.set("Content-Encoding", "Identity")
    }));
}

#[test]
fn h23_no_request_is_a_head() {
    // The scenarios all look at the methods; here a server has no other answer to a HEAD than an error.
    let fault = Fault::of(file(), |request, reply| match request.method.as_str() {
        "GET" => reply,
        _ => Reply::status("405 Method Not Allowed"),
    });
    hold([
        fault.clone().named("405 to a HEAD"),
        fault.named("under a digest").args(&["--checksum", &digest_of(&file())]),
    ]);
}

/// What somebody gets who is not logged in any more.
fn login() -> Reply {
    let page = "<html><form>Who are you?</form></html>".repeat(20);
    Reply::status("200 OK")
        .set("Content-Type", "text/html; charset=utf-8")
        .set("Content-Length", &page.len().to_string())
        .body(Body::Bytes(page.into_bytes()))
}

/// Honest answers that say of what kind the file is.
fn typed(reply: Reply) -> Reply {
    reply.set("Content-Type", "application/octet-stream")
}

#[test]
fn h31_a_login_page_is_not_the_file() {
    // As the first answer it cannot be told from the file, so that only a digest helps.
    let rows: [Row; 4] = [
        ("a page", |page| page),
        ("a page in chunks", |page| page.chunked(&[100])),
        ("a page until close", Reply::until_close),
        ("a page in capitals", |page| page.set("Content-Type", "TEXT/HTML")),
    ];
    hold(rows.into_iter().flat_map(|(name, bend)| {
        [(1..2, [0].as_slice()), (1..usize::MAX, &[6])].map(|(turns, codes)| {
            let fault = Fault::of(file(), move |request, reply| match request.nth {
                nth if turns.contains(&nth) => bend(login()),
                0 => typed(reply).cut(200_000, Cut::Close),
                _ => typed(reply),
            });
            fault.named(name).codes(codes).requests(60)
        })
    }));
    let digest = digest_of(&file());
    let faults = at_every_turn("under a digest", [&[8], &[0], &[6, 8], &[8]], |_, _| login());
    hold(faults.into_iter().map(|fault| fault.args(&["--checksum", &digest])));
}

#[test]
fn h31_a_redirect_to_a_login_page_is_not_the_file() {
    for io in backends() {
        for connections in ["1", "8"] {
            let origin = Origin::new()
                .at("/login", |_| login())
                .bent("/f.bin", file(), |request, reply| match request.nth {
                    0 => typed(reply).cut(200_000, Cut::Close),
                    _ => Reply::redirect("302 Found", "/login"),
                })
                .start();
            let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-c", connections]);
            run.args(["-b", "64k", "--retries", "2"]).finish().assert_fails(6, &["page"]);
        }
    }
}

#[test]
fn h31_a_file_that_is_a_page_is_fetched() {
    hold(at_every_turn("a page", SURVIVED, |_, reply| reply.set("Content-Type", "text/html")));
}

#[test]
fn h39_a_cache_with_half_the_file_never_gives_a_wrong_one() {
    // Whatever is asked for, nothing comes from byte 600 000 on.
    let truncated = |request: &Request, reply: Reply| {
        let (start, end) = span(request);
        match 600_000_u64.checked_sub(start) {
            None | Some(0) => reply.cut(0, Cut::Close),
            Some(left) if left < end - start => reply.cut(left, Cut::Close),
            Some(_) => reply,
        }
    };
    let short = File::new(600_000);
    let cached = move |_: &Request, reply: Reply| {
        let (range, total) = (reply.is_part(), short.size);
        match range {
            true => Reply::part(&short, 0..total).set("ETag", &file().etag()),
            false => Reply::whole(&short),
        }
    };
    let digest = digest_of(&file());
    hold([
        Fault::of(file(), truncated).named("cut").codes(&[3]).requests(60),
        Fault::of(file(), truncated)
            .named("cut, under a digest")
            .codes(&[3])
            .requests(60)
            .args(&["--checksum", &digest]),
        // Such a copy is whole for all that its head says.
        Fault::of(file(), cached)
            .named("with its own total")
            .codes(&[6, 8])
            .requests(60)
            .args(&["--checksum", &digest]),
    ]);
}

#[test]
fn h39_what_broke_is_asked_for_around_the_caches() {
    let halved = |request: &Request, reply: Reply| match request.header("cache-control") {
        Some("no-cache") => reply,
        None => {
            let left = 600_000_u64.saturating_sub(span(request).0);
            let length = reply.body.len();
            if left < length { reply.cut(left, Cut::Close) } else { reply }
        }
        Some(other) => Reply::status(&format!("400 {other}")),
    };
    hold([Fault::of(file(), halved).named("half of it").requests(60)]);
    // What the user says of caches is the last word.
    let own = move |request: &Request, reply: Reply| match request.header("cache-control") {
        Some("max-age=5") if request.nth == 0 => reply.cut(200_000, Cut::Close),
        Some("max-age=5") => reply,
        other => Reply::status(&format!("400 {other:?}")),
    };
    hold([Fault::of(file(), own).named("own words").args(&["-H", "Cache-Control: max-age=5"])]);
}

/// Two requests that wait for each other, so that each gets the part of the other.
#[derive(Default)]
struct Pair(Mutex<Vec<(u64, u64)>>, Condvar);

impl Pair {
    fn swap(&self, request: &Request, reply: Reply) -> Reply {
        if !(1..=2).contains(&request.nth) || !reply.is_part() {
            return reply;
        }
        let mut seen = self.0.lock().unwrap();
        seen.push(span(request));
        self.1.notify_all();
        let alone = |seen: &mut Vec<_>| seen.len() < 2;
        let (seen, _) = self.1.wait_timeout_while(seen, PAIR_DEADLINE, alone).unwrap();
        let other = seen.iter().find(|other| **other != span(request));
        other.map_or(reply, |(start, end)| tagged_part(*start..*end))
    }
}

/// Longest wait for the second request of a pair.
const PAIR_DEADLINE: Duration = Duration::from_secs(10);

#[test]
fn h40_answers_that_are_swapped_are_never_written_where_they_do_not_belong() {
    for io in backends() {
        let pair = Pair::default();
        let swap = move |request: &Request, reply: Reply| pair.swap(request, reply);
        let origin = Origin::new().bent("/f.bin", file(), swap).start();
        let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-c", "8", "-b", "64k"]);
        run.finish().assert_gives("f.bin", &file());
    }
}

/// A fault with the exit codes that it may have.
type TurnsRow = (&'static str, Turns, fn(&Request, Reply) -> Reply);

#[test]
fn h40_the_answer_to_an_earlier_question_is_never_taken() {
    // The part that was asked for before, once and for ever.
    let before: fn(&Request, Reply) -> Reply = |request, _| {
        let (start, end) = span(request);
        let earlier = start.saturating_sub(end - start);
        match start {
            0 => tagged_part(start..end),
            _ => tagged_part(earlier..start),
        }
    };
    let rows: [TurnsRow; 3] = [
        // A single connection asks for all at once, and there is nothing before that.
        ("the part before", [&[0], &[0], &[6], &[0, 6]], before),
        ("the part of another file", SURVIVED, |request, _| {
            let (start, end) = span(request);
            let other = file().seed(9);
            Reply::part(&other, start..end).set("ETag", &other.etag())
        }),
        ("another file, whole", SURVIVED, |_, _| {
            let other = File::new(SIZE + 5).seed(9);
            Reply::whole(&other).set("ETag", &other.etag())
        }),
    ];
    let other = File::new(SIZE + 5).seed(9);
    hold(rows.into_iter().flat_map(|(name, codes, bend)| {
        at_every_turn(name, codes, bend).into_iter().map(|fault| fault.or(other).or(file().seed(9)))
    }));
}
