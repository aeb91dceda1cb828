//! The forms of lists that people write.

use super::*;

const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

#[test]
fn plain_lists_take_addresses_above_and_below_the_base() {
    let text = "http://h/pub/d/a%20b\nd/c\n/x/y\nhttps://i/z#part\nftp://h/x\nhttp://u:p@h/x\n\
                http://h/pub/\nhttp://h/pub/a%2Fb\nhttp://\n  out=x\nlocalhost:80/x\n";
    assert_begins(
        &short(text, Format::List),
        &[
            "1 d/a b http://h/pub/d/a%20b",
            "2 d/c http://h/pub/d/c",
            "3 x/y http://h/x/y",
            "4 z https://i/z",
            "5 BAD no address of it is http or https",
            "6 BAD the address holds credentials",
            "7 BAD the address ends in a slash",
            "8 BAD a name holds a slash",
            "9 BAD the address makes no sense",
            "10 BAD an indented line",
            "11 BAD no address of it is http or https",
        ],
    );
}

#[test]
fn no_secret_of_an_address_is_told() {
    let shown = short("http://user:hunter2@h/x\n", Format::List);
    assert!(!shown[0].contains("hunter2"), "{shown:?}");
}

#[test]
fn relative_addresses_need_a_base() {
    let mut found = Vec::new();
    let mut each = |one| {
        found.push(one);
        Ok(())
    };
    read(&b"a\n"[..], "-", Some(Format::List), None, &mut each).unwrap();
    assert_begins(&[one_short(&found[0])], &["1 BAD the address has no host"]);
    let error = read(&b"x\n"[..], "-", Some(Format::Sums), None, &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
}

#[test]
fn tables_take_known_columns_in_any_order() {
    let text = format!(
        "#SIZE\tother\turl\tpath\tsha256\tmd5\tmtime\talternates\n\
         3\tx\thttp://h/1\ta/b\t{SHA256}\t{MD5}\t784111777\thttp://i/1 http://h/1 ftp://j/1\n\
         \t\thttp://h/2\t\t\t{MD5}\t\t\n\
         \t\t\td/c #1\t\t\t\t\n"
    );
    assert_begins(
        &short(&text, Format::Tsv),
        &[
            &format!("2 a/b http://h/1 http://i/1 3 sha256={SHA256}"),
            &format!("3 2 http://h/2 md5={MD5}"),
            "4 d/c #1 http://h/pub/d/c%20%231",
        ],
    );
    let (found, _) = all(&text, "x.tsv", None);
    let Found::Entry(entry) = &found[0] else { panic!("{found:?}") };
    assert_eq!(entry.modified, Some(UNIX_EPOCH + Duration::from_secs(784_111_777)));
}

#[test]
fn lines_of_tables_that_are_wrong_are_told_with_their_path() {
    let text = "path\tsize\tsha256\tmtime\n\
         ../x\t1\t\t\na\t-1\t\t\na\t1.5\t\t\na\t1\tff\t\na\t\t\tnoon\na\t1\n\
                /a\t\t\t\nb\t9\t\t\n";
    assert_begins(
        &short(text, Format::Tsv),
        &[
            "2 BAD the path has a component `..`",
            "3 BAD the size is not",
            "4 BAD the size is not",
            "5 BAD",
            "6 BAD the time is neither",
            "7 BAD the line does not have as many cells",
            "8 BAD the path is absolute",
            "9 b http://h/pub/b 9",
        ],
    );
    let (found, _) = all(text, "x.tsv", None);
    let paths: Vec<_> = found
        .iter()
        .filter_map(|found| match found {
            Found::Bad(bad) => Some(bad.path.as_deref()),
            Found::Entry(_) | Found::Doubt(_) => None,
        })
        .collect();
    assert_eq!(paths, [None, Some("a"), Some("a"), Some("a"), Some("a"), None, None]);
}

#[test]
fn csv_knows_quotes_and_a_stray_one_costs_a_line() {
    let text = "\"url\",path\r\n\"http://h/a,b\",\"x \"\"y\"\", z\"\r\nhttp://h/c,\"open\nhttp://h/d,d\n\
                http://h/e,\"e\"f\n\nhttp://h/g,a\"b\n";
    assert_begins(
        &short(text, Format::Csv),
        &[
            "2 x \"y\", z http://h/a,b",
            "3 BAD a quote is not closed",
            "4 d http://h/d",
            "5 BAD a cell goes on",
            "7 a\"b http://h/g",
        ],
    );
}

#[test]
fn a_table_without_a_fit_header_is_refused() {
    for text in ["a\tb\n1\t2\n", "url\turl\n", "\u{feff}\n\nsize\n"] {
        let error = all(text, "x.tsv", None).1.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{error}");
    }
}

#[test]
fn json_lines_may_know_more_than_we_do() {
    let text = format!(
        "{{\"url\":\"http://h/a\",\"path\":\"x/a\",\"size\":5,\
         \"state\":{{\"a\":[1]}},\"sha256\":\"{SHA256}\"}}\n\
         {{\"path\":\"b\",\"digest\":\"md5={MD5}\",\"size\":null,\"mtime\":1700000000.5}}\n\n\
         {{\"url\":\"c\",\"alternates\":\"http://i/c\",\"mtime\":\"2024-01-01T00:00:00Z\"}}\n\
         {{\"url\":1}}\nnot json\n{{\"url\":\"http://h/a\"}} x\n[]\n{{}}\n\
         {{\"url\":\"http://h/a\",\"checksum\":\"crc32=00\"}}\n{{\"path\":\"b\",\"size\":-1}}\n"
    );
    assert_begins(
        &short(text, Format::Jsonl),
        &[
            &format!("1 x/a http://h/a 5 sha256={SHA256}"),
            &format!("2 b http://h/pub/b md5={MD5}"),
            "4 c http://h/pub/c http://i/c",
            "5 BAD not a JSON object",
            "6 BAD not a JSON object",
            "7 BAD not a JSON object",
            "8 BAD",
            "9 BAD neither an address nor a path",
            "10 BAD unknown digest algorithm",
            "11 BAD not a JSON object",
        ],
    );
}

#[test]
fn sums_of_gnu_and_bsd_are_read() {
    let text = format!(
        "{MD5}  a b\n{SHA256} *bin\n\\{MD5}  x\\\\y\n\\{MD5}  new\\nline\nSHA256 (d (1).iso) = {SHA256}\n\
         MD5 (e)= {MD5}\n# comment\n\n{MD5}  ./f\n{MD5}  ../g\n00  short\nSHA224 (x) = 00\n{MD5}\n\
         SHA2-256(h)= {SHA256}\n"
    );
    assert_begins(
        &short(text, Format::Sums),
        &[
            &format!("1 a b http://h/pub/a%20b md5={MD5}"),
            &format!("2 bin http://h/pub/bin sha256={SHA256}"),
            &format!("3 x\\y http://h/pub/x%5Cy md5={MD5}"),
            "4 BAD the path holds a control character",
            &format!("5 d (1).iso http://h/pub/d%20%281%29.iso sha256={SHA256}"),
            &format!("6 e http://h/pub/e md5={MD5}"),
            &format!("9 f http://h/pub/f md5={MD5}"),
            "10 BAD the path has a component `..`",
            "11 BAD neither a digest",
            "12 BAD unknown digest algorithm",
            "13 BAD neither a digest",
            &format!("14 h http://h/pub/h sha256={SHA256}"),
        ],
    );
}

#[test]
fn a_signature_around_sums_is_passed_over() {
    let text = format!(
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# a: 1 bytes\nSHA256 (a) = {SHA256}\n\
         -----BEGIN PGP SIGNATURE-----\n\niQIzBAEB\n=abcd\n-----END PGP SIGNATURE-----\n{MD5}  z\n"
    );
    let (found, result) = all(text, "CHECKSUM", None);
    result.unwrap();
    assert_begins(&found.iter().map(one_short).collect::<Vec<_>>(), &["5 a ", "11 z "]);
}

#[test]
fn the_name_of_a_list_tells_blake3_from_sha256() {
    let (found, _) = all(format!("{SHA256}  a\n"), "http://h/B3SUMS.txt", None);
    assert!(one_short(&found[0]).contains("blake3="), "{found:?}");
}

#[test]
fn aria2_lists_keep_the_mirrors_and_options_of_a_file_together() {
    let text = format!(
        "  out=lost\nhttp://h/1\thttp://i/1\tftp://j/1\n\
         \x20 out=a\n\tdir=d/\n  split=5\n  checksum=sha-256={SHA256}\n\
         # comment\nhttp://h/2?x\r\n dir=./e\r\n\
         http://h/3\n  dir=/abs\n  out=x\nhttp://h/4\n checksum=sha-224=00\n\
         http://h/5\n  out=../../x\nhttp://h/6\n  broken\nhttp://h/7"
    );
    assert_begins(
        &short(text, Format::Aria2),
        &[
            "1 BAD an option without an address",
            &format!("2 d/a http://h/1 http://i/1 sha256={SHA256}"),
            "8 e/2 http://h/2?x",
            "10 BAD the path is absolute",
            "13 BAD unknown digest algorithm",
            "15 BAD the path has a component `..`",
            "17 BAD one of its options has no value",
            "19 7 http://h/7",
        ],
    );
}

#[test]
fn an_option_of_aria2_that_cannot_be_read_spoils_its_file() {
    let text = b"http://h/1\n  out=\xff\nhttp://h/2\n";
    assert_begins(&short(text, Format::Aria2), &["2 BAD", "1 BAD a line of its options", "3 2 "]);
}

fn metalink(files: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">\n\
         <generator>x</generator>\n{files}</metalink>\n"
    )
}

