//! Digests that the user gives: right ones pass, wrong ones leave nothing under the target name.

use std::time::Duration;

use sha2::Digest;

use crate::ends::Fault;
use crate::harness::Run;
use crate::origin::{Cut, File, Origin, Reply, Request};
use crate::ways::backends;

const FORTY_BLOCKS: u64 = 40 * (64 << 10) + 17;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every digest of `bytes`, as `--checksum` takes it.
fn digests(bytes: &[u8]) -> [String; 5] {
    [
        format!("sha256={}", hex(&sha2::Sha256::digest(bytes))),
        format!("sha512:{}", hex(&sha2::Sha512::digest(bytes))),
        format!("blake3={}", blake3::hash(bytes)),
        format!("sha1={}", hex(&sha1::Sha1::digest(bytes))),
        format!("md5={}", hex(&md5::Md5::digest(bytes)).to_uppercase()),
    ]
}

#[test]
fn right_digests_pass() {
    for size in [0, 1, 65_536, (3 << 20) + 17] {
        let file = File::new(size);
        let origin = Origin::new().file("/f.bin", file).start();
        for digest in digests(&file.whole()) {
            for connections in ["1", "8"] {
                let run = Run::new(&origin.url("/f.bin")).args(["-c", connections, "-b", "64k"]);
                let outcome = run.args(["--json", "--checksum", &digest]).finish();
                outcome.assert_gives("f.bin", &file);
                let told = outcome.event("done").to_string().to_lowercase();
                assert!(told.contains(&digest[7..].to_lowercase()), "{told}");
            }
        }
    }
}

#[test]
fn wrong_digests_leave_nothing() {
    let file = File::new((3 << 20) + 17);
    for digest in digests(b"something else") {
        let fault = Fault::of(file, |_, reply| reply).args(&["--checksum", &digest]);
        fault.for_good().ends(&[8]);
    }
}

#[test]
fn a_digest_is_checked_after_retries_and_changes_too() {
    let new = File::new(3 << 20).version(2);
    let [digest, ..] = digests(&new.whole());
    Fault::of(new, move |request, reply| match request.nth {
        0 => Reply::honest(&new.version(1), request).cut(200_000, Cut::Close),
        1 | 2 => reply.cut(10_000, Cut::Reset),
        _ => reply,
    })
    .args(&["--checksum", &digest])
    .is_survived();
}

#[test]
fn a_wrong_digest_says_both() {
    let file = File::new(1000);
    let origin = Origin::new().file("/f.bin", file).start();
    let [right, ..] = digests(&file.whole());
    let [wrong, ..] = digests(b"something else");
    let outcome = Run::new(&origin.url("/f.bin")).args(["--checksum", &wrong]).finish();
    outcome.assert_fails(8, &[&right[7..], &wrong[7..]]);
}

/// A server that is prompt may still be late on a busy machine: then the other way is taken, and as well.
#[test]
fn blocks_are_hashed_in_their_turn_where_it_costs_no_gap() {
    const IN_TURN: &str = "each in its turn";
    let file = File::new(FORTY_BLOCKS);
    let [digest, ..] = digests(&file.whole());
    for io in backends() {
        for write in ["direct", "buffered", "mmap"] {
            for (connections, is_slow) in [("1", true), ("8", true), ("8", false)] {
                let script = move |_: &Request, reply: Reply| match is_slow {
                    true => reply.dribble_head(100, Duration::from_millis(5)),
                    false => reply,
                };
                let origin = Origin::new().bent("/f.bin", file, script).start();
                let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "--write", write]);
                let run = run.args(["-c", connections, "-b", "64k", "-vv"]);
                let outcome = run.args(["--checksum", &digest]).finish_talking();
                outcome.assert_gives("f.bin", &file);
                let in_turn = outcome.stderr.contains(IN_TURN);
                match (connections, write) {
                    (_, "mmap") => assert!(!in_turn, "windows are kept for late blocks"),
                    ("1", _) => assert!(in_turn, "{}", outcome.stderr),
                    _ => assert!(!(in_turn && is_slow), "short leases from afar"),
                }
            }
        }
    }
}

/// Blocks behind the one that breaks are in the file, and wait for a turn that does not come in this run.
#[test]
fn what_waits_for_its_turn_when_all_breaks_is_not_fetched_again() {
    let file = File::new(FORTY_BLOCKS);
    let [digest, ..] = digests(&file.whole());
    for io in backends() {
        for write in ["direct", "buffered"] {
            let broken = |request: &Request, reply: Reply| match request.nth {
                0 => reply.cut(3 * (64 << 10) + 5, Cut::Close),
                _ => reply,
            };
            let origin = Origin::new().bent("/f.bin", file, broken).start();
            let asked = |run: Run| {
                let run = run.args(["--io", io, "--write", write, "-b", "64k", "-c", "1"]);
                run.args(["--retries", "0", "--checksum", &digest])
            };
            let first = asked(Run::new(&origin.url("/f.bin"))).finish();
            first.assert_fails(3, &[]);
            let second = asked(first.again(&origin.url("/f.bin"))).arg("--json").finish();
            second.assert_gives("f.bin", &file);
            assert_eq!(second.event("done")["resumed_bytes"], 3 * (64 << 10));
        }
    }
}

#[test]
fn a_disk_that_fails_ends_a_run_whose_blocks_wait_for_their_turn() {
    let file = File::new(FORTY_BLOCKS);
    let [digest, ..] = digests(&file.whole());
    let origin = Origin::new().file("/f.bin", file).start();
    for io in backends() {
        for write in ["direct", "buffered"] {
            for nth in [1, 5, 30] {
                let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "--write", write]);
                let run = run.env("RINGPULL_FAULT", &format!("write:{nth}:EIO"));
                let run = run.args(["-b", "64k", "-c", "8", "--checksum", &digest]);
                run.finish().assert_fails(7, &["write", "f.bin"]);
            }
        }
    }
}

#[test]
fn every_sink_is_checked() {
    let file = File::new(3 << 20);
    let origin = Origin::new().file("/f.bin", file).start();
    let [wrong, ..] = digests(b"something else");
    for io in backends() {
        for write in ["direct", "buffered", "mmap"] {
            let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "--write", write]);
            run.args(["--checksum", &wrong]).finish().assert_fails(8, &[]);
        }
        let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-o", "-"]);
        run.args(["--checksum", &wrong]).finish().assert_fails(8, &[]);
    }
}
