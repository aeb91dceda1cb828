//! Answers to range requests that a download must survive, or refuse: H1 to H9.

use super::{
    Row, SIZE, SURVIVED, Turns, at_every_turn, digest_of, file, parts_at_every_turn, span,
    tagged_part, whole,
};
use crate::ends::{Fault, hold};
use crate::origin::{Body, Cut, Reply, Request, Validator};

/// Two retries do not help against a server that does this all the time.
const REFUSED: Turns = [&[0], &[0], &[6], &[6]];

#[test]
fn h01_an_ignored_range_is_never_written_at_its_offset() {
    let tells = |name, bend: fn(&Request, Reply) -> Reply| at_every_turn(name, SURVIVED, bend);
    hold(tells("whole with its validators", |request, _| whole(request)));
    hold(tells("whole without a validator", |_, _| Reply::whole(&file())));
    hold(tells("whole in chunks", |request, _| whole(request).chunked(&[70_000, 1])));
    hold(tells("whole until close", |request, _| whole(request).until_close()));
    hold(tells("whole that accepts no ranges", |request, _| {
        whole(request).set("Accept-Ranges", "none")
    }));
    hold(tells("whole with the Content-Range of all", |request, _| {
        whole(request).set("Content-Range", &format!("bytes 0-{}/{SIZE}", SIZE - 1))
    }));
    let bare = file().validator(Validator::None);
    hold([
        Fault::of(file(), move |request, _| Reply::honest(&bare, &request.without("range")))
            .named("no answer has a validator"),
        Fault::of(file(), move |request, reply| match request.nth {
            3 => whole(request),
            _ => reply,
        })
        .named("the fourth answer alone"),
    ]);
}

#[test]
fn h01_a_part_under_status_200_is_never_taken_for_the_whole() {
    let renamed = |mut reply: Reply| {
        reply.status = "200 OK".to_owned();
        reply
    };
    hold(parts_at_every_turn("a part", SURVIVED, move |_, reply| renamed(reply)));
    hold(parts_at_every_turn("a part in chunks", SURVIVED, move |_, reply| {
        renamed(reply).chunked(&[70_000])
    }));
    hold(parts_at_every_turn("a part of something", SURVIVED, move |_, reply| {
        renamed(reply).set("Content-Range", "bytes 0-524287")
    }));
    hold([Fault::of(file(), move |_, _| renamed(Reply::part(&file(), 0..70_000)))
        .named("a part whatever is asked for")
        .codes(&[6])]);
}

#[test]
fn h02_a_part_without_content_range_is_never_placed() {
    hold(parts_at_every_turn("none", SURVIVED, |_, reply| reply.without("Content-Range")));
    hold(parts_at_every_turn("none, in chunks", SURVIVED, |_, reply| {
        reply.without("Content-Range").chunked(&[9999])
    }));
    hold([Fault::of(file(), |_, _| Reply::part(&file(), 0..SIZE).without("Content-Range"))
        .named("none, and no way around it")
        .codes(&[6])]);
}

#[test]
fn h03_a_malformed_content_range_is_not_guessed_at() {
    let values = [
        "bytes 473276580-/473276580",
        "bytes -0.99/100",
        "bytes=0-524287/1048593",
        "0-524287/1048593",
        "bytes 0-524287",
        "bytes 0-524287/1048593 x",
        "bytes 524287-0/1048593",
        "bytes 0-99999999999999999999/99999999999999999999",
        "bytes 0-18446744073709551615/18446744073709551616",
        "bytes 0-524287/524287",
        "bytes 0-524287/9",
        "bytes 0x0-0x7ffff/1048593",
        "bytes +0-524287/1048593",
        "bytes 0-524287/1048593, bytes 524288-600000/1048593",
        "octets 0-524287/1048593",
        "none",
        "",
    ];
    hold(values.map(|value| {
        let fault = Fault::of(file(), move |_, reply| match reply.is_part() {
            true => reply.set("Content-Range", value),
            false => reply,
        });
        fault.named(format!("every part has {value:?}"))
    }));
    hold(parts_at_every_turn("no unit", SURVIVED, |request, reply| {
        let (start, end) = span(request);
        reply.set("Content-Range", &format!("{start}-{}/{SIZE}", end - 1))
    }));
    hold(parts_at_every_turn("no last byte", SURVIVED, |request, reply| {
        reply.set("Content-Range", &format!("bytes {}-/{SIZE}", span(request).0))
    }));
    hold(parts_at_every_turn("an equals sign", SURVIVED, |request, reply| {
        let (start, end) = span(request);
        reply.set("Content-Range", &format!("bytes={start}-{}/{SIZE}", end - 1))
    }));
    hold(parts_at_every_turn("two fields", SURVIVED, |_, reply| {
        reply.line("Content-Range: bytes 7-524294/1048593")
    }));
    hold(parts_at_every_turn("the same field twice", SURVIVED, |request, reply| {
        let (start, end) = span(request);
        reply.line(format!("Content-Range: bytes {start}-{}/{SIZE}", end - 1))
    }));
}

