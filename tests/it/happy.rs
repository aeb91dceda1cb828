//! Servers that do everything right: every size, every way, the right bytes.

use crate::harness::{Outcome, Run};
use crate::origin::{Certificate, File, Origin, Reply, Running, Validator};
use crate::ways::{Way, backends, every_way};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Sizes around the edges of sectors, pages and blocks.
const SMALL: [u64; 8] = [0, 1, 4095, 4096, 4097, MIB - 1, MIB, MIB + 1];

/// An origin with a file per size, named after it.
fn shelf(sizes: &[u64]) -> Origin {
    sizes.iter().fold(Origin::new(), |origin, &size| origin.file(&path(size), sized(size)))
}

fn sized(size: u64) -> File {
    File::new(size).seed(size)
}

fn path(size: u64) -> String {
    format!("/{}", name(size))
}

fn name(size: u64) -> String {
    format!("{size}.bin")
}

/// HEAD is never needed: it lies too often.
fn assert_only_get(origin: &Running) {
    assert!(origin.log().iter().all(|request| request.method == "GET"), "{:?}", origin.log());
}

#[test]
fn every_way_fetches_small_files_whole() {
    let origin = shelf(&SMALL).start();
    every_way(|way| {
        for size in SMALL {
            let run = Run::new(&origin.url(&path(size))).args(["--no-sync", "--block-size", "64k"]);
            way.assert_gives(&way.take(run).finish(), &name(size), &sized(size));
        }
    });
    assert_only_get(&origin);
}

#[test]
fn every_way_fetches_many_blocks() {
    let size = 8 * MIB + 12_345;
    let origin = shelf(&[size]).start();
    every_way(|way| {
        for block in ["64k", "1M"] {
            let run = Run::new(&origin.url(&path(size))).args(["--block-size", block]);
            way.assert_gives(&way.take(run).finish(), &name(size), &sized(size));
        }
    });
    assert_only_get(&origin);
}

#[test]
fn every_way_fetches_a_large_file() {
    let size = 64 * MIB + 17;
    let origin = shelf(&[size]).start();
    every_way(|way| {
        let run = Run::new(&origin.url(&path(size)));
        way.assert_gives(&way.take(run).finish(), &name(size), &sized(size));
    });
    assert_only_get(&origin);
}

#[test]
fn every_way_fetches_over_tls() {
    let sizes = [0, 1, 4097, 8 * MIB + 12_345];
    let origin = shelf(&sizes).tls(Certificate::valid_for("localhost")).start();
    every_way(|way| {
        for size in sizes {
            let run = Run::new(&origin.url(&path(size))).args(["--block-size", "64k"]);
            let run =
                run.put("ca.pem", origin.certificate.as_ref().unwrap().authority_pem.as_bytes());
            let outcome = way.take(run.args(["--cacert", "ca.pem"])).finish();
            way.assert_gives(&outcome, &name(size), &sized(size));
        }
    });
    assert_only_get(&origin);
}

#[test]
fn every_way_fetches_a_body_of_unknown_length() {
    let file = File::new(3 * MIB + 5).validator(Validator::None);
    let origin = Origin::new()
        .at("/chunked.bin", move |request| {
            Reply::honest(&file, &request.without("range")).chunked(&[1, 4096, 70_000, 13])
        })
        .at("/closed.bin", move |request| {
            Reply::honest(&file, &request.without("range")).until_close()
        })
        .start();
    every_way(|way| {
        for name in ["chunked.bin", "closed.bin"] {
            let run = Run::new(&origin.url(&format!("/{name}"))).args(["--block-size", "64k"]);
            assert_gives_unsized(way, &way.take(run).finish(), name, &file);
        }
    });
}

/// A file of unknown size cannot be mapped; every other way works.
fn assert_gives_unsized(way: Way, outcome: &Outcome, name: &str, file: &File) {
    match way.write {
        "mmap" => outcome.assert_fails(2, &["--write"]),
        _ => way.assert_gives(outcome, name, file),
    }
}

