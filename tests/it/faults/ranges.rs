//! Answers to range requests that a download must survive, or refuse: never wrong bytes.

use crate::ends::{Fault, SIZE};
use crate::origin::{Body, Cut, File, Reply, Request, Validator};

/// Bends every 206 but the first, when the plan already holds a size and a validator. The first is cut
/// short, so that a single connection has to ask again too.
fn later(request: &Request, reply: Reply, bend: impl Fn(Reply) -> Reply) -> Reply {
    match request.nth {
        0 => reply.cut(200_000, Cut::Close),
        _ if reply.is_part() => bend(reply),
        _ => reply,
    }
}

fn span(request: &Request) -> (u64, u64) {
    let range = request.range.clone().unwrap();
    (range.start, range.end.min(SIZE))
}

#[test]
fn ignored_ranges_are_survived() {
    let file = File::new(SIZE);
    Fault::new(move |request, _| Reply::honest(&file, &request.without("range"))).is_survived();
    let bare = file.validator(Validator::None);
    Fault::new(move |request, _| Reply::honest(&bare, &request.without("range"))).is_survived();
    Fault::new(move |_, _| Reply::whole(&file)).is_survived();
}

#[test]
fn ranges_ignored_after_the_first_are_survived() {
    let file = File::new(SIZE);
    Fault::new(move |request, reply| match request.nth {
        0 => reply,
        _ => Reply::honest(&file, &request.without("range")),
    })
    .is_survived();
}

#[test]
fn ranges_ignored_now_and_then_are_survived() {
    let file = File::new(SIZE);
    Fault::new(move |request, reply| match request.nth {
        3 => Reply::honest(&file, &request.without("range")),
        _ => reply,
    })
    .is_survived();
}

#[test]
fn a_part_without_content_range_is_survived() {
    Fault::new(|_, reply| match reply.is_part() {
        true => reply.without("Content-Range"),
        false => reply,
    })
    .is_survived();
    Fault::new(|request, reply| later(request, reply, |reply| reply.without("Content-Range")))
        .is_survived();
}

#[test]
fn a_part_without_content_range_to_every_request_is_refused() {
    let file = File::new(SIZE);
    Fault::new(move |_, _| Reply::part(&file, 0..SIZE).without("Content-Range")).ends(&[6]);
}

#[test]
fn a_malformed_content_range_is_survived() {
    for value in [
        "bytes 473276580-/473276580",
        "bytes -0.99/100",
        "bytes=0-524287/3145745",
        "0-524287/3145745",
        "bytes 0-524287",
        "bytes 0-524287/3145745 x",
        "bytes 524287-0/3145745",
        "bytes 0-99999999999999999999/99999999999999999999",
        "bytes 0-524287/9",
        "",
    ] {
        Fault::new(move |_, reply| match reply.is_part() {
            true => reply.set("Content-Range", value),
            false => reply,
        })
        .over(&["4"])
        .ends(&[0, 6]);
    }
}

#[test]
fn two_content_ranges_never_give_wrong_bytes() {
    Fault::new(|_, reply| match reply.is_part() {
        true => reply.line("Content-Range: bytes 7-524294/3145745"),
        false => reply,
    })
    .ends(&[0, 6]);
}

#[test]
fn a_part_that_starts_earlier_is_survived() {
    let file = File::new(SIZE);
    Fault::new(move |request, reply| {
        later(request, reply, |_| {
            let (start, end) = span(request);
            Reply::part(&file, start - 100..end).set("ETag", &file.etag())
        })
    })
    .is_survived();
}

#[test]
fn a_part_that_starts_later_never_gives_wrong_bytes() {
    let file = File::new(SIZE);
    for first in [0, 2] {
        Fault::new(move |request, reply| match reply.is_part() && request.nth >= first {
            true => {
                let (start, end) = span(request);
                Reply::part(&file, start + 1..end).set("ETag", &file.etag())
            }
            false => reply,
        })
        .ends(&[0, 6]);
    }
}

#[test]
fn a_part_of_other_bytes_than_it_says_fails_the_digest() {
    let file = File::new(SIZE);
    let digest = format!("blake3={}", blake3::hash(&file.whole()));
    Fault::new(move |request, reply| {
        later(request, reply, |reply| {
            let (start, end) = span(request);
            reply.body(Body::File(file, start - 1..end - 1))
        })
    })
    .args(&["--checksum", &digest])
    .ends(&[8]);
}

