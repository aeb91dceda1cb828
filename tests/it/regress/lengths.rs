//! As many bytes as the file has: answers that do not say how long they are, that bring crumbs, or that are
//! followed by more than was asked for.

use crate::ends::{Fault, SIZE};
use crate::harness::Run;
use crate::origin::{Cut, File, Origin, Reply, Request, Running, Validator};
use crate::regress::{assert_stream, streamed};
use crate::ways::backends;

/// How an answer ends without having said where.
const UNANNOUNCED: [fn(Reply) -> Reply; 2] =
    [|reply| reply.chunked(&[10_007]), |reply| reply.until_close()];

/// First a file of known size that breaks before its first byte, then other bytes without a word on how many
/// they are, under the same validators.
fn resized(request: &Request, first: &Reply, then: Reply) -> Reply {
    if request.nth == 0 {
        return first.clone().cut(0, Cut::Close);
    }
    let tag = first.lines.iter().find(|line| line.starts_with("ETag"));
    tag.map_or(then.clone(), |tag| then.line(tag))
}

/// What the first answer may look like: a whole file without and with a validator, and ranges.
fn firsts() -> [Reply; 3] {
    let bare = File::new(500_000).validator(Validator::None);
    let tagged = |reply: Reply| reply.set("ETag", &bare.etag());
    [
        Reply::whole(&bare),
        tagged(Reply::whole(&bare)),
        tagged(Reply::part(&bare, 0..bare.size.min(8 * 65_536))),
    ]
}

fn survives_resizing(size: u64, codes: &[i32]) {
    let new = File::new(size).version(2);
    for first in firsts() {
        for unannounced in UNANNOUNCED {
            let first = first.clone();
            let script =
                move |request: &Request| resized(request, &first, unannounced(Reply::whole(&new)));
            let stream_script = script.clone();
            Fault::of(new, move |request, _| script(request)).over(&["4"]).ends(codes);
            let origin = Origin::new().at("/f.bin", stream_script).start();
            assert_stream(&streamed(&origin, &[]), &[0, 3, 6], &[new]);
        }
    }
}

#[test]
fn an_answer_longer_than_the_size_once_known_is_not_cut() {
    survives_resizing(700_000, &[0]);
}

#[test]
fn an_answer_shorter_than_the_size_once_known_is_no_bug_of_ours() {
    survives_resizing(1000, &[0, 3, 6]);
}

/// Says nothing of the size at first, breaks, and goes on with answers that say all.
fn growing_wiser(file: File) -> Running {
    Origin::new()
        .at("/f.bin", move |request| match request.nth {
            0 => {
                let whole = Reply::whole(&file).set("ETag", &file.etag()).chunked(&[10_007]);
                whole.cut(1_000_000, Cut::Close)
            }
            _ => Reply::honest(&file, request),
        })
        .start()
}

#[test]
fn a_stream_of_unknown_size_is_continued_by_an_answer_that_knows_it() {
    let file = File::new(SIZE);
    for io in backends() {
        for connections in ["1", "4"] {
            let args = ["--io", io, "-c", connections];
            let origin = growing_wiser(file);
            let run = Run::new(&origin.url("/f.bin")).args(args).args(["-b", "64k"]);
            run.finish().assert_gives("f.bin", &file);
            assert!(origin.log()[1].range.as_ref().unwrap().start > 0, "{:?}", origin.log());
            let origin = growing_wiser(file);
            assert_stream(&streamed(&origin, &args), &[0], &[file]);
        }
    }
}

#[test]
fn a_stream_of_unknown_size_that_breaks_after_its_last_byte_is_never_wrong() {
    let file = File::new(SIZE);
    let script = move |request: &Request| match request.nth {
        0 => {
            let mut whole = Reply::whole(&file).set("ETag", &file.etag()).chunked(&[10_007]);
            whole.chunk_end = String::new();
            whole.closing()
        }
        _ => Reply::honest(&file, request),
    };
    Fault::new(move |request, _| script(request)).is_survived();
    let origin = Origin::new().at("/f.bin", script).start();
    assert_stream(&streamed(&origin, &[]), &[0, 3, 6], &[file]);
}

#[test]
fn crumbs_are_refused_soon() {
    let file = File::new(SIZE);
    let fault = Fault::new(move |request, reply| match &request.range {
        Some(range) => Reply::part(&file, range.start..range.start + 1).set("ETag", &file.etag()),
        None => reply,
    });
    fault.each(|outcome, origin| {
        outcome.assert_fails(6, &[]);
        assert!(origin.log().len() <= 40, "{} requests", origin.log().len());
    });
}
