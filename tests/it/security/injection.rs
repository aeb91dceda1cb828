//! Bytes that end a line, a word or a request: refused where a user gives them, never sent on where a server
//! does. What the requests look like for arbitrary input is a property beside the client.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::harness::Run;
use crate::origin::{File, Origin, Reply, Running};

fn file() -> File {
    File::new(1000)
}

fn origin() -> Running {
    Origin::new().file("/f.bin", file()).start()
}

/// Every byte that may not stand in a header; a zero cannot be typed.
fn controls() -> impl Iterator<Item = u8> {
    (1..0x20).chain([0x7f])
}

fn text(parts: &[&[u8]]) -> OsString {
    OsString::from_vec(parts.concat())
}

/// The program refuses the command line, and nobody is asked anything.
fn refused(origin: &Running, option: &str, value: OsString) {
    let outcome = Run::new(&origin.url("/f.bin")).arg(option).arg(&value).finish();
    outcome.assert_fails(2, &[]);
    assert_eq!(origin.log().len(), 0, "{option} {value:?}");
}

#[test]
fn control_characters_in_options_are_refused() {
    let origin = origin();
    for byte in controls() {
        let inside = |before: &[u8], after: &[u8]| text(&[before, &[byte], after]);
        refused(&origin, "--header", inside(b"X-A", b"B: c"));
        refused(&origin, "--user", inside(b"us", b"er:secret"));
        refused(&origin, "--user", inside(b"user:sec", b"ret"));
        // A tab is a blank within a value (RFC 9110 section 5.5).
        if byte != b'\t' {
            refused(&origin, "--header", inside(b"X-A: b", b"c"));
            refused(&origin, "--user-agent", inside(b"agent", b"1"));
        }
    }
    for lines in ["b\r\nX-Evil: c", "b\nX-Evil: c", "b\rX-Evil: c", "b\r\n\r\nGET /evil HTTP/1.1"] {
        refused(&origin, "--header", OsString::from(format!("X-A: {lines}")));
        refused(&origin, "--user-agent", OsString::from(lines));
    }
}

#[test]
fn control_characters_in_a_bearer_file_are_refused() {
    let origin = origin();
    for byte in std::iter::once(0).chain(controls()) {
        let token = [b"tok", &[byte][..], b"en"].concat();
        let run = Run::new(&origin.url("/f.bin")).put("token", &token);
        run.args(["--bearer-file", "token"]).finish().assert_fails(2, &["token"]);
    }
    assert_eq!(origin.log().len(), 0);
}

#[test]
fn no_field_that_frames_a_request_can_be_given() {
    let origin = origin();
    for name in ["Content-Length", "Transfer-Encoding", "TE", "Connection", "Upgrade", "Expect"] {
        refused(&origin, "--header", OsString::from(format!("{name}: 5")));
        refused(&origin, "--header", OsString::from(format!("{}: 5", name.to_lowercase())));
        refused(&origin, "--header", OsString::from(format!("{name} : 5")));
    }
}

/// Targets with every byte that is no graphic character, raw and encoded, and those the origin must see.
fn odd_targets() -> Vec<(OsString, String)> {
    let mut targets = Vec::new();
    for byte in (1..=0x20).chain([0x7f]) {
        // The WHATWG parser drops tabs and line ends, and encodes the rest (URL section 4.4).
        let seen = match byte {
            b'\t' | b'\n' | b'\r' => String::new(),
            _ => format!("%{byte:02X}"),
        };
        for (before, after) in [("/a", "b"), ("/a?q=", "r")] {
            let typed = text(&[before.as_bytes(), &[byte], after.as_bytes()]);
            targets.push((typed, format!("{before}{seen}{after}")));
        }
    }
    for encoded in ["%0d%0a", "%0D%0AX-Evil:%20y", "%00", "%0a%0aGET%20/evil", "%20HTTP/1.1%0d%0a"]
    {
        for target in [format!("/a{encoded}b"), format!("/a?{encoded}")] {
            targets.push((OsString::from(&target), target));
        }
    }
    targets
}

#[test]
fn a_url_with_odd_bytes_is_one_request_for_it() {
    let targets = odd_targets();
    let mut all = Origin::new();
    for (_, seen) in &targets {
        all = all.file(seen, file());
    }
    let origin = all.start();
    for (nth, (typed, seen)) in targets.iter().enumerate() {
        let mut url = OsString::from(origin.url(""));
        url.push(typed);
        let run = Run::bare().args(["--progress", "none", "--no-sync", "-o", "out"]).arg(url);
        run.finish().assert_gives("out", &file());
        let log = origin.log();
        assert_eq!((log.len(), &log[nth].path), (nth + 1, seen), "{typed:?}");
    }
}

#[test]
fn a_location_with_odd_bytes_is_one_request_for_it_or_none() {
    let targets = odd_targets();
    let mut all = Origin::new();
    for (nth, (typed, seen)) in targets.iter().enumerate() {
        let location = typed.clone().into_string().unwrap();
        all = all.file(seen, file());
        all = all.at(&format!("/go-{nth}"), move |_| {
            Reply::redirect("302 Found", &location).line("X-After: 1").closing()
        });
    }
    let origin = all.start();
    let seen: Vec<_> = targets.iter().map(|(_, seen)| seen).collect();
    let mut before = 0;
    for (nth, seen) in seen.into_iter().enumerate() {
        let run =
            Run::new(&origin.url(&format!("/go-{nth}"))).args(["--retries", "0", "-o", "out"]);
        let outcome = run.arg("--no-sync").finish();
        let log = origin.log();
        let asked = &log[before..];
        before = log.len();
        assert_eq!(asked[0].path, format!("/go-{nth}"));
        match outcome.code {
            Some(0) => assert_eq!((asked.len(), &asked[1].path), (2, seen)),
            // A bare line end ends the Location early, and what is there is not the file.
            Some(5 | 6) => assert!(asked.len() <= 2, "{asked:?}"),
            code => panic!("exit code {code:?}: {}", outcome.stderr),
        }
        assert!(asked.iter().all(|request| request.header("x-evil").is_none()));
        assert!(log.iter().all(|request| request.path != "/evil"));
    }
}