#[test]
fn metalinks_have_their_addresses_by_priority() {
    let files = format!(
        "<file name=\"d/a &amp; b.iso\"><size> 7 </size><hash type=\"sha-384\">00</hash>\n\
         <hash type=\"sha-256\">{SHA256}</hash><hash type=\"md5\">{MD5}</hash>\
         <pieces length=\"1\" type=\"sha-256\"><hash>00</hash></pieces>\n\
         <url>http://h/last</url><url priority=\"2\" location=\"de\">http://h/2?a=1&amp;b&#61;2</url>\
         <url priority=\"1\"><![CDATA[http://h/1]]></url><url priority=\"1\">ftp://h/1</url>\
         <metaurl mediatype=\"torrent\">http://h/t</metaurl></file>\n\
         <file name=\"../up\"><url>http://h/x</url></file>\n\
         <file name=\"c\"><hash type=\"sha-384\">00</hash><url>http://h/c</url></file>\n\
         <file name=\"e\"/>\n<file><url>http://h/f</url></file>\n"
    );
    assert_begins(
        &short(metalink(&files), Format::Metalink),
        &[
            "4 DOUBT d/a & b.iso: the digests of its stretches are not used: ",
            &format!("4 d/a & b.iso http://h/1 http://h/2?a=1&b=2 http://h/last 7 sha256={SHA256}"),
            "7 BAD the path has a component `..`",
            "8 BAD unknown digest algorithm",
            "9 e http://h/pub/e",
            "10 f http://h/f",
        ],
    );
}

