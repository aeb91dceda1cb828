//! Sets of digests of stretches: those that are taken, and those that are doubted.

use super::*;
use crate::digest::Algo;
use crate::limits::{MANIFEST_LINE_BYTES_MAX, STRETCH_BYTES_MIN, STRETCH_DIGESTS_BYTES_MAX};

/// A Metalink of one file of `size` bytes with these sets.
fn metalink(size: &str, sets: &str) -> String {
    format!(
        "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\"><file name=\"a\">\
         <size>{size}</size>{sets}<url>http://h/a</url></file></metalink>"
    )
}

fn set(kind: &str, length: u64, digests: &[String]) -> String {
    let digests: String = digests.iter().map(|hex| format!("<hash>{hex}</hash>\n")).collect();
    format!("<pieces length=\"{length}\" type=\"{kind}\">{digests}</pieces>")
}

fn hex(algo: Algo, byte: u8) -> String {
    format!("{byte:02x}").repeat(algo.digest_len())
}

/// Fails unless the sets are doubted, and the file is an entry all the same.
#[track_caller]
fn assert_doubted(size: &str, sets: &str, why: &str) {
    let shown = short(metalink(size, sets), Format::Metalink);
    assert!(shown.len() == 2 && shown[0].starts_with("1 DOUBT a: "), "{shown:?}");
    assert!(shown[0].contains(why), "{shown:?}");
    assert_eq!(shown[1], format!("1 a http://h/a {size}"));
}

const LENGTH: u64 = STRETCH_BYTES_MIN;

#[test]
fn a_set_goes_with_its_file_and_the_strongest_is_taken() {
    let three = |algo| [1, 2, 3].map(|byte| hex(algo, byte));
    let size = (2 * LENGTH + 1).to_string();
    for (name, algo) in [
        ("sha-256", Algo::Sha256),
        ("sha-512", Algo::Sha512),
        ("sha-1", Algo::Sha1),
        ("SHA1", Algo::Sha1),
        ("md5", Algo::Md5),
    ] {
        let (found, _) = all(metalink(&size, &set(name, LENGTH, &three(algo))), "a.meta4", None);
        let [Found::Entry(entry)] = &found[..] else { panic!("{found:?}") };
        let stretches = entry.stretches.as_ref().unwrap();
        assert_eq!((stretches.algo(), stretches.length(), stretches.count()), (algo, LENGTH, 3));
        let wanted = [1, 2, 3].map(|byte| vec![byte; algo.digest_len()]).concat();
        assert_eq!(stretches.bytes(), wanted);
    }
    let weak = set("md5", LENGTH, &three(Algo::Md5));
    let strong = set("sha-256", LENGTH, &three(Algo::Sha256));
    let strange = set("sha-384", LENGTH, &three(Algo::Md5));
    let wanted = format!("1 a http://h/a {size} 3 sha256 of {LENGTH}");
    for sets in [
        format!("{weak}{strong}{strange}"),
        format!("{strange}{strong}{weak}"),
        format!("{strong}{weak}"),
    ] {
        assert_eq!(short(metalink(&size, &sets), Format::Metalink), std::slice::from_ref(&wanted));
    }
    let unknown = short(metalink(&size, &strong).replace(&size, "0"), Format::Metalink);
    assert!(unknown[0].contains("does not fit the size"), "{unknown:?}");
    let without = metalink(&size, &strong).replace(&format!("<size>{size}</size>"), "");
    assert_eq!(short(without, Format::Metalink), [format!("1 a http://h/a 3 sha256 of {LENGTH}")]);
}

#[test]
fn the_numbers_of_metalink_3_must_be_in_order() {
    let (one, two) = (hex(Algo::Sha1, 1), hex(Algo::Sha1, 2));
    let numbered = |first, second| {
        format!(
            "<verification><pieces length=\"{LENGTH}\" type=\"sha1\">\
             <hash piece=\"{first}\">{one}</hash><hash piece=\"{second}\">{two}</hash></pieces>\
             </verification>"
        )
    };
    let size = (2 * LENGTH).to_string();
    let shown = short(metalink(&size, &numbered("0", "1")), Format::Metalink);
    assert_eq!(shown, [format!("1 a http://h/a {size} 2 sha1 of {LENGTH}")]);
    for (first, second) in [("1", "0"), ("0", "2"), ("1", "2"), ("0", "x"), ("0", "")] {
        assert_doubted(&size, &numbered(first, second), "not in order");
    }
}

