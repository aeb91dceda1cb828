//! Answers of one version of the file alone: H10, H12 to H14. What ties answers together is in `tags`.

use super::{
    Row, SIZE, SURVIVED, Turns, at_every_turn, digest_of, file, parts_at_every_turn, whole,
};
use crate::ends::{Fault, hold};
use crate::origin::{Body, Cut, File, Reply, Request, Validator};

/// It starts anew as often as that makes sense, and then gives up.
const GIVEN_UP: Turns = [&[0], &[0], &[6], &[6]];

/// Refuses every range with this.
fn unsatisfiable_at_every_turn(
    name: &str,
    bend: impl Fn(Reply) -> Reply + Copy + Send + Sync + 'static,
) -> Vec<Fault> {
    at_every_turn(name, SURVIVED, move |request, reply| match request.range {
        Some(_) => bend(Reply::status("416 Range Not Satisfiable")),
        None => reply,
    })
}

#[test]
fn h10_a_range_that_exists_and_is_refused_never_ends_the_file() {
    let total = |reply: Reply, total: u64| reply.set("Content-Range", &format!("bytes */{total}"));
    let rows: [Row; 6] = [
        ("without a total", |reply| reply),
        ("with a broken total", |reply| reply.set("Content-Range", "bytes */x")),
        ("with a range", |reply| reply.set("Content-Range", "bytes 0-9/10")),
        ("in chunks", |reply| reply.chunked(&[3])),
        ("until close", |reply| reply.until_close()),
        ("with a body like the file", |reply| {
            reply.set("Content-Length", "70000").body(Body::File(file(), 0..70_000))
        }),
    ];
    hold(rows.into_iter().flat_map(|(name, bend)| unsatisfiable_at_every_turn(name, bend)));
    hold(unsatisfiable_at_every_turn("with the right total", move |reply| total(reply, SIZE)));
    hold(unsatisfiable_at_every_turn("with another total", move |reply| total(reply, 5)));
    // The file may well be empty now.
    let emptied = unsatisfiable_at_every_turn("of nothing", move |reply| total(reply, 0));
    hold(emptied.into_iter().map(|fault| fault.or(File::new(0))));
    hold([Fault::of(file(), |_, _| Reply::status("416 Range Not Satisfiable"))
        .named("even without a range")
        .codes(&[6])]);
}

/// The first answer, cut short so that a single connection has to ask again too, and another version from
/// request `nth` on.
fn changing_at(nth: usize, old: File, new: File) -> Fault {
    Fault::of(new, move |request, _| match request.nth {
        0 => Reply::honest(&old, request).cut(180_000, Cut::Close),
        before if before < nth => Reply::honest(&old, request).cut(100_000, Cut::Close),
        _ => Reply::honest(&new, request),
    })
    .named(format!("{:?} from request {nth} on", new.validator))
}

#[test]
fn h12_a_file_that_changes_on_the_way_is_fetched_anew() {
    let at = |nth, validator| {
        let old = File::new(SIZE).validator(validator);
        changing_at(nth, old, old.version(2)).or(old)
    };
    let all = [Validator::Strong, Validator::Weak, Validator::Date, Validator::None];
    let early = all.into_iter().flat_map(|validator| [at(1, validator), at(2, validator)]);
    // Without a strong validator it ends sooner: what breaks is not continued.
    let tied = [Validator::Strong, Validator::Date];
    let late = tied.into_iter().flat_map(|validator| [at(5, validator), at(15, validator)]);
    hold(early.chain(late));
}

#[test]
fn h12_a_file_that_grows_or_shrinks_on_the_way_is_fetched_anew() {
    let new = |size| changing_at(1, file(), File::new(size).version(2)).named(format!("{size}"));
    hold([SIZE + 100_000, SIZE - 100_000, SIZE + 1, SIZE - 1, 100_000, 1].map(new));
}

#[test]
fn h12_a_file_that_is_emptied_on_the_way_is_empty() {
    hold([changing_at(1, file(), File::new(0).version(2))]);
}

