//! The end of a head against arbitrary bytes, however they are split, and against `httparse`.

use proptest::prelude::*;

use super::*;

/// Streams that are mostly heads, of bytes that matter.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let part = prop::sample::select(vec![
        "HTTP/1.1 200 OK",
        "HTTP/1.0 206",
        "HTTP/1.1 100 C",
        "HTTP/1.1 103 E",
        "HTTP/1.1 101 S",
        "HTTP/1.1 1",
        "\r\n",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        "A: b",
        "\0",
        "body",
    ]);
    prop::collection::vec(part, 0..16).prop_map(|parts| parts.concat().into_bytes())
}

/// Feeds a stream in parts; the end of the heads, or none, or that they are too large.
fn fed<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<usize>, ()> {
    let mut scan = HeadScan::default();
    let mut before = 0;
    for part in parts {
        match scan.feed(part) {
            Ok(Some(end)) => return Ok(Some(before + end)),
            Ok(None) => before += part.len(),
            Err(TooLarge) => return Err(()),
        }
    }
    Ok(None)
}

/// Where `httparse` sees the end of the final head.
fn second_opinion(stream: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(length)) = head.parse(&stream[at..]) else { return None };
        at += length;
        if head.code.is_none_or(|code| code == 101 || !(100..200).contains(&code)) {
            return Some(at);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_end_does_not_depend_on_the_parts(
        stream in streams(), cuts in prop::collection::vec(1..9usize, 1..40)
    ) {
        let whole = fed([&*stream]);
        prop_assert_eq!(fed(stream.chunks(1)), whole);
        for cut in 0..=stream.len() {
            let (front, back) = stream.split_at(cut);
            prop_assert_eq!(fed([front, back]), whole);
        }
        let mut rest = &*stream;
        let parts = cuts.iter().cycle().map_while(|cut| {
            let (part, after) = rest.split_at_checked(*cut).unwrap_or((rest, &[]));
            rest = after;
            (!part.is_empty()).then_some(part)
        });
        prop_assert_eq!(fed(parts.collect::<Vec<_>>()), whole);
    }

    #[test]
    fn a_head_that_parses_ends_where_it_is_said_to(stream in streams()) {
        if let Some(end) = second_opinion(&stream) {
            prop_assert_eq!(fed([&*stream]), Ok(Some(end)));
        }
    }

    #[test]
    fn what_follows_the_end_has_no_say(stream in streams(), more: Vec<u8>) {
        if let Ok(Some(end)) = fed([&*stream]) {
            let longer = [&stream[..end], &more].concat();
            prop_assert_eq!(fed([&*longer]), Ok(Some(end)));
            prop_assert_eq!(fed([&stream[..end - 1]]), Ok(None));
        }
    }
}
