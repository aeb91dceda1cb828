//! Directory indexes: those of `ringpull serve`, those that look like nginx's, whole and broken.

use std::fs;
use std::net::Ipv4Addr;

use ringpull::serve::{Options, Server};

use super::files;
use super::runner::Place;
use crate::origin::{Body, File, Origin, Reply};

/// What nginx's autoindex writes.
fn index(directory: &str, names: &[&str]) -> Reply {
    let row = |name: &&str| format!("<a href=\"{name}\">{name}</a>   23-Nov-2026 00:00    123\r\n");
    let rows: String = names.iter().map(row).collect();
    let page = format!(
        "<html>\r\n<head><title>Index of {directory}</title></head>\r\n<body>\r\n\
         <h1>Index of {directory}</h1><hr><pre><a href=\"../\">../</a>\r\n{rows}</pre><hr></body>\r\n\
         </html>\r\n"
    );
    let reply = Reply::status("200 OK").set("Content-Length", &page.len().to_string());
    reply.set("Content-Type", "text/html").body(Body::Bytes(page.into_bytes()))
}

/// A directory with two files and one below it.
fn walked() -> (Origin, Vec<(String, File)>) {
    let files: Vec<_> = [("a b.bin", 100), ("c.bin", 0), ("deep/er/d.bin", 5000)]
        .map(|(path, size)| (path.to_owned(), File::new(size).seed(size + 3)))
        .into();
    let origin = Origin::new()
        .file("/www/a%20b.bin", files[0].1)
        .file("/www/c.bin", files[1].1)
        .file("/www/deep/er/d.bin", files[2].1)
        .at("/www/", |_| index("/www/", &["deep/", "a%20b.bin", "c.bin"]))
        .at("/www/deep/", |_| index("/www/deep/", &["er/"]));
    (origin, files)
}

#[test]
fn an_index_like_that_of_nginx_is_walked_to_its_end() {
    let (origin, files) = walked();
    let origin = origin.at("/www/deep/er/", |_| index("/www/deep/er/", &["d.bin"])).start();
    let place = Place::new();
    place.run(&[origin.url("/www/")]).assert_ends(0, &[("fetched", 3)]);
    place.assert_holds(&files);
    let again = place.run(&[origin.url("/www/")]);
    again.assert_ends(0, &[("unchanged", 3), ("fetched", 0)]);
}

#[test]
fn a_directory_below_whose_index_cannot_be_read_fails_alone_and_stops_deletion() {
    let (origin, files) = walked();
    let origin = origin.at("/www/deep/er/", |_| Reply::status("404 Not Found")).start();
    let place = Place::new();
    place.put("tree/deep/er/d.bin", "what was there before");
    let ended = place.run(&[origin.url("/www/"), "--delete".into()]);
    ended.assert_ends(9, &[("fetched", 2), ("bad_lines", 1), ("deleted", 0)]);
    assert!(ended.bad_lines()[0].1.contains("index"), "{:?}", ended.bad_lines());
    place.assert_right(&files[..2]);
    assert_eq!(fs::read(place.tree("deep/er/d.bin")).unwrap(), b"what was there before");
}

#[test]
fn an_index_that_ends_too_early_is_none() {
    let (origin, _) = walked();
    let page = |request: &crate::origin::Request| {
        // Only the first part of the page, and a length that fits: a broken generator.
        let _ = request;
        let page = b"<html><body><pre><a href=\"../\">../</a>\r\n<a href=\"x.bin\">x".to_vec();
        let reply = Reply::status("200 OK").set("Content-Length", &page.len().to_string());
        reply.set("Content-Type", "text/html").body(Body::Bytes(page))
    };
    let origin = origin.at("/www/deep/er/", page).start();
    let place = Place::new();
    place.put("tree/mine", "mine");
    let ended = place.run(&[origin.url("/www/"), "--delete".into()]);
    ended.assert_ends(9, &[("bad_lines", 1), ("deleted", 0)]);
    assert!(place.tree("mine").exists());
}

#[test]
fn the_index_of_what_was_a_file_when_it_was_listed_is_no_file() {
    for moved in ["/www/a%20b.bin/", "/www/%61%20b.bin/"] {
        let (origin, files) = walked();
        let lead = Reply::status("301 Moved Permanently").set("Content-Length", "0");
        let lead = lead.set("Location", moved);
        let origin = origin
            .at("/www/deep/er/", |_| index("/www/deep/er/", &["d.bin"]))
            .at("/www/a%20b.bin", move |_| lead.clone())
            .at(moved, |_| index("/www/a b.bin/", &["inside"]))
            .start();
        let place = Place::new();
        place.put("tree/a b.bin", "what was there before");
        let ended = place.run(&[origin.url("/www/"), "--delete".into()]);
        ended.assert_ends(9, &[("fetched", 2), ("failed", 1), ("deleted", 0)]);
        place.assert_right(&files[1..]);
        assert_eq!(fs::read(place.tree("a b.bin")).unwrap(), b"what was there before");
    }
}

#[test]
fn without_its_first_page_nothing_is_begun() {
    let place = Place::new();
    place.put("tree/mine", "mine");
    let origin = Origin::new().at("/www/", |_| Reply::status("403 Forbidden")).start();
    let ended = place.run(&[origin.url("/www/"), "--delete".into()]);
    assert_ne!(ended.code, Some(0));
    assert_eq!((origin.log().len(), place.names().len()), (1, 1), "{}", ended.stderr);
}

#[test]
fn what_an_index_names_outside_of_itself_is_not_followed() {
    let file = File::new(50);
    let names = [
        "../../etc/passwd",
        "/elsewhere",
        "http://127.0.0.1:1/x",
        "?C=N;O=D",
        "..%2fup",
        "good.bin",
    ];
    let origin = Origin::new()
        .at("/www/", move |_| index("/www/", &names))
        .file("/www/good.bin", file)
        .start();
    let place = Place::new();
    let ended = place.run(&[origin.url("/www/")]);
    assert_eq!(ended.count("fetched"), 1, "{:#?}", ended.results());
    place.assert_holds(&[("good.bin".to_owned(), file)]);
    assert_eq!(origin.log().len(), 2);
    assert!(!place.path("up").exists());
}

#[test]
fn the_index_of_our_own_server_is_mirrored_and_then_unchanged() {
    let files = files(40);
    let place = Place::new();
    for (path, file) in &files {
        place.put(&format!("www/{path}"), file.whole());
    }
    place.put("www/a name with #, ? and %41.bin", "odd");
    let options = Options {
        dir: place.path("www"),
        listen: vec![(Ipv4Addr::LOCALHOST, 0).into()],
        ..Options::default()
    };
    let server = Server::start(&options).unwrap();
    let url = format!("http://{}/", server.addresses()[0]);
    place.run(&[&url]).assert_ends(0, &[("fetched", 41)]);
    place.assert_right(&files);
    assert_eq!(fs::read(place.tree("a name with #, ? and %41.bin")).unwrap(), b"odd");
    let before = place.names();
    place.run(&[&url]).assert_ends(0, &[("unchanged", 41), ("fetched", 0)]);
    assert_eq!(place.names(), before);
    fs::remove_file(place.path("www").join(&files[5].0)).unwrap();
    place.run(&[&url, "--delete"]).assert_ends(0, &[("unchanged", 40), ("deleted", 1)]);
    assert!(!place.tree(&files[5].0).exists());
}
