//! Lists of every form: good, odd and broken ones.

use std::io::{Read, Write};
use std::time::{Duration, UNIX_EPOCH};

use super::*;

#[cfg(test)]
mod forms;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod stretches;

/// Reads a list below `http://h/pub` to its end.
fn all(text: impl AsRef<[u8]>, name: &str, format: Option<Format>) -> (Vec<Found>, Result<()>) {
    let base = "http://h/pub".parse().unwrap();
    let mut found = Vec::new();
    let result = read(text.as_ref(), name, format, Some(&base), &mut |one| {
        found.push(one);
        Ok(())
    });
    (found, result)
}

/// Shows what a list has in short: `line path url size checksum`, or `line BAD why`.
fn short(text: impl AsRef<[u8]>, format: Format) -> Vec<String> {
    let (found, result) = all(text, "-", Some(format));
    result.unwrap();
    found.iter().map(one_short).collect()
}

fn one_short(found: &Found) -> String {
    match found {
        Found::Bad(bad) => format!("{} BAD {}", bad.line, bad.why),
        Found::Doubt(doubt) => format!("{} DOUBT {}", doubt.line, doubt.why),
        Found::Entry(entry) => {
            let urls: Vec<&str> = entry.urls.iter().map(Url::as_str).collect();
            let mut text = format!("{} {} {}", entry.line, entry.path, urls.join(" "));
            entry.size.iter().for_each(|size| text.push_str(&format!(" {size}")));
            entry.checksum.iter().for_each(|sum| text.push_str(&format!(" {sum}")));
            if let Some(set) = &entry.stretches {
                let set = (set.count(), set.algo().name(), set.length());
                text.push_str(&format!(" {} {} of {}", set.0, set.1, set.2));
            }
            text
        }
    }
}

/// Fails unless `shown` has as many lines and each begins as told.
#[track_caller]
fn assert_begins(shown: &[String], wanted: &[&str]) {
    let fits = shown.len() == wanted.len()
        && shown.iter().zip(wanted).all(|(shown, wanted)| shown.starts_with(wanted));
    assert!(fits, "{shown:#?}\n{wanted:#?}");
}

const LIST: &str = "http://h/pub/a\nhttp://h/pub/b\nhttp://h/pub/c\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn coded_lists_are_read_as_they_are() {
    let skipped =
        [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd(LIST.as_bytes())].concat();
    let twice = |coded: Vec<u8>| coded.repeat(2);
    for (coded, count) in [
        (LIST.into(), 3),
        (gzip(LIST.as_bytes()), 3),
        (twice(gzip(LIST.as_bytes())), 6),
        (zstd(LIST.as_bytes()), 3),
        (twice(zstd(LIST.as_bytes())), 6),
        (skipped, 3),
    ] {
        let (found, result) = all(&coded, "list.txt", None);
        result.unwrap();
        assert_eq!(found.len(), count);
        assert_eq!(one_short(&found[1]), "2 b http://h/pub/b");
    }
}

#[test]
fn a_coded_list_that_is_cut_off_anywhere_is_an_error() {
    for coded in [gzip(LIST.as_bytes()), zstd(LIST.as_bytes())] {
        for end in 4..coded.len() {
            let (_, result) = all(&coded[..end], "list.txt", None);
            let error = result.unwrap_err().to_string();
            assert!(error.contains("is cut off"), "{end} of {}: {error}", coded.len());
        }
    }
}

#[test]
fn a_frame_that_asks_too_much_or_is_damaged_says_so_in_plain_words() {
    let magic = [0x28, 0xb5, 0x2f, 0xfd];
    // No size; a window of 2^41 bytes; a dictionary; a block of the reserved type.
    for (rest, why) in [
        (&[0x00, 0xf8, 1, 0, 0][..], "bytes of memory"),
        (&[0x01, 0x00, 7, 1, 0, 0], "a dictionary"),
        (&[0x00, 0x00, 7, 0, 0], "a zstd frame is damaged"),
    ] {
        let (_, result) = all([&magic, rest].concat(), "x", None);
        let error = result.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert!(!error.contains(['{', '(']), "{error}");
    }
}

