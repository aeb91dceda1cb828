//! Metalinks with digests of stretches: what is right of a file that came wrong is kept, and only the rest is
//! fetched again, from somebody else.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use rustix::process::Signal;
use sha2::Digest as _;

use super::runner::{Ended, Place};
use super::{hex, sha256};
use crate::origin::{Body, Cut, File, Latch, Origin, Reply, Running};
use crate::ways::backends;

const MIB: u64 = 1 << 20;
/// Above what comes in one request, with a short stretch at the end.
const LARGE: u64 = 12 * MIB + 777;

fn large() -> File {
    File::new(LARGE).seed(5)
}

/// A reply with a wrong byte at each of these offsets that it holds.
fn spoilt(reply: Reply, offsets: &[u64]) -> Reply {
    let Body::File(file, span) = reply.body.clone() else { return reply };
    let mut bytes = file.expected(span.clone());
    for at in offsets.iter().filter(|at| span.contains(at)) {
        bytes[usize::try_from(at - span.start).unwrap()] ^= 0x40;
    }
    reply.body(Body::Bytes(bytes))
}

/// A server of one file with these bytes wrong.
fn serving(file: File, wrong: &[u64]) -> Running {
    let wrong = wrong.to_vec();
    Origin::new().bent("/f", file, move |_, reply| spoilt(reply, &wrong)).start()
}

/// What a list says of a file beside its addresses.
struct Told {
    size: u64,
    /// The digest of the whole.
    whole: Option<String>,
    /// Bytes a stretch.
    length: u64,
    /// As they stand in the list.
    digests: String,
}

impl Told {
    fn new(file: &File, whole: Option<String>, length: u64) -> Self {
        let digest = |bytes: &[u8]| format!("<hash>{}</hash>\n", hex(&sha2::Sha256::digest(bytes)));
        let bytes = file.whole();
        let digests = bytes.chunks(usize::try_from(length).unwrap()).map(digest).collect();
        Self { size: file.size, whole, length, digests }
    }

    /// A Metalink of the file at these servers, the first before the others.
    fn at(&self, servers: &[&Running]) -> String {
        let Self { size, whole, length, digests } = self;
        let whole = whole.iter().map(|hex| format!("<hash type=\"sha-256\">{hex}</hash>"));
        let whole: String = whole.collect();
        let urls: String = (1..)
            .zip(servers)
            .map(|(rank, server)| format!("<url priority=\"{rank}\">{}</url>\n", server.url("/f")))
            .collect();
        format!(
            "<?xml version=\"1.0\"?>\n<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">\
             <file name=\"f\"><size>{size}</size>{whole}<pieces length=\"{length}\" \
             type=\"sha-256\">{digests}</pieces>{urls}</file></metalink>\n"
        )
    }
}

/// With a digest of the whole, and without.
fn both(file: &File) -> [Told; 2] {
    [Some(sha256(file)), None].map(|whole| Told::new(file, whole, MIB))
}

/// One connection, so that the first server is asked for all.
const ARGS: [&str; 3] = ["list.meta4", "--per-host", "1"];

fn finish(place: &Place, command: Command) -> Ended {
    let ended = place.start_command(command).finish();
    place.assert_no_drafts();
    ended
}

fn assert_whole(place: &Place, ended: &Ended, file: File) {
    ended.assert_ends(0, &[("fetched", 1)]);
    assert_eq!(ended.result("f")["verified"], "digest");
    place.assert_holds(&[("f".to_owned(), file)]);
    assert_nothing_begun(place);
}

/// Nothing is left of a large entry that was begun.
fn assert_nothing_begun(place: &Place) {
    let left = fs::read_dir(place.tree(".ringpull/large")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "something is left of what was begun");
}

