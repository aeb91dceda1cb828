//! Every kind of list, from its lines to the files.

use std::io::Write as _;

use super::runner::Place;
use super::{files, origin_of, sha256, table};
use crate::origin::{File, Origin, Reply, Running};

/// Runs a list of `count` files; they all come.
fn assert_mirrored(
    name: &str,
    args: &[&str],
    list: impl Fn(&Running, &[(String, File)]) -> Vec<u8>,
) {
    let files = files(7);
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put(name, list(&origin, &files));
    let base = origin.url("/");
    let mut all = vec![name];
    all.extend(args.iter().map(|arg| if *arg == "BASE" { base.as_str() } else { arg }));
    place.run(&all).assert_ends(0, &[("fetched", 7), ("failed", 0), ("bad_lines", 0)]);
    place.assert_holds(&files);
    assert_eq!(origin.log().len(), 7, "a request a file");
}

fn of_each(files: &[(String, File)], line: impl Fn(&str, &File) -> String) -> Vec<u8> {
    files.iter().map(|(path, file)| line(path, file)).collect::<String>().into_bytes()
}

#[test]
fn a_table_with_tabs_is_mirrored() {
    assert_mirrored("list.tsv", &[], |origin, files| table(origin, files).into_bytes());
}

#[test]
fn a_table_with_commas_and_quotes_is_mirrored() {
    assert_mirrored("list.csv", &[], |origin, files| {
        let lines = of_each(files, |path, file| {
            format!(
                "\"{path}\",\"{}\",{},\"a \"\"note\"\", ignored\"\r\n",
                origin.url(&format!("/{path}")),
                file.size
            )
        });
        [b"\xef\xbb\xbfpath,url,size,note\r\n".to_vec(), lines].concat()
    });
}

#[test]
fn lines_of_json_are_mirrored() {
    assert_mirrored("list.jsonl", &[], |origin, files| {
        of_each(files, |path, file| {
            let url = origin.url(&format!("/{path}"));
            let digest = blake3::hash(&file.whole()).to_string();
            format!(
                "{}\n",
                serde_json::json!({"url": url, "path": path, "blake3": digest, "more": [1]})
            )
        })
    });
}

#[test]
fn a_list_of_relative_addresses_is_mirrored_below_its_base() {
    assert_mirrored("list.txt", &["--base-url", "BASE"], |_, files| {
        [b"# a comment\n\n".to_vec(), of_each(files, |path, _| format!("{path}\n"))].concat()
    });
}

#[test]
fn whole_addresses_below_the_base_keep_their_paths() {
    assert_mirrored("list.txt", &["--base-url", "BASE"], |origin, files| {
        of_each(files, |path, _| format!("{}\n", origin.url(&format!("/{path}"))))
    });
}

#[test]
fn the_format_can_be_named_where_the_name_says_nothing() {
    assert_mirrored("what", &["--format", "tsv"], |origin, files| {
        table(origin, files).into_bytes()
    });
}

#[test]
fn an_input_file_of_aria2_is_mirrored() {
    assert_mirrored("downloads", &["--format", "aria2"], |origin, files| {
        of_each(files, |path, file| {
            let (dir, out) = path.rsplit_once('/').unwrap();
            let url = origin.url(&format!("/{path}"));
            format!("{url}\n  dir={dir}\n  out={out}\n  checksum=sha-256={}\n", sha256(file))
        })
    });
}

#[test]
fn sums_in_the_form_of_gnu_are_mirrored_below_their_base() {
    assert_mirrored("SHA256SUMS", &["--base-url", "BASE"], |_, files| {
        of_each(files, |path, file| format!("{} *{path}\n", sha256(file)))
    });
}

#[test]
fn sums_in_the_form_of_bsd_are_mirrored_below_their_base() {
    assert_mirrored("sums", &["--base-url", "BASE", "--format", "sha256sums"], |_, files| {
        of_each(files, |path, file| format!("SHA256 ({path}) = {}\n", sha256(file)))
    });
}

#[test]
fn a_metalink_is_mirrored() {
    assert_mirrored("list.meta4", &[], |origin, files| {
        let lines = of_each(files, |path, file| {
            let url = origin.url(&format!("/{path}"));
            let (size, digest) = (file.size, sha256(file));
            format!(
                "<file name=\"{path}\"><size>{size}</size><hash type=\"sha-256\">{digest}</hash>\
                 <url priority=\"1\">{url}</url></file>\n"
            )
        });
        let head =
            b"<?xml version=\"1.0\"?>\n<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">\n";
        [head.to_vec(), lines, b"</metalink>\n".to_vec()].concat()
    });
}

