//! Text from a server that would steer a terminal, forge a line of a log or turn a name around: shown
//! harmless wherever it turns up, to people and to programs.

use crate::harness::{Outcome, Run, parse_events};
use crate::origin::{Certificate, File, Origin, Reply, Running};

/// What a terminal obeys, as a server can send it.
const PAYLOADS: [&[u8]; 16] = [
    b"\x1b[31m",
    b"\x1b]0;owned\x07",
    b"\x1bP+q\x1b\\",
    b"\x07",
    b"\x08\x08\x08",
    b"\x0b\x0c",
    b"\r",
    b"\r\nringpull: forged",
    b"\nringpull: forged",
    b"\x00",
    b"\x7f",
    b"\xc2\x9b31m",
    b"\xc2\x85",
    b"\xe2\x80\xaegpj\xe2\x80\xac",
    b"\xe2\x81\xa6\xe2\x80\x8b\xe2\x80\xa8\xe2\x80\xa9\xef\xbb\xbf",
    b"\x9b\xff\xfe",
];

fn file() -> File {
    File::new(300_000)
}

/// Where a payload can stand: a name for the sentence, the head with `@` in its place, and a body.
const PLACES: &[(&str, &str)] = &[
    ("reason of a refusal", "404 @\r\nContent-Length: 0"),
    ("reason of an unavailable server", "503 @\r\nContent-Length: 0"),
    ("reason of a good answer", "200 @\r\nContent-Length: 0"),
    ("status code", "2@0 OK\r\nContent-Length: 0"),
    ("field name", "404 x\r\nX-@: y\r\nContent-Length: 0"),
    ("field value", "404 x\r\nX: @\r\nContent-Length: 0"),
    ("Location", "302 x\r\nLocation: @\r\nContent-Length: 0"),
    ("Location of another scheme", "302 x\r\nLocation: ftp://h/@\r\nContent-Length: 0"),
    ("Location with a scheme like that", "302 x\r\nLocation: @://h/\r\nContent-Length: 0"),
    ("Location with a host like that", "302 x\r\nLocation: http://@/\r\nContent-Length: 0"),
    ("Location to a missing file", "302 x\r\nLocation: /missing@\r\nContent-Length: 0"),
    ("Location with a query", "302 x\r\nLocation: /missing?@\r\nContent-Length: 0"),
    ("Content-Range", "206 x\r\nContent-Range: @\r\nContent-Length: 5"),
    ("unit of Content-Range", "206 x\r\nContent-Range: @ 0-4/5\r\nContent-Length: 5"),
    ("Content-Encoding", "200 x\r\nContent-Encoding: @\r\nContent-Length: 5"),
    ("Transfer-Encoding", "200 x\r\nTransfer-Encoding: @\r\nContent-Length: 5"),
    ("Transfer-Encoding alone", "200 x\r\nTransfer-Encoding: @"),
    ("Content-Length", "200 x\r\nContent-Length: @"),
    ("two lengths", "200 x\r\nContent-Length: 5\r\nContent-Length: @"),
    ("Content-Type", "206 x\r\nContent-Type: multipart/@\r\nContent-Length: 5"),
    ("ETag", "200 x\r\nETag: \"@\"\r\nContent-Length: 5"),
    ("weak ETag", "206 x\r\nETag: W/\"@\"\r\nContent-Range: bytes 0-4/5\r\nContent-Length: 5"),
    ("Last-Modified", "200 x\r\nLast-Modified: @\r\nContent-Length: 5"),
    ("Retry-After", "503 x\r\nRetry-After: @\r\nContent-Length: 0"),
    ("Date", "503 x\r\nDate: @\r\nRetry-After: @\r\nContent-Length: 0"),
    (
        "Content-Disposition",
        "200 x\r\nContent-Disposition: attachment; filename=\"@\"\r\nContent-Length: 5",
    ),
    ("WWW-Authenticate", "401 x\r\nWWW-Authenticate: Basic realm=\"@\"\r\nContent-Length: 0"),
    ("interim answer", "103 @\r\nLink: @\r\n\r\nHTTP/1.1 404 @\r\nContent-Length: 0"),
    ("trailer", "200 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: @"),
    ("chunk size", "200 x\r\nTransfer-Encoding: chunked\r\n\r\n@"),
    ("chunk extension", "200 x\r\nTransfer-Encoding: chunked\r\n\r\n5;@\r\n12345\r\n0"),
    ("error page", "403 x\r\nContent-Type: text/plain\r\n\r\n@"),
];

/// Serves every payload at every place; the URLs come in the order of the places.
fn hostile() -> (Running, Vec<String>) {
    let mut origin = Origin::new();
    let mut paths = Vec::new();
    for (place, (_, head)) in PLACES.iter().enumerate() {
        for (nth, payload) in PAYLOADS.iter().enumerate() {
            let mut bytes = b"HTTP/1.1 ".to_vec();
            for (part, text) in head.split('@').enumerate() {
                bytes.extend_from_slice(if part > 0 { payload } else { b"" });
                bytes.extend_from_slice(text.as_bytes());
            }
            bytes.extend_from_slice(b"\r\n\r\n12345");
            let path = format!("/{place}-{nth}");
            origin = origin.at(&path, move |_| Reply::raw(bytes.clone()));
            paths.push(path);
        }
    }
    let origin = origin.start();
    let urls = paths.iter().map(|path| origin.url(path)).collect();
    (origin, urls)
}