#[test]
fn every_way_fetches_an_empty_body_of_unknown_length() {
    let file = File::new(0);
    let origin = Origin::new()
        .at("/chunked.bin", move |_| Reply::whole(&file).chunked(&[1]))
        .at("/closed.bin", move |_| Reply::whole(&file).until_close())
        .start();
    every_way(|way| {
        for name in ["chunked.bin", "closed.bin"] {
            let outcome = way.take(Run::new(&origin.url(&format!("/{name}")))).finish();
            assert_gives_unsized(way, &outcome, name, &file);
        }
    });
}

#[test]
fn an_empty_file_may_be_unsatisfiable() {
    let file = File::new(0);
    let origin =
        Origin::new().file("/416.bin", file).at("/200.bin", move |_| Reply::whole(&file)).start();
    every_way(|way| {
        for name in ["416.bin", "200.bin"] {
            let outcome = way.take(Run::new(&origin.url(&format!("/{name}")))).finish();
            way.assert_gives(&outcome, name, &file);
        }
    });
}

#[test]
fn many_connections_are_used_for_a_large_file() {
    let file = File::new(32 * MIB);
    for io in backends() {
        let origin = Origin::new().file("/f.bin", file).start();
        let run =
            Run::new(&origin.url("/f.bin")).args(["-c", "8", "-b", "256k", "--io", io, "--json"]);
        let outcome = run.finish();
        outcome.assert_gives("f.bin", &file);
        assert!(origin.connections() > 1, "{:?}", origin.log());
        assert!(origin.connections() <= 8, "{:?}", origin.log());
        assert_eq!(outcome.event("done")["fetched_bytes"], file.size);
        assert_eq!(origin.served_bytes(), file.size);
    }
}

#[test]
fn a_file_smaller_than_a_block_needs_one_request() {
    let file = File::new(100 * KIB);
    let origin = Origin::new().file("/f.bin", file).start();
    Run::new(&origin.url("/f.bin")).args(["-c", "16"]).finish().assert_gives("f.bin", &file);
    assert_eq!(origin.log().len(), 1, "{:?}", origin.log());
}

#[test]
fn every_request_after_the_first_names_the_version_it_wants() {
    let file = File::new(16 * MIB);
    let origin = Origin::new().file("/f.bin", file).start();
    let run = Run::new(&origin.url("/f.bin")).args(["-c", "4", "-b", "256k"]);
    run.finish().assert_gives("f.bin", &file);
    for request in origin.log().iter().skip(1) {
        let names = ["if-range", "if-match"].map(|name| request.header(name).map(str::to_owned));
        assert!(names.contains(&Some(file.etag())), "{request:?}");
    }
}

#[test]
fn the_file_takes_its_mode_from_umask_and_its_time_from_the_server() {
    use std::os::unix::fs::PermissionsExt;
    let file = File::new(5000);
    let origin = Origin::new().file("/f.bin", file).start();
    let outcome = Run::new(&origin.url("/f.bin")).finish();
    outcome.assert_gives("f.bin", &file);
    let found = std::fs::metadata(outcome.path("f.bin")).unwrap();
    assert_eq!(found.modified().unwrap(), file.modified());
    let plain = outcome.path("plain");
    std::fs::File::create(&plain).unwrap();
    let wanted = std::fs::metadata(plain).unwrap().permissions().mode();
    assert_eq!(found.permissions().mode(), wanted);
}

#[test]
fn threads_rate_and_address_family_do_not_change_the_bytes() {
    let file = File::new(2 * MIB);
    let origin = Origin::new().file("/f.bin", file).start();
    for args in [["-t", "1"], ["-t", "3"], ["--limit-rate", "16M"], ["--limit-rate", "1G"]] {
        let run = Run::new(&origin.url("/f.bin")).args(args).args(["-c", "8", "-b", "64k"]);
        run.finish().assert_gives("f.bin", &file);
    }
    Run::new(&origin.url("/f.bin")).arg("-4").finish().assert_gives("f.bin", &file);
    let outcome = Run::new(&origin.url("/f.bin")).args(["-6", "--retries", "0"]).finish();
    assert!([Some(2), Some(3)].contains(&outcome.code), "{}", outcome.stderr);
}
