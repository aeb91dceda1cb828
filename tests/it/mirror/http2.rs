//! Mirrors over HTTP/2: few connections for many entries, and what servers do wrong with streams.

use h2::Reason;

use super::runner::{Ended, Place};
use super::{bare_table, files, origin_of, sha256};
use crate::origin::{Act, Asked, Certificate, File, Http2Origin, Origin};
use crate::ways::backends;

/// As many streams as anybody allows.
const MANY: u32 = 100;

/// A table with address, path, size and digest.
fn table(origin: &Http2Origin, files: &[(String, File)]) -> String {
    let line = |(path, file): &(String, File)| {
        format!("{}\t{path}\t{}\t{}\n", origin.url(&format!("/{path}")), file.size, sha256(file))
    };
    format!("url\tpath\tsize\tsha256\n{}", files.iter().map(line).collect::<String>())
}

/// A place with a list of all that an origin has, and its authority.
fn place_for(origin: &Http2Origin, files: &[(String, File)]) -> Place {
    let place = Place::new();
    place.put("ca.pem", &origin.certificate.authority_pem);
    place.put("list.tsv", table(origin, files));
    place
}

fn run(place: &Place, more: &[&str]) -> Ended {
    place.run(&[&["list.tsv", "--cacert", "ca.pem"], more].concat())
}

/// All files come right whatever the script does, over both backends; gives the last origin's log.
fn is_survived(
    more: &[&str],
    streams_max: u32,
    script: impl Fn(&Asked) -> Act + Clone + Send + Sync + 'static,
) -> (Vec<Asked>, usize) {
    let files = files(90);
    let mut seen = (Vec::new(), 0);
    for io in backends() {
        let origin = Http2Origin::start(&files, streams_max, script.clone());
        let place = place_for(&origin, &files);
        let ended = run(&place, &[&["--io", io, "--threads", "2"], more].concat());
        ended.assert_ends(0, &[("fetched", 90), ("failed", 0)]);
        place.assert_holds(&files);
        seen = (origin.log(), origin.connections());
    }
    seen
}

#[test]
fn many_entries_come_over_one_connection_a_thread() {
    let (log, connections) = is_survived(&[], MANY, |_| Act::Serve);
    assert_eq!(log.len(), 90);
    assert!((1..=2).contains(&connections), "{connections} connections");
    assert!(log.iter().all(|asked| asked.authority.starts_with("localhost:")));
    assert!(log.iter().all(|asked| !asked.headers.contains_key("host")));
}

#[test]
fn a_server_that_takes_one_request_at_a_time_gets_them_so() {
    for most in [1, 3] {
        let (log, connections) = is_survived(&[], most, |_| Act::Serve);
        assert_eq!(log.len(), 90);
        assert!(connections <= 2, "{connections} connections");
    }
}

#[test]
fn what_was_refused_undone_is_asked_again() {
    let refuse = |asked: &Asked| match (asked.nth, asked.stream % 7) {
        (0, 3) => Act::Refuse(Reason::REFUSED_STREAM),
        _ => Act::Serve,
    };
    let (_, connections) = is_survived(&["--retries", "0"], MANY, refuse);
    assert!(connections <= 2, "{connections} connections");
}

#[test]
fn a_connection_that_says_goodbye_is_followed_by_another() {
    let go_away = |asked: &Asked| match asked.stream {
        10 => Act::GoAway,
        _ => Act::Serve,
    };
    let (_, connections) = is_survived(&["--retries", "0"], MANY, go_away);
    assert!((4..=12).contains(&connections), "{connections} connections");
}

#[test]
fn a_connection_that_breaks_costs_no_entry() {
    let hang = |asked: &Asked| match (asked.connection, asked.stream) {
        (0 | 1, 20) => Act::Hang,
        _ => Act::Serve,
    };
    is_survived(&[], MANY, hang);
}

#[test]
fn streams_that_end_early_or_lie_are_asked_again() {
    let bad = |asked: &Asked| match (asked.nth, asked.stream % 11) {
        (0, 2) => Act::Reset(100),
        (0, 4) => Act::Lie(5),
        (0, 6) => Act::Lie(-5),
        (0, 8) => Act::Status(503, vec![("retry-after", "0".into())]),
        (0, 10) => Act::Reset(0),
        (_, 1) => Act::Unsized,
        _ => Act::Serve,
    };
    is_survived(&[], MANY, bad);
}

#[test]
fn a_stream_that_stalls_holds_no_other_up() {
    let stall = |asked: &Asked| match (asked.nth, asked.stream) {
        (0, 5) => Act::Stall(10),
        (0, 6) => Act::Mute,
        _ => Act::Serve,
    };
    is_survived(&["--stall-timeout", "1"], MANY, stall);
}

#[test]
fn a_length_that_is_never_right_is_a_failure_and_no_file() {
    let files = files(3);
    for by in [-7, 7] {
        let origin =
            Http2Origin::start(&files, MANY, move |asked| match asked.path.contains("f2") {
                true => Act::Lie(by),
                false => Act::Serve,
            });
        let place = place_for(&origin, &files);
        run(&place, &["--retries", "1"]).assert_ends(9, &[("fetched", 2), ("failed", 1)]);
        place.assert_holds(&files[..2]);
    }
}

