//! Drives the static file server through the library, with raw requests over loopback sockets.
//!
//! Where a test needs an answer that is still under way, it asks for a sparse file far larger than
//! all socket buffers together: the server cannot finish before the client reads.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use ringpull::error::Kind;
use ringpull::serve::{Options, Server};
use tempfile::TempDir;

mod tls;

const LONG: Duration = Duration::from_secs(60);
const SPARSE_BYTES: u64 = 256 << 20;

struct Answer {
    status: u16,
    fields: HashMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// Reads a head, and nothing after it.
fn read_head(from: &mut impl BufRead) -> Option<Answer> {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1)?.parse().unwrap();
    let mut fields = HashMap::new();
    loop {
        line.clear();
        from.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        let before = fields.insert(name.to_ascii_lowercase(), value.to_owned());
        assert!(before.is_none(), "{name} twice");
    }
    assert_eq!(line, "\r\n");
    Some(Answer { status, fields, body: Vec::new() })
}

/// Reads an answer to anything but HEAD.
fn read_answer(from: &mut impl BufRead) -> Option<Answer> {
    let mut answer = read_head(from)?;
    let length = answer.fields.get("content-length").map_or(0, |length| length.parse().unwrap());
    answer.body = vec![0; length];
    from.read_exact(&mut answer.body).unwrap();
    Some(answer)
}

fn options(dir: &Path) -> Options {
    Options { dir: dir.into(), listen: vec![(Ipv4Addr::LOCALHOST, 0).into()], ..Options::default() }
}

fn start(dir: &Path) -> Server {
    Server::start(&options(dir)).unwrap()
}

fn connect(server: &Server) -> BufReader<TcpStream> {
    BufReader::new(TcpStream::connect(server.addresses()[0]).unwrap())
}

fn send(client: &BufReader<TcpStream>, request: &str) {
    client.get_ref().write_all(request.as_bytes()).unwrap();
}

/// Sends the bytes of one request and reads its answer, on a connection of its own.
fn exchange(server: &Server, request: &str) -> Answer {
    let mut client = connect(server);
    send(&client, request);
    read_answer(&mut client).unwrap()
}

fn get(server: &Server, target: &str, fields: &str) -> Answer {
    exchange(server, &format!("GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n"))
}

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 + index / 251).to_le_bytes()[0]).collect()
}

fn dir_with(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    dir
}

fn sparse(dir: &TempDir) -> File {
    let file = File::create(dir.path().join("sparse")).unwrap();
    file.set_len(SPARSE_BYTES).unwrap();
    file
}

#[test]
fn a_file_comes_whole_with_its_validators_and_head_says_the_same() {
    let body = noise(100_000);
    let dir = dir_with(&[("a b.json", &body), ("empty", b"")]);
    let server = start(dir.path());
    let answer = get(&server, "/a%20b.json?query", "");
    assert_eq!((answer.status, answer.body == body), (200, true));
    assert_eq!(answer.field("content-type"), "application/json");
    assert_eq!(answer.field("accept-ranges"), "bytes");
    assert!(answer.field("etag").starts_with('"'));
    assert!(httpdate::parse_http_date(answer.field("last-modified")).is_ok());
    assert!(httpdate::parse_http_date(answer.field("date")).is_ok());

    let mut client = connect(&server);
    send(&client, "HEAD /a%20b.json HTTP/1.1\r\nHost: x\r\nRange: bytes=0-9\r\n\r\n");
    let head = read_head(&mut client).unwrap();
    assert_eq!((head.status, head.field("content-length")), (200, "100000"));
    assert_eq!(head.field("etag"), answer.field("etag"));
    send(&client, "GET /empty HTTP/1.1\r\nHost: x\r\n\r\n");
    let empty = read_answer(&mut client).unwrap();
    assert_eq!((empty.status, empty.field("content-length")), (200, "0"));
}

#[test]
fn one_range_is_answered_in_part_and_anything_else_whole_or_not_at_all() {
    let body = noise(5000);
    let dir = dir_with(&[("f", &body)]);
    let server = start(dir.path());
    for (range, first, last) in [
        ("0-0", 0, 0),
        ("10-99", 10, 99),
        ("4000-", 4000, 4999),
        ("-7", 4993, 4999),
        ("4999-9999", 4999, 4999),
    ] {
        let answer = get(&server, "/f", &format!("Range: bytes={range}\r\n"));
        assert_eq!((answer.status, &answer.body[..]), (206, &body[first..=last]), "{range}");
        assert_eq!(answer.field("content-range"), format!("bytes {first}-{last}/5000"));
    }
    for range in ["bytes=0-1,5-6", "bytes=9-1", "lines=1-2", "bytes=x"] {
        let answer = get(&server, "/f", &format!("Range: {range}\r\n"));
        assert_eq!((answer.status, answer.body == body), (200, true), "{range}");
        assert_eq!(answer.field("content-range"), "");
    }
    for range in ["5000-", "6000-7000", "-0"] {
        let answer = get(&server, "/f", &format!("Range: bytes={range}\r\n"));
        assert_eq!(
            (answer.status, answer.field("content-range")),
            (416, "bytes */5000"),
            "{range}"
        );
    }
}

