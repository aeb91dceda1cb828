//! Failures that pass: the download goes on where it stopped, and fetches little twice.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use crate::ends::{Fault, SIZE};
use crate::harness::Run;
use crate::origin::{Cut, File, Origin, Reply, Validator};

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
fn a_body_cut_short_is_continued() {
    for cut in [Cut::Close, Cut::Reset] {
        Fault::new(move |request, reply| match request.nth {
            0 | 2 => reply.cut(200_000, cut),
            _ => reply,
        })
        .is_survived_cheaply(2);
    }
}

#[test]
fn a_server_that_cuts_every_body_is_outlasted_while_bytes_come() {
    Fault::new(|_, reply| reply.cut(100_000, Cut::Close)).is_survived_cheaply(40);
}

#[test]
fn a_body_cut_at_its_first_byte_is_asked_again() {
    Fault::new(|request, reply| match request.nth {
        1 => reply.cut(0, Cut::Close),
        _ => reply,
    })
    .is_survived_cheaply(1);
}

#[test]
fn a_stalled_body_is_continued() {
    Fault::new(|request, reply| match request.nth {
        0 => reply.cut(150_000, Cut::Stall),
        _ => reply,
    })
    .args(&["--stall-timeout", "1"])
    .is_survived_cheaply(1);
}

#[test]
fn a_server_that_never_answers_is_asked_again() {
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
fn a_slow_body_is_no_stall() {
    let file = File::new(20);
    Fault::of(file, |_, reply| reply.dribble(1, Duration::from_millis(100)))
        .args(&["--stall-timeout", "1"])
        .retries("0")
        .over(&["1"])
        .is_survived();
}

#[test]
fn a_server_that_is_busy_for_a_while_is_asked_again() {
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
fn without_retries_the_first_failure_ends_the_download() {
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

/// Serves two connections at a time and answers the others with `status`.
fn crowded(status: &'static str) -> Fault {
    Fault::new(move |request, reply| match request.open > 2 {
        true => Reply::status(status).closing(),
        false => reply,
    })
    .over(&["8"])
    .retries("8")
}

#[test]
fn fewer_connections_are_used_where_a_server_has_no_room_for_more() {
    crowded("429 Too Many Requests").is_survived();
    crowded("503 Service Unavailable").is_survived();
}

#[test]
fn fewer_connections_are_used_where_a_server_forbids_more() {
    crowded("403 Forbidden").is_survived();
}

#[test]
fn the_whole_transfer_ends_at_its_time_limit() {
    Fault::new(|_, reply| reply.cut(1000, Cut::Stall))
        .args(&["--max-time", "1"])
        .over(&["1"])
        .each(|outcome, _| outcome.assert_fails(3, &[]));
}

/// The first answer, cut short so that a single connection has to ask again too, and then another version.
fn changing(old: File, new: File) -> Fault {
    Fault::of(new, move |request, _| match request.nth {
        0 => Reply::honest(&old, request).cut(200_000, Cut::Close),
        _ => Reply::honest(&new, request),
    })
}

#[test]
fn a_file_that_changes_on_the_way_is_fetched_anew() {
    for version in [Validator::Strong, Validator::Weak, Validator::Date, Validator::None] {
        let old = File::new(SIZE).validator(version);
        changing(old, old.version(2)).is_survived();
    }
}

#[test]
fn a_file_that_grows_or_shrinks_on_the_way_is_fetched_anew() {
    for size in [SIZE + 100_000, SIZE - 100_000, 100_000, 1] {
        changing(File::new(SIZE), File::new(size).version(2)).is_survived();
    }
}

#[test]
fn a_change_is_seen_where_conditions_are_ignored() {
    let new = File::new(SIZE).version(2);
    Fault::of(new, move |request, _| {
        let plain = request.without("if-range").without("if-match");
        match request.nth {
            0 => Reply::honest(&new.version(1), &plain).cut(200_000, Cut::Close),
            _ => Reply::honest(&new, &plain),
        }
    })
    .is_survived();
}

#[test]
fn a_file_that_never_stops_changing_is_given_up() {
    Fault::new(|request, _| {
        let version = File::new(SIZE).version(request.nth as u64);
        Reply::honest(&version, request).cut(200_000, Cut::Close)
    })
    .ends(&[6]);
}

#[test]
fn a_change_does_not_wait_for_an_answer_of_the_old_version() {
    let new = File::new(SIZE).version(2);
    Fault::of(new, move |request, _| match request.nth {
        0 => Reply::honest(&new.version(1), request).cut(100, Cut::Stall),
        _ => Reply::honest(&new, request),
    })
    .args(&["--stall-timeout", "3600"])
    .over(&["8"])
    .is_survived();
}

#[test]
fn a_tag_that_differs_per_connection_never_gives_wrong_bytes() {
    let tagged =
        |connection: usize, reply: Reply| reply.set("ETag", &format!("\"node-{connection}\""));
    Fault::new(move |request, _| {
        let plain = request.without("if-range").without("if-match");
        tagged(request.connection, Reply::honest(&File::new(SIZE), &plain))
    })
    .ends(&[0, 6]);
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
