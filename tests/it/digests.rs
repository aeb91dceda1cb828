//! Digests that the user gives: right ones pass, wrong ones leave nothing under the target name.

use sha2::Digest;

use crate::ends::Fault;
use crate::harness::Run;
use crate::origin::{Cut, File, Origin, Reply};
use crate::ways::backends;

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