#[test]
fn parts_fetched_side_by_side_make_the_file() {
    let body = noise(3_000_001);
    let dir = dir_with(&[("f", &body)]);
    let server = start(dir.path());
    let parts: Vec<Vec<u8>> = thread::scope(|scope| {
        let ask = |index: usize| {
            let (first, last) = (index * 400_000, index * 400_000 + 399_999);
            get(&server, "/f", &format!("Range: bytes={first}-{last}\r\n")).body
        };
        let running: Vec<_> = (0..8).map(|index| scope.spawn(move || ask(index))).collect();
        running.into_iter().map(|part| part.join().unwrap()).collect()
    });
    assert!(parts.concat() == body);
}

#[test]
fn conditions_tell_one_version_of_a_file_from_the_next() {
    let dir = dir_with(&[("f", b"first")]);
    let path = dir.path().join("f");
    let past = SystemTime::now() - Duration::from_secs(3600);
    File::open(&path).unwrap().set_modified(past).unwrap();
    let server = start(dir.path());
    let first = get(&server, "/f", "");
    let (etag, date) = (first.field("etag"), first.field("last-modified"));
    let part = "Range: bytes=1-2\r\n";
    let expect = |field: &str, value: &str, status: u16| {
        let answer = get(&server, "/f", &format!("{field}: {value}\r\n{part}"));
        assert_eq!(answer.status, status, "{field}: {value}");
        assert_ne!(answer.field("etag") == etag, status == 412);
    };
    expect("If-Range", etag, 206);
    expect("If-Range", date, 206);
    expect("If-Range", &format!("W/{etag}"), 200);
    expect("If-Match", etag, 206);
    expect("If-Match", "\"other\"", 412);
    expect("If-None-Match", etag, 304);
    expect("If-Modified-Since", date, 304);
    expect("If-Unmodified-Since", date, 206);

    // Same size and, to the second, the same time: only the nanoseconds differ.
    std::fs::write(&path, b"other").unwrap();
    File::open(&path).unwrap().set_modified(past + Duration::from_nanos(1)).unwrap();
    let second = get(&server, "/f", &format!("If-Range: {etag}\r\n{part}"));
    assert_eq!((second.status, &second.body[..]), (200, &b"other"[..]));
    assert_ne!(second.field("etag"), etag);
    assert_eq!(get(&server, "/f", &format!("If-Match: {etag}\r\n{part}")).status, 412);
}

