//! Who is asked, and what stands at the target already.

use std::fs;
use std::time::SystemTime;

use crate::ends::SIZE;
use crate::harness::{Outcome, Run};
use crate::origin::{Cut, File, Latch, Origin, Reply, Request, Running};
use crate::regress::digest_of;
use crate::ways::backends;

/// Gives the file another name than its URL.
fn naming(file: File) -> Running {
    let name = "attachment; filename=\"named.bin\"";
    Origin::new()
        .bent("/f.bin", file, move |_, reply| reply.set("Content-Disposition", name))
        .start()
}

/// Fetches where `named.bin` has these bytes and this date already.
fn fetch_beside(file: &File, bytes: &[u8], date: SystemTime) -> Outcome {
    let origin = naming(*file);
    let run = Run::new(&origin.url("/f.bin")).put("named.bin", bytes);
    let there = fs::File::options().write(true).open(run.path("named.bin")).unwrap();
    there.set_modified(date).unwrap();
    let run = run.args(["--json", "--content-disposition", "-d", "."]);
    run.args(["--checksum", &digest_of(file)]).finish()
}

#[test]
fn a_file_that_the_server_names_is_judged_by_its_digest() {
    let file = File::new(SIZE);
    let outcome = fetch_beside(&file, &file.version(2).whole(), file.modified());
    outcome.assert_fails(7, &["named.bin", "--overwrite"]);
    for date in [file.modified(), file.version(9).modified()] {
        let outcome = fetch_beside(&file, &file.whole(), date);
        outcome.assert_leaves_nothing();
        assert_eq!(outcome.event("done")["up_to_date"], true);
    }
}

/// An address that cannot be trusted, asked by three of nine lanes, and two good ones. No answer but the
/// first comes before all three have asked, so that all of them find it dead.
fn one_of_three(file: File) -> (Running, [Running; 2]) {
    let all_ask = Latch::default();
    let opener = all_ask.clone();
    let is_first = |request: &Request| request.range.as_ref().is_some_and(|range| range.start == 0);
    let dead = Origin::new().at("/f.bin", move |request| {
        // Whoever asks first may do so here; then it is dead before the others ask.
        if request.nth == 2 || is_first(request) {
            opener.open();
        }
        Reply::status("200 OK").set("Content-Encoding", "gzip").after(&opener)
    });
    let living = || {
        let all_ask = all_ask.clone();
        let script = move |request: &Request, reply: Reply| match is_first(request) {
            true => reply,
            false => reply.after(&all_ask),
        };
        Origin::new().bent("/f.bin", file, script).start()
    };
    (dead.start(), [living(), living()])
}

#[test]
fn a_dead_address_is_given_up_once() {
    let file = File::new(8 << 20);
    for io in backends() {
        let (dead, living) = one_of_three(file);
        let run = Run::new(&living[0].url("/f.bin")).args(["--io", io, "-b", "64k"]);
        let run = run.args(["-c", "9", "--retries", "0", "--checksum", &digest_of(&file)]);
        let run = run.args(["--alternate", &dead.url("/f.bin")]);
        let outcome = run.args(["--alternate", &living[1].url("/f.bin")]).finish();
        outcome.assert_gives("f.bin", &file);
        let given_up = outcome.stderr.matches("giving up one address").count();
        assert_eq!(given_up, 1, "{}", outcome.stderr);
    }
}

#[test]
fn a_balancer_may_change_its_mind() {
    let file = File::new(SIZE);
    let found = |path: &'static str| move || Reply::redirect("302 Found", path);
    let (to_a, to_b, to_lb) = (found("/lbA"), found("/lbB"), found("/lb"));
    for io in backends() {
        for connections in ["1", "4"] {
            let origin = Origin::new()
                .at("/lb", move |request| if request.nth == 0 { to_a() } else { to_b() })
                .bent("/lbA", file, move |request, reply| match request.nth {
                    0 => reply.cut(200_000, Cut::Close),
                    _ => to_lb(),
                })
                .file("/lbB", file)
                .start();
            let run = Run::new(&origin.url("/lb")).args(["--io", io, "-b", "64k"]);
            run.args(["-c", connections]).finish().assert_gives("lb", &file);
        }
    }
}

#[test]
fn a_server_that_was_never_reached_is_not_asked_for_long() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let outcome = Run::new(&format!("http://{nobody}/f.bin")).arg("--json").finish();
    outcome.assert_code(3);
    let retries = outcome.events().iter().filter(|event| event["event"] == "retry").count();
    assert_eq!(retries, 2);
}