#[test]
fn only_the_wrong_stretches_come_again_and_from_the_other_server() {
    let file = large();
    for told in both(&file) {
        for io in backends() {
            for is_durable in [true, false] {
                let bad = serving(file, &[5 * MIB, 9 * MIB + 1]);
                let good = serving(file, &[]);
                let place = Place::new();
                place.put("list.meta4", told.at(&[&bad, &good]));
                let args = [&ARGS[..], &["--io", io]].concat();
                // Around the page cache where the disk is waited for, through it where not.
                let ended = match is_durable {
                    true => finish(&place, place.durable_command(&args)),
                    false => finish(&place, place.command(&args)),
                };
                assert_whole(&place, &ended, file);
                let asked: Vec<_> =
                    good.log().into_iter().filter_map(|asked| asked.range).collect();
                assert_eq!(asked, [5 * MIB..6 * MIB, 9 * MIB..10 * MIB]);
                assert_eq!((bad.served_bytes(), good.served_bytes()), (LARGE, 2 * MIB));
                place.run(&ARGS).assert_ends(0, &[("unchanged", 1)]);
            }
        }
    }
}

#[test]
fn a_server_that_is_wrong_once_is_asked_again_for_the_stretch_alone() {
    let file = large();
    for told in both(&file) {
        let was_wrong = AtomicBool::new(false);
        let origin = Origin::new().bent("/f", file, move |request, reply| {
            let holds = request.range.as_ref().is_none_or(|range| range.contains(&(3 * MIB)));
            match holds && !was_wrong.swap(true, SeqCst) {
                true => spoilt(reply, &[3 * MIB]),
                false => reply,
            }
        });
        let origin = origin.start();
        let place = Place::new();
        place.put("list.meta4", told.at(&[&origin]));
        assert_whole(&place, &place.run(&ARGS), file);
        assert_eq!(origin.served_bytes(), LARGE + MIB);
    }
}

#[test]
fn servers_that_are_each_wrong_somewhere_make_a_whole_file_together() {
    let file = large();
    for told in both(&file) {
        for args in [&ARGS[..], &ARGS[..1]] {
            let first = serving(file, &[0, 4 * MIB]);
            let second = serving(file, &[4 * MIB + 9, 7 * MIB, LARGE - 1]);
            let third = serving(file, &[6 * MIB, 11 * MIB]);
            let place = Place::new();
            let servers = [&first, &second, &third];
            place.put("list.meta4", told.at(&servers));
            assert_whole(&place, &place.run(args), file);
            let served: u64 = servers.iter().map(|server| server.served_bytes()).sum();
            assert!(served < 2 * LARGE, "{served} bytes for {LARGE}");
        }
    }
}

#[test]
fn a_server_that_is_wrong_everywhere_beside_one_that_is_right_does_no_harm() {
    let file = large();
    for told in both(&file) {
        for is_first in [true, false] {
            let wrong = file.version(2);
            let bad = Origin::new().bent("/f", file, move |_, reply| match reply.body.clone() {
                Body::File(_, span) => reply.body(Body::File(wrong, span)),
                _ => reply,
            });
            let (bad, good) = (bad.start(), serving(file, &[]));
            let servers = if is_first { [&bad, &good] } else { [&good, &bad] };
            let place = Place::new();
            place.put("list.meta4", told.at(&servers));
            assert_whole(&place, &place.run(&["list.meta4", "--per-host", "8"]), file);
        }
    }
}

#[test]
fn stretches_that_are_wrong_everywhere_fail_the_entry_and_nothing_is_shown() {
    let file = large();
    for told in both(&file) {
        let origins = [serving(file, &[5 * MIB]), serving(file, &[5 * MIB + 3])];
        let place = Place::new();
        place.put("list.meta4", told.at(&[&origins[0], &origins[1]]));
        let ended = place.run(&ARGS);
        ended.assert_ends(9, &[("failed", 1)]);
        let result = ended.result("f");
        assert_eq!((&result["kind"], &result["exit_code"]), (&"digest".into(), &8.into()));
        assert!(place.names().is_empty());
        // All of it once, and the stretch once more from each.
        let served = origins.each_ref().map(Running::served_bytes);
        assert_eq!(served, [LARGE + MIB, MIB], "{result}");
        // The next run has no reason to believe more, nor to fetch more.
        place.run(&ARGS).assert_ends(9, &[("failed", 1)]);
        assert!(place.names().is_empty());
        let again = origins.each_ref().map(Running::served_bytes);
        assert!(again[0] + again[1] <= LARGE + 6 * MIB, "{again:?}");
    }
}