#[test]
fn a_connection_carries_requests_until_one_side_has_enough() {
    let dir = dir_with(&[("f", b"body")]);
    let server = start(dir.path());
    let mut client = connect(&server);
    // Several at once, one without a body in its answer.
    let plain = "GET /f HTTP/1.1\r\nHost: x\r\n\r\n";
    let conditional = "GET /f HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n";
    send(&client, &format!("{plain}{conditional}\r\n{plain}"));
    for status in [200, 304, 200] {
        let answer = read_answer(&mut client).unwrap();
        assert_eq!((answer.status, answer.field("connection")), (status, ""));
    }
    send(&client, "GET /f HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(read_answer(&mut client).unwrap().field("connection"), "keep-alive");
    send(&client, "GET /f HTTP/1.0\r\n\r\n");
    assert_eq!(read_answer(&mut client).unwrap().field("connection"), "close");
    assert!(read_head(&mut client).is_none());
    assert_eq!((server.requests(), server.served_bytes()), (5, 16));

    // A body is not read, and must not be taken for a request.
    let mut client = connect(&server);
    send(
        &client,
        &format!("GET /f HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{plain}", plain.len()),
    );
    assert_eq!(read_answer(&mut client).unwrap().field("connection"), "close");
    assert!(read_head(&mut client).is_none());
}

#[test]
fn what_cannot_be_answered_is_refused_and_the_refusal_can_be_read() {
    let dir = dir_with(&[("f", b"body"), ("d/x", b"")]);
    let server = start(dir.path());
    let long = "a".repeat(10_000);
    for (request, status) in [
        ("GET /missing HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("GET /f/ HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("GET /../f HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET /f HTTP/1.1\r\n\r\n", 400),
        ("\x16\x03\x01 hello", 400),
        ("GET /f HTTP/3.0\r\n\r\n", 505),
        (&format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), 414),
        (&format!("GET /f HTTP/1.1\r\nHost: x\r\na: {long}\r\nb: {long}\r\n\r\n"), 431),
        (&format!("PUT /f HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n{long}"), 405),
    ] {
        let answer = exchange(&server, request);
        assert_eq!(answer.status, status, "{request}");
        let allowed = if status == 405 { "GET, HEAD" } else { "" };
        assert_eq!(answer.field("allow"), allowed);
    }
}

#[test]
fn a_directory_redirects_to_its_slash_and_lists_or_shows_its_index() {
    let dir = dir_with(&[
        ("d/b & c:#?.txt", b"odd"),
        ("d/a/x", b""),
        ("d/.ringpull-00.part", b"half"),
        ("site/index.html", b"<p>hello"),
    ]);
    let server = start(dir.path());
    let moved = get(&server, "//d?q=1", "");
    assert_eq!((moved.status, moved.field("location")), (301, "/d/?q=1"));
    assert_eq!(get(&server, "/d/.ringpull-00.part", "").status, 404);

    let listing = get(&server, "/d/", "");
    assert_eq!(listing.field("content-type"), "text/html; charset=utf-8");
    let page = String::from_utf8(listing.body).unwrap();
    let links: Vec<_> =
        page.split("<a href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(links, ["../", "a/", "b%20%26%20c%3A%23%3F.txt"]);
    assert_eq!(get(&server, &format!("/d/{}", links[2]), "").body, b"odd");

    let index = get(&server, "/site/", "");
    assert_eq!((index.status, &index.body[..]), (200, &b"<p>hello"[..]));
    assert_eq!(index.field("content-type"), "text/html; charset=utf-8");
    assert_ne!(index.field("etag"), "");
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_cuts_the_connection() {
    let dir = tempfile::tempdir().unwrap();
    let file = sparse(&dir);
    let server = start(dir.path());
    let mut client = connect(&server);
    send(&client, "GET /sparse HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(read_head(&mut client).unwrap().field("content-length"), SPARSE_BYTES.to_string());
    file.set_len(1).unwrap();
    let rest = std::io::copy(&mut client, &mut std::io::sink()).unwrap_or(0);
    assert!(rest < SPARSE_BYTES, "{rest}");
}

#[test]
fn stopping_lets_a_running_answer_finish_and_ends_idle_connections() {
    let dir = tempfile::tempdir().unwrap();
    sparse(&dir);
    let server = start(dir.path());
    let address = server.addresses()[0];
    let (mut idle, mut busy) = (connect(&server), connect(&server));
    send(&busy, "GET /sparse HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(read_head(&mut busy).unwrap().status, 200);
    let stopping = thread::spawn(move || server.stop(LONG));
    // The door is closed once nobody is let in any more.
    while TcpStream::connect(address).is_ok() {
        thread::yield_now();
    }
    assert!(read_head(&mut idle).is_none());
    assert_eq!(std::io::copy(&mut busy, &mut std::io::sink()).unwrap(), SPARSE_BYTES);
    stopping.join().unwrap();
}

#[test]
fn stopping_without_grace_cuts_a_running_answer() {
    let dir = tempfile::tempdir().unwrap();
    sparse(&dir);
    let server = start(dir.path());
    let mut client = connect(&server);
    send(&client, "GET /sparse HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(read_head(&mut client).unwrap().status, 200);
    server.stop(Duration::ZERO);
    let rest = std::io::copy(&mut client, &mut std::io::sink()).unwrap_or(0);
    assert!(rest < SPARSE_BYTES, "{rest}");
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let dir = dir_with(&[("f", b"body")]);
    let keep_alive = Duration::from_millis(20);
    let server = Server::start(&Options { keep_alive, ..options(dir.path()) }).unwrap();
    let mut client = connect(&server);
    send(&client, "GET /f HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(read_answer(&mut client).unwrap().status, 200);
    assert!(read_head(&mut client).is_none());
}

#[test]
fn an_unknown_congestion_control_is_a_notice_and_no_error() {
    let dir = dir_with(&[("f", b"body")]);
    let congestion = Some("no\x1bsuch".to_owned());
    let server = Server::start(&Options { congestion, ..options(dir.path()) }).unwrap();
    let notices = server.notices();
    assert_eq!(notices.len(), 1);
    assert!(
        notices[0].starts_with("cannot set congestion control no\\u{1b}such: "),
        "{}",
        notices[0]
    );
    assert_eq!(get(&server, "/f", "").status, 200);
    let unset = Server::start(&Options { congestion: None, ..options(dir.path()) }).unwrap();
    assert!(unset.notices().is_empty());
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let dir = dir_with(&[("f", b"body")]);
    let server = start(dir.path());
    let kind = |options: Options| Server::start(&options).unwrap_err().kind();
    assert_eq!(
        kind(Options { listen: server.addresses().into(), ..options(dir.path()) }),
        Kind::Usage
    );
    assert_eq!(kind(Options { listen: Vec::new(), ..options(dir.path()) }), Kind::Usage);
    assert_eq!(kind(options(&dir.path().join("f"))), Kind::Usage);
    assert_eq!(kind(options(&dir.path().join("missing"))), Kind::LocalIo);
    let file = dir.path().join("f");
    assert_eq!(kind(Options { tls: Some((file.clone(), file)), ..options(dir.path()) }), Kind::Tls);
}
