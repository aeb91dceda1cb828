//! Redirects, H25 to H27: followed with the range, bounded, and never a leak of secrets.

use crate::harness::Run;
use crate::origin::{Certificate, Cut, File, Origin, Reply, Running};
use crate::ways::backends;

fn file() -> File {
    File::new(2 << 20)
}

/// An origin with `/f.bin` and redirects to it.
fn hops() -> Origin {
    Origin::new()
        .file("/f.bin", file())
        .at("/1", |_| Reply::redirect("302 Found", "/f.bin"))
        .at("/2", |_| Reply::redirect("302 Found", "/1"))
        .at("/3", |_| Reply::redirect("302 Found", "/2"))
        .at("/loop", |_| Reply::redirect("302 Found", "/pool"))
        .at("/pool", |_| Reply::redirect("302 Found", "/loop"))
}

fn elsewhere(target: &str) -> Origin {
    let target = target.to_owned();
    Origin::new().at("/away.bin", move |_| Reply::redirect("307 Temporary Redirect", &target))
}

#[test]
fn h26_every_kind_of_redirect_is_followed_with_the_range() {
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let origin = Origin::new()
            .file("/dir/f.bin", file())
            .at("/dir/old.bin", move |_| Reply::redirect(status, "f.bin"))
            .start();
        let run = Run::new(&origin.url("/dir/old.bin")).args(["-b", "64k"]);
        run.finish().assert_gives("old.bin", &file());
        let log = origin.log();
        assert_eq!(log[0].range, log[1].range);
        assert!(log[1].range.is_some(), "{log:?}");
    }
}

#[test]
fn the_name_is_the_one_that_was_typed() {
    let origin = hops().at("/my%20name.bin", |_| Reply::redirect("302 Found", "/f.bin")).start();
    Run::new(&origin.url("/my%20name.bin?x=/y")).finish().assert_fails(5, &["404"]);
    Run::new(&origin.url("/my%20name.bin")).finish().assert_gives("my name.bin", &file());
}

#[test]
fn a_location_may_be_relative() {
    for location in ["f.bin", "./f.bin", "../dir/f.bin", "/dir/f.bin", "f.bin#part"] {
        let origin = Origin::new()
            .file("/dir/f.bin", file())
            .at("/dir/old.bin", move |_| Reply::redirect("302 Found", location))
            .start();
        Run::new(&origin.url("/dir/old.bin")).finish().assert_gives("old.bin", &file());
    }
}

#[test]
fn h25_the_number_of_redirects_is_bounded() {
    let origin = hops().start();
    let run = |max: &str| Run::new(&origin.url("/3")).args(["--max-redirs", max]).finish();
    run("3").assert_gives("3", &file());
    run("2").assert_fails(5, &["redirect"]);
    run("0").assert_fails(5, &["redirect"]);
}

#[test]
fn h25_a_redirect_loop_ends() {
    let origin = hops().start();
    Run::new(&origin.url("/loop")).finish().assert_fails(5, &["redirect"]);
    assert!(origin.log().len() <= 30, "{} requests", origin.log().len());
}

#[test]
fn h25_a_redirect_to_nowhere_is_refused() {
    for (location, codes) in [
        ("ftp://127.0.0.1/f", [5, 2, 6]),
        ("file:///etc/passwd", [5, 2, 6]),
        ("http://", [5, 2, 6]),
        ("http://[::1", [5, 2, 6]),
        ("http://name.invalid/", [3, 3, 3]),
    ] {
        let origin = elsewhere(location).start();
        let outcome = Run::new(&origin.url("/away.bin")).args(["--retries", "0"]).finish();
        assert!(codes.contains(&outcome.code.unwrap()), "{location}: {}", outcome.stderr);
    }
    let origin = Origin::new().at("/f.bin", |_| Reply::status("302 Found")).start();
    Run::new(&origin.url("/f.bin")).args(["--retries", "0"]).finish().assert_fails(6, &[]);
}

/// Headers that carry secrets.
const SECRETS: [&str; 3] = ["authorization", "cookie", "x-token"];

fn with_secrets(origin: &Running, path: &str) -> Run {
    let run = Run::new(&origin.url(path)).args(["-u", "user:secret", "-b", "64k", "-c", "4"]);
    run.args(["-H", "Cookie: a=b", "-H", "X-Token: secret"])
}

#[test]
fn h26_secrets_go_with_every_request_to_the_same_origin() {
    let origin = hops().start();
    with_secrets(&origin, "/2").finish().assert_gives("2", &file());
    assert!(origin.log().len() > 3);
    for request in origin.log() {
        for name in SECRETS {
            assert!(request.header(name).is_some(), "{name} is missing: {request:?}");
        }
        assert_eq!(request.header("authorization"), Some("Basic dXNlcjpzZWNyZXQ="));
    }
}

#[test]
fn h26_secrets_do_not_go_to_another_origin() {
    let other = Origin::new().file("/f.bin", file()).start();
    let origin = elsewhere(&other.url("/f.bin")).start();
    with_secrets(&origin, "/away.bin").finish().assert_gives("away.bin", &file());
    assert!(origin.log().iter().all(|request| request.header("authorization").is_some()));
    for request in other.log() {
        for name in SECRETS {
            assert_eq!(request.header(name), None, "{request:?}");
        }
    }
}