#[test]
fn h03_a_content_range_in_odd_letters_is_understood() {
    hold(parts_at_every_turn("capitals and zeros", SURVIVED, |request, reply| {
        let (start, end) = span(request);
        reply.set("Content-Range", &format!("BYTES 0{start}-00{}/000{SIZE}", end - 1))
    }));
}

#[test]
fn h04_a_range_that_begins_earlier_is_skipped_to_the_byte_asked_for() {
    let rows = [("a byte", 1), ("a hundred bytes", 100), ("all there is", SIZE)];
    hold(rows.into_iter().flat_map(|(name, before)| {
        parts_at_every_turn(name, SURVIVED, move |request, _| {
            let (start, end) = span(request);
            tagged_part(start.saturating_sub(before)..end)
        })
    }));
    hold(parts_at_every_turn("the edge of a cache's block", SURVIVED, |request, _| {
        let (start, end) = span(request);
        let edge = 100_000;
        tagged_part(start / edge * edge..end.next_multiple_of(edge).min(SIZE))
    }));
    hold(parts_at_every_turn("early, in chunks", SURVIVED, |request, _| {
        let (start, end) = span(request);
        tagged_part(start.saturating_sub(70_001)..end).chunked(&[7000])
    }));
}

#[test]
fn h04_a_range_that_begins_later_is_never_written() {
    hold(parts_at_every_turn("a byte", REFUSED, |request, _| {
        let (start, end) = span(request);
        tagged_part((start + 1).min(end - 1)..end)
    }));
    hold(parts_at_every_turn("a block", REFUSED, |request, _| {
        let (start, end) = span(request);
        tagged_part((start + 65_536).min(end - 1)..end)
    }));
    hold(parts_at_every_turn("behind what was asked for", REFUSED, |request, _| {
        let (start, end) = span(request);
        let late = end.min(SIZE - 1);
        tagged_part(late..(late + end - start).min(SIZE))
    }));
}

#[test]
fn h04_a_range_that_ends_before_the_byte_asked_for_is_never_written() {
    // To the first request, which begins at byte 0, there is no such answer.
    hold(parts_at_every_turn("before", [&[0], &[0], &[6], &[6]], |request, reply| {
        match span(request).0 {
            0 => reply.cut(200_000, Cut::Close),
            start => tagged_part(0..start),
        }
    }));
}

#[test]
fn h04_other_bytes_than_the_range_says_fail_the_digest() {
    let shifted = |request: &Request, reply: Reply| {
        let (start, end) = span(request);
        match start {
            0 => reply.body(Body::File(file(), 1..end + 1)),
            _ => reply.body(Body::File(file(), start - 1..end - 1)),
        }
    };
    let digest = digest_of(&file());
    let faults = parts_at_every_turn("a byte off", [&[8]; 4], shifted);
    hold(faults.into_iter().map(|fault| fault.args(&["--checksum", &digest])));
}

/// The Content-Range of the range asked for, with this total.
fn with_total(request: &Request, reply: Reply, total: &str) -> Reply {
    let (start, end) = span(request);
    reply.set("Content-Range", &format!("bytes {start}-{}/{total}", end - 1))
}

#[test]
fn h05_a_total_that_changes_is_another_version() {
    // It starts anew a few times, and then in one stream without ranges.
    hold(parts_at_every_turn("larger", SURVIVED, |request, reply| {
        with_total(request, reply, &(SIZE + 1).to_string())
    }));
    hold(parts_at_every_turn("larger every time", SURVIVED, |request, reply| {
        with_total(request, reply, &(SIZE + 100 + request.nth as u64).to_string())
    }));
    hold(parts_at_every_turn("beyond any file", [&[0], &[0], &[6], &[6]], |request, reply| {
        with_total(request, reply, "9223372036854775808")
    }));
}

#[test]
fn h05_a_total_that_ends_with_the_range_fails_the_digest() {
    // Nothing tells such an answer from one of a shorter file.
    let faults = parts_at_every_turn("no more to come", [&[0, 8]; 4], |request, reply| {
        with_total(request, reply, &span(request).1.to_string())
    });
    let digest = digest_of(&file());
    hold(faults.into_iter().map(|fault| fault.args(&["--checksum", &digest])));
}

