//! Other addresses of the same file.

use crate::harness::Run;
use crate::origin::{File, Origin, Reply};

fn file() -> File {
    File::new((8 << 20) + 3)
}

fn digest() -> String {
    format!("blake3={}", blake3::hash(&file().whole()))
}

#[test]
fn an_alternate_stands_in_for_an_address_that_fails() {
    let good = Origin::new().file("/other.bin", file()).start();
    for status in ["503 Service Unavailable", "404 Not Found"] {
        let bad = Origin::new().at("/f.bin", move |_| Reply::status(status)).start();
        let run = Run::new(&bad.url("/f.bin")).args(["--retries", "1", "--checksum", &digest()]);
        let run = run.args(["--alternate", &good.url("/other.bin")]);
        run.finish().assert_gives("f.bin", &file());
    }
}

#[test]
fn an_alternate_stands_in_for_an_address_that_dies_on_the_way() {
    let good = Origin::new().file("/f.bin", file()).start();
    let dying = Origin::new()
        .bent("/f.bin", file(), |request, reply| match request.nth {
            0 => reply,
            _ => Reply::hang_up(),
        })
        .start();
    let run = Run::new(&dying.url("/f.bin")).args(["--retries", "1", "--checksum", &digest()]);
    let run = run.args(["-b", "64k", "--alternate", &good.url("/f.bin")]);
    run.finish().assert_gives("f.bin", &file());
}

#[test]
fn an_alternate_with_other_bytes_fails_the_digest() {
    let wrong = Origin::new().file("/f.bin", file().version(2)).start();
    let bad = Origin::new().at("/f.bin", |_| Reply::status("503 Service Unavailable")).start();
    let run = Run::new(&bad.url("/f.bin")).args(["--retries", "1", "--checksum", &digest()]);
    let run = run.args(["--alternate", &wrong.url("/f.bin")]);
    run.finish().assert_fails(8, &[]);
}

#[test]
fn secrets_do_not_go_to_an_alternate_of_another_origin() {
    let good = Origin::new().file("/f.bin", file()).start();
    let bad = Origin::new().at("/f.bin", |_| Reply::status("503 Service Unavailable")).start();
    let run = Run::new(&bad.url("/f.bin")).args(["--retries", "1", "--checksum", &digest()]);
    let run = run.args(["-u", "user:secret", "--alternate", &good.url("/f.bin")]);
    run.finish().assert_gives("f.bin", &file());
    assert!(!good.log().is_empty());
    assert!(good.log().iter().all(|request| request.header("authorization").is_none()));
}