#[test]
fn a_wrong_digest_over_right_stretches_fails_as_it_does_without_them() {
    let file = large();
    let origin = serving(file, &[]);
    let place = Place::new();
    let told = Told::new(&file, Some(sha256(&file.version(2))), MIB);
    place.put("list.meta4", told.at(&[&origin]));
    let ended = place.run(&ARGS);
    ended.assert_ends(9, &[("failed", 1)]);
    assert_eq!((ended.failure("f"), &ended.result("f")["attempts"]), ("digest".into(), &2.into()));
    assert!(place.names().is_empty());
    assert_eq!(origin.served_bytes(), 2 * LARGE);
    assert_nothing_begun(&place);
}

#[test]
fn wrong_stretches_under_the_right_digest_are_the_fault_of_the_list() {
    let file = large();
    let origin = serving(file, &[]);
    let told = Told::new(&file.version(2), None, MIB);
    let list = told.at(&[&origin]);
    let whole = format!("</size><hash type=\"sha-256\">{}</hash>", sha256(&file));
    let place = Place::new();
    place.put("list.meta4", list.replace("</size>", &whole));
    assert_whole(&place, &place.run(&ARGS), file);
    assert_eq!(origin.served_bytes(), LARGE);
}

#[test]
fn stretches_that_are_shorter_or_longer_than_a_block_do_as_well() {
    let file = large();
    for length in [64 << 10, 1_000_000, 3 * MIB + 5] {
        let (bad, good) = (serving(file, &[2 * MIB + 70_000, LARGE - 1]), serving(file, &[]));
        let place = Place::new();
        let told = Told::new(&file, None, length);
        place.put("list.meta4", told.at(&[&bad, &good]));
        assert_whole(&place, &place.run(&ARGS), file);
        assert_eq!(bad.served_bytes(), LARGE);
        // Whole blocks around the stretches.
        let most = 2 * length + 4 * MIB;
        assert!(good.served_bytes() <= most.min(LARGE - 1), "{} of {most}", good.served_bytes());
    }
}

#[test]
fn a_server_without_ranges_is_replaced_by_one_that_is_right() {
    let file = large();
    for told in both(&file) {
        let bad = Origin::new().at("/f", move |_| {
            spoilt(Reply::whole(&file), &[5 * MIB]).set("Accept-Ranges", "none")
        });
        let (bad, good) = (bad.start(), serving(file, &[]));
        let place = Place::new();
        place.put("list.meta4", told.at(&[&bad, &good]));
        assert_whole(&place, &place.run(&ARGS), file);
        // There is no ledger of what came in one stream.
        assert_eq!((bad.log().len(), good.served_bytes()), (1, LARGE));
    }
}

#[test]
fn a_run_that_is_killed_over_the_wrong_stretch_is_gone_on_with() {
    let file = large();
    for told in both(&file) {
        let latch = Latch::default();
        let held = latch.clone();
        let bad = serving(file, &[5 * MIB]);
        let good = Origin::new().bent("/f", file, move |_, reply| reply.body_after(&held)).start();
        let place = Place::new();
        place.put("list.meta4", told.at(&[&bad, &good]));
        let started = place.start(&ARGS);
        good.wait_for_requests(1);
        started.signal(Signal::KILL);
        assert_eq!(started.end_or_die().code, None);
        assert!(place.names().is_empty());
        latch.open();
        assert_whole(&place, &place.run(&ARGS), file);
        // The next run does not know yet who was wrong, but what was right.
        assert_eq!(bad.served_bytes(), LARGE + MIB);
    }
}

