//! Bytes of one version only, however the server names its versions.

use crate::ends::{Fault, SIZE};
use crate::harness::Run;
use crate::origin::{Cut, File, Latch, Origin, Reply, Request, Validator};
use crate::regress::digest_of;
use crate::ways::backends;

/// First the date is strong, then it is weak, then there is none, and then it is another one: no two answers
/// in a row contradict each other, but the first and the last do.
fn drifting(request: &Request) -> Reply {
    let old = File::new(SIZE).validator(Validator::Date);
    // The condition is ignored, as by a server that does not know it.
    let plain = request.without("if-range");
    let reply = match request.nth {
        0 => Reply::honest(&old, &plain),
        1 => Reply::honest(&old, &plain).without("Date"),
        2 | 3 => Reply::honest(&old, &plain).without("Date").without("Last-Modified"),
        _ => return Reply::honest(&old.version(2), &plain).without("Date"),
    };
    reply.cut(300_000, Cut::Close)
}

#[test]
fn versions_do_not_drift_step_by_step() {
    Fault::of(File::new(SIZE).version(2), |request, _| drifting(request))
        .retries("8")
        .over(&["1", "2"])
        .is_survived();
}

#[test]
fn one_change_that_four_lanes_notice_is_one_change() {
    let old = File::new(SIZE);
    for io in backends() {
        let all_ask = Latch::default();
        let origin = Origin::new()
            .at("/f.bin", move |request| match request.nth {
                0 => Reply::honest(&old, request),
                4 => {
                    all_ask.open();
                    Reply::honest(&old.version(2), request)
                }
                _ => Reply::honest(&old.version(2), request).after(&all_ask),
            })
            .start();
        let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-b", "64k", "-c", "4"]);
        let outcome = run.finish();
        outcome.assert_gives("f.bin", &old.version(2));
        let begun = outcome.stderr.matches("starting anew").count();
        assert_eq!(begun, 1, "{}", outcome.stderr);
    }
}

#[test]
fn under_a_digest_the_tags_of_the_connections_may_differ() {
    let file = File::new(SIZE);
    Fault::new(move |request, _| {
        let plain = request.without("if-range");
        let tag = format!("\"node-{}\"", request.connection);
        // A fresh connection for every answer, so that no two carry the same tag.
        Reply::honest(&file, &plain).set("ETag", &tag).closing()
    })
    .args(&["--checksum", &digest_of(&file)])
    .over(&["1", "4"])
    .is_survived();
}