#[test]
fn a_shorter_part_is_continued() {
    let file = File::new(SIZE);
    Fault::new(move |request, reply| match reply.is_part() {
        true => {
            let (start, end) = span(request);
            let end = end.min(start + 100_000);
            Reply::part(&file, start..end).set("ETag", &file.etag())
        }
        false => reply,
    })
    .is_survived();
}

#[test]
fn a_part_longer_than_asked_is_clamped() {
    let file = File::new(SIZE);
    Fault::new(move |request, reply| match reply.is_part() {
        true => {
            let (start, end) = span(request);
            Reply::part(&file, start..(end + 50_000).min(SIZE)).set("ETag", &file.etag())
        }
        false => reply,
    })
    .is_survived();
}

#[test]
fn a_length_that_contradicts_the_range_never_gives_wrong_bytes() {
    for wrong in [-1, 1] {
        Fault::new(move |request, reply| {
            later(request, reply, |reply| {
                let length = reply.body.len().checked_add_signed(wrong).unwrap();
                reply.set("Content-Length", &length.to_string()).closing()
            })
        })
        .ends(&[0, 3, 6]);
    }
}

#[test]
fn bytes_after_the_body_are_never_taken() {
    Fault::new(|_, reply| reply.surplus(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"))
        .is_survived();
    Fault::new(|_, reply| reply.surplus(&[b'x'; 5000]).closing()).is_survived();
    Fault::new(|_, reply| reply.chunked(&[5000]).surplus(b"leftover")).is_survived();
}

#[test]
fn a_multipart_answer_is_survived() {
    Fault::new(|_, reply| match reply.is_part() {
        true => {
            let part = b"\r\n--b\r\nContent-Range: bytes 0-3/9\r\n\r\nxxxx\r\n--b--\r\n";
            Reply::status("206 Partial Content")
                .set("Content-Type", "multipart/byteranges; boundary=b")
                .set("Content-Length", &part.len().to_string())
                .body(Body::Bytes(part.to_vec()))
        }
        false => reply,
    })
    .is_survived();
}

#[test]
fn another_total_in_later_parts_never_gives_wrong_bytes() {
    Fault::new(|request, reply| {
        later(request, reply, |reply| {
            let (start, end) = span(request);
            let total = SIZE + 100 + request.nth as u64;
            reply.set("Content-Range", &format!("bytes {start}-{}/{total}", end - 1))
        })
    })
    .ends(&[6]);
}

#[test]
fn another_total_once_is_survived() {
    Fault::new(|request, reply| match request.nth {
        1 => {
            let (start, end) = span(request);
            reply.set("Content-Range", &format!("bytes {start}-{}/{}", end - 1, SIZE + 1))
        }
        _ => reply,
    })
    .is_survived();
}

#[test]
fn an_unknown_total_never_gives_wrong_bytes() {
    let unknown = |request: &Request, reply: Reply| {
        let (start, end) = span(request);
        reply.set("Content-Range", &format!("bytes {start}-{}/*", end - 1))
    };
    Fault::new(move |request, reply| match reply.is_part() {
        true => unknown(request, reply),
        false => reply,
    })
    .ends(&[0, 6]);
    Fault::new(move |request, reply| later(request, reply, |reply| unknown(request, reply)))
        .is_survived();
}

#[test]
fn unsatisfiable_for_a_range_that_exists_never_gives_wrong_bytes() {
    let refusal = || Reply::status("416 Range Not Satisfiable");
    Fault::new(
        move |request, reply| {
            if request.nth > 0 && request.range.is_some() { refusal() } else { reply }
        },
    )
    .is_survived();
    Fault::new(move |request, reply| if request.range.is_some() { refusal() } else { reply })
        .is_survived();
    Fault::new(move |request, reply| match request.nth > 0 && request.range.is_some() {
        true => refusal().set("Content-Range", "bytes */5"),
        false => reply,
    })
    .ends(&[0, 6]);
}

#[test]
fn a_body_for_no_content_is_refused() {
    for status in ["204 No Content", "205 Reset Content", "304 Not Modified"] {
        Fault::new(move |_, _| Reply::status(status)).retries("0").ends(&[6]);
    }
}