#[test]
fn h12_a_change_is_seen_where_conditions_are_ignored() {
    for validator in [Validator::Strong, Validator::Date] {
        let new = File::new(SIZE).version(2).validator(validator);
        Fault::of(new, move |request, _| {
            let plain = request.without("if-range").without("if-match");
            match request.nth {
                0 => Reply::honest(&new.version(1), &plain).cut(180_000, Cut::Close),
                _ => Reply::honest(&new, &plain),
            }
        })
        .is_survived();
    }
}

#[test]
fn h12_a_server_that_forgets_ranges_under_a_condition_is_asked_without_one() {
    let forgetful = |request: &Request, reply: Reply| match request.header("if-range") {
        Some(_) => whole(request),
        None if request.nth == 0 => reply.cut(180_000, Cut::Close),
        None => reply,
    };
    hold([Fault::of(file(), forgetful).named("always")]);
}

#[test]
fn h12_a_file_that_never_stops_changing_is_given_up() {
    let rows = [("by its tag", Validator::Strong), ("by its date", Validator::Date)];
    hold(rows.map(|(name, validator)| {
        Fault::of(file(), move |request, _| {
            let version = File::new(SIZE).version(request.nth as u64).validator(validator);
            Reply::honest(&version, request).cut(180_000, Cut::Close)
        })
        .named(name)
        .codes(&[6])
        .requests(60)
    }));
}

#[test]
fn h12_a_change_does_not_wait_for_an_answer_of_the_old_version() {
    let new = File::new(SIZE).version(2);
    Fault::of(new, move |request, _| match request.nth {
        0 => Reply::honest(&new.version(1), request).cut(100, Cut::Stall),
        _ => Reply::honest(&new, request),
    })
    .args(&["--stall-timeout", "3600"])
    .over(&["8"])
    .is_survived();
}

#[test]
fn h12_a_failed_precondition_starts_anew_and_not_for_ever() {
    let tells = |name, status: &'static str| {
        at_every_turn(name, GIVEN_UP, move |_, _| Reply::status(status))
    };
    hold(tells("412", "412 Precondition Failed"));
    hold(tells("428", "428 Precondition Required").into_iter().map(|fault| fault.codes(&[0, 5])));
    let not_modified = at_every_turn("304", GIVEN_UP, |_, _| {
        Reply::status("304 Not Modified").set("ETag", "\"a\"")
    });
    hold(not_modified);
}

#[test]
fn h12_a_validator_that_changes_its_shape_never_mixes_versions() {
    let rows: [Row; 14] = [
        ("the tag weakens", |reply| reply.set("ETag", &format!("W/{}", file().etag()))),
        ("the tag vanishes", |reply| reply.without("ETag")),
        ("the date vanishes", |reply| reply.without("Last-Modified")),
        ("both vanish", |reply| reply.without("ETag").without("Last-Modified")),
        ("the clock vanishes", |reply| reply.without("ETag").without("Date")),
        ("the tag comes twice", |reply| reply.line("ETag: \"other\"")),
        ("the tag is empty", |reply| reply.set("ETag", "")),
        ("the tag has no quotes", |reply| reply.set("ETag", "abc")),
        ("the tag has a quote too many", |reply| reply.set("ETag", "\"a\"b\"")),
        ("the tag is not ASCII", |reply| reply.set("ETag", "\"caf\u{e9}\"")),
        ("the tag is long", |reply| reply.set("ETag", &format!("\"{}\"", "t".repeat(8000)))),
        ("another tag", |reply| reply.set("ETag", "\"another\"")),
        ("another date under the tag", |reply| {
            reply.set("Last-Modified", "Thu, 02 Jan 2020 03:04:05 GMT")
        }),
        ("no date at all", |reply| reply.set("Last-Modified", "yesterday").without("ETag")),
    ];
    hold(
        rows.into_iter().flat_map(|(name, bend)| {
            parts_at_every_turn(name, SURVIVED, move |_, reply| bend(reply))
        }),
    );
}