#[test]
fn a_death_at_any_place_leaves_what_the_next_run_makes_right() {
    let file = File::new(9 * MIB).seed(5);
    for (is_durable, told) in [true, false].into_iter().zip(both(&file)) {
        let mut deaths = 0;
        for point in 1..200_u32 {
            let (bad, good) = (serving(file, &[MIB, 8 * MIB]), serving(file, &[]));
            let place = Place::new();
            place.put("list.meta4", told.at(&[&bad, &good]));
            let command = || match is_durable {
                true => place.durable_command(&ARGS),
                false => place.command(&ARGS),
            };
            let mut dying = command();
            // Few lines but those that are about something: the others have tests of their own.
            dying.env("RINGPULL_LINE_BYTES", "6000000").env("RINGPULL_SYNC_BYTES", "7000000");
            dying.env("RINGPULL_CRASH_AT", point.to_string());
            let ended = place.start_command(dying).end_or_die();
            if ended.code.is_some() {
                assert_whole(&place, &ended, file);
                break;
            }
            deaths += 1;
            if place.tree("f").exists() {
                place.assert_holds(&[("f".to_owned(), file)]);
            }
            let next = finish(&place, command());
            next.assert_ends(0, &[("failed", 0)]);
            place.assert_holds(&[("f".to_owned(), file)]);
        }
        assert!(deaths > 15, "only {deaths}");
    }
}

#[test]
fn small_entries_are_compared_by_their_stretches_while_they_come() {
    let length = 4 << 10;
    for size in [1, length, 3 * length + 1] {
        let file = File::new(size).seed(3);
        let bad = [serving(file, &[0]), serving(file, &[size - 1])];
        let good = serving(file, &[]);
        let told = Told::new(&file, None, length);
        let place = Place::new();
        place.put("list.meta4", told.at(&[&bad[0], &bad[1], &good]));
        assert_whole(&place, &place.run(&["list.meta4"]), file);
        assert_eq!(good.log().len(), 1);
        let place = Place::new();
        place.put("list.meta4", told.at(&[&bad[0], &bad[1]]));
        let ended = place.run(&["list.meta4", "--failures", "failed.jsonl"]);
        ended.assert_ends(9, &[("failed", 1)]);
        assert_eq!(ended.failure("f"), "digest");
        assert!(place.names().is_empty());
        // The list of what failed is as strict.
        place.run(&["failed.jsonl"]).assert_ends(9, &[("failed", 1)]);
        assert!(place.names().is_empty());
    }
}

#[test]
fn bodies_without_a_length_are_compared_too() {
    for size in [9 << 10, LARGE] {
        let file = File::new(size).seed(4);
        let chunked = |reply: Reply| reply.chunked(&[70_001]);
        let bad = Origin::new().at("/f", move |_| chunked(spoilt(Reply::whole(&file), &[8 << 10])));
        let short = Origin::new().at("/f", move |_| {
            chunked(Reply::whole(&file).body(Body::File(file, 0..(size - 1) & !4095)))
        });
        let good = Origin::new().at("/f", move |_| chunked(Reply::whole(&file)));
        let servers = [bad.start(), short.start(), good.start()];
        let told = Told::new(&file, None, 4 << 10);
        let list = |servers: &[&Running]| {
            let list = told.at(servers);
            list.replace(&format!("<size>{size}</size>"), "")
        };
        let place = Place::new();
        place.put("list.meta4", list(&servers.each_ref()));
        assert_whole(&place, &place.run(&ARGS), file);
        place.put("list.meta4", list(&[&servers[0], &servers[1]]));
        fs::remove_file(place.tree("f")).unwrap();
        place.run(&ARGS).assert_ends(9, &[("failed", 1)]);
        assert!(place.names().is_empty());
    }
}

#[test]
fn a_file_of_another_size_than_the_stretches_have_is_not_fetched() {
    let file = large();
    let told = Told::new(&file, None, MIB);
    let longer = serving(File::new(LARGE + MIB).seed(5), &[]);
    let place = Place::new();
    let list = told.at(&[&longer]);
    place.put("list.meta4", list.replace(&format!("<size>{LARGE}</size>"), ""));
    let ended = place.run(&ARGS);
    ended.assert_ends(9, &[("failed", 1)]);
    assert_eq!(ended.failure("f"), "digest");
    assert!(place.names().is_empty());
}

