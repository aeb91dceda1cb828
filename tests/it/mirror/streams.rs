//! HTTP/2 at its edges: bodies that are taken back, servers that talk rubbish or both versions, and what is
//! counted.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use h2::Reason;
use rustix::process::Signal;

use super::runner::Place;
use super::{bare_table, files, origin_of, sha256};
use crate::origin::{
    Act, Asked, Certificate, File, Frames, Http2Origin, Latch, Manner, Origin, Reply, Running,
    frame,
};
use crate::ways::backends;

/// As many streams as anybody allows.
const MANY: u32 = 100;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PUSH_PROMISE: u8 = 5;
const GO_AWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// The header block of a plain 200.
const OK: &[u8] = &[0x88];

/// A place with a list without sizes and digests, and the authority of an origin.
fn place_for(origin: &Http2Origin, files: &[(String, File)]) -> Place {
    let place = Place::new();
    place.put("ca.pem", &origin.certificate.authority_pem);
    place.put("list.tsv", bare_lines(origin, files));
    place
}

fn bare_lines(origin: &Http2Origin, files: &[(String, File)]) -> String {
    let line =
        |(path, _): &(String, File)| format!("{}\t{path}\n", origin.url(&format!("/{path}")));
    format!("url\tpath\n{}", files.iter().map(line).collect::<String>())
}

/// A place with a list of one file of an origin that talks in frames, and its authority.
fn place_of_frames(origin: &Running) -> Place {
    let place = Place::new();
    place.put("ca.pem", &origin.certificate.as_ref().unwrap().authority_pem);
    place.put("list.tsv", format!("url\tpath\n{}\tf\n", origin.url("/f")));
    place
}

const ARGS: [&str; 3] = ["list.tsv", "--cacert", "ca.pem"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&ARGS, more].concat()
}

#[test]
fn a_body_without_length_that_is_taken_back_is_no_file() {
    let files = files(12);
    for reason in [Reason::NO_ERROR, Reason::CANCEL, Reason::INTERNAL_ERROR] {
        for io in backends() {
            let cut = move |asked: &Asked| match asked.nth {
                0 => Act::Cut(700, reason),
                _ => Act::Unsized,
            };
            let origin = Http2Origin::start(&files, MANY, cut);
            let place = place_for(&origin, &files);
            place.run(&with(&["--io", io])).assert_ends(0, &[("fetched", 12)]);
            place.assert_holds(&files);
        }
        let origin = Http2Origin::start(&files, MANY, move |_| Act::Cut(700, reason));
        let place = place_for(&origin, &files);
        place.run(&with(&["--retries", "1"])).assert_ends(9, &[("fetched", 0), ("failed", 12)]);
        assert!(place.names().is_empty());
    }
}

/// The exit code and the kind of failure of a file that is answered so, each time.
fn failure_after(answer: impl Fn(u32) -> Frames + Send + Sync + 'static) -> String {
    let origin = Origin::new().frames(move |_, stream| answer(stream)).start();
    let place = place_of_frames(&origin);
    let ended = place.run(&with(&["--retries", "1", "--stall-timeout", "1"]));
    ended.assert_ends(9, &[("fetched", 0), ("failed", 1)]);
    assert!(place.names().is_empty());
    ended.failure("f")
}

fn last(bytes: Vec<u8>) -> Frames {
    Frames { bytes, is_last: true }
}

fn frames(bytes: Vec<u8>) -> Frames {
    Frames { bytes, is_last: false }
}

#[test]
fn a_body_without_length_whose_connection_says_goodbye_and_closes_is_no_file() {
    for reason in [Reason::NO_ERROR, Reason::INTERNAL_ERROR] {
        // Streams before the last one that counts; or none.
        for is_this_one in [true, false] {
            let kind = failure_after(move |stream| {
                let newest = if is_this_one { stream } else { stream.saturating_sub(2) };
                let goodbye = [newest.to_be_bytes(), u32::from(reason).to_be_bytes()].concat();
                let head = frame(HEADERS, END_HEADERS, stream, OK);
                let data = frame(DATA, 0, stream, b"a part of a file");
                last([head, data, frame(GO_AWAY, 0, 0, &goodbye)].concat())
            });
            assert_eq!(kind, "reset", "{reason:?} {is_this_one}");
        }
    }
    let kind = failure_after(|stream| {
        let data = frame(DATA, 0, stream, b"a part of a file");
        last([frame(HEADERS, END_HEADERS, stream, OK), data].concat())
    });
    assert_eq!(kind, "reset");
}

