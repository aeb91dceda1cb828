//! Guesses the form of a list from its name and its first bytes.
//!
//! It reads no records. Invariant: nothing of what it looked at is lost, not even the failure to read on.

use std::io::{self, Read};

use super::{Format, sums};
use crate::limits::MANIFEST_READ_BYTES;
use crate::units::wide;

/// A failure that waits until what was read before it was taken.
pub(super) struct Broken(Option<io::Error>);

impl Read for Broken {
    fn read(&mut self, _out: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// Reads the first bytes of a list.
pub(super) fn start(input: &mut impl Read) -> (Vec<u8>, Broken) {
    let mut start = Vec::new();
    let read = input.take(wide(MANIFEST_READ_BYTES)).read_to_end(&mut start);
    (start, Broken(read.err()))
}

/// The form of a list that is called `name` and begins with `start`.
pub(super) fn format(name: &str, start: &[u8]) -> Format {
    by_name(name).unwrap_or_else(|| by_contents(&String::from_utf8_lossy(start)))
}

fn by_name(name: &str) -> Option<Format> {
    let name = name.split(['?', '#']).next().unwrap_or(name);
    let name = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    let plain = [".gz", ".zst"].iter().find_map(|coding| name.strip_suffix(coding));
    let plain = plain.unwrap_or(&name);
    let ending = plain.rsplit_once('.').map_or("", |(_, ending)| ending);
    Some(match ending {
        "tsv" => Format::Tsv,
        "csv" => Format::Csv,
        "jsonl" | "ndjson" => Format::Jsonl,
        "meta4" | "metalink" => Format::Metalink,
        "html" | "htm" => Format::Index,
        "sha256" | "sha512" | "sha1" | "md5" | "b3" => Format::Sums,
        _ if ["sums", "sum"].iter().any(|end| plain.trim_end_matches(".txt").ends_with(end)) => {
            Format::Sums
        }
        _ => return None,
    })
}

fn by_contents(text: &str) -> Format {
    let text = text.trim_start_matches('\u{feff}').trim_start_matches(['\r', '\n']);
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = lines.clone().find(|line| !line.starts_with('#')).unwrap_or("");
    match text.trim_start().chars().next() {
        Some('<') if text.contains("<metalink") => return Format::Metalink,
        Some('<' | '[') => return Format::Index,
        Some('{') => return Format::Jsonl,
        _ => {}
    }
    let header = lines.next().unwrap_or("").trim_start_matches('#');
    let names = |mark: char| {
        header.split(mark).any(|cell| {
            let cell = cell.trim().trim_matches('"');
            cell.eq_ignore_ascii_case("url") || cell.eq_ignore_ascii_case("path")
        })
    };
    let indented = |line: &str| line.starts_with([' ', '\t']);
    if names('\t') {
        Format::Tsv
    } else if names(',') {
        Format::Csv
    } else if sums::is_one(first) {
        Format::Sums
    } else if first.contains('\t') || text.lines().any(|line| indented(line) && line.contains('='))
    {
        Format::Aria2
    } else {
        Format::List
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_form() {
        for (name, form) in [
            ("a.tsv", Format::Tsv),
            ("A.CSV.gz", Format::Csv),
            ("http://h/x.jsonl.zst?a=b.tsv", Format::Jsonl),
            ("x.meta4", Format::Metalink),
            ("SHA256SUMS", Format::Sums),
            ("md5sum.txt", Format::Sums),
            ("a.iso.sha512", Format::Sums),
            ("index.html", Format::Index),
        ] {
            assert_eq!(format(name, b""), form, "{name}");
        }
    }

    #[test]
    fn the_contents_tell_the_form_where_the_name_does_not() {
        let md5 = format!("{}  a\n", "0".repeat(32));
        for (text, form) in [
            ("", Format::List),
            ("http://h/a\n", Format::List),
            ("# comment\nhttp://h/a\n", Format::List),
            ("\u{feff}url\tsize\nx", Format::Tsv),
            ("#url\tpath\n", Format::Tsv),
            ("url\nhttp://h/a\n", Format::Tsv),
            ("size,\"URL\"\r\n", Format::Csv),
            ("\n{\"url\":1}", Format::Jsonl),
            ("<?xml version=\"1.0\"?>\n<metalink xmlns=\"\">", Format::Metalink),
            ("<html>", Format::Index),
            ("[\n{\"name\":", Format::Index),
            (md5.as_str(), Format::Sums),
            ("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n", Format::Sums),
            ("# x\nSHA256 (a) = 00\n", Format::Sums),
            ("http://h/a\thttp://i/a\n", Format::Aria2),
            ("http://h/a\n  out=b\n", Format::Aria2),
        ] {
            assert_eq!(format("-", text.as_bytes()), form, "{text}");
        }
    }
}
