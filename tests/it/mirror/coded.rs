//! Lists under gzip and zstd: from a file, from standard input, from a server; whole, in parts, cut off and
//! damaged.

use std::io::Write as _;

use super::runner::{Ended, Place};
use super::{files, origin_of, table};
use crate::origin::{Body, Origin, Reply};

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    coder.write_all(plain).unwrap();
    coder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest)
}

type Coder = fn(&[u8]) -> Vec<u8>;
const CODERS: [(&str, Coder); 2] = [("gz", gzip), ("zst", zstd)];

/// What comes before and after the middle of a list, between two lines.
fn halves(list: &str) -> (&[u8], &[u8]) {
    let middle = list[list.len() / 2..].find('\n').unwrap() + list.len() / 2 + 1;
    list.as_bytes().split_at(middle)
}

#[test]
fn a_coded_list_is_mirrored_from_a_file_whatever_its_name_says_and_from_standard_input() {
    let files = files(9);
    for (ending, code) in CODERS {
        let origin = origin_of(&files).start();
        let list = table(&origin, &files);
        let coded = code(list.as_bytes());
        for name in [format!("list.tsv.{ending}"), "list".into(), "list.tsv".into()] {
            let place = Place::new();
            place.put(&name, &coded);
            place.run(&[&name]).assert_ends(0, &[("fetched", 9), ("bad_lines", 0)]);
            place.assert_holds(&files);
        }
        let place = Place::new();
        place.run_fed(&["-"], &coded).assert_ends(0, &[("fetched", 9), ("bad_lines", 0)]);
        place.assert_holds(&files);
        place.run_fed(&["-"], &coded).assert_ends(0, &[("unchanged", 9), ("requests", 0)]);
    }
}

#[test]
fn a_coded_list_of_several_parts_is_read_to_its_last() {
    let files = files(9);
    for (ending, code) in CODERS {
        let origin = origin_of(&files).start();
        let list = table(&origin, &files);
        let (first, second) = halves(&list);
        let place = Place::new();
        let name = format!("list.tsv.{ending}");
        place.put(&name, [code(first), code(b""), code(second)].concat());
        place.run(&[&name]).assert_ends(0, &[("fetched", 9), ("bad_lines", 0)]);
        place.assert_holds(&files);
    }
}

#[test]
fn a_coded_list_on_a_server_is_read_as_it_is() {
    let files = files(9);
    for (ending, code) in CODERS {
        let origin = origin_of(&files).start();
        let coded = code(table(&origin, &files).as_bytes());
        let path = format!("/list.tsv.{ending}");
        let lists = Origin::new().at(&path, move |_| {
            let length = coded.len().to_string();
            let reply = Reply::status("200 OK").set("Content-Length", &length);
            // A file of this type, not a coding of the transfer.
            reply.set("Content-Type", "application/gzip").body(Body::Bytes(coded.clone()))
        });
        let lists = lists.start();
        let place = Place::new();
        place.run(&[lists.url(&path)]).assert_ends(0, &[("fetched", 9), ("bad_lines", 0)]);
        place.assert_holds(&files);
    }
}

/// Nothing was asked for and nothing removed, and one line says why.
fn assert_nothing_done(place: &Place, ended: &Ended, about: &str) {
    ended.assert_code(7);
    assert_eq!(ended.stderr.lines().count(), 1, "{about}: {}", ended.stderr);
    assert!(ended.stderr.contains("list"), "{about}: {}", ended.stderr);
    let last = ended.events.last().unwrap();
    assert_eq!((&last["sealed"], ended.count("requests")), (&false.into(), 0), "{about}: {last}");
    let left: Vec<_> = place.names().into_keys().collect();
    assert_eq!(left, [b"d0/mine".to_vec(), b"mine".to_vec()], "{about}");
}