#[test]
fn what_is_not_http_2_though_it_was_agreed_on_fails_as_a_broken_protocol() {
    type Answer = fn(u32) -> Frames;
    let rubbish: [(&str, Answer); 6] = [
        ("HTTP/1.1", |_| last(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc".to_vec())),
        ("a frame that is too long", |stream| last(frame(DATA, 0, stream, &[0; 20_000]))),
        ("data without a head", |stream| last(frame(DATA, END_STREAM, stream, b"abc"))),
        ("a broken header block", |stream| {
            last(frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0xff; 9]))
        }),
        ("a push that nobody wants", |stream| {
            last(frame(PUSH_PROMISE, END_HEADERS, stream, &[0, 0, 0, 2, 0x82]))
        }),
        ("a header block without an end", |stream| {
            let more = frame(CONTINUATION, 0, stream, &[0; 3]);
            last([frame(HEADERS, 0, stream, OK), more.repeat(10_000)].concat())
        }),
    ];
    for (what, answer) in rubbish {
        let kind = failure_after(answer);
        assert!(kind == "protocol" || kind == "reset", "{what}: {kind}");
    }
}

#[test]
fn heads_in_advance_are_passed_over_and_what_follows_a_body_too() {
    let file = File::new(5000).seed(4);
    let origin = Origin::new().frames(move |_, stream| {
        let early = frame(HEADERS, END_HEADERS, stream, &[0x08, 3, b'1', b'0', b'3']);
        let head = frame(HEADERS, END_HEADERS, stream, OK);
        let data = frame(DATA, 0, stream, &file.whole());
        let tail = frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0, 1, b'x', 1, b'y']);
        frames([early.repeat(3), head, data, tail].concat())
    });
    let origin = origin.start();
    let place = place_of_frames(&origin);
    place.run(&ARGS).assert_ends(0, &[("fetched", 1)]);
    place.assert_holds(&[("f".to_owned(), file)]);
}

#[test]
fn a_server_that_answers_nothing_but_its_settings_fails_its_entries() {
    assert_eq!(failure_after(|_| frames(Vec::new())), "stall");
}

#[test]
fn a_connection_that_falls_silent_amid_many_bodies_costs_no_entry() {
    let files = files(14);
    let silent = |asked: &Asked| match (asked.connection, asked.stream) {
        (0 | 1, 8..) => Act::Mute,
        (0 | 1, 4..) => Act::Stall(9),
        _ => Act::Serve,
    };
    let origin = Http2Origin::start(&files, MANY, silent);
    let place = place_for(&origin, &files);
    place
        .run(&with(&["--stall-timeout", "1", "--threads", "2"]))
        .assert_ends(0, &[("fetched", 14)]);
    place.assert_holds(&files);
}

#[test]
fn a_body_that_stalls_costs_one_connection() {
    let files: Vec<_> =
        (0..40).map(|at| (format!("f{at}"), File::new(900 + at).seed(at))).collect();
    let stall = |asked: &Asked| match (asked.nth, asked.stream) {
        (0, 5) => Act::Stall(10),
        _ => Act::Serve,
    };
    let origin = Http2Origin::start(&files, MANY, stall);
    let place = place_for(&origin, &files);
    let ended = place.run(&with(&["--stall-timeout", "1", "--threads", "1"]));
    ended.assert_ends(0, &[("fetched", 40)]);
    place.assert_holds(&files);
    assert_eq!((origin.connections(), origin.log().len()), (2, 41));
}

#[test]
fn who_waits_for_his_turn_on_a_busy_connection_is_not_given_up() {
    // Each takes the one stream for as long as a silence may be, for it is more than may be on its way.
    let files: Vec<_> = (0..6).map(|at| (format!("f{at}"), File::new(3 << 20).seed(at))).collect();
    let origin = Http2Origin::start(&files, 1, |_| Act::Serve);
    let place = place_for(&origin, &files);
    let more = ["--stall-timeout", "1", "--limit-rate", "3M", "--threads", "1", "--retries", "0"];
    place.run(&with(&more)).assert_ends(0, &[("fetched", 6)]);
    place.assert_holds(&files);
}

