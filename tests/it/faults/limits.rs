//! Files without bytes, and servers with little room: H24 and H38.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::Row;
use crate::ends::{Fault, hold};
use crate::origin::{Cut, File, Reply, Request, Validator};

/// An answer of its own: its name and what it is.
type AnswerRow = (&'static str, fn(&Request) -> Reply);

#[test]
fn h24_a_file_without_bytes_is_a_file() {
    let empty = File::new(0);
    let bare = empty.validator(Validator::None);
    let rows: [AnswerRow; 9] = [
        ("416 that tells the size", |request| Reply::honest(&File::new(0), request)),
        ("200 of length 0", |_| Reply::whole(&File::new(0))),
        ("200 in no chunk", |_| Reply::whole(&File::new(0)).chunked(&[1])),
        ("200 until close", |_| Reply::whole(&File::new(0)).until_close()),
        ("416 that does not, then 200", |request| match request.range {
            Some(_) => Reply::status("416 Range Not Satisfiable"),
            None => Reply::whole(&File::new(0)),
        }),
        ("206 of nothing, then 200", |request| match request.range {
            Some(_) => Reply::whole(&File::new(0)).set("Content-Range", "bytes 0-0/0"),
            None => Reply::whole(&File::new(0)),
        }),
        ("206 of an empty range, then 200", |request| match request.range {
            Some(_) => {
                let mut reply = Reply::whole(&File::new(0));
                reply.status = "206 Partial Content".to_owned();
                reply.set("Content-Range", "bytes 0--1/0")
            }
            None => Reply::whole(&File::new(0)),
        }),
        ("416 with a long body", |_| {
            Reply::status(&"416 Range Not Satisfiable ".repeat(40))
                .set("Content-Range", "bytes */0")
        }),
        ("a busy server first", |request| match request.nth {
            0 => Reply::status("503 Service Unavailable"),
            _ => Reply::whole(&File::new(0)),
        }),
    ];
    hold(rows.into_iter().flat_map(|(name, answer)| {
        [empty, bare].map(|file| Fault::of(file, move |request, _| answer(request)).named(name))
    }));
}

#[test]
fn h24_no_content_is_no_file_without_bytes() {
    let statuses = ["204 No Content", "205 Reset Content", "304 Not Modified"];
    hold(statuses.map(|status| {
        let fault = Fault::new(move |_, _| Reply::status(status));
        fault.named(status).retries("0").codes(&[6])
    }));
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
fn h38_fewer_connections_are_used_where_a_server_has_no_room_for_more() {
    crowded("429 Too Many Requests").is_survived();
    crowded("503 Service Unavailable").is_survived();
}

#[test]
fn h38_fewer_connections_are_used_where_a_server_forbids_more() {
    crowded("403 Forbidden").is_survived();
}

#[test]
fn h38_connections_beyond_the_room_of_the_server_are_not_missed() {
    let rows: [Row; 8] = [
        ("429", |_| Reply::status("429 Too Many Requests").closing()),
        ("429 over and over", |_| Reply::status("429 Too Many Requests")),
        ("503", |_| Reply::status("503 Service Unavailable").closing()),
        ("403", |_| Reply::status("403 Forbidden").closing()),
        ("509", |_| Reply::status("509 Bandwidth Limit Exceeded").closing()),
        ("FIN", |_| Reply::hang_up()),
        ("RST", |reply| reply.cut_head(0, Cut::Reset)),
        ("RST amid the body", |reply| reply.cut(1000, Cut::Reset)),
    ];
    hold(rows.into_iter().flat_map(|(name, bend)| {
        [1, 2, 4].map(|room| {
            Fault::new(move |request, reply| match request.open > room {
                true => bend(reply),
                false => reply,
            })
            .named(format!("{name} beyond {room}"))
            .retries("8")
            .over(&["8"])
        })
    }));
}

#[test]
fn h38_a_server_that_holds_the_surplus_connections_in_silence_is_survived() {
    Fault::new(|request, reply| match request.open > 2 {
        true => reply.cut_head(0, Cut::Stall),
        false => reply,
    })
    .args(&["--stall-timeout", "0.5"])
    .retries("8")
    .over(&["8"])
    .is_survived();
}

#[test]
fn h38_a_server_with_few_requests_to_give_is_asked_again() {
    // Every third request is refused, whoever asks.
    let statuses = ["429 Too Many Requests", "503 Service Unavailable"];
    hold(statuses.map(|status| {
        let count = Arc::new(AtomicUsize::new(0));
        Fault::new(move |_, reply| match count.fetch_add(1, SeqCst) % 3 {
            2 => Reply::status(status),
            _ => reply,
        })
        .named(status)
        .retries("8")
    }));
}
