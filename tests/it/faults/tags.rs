//! What may tie answers to one version of the file, H11: without such a tie, one response must carry the
//! whole of it.

use super::digest_of;
use crate::ends::{Fault, SIZE};
use crate::harness::Run;
use crate::origin::{Cut, File, Origin, Reply, Running, Validator};

/// Served without any validator.
fn bare() -> File {
    File::new(8 << 20).validator(Validator::None)
}

fn fetch(file: File, args: &[&str]) -> Running {
    let origin = Origin::new().file("/f.bin", file).start();
    let run = Run::new(&origin.url("/f.bin")).args(["-c", "4", "-b", "64k"]).args(args);
    run.finish().assert_gives("f.bin", &file);
    origin
}

fn assert_one_stream(file: File) {
    let origin = fetch(file, &[]);
    assert!(origin.connections() <= 2, "{:?}", origin.log());
    for request in origin.log() {
        let start = request.range.as_ref().map_or(0, |range| range.start);
        assert_eq!(start, 0, "ranges of it may not be combined: {request:?}");
        let weak = request.header("if-range").is_some_and(|value| value.starts_with("W/"));
        assert!(!weak, "{request:?}");
    }
}

#[test]
fn h11_a_weak_etag_is_never_combined() {
    assert_one_stream(bare().validator(Validator::Weak));
}

#[test]
fn h11_a_file_without_validator_comes_in_one_stream() {
    assert_one_stream(bare());
}

#[test]
fn h11_a_date_within_the_second_is_never_combined() {
    assert_one_stream(bare().validator(Validator::FreshDate));
}

#[test]
fn h11_a_strong_date_ties_ranges_together() {
    let origin = fetch(bare().validator(Validator::Date), &[]);
    let date = httpdate::fmt_http_date(bare().modified());
    assert!(origin.connections() > 1, "{:?}", origin.log());
    for request in origin.log().iter().skip(1) {
        assert_eq!(request.header("if-range"), Some(date.as_str()), "{request:?}");
    }
}

#[test]
fn h11_a_promise_of_the_user_allows_several_connections() {
    let origin = fetch(bare(), &["--assume-immutable"]);
    assert!(origin.connections() > 1, "{:?}", origin.log());
}

#[test]
fn h11_a_digest_allows_several_connections() {
    let origin = fetch(bare(), &["--checksum", &digest_of(&bare())]);
    assert!(origin.connections() > 1, "{:?}", origin.log());
}

#[test]
fn h11_the_outcome_says_what_tied_the_bytes_together() {
    let origin = Origin::new().file("/strong.bin", File::new(5)).file("/bare.bin", bare()).start();
    let done = |path: &str, args: &[&str]| {
        let run = Run::new(&origin.url(path)).arg("--json").args(["-c", "4", "-b", "64k"]);
        run.args(args).finish().event("done")["verified"].clone()
    };
    let kinds = [
        done("/strong.bin", &[]),
        done("/bare.bin", &["--assume-immutable"]),
        done("/bare.bin", &[]),
    ];
    assert_ne!(kinds[0], kinds[1]);
    assert_ne!(kinds[1], kinds[2]);
}

#[test]
fn h11_a_stream_without_strong_validator_that_breaks_starts_anew() {
    for validator in [Validator::None, Validator::Weak, Validator::FreshDate] {
        let file = File::new(SIZE).validator(validator);
        Fault::of(file, move |request, reply| match request.nth {
            0 => reply.cut(300_000, Cut::Close),
            _ => reply,
        })
        .is_survived();
        // The second version has the size of the first; only a fresh start gives one of them whole.
        Fault::of(file.version(2), move |request, _| match request.nth {
            0 => Reply::honest(&file, request).cut(300_000, Cut::Close),
            _ => Reply::honest(&file.version(2), request),
        })
        .is_survived();
    }
}

#[test]
fn h11_a_small_file_without_validator_that_breaks_starts_anew() {
    // It fits the first request, so nothing but the failure says that more than one response is needed.
    let file = File::new(400_000).validator(Validator::None);
    Fault::of(file.version(2), move |request, _| match request.nth {
        0 => Reply::honest(&file, request).cut(300_000, Cut::Close),
        _ => Reply::honest(&file.version(2), request),
    })
    .is_survived();
}