#[test]
fn a_set_that_cannot_be_is_told_and_its_file_comes_all_the_same() {
    let file = large();
    let origin = serving(file, &[]);
    let place = Place::new();
    let [told, _] = both(&file);
    let list = told.at(&[&origin]);
    place.put("list.meta4", list.replace("length=\"1048576\"", "length=\"1048577\""));
    let fine = place.run(&ARGS);
    assert!(fine.stderr.is_empty() && !fine.events.iter().any(|event| event["event"] == "notice"));
    place.put("list.meta4", list.replace("length=\"1048576\"", "length=\"2097152\""));
    fs::remove_file(place.tree("f")).unwrap();
    let ended = place.run(&ARGS);
    assert_whole(&place, &ended, file);
    let notice = ended.events.iter().find(|event| event["event"] == "notice").unwrap();
    let message = notice["message"].as_str().unwrap();
    assert!(message.starts_with("line 2: f: the digests of its stretches are not"), "{message}");
}

#[test]
fn answers_that_break_off_amid_wrong_stretches_are_gone_on_with() {
    let file = large();
    for told in both(&file) {
        let count = AtomicU64::new(0);
        let bad = Origin::new().bent("/f", file, move |_, reply| {
            let reply = spoilt(reply, &[2 * MIB, 5 * MIB]);
            match count.fetch_add(1, SeqCst) < 4 {
                true => reply.cut(1_500_000, Cut::Reset),
                false => reply,
            }
        });
        let (bad, good) = (bad.start(), serving(file, &[5 * MIB]));
        let place = Place::new();
        place.put("list.meta4", told.at(&[&bad, &good]));
        let ended = place.run(&ARGS);
        // One stretch is wrong at both.
        ended.assert_ends(9, &[("failed", 1)]);
        assert_eq!(ended.failure("f"), "digest");
        assert!(place.names().is_empty());
        drop((bad, good));
    }
}

#[test]
fn what_the_stretches_say_holds_for_files_that_are_there_too() {
    for size in [70_000, LARGE] {
        let (old, new) = (File::new(size).seed(1), File::new(size).seed(1).version(2));
        let told = |file: &File| Told::new(file, None, MIB);
        // It says that nothing has changed, whatever it is asked.
        let stale = Origin::new().bent("/f", old, |request, reply| {
            let is_condition = request.header("if-none-match").is_some()
                || request.header("if-modified-since").is_some();
            if is_condition {
                Reply::status("304 Not Modified").body(Body::Bytes(vec![]))
            } else {
                reply
            }
        });
        let stale = stale.start();
        let place = Place::new();
        place.put("list.meta4", told(&old).at(&[&stale]));
        place.run(&["list.meta4"]).assert_ends(0, &[("fetched", 1)]);
        let asked = stale.log().len();
        place.run(&["list.meta4"]).assert_ends(0, &[("unchanged", 1)]);
        assert_eq!(stale.log().len(), asked, "the digests are known, so nobody need be asked");
        // The list wants other bytes now.
        let fresh = serving(new, &[]);
        place.put("list.meta4", told(&new).at(&[&stale]));
        place.run(&["list.meta4", "--retries", "0"]).assert_ends(9, &[("failed", 1)]);
        place.put("list.meta4", told(&new).at(&[&fresh]));
        place.run(&["list.meta4"]).assert_ends(0, &[("fetched", 1)]);
        place.assert_holds(&[("f".to_owned(), new)]);
        // A bit goes over, and only a reader sees it.
        let path = place.tree("f");
        let date = fs::metadata(&path).unwrap().modified().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[5000] ^= 1;
        fs::write(&path, bytes).unwrap();
        fs::File::options().append(true).open(&path).unwrap().set_modified(date).unwrap();
        place.run(&["list.meta4", "--verify", "all"]).assert_ends(0, &[("fetched", 1)]);
        place.assert_holds(&[("f".to_owned(), new)]);
    }
}
