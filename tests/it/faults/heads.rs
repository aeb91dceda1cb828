//! Response heads: H30 and H33 to H37.

use std::iter;
use std::time::Duration;

use super::{Row, SIZE, SURVIVED, Turns, at_every_turn, digest_of, file, span, tagged_part};
use crate::ends::{Fault, hold};
use crate::origin::{Body, File, Reply, Request, Validator};

/// Two retries do not help against a server that does this all the time.
const REFUSED: Turns = [&[0], &[0], &[6], &[6]];

/// Every reply bent, at every turn.
fn hold_all<const N: usize>(rows: [Row; N], codes: Turns) {
    hold(
        rows.into_iter()
            .flat_map(|(name, bend)| at_every_turn(name, codes, move |_, reply| bend(reply))),
    );
}

/// Every reply bent, all the time and without a second chance.
fn hold_each<T: Copy + std::fmt::Debug + Send + Sync + 'static, const N: usize>(
    rows: [T; N],
    codes: &[i32],
    bend: fn(T, Reply) -> Reply,
) {
    hold(rows.map(|row| {
        let fault = Fault::of(file(), move |_, reply| bend(row, reply));
        fault.named(format!("{row:?}")).codes(codes).retries("0")
    }));
}

#[test]
fn h30_an_error_that_passes_is_waited_for_and_its_body_never_written() {
    let page = "<html><title>Sorry</title></html>".repeat(100);
    let statuses = [
        "408 Request Timeout",
        "425 Too Early",
        "500 Internal Server Error",
        "502 Bad Gateway",
        "504 Gateway Timeout",
        "507 Insufficient Storage",
        "520 Web Server Returned an Unknown Error",
        "599 Odd",
    ];
    hold(statuses.into_iter().flat_map(|status| {
        let page = page.clone();
        let sorry = move |status: &str| {
            Reply::status(status)
                .set("Content-Type", "text/html")
                .set("Content-Length", &page.len().to_string())
                .body(Body::Bytes(page.clone().into_bytes()))
        };
        let once = sorry(status);
        let always = once.clone();
        [
            Fault::of(file(), move |request, reply| match request.nth {
                0 | 2 => once.clone(),
                _ => reply,
            })
            .named(format!("{status}, twice")),
            Fault::of(file(), move |_, _| always.clone())
                .named(format!("{status}, always"))
                .codes(&[5])
                .retries("1"),
        ]
    }));
}

#[test]
fn h30_an_error_with_the_size_of_the_range_is_never_written() {
    let forged = |request: &Request, status: &str| {
        let (start, end) = span(request);
        let mut reply = tagged_part(start..end);
        reply.status = status.to_owned();
        reply.body(Body::Bytes(vec![b'!'; usize::try_from(end - start).unwrap()]))
    };
    let statuses = ["500 Internal Server Error", "503 Service Unavailable", "404 Not Found"];
    hold(statuses.into_iter().flat_map(move |status| {
        at_every_turn(status, [&[0, 5], &[0, 5], &[5], &[5]], move |request, _| {
            forged(request, status)
        })
    }));
    let odd =
        ["201 Created", "202 Accepted", "203 Changed", "204 None", "205 Reset", "226 IM", "299 X"];
    hold(odd.into_iter().flat_map(move |status| {
        at_every_turn(status, REFUSED, move |request, _| forged(request, status))
    }));
}

#[test]
fn h30_an_error_whose_body_is_broken_is_still_that_error() {
    let sorry = || Reply::status("500 Internal Server Error");
    let rows: [Row; 5] = [
        ("in chunks", |reply| reply.chunked(&[3])),
        ("until close", |reply| reply.until_close()),
        ("cut", |reply| reply.set("Content-Length", "5000").closing()),
        ("compressed", |reply| reply.set("Content-Encoding", "gzip")),
        ("without a length that can be", |reply| reply.set("Content-Length", "x").closing()),
    ];
    hold(rows.into_iter().flat_map(move |(name, bend)| {
        at_every_turn(name, [&[0], &[0], &[5, 6], &[5, 6]], move |_, _| bend(sorry()))
    }));
}

