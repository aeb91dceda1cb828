//! Mirrors over TLS: of servers that are trusted, and of those that are not.

use super::runner::{Ended, Place};
use super::{bare_table, files, origin_of, table};
use crate::origin::{Body, Certificate, File, Origin, Reply, Running};
use crate::ways::backends;

/// Small files and a large one, served over TLS.
fn secure(certificate: Certificate) -> (Running, Vec<(String, File)>) {
    let mut files = files(12);
    files.push(("large".to_owned(), File::new((9 << 20) + 77).seed(99)));
    (origin_of(&files).tls(certificate).start(), files)
}

/// A place that has the authority of an origin.
fn trusting(origin: &Running) -> Place {
    let place = Place::new();
    place.put("ca.pem", &origin.certificate.as_ref().unwrap().authority_pem);
    place
}

/// Every entry failed because of TLS, none was asked for, and the run says so by its exit code.
fn assert_untrusted(ended: &Ended, origin: &Running, count: u64) {
    ended.assert_ends(9, &[("fetched", 0), ("failed", count)]);
    assert_eq!(ended.events.last().unwrap()["sealed"], true);
    for line in ended.results() {
        assert_eq!((&line["kind"], &line["exit_code"]), (&"tls".into(), &4.into()), "{line}");
    }
    assert!(origin.log().is_empty(), "a request went to a server nobody trusts");
}

#[test]
fn a_trusted_server_is_mirrored_large_entries_too_and_then_asked_as_little_as_any() {
    for io in backends() {
        for list in [table, bare_table] {
            let (origin, files) = secure(Certificate::valid_for("localhost"));
            let place = trusting(&origin);
            place.put("list.tsv", list(&origin, &files));
            let args = ["list.tsv", "--cacert", "ca.pem", "--io", io];
            place.run(&args).assert_ends(0, &[("fetched", 13), ("failed", 0)]);
            place.assert_holds(&files);
            let before = place.names();
            place.run(&args).assert_ends(0, &[("unchanged", 13), ("bytes", 0)]);
            assert_eq!(place.names(), before);
            let ranges = origin.log().iter().filter(|request| request.range.is_some()).count();
            assert!(ranges > 1, "parts of the large one are asked for apart");
        }
    }
}

#[test]
fn a_list_and_an_index_of_a_trusted_server_are_read() {
    let file = File::new(300).seed(5);
    let page = "<html><head><title>Index of /d/</title></head><body><a href=\"../\">../</a>\
                <a href=\"a.bin\">a.bin</a></body></html>";
    let give = |text: &str| {
        let reply = Reply::status("200 OK").set("Content-Length", &text.len().to_string());
        reply.body(Body::Bytes(text.as_bytes().to_vec()))
    };
    let origin = Origin::new()
        .tls(Certificate::valid_for("localhost"))
        .file("/d/a.bin", file)
        .at("/d/", move |_| give(page))
        .at("/d/list.txt", move |_| give("a.bin\n"))
        .start();
    for path in ["/d/", "/d/list.txt"] {
        let place = trusting(&origin);
        place.run(&[&origin.url(path), "--cacert", "ca.pem"]).assert_ends(0, &[("fetched", 1)]);
        place.assert_holds(&[("a.bin".to_owned(), file)]);
        let other = Place::new();
        let ended = other.run(&[origin.url(path)]);
        ended.assert_code(4);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(ended.stderr.contains("--cacert"), "{}", ended.stderr);
        assert!(other.names().is_empty());
    }
}

#[test]
fn every_entry_of_a_server_that_is_not_trusted_fails_for_that_reason() {
    let (origin, files) = secure(Certificate::valid_for("localhost"));
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files)).put("tree/d0/old", "old");
    let ended = place.run(&["list.tsv", "--delete", "--failures", "failed.jsonl"]);
    assert_untrusted(&ended, &origin, 13);
    assert!(place.tree("d0/old").exists());
    // With the authority, what failed is all that is left to do.
    place.put("ca.pem", &origin.certificate.as_ref().unwrap().authority_pem);
    place.run(&["failed.jsonl", "--cacert", "ca.pem"]).assert_ends(0, &[("fetched", 13)]);
    place.assert_right(&files);
}

#[test]
fn a_certificate_that_does_not_hold_fails_every_entry_and_names_the_host() {
    for certificate in
        [Certificate::expired(), Certificate::not_yet_valid(), Certificate::wrong_host()]
    {
        let (origin, files) = secure(certificate);
        let place = trusting(&origin);
        place.put("list.tsv", bare_table(&origin, &files));
        let ended = place.run(&["list.tsv", "--cacert", "ca.pem"]);
        assert_untrusted(&ended, &origin, 13);
        let message = ended.result("large")["message"].as_str().unwrap().to_owned();
        assert!(message.contains("localhost"), "{message}");
        assert!(place.names().is_empty());
    }
}

#[test]
fn a_server_that_is_not_trusted_takes_nothing_from_one_that_is() {
    let (bad, _) = secure(Certificate::self_signed());
    let (good, files) = secure(Certificate::valid_for("localhost"));
    let plain = Origin::new().file("/p", File::new(10)).start();
    let place = trusting(&good);
    let theirs: String =
        (0..9).map(|at| format!("{}\tbad/f{at}\t\t\n", bad.url(&format!("/{at}")))).collect();
    let ours = format!("{}\tp\t\t\n", plain.url("/p"));
    place.put("list.tsv", format!("{}{theirs}{ours}", table(&good, &files)));
    let ended = place.run(&["list.tsv", "--cacert", "ca.pem"]);
    ended.assert_ends(9, &[("fetched", 14), ("failed", 9)]);
    for at in 0..9 {
        assert_eq!(ended.failure(&format!("bad/f{at}")), "tls");
    }
    place.assert_right(&files);
    assert!(bad.log().is_empty());
}

#[test]
fn what_is_right_here_needs_no_trust() {
    let (origin, files) = secure(Certificate::valid_for("localhost"));
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    for (path, file) in &files[..7] {
        place.put(&format!("tree/{path}"), file.whole());
    }
    let ended = place.run(&["list.tsv"]);
    ended.assert_ends(9, &[("unchanged", 7), ("failed", 6)]);
    assert_eq!(ended.failure("large"), "tls");
}

#[test]
fn a_server_is_trusted_without_reason_where_that_was_asked_for() {
    let (origin, files) = secure(Certificate::self_signed());
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    place.run(&["list.tsv", "-k"]).assert_ends(0, &[("fetched", 13)]);
    place.assert_holds(&files);
}

#[test]
fn a_client_certificate_is_shown_for_every_entry() {
    let client = Certificate::valid_for("client");
    let (origin, files) = secure(Certificate::valid_for("localhost").asks_for(&client));
    let place = trusting(&origin);
    place.put("cert.pem", &client.chain_pem).put("key.pem", &client.key_pem);
    place.put("list.tsv", table(&origin, &files));
    let ended = place.run(&["list.tsv", "--cacert", "ca.pem", "--retries", "0"]);
    ended.assert_ends(9, &[("failed", 13)]);
    assert!(origin.log().is_empty());
    let with = ["list.tsv", "--cacert", "ca.pem", "--cert", "cert.pem", "--key", "key.pem"];
    place.run(&with).assert_ends(0, &[("fetched", 13)]);
    place.assert_holds(&files);
    assert!(origin.log().iter().all(|request| request.certified));
}