#[test]
fn h26_a_bearer_token_does_not_go_to_another_origin() {
    let other = Origin::new().file("/f.bin", file()).start();
    let origin = elsewhere(&other.url("/f.bin")).start();
    let run = Run::new(&origin.url("/away.bin")).put("token", b"s3cret\n");
    let outcome = run.args(["--bearer-file", "token"]).finish();
    outcome.assert_gives("away.bin", &file());
    assert_eq!(origin.log()[0].header("authorization"), Some("Bearer s3cret"));
    assert!(other.log().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn h27_https_is_never_left_for_http() {
    let other = Origin::new().file("/f.bin", file()).start();
    let origin = elsewhere(&other.url("/f.bin")).tls(Certificate::valid_for("localhost")).start();
    Run::new(&origin.url("/away.bin")).arg("-k").finish().assert_fails(5, &["http"]);
    assert_eq!(other.log().len(), 0);
}

#[test]
fn h27_http_may_lead_to_https() {
    let other = Origin::new().tls(Certificate::valid_for("localhost")).file("/f.bin", file());
    let other = other.start();
    let origin = elsewhere(&other.url("/f.bin")).start();
    Run::new(&origin.url("/away.bin")).arg("-k").finish().assert_gives("away.bin", &file());
}

#[test]
fn h27_https_only_refuses_http_at_the_start_and_on_the_way() {
    let plain = Origin::new().file("/f.bin", file()).start();
    let outcome = Run::new(&plain.url("/f.bin")).arg("--https-only").finish();
    assert!([Some(2), Some(5)].contains(&outcome.code), "{}", outcome.stderr);
    assert_eq!(plain.log().len(), 0);
    let origin = elsewhere(&plain.url("/f.bin")).tls(Certificate::valid_for("localhost")).start();
    let run = Run::new(&origin.url("/away.bin")).args(["-k", "--https-only"]);
    run.finish().assert_fails(5, &[]);
    assert_eq!(plain.log().len(), 0);
}

#[test]
fn h25_later_ranges_do_not_walk_the_whole_chain_in_vain() {
    let origin = hops().start();
    let run = Run::new(&origin.url("/3")).args(["-b", "64k", "-c", "4"]);
    run.finish().assert_gives("3", &file());
    let walked = origin.log().iter().filter(|request| request.path != "/f.bin").count();
    assert!(walked <= 3 * 4, "{walked} redirects for one file");
}

/// Fetches `/f.bin` of an origin whose redirects end nowhere; it must fail, soon.
fn assert_refused(origin: &Running, name: &str) {
    for io in backends() {
        for connections in ["1", "8"] {
            let before = origin.log().len();
            let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-c", connections]);
            let outcome = run.args(["--retries", "1"]).finish();
            let asked = origin.log().len() - before;
            let log = origin.log_lines();
            assert_eq!(outcome.code, Some(5), "{name}: {}\n{log}", outcome.stderr);
            assert!(asked <= 30, "{name}: {asked} requests\n{log}");
        }
    }
}

#[test]
fn h25_redirects_without_end_are_refused_soon() {
    let itself = |location: &'static str| {
        Origin::new().at("/f.bin", move |_| Reply::redirect("302 Found", location))
    };
    let growing = (0..60).fold(Origin::new(), |origin, n| {
        let from = if n == 0 { "/f.bin".to_owned() } else { format!("/f.bin?{n}") };
        origin.at(&from, move |_| Reply::redirect("302 Found", &format!("/f.bin?{}", n + 1)))
    });
    // Each head is within its bound, all of them together are not.
    let heavy = (0..20).fold(Origin::new(), |origin, n| {
        let from = if n == 0 { "/f.bin".to_owned() } else { format!("/{n}") };
        origin.at(&from, move |_| {
            let bomb = format!("X-Bomb: {}", "b".repeat(50_000));
            Reply::redirect("302 Found", &format!("/{}", n + 1)).line(bomb)
        })
    });
    let rows = [
        ("to itself", itself("/f.bin")),
        ("to itself with a fragment", itself("/f.bin#again")),
        ("to itself by another way", itself("/x/../f.bin")),
        ("to itself by an empty reference", itself("?")),
        ("to ever new places", growing),
        ("with heavy heads", heavy),
    ];
    for (name, origin) in rows {
        assert_refused(&origin.start(), name);
    }
}

#[test]
fn h25_a_redirect_that_comes_late_is_followed() {
    // The file moves on the way; the tag says that it is the same.
    for io in backends() {
        for connections in ["1", "8"] {
            let origin = Origin::new()
                .file("/new.bin", file())
                .bent("/f.bin", file(), |request, reply| match request.nth {
                    0 => reply.cut(200_000, Cut::Close),
                    _ => Reply::redirect("301 Moved Permanently", "/new.bin"),
                })
                .start();
            let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-c", connections]);
            run.args(["-b", "64k"]).finish().assert_gives("f.bin", &file());
        }
    }
}

#[test]
fn h26_the_condition_of_one_copy_is_not_taken_for_the_other() {
    // The typed address sends each request to another copy, and the copies are two versions.
    for io in backends() {
        for connections in ["1", "8"] {
            let origin = Origin::new()
                .bent("/a.bin", file(), |request, reply| match request.nth {
                    0 => reply.cut(200_000, Cut::Close),
                    _ => reply,
                })
                .file("/b.bin", file().version(2))
                .at("/f.bin", |request| match request.nth % 2 {
                    0 => Reply::redirect("302 Found", "/a.bin"),
                    _ => Reply::redirect("302 Found", "/b.bin"),
                })
                .start();
            let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-c", connections]);
            run.args(["-b", "64k"]).finish().assert_gives("f.bin", &file());
        }
    }
}

#[test]
fn h26_a_password_in_a_location_is_not_sent() {
    let other = Origin::new().file("/f.bin", file()).start();
    let origin = elsewhere(&other.url("/f.bin").replace("http://", "http://u:p@")).start();
    Run::new(&origin.url("/away.bin")).finish().assert_gives("away.bin", &file());
    assert!(other.log().iter().all(|request| request.header("authorization").is_none()));
}