#[test]
fn what_came_before_the_cut_is_told_and_half_a_line_is_not() {
    let mut random = fastrand::Rng::with_seed(7);
    let lines: String =
        (0..20_000).map(|_| format!("http://h/{:016x}\n", random.u64(..))).collect();
    let coded = gzip(lines.as_bytes());
    let (found, result) = all(&coded[..coded.len() / 2], "list.txt", None);
    let error = result.unwrap_err();
    assert!(error.to_string().contains("cut off"), "{error}");
    assert!(found.len() > 5_000, "{}", found.len());
    for (found, line) in found.iter().zip(lines.lines()) {
        assert!(one_short(found).ends_with(line));
    }
}

#[test]
fn a_damaged_list_is_an_error() {
    let mut coded = gzip(LIST.as_bytes());
    let at = coded.len() - 6;
    coded[at] ^= 1;
    assert!(all(&coded, "x", None).1.is_err());
    let garbage = [gzip(LIST.as_bytes()), b"garbage".to_vec()].concat();
    assert!(all(garbage, "x", None).1.is_err());
}

/// Fails after its bytes.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.0.read(out)? {
            0 => Err(io::Error::other("a\u{1b}b")),
            read => Ok(read),
        }
    }
}

#[test]
fn an_input_that_fails_is_an_error_after_what_was_read() {
    let mut count = 0;
    let result = read(Failing(b"http://h/a\nhttp://h/b"), "x\n", None, None, &mut |_| {
        count += 1;
        Ok(())
    });
    let error = result.unwrap_err();
    assert_eq!((count, error.kind()), (1, Kind::LocalIo));
    assert!(!error.to_string().contains(char::is_control), "{error}");
}

#[test]
fn a_caller_can_stop_the_reading() {
    let mut count = 0;
    let result = read(LIST.as_bytes(), "x", None, None, &mut |_| {
        count += 1;
        Err(Error::new(Kind::Interrupted, "stop"))
    });
    assert_eq!((count, result.unwrap_err().kind()), (1, Kind::Interrupted));
}

#[test]
fn bad_lines_have_their_numbers_and_stop_nothing() {
    let long = "x".repeat(crate::limits::MANIFEST_LINE_BYTES_MAX);
    let text = [
        b"\xef\xbb\xbfhttp://h/pub/a\r\n\r\n# comment\nhttp://h/\xff\n".as_slice(),
        long.as_bytes(),
        b"yy\nhttp://h/pub/b",
    ]
    .concat();
    assert_begins(
        &short(text, Format::List),
        &[
            "1 a http://h/pub/a",
            "4 BAD the line is not UTF-8",
            "5 BAD the line is longer than 1 MiB",
            "6 b http://h/pub/b",
        ],
    );
}

#[test]
fn an_empty_list_is_empty() {
    for text in ["", "\n", "# x\n", "\u{feff}"] {
        let (found, result) = all(text, "x", None);
        assert!(found.is_empty() && result.is_ok(), "{text:?} {found:?}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let entry = Entry {
        path: "a \"b\"/\u{e9}\\x".into(),
        urls: vec!["http://h/x?a=1&b".parse().unwrap(), "https://i:8443/x".parse().unwrap()],
        size: Some(u64::MAX >> 1),
        checksum: Some("sha1=da39a3ee5e6b4b0d3255bfef95601890afd80709".parse().unwrap()),
        stretches: None,
        modified: Some(UNIX_EPOCH + Duration::new(1_700_000_000, 5)),
        line: 1,
    };
    let bare = Entry { size: None, checksum: None, modified: None, line: 2, ..entry.clone() };
    let mut text = Vec::new();
    write_line(&entry, &mut text);
    write_line(&bare, &mut text);
    let (found, result) = all(&text, "-", None);
    result.unwrap();
    assert_eq!(found, [Found::Entry(entry), Found::Entry(bare)]);
}

#[test]
fn forms_are_known_by_their_names() {
    for (name, form) in
        [("tsv", Format::Tsv), ("sha256sums", Format::Sums), ("index", Format::Index)]
    {
        assert_eq!(name.parse(), Ok(form));
    }
    assert!("yaml".parse::<Format>().unwrap_err().contains("metalink"));
}