#[test]
fn heads_beyond_any_honest_one_are_refused() {
    let files = files(3);
    for (count, bytes) in [(1000, 10), (20, 10_000)] {
        let origin =
            Http2Origin::start(&files, MANY, move |asked| match asked.path.contains("f2") {
                true => Act::Fields(count, bytes),
                false => Act::Serve,
            });
        let place = place_for(&origin, &files);
        // The others may have been on the connection that this ended.
        let ended = run(&place, &["--retries", "2"]);
        ended.assert_ends(9, &[("fetched", 2), ("failed", 1)]);
        place.assert_holds(&files[..2]);
    }
}

#[test]
fn a_server_that_wants_http_1_1_after_all_is_asked_so() {
    let files = files(20);
    let origin = Http2Origin::start(&files, MANY, |_| Act::Refuse(Reason::HTTP_1_1_REQUIRED));
    let place = place_for(&origin, &files);
    // This one speaks nothing else; it is asked for it and no more over HTTP/2.
    run(&place, &["--retries", "0"]).assert_ends(9, &[("fetched", 0), ("failed", 20)]);
    assert!(origin.log().len() <= 20, "{} requests", origin.log().len());
}

#[test]
fn nothing_is_asked_over_http_2_where_that_is_not_wanted_or_not_spoken() {
    let files = files(20);
    let origin = origin_of(&files).tls(Certificate::valid_for("localhost")).start();
    let place = Place::new();
    place.put("ca.pem", &origin.certificate.as_ref().unwrap().authority_pem);
    place.put("list.tsv", bare_table(&origin, &files));
    run(&place, &[]).assert_ends(0, &[("fetched", 20)]);
    place.assert_holds(&files);
    let deaf = Http2Origin::start(&files, MANY, |_| Act::Serve);
    let place = place_for(&deaf, &files);
    run(&place, &["--http1.1", "--retries", "0"]).assert_ends(9, &[("failed", 20)]);
    assert!(deaf.log().is_empty());
}

#[test]
fn credentials_stay_with_the_server_they_are_for_over_http_2_too() {
    let files = files(2);
    let away = Http2Origin::start(&files, MANY, |_| Act::Serve);
    let target = away.url(&format!("/{}", files[1].0));
    let home = Http2Origin::start(&files, MANY, move |asked| match asked.path.contains("f1") {
        true => Act::Status(302, vec![("location", target.clone())]),
        false => Act::Serve,
    });
    let place = place_for(&home, &files);
    let both = [&*home.certificate.authority_pem, &away.certificate.authority_pem].concat();
    place.put("ca.pem", both);
    let ended = run(&place, &["-H", "X-Secret: s", "--user", "u:p"]);
    ended.assert_ends(0, &[("fetched", 2)]);
    place.assert_holds(&files);
    for asked in home.log() {
        assert_eq!(asked.headers["authorization"], "Basic dTpw");
        assert_eq!(asked.headers["x-secret"], "s");
    }
    let [asked] = &away.log()[..] else { panic!("{:#?}", away.log()) };
    assert!(
        !asked.headers.contains_key("authorization") && !asked.headers.contains_key("x-secret")
    );
}

#[test]
fn what_has_not_changed_is_not_sent_again() {
    let files = files(12);
    let origin =
        Http2Origin::start(&files, MANY, |asked| match asked.headers.get("if-none-match") {
            Some(tag) => Act::Status(304, vec![("etag", tag.to_str().unwrap().into())]),
            None => Act::Serve,
        });
    let place = Place::new();
    place.put("ca.pem", &origin.certificate.authority_pem);
    let urls: String = files
        .iter()
        .map(|(path, _)| format!("{}\t{path}\n", origin.url(&format!("/{path}"))))
        .collect();
    place.put("list.tsv", format!("url\tpath\n{urls}"));
    run(&place, &[]).assert_ends(0, &[("fetched", 12)]);
    run(&place, &[]).assert_ends(0, &[("unchanged", 12), ("fetched", 0), ("bytes", 0)]);
    assert_eq!(origin.log().len(), 24);
}

#[test]
fn a_redirect_from_http_2_leads_to_a_server_without_it() {
    let file = File::new(5000).seed(3);
    let certificate = Certificate::valid_for("localhost");
    let older = Origin::new().tls(certificate).file("/g", file).start();
    let target = older.url("/g");
    let files = [("f".to_owned(), file)];
    let origin = Http2Origin::start(&files, MANY, move |_| {
        Act::Status(302, vec![("location", target.clone())])
    });
    let place = place_for(&origin, &files);
    let theirs = &older.certificate.as_ref().unwrap().authority_pem;
    place.put("ca.pem", [&*origin.certificate.authority_pem, theirs].concat());
    run(&place, &[]).assert_ends(0, &[("fetched", 1)]);
    place.assert_holds(&files);
}

#[test]
fn fields_of_a_connection_are_not_sent_and_the_host_that_was_named_is_asked_for() {
    let files = files(6);
    let origin = Http2Origin::start(&files, MANY, |_| Act::Serve);
    let place = place_for(&origin, &files);
    let fields = ["Keep-Alive: 5", "Proxy-Connection: close", "Host: alias.example", "X-A: b"];
    let more: Vec<_> = fields.iter().flat_map(|field| ["-H", field]).collect();
    run(&place, &more).assert_ends(0, &[("fetched", 6)]);
    place.assert_holds(&files);
    for asked in origin.log() {
        assert_eq!(
            (&*asked.authority, &asked.headers["x-a"]),
            ("alias.example", &"b".parse().unwrap())
        );
        for name in ["proxy-connection", "keep-alive", "host"] {
            assert!(!asked.headers.contains_key(name), "{name}");
        }
    }
}