#[test]
fn bodies_larger_than_what_may_be_on_its_way_come_whole() {
    let files: Vec<_> =
        (0..7).map(|at| (format!("f{at}"), File::new((5 << 20) - at).seed(at))).collect();
    for io in backends() {
        let origin = Http2Origin::start(&files, MANY, |asked| match asked.nth {
            0 if asked.path == "/f3" => Act::Reset(3 << 20),
            _ => Act::Serve,
        });
        let place = place_for(&origin, &files);
        place.run(&with(&["--io", io, "--threads", "1"])).assert_ends(0, &[("fetched", 7)]);
        place.assert_holds(&files);
    }
}

#[test]
fn a_wrong_digest_makes_no_file() {
    let files = files(8);
    let mut served = files.clone();
    served[4].1 = served[4].1.version(2);
    let origin = Http2Origin::start(&served, MANY, |_| Act::Serve);
    let place = place_for(&origin, &files);
    let line = |(path, file): &(String, File)| {
        format!("{}\t{path}\t{}\n", origin.url(&format!("/{path}")), sha256(file))
    };
    let lines: String = files.iter().map(line).collect();
    place.put("list.tsv", format!("url\tpath\tsha256\n{lines}"));
    let ended = place.run(&ARGS);
    ended.assert_ends(9, &[("fetched", 7), ("failed", 1)]);
    assert_eq!(ended.failure(&files[4].0), "digest");
    let mut right = files;
    right.remove(4);
    place.assert_holds(&right);
}

#[test]
fn a_storm_of_429_is_outlived_and_a_404_is_asked_for_once() {
    let files = files(30);
    let lost = files[7].0.clone();
    let storm = move |asked: &Asked| match (asked.nth, asked.stream) {
        _ if asked.path.ends_with(&lost) => Act::Status(404, Vec::new()),
        (0, 6..14) => Act::Status(429, vec![("retry-after", "0".into())]),
        _ => Act::Serve,
    };
    let origin = Http2Origin::start(&files, MANY, storm);
    let place = place_for(&origin, &files);
    let ended = place.run(&ARGS);
    ended.assert_ends(9, &[("fetched", 29), ("failed", 1)]);
    assert_eq!(ended.result(&files[7].0)["attempts"], 1);
    let asked = origin.log().into_iter().filter(|asked| asked.path.ends_with(&files[7].0)).count();
    assert_eq!(asked, 1);
}

/// An origin that speaks both versions, and what it is in HTTP/1.1.
fn both(
    files: &[(String, File)],
    script: impl Fn(&Asked) -> Act + Send + Sync + 'static,
) -> (Http2Origin, Running) {
    let older = origin_of(files).start();
    let manner = Manner::new(MANY).beside(&older);
    let certificate = Certificate::valid_for("localhost");
    (Http2Origin::start_as(certificate, manner, files, script), older)
}

#[test]
fn large_entries_come_in_parts_over_http_1_1_beside_small_ones_over_http_2() {
    let mut files = files(20);
    files.push(("large".to_owned(), File::new((9 << 20) + 77).seed(99)));
    for io in backends() {
        let (origin, older) = both(&files, |_| Act::Serve);
        let place = place_for(&origin, &files);
        place.run(&with(&["--io", io])).assert_ends(0, &[("fetched", 21)]);
        place.assert_holds(&files);
        assert!(older.log().iter().all(|request| request.path == "/large"));
        assert!(older.log().iter().filter(|request| request.range.is_some()).count() > 1);
        // It is seen to be large when it is asked for as a small one, for the list does not tell.
        assert_eq!(origin.log().len(), 21);
        let before = (origin.log().len(), older.log().len());
        place.run(&with(&["--io", io, "--http1.1"])).assert_ends(0, &[("failed", 0)]);
        place.assert_holds(&files);
        assert_eq!(origin.log().len(), before.0);
        assert!(older.log().len() > before.1);
    }
}

