//! Bad input: each kind has its exit code and one clear line, and leaves nothing behind.

use std::net::TcpListener;

use crate::harness::Run;
use crate::origin::{File, Origin, Reply};

#[test]
fn what_is_no_url_is_wrong_usage() {
    for text in ["nonsense", "example.com/f.bin", "/etc/passwd", "http://", "http://[::1/f", "://x"]
    {
        Run::new(text).finish().assert_fails(2, &[]);
    }
}

#[test]
fn other_schemes_are_wrong_usage() {
    for url in ["ftp://127.0.0.1/f.bin", "file:///etc/passwd", "data:,x", "gopher://127.0.0.1/"] {
        Run::new(url).finish().assert_fails(2, &["http"]);
    }
}

#[test]
fn no_url_at_all_is_wrong_usage() {
    Run::bare().finish_usage();
}

#[test]
fn a_url_without_a_file_name_asks_for_one() {
    let origin = Origin::new().file("/", File::new(10)).start();
    Run::new(&origin.url("/")).finish().assert_fails(2, &["--output"]);
    let run = Run::new(&origin.url("/")).args(["-o", "f.bin"]);
    run.finish().assert_gives("f.bin", &File::new(10));
}

#[test]
fn names_that_would_leave_the_directory_are_refused() {
    for path in ["/%2e%2e", "/a%2fb", "/..%2f..%2fetc", "/%00", "/."] {
        let file = File::new(10);
        let origin = Origin::new().file(path, file).start();
        let outcome = Run::new(&origin.url(path)).finish();
        assert_ne!(outcome.code, Some(1), "{}", outcome.stderr);
        if outcome.code == Some(0) {
            let names: Vec<_> = std::fs::read_dir(outcome.path(".")).unwrap().collect();
            assert_eq!(names.len(), 1, "{path}");
        }
    }
}

#[test]
fn an_unknown_host_is_a_network_failure() {
    let run = Run::new("http://name.invalid/f.bin").args(["--retries", "1"]);
    run.finish().assert_fails(3, &["name.invalid"]);
}

#[test]
fn a_refused_connection_is_a_network_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let run = Run::new(&format!("http://{address}/f.bin")).args(["--retries", "1"]);
    run.finish().assert_fails(3, &["refused"]);
}

#[test]
fn a_handshake_that_never_ends_is_a_network_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/f.bin", listener.local_addr().unwrap());
    let run = Run::new(&url).args(["--retries", "0", "--connect-timeout", "1"]);
    run.finish().assert_fails(3, &[]);
}

#[test]
fn a_refusal_of_the_server_is_said() {
    for status in
        ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found", "410 Gone"]
    {
        let origin = Origin::new().at("/f.bin", move |_| Reply::status(status)).start();
        let outcome = Run::new(&origin.url("/f.bin")).finish();
        outcome.assert_fails(5, &[&status[..3], "/f.bin"]);
        assert_eq!(origin.log().len(), 1, "a refusal is final");
    }
}

#[test]
fn a_file_larger_than_allowed_is_refused_before_a_byte_is_kept() {
    let file = File::new(5 << 20);
    let origin = Origin::new()
        .file("/f.bin", file)
        .at("/chunked.bin", move |_| Reply::whole(&file).chunked(&[5000]))
        .start();
    for path in ["/f.bin", "/chunked.bin"] {
        let outcome = Run::new(&origin.url(path)).args(["--max-filesize", "1M"]).finish();
        assert!(outcome.code.is_some_and(|code| code > 1), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("--max-filesize"), "{}", outcome.stderr);
    }
    let run = Run::new(&origin.url("/f.bin")).args(["--max-filesize", "5M"]);
    run.finish().assert_gives("f.bin", &file);
}

#[test]
fn a_file_larger_than_the_disk_is_refused() {
    let origin = Origin::new().file("/f.bin", File::new(1 << 50)).start();
    let outcome = Run::new(&origin.url("/f.bin")).args(["--block-size", "64M"]).finish();
    assert_eq!(outcome.code, Some(7), "{}", outcome.stderr);
    let outcome = Run::new(&origin.url("/f.bin")).args(["--block-size", "4k"]).finish();
    assert!([Some(2), Some(7)].contains(&outcome.code), "{}", outcome.stderr);
}

#[test]
fn options_that_make_no_sense_are_wrong_usage() {
    let origin = Origin::new().file("/f.bin", File::new(10)).start();
    let cases: [&[&str]; 17] = [
        &["--connections", "0"],
        &["--connections", "257"],
        &["--connections", "many"],
        &["--block-size", "1000"],
        &["--block-size", "1k"],
        &["--block-size", "128M"],
        &["--write", "fast"],
        &["--io", "kqueue"],
        &["--checksum", "sha256=12"],
        &["--checksum", "crc32=12345678"],
        &["--checksum", "nothing"],
        &["--stall-timeout", "-1"],
        &["--limit-rate", "quick"],
        &["-H", "no colon"],
        &["-H", "Range: bytes=0-1"],
        &["-H", "X: a\r\nY: b"],
        &["--no-such-option"],
    ];
    for args in cases {
        Run::new(&origin.url("/f.bin")).args(args).finish_usage();
    }
    assert_eq!(origin.log().len(), 0);
}
