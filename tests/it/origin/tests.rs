//! Proves the origin itself, with a client that sends a text and reads what comes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::*;

/// Sends the request lines on a fresh connection and reads to the end.
fn ask(origin: &Running, path: &str, lines: &[&str]) -> (String, Vec<u8>) {
    let mut socket = TcpStream::connect(origin.address()).unwrap();
    split(talk(&mut socket, path, lines).unwrap())
}

fn talk(stream: &mut (impl Read + Write), path: &str, lines: &[&str]) -> std::io::Result<Vec<u8>> {
    let mut text = format!("GET {path} HTTP/1.1\r\nHost: origin\r\n");
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map(|_| answer)
}

fn split(answer: Vec<u8>) -> (String, Vec<u8>) {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
    (String::from_utf8(answer[..end].to_vec()).unwrap(), answer[end..].to_vec())
}

fn closing(file: File) -> Running {
    Origin::new().bent("/f", file, |_, reply| reply.closing()).start()
}

#[test]
fn bytes_depend_on_seed_version_and_offset_alone() {
    let file = File::new(100_000).seed(7);
    let whole = file.whole();
    assert_eq!(file.expected(4_097..70_001), whole[4_097..70_001]);
    assert_ne!(file.version(2).whole(), whole);
    assert_ne!(file.seed(8).whole(), whole);
    assert_eq!(file.difference(&whole[..]), None);
}

#[test]
fn the_checker_finds_one_wrong_byte_and_a_wrong_length() {
    let file = File::new((1 << 20) + 5);
    let mut bytes = file.whole();
    assert!(file.difference(&bytes[..bytes.len() - 1]).is_some());
    bytes[1 << 20] ^= 1;
    assert_eq!(file.difference(&bytes[..]).unwrap(), "the first wrong byte is at 1048576");
    bytes[1 << 20] ^= 1;
    bytes.push(0);
    assert!(file.difference(&bytes[..]).is_some());
    assert_eq!(File::new(1 << 20).difference(&bytes[..1 << 20]), None);
}

#[test]
fn an_honest_origin_serves_whole_files_and_ranges() {
    let file = File::new(200_000);
    let origin = closing(file);
    let (head, body) = ask(&origin, "/f", &[]);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, file.whole());
    let (head, body) = ask(&origin, "/f", &["Range: bytes=70000-70009"]);
    assert!(head.contains("\r\nContent-Range: bytes 70000-70009/200000\r\n"), "{head}");
    assert_eq!(body, file.expected(70_000..70_010));
    let (_, body) =
        ask(&origin, "/f", &["Range: bytes=199990-", &format!("If-Range: {}", file.etag())]);
    assert_eq!(body, file.expected(199_990..200_000));
    let (head, _) = ask(&origin, "/f", &["Range: bytes=1-", "If-Range: \"old\""]);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let (head, _) = ask(&origin, "/f", &["Range: bytes=200000-"]);
    assert!(head.contains("\r\nContent-Range: bytes */200000\r\n"), "{head}");
    let log = origin.log();
    assert_eq!(log[1].range, Some(70_000..70_010));
    assert_eq!((log[4].nth, log[4].turn, log[4].connection), (4, 0, 4));
    assert_eq!(origin.connections(), 5);
    let (head, _) = ask(&closing(file), "/nothing", &["Connection: close"]);
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
}

#[test]
fn chunks_have_the_lengths_asked_for() {
    let file = File::new(10);
    let origin = Origin::new()
        .bent("/f", file, |_, reply| {
            let mut reply = reply.chunked(&[3, 5]).closing();
            reply.chunk_extension = ";a=b";
            reply
        })
        .start();
    let (head, body) = ask(&origin, "/f", &[]);
    assert!(!head.to_ascii_lowercase().contains("content-length"), "{head}");
    let mut wanted = Vec::new();
    for (size, span) in [("3", 0..3), ("5", 3..8), ("2", 8..10)] {
        wanted.extend(format!("{size};a=b\r\n").bytes());
        wanted.extend(file.expected(span));
        wanted.extend(b"\r\n");
    }
    wanted.extend(b"0\r\n\r\n");
    assert_eq!(body, wanted);
}

#[test]
fn a_reset_is_an_error_and_a_close_is_an_end() {
    let file = File::new(4 << 20);
    let origin = Origin::new()
        .bent("/rst", file, |_, reply| reply.cut(1000, Cut::Reset))
        .bent("/fin", file, |_, reply| reply.cut(1000, Cut::Close))
        .at("/none", |_| Reply::hang_up())
        .start();
    let mut socket = TcpStream::connect(origin.address()).unwrap();
    assert!(talk(&mut socket, "/rst", &[]).is_err());
    assert_eq!(ask(&origin, "/fin", &[]).1, file.expected(0..1000));
    assert_eq!(ask(&origin, "/none", &[]).1, b"");
    assert_eq!(origin.served_bytes(), 2000);
}

#[test]
fn a_stalled_connection_does_not_keep_the_origin_alive() {
    let origin = Origin::new()
        .bent("/stall", File::new(100), |_, reply| reply.cut(10, Cut::Stall))
        .bent("/slow", File::new(100), |_, reply| reply.dribble(1, Duration::from_secs(3600)))
        .start();
    let sockets = ["/stall", "/slow"].map(|path| {
        let mut socket = TcpStream::connect(origin.address()).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\n\r\n").unwrap();
        socket
    });
    origin.wait_for_requests(2);
    drop(origin);
    drop(sockets);
}

#[test]
fn a_latch_holds_an_answer_back() {
    let latch = Latch::default();
    let shut = latch.clone();
    let origin = Origin::new()
        .bent("/f", File::new(1), move |_, reply| reply.after(&shut).closing())
        .start();
    thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&origin, "/f", &[]));
        origin.wait_for_requests(1);
        assert!(!asking.is_finished());
        latch.open();
        assert_eq!(asking.join().unwrap().1.len(), 1);
    });
}

#[test]
fn tls_ends_with_or_without_close_notify() {
    let file = File::new(100_000);
    let origin = Origin::new()
        .tls(Certificate::valid_for("localhost"))
        .bent("/good", file, |_, reply| reply.until_close())
        .bent("/cut", file, |_, reply| reply.until_close().cut(50_000, Cut::Close))
        .start();
    let mut roots = RootCertStore::empty();
    roots.add(origin.certificate.as_ref().unwrap().authority()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let config = Arc::new(config);
    let connect = || {
        let name = "localhost".try_into().unwrap();
        let session = ClientConnection::new(config.clone(), name).unwrap();
        StreamOwned::new(session, TcpStream::connect(origin.address()).unwrap())
    };
    assert_eq!(split(talk(&mut connect(), "/good", &[]).unwrap()).1, file.whole());
    let cut = talk(&mut connect(), "/cut", &[]).unwrap_err();
    assert_eq!(cut.kind(), std::io::ErrorKind::UnexpectedEof);
}
