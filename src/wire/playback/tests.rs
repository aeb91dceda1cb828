//! Bodies in chunks, cut at every byte and truncated at every byte: what comes out is what went in, and only
//! a whole body counts as complete.

use proptest::prelude::*;

use super::{Played, play_near};
use crate::error::{Kind, Result};
use crate::limits::HEAD_FIELDS_MAX;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Plays to both who read heads; they must agree.
fn play(parts: &[&[u8]], block_bytes: usize) -> Result<Played> {
    let (apart, near) = (super::play(parts, block_bytes), play_near(parts, block_bytes));
    match (&apart, &near) {
        (Ok(apart), Ok(near)) => {
            assert_eq!((apart.status, apart.http), (near.status, near.http));
            assert_eq!((&apart.headers, apart.head_bytes), (&near.headers, near.head_bytes));
            assert_eq!(apart.body, near.body);
            let kinds =
                [apart, near].map(|played| played.broken.as_ref().map(|error| error.kind()));
            assert_eq!(kinds[0], kinds[1]);
        }
        (Err(apart), Err(near)) => assert_eq!(apart.kind(), near.kind(), "{apart}, or near {near}"),
        (apart, near) => panic!("{apart:?}, or near {near:?}"),
    }
    near
}

/// A body, and one way to write it in chunks.
fn bodies() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let chunk =
        (prop::collection::vec(any::<u8>(), 1..20), "(;[a-z]{1,3}(=[a-z0-9]{1,3})?)?", 0..3usize);
    let trailer = prop_oneof![3 => Just(""), 1 => Just("Digest: x\r\n")];
    (prop::collection::vec(chunk, 0..5), trailer).prop_map(|(chunks, trailer)| {
        let (mut body, mut stream) = (Vec::new(), HEAD.to_vec());
        for (bytes, extension, zeros) in chunks {
            let line = format!("{}{:X}{extension}\r\n", "0".repeat(zeros), bytes.len());
            stream.extend([line.as_bytes(), &bytes, b"\r\n"].concat());
            body.extend(bytes);
        }
        stream.extend(format!("0\r\n{trailer}\r\n").as_bytes());
        (body, stream)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn chunks_cut_at_every_byte_give_the_same_body((body, stream) in bodies(), block_bytes in 1..30usize) {
        for cut in 0..=stream.len() {
            let (front, back) = stream.split_at(cut);
            let played = play(&[front, back], block_bytes).unwrap();
            prop_assert!(played.broken.is_none(), "{:?}", played.broken);
            prop_assert_eq!((&played.body, played.head_bytes), (&body, HEAD.len()));
        }
        let played = play(&stream.chunks(1).collect::<Vec<_>>(), block_bytes).unwrap();
        prop_assert!(played.broken.is_none() && played.body == body);
    }

    #[test]
    fn chunks_truncated_at_any_byte_are_never_complete((body, stream) in bodies()) {
        for end in HEAD.len()..stream.len() {
            let played = play(&[&stream[..end]], 16).unwrap();
            prop_assert_eq!(played.broken.map(|error| error.kind()), Some(Kind::Reset), "cut at {}", end);
            prop_assert!(body.starts_with(&played.body));
        }
    }

    #[test]
    fn a_body_of_known_length_is_complete_at_its_length_only(
        body in prop::collection::vec(any::<u8>(), 0..60),
        cut in any::<prop::sample::Index>(),
        block_bytes in 1..30usize,
    ) {
        let head = format!("HTTP/1.1 206 P\r\nContent-Length: {}\r\n\r\n", body.len());
        let stream = [head.as_bytes(), &body, b"HTTP/1.1 200 OK\r\n\r\n"].concat();
        let (front, back) = stream.split_at(cut.index(stream.len()));
        let played = play(&[front, back], block_bytes).unwrap();
        prop_assert!(played.broken.is_none() && played.body == body);
        for end in head.len()..head.len() + body.len() {
            let played = play(&[&stream[..end]], block_bytes).unwrap();
            prop_assert_eq!(played.broken.map(|error| error.kind()), Some(Kind::Reset));
            prop_assert_eq!(&played.body[..], &stream[head.len()..end]);
        }
    }

    #[test]
    fn a_head_is_read_the_same_however_it_is_cut(
        fields in prop::collection::vec("[a-z]{1,6}: [!-~]{0,9}", 0..6)
    ) {
        let head = format!(
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nx-{}\r\n\r\n",
            fields.join("\r\nx-")
        );
        let head = head.replace("x-\r\n", "");
        let stream = [head.as_bytes(), b"body"].concat();
        let whole = play(&[&stream], 9).unwrap();
        prop_assert_eq!(whole.headers.len(), fields.len());
        for cut in 0..=stream.len() {
            let (front, back) = stream.split_at(cut);
            let parted = play(&[front, back], 9).unwrap();
            prop_assert_eq!((parted.status, parted.head_bytes), (whole.status, head.len()));
            prop_assert_eq!(&parted.headers, &whole.headers);
            prop_assert_eq!(&parted.body[..], b"body");
        }
    }
}

#[test]
fn nothing_is_lost_of_what_came_with_a_head_that_hyper_reads_again() {
    for head in ["HTTP/1.0 200 OK", "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK"] {
        for length in [0, 1, 8000, 8192, 8193, 16_384, 40_000, 100_000] {
            let body: Vec<u8> = (0_u32..).take(length).map(|at| (at % 251) as u8).collect();
            let head = format!("{head}\r\nContent-Length: {length}\r\n\r\n");
            // Surplus must not stand in for what was lost.
            let stream = [head.as_bytes(), &body, &[9; 20_000]].concat();
            let played = play(&[&stream], 4096).unwrap();
            assert!(played.broken.is_none() && played.body == body, "{length} bytes");
        }
    }
}

#[test]
fn an_end_that_only_one_reader_sees_is_a_broken_head_at_once() {
    // Two returns before a line feed: a blank line to one reader, none to the other.
    let stream = b"HTTP/1.1 200 OK\r\nA: b\n\r\r\n\r\nbody";
    let at_once = play(&[stream], 9).unwrap_err();
    let in_parts = play(&stream.chunks(1).collect::<Vec<_>>(), 9).unwrap_err();
    assert_eq!([at_once.kind(), in_parts.kind()], [Kind::Protocol; 2], "{in_parts}");
}

#[test]
fn both_readers_of_heads_accept_and_refuse_the_same() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 4",
        "HTTP/1.1 200\r\nContent-Length: 4",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 4",
        "HTTP/1.1 999 \r\nContent-Length: 4",
        "HTTP/1.1 099 Low\r\nContent-Length: 4",
        "HTTP/1.1 1000 High\r\nContent-Length: 4",
        "HTTP/1.1 304 Not Modified\r\nETag: \"x\"",
        "HTTP/1.1 204 No Content",
        "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 4",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4",
        "HTTP/1.0 200 OK\r\nContent-Length: 4",
        "HTTP/2 200 OK\r\nContent-Length: 4",
        "http/1.1 200 OK\r\nContent-Length: 4",
        "ICY 200 OK\r\nContent-Length: 4",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 3",
        "HTTP/1.1 200 OK\r\nContent-Length: 4, 4",
        "HTTP/1.1 200 OK\r\nContent-Length: +4",
        "HTTP/1.1 200 OK\r\nContent-Length : 4",
        "HTTP/1.1 200 OK\r\n Content-Length: 4",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 4",
        "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 4",
        "HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 4",
        "HTTP/1.1 200 OK\r\nX: \u{7f}\r\nContent-Length: 4",
        "HTTP/1.1 200 OK\r\nX: \u{e9}\r\nContent-Length: 4",
        "HTTP/1.1 200 O\u{e9}K\r\nContent-Length: 4",
        "HTTP/1.1 200 O\rK\r\nContent-Length: 4",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 4",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip",
        "HTTP/1.1 200 OK\nContent-Length: 4",
        "\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4",
        " HTTP/1.1 200 OK\r\nContent-Length: 4",
        "HTTP/1.1 200 OK",
        "",
    ] {
        for body in ["body", "bod", "body and more"] {
            let _ = play(&[head.as_bytes(), b"\r\n\r\n", body.as_bytes()], 3);
            let _ = play(&[format!("{head}\r\n\r\n{body}").as_bytes()], 3);
        }
        let _ = play(&[head.as_bytes()], 3);
    }
    for count in [HEAD_FIELDS_MAX, HEAD_FIELDS_MAX + 1] {
        let head = format!("HTTP/1.1 204 N\r\n{}\r\n", "X: y\r\n".repeat(count));
        assert_eq!(play(&[head.as_bytes()], 3).is_ok(), count == HEAD_FIELDS_MAX);
    }
}
