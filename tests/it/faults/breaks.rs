//! Connections that break, H32: the download goes on where it stopped, and fetches little twice.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use super::{Row, SURVIVED, at_every_turn, file, tagged_part};
use crate::ends::{Fault, SIZE, hold};
use crate::harness::Run;
use crate::origin::{Cut, File, Origin, Reply, Request};

/// Bytes that may be in flight on each connection when it breaks, and are lost with it.
const LOST_MAX: u64 = 1 << 20;

impl Fault {
    /// Every run ends well, and beside the file only what was in flight at `breaks` failures was sent.
    fn is_survived_cheaply(&self, breaks: u64) {
        self.each(|outcome, origin| {
            outcome.assert_gives("f.bin", &self.file);
            let most = SIZE + breaks * LOST_MAX;
            assert!(origin.served_bytes() <= most, "{} bytes sent", origin.served_bytes());
        });
    }
}

#[test]
fn h32_a_body_cut_short_is_continued() {
    for cut in [Cut::Close, Cut::Reset] {
        Fault::new(move |request, reply| match request.nth {
            0 | 2 => reply.cut(200_000, cut),
            _ => reply,
        })
        .is_survived_cheaply(2);
    }
}

#[test]
fn h32_a_server_that_cuts_every_body_is_outlasted_while_bytes_come() {
    Fault::new(|_, reply| reply.cut(100_000, Cut::Close)).is_survived_cheaply(40);
}

#[test]
fn h32_a_body_cut_at_its_first_byte_is_asked_again() {
    Fault::new(|request, reply| match request.nth {
        1 => reply.cut(0, Cut::Close),
        _ => reply,
    })
    .is_survived_cheaply(1);
}

#[test]
fn h32_a_stalled_body_is_continued() {
    Fault::new(|request, reply| match request.nth {
        0 => reply.cut(150_000, Cut::Stall),
        _ => reply,
    })
    .args(&["--stall-timeout", "1"])
    .is_survived_cheaply(1);
}

#[test]
fn h32_a_server_that_never_answers_is_asked_again() {
    Fault::new(|request, reply| match request.nth {
        0 => {
            let mut silent = Reply::raw("").cut(0, Cut::Stall);
            silent.body = crate::origin::Body::Bytes(vec![0]);
            silent
        }
        _ => reply,
    })
    .args(&["--stall-timeout", "1"])
    .is_survived();
}

#[test]
fn h32_a_slow_body_is_no_stall() {
    let file = File::new(20);
    Fault::of(file, |_, reply| reply.dribble(1, Duration::from_millis(100)))
        .args(&["--stall-timeout", "1"])
        .retries("0")
        .over(&["1"])
        .is_survived();
}

#[test]
fn h30_a_server_that_is_busy_for_a_while_is_asked_again() {
    for status in [
        "503 Service Unavailable",
        "500 Internal Server Error",
        "502 Bad Gateway",
        "504 Gateway Timeout",
        "408 Request Timeout",
        "429 Too Many Requests",
    ] {
        Fault::new(move |request, reply| match request.nth {
            0 | 2 => Reply::status(status),
            _ => reply,
        })
        .over(&["4"])
        .is_survived_cheaply(1);
    }
}

#[test]
fn the_wait_that_a_server_asks_for_is_granted() {
    Fault::new(|request, reply| match request.nth {
        0 => Reply::status("503 Service Unavailable").set("Retry-After", "1"),
        _ => reply,
    })
    .args(&["--json"])
    .over(&["1"])
    .each(|outcome, _| {
        outcome.assert_code(0);
        let retry = outcome.event("retry");
        assert_eq!(retry["kind"], "unavailable");
        assert!(retry["wait_seconds"].as_f64().unwrap() >= 1.0, "{retry}");
    });
}

#[test]
fn h32_a_kept_connection_that_was_closed_is_replaced_free_of_charge() {
    Fault::new(|request, reply| match request.turn {
        0 => reply,
        _ => Reply::hang_up(),
    })
    .retries("0")
    .is_survived_cheaply(0);
}

#[test]
fn h32_a_server_that_closes_after_every_answer_is_survived() {
    Fault::new(|_, reply| reply.closing()).retries("0").is_survived_cheaply(0);
}

#[test]
fn h32_without_retries_the_first_failure_ends_the_download() {
    for cut in [Cut::Close, Cut::Reset] {
        Fault::new(move |_, reply| reply.cut(1000, cut)).retries("0").ends(&[3]);
    }
    Fault::new(|_, reply| reply.cut(1000, Cut::Stall))
        .args(&["--stall-timeout", "1"])
        .retries("0")
        .over(&["1"])
        .ends(&[3]);
    Fault::new(|_, _| Reply::hang_up()).retries("0").ends(&[3]);
    Fault::new(|_, _| Reply::status("503 Service Unavailable")).retries("0").ends(&[5]);
}

#[test]
fn h32_retries_are_bounded() {
    Fault::new(|_, _| Reply::hang_up()).retries("2").over(&["1"]).each(|outcome, origin| {
        outcome.assert_fails(3, &[]);
        assert_eq!(origin.log().len(), 3);
    });
}

#[test]
fn h32_the_whole_transfer_ends_at_its_time_limit() {
    Fault::new(|_, reply| reply.cut(1000, Cut::Stall))
        .args(&["--max-time", "1"])
        .over(&["1"])
        .each(|outcome, _| outcome.assert_fails(3, &[]));
}

#[test]
fn an_address_that_works_only_once_is_refused() {
    let used = AtomicBool::new(false);
    let file = File::new(SIZE);
    let origin = Origin::new()
        .bent("/f.bin", file, move |_, reply| match used.swap(true, SeqCst) {
            false => reply,
            true => Reply::status("403 Forbidden"),
        })
        .start();
    let outcome = Run::new(&origin.url("/f.bin")).args(["-b", "64k", "--retries", "1"]).finish();
    outcome.assert_fails(5, &["403"]);
}