#[test]
fn a_list_under_gzip_is_read_as_it_is() {
    assert_mirrored("list.tsv.gz", &[], |origin, files| {
        let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        coder.write_all(table(origin, files).as_bytes()).unwrap();
        coder.finish().unwrap()
    });
}

#[test]
fn a_list_under_gzip_that_is_cut_off_removes_nothing_and_begins_nothing() {
    let files = files(7);
    let origin = origin_of(&files).start();
    let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    coder.write_all(table(&origin, &files).as_bytes()).unwrap();
    let mut bytes = coder.finish().unwrap();
    bytes.truncate(bytes.len() - 20);
    let place = Place::new();
    place.put("list.tsv.gz", bytes).put("tree/mine", "mine");
    let ended = place.run(&["list.tsv.gz", "--delete"]);
    assert_ne!(ended.code, Some(0));
    assert_eq!((origin.log().len(), place.names().len()), (0, 1));
}

#[test]
fn a_list_on_standard_input_is_mirrored() {
    let files = files(7);
    let origin = origin_of(&files).start();
    let place = Place::new();
    let ended = place.run_fed(&["-"], table(&origin, &files).as_bytes());
    ended.assert_ends(0, &[("fetched", 7)]);
    place.assert_holds(&files);
}

#[test]
fn a_list_on_a_server_is_fetched_and_is_the_base_of_its_addresses() {
    let files = files(7);
    let lines = of_each(&files, |path, _| format!("{path}\n"));
    let list = Reply::status("200 OK").without("Content-Length");
    let length = lines.len().to_string();
    let reply = list.set("Content-Length", &length).body(crate::origin::Body::Bytes(lines));
    let origin = files
        .iter()
        .fold(Origin::new(), |origin, (path, file)| origin.file(&format!("/below/{path}"), *file));
    let origin = origin.at("/below/list.txt", move |_| reply.clone()).start();
    let place = Place::new();
    place.run(&[origin.url("/below/list.txt")]).assert_ends(0, &[("fetched", 7)]);
    place.assert_holds(&files);
}

#[test]
fn a_second_source_is_asked_where_the_first_does_not_have_the_file() {
    let file = File::new(4321).seed(9);
    let (poor, rich) = (Origin::new().start(), Origin::new().file("/a", file).start());
    let place = Place::new();
    let (first, second) = (poor.url("/a"), rich.url("/a"));
    let line = serde_json::json!({"url": first, "path": "a", "alternates": [second]});
    place.put("list.jsonl", format!("{line}\n"));
    place.run(&["list.jsonl"]).assert_ends(0, &[("fetched", 1)]);
    place.assert_holds(&[("a".to_owned(), file)]);
}

#[test]
fn a_second_source_is_asked_where_the_first_has_other_bytes() {
    let file = File::new(4321).seed(9);
    let bad = Origin::new().file("/a", file.version(2)).start();
    let good = Origin::new().file("/a", file).start();
    let place = Place::new();
    let (first, second) = (bad.url("/a"), good.url("/a"));
    let line = serde_json::json!({
        "url": first, "path": "a", "sha256": sha256(&file), "alternates": [second]
    });
    place.put("list.jsonl", format!("{line}\n"));
    place.run(&["list.jsonl"]).assert_ends(0, &[("fetched", 1)]);
    place.assert_holds(&[("a".to_owned(), file)]);
}

#[test]
fn only_what_is_included_and_not_excluded_is_fetched() {
    let files = files(7);
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    let args = ["list.tsv", "--include", "d1/**", "--include", "d2/**", "--exclude", "**/f5.bin"];
    place.run(&args).assert_ends(0, &[("entries", 3), ("fetched", 3)]);
    let taken = |(path, _): &&(String, File)| !path.starts_with("d0") && !path.ends_with("f5.bin");
    place.assert_holds(&files.iter().filter(taken).cloned().collect::<Vec<_>>());
}

#[test]
fn the_date_of_the_list_or_of_the_server_is_that_of_the_file() {
    let file = File::new(100);
    let origin = Origin::new().file("/a", file).file("/b", file).start();
    let place = Place::new();
    let (a, b) = (origin.url("/a"), origin.url("/b"));
    place.put("list.tsv", format!("url\tpath\tmtime\n{a}\ta\t1234567890\n{b}\tb\t\n"));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 2)]);
    let date = |name: &str| std::fs::metadata(place.tree(name)).unwrap().modified().unwrap();
    let listed = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_234_567_890);
    assert_eq!((date("a"), date("b")), (listed, file.modified()));
}
