//! Response heads and body framing, good, odd and broken.

use crate::ends::{Fault, SIZE};
use crate::origin::{File, Reply, Validator};

#[test]
fn a_compressed_answer_is_refused() {
    Fault::new(|_, reply| reply.set("Content-Encoding", "gzip")).retries("0").ends(&[6]);
    Fault::of(File::new(SIZE), |request, _| {
        Reply::honest(&File::new(SIZE), &request.without("range"))
            .set("Content-Encoding", "gzip")
            .chunked(&[1000])
    })
    .retries("0")
    .ends(&[6]);
}

#[test]
fn identity_is_no_coding() {
    Fault::new(|_, reply| reply.set("Content-Encoding", "identity")).is_survived();
}

#[test]
fn chunked_parts_are_survived() {
    Fault::new(|_, reply| reply.chunked(&[1, 4096, 70_000, 13])).is_survived();
}

#[test]
fn chunk_extensions_and_trailers_are_survived() {
    Fault::new(|_, reply| {
        let mut reply = reply.chunked(&[5000, 1]);
        reply.chunk_extension = ";name=\"value\"";
        reply.chunk_end = "0\r\nDigest: none\r\nExpires: never\r\n\r\n".to_owned();
        reply
    })
    .is_survived();
}

#[test]
fn a_broken_chunked_body_never_gives_wrong_bytes() {
    for end in ["xyz\r\n\r\n", "ffffffffffffffffff\r\n", "8000000000000000\r\n", "-1\r\n", ""] {
        Fault::new(move |_, reply| {
            let mut reply = reply.chunked(&[60_000]).closing();
            reply.chunk_end = end.to_owned();
            reply
        })
        .over(&["4"])
        .retries("1")
        .ends(&[0, 3, 6]);
    }
}

#[test]
fn an_unfinished_chunked_body_of_unknown_length_is_no_file() {
    let file = File::new(SIZE).validator(Validator::None);
    Fault::of(file, move |_, _| {
        let mut reply = Reply::whole(&file).chunked(&[60_000]).closing();
        reply.chunk_end = String::new();
        reply
    })
    .retries("1")
    .ends(&[3, 6]);
}

#[test]
fn a_part_until_close_is_survived() {
    Fault::new(|_, reply| reply.until_close()).is_survived();
}

#[test]
fn a_length_that_is_no_number_is_refused() {
    for value in
        ["-1", "12abc", "0x10", "9223372036854775808", "99999999999999999999999", "", "1,2"]
    {
        Fault::new(move |_, _| {
            Reply::whole(&File::new(SIZE)).set("Content-Length", value).closing()
        })
        .over(&["4"])
        .retries("0")
        .ends(&[6]);
    }
}

#[test]
fn two_different_lengths_are_refused() {
    Fault::new(|_, reply| reply.line("Content-Length: 5")).retries("0").ends(&[6]);
}

#[test]
fn the_same_length_twice_never_gives_wrong_bytes() {
    Fault::new(|_, reply| {
        let line = format!("Content-Length: {}", reply.body.len());
        reply.line(line)
    })
    .ends(&[0, 6]);
}

#[test]
fn a_length_beside_chunked_is_refused() {
    Fault::new(|_, reply| {
        let line = format!("Content-Length: {}", reply.body.len());
        reply.chunked(&[1000]).line(line)
    })
    .retries("0")
    .ends(&[6]);
}

#[test]
fn other_transfer_codings_are_refused() {
    for coding in ["gzip", "gzip, chunked", "chunked, chunked", "chunked, identity", "xchunked"] {
        Fault::new(move |_, reply| {
            reply.chunked(&[1000]).set("Transfer-Encoding", coding).closing()
        })
        .over(&["4"])
        .retries("0")
        .ends(&[6]);
    }
}

#[test]
fn interim_responses_are_skipped() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    Fault::new(move |_, reply| reply.interim(early, 3)).is_survived();
    Fault::new(|_, reply| reply.interim("HTTP/1.1 100 Continue\r\n\r\n", 1)).is_survived();
}

#[test]
fn interim_responses_without_end_are_refused() {
    Fault::new(|_, reply| reply.interim("HTTP/1.1 102 Processing\r\n\r\n", 50_000))
        .retries("0")
        .ends(&[6]);
}

#[test]
fn an_answer_that_is_not_http_1_is_refused() {
    for text in [
        "hello, this is a file from 1991\n",
        "ICY 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/2.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 20 OK\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 2000 OK\r\nContent-Length: 3\r\n\r\nabc",
        "\0\u{1}\u{2}\u{3}\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
    ] {
        Fault::new(move |_, _| Reply::raw(text)).over(&["4"]).retries("0").ends(&[6]);
    }
}

#[test]
fn heads_without_bound_are_refused() {
    Fault::new(|_, reply| reply.line(format!("X-Bomb: {}", "b".repeat(1 << 20))))
        .over(&["4"])
        .retries("0")
        .ends(&[6]);
    Fault::new(|_, reply| (0..5000).fold(reply, |reply, n| reply.line(format!("X-{n}: 1"))))
        .over(&["4"])
        .retries("0")
        .ends(&[6]);
}

#[test]
fn odd_but_common_heads_are_survived() {
    Fault::new(|_, reply| {
        let mut reply = reply.line("X-Empty:").line("X-Latin: caf\u{e9}");
        reply.status = reply.status.split(' ').next().unwrap().to_owned() + " ";
        reply
    })
    .is_survived();
    Fault::new(|_, mut reply| {
        reply.line_end = "\n";
        reply
    })
    .ends(&[0, 6]);
}

#[test]
fn broken_header_lines_never_give_wrong_bytes() {
    for line in ["X-Space : 1", "X-Fold: 1\r\n 2", "no colon here", ": no name"] {
        Fault::new(move |_, reply| reply.line(line)).over(&["4"]).retries("0").ends(&[0, 6]);
    }
    for line in ["X-Nul: a\0b", "X-Return: a\rb"] {
        Fault::new(move |_, reply| reply.line(line)).over(&["4"]).retries("0").ends(&[6]);
    }
}
