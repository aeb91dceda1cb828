//! Where a body ends: H17 to H22.

use super::{
    Row, SURVIVED, Turns, at_every_turn, digest_of, file, parts_at_every_turn, span, tagged_part,
};
use crate::ends::{Fault, hold};
use crate::harness::Run;
use crate::origin::{Body, Certificate, Cut, File, Origin, Reply, Request, Validator};
use crate::ways::backends;

/// Two retries do not help against a server that does this all the time.
const REFUSED: Turns = [&[0], &[0], &[6], &[6]];

/// Every reply bent, whatever it is.
fn hold_all<const N: usize>(rows: [Row; N], codes: Turns) {
    hold(
        rows.into_iter()
            .flat_map(|(name, bend)| at_every_turn(name, codes, move |_, reply| bend(reply))),
    );
}

#[test]
fn h17_a_chunked_part_is_a_part() {
    hold_all(
        [
            ("of odd sizes", |reply| reply.chunked(&[1, 4096, 70_000, 13])),
            ("of one size", |reply| reply.chunked(&[65_536])),
            ("of small ones", |reply| reply.chunked(&[100])),
            ("in capitals", |reply| reply.chunked(&[9000]).set("transfer-ENCODING", "Chunked")),
        ],
        SURVIVED,
    );
}

#[test]
fn h17_a_chunked_part_leaves_its_connection_for_the_next_one() {
    for io in backends() {
        let origin =
            Origin::new().bent("/f.bin", file(), |_, reply| reply.chunked(&[9000])).start();
        let run = Run::new(&origin.url("/f.bin")).args(["-c", "2", "-b", "64k", "--io", io]);
        run.finish().assert_gives("f.bin", &file());
        let asked = origin.log().len();
        assert!(asked > 2 && origin.connections() <= 2, "{asked} by {}", origin.connections());
    }
}

#[test]
fn h17_a_last_chunk_that_never_comes_holds_nothing_up() {
    for cut in [Cut::Stall, Cut::Close, Cut::Reset] {
        hold(parts_at_every_turn(&format!("{cut:?}"), SURVIVED, move |_, reply| {
            let length = reply.body.len();
            reply.chunked(&[9000]).cut(length, cut)
        }));
    }
}

#[test]
fn h17_a_chunked_part_has_as_many_bytes_as_its_range() {
    hold(parts_at_every_turn("fewer", SURVIVED, |request, _| {
        let (start, end) = span(request);
        let reply = tagged_part(start..end);
        let short = (start + 70_000).min(end);
        reply.body(Body::File(file(), start..short)).chunked(&[10_000])
    }));
    hold(parts_at_every_turn("more", SURVIVED, |request, reply| {
        let (start, end) = span(request);
        let mut bytes = file().expected(start..end);
        bytes.extend([b'!'; 5000]);
        reply.body(Body::Bytes(bytes)).chunked(&[10_000])
    }));
    hold(parts_at_every_turn("none", [&[0], &[0], &[3], &[3]], |_, reply| {
        reply.body(Body::Bytes(Vec::new())).chunked(&[1])
    }));
}

#[test]
fn h18_a_body_until_close_is_complete_when_the_range_or_the_end_says_so() {
    hold_all([("until close", |reply| reply.until_close())], SURVIVED);
    hold(parts_at_every_turn("cut", SURVIVED, |_, reply| {
        reply.until_close().cut(70_000, Cut::Close)
    }));
    hold(parts_at_every_turn("reset", SURVIVED, |_, reply| {
        reply.until_close().cut(70_000, Cut::Reset)
    }));
    let bare = file().validator(Validator::None);
    let whole = move |cut: Option<Cut>| {
        Fault::of(bare, move |_, _| {
            let reply = Reply::whole(&bare).until_close();
            cut.map_or(reply.clone(), |cut| reply.cut(70_000, cut))
        })
    };
    hold([
        whole(None).named("all of it"),
        whole(Some(Cut::Reset)).named("some of it, then a reset").codes(&[3]),
        // Over TCP alone nothing tells this end from the right one.
        whole(Some(Cut::Close))
            .named("some of it, then an end")
            .args(&["--checksum", &digest_of(&bare)])
            .codes(&[8]),
    ]);
}

