//! Heads without an end: whatever a server sends before a body, the program's memory stays small and it says
//! what is wrong.
//!
//! The peak is read while the program asks again, so that it has taken in the bomb by then.

use crate::harness::{Outcome, Run};
use crate::origin::{Body, Latch, Origin, Reply};
use crate::ways::backends;

/// Half of what one bomb holds, and far above what a program needs that keeps to its bounds.
const MEMORY_MAX: u64 = 128 << 20;
const BOMB: u64 = 256 << 20;

/// A reply of endless bytes after `head`.
fn bomb(head: &[u8], bytes: &'static [u8]) -> Reply {
    Reply::raw(head).body(Body::Repeated(bytes, BOMB))
}

/// Drops two bombs, and reads the peak when the program comes back for a third. What ends each is a bound
/// on bytes, fields or answers, and no clock.
fn survives(what: &str, bomb: impl Fn() -> Reply + Send + Sync + Clone + 'static) {
    let outcomes = survives_by_any_means(what, "30", bomb);
    for (outcome, served) in outcomes {
        assert!(served < BOMB / 2, "{what}: {served} bytes taken");
        let waited = outcome.stderr.contains(" within ") || outcome.stderr.contains("no byte came");
        assert!(!waited, "{what}: {}", outcome.stderr);
    }
}

fn survives_by_any_means(
    what: &str,
    stall_timeout: &str,
    bomb: impl Fn() -> Reply + Send + Sync + Clone + 'static,
) -> Vec<(Outcome, u64)> {
    let mut outcomes = Vec::new();
    for io in backends() {
        let (bomb, latch) = (bomb.clone(), Latch::default());
        let shut = latch.clone();
        let origin = Origin::new()
            .at("/f.bin", move |request| match request.nth {
                0 | 1 => bomb(),
                _ => Reply::status("404 Not Found").after(&shut),
            })
            .start();
        let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "--retries", "2", "-v"]);
        let started = run.args(["--stall-timeout", stall_timeout]).start();
        origin.wait_for_requests(3);
        let peak = started.peak_memory_bytes();
        latch.open();
        let outcome = started.end();
        outcome.assert_code(5);
        assert!(peak < MEMORY_MAX, "{what}: {} MiB", peak >> 20);
        assert!(outcome.stderr.len() < 16 << 10, "{what}: {} bytes said", outcome.stderr.len());
        outcomes.push((outcome, origin.served_bytes()));
    }
    outcomes
}

#[test]
fn a_line_without_an_end_is_given_up() {
    survives("status line", || bomb(b"HTTP/1.1 200 ", b"OK"));
    survives("no status line", || bomb(b"", b"x"));
    survives("field name", || bomb(b"HTTP/1.1 200 OK\r\n", b"name"));
    survives("field value", || bomb(b"HTTP/1.1 200 OK\r\nX: ", b"value"));
    survives("Location", || bomb(b"HTTP/1.1 302 Found\r\nLocation: /", b"a/"));
    survives("blanks", || bomb(b"HTTP/1.1 200 OK\r\nX:", b" "));
    survives("zeros", || bomb(b"HTTP/1.1 200 OK\r\nX: ", b"\0"));
}

#[test]
fn fields_without_an_end_are_given_up() {
    survives("fields", || bomb(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"));
    survives("empty fields", || bomb(b"HTTP/1.1 200 OK\r\n", b"X:\n"));
    survives("cookies", || bomb(b"HTTP/1.1 200 OK\r\n", b"Set-Cookie: a=b\r\n"));
    survives("folded lines", || bomb(b"HTTP/1.1 200 OK\r\nX: y\r\n", b" z\r\n"));
}

#[test]
fn interim_answers_and_blank_lines_without_an_end_are_given_up() {
    survives("100", || bomb(b"", b"HTTP/1.1 100 Continue\r\n\r\n"));
    survives("103", || bomb(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"));
    survives("blank lines", || bomb(b"", b"\r\n"));
    survives("carriage returns", || bomb(b"", b"\r"));
}

#[test]
fn chunk_extensions_and_trailers_without_an_end_are_given_up() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    survives("chunk extension", || bomb(&[&chunked[..], b"1;"].concat(), b"a=b;"));
    survives("trailers", || bomb(&[&chunked[..], b"0\r\n"].concat(), b"X: y\r\n"));
}

#[test]
fn a_chunk_size_without_an_end_is_a_stall() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (outcome, _) in survives_by_any_means("chunk size", "1", || bomb(chunked, b"0")) {
        assert!(outcome.stderr.contains("no byte came"), "{}", outcome.stderr);
    }
}

#[test]
fn an_error_page_without_an_end_is_not_read() {
    let page = || {
        let head = format!("HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: {BOMB}\r\n\r\n");
        bomb(head.as_bytes(), b"<p>")
    };
    survives("error page", page);
    let page = || bomb(b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\n<p>\r\n");
    survives("chunked error page", page);
    survives("error page until close", || bomb(b"HTTP/1.1 503 Busy\r\n\r\n", b"<p>"));
}

#[test]
fn a_chain_of_large_redirects_is_cut() {
    let latch = Latch::default();
    let shut = latch.clone();
    let long = format!("/{}", "a".repeat(40 << 10));
    let first = format!("{long}0");
    let mut origin = Origin::new()
        .at("/f.bin", move |_| Reply::redirect("302 Found", &first))
        .at("/last.bin", move |_| Reply::status("404 Not Found").after(&shut));
    for nth in 0..100 {
        let next = format!("{long}{}", nth + 1);
        let filler = "b".repeat(20 << 10);
        origin = origin.at(&format!("{long}{nth}"), move |_| {
            Reply::redirect("302 Found", &next).set("X-Filler", &filler)
        });
    }
    let origin = origin.start();
    let run = Run::new(&origin.url("/f.bin")).arg(origin.url("/last.bin"));
    let started = run.args(["--max-redirs", "4294967295", "--retries", "0"]).start();
    // The typed address, five hops of 60 KiB, and the next file.
    origin.wait_for_requests(7);
    let peak = started.peak_memory_bytes();
    latch.open();
    let outcome = started.end();
    outcome.assert_code(5);
    assert!(outcome.stderr.contains("redirects"), "{}", outcome.stderr);
    assert_eq!(origin.log().iter().filter(|request| request.path != "/last.bin").count(), 6);
    assert!(peak < MEMORY_MAX, "{} MiB", peak >> 20);
}
