//! Rough ground: a kernel that refuses, few descriptors, long names, odd tags, one of everything.

use std::process::Command;

use super::runner::Place;
use super::{bare_table, files, origin_of, table};
use crate::harness::PROGRAM;
use crate::origin::{File, Origin, Reply};
use crate::ways::backends;

/// Runs with one operation made to fail; the next run completes.
fn assert_survives(fault: &str, args: &[&str], codes: &[i32]) {
    let files = files(20);
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    let all = [&["list.tsv"], args].concat();
    let mut command = place.durable_command(&all);
    command.env("RINGPULL_FAULT", fault);
    let ended = place.start_command(command).finish();
    let code = ended.code.unwrap();
    assert!(codes.contains(&code), "{fault}: {code}: {}", ended.stderr);
    let is_sealed = ended.events.last().unwrap()["sealed"] == true;
    assert_eq!(is_sealed, matches!(code, 0 | 9), "{fault}: {:#?}", ended.events);
    let there: Vec<_> =
        files.iter().filter(|(path, _)| place.tree(path).exists()).cloned().collect();
    place.assert_right(&there);
    let next = place.start_command(place.durable_command(&all)).finish();
    next.assert_ends(0, &[("entries", 20), ("failed", 0)]);
    place.assert_holds(&files);
    place.assert_no_drafts();
}

#[test]
fn a_file_that_cannot_be_made_or_named_fails_alone() {
    for fault in ["create:4:EIO", "rename:4:EIO", "write:4:EIO", "create:1+:EIO"] {
        assert_survives(fault, &[], &[9]);
    }
}

#[test]
fn a_disk_that_is_full_ends_the_run_at_any_step() {
    for fault in ["create:4:ENOSPC", "write:7:ENOSPC", "rename:9:ENOSPC", "write:1+:ENOSPC"] {
        assert_survives(fault, &[], &[7]);
    }
}

#[test]
fn a_run_that_cannot_be_made_durable_is_not_sealed() {
    assert_survives("sync:1+:EIO", &[], &[7]);
}

#[test]
fn connections_that_cannot_be_made_are_made_again() {
    assert_survives("connect:2:ECONNRESET", &[], &[0]);
}

#[test]
fn few_descriptors_are_enough_for_many_directories() {
    let files: Vec<_> =
        (0..240).map(|at| (format!("d{at}/e{at}/f"), File::new(at % 700).seed(at))).collect();
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    let mut command = Command::new("prlimit");
    command.args([
        "--nofile=120:120",
        PROGRAM,
        "mirror",
        "list.tsv",
        "-d",
        "tree",
        "--json",
        "--no-sync",
    ]);
    let ended = place.start_command(place.furnish(command)).finish();
    ended.assert_ends(0, &[("fetched", 240)]);
    place.assert_holds(&files);
}

#[test]
fn the_longest_names_are_mirrored() {
    let long = "x".repeat(255);
    let deep = vec!["deep"; 60].join("/");
    let wide = vec!["y".repeat(200); 15].join("/");
    let files: Vec<_> =
        [long, format!("{deep}/f"), format!("{wide}/f"), "ü/日本/\u{1f600} &?#%.bin".into()]
            .into_iter()
            .map(|path| (path, File::new(10)))
            .collect();
    let origin = Origin::new().file("/x", File::new(10)).start();
    let place = Place::new();
    let url = origin.url("/x");
    let rows = files.iter().map(|(path, _)| format!("{url}\t{path}\n")).collect::<String>();
    place.put("list.tsv", format!("url\tpath\n{rows}"));
    for state in ["fetched", "unchanged"] {
        place.run(&["list.tsv"]).assert_ends(0, &[(state, 4)]);
        place.assert_holds(&files);
    }
}

#[test]
fn an_etag_of_any_bytes_is_sent_back_as_it_came() {
    for tag in ["\"é日\"", "W/\"a b,c\"", "unquoted", "\"\"", "W/\"W/x\""] {
        let file = File::new(100);
        let origin = Origin::new()
            .at("/a", move |request| {
                let reply = Reply::whole(&file).set("ETag", tag);
                match request.header("if-none-match") {
                    Some(known) if known == tag => reply.unmodified(),
                    _ => reply,
                }
            })
            .start();
        let place = Place::new();
        place.put("list.tsv", bare_table(&origin, &[("a".to_owned(), file)]));
        place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 1)]);
        let ended = place.run(&["list.tsv"]);
        assert_eq!((ended.code, ended.count("unchanged")), (Some(0), 1), "{tag}");
        assert_eq!(origin.log()[1].header("if-none-match"), Some(tag));
    }
}

#[test]
fn one_thread_one_job_and_one_connection_are_enough() {
    let files = files(30);
    for io in backends() {
        let origin = origin_of(&files).start();
        let place = Place::new();
        place.put("list.tsv", table(&origin, &files));
        let args = ["list.tsv", "--threads", "1", "--jobs", "1", "--per-host", "1", "--io", io];
        place.run(&args).assert_ends(0, &[("fetched", 30)]);
        place.assert_holds(&files);
        assert_eq!((origin.connections(), origin.log().len()), (1, 30));
    }
}

#[test]
fn a_metalink_that_ends_too_early_begins_nothing() {
    let file = File::new(10);
    let origin = Origin::new().file("/a", file).start();
    let url = origin.url("/a");
    let place = Place::new();
    let whole = format!("<file name=\"a\"><url>{url}</url></file>");
    let head = "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">";
    place.put("list.meta4", format!("{head}{whole}<file name=\"b")).put("tree/mine", "mine");
    let ended = place.run(&["list.meta4", "--delete"]);
    assert_ne!(ended.code, Some(0));
    assert_eq!((origin.log().len(), place.names().len()), (0, 1));
}

#[test]
fn a_file_that_changes_while_its_body_comes_is_of_one_version() {
    let (old, new) = (File::new(9000), File::new(9000).version(2));
    let origin = Origin::new()
        .at("/a", move |request| match request.nth {
            0 => Reply::honest(&old, request).cut(3000, crate::origin::Cut::Reset),
            _ => Reply::honest(&new, request),
        })
        .start();
    let place = Place::new();
    place.put("list.tsv", bare_table(&origin, &[("a".to_owned(), old)]));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 1)]);
    place.assert_holds(&[("a".to_owned(), new)]);
}

#[test]
fn a_server_that_says_304_unasked_is_not_believed() {
    let file = File::new(100);
    let origin = Origin::new().at("/a", move |_| Reply::whole(&file).unmodified()).start();
    let place = Place::new();
    place.put("list.tsv", bare_table(&origin, &[("a".to_owned(), file)]));
    let ended = place.run(&["list.tsv", "--retries", "0"]);
    ended.assert_ends(9, &[("failed", 1)]);
    assert!(place.names().is_empty());
}

#[test]
fn fields_of_our_own_go_with_every_request() {
    let files = files(5);
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("list.tsv", bare_table(&origin, &files));
    for state in ["fetched", "unchanged"] {
        let args = ["list.tsv", "--header", "X-Key: 17", "--user-agent", "mine/1"];
        place.run(&args).assert_ends(0, &[(state, 5)]);
    }
    for request in origin.log() {
        let told = (request.header("x-key"), request.header("user-agent"));
        assert_eq!(told, (Some("17"), Some("mine/1")));
    }
}