#[test]
fn h18_a_whole_until_close_over_tls_needs_close_notify() {
    let file = File::new(500_000);
    let origin = Origin::new()
        .tls(Certificate::valid_for("localhost"))
        .at("/good.bin", move |_| Reply::whole(&file).until_close())
        .at("/cut.bin", move |_| {
            Reply::whole(&file)
                .body(Body::File(file, 0..400_000))
                .until_close()
                .surplus(b"x")
                .cut(399_999, Cut::Close)
        })
        .bent("/sized.bin", file, |_, reply| {
            // The length is there and every byte comes: the missing close_notify does not matter.
            let length = reply.body.len();
            reply.body(Body::File(File::new(length + 1), 0..length + 1)).cut(length, Cut::Close)
        })
        .start();
    let run = |path| Run::new(&origin.url(path)).args(["-k", "--retries", "1"]).finish();
    run("/good.bin").assert_gives("good.bin", &file);
    run("/sized.bin").assert_gives("sized.bin", &file);
    let cut = run("/cut.bin");
    assert!([Some(3), Some(4), Some(6)].contains(&cut.code), "{}", cut.stderr);
}

#[test]
fn h19_a_length_with_two_readings_is_refused() {
    let rows = [
        "-1",
        "12abc",
        "0x10",
        "+1048593",
        "9223372036854775808",
        "18446744073709551616",
        "99999999999999999999999",
        "",
        "1,2",
        "1048593,",
        "1048593; q=1",
        "1048593 1048593",
        "1e6",
    ];
    hold(rows.map(|value| {
        let bad = move |_: &Request, reply: Reply| reply.set("Content-Length", value).closing();
        Fault::of(file(), bad).named(format!("{value:?}")).codes(&[6]).retries("0")
    }));
    hold_all([("two fields", |reply| reply.line("Content-Length: 5"))], REFUSED);
}

#[test]
fn h19_the_same_length_twice_is_that_length() {
    // RFC 9112 section 6.3 has a list of equal numbers processed as that number, and RFC 9110 section 8.6
    // allows it; hyper, which frames such a body, reads it so. No other reading is possible.
    hold_all(
        [
            ("in two fields", |reply| {
                let line = format!("Content-Length: {}", reply.body.len());
                reply.line(line)
            }),
            ("in one field", |reply| {
                let length = reply.body.len();
                reply.set("Content-Length", &format!("{length}, {length}"))
            }),
            ("with zeros before", |reply| {
                let length = reply.body.len();
                reply.set("Content-Length", &format!("000{length}"))
            }),
        ],
        SURVIVED,
    );
}

#[test]
fn h20_a_length_beside_chunks_is_refused() {
    hold_all(
        [
            ("the right length", |reply| {
                let line = format!("Content-Length: {}", reply.body.len());
                reply.chunked(&[1000]).line(line)
            }),
            ("another length", |reply| reply.chunked(&[1000]).line("Content-Length: 5")),
            ("the length first", |mut reply| {
                reply.lines.insert(0, "Content-Length: 100".to_owned());
                reply.chunked(&[1000]).line("Content-Length: 100")
            }),
            ("chunked in name alone", |reply| reply.line("Transfer-Encoding: chunked").closing()),
        ],
        REFUSED,
    );
}

#[test]
fn h21_other_transfer_codings_are_refused() {
    let codings = [
        "gzip",
        "gzip, chunked",
        "chunked, chunked",
        "chunked, identity",
        "chunked, gzip",
        "xchunked",
        "identity",
        "chunked;q=1",
        "",
        "\"chunked\"",
    ];
    hold(codings.map(|coding| {
        let bad = move |_: &Request, reply: Reply| {
            reply.chunked(&[1000]).set("Transfer-Encoding", coding).closing()
        };
        Fault::of(file(), bad).named(format!("{coding:?}")).codes(&[6]).retries("0")
    }));
    hold_all(
        [
            ("two fields", |reply| reply.chunked(&[1000]).line("Transfer-Encoding: chunked")),
            ("in HTTP/1.0", |mut reply| {
                reply = reply.chunked(&[1000]);
                let mut head =
                    format!("HTTP/1.0 {}\r\n{}\r\n\r\n", reply.status, reply.lines.join("\r\n"));
                head = head.replace("HTTP/1.1", "HTTP/1.0");
                reply.raw_head = Some(head.into_bytes());
                reply.closing()
            }),
        ],
        REFUSED,
    );
}