#[test]
fn a_server_that_speaks_both_and_wants_http_1_1_gets_it() {
    let files = files(25);
    let (origin, older) = both(&files, |_| Act::Refuse(Reason::HTTP_1_1_REQUIRED));
    let place = place_for(&origin, &files);
    place.run(&with(&["--retries", "0"])).assert_ends(0, &[("fetched", 25)]);
    place.assert_holds(&files);
    assert_eq!(older.log().len(), 25);
}

#[test]
fn a_redirect_without_tls_leads_to_a_server_with_http_2() {
    let files = files(9);
    let newer = Http2Origin::start(&files, MANY, |_| Act::Serve);
    let send = |origin: Origin, (path, _): &(String, File)| {
        let (path, target) = (format!("/{path}"), newer.url(&format!("/{path}")));
        origin.at(&path, move |_| Reply::redirect("302 Found", &target))
    };
    let origin = files.iter().fold(Origin::new(), send).start();
    let place = place_for(&newer, &files);
    place.put("list.tsv", bare_table(&origin, &files));
    place.run(&with(&["-H", "X-Secret: s"])).assert_ends(0, &[("fetched", 9)]);
    place.assert_holds(&files);
    assert_eq!(newer.log().len(), 9);
    assert!(newer.log().iter().all(|asked| !asked.headers.contains_key("x-secret")));
}

#[test]
fn a_client_certificate_is_shown_over_http_2() {
    let files = files(12);
    let client = Certificate::valid_for("client");
    let certificate = Certificate::valid_for("localhost").asks_for(&client);
    let origin = Http2Origin::start_as(certificate, Manner::new(MANY), &files, |_| Act::Serve);
    let place = place_for(&origin, &files);
    place.run(&with(&["--retries", "0"])).assert_ends(9, &[("failed", 12)]);
    assert!(origin.log().is_empty());
    place.put("cert.pem", &client.chain_pem).put("key.pem", &client.key_pem);
    place
        .run(&with(&["--cert", "cert.pem", "--key", "key.pem"]))
        .assert_ends(0, &[("fetched", 12)]);
    place.assert_holds(&files);
}

#[test]
fn a_run_that_is_killed_amid_its_streams_is_completed_by_the_next() {
    let files = files(60);
    for from in [0, 3, 30] {
        let latch = Latch::default();
        let is_open = latch.clone();
        let origin = Http2Origin::start(&files, MANY, move |asked| {
            match (is_open.is_open_within(Duration::ZERO), asked.stream % 2) {
                (true, _) => Act::Serve,
                _ if asked.stream < from => Act::Serve,
                (_, 0) => Act::Mute,
                _ => Act::Stall(100),
            }
        });
        let place = place_for(&origin, &files);
        let started = place.start(&with(&["--threads", "1"]));
        place.wait_until(|| origin.log().len() > from);
        started.signal(Signal::KILL);
        assert_eq!(started.end_or_die().code, None);
        latch.open();
        place.run(&ARGS).assert_ends(0, &[("entries", 60), ("failed", 0)]);
        place.assert_holds(&files);
    }
}

#[test]
fn no_more_is_asked_of_a_host_at_a_time_than_allowed() {
    let files = files(60);
    for most in [1, 3] {
        let origin = Http2Origin::start(&files, MANY, |_| Act::Serve);
        let place = place_for(&origin, &files);
        let allowed = most.to_string();
        place.run(&with(&["--per-host", &allowed])).assert_ends(0, &[("fetched", 60)]);
        let seen = origin.log().iter().map(|asked| asked.open).max().unwrap();
        assert!(seen <= most, "{seen} at a time");
    }
}

#[test]
fn a_host_is_not_asked_more_often_than_the_rate_says_over_http_2() {
    let files = files(5);
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&times);
    let origin = Http2Origin::start(&files, MANY, move |_| {
        noted.lock().unwrap().push(Instant::now());
        Act::Serve
    });
    let place = place_for(&origin, &files);
    place.run(&with(&["--request-rate", "10"])).assert_ends(0, &[("fetched", 5)]);
    place.assert_holds(&files);
    let times = times.lock().unwrap();
    // The first may have been late, and the last cannot be early.
    assert!(times[4] - times[0] > Duration::from_millis(200), "{:?}", times[4] - times[0]);
}
