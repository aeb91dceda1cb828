//! The local side: names, existing files, directories. What the kernel refuses is in `refusals`.

use std::fs;

use crate::harness::Run;
use crate::origin::{Cut, File, Origin, Running};

fn file() -> File {
    File::new(300_000)
}

fn origin() -> Running {
    Origin::new().file("/f.bin", file()).start()
}

#[test]
fn output_and_dir_choose_the_place() {
    let origin = origin();
    let run = || Run::new(&origin.url("/f.bin"));
    run().args(["-o", "other.bin"]).finish().assert_gives("other.bin", &file());
    let deep = run();
    fs::create_dir(deep.path("deep")).unwrap();
    deep.args(["-d", "deep"]).finish().assert_gives("deep/f.bin", &file());
    let deep = run();
    fs::create_dir(deep.path("deep")).unwrap();
    deep.args(["-o", "deep/other.bin"]).finish().assert_gives("deep/other.bin", &file());
}

#[test]
fn a_missing_directory_is_said() {
    let origin = origin();
    for args in [["-o", "missing/f.bin"], ["-d", "missing"], ["-o", "f.txt/f.bin"], ["-d", "f.txt"]]
    {
        let run = Run::new(&origin.url("/f.bin")).put("f.txt", b"a file");
        run.args(args).finish().assert_fails(7, &[args[1].split('/').next().unwrap()]);
    }
}

#[test]
fn a_directory_that_takes_no_files_is_said() {
    let origin = origin();
    // Permissions do not stop root; /proc stops everyone.
    for args in [["-o", "/proc/f.bin"], ["-d", "/proc"]] {
        Run::new(&origin.url("/f.bin")).args(args).finish().assert_fails(7, &["/proc"]);
    }
}

#[test]
fn a_directory_is_no_target() {
    let origin = origin();
    for name in ["deep", "deep/", "."] {
        let run = Run::new(&origin.url("/f.bin"));
        fs::create_dir(run.path("deep")).unwrap();
        run.args(["-o", name]).finish().assert_fails(7, &["directory"]);
    }
}

#[test]
fn an_existing_file_is_kept() {
    let origin = origin();
    let run = Run::new(&origin.url("/f.bin")).put("f.bin", b"precious");
    let outcome = run.finish();
    outcome.assert_fails(7, &["--overwrite", "f.bin"]);
    assert_eq!(fs::read(outcome.path("f.bin")).unwrap(), b"precious");
}

#[test]
fn overwrite_replaces_it_only_when_all_is_well() {
    let origin = Origin::new()
        .file("/f.bin", file())
        .bent("/bad.bin", file(), |_, reply| reply.cut(1000, Cut::Close))
        .start();
    let run = |path| Run::new(&origin.url(path)).args(["--overwrite", "--retries", "0"]);
    run("/f.bin").put("f.bin", b"old").finish().assert_gives("f.bin", &file());
    let outcome = run("/bad.bin").put("bad.bin", b"old").finish();
    outcome.assert_fails(3, &[]);
    assert_eq!(fs::read(outcome.path("bad.bin")).unwrap(), b"old");
}

#[test]
fn a_symbolic_link_is_replaced_and_not_followed() {
    let origin = origin();
    let run = Run::new(&origin.url("/f.bin")).put("real", b"precious").arg("--overwrite");
    std::os::unix::fs::symlink("real", run.path("f.bin")).unwrap();
    let outcome = run.finish();
    outcome.assert_gives("f.bin", &file());
    assert_eq!(fs::read(outcome.path("real")).unwrap(), b"precious");
    let run = Run::new(&origin.url("/f.bin"));
    std::os::unix::fs::symlink("nowhere", run.path("f.bin")).unwrap();
    run.finish().assert_fails(7, &["--overwrite"]);
}

#[test]
fn a_file_that_is_up_to_date_is_not_fetched_again() {
    let origin = origin();
    let digest = format!("blake3={}", blake3::hash(&file().whole()));
    let there = |time| {
        let run = Run::new(&origin.url("/f.bin")).put("f.bin", &file().whole());
        let found = fs::File::open(run.path("f.bin")).unwrap();
        found.set_modified(time).unwrap();
        run
    };
    let outcome = there(file().modified()).finish();
    outcome.assert_gives("f.bin", &file());
    assert!(outcome.stderr.contains("up to date"), "{}", outcome.stderr);
    let served = origin.served_bytes();
    assert!(served <= 64 << 10, "{served} bytes fetched in vain");
    let old = std::time::UNIX_EPOCH;
    there(old).finish().assert_fails(7, &["--overwrite"]);
    there(old).args(["--checksum", &digest]).finish().assert_gives("f.bin", &file());
}

#[test]
fn a_wrong_size_is_never_up_to_date() {
    let origin = origin();
    let run = Run::new(&origin.url("/f.bin")).put("f.bin", &file().whole()[1..]);
    let found = fs::File::open(run.path("f.bin")).unwrap();
    found.set_modified(file().modified()).unwrap();
    run.finish().assert_fails(7, &["--overwrite"]);
}