#[test]
fn h22_chunk_extensions_and_trailers_are_survived() {
    hold_all(
        [
            ("both", |reply| {
                let mut reply = reply.chunked(&[5000, 1]);
                reply.chunk_extension = ";name=\"value\"";
                reply.chunk_end = "0\r\nDigest: none\r\nExpires: never\r\n\r\n".to_owned();
                reply
            }),
            ("zeros", |reply| {
                let mut reply = reply.chunked(&[5000]);
                reply.chunk_end = "0000\r\n\r\n".to_owned();
                reply
            }),
            ("a trailer that would change the length", |reply| {
                let mut reply = reply.chunked(&[5000]);
                reply.chunk_end = "0\r\nContent-Length: 5\r\n\r\n".to_owned();
                reply
            }),
        ],
        SURVIVED,
    );
}

/// A chunked answer with this instead of its last chunk.
fn ending_in(reply: Reply, end: &str) -> Reply {
    let mut reply = reply.chunked(&[60_000]).closing();
    reply.chunk_end = end.to_owned();
    reply
}

#[test]
fn h22_a_broken_end_of_chunks_never_gives_wrong_bytes() {
    let ends = [
        "xyz\r\n\r\n",
        "ffffffffffffffffff\r\n",
        "8000000000000000\r\n",
        "-1\r\n",
        "",
        "0\r\nno trailer\r\n\r\n",
        "0\r\n\0: \0\r\n\r\n",
        "5\r\nabc",
        " \r\n",
        "0x0\r\n\r\n",
    ];
    // A part says its length, so that its end does not matter; the whole of unknown length has no other.
    hold(ends.map(|end| {
        Fault::of(file(), move |_, reply| ending_in(reply, end)).named(format!("{end:?}, of parts"))
    }));
    let bare = file().validator(Validator::None);
    hold(ends.map(|end| {
        Fault::of(bare, move |_, _| ending_in(Reply::whole(&bare), end))
            .named(format!("{end:?}, of the whole"))
            .codes(&[3, 6])
            .retries("1")
    }));
}

#[test]
fn h22_trailers_without_bound_are_refused_or_not_read() {
    let bare = file().validator(Validator::None);
    let bombs = [
        ("one long trailer", format!("0\r\nX: {}\r\n\r\n", "t".repeat(1 << 20))),
        ("many trailers", format!("0\r\n{}\r\n", "X: 1\r\n".repeat(100_000))),
        ("a long extension", format!("0;{}\r\n\r\n", "e".repeat(1 << 20))),
        ("a long size", format!("{}f\r\n\r\n", "0".repeat(1 << 20))),
    ];
    hold(bombs.map(|(name, end)| {
        Fault::of(bare, move |_, _| ending_in(Reply::whole(&bare), &end))
            .named(name)
            .codes(&[3, 6])
            .retries("1")
    }));
}

#[test]
fn h22_broken_chunks_on_the_way_are_asked_again() {
    let rows: [(&str, &[u8], &[u8]); 5] = [
        ("no size", b"3\r\n", b"\r\n\r\nabc"),
        ("a size without end", b"7fffffffffffffff\r\n", b""),
        ("no end of line behind the bytes", b"3\r\n", b"d\r\n0\r\n\r\n"),
        ("bytes for a size", b"3\r\n", b"\r\n\xff\xfe\r\nabc\r\n0\r\n\r\n"),
        ("a size of many digits", b"00000000000000000000000000000000000003\r\n", b"\r\n"),
    ];
    hold(rows.into_iter().flat_map(|(name, size, rest)| {
        at_every_turn(name, [&[0], &[0], &[3, 6], &[3, 6]], move |request, reply| {
            let (start, _) = span(request);
            let body = [size, &file().expected(start..start + 3), rest].concat();
            let mut reply = reply.chunked(&[1]).body(Body::Bytes(Vec::new())).closing();
            reply.chunk_end = String::new();
            reply.surplus(&body)
        })
    }));
}