#[test]
fn a_set_that_cannot_be_is_doubted_and_its_file_is_an_entry() {
    let md5 = |count| vec![hex(Algo::Md5, 7); count];
    let size = (2 * LENGTH).to_string();
    for (sets, why) in [
        (set("md5", LENGTH, &md5(1)), "does not fit the size"),
        (set("md5", LENGTH, &md5(3)), "does not fit the size"),
        (set("md5", LENGTH, &[]), "no digests"),
        (set("md5", 0, &md5(2)), "too short or too long"),
        (set("md5", LENGTH - 1, &md5(2)), "too short or too long"),
        (set("md5", u64::MAX, &md5(1)), "too short or too long"),
        (set("sha-1", LENGTH, &md5(2)), "40 hex digits, not 32"),
        (set("md5", LENGTH, &["zz".repeat(16), hex(Algo::Md5, 1)]), "not a hex digit"),
        (set("md5", LENGTH, &[String::new(), hex(Algo::Md5, 1)]), "32 hex digits, not 0"),
        (set("sha-384", LENGTH, &md5(2)), "unknown digest algorithm"),
        (set("", LENGTH, &md5(2)), "unknown digest algorithm"),
        (set("md5", LENGTH, &md5(2)).replace("length=", "size="), "not a number of bytes"),
        (set("md5", LENGTH, &md5(2)).replace("length=\"", "length=\"-"), "not a number of bytes"),
        ("<pieces/>".to_owned(), "unknown digest algorithm"),
    ] {
        assert_doubted(&size, &sets, why);
    }
}

#[test]
fn more_digests_than_there_may_be_are_passed_over_and_take_no_memory() {
    let many = STRETCH_DIGESTS_BYTES_MAX / 16;
    let size = |count: usize| (LENGTH * u64::try_from(count).unwrap()).to_string();
    let md5 = vec![hex(Algo::Md5, 7); many * 4];
    let most = short(metalink(&size(many), &set("md5", LENGTH, &md5[..many])), Format::Metalink);
    assert_eq!(most, [format!("1 a http://h/a {} {many} md5 of {LENGTH}", size(many))]);
    for count in [many + 1, many * 4] {
        assert_doubted(&size(count), &set("md5", LENGTH, &md5[..count]), "too many");
    }
}

#[test]
fn failures_keep_them_as_long_as_the_line_may_be_read() {
    let entry = |count: usize, alternate: usize| {
        let bytes = vec![0xab; count * 16];
        let stretches = Stretches::new(Algo::Md5, LENGTH, bytes).unwrap();
        Entry {
            path: "a".into(),
            urls: vec![
                "http://h/a".parse().unwrap(),
                format!("http://i/{}", "x".repeat(alternate)).parse().unwrap(),
            ],
            size: None,
            checksum: None,
            stretches: Some(Arc::new(stretches)),
            modified: None,
            line: 1,
        }
    };
    let most = STRETCH_DIGESTS_BYTES_MAX / 16;
    for (entry, is_kept) in
        [(entry(2, 9), true), (entry(most, 9000), true), (entry(most, 300 << 10), false)]
    {
        let mut line = Vec::new();
        write_line(&entry, &mut line);
        assert!(line.len() <= MANIFEST_LINE_BYTES_MAX + 1);
        let (found, result) = all(&line, "-", None);
        result.unwrap();
        let stretches = entry.stretches.clone().filter(|_| is_kept);
        assert_eq!(found, [Found::Entry(Entry { stretches, ..entry })]);
    }
    let set = "{\"algo\":\"md5\",\"length\":4096,\"digests\":[\"00\"]}";
    let wrong = format!("{{\"url\":\"http://h/a\",\"stretches\":{set}}}");
    assert_begins(&short(wrong, Format::Jsonl), &["1 DOUBT a: ", "1 a http://h/a"]);
}