#[test]
fn h06_an_unknown_total_places_bytes_but_tells_no_size() {
    hold(parts_at_every_turn("a star", SURVIVED, |request, reply| with_total(request, reply, "*")));
    hold(parts_at_every_turn("a star, in chunks", SURVIVED, |request, reply| {
        with_total(request, reply, "*").chunked(&[4096])
    }));
    hold([Fault::of(file(), |_, _| {
        let range = format!("bytes 0-{}/*", SIZE - 1);
        Reply::part(&file(), 0..SIZE).set("Content-Range", &range)
    })
    .named("a star, and no way around it")
    .codes(&[6])]);
}

#[test]
fn h07_fewer_bytes_than_asked_for_are_continued() {
    let rows = [("a block", 65_536), ("no whole block", 100_000), ("many", 300_001)];
    hold(rows.into_iter().flat_map(|(name, most)| {
        parts_at_every_turn(name, SURVIVED, move |request, _| {
            let (start, end) = span(request);
            tagged_part(start..end.min(start + most))
        })
    }));
    hold(parts_at_every_turn("all but one", SURVIVED, |request, _| {
        let (start, end) = span(request);
        tagged_part(start..(end - 1).max(start + 1))
    }));
    hold(parts_at_every_turn("a few, in chunks", SURVIVED, |request, _| {
        let (start, end) = span(request);
        tagged_part(start..end.min(start + 100_000)).chunked(&[30_000])
    }));
}

#[test]
fn h07_one_byte_at_a_time_is_refused_soon() {
    let faults = parts_at_every_turn("a byte", REFUSED, |request, _| {
        let (start, _) = span(request);
        tagged_part(start..start + 1)
    });
    hold(faults.into_iter().map(|fault| fault.requests(60)));
}

#[test]
fn h08_bytes_beyond_the_range_are_never_written() {
    let rows = [("a byte more", 1), ("many more", 50_000), ("all there is", SIZE)];
    hold(rows.into_iter().flat_map(|(name, more)| {
        parts_at_every_turn(name, SURVIVED, move |request, _| {
            let (start, end) = span(request);
            tagged_part(start..(end + more).min(SIZE))
        })
    }));
    hold(parts_at_every_turn("many more, in chunks", SURVIVED, |request, _| {
        let (start, end) = span(request);
        tagged_part(start..(end + 50_000).min(SIZE)).chunked(&[7001])
    }));
}

#[test]
fn h08_a_length_that_contradicts_the_range_is_refused() {
    let rows = [("one less", -1), ("one more", 1), ("a block more", 65_536)];
    hold(rows.into_iter().flat_map(|(name, wrong)| {
        parts_at_every_turn(name, REFUSED, move |_, reply| {
            let length = reply.body.len().checked_add_signed(wrong).unwrap();
            reply.set("Content-Length", &length.to_string()).closing()
        })
    }));
}

/// What a careless client takes for its next answer.
const FORGED: &[u8] = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\n\r\nbad";

#[test]
fn h08_bytes_after_the_body_are_never_taken() {
    let rows: [Row; 5] = [
        ("a forged answer", |reply| reply.surplus(FORGED)),
        ("a body's worth, then the end", |reply| reply.surplus(&[b'x'; 5000]).closing()),
        ("behind the last chunk", |reply| reply.chunked(&[5000]).surplus(b"leftover")),
        ("an empty line", |reply| reply.surplus(b"\r\n")),
        ("a farewell", |reply| {
            reply.surplus(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        }),
    ];
    hold(
        rows.into_iter()
            .flat_map(|(name, bend)| at_every_turn(name, SURVIVED, move |_, reply| bend(reply))),
    );
}

/// A multipart answer with these bytes of the file in it.
fn multipart(start: u64, end: u64) -> Reply {
    let mut body = b"\r\n--b\r\nContent-Type: application/octet-stream\r\n".to_vec();
    body.extend(format!("Content-Range: bytes {start}-{}/{SIZE}\r\n\r\n", end - 1).bytes());
    body.extend(file().expected(start..end));
    body.extend(b"\r\n--b--\r\n");
    Reply::status("206 Partial Content")
        .set("Content-Type", "multipart/byteranges; boundary=b")
        .set("Content-Length", &body.len().to_string())
        .body(Body::Bytes(body))
}

#[test]
fn h09_a_multipart_answer_is_never_written() {
    hold(parts_at_every_turn("multipart", SURVIVED, |request, _| {
        let (start, end) = span(request);
        multipart(start, end)
    }));
    hold(parts_at_every_turn("multipart in chunks", SURVIVED, |request, _| {
        let (start, end) = span(request);
        multipart(start, end).chunked(&[8192])
    }));
    hold(parts_at_every_turn("multipart with a Content-Range", SURVIVED, |_, reply| {
        reply.set("Content-Type", "Multipart/ByteRanges; boundary=b")
    }));
    hold([Fault::of(file(), |_, _| multipart(0, SIZE)).named("no way around it").codes(&[6])]);
}