#[test]
fn h33_interim_responses_are_skipped() {
    hold_all(
        [
            ("early hints", |reply| {
                reply.interim("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 3)
            }),
            ("continue", |reply| reply.interim("HTTP/1.1 100 Continue\r\n\r\n", 1)),
            ("processing", |reply| reply.interim("HTTP/1.1 102 Processing\r\n\r\n", 16)),
            ("one with a length", |reply| {
                reply.interim("HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n", 1)
            }),
            ("one of an unknown number", |reply| reply.interim("HTTP/1.1 199 Odd\r\n\r\n", 1)),
        ],
        SURVIVED,
    );
}

#[test]
fn h33_interim_responses_without_end_are_refused() {
    hold_each([17, 1000, 50_000], &[6], |count, reply| {
        reply.interim("HTTP/1.1 102 Processing\r\n\r\n", count)
    });
    hold_each([1000], &[3, 6], |count, reply| {
        reply.interim("HTTP/1.1 100 C\r\n\r\n", count).cut_head(0, crate::origin::Cut::Close)
    });
    let switching = |_: &str, _| {
        Reply::raw(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc",
        )
    };
    hold_each(["101"], &[3, 6], switching);
}

#[test]
fn h34_an_answer_that_is_not_http_1_is_refused() {
    let texts = [
        "hello, this is a file from 1991\n",
        "ICY 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/2.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/3 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/0.9 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 20 OK\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 2000 OK\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 -200 OK\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 0xC8 OK\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1\t200\tOK\r\nContent-Length: 3\r\n\r\nabc",
        "http/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1200 OK\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        "<html>\r\n<body>sorry</body>\r\n\r\n",
        "\0\u{1}\u{2}\u{3}\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "220 ftp ready\r\n",
        "\r\n\r\n\r\n",
        "\u{15}\u{3}\u{3}\0\u{2}\u{2}\u{50}",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    hold_each(texts, &[3, 6], |text, _| Reply::raw(text));
    hold(at_every_turn("garbage", REFUSED, |_, _| Reply::raw("garbage\r\n\r\n")));
    hold(at_every_turn("a file without a head", REFUSED, |request, _| {
        let (start, end) = span(request);
        let mut reply = Reply::raw("").body(Body::File(file(), start..end));
        reply.raw_head = Some(b"\r\n".to_vec());
        reply
    }));
}

#[test]
fn h34_an_answer_of_http_1_0_is_understood() {
    hold(at_every_turn("HTTP/1.0", SURVIVED, |_, mut reply| {
        let head = format!("HTTP/1.0 {}\r\n{}\r\n\r\n", reply.status, reply.lines.join("\r\n"));
        reply.raw_head = Some(head.into_bytes());
        reply.close = true;
        reply
    }));
}

/// As many header fields more.
fn with_fields(count: usize, reply: Reply) -> Reply {
    (0..count).fold(reply, |reply, n| reply.line(format!("X-{n}: 1")))
}

#[test]
fn h35_heads_without_bound_are_refused() {
    hold_each([64 << 10, 1 << 20], &[6], |bytes, reply| {
        reply.line(format!("X-Bomb: {}", "b".repeat(bytes)))
    });
    hold_each([128, 5000], &[6], with_fields);
    hold_each([64 << 10], &[6], |bytes, mut reply| {
        reply.status = format!("206 {}", "long".repeat(bytes / 4));
        reply
    });
    hold_each([64 << 10], &[6], |bytes, reply| reply.line(format!("{}: x", "N".repeat(bytes))));
    hold(at_every_turn("a bomb", REFUSED, |_, reply| {
        reply.line(format!("X-Bomb: {}", "b".repeat(70_000)))
    }));
}

#[test]
fn h35_a_head_without_an_end_is_refused_before_memory_runs_out() {
    let endless = |_: &str, _| {
        let mut reply = Reply::raw("HTTP/1.1 200 OK\r\nX: ");
        // What follows is never an end of line.
        reply.body = Body::Bytes(vec![b'x'; 8 << 20]);
        reply
    };
    hold_each(["one line"], &[6], endless);
}

#[test]
fn h35_large_heads_within_the_bounds_are_read() {
    hold_each([60_000], &[0], |bytes, reply| reply.line(format!("X-Large: {}", "l".repeat(bytes))));
    hold_each([100], &[0], with_fields);
}

#[test]
fn h36_odd_but_common_heads_are_survived() {
    hold_all(
        [
            ("an empty field", |reply| reply.line("X-Empty:")),
            ("bytes beyond ASCII", |reply| reply.line("X-Latin: caf\u{e9}")),
            ("no phrase", |mut reply| {
                reply.status = reply.status.split(' ').next().unwrap().to_owned() + " ";
                reply
            }),
            ("no phrase and no blank", |mut reply| {
                reply.status = reply.status.split(' ').next().unwrap().to_owned();
                reply
            }),
            ("line feeds alone", |mut reply| {
                reply.line_end = "\n";
                reply
            }),
            ("an empty line before", |reply| reply.interim("\r\n", 1)),
            ("names in capitals", |mut reply| {
                reply.lines.iter_mut().for_each(|line| {
                    let (name, value) = line.split_once(':').unwrap();
                    *line = format!("{}:{value}", name.to_uppercase());
                });
                reply
            }),
            ("no blank behind the colon", |mut reply| {
                reply.lines.iter_mut().for_each(|line| *line = line.replacen(": ", ":", 1));
                reply
            }),
            ("blanks around the value", |mut reply| {
                reply
                    .lines
                    .iter_mut()
                    .for_each(|line| *line = line.replacen(": ", ": \t ", 1) + " \t");
                reply
            }),
            ("one byte at a time", |reply| reply.dribble_head(1, Duration::ZERO)),
        ],
        SURVIVED,
    );
}

#[test]
fn h36_broken_header_lines_never_give_wrong_bytes() {
    let lenient =
        ["X-Space : 1", "X-Fold: 1\r\n 2", "no colon here", ": no name", "X(y): 1", " X: 1"];
    hold_each(lenient, &[0, 6], |line, reply| reply.line(line));
    // What one reader takes for a line and another for a part of one.
    let hostile = ["X-Nul: a\0b", "X-Return: a\rb", "X\0Nul: ab", "X-Return: a\rContent-Length: 5"];
    hold_each(hostile, &[6], |line, reply| reply.line(line));
    let folded = [
        "Content-Length:\r\n 5",
        "Transfer-Encoding:\r\n chunked",
        "Content-Range :\r\n bytes 5-6/7",
    ];
    hold_each(folded, &[0, 3, 6], |line, reply| reply.line(line).closing());
}

#[test]
fn h37_a_length_beyond_any_file_is_refused() {
    let lengths = ["9223372036854775808", "18446744073709551615", "18446744073709551616"];
    hold_each(lengths, &[6], |length, _| {
        Reply::whole(&file()).set("Content-Length", length).closing()
    });
    hold_each(lengths, &[6], |total, _| {
        let range = format!("bytes 0-{}/{total}", SIZE - 1);
        Reply::part(&file(), 0..SIZE).set("Content-Range", &range).set("ETag", "\"a\"")
    });
}

#[test]
fn h37_a_length_beyond_the_disk_is_refused_before_the_first_byte() {
    // The largest are more blocks than can be counted; the exit code says so.
    let lengths = ["9223372036854775807", "4611686018427387904", "35184372088832"];
    hold_each(lengths, &[2, 7], |length, _| {
        Reply::whole(&file()).set("Content-Length", length).closing()
    });
    hold_each(lengths, &[2, 7], |total, _| {
        let range = format!("bytes 0-{}/{total}", SIZE - 1);
        Reply::part(&file(), 0..SIZE).set("Content-Range", &range).set("ETag", "\"a\"")
    });
}

#[test]
fn h37_a_file_above_the_limit_of_the_user_is_refused() {
    let large = File::new(SIZE);
    let bare = large.validator(Validator::None);
    let limited = |fault: Fault, name: &str| {
        fault.named(name).args(&["--max-filesize", "1000000"]).codes(&[5]).for_good()
    };
    hold(iter::once(limited(Fault::of(large, |_, reply| reply), "in parts")).chain([
        limited(Fault::of(bare, move |_, _| Reply::whole(&bare)), "whole"),
        limited(Fault::of(bare, move |_, _| Reply::whole(&bare).chunked(&[9999])), "in chunks"),
        limited(Fault::of(bare, move |_, _| Reply::whole(&bare).until_close()), "until close"),
    ]));
    let digest = digest_of(&large);
    let fault = Fault::of(large, |_, reply| reply).args(&["--checksum", &digest]);
    hold([limited(fault, "under a digest")]);
}