/// No character that a terminal obeys or that cannot be seen, except the ends of lines.
fn assert_harmless(what: &str, text: &str) {
    for line in text.lines() {
        let odd = line.chars().find(|char| {
            char.is_control()
                || matches!(char,
                    '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{2069}' | '\u{feff}')
        });
        assert_eq!(odd, None, "{what}: {line:?}");
        assert!(!line.starts_with("ringpull: forged"), "{what}: {line:?}");
    }
    assert!(!text.contains('\r'), "{what}: {text:?}");
}

fn judge(outcome: &Outcome) {
    assert_harmless("stderr", &outcome.stderr);
    let stdout = std::str::from_utf8(&outcome.stdout).expect("stdout is UTF-8");
    assert_harmless("stdout", stdout);
    parse_events(stdout);
}

fn fetch(urls: &[String], args: &[&str]) -> Outcome {
    let run = Run::bare().args(urls).args(args).args(["--no-sync", "-c", "1"]);
    let outcome = run.finish_talking();
    judge(&outcome);
    outcome
}

#[test]
fn nothing_a_server_says_steers_a_terminal() {
    let (origin, urls) = hostile();
    for args in [
        &["-v", "--progress", "plain"][..],
        &["-v", "--progress", "plain", "--content-disposition"],
        &["--json", "--progress", "none", "--content-disposition"],
        &["--json", "-v", "--overwrite"],
        &["-q"],
    ] {
        let before = origin.log().len();
        fetch(&urls, &[args, &["--retries", "0"]].concat());
        let asked = origin.log().len() - before;
        assert!(asked >= urls.len(), "{asked} requests: {args:?}");
    }
}

#[test]
fn no_reason_for_a_retry_steers_a_terminal() {
    let (origin, urls) = hostile();
    // Of the payloads that HTTP lets through, since each retry waits.
    for (nth, args) in [(11, ["-v", "--progress=plain"]), (13, ["--json", "-v"])] {
        let urls: Vec<_> = urls.iter().skip(nth).step_by(PAYLOADS.len()).cloned().collect();
        let before = origin.log().len();
        fetch(&urls, &[&args[..], &["--retries", "1"]].concat());
        assert!(origin.log().len() - before > urls.len(), "nothing was tried again");
    }
}

#[test]
fn nothing_that_changes_on_the_way_steers_a_terminal() {
    for payload in PAYLOADS.iter().filter_map(|payload| std::str::from_utf8(payload).ok()) {
        let tag = |nth| format!("\"{nth}{payload}\"");
        let (first, later) = (tag(1), tag(2));
        let origin = Origin::new()
            .bent("/f.bin", file(), move |request, reply| {
                reply.set("ETag", if request.nth == 0 { &first } else { &later })
            })
            .start();
        for args in [["-v", "--progress=plain"], ["--json", "-v"]] {
            fetch(
                &[origin.url("/f.bin")],
                &[&args[..], &["-b", "4k", "-c", "2", "--retries", "1"]].concat(),
            );
        }
    }
}

#[test]
fn a_typed_address_steers_no_terminal() {
    let origin = Origin::new().start();
    let payloads = PAYLOADS.iter().filter_map(|payload| std::str::from_utf8(payload).ok());
    for payload in payloads.filter(|payload| !payload.contains('\0')) {
        let base = origin.url("");
        for url in [
            format!("{base}/{payload}"),
            format!("{base}/?{payload}"),
            format!("ftp://h/{payload}"),
            format!("{payload}://h/"),
            format!("http://{payload}/"),
            format!("http://name{payload}.invalid/f"),
            payload.to_owned(),
        ] {
            for args in [&["-v"][..], &["--json"]] {
                let outcome =
                    Run::bare().arg(&url).args(args).args(["--retries", "0"]).finish_talking();
                assert_ne!(outcome.code, Some(0));
                judge(&outcome);
            }
        }
        for name in [format!("no{payload}where/f"), format!("f{payload}")] {
            let run = Run::new(&origin.url("/f")).args(["-v", "--retries", "0", "-o", &name]);
            judge(&run.finish_talking());
        }
    }
}

#[test]
fn no_name_in_a_certificate_steers_a_terminal() {
    for payload in PAYLOADS.iter().filter_map(|payload| std::str::from_utf8(payload).ok()) {
        let certificate = Certificate::named(&format!("evil{payload}.invalid"));
        let authority = certificate.authority_pem.clone();
        let origin = Origin::new().tls(certificate).file("/f.bin", file()).start();
        for args in [["-v", "--progress=plain"], ["--json", "-v"]] {
            let run = Run::bare().arg(origin.url("/f.bin")).args(args).args(["--retries", "0"]);
            let run = run.put("ca.pem", authority.as_bytes()).args(["--cacert", "ca.pem"]);
            let outcome = run.finish_talking();
            outcome.assert_code(4);
            judge(&outcome);
            let run = Run::bare().arg(origin.url("/f.bin")).args(args).args(["--retries", "0"]);
            let outcome = run.finish_talking();
            outcome.assert_code(4);
            judge(&outcome);
        }
    }
}