#[test]
fn a_coded_list_that_is_cut_off_anywhere_begins_nothing_and_removes_nothing() {
    let files = files(30);
    let origin = origin_of(&files).start();
    let list = table(&origin, &files);
    for (ending, code) in CODERS {
        let coded = code(list.as_bytes());
        let name = format!("list.tsv.{ending}");
        let place = Place::new();
        place.put("tree/mine", "mine").put("tree/d0/mine", "mine");
        let cuts = [4, 5, 9, coded.len() / 2, coded.len() - 9, coded.len() - 2, coded.len() - 1];
        for cut in cuts {
            let about = format!("{name} cut at {cut} of {}", coded.len());
            place.put(&name, &coded[..cut]);
            let ended = place.run(&[&name, "--delete"]);
            assert_nothing_done(&place, &ended, &about);
            assert!(ended.stderr.contains("cut off"), "{about}: {}", ended.stderr);
            let ended = place.run_fed(&["-", "--delete", "--format", "tsv"], &coded[..cut]);
            assert_nothing_done(&place, &ended, &about);
        }
    }
    assert_eq!(origin.log().len(), 0);
}

#[test]
fn a_stub_that_does_not_even_say_how_it_is_coded_removes_nothing() {
    for stub in [&b""[..], &b"\x1f"[..], &b"\x28\xb5\x2f"[..]] {
        let place = Place::new();
        place.put("tree/mine", "mine").put("list.tsv.gz", stub);
        let ended = place.run(&["list.tsv.gz", "--delete"]);
        assert_ne!(ended.code, Some(0), "{stub:?}");
        assert_eq!((ended.count("requests"), ended.count("deleted")), (0, 0), "{stub:?}");
        assert!(place.tree("mine").exists());
    }
}

#[test]
fn a_coded_list_that_is_damaged_begins_nothing_and_removes_nothing() {
    let files = files(30);
    let origin = origin_of(&files).start();
    let list = table(&origin, &files);
    for (ending, code) in CODERS {
        let coded = code(list.as_bytes());
        let name = format!("list.tsv.{ending}");
        let place = Place::new();
        place.put("tree/mine", "mine").put("tree/d0/mine", "mine");
        // In what is coded, and in the checksum behind it.
        for at in [coded.len() / 3, coded.len() / 2, coded.len() - 3] {
            let mut damaged = coded.clone();
            damaged[at] ^= 0x10;
            place.put(&name, &damaged);
            let about = format!("{name} damaged at {at} of {}", coded.len());
            assert_nothing_done(&place, &place.run(&[&name, "--delete"]), &about);
        }
        place.put(&name, [coded, b"and more".to_vec()].concat());
        let ended = place.run(&[&name, "--delete"]);
        assert_nothing_done(&place, &ended, &format!("{name} with more behind it"));
    }
    assert_eq!(origin.log().len(), 0);
}

#[test]
fn a_long_coded_list_is_read_in_parts_and_one_that_ends_too_early_is_none() {
    let lines: String = (0..20_000)
        .map(|at| format!("http://127.0.0.1:1/{at:08}/{:x}\td{}/f{at}\n", at * 7_919, at % 50))
        .collect();
    for (ending, code) in CODERS {
        let coded = code(format!("url\tpath\n{lines}").as_bytes());
        let name = format!("list.tsv.{ending}");
        let place = Place::new();
        place.put("tree/mine", "mine").put("tree/d0/mine", "mine").put(&name, &coded);
        let whole = place.run(&[&name, "--dry-run", "--delete"]);
        whole.assert_code(0);
        assert_eq!(whole.actions().len(), 20_002, "and two files to remove");
        for cut in [coded.len() / 4, coded.len() * 3 / 4] {
            place.put(&name, &coded[..cut]);
            for args in [&["--delete"][..], &["--delete", "--dry-run"]] {
                let ended = place.run(&[&[name.as_str()], args].concat());
                assert_nothing_done(&place, &ended, &format!("{name} cut at {cut}"));
                assert!(ended.actions().is_empty());
            }
        }
    }
}