#[test]
fn metalink_3_is_read_too() {
    let text = format!(
        "<metalink version=\"3.0\"><files><file name=\"a\"><size>1</size><verification>\
         <hash type=\"md5\">{MD5}</hash><pieces type=\"sha1\"><hash piece=\"0\">00</hash></pieces>\
         </verification>\
         <resources><url type=\"bittorrent\" preference=\"100\">http://h/t</url>\
         <url type=\"http\" preference=\"10\">http://h/10</url>\
         <url type=\"http\" preference=\"90\">http://h/90</url>\
         </resources></file></files></metalink>"
    );
    let wanted = format!("1 a http://h/90 http://h/10 1 md5={MD5}");
    assert_begins(&short(text, Format::Metalink), &["1 DOUBT a: ", &wanted]);
}

#[test]
fn a_metalink_that_is_cut_off_or_broken_is_an_error_after_its_whole_files() {
    let whole = metalink("<file name=\"a\"><url>http://h/a</url></file>\n");
    let end = whole.trim_end().len();
    for cut in 0..end {
        let (found, result) = all(&whole[..cut], "x.meta4", None);
        assert!(result.is_err(), "{cut}: {}", &whole[..cut]);
        assert!(found.len() <= 1);
    }
    for broken in ["<html></html>", "", "<metalink><file></metalink>", "<metalink>&x;</metalink>"] {
        assert!(all(broken, "x.meta4", None).1.is_err(), "{broken}");
    }
    let deep = format!("<metalink>{}", "<a>".repeat(100));
    assert!(all(deep, "x.meta4", None).1.is_err());
    let long = metalink(&format!("<file name=\"a\"><url>{}</url></file>", "x".repeat(3 << 20)));
    assert!(all(long, "x.meta4", None).1.is_err());
}