#[test]
fn h12_validators_that_never_stay_the_same_never_mix_versions() {
    hold(parts_at_every_turn("a tag per answer", SURVIVED, |request, reply| {
        reply.set("ETag", &format!("\"{}\"", request.nth))
    }));
    hold(parts_at_every_turn("a date per answer", SURVIVED, |request, reply| {
        let date = format!("Thu, 02 Jan 2020 03:04:{:02} GMT", request.nth % 60);
        reply.without("ETag").set("Last-Modified", &date)
    }));
}

/// The tag of the first version and the bytes of the second.
fn lying(request: &Request) -> Reply {
    let plain = request.without("if-range").without("if-match");
    Reply::honest(&file().version(2), &plain).set("ETag", &file().etag())
}

#[test]
fn h13_other_bytes_under_the_same_tag_fail_the_digest() {
    let same_date =
        |reply: Reply| reply.set("Last-Modified", &httpdate::fmt_http_date(file().modified()));
    let digest = digest_of(&file());
    let faults = parts_at_every_turn("the bytes alone", [&[8]; 4], move |request, _| {
        same_date(lying(request))
    });
    hold(faults.into_iter().map(|fault| fault.args(&["--checksum", &digest])));
}

#[test]
fn h13_a_digest_that_the_server_names_is_ignored() {
    // Neither Repr-Digest nor Content-Digest (RFC 9530) is read; only what the user names counts.
    let rows = ["Repr-Digest", "Content-Digest", "Digest", "Want-Repr-Digest"];
    hold(rows.into_iter().flat_map(|name| {
        let wrong = format!("{name}: sha-256=:{}=:", "A".repeat(43));
        let wrong: &'static str = wrong.leak();
        at_every_turn(name, SURVIVED, move |_, reply| reply.line(wrong))
    }));
}

#[test]
fn h13_another_date_or_size_under_the_same_tag_is_another_version() {
    let second = |script: fn(&Request) -> Reply, new: File| {
        Fault::of(new, move |request, _| match request.nth {
            0 => Reply::honest(&file(), request).cut(180_000, Cut::Close),
            _ => script(request),
        })
    };
    let longer = |request: &Request| {
        let plain = request.without("if-range");
        Reply::honest(&File::new(SIZE + 1).version(2), &plain)
            .set("ETag", &file().etag())
            .set("Last-Modified", &httpdate::fmt_http_date(file().modified()))
    };
    hold([
        second(lying, file().version(2)).named("another date"),
        second(longer, File::new(SIZE + 1).version(2)).named("another size"),
    ]);
}

/// How the nodes take turns: its name, and the number of the node that a request meets.
type NodeRow = (&'static str, fn(&Request) -> usize);

/// Every connection, or every answer, has a tag of its own for the same bytes.
fn tagged(request: &Request, node: usize) -> Reply {
    let plain = request.without("if-range").without("if-match");
    Reply::honest(&file(), &plain).set("ETag", &format!("\"node-{node}\""))
}

#[test]
fn h14_a_tag_that_differs_from_node_to_node_never_loops() {
    let rows: [NodeRow; 3] = [
        ("by connection", |request| request.connection),
        ("of two by turns", |request| request.nth % 2),
        ("of three by turns", |request| request.nth % 3),
    ];
    let digest = digest_of(&file());
    hold(rows.into_iter().flat_map(|(name, node)| {
        let fault = Fault::of(file(), move |request, _| match request.nth {
            0 => tagged(request, node(request)).cut(180_000, Cut::Close),
            _ => tagged(request, node(request)),
        });
        let fault = fault.named(name).requests(120);
        [fault.clone().args(&["--checksum", &digest]), fault]
    }));
}

#[test]
fn h14_a_node_that_is_asked_with_the_tag_of_another_sends_the_whole() {
    // Each node knows its own tag alone, and answers a condition on another with all it has.
    let by_node = |request: &Request| {
        let tag = format!("\"node-{}\"", request.connection % 2);
        match request.header("if-range") {
            Some(wanted) if wanted != tag => whole(request).set("ETag", &tag),
            _ => tagged(request, request.connection % 2),
        }
    };
    let fault = Fault::of(file(), move |request, _| by_node(request)).requests(120);
    hold([
        fault.clone().named("with a digest").args(&["--checksum", &digest_of(&file())]),
        fault.named("without a digest"),
    ]);
}