/// Where an answer may break: its name, and how to break it there.
type Phase = (&'static str, fn(Reply, Cut) -> Reply);

/// Every place where an answer may break.
const PHASES: [Phase; 8] = [
    ("before the head", |reply, cut| reply.cut_head(0, cut)),
    ("inside the status line", |reply, cut| reply.cut_head(9, cut)),
    ("inside the head", |reply, cut| reply.cut_head(60, cut)),
    ("behind the head", |reply, cut| reply.cut(0, cut)),
    ("behind the first byte", |reply, cut| reply.cut(1, cut)),
    ("amid the body", |reply, cut| {
        let half = reply.body.len() / 2;
        reply.cut(half, cut)
    }),
    ("a byte before the end", |reply, cut| {
        let length = reply.body.len();
        reply.cut(length - 1, cut)
    }),
    ("behind the body", |reply, cut| {
        let length = reply.body.len();
        reply.cut(length, cut)
    }),
];

/// An answer that breaks once, as the first or the second one.
fn broken_once(
    name: &str,
    bend: impl Fn(Reply) -> Reply + Copy + Send + Sync + 'static,
) -> Vec<Fault> {
    let faults = at_every_turn(name, SURVIVED, move |_, reply| bend(reply));
    faults.into_iter().take(2).collect()
}

#[test]
fn h32_an_answer_that_breaks_anywhere_is_asked_again() {
    let cuts = [("FIN", Cut::Close), ("RST", Cut::Reset)];
    hold(cuts.into_iter().flat_map(|(end, cut)| {
        PHASES.into_iter().flat_map(move |(phase, bend)| {
            broken_once(&format!("{end} {phase}"), move |reply| bend(reply, cut))
        })
    }));
}

#[test]
fn h32_an_answer_in_chunks_that_breaks_anywhere_is_asked_again() {
    let cuts = [("FIN", Cut::Close), ("RST", Cut::Reset)];
    hold(cuts.into_iter().flat_map(|(end, cut)| {
        PHASES.into_iter().flat_map(move |(phase, bend)| {
            broken_once(&format!("{end} {phase}"), move |reply| bend(reply.chunked(&[9000]), cut))
        })
    }));
}

#[test]
fn h32_an_answer_that_stalls_anywhere_is_asked_again() {
    let faults = PHASES.into_iter().flat_map(|(phase, bend)| {
        broken_once(&format!("silence {phase}"), move |reply| bend(reply, Cut::Stall))
    });
    hold(faults.map(|fault| fault.args(&["--stall-timeout", "0.5"]).retries("4")));
}

#[test]
fn h32_an_answer_that_comes_in_drops_is_waited_for() {
    const STEP: Duration = Duration::from_millis(1);
    let rows: [Row; 3] = [
        ("its head", |reply| reply.dribble_head(10, STEP)),
        ("its body", |reply| reply.dribble(40_000, STEP)),
        ("all of it, in chunks", |reply| {
            reply.chunked(&[40_000]).dribble_head(20, STEP).dribble(40_000, STEP)
        }),
    ];
    hold(
        rows.into_iter()
            .flat_map(|(name, bend)| at_every_turn(name, SURVIVED, move |_, reply| bend(reply))),
    );
}

#[test]
fn h32_a_head_has_a_deadline_as_a_whole() {
    // A byte is never long in coming, and the end of the head never comes.
    let drops = |reply: Reply| reply.dribble_head(1, Duration::from_millis(50));
    let faults = at_every_turn("drops", [&[0], &[0], &[3], &[3]], move |_, reply| drops(reply));
    hold(faults.into_iter().map(|fault| fault.args(&["--stall-timeout", "0.5"])));
}

#[test]
fn h32_a_kept_connection_may_end_at_any_moment() {
    let again: [Row; 4] = [
        ("FIN before the next head", |reply| reply.cut_head(0, Cut::Close)),
        ("RST before the next head", |reply| reply.cut_head(0, Cut::Reset)),
        ("FIN inside the next head", |reply| reply.cut_head(50, Cut::Close)),
        ("RST inside the next head", |reply| reply.cut_head(50, Cut::Reset)),
    ];
    let after: [Row; 6] = [
        ("FIN as announced", Reply::closing),
        ("FIN without a word", |mut reply| {
            reply.close = true;
            reply
        }),
        ("RST behind the body", |reply| {
            let length = reply.body.len();
            reply.cut(length, Cut::Reset)
        }),
        ("a keep-alive of no time", |mut reply| {
            reply.close = true;
            reply.set("Keep-Alive", "timeout=0, max=0")
        }),
        ("a farewell", |mut reply| {
            reply.close = true;
            reply.surplus(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")
        }),
        ("an option in capitals", |reply| reply.closing().set("Connection", "Foo, CLOSE")),
    ];
    // Many short answers, so that connections are kept.
    let short = |request: &Request, reply: Reply| match request.range.clone() {
        Some(range) if reply.is_part() => {
            let end = range.end.min(super::SIZE).min(range.start + 70_000);
            tagged_part(range.start..end)
        }
        _ => reply,
    };
    let next = again.into_iter().map(|(name, bend)| {
        Fault::of(file(), move |request, reply| match request.turn {
            0 => short(request, reply),
            _ => bend(short(request, reply)),
        })
        .named(name)
        // As many as there are kept connections, each of which breaks once.
        .retries("8")
    });
    let last = after.into_iter().map(|(name, bend)| {
        Fault::of(file(), move |request, reply| bend(short(request, reply))).named(name)
    });
    hold(next.chain(last));
}
