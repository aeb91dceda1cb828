//! Faults that were found once and must not come back; each test fails where its fault is put back.
//!
//! The tests are sorted by what went wrong: which version the bytes are of, how many there are, which clock
//! runs, who is asked, what comes out in order, and how it all ends.

mod addresses;
mod clocks;
mod ending;
mod lengths;
mod order;
mod versions;

use crate::harness::{Outcome, Run};
use crate::origin::{File, Running};

/// Fetches `/f.bin` to standard output in small blocks.
fn streamed(origin: &Running, args: &[&str]) -> Outcome {
    let run = Run::new(&origin.url("/f.bin")).args(["-o", "-", "-b", "64k"]);
    run.args(["--retries", "4"]).args(args).finish()
}

/// One of `codes`; what came out is the whole of one of `files` with 0, and otherwise the start of one.
fn assert_stream(outcome: &Outcome, codes: &[i32], files: &[File]) {
    let code = outcome.code.unwrap();
    assert!(codes.contains(&code), "exit code {code}: {}", outcome.stderr);
    let out = &outcome.stdout[..];
    let fits = files.iter().any(|file| {
        let length = out.len() as u64;
        let complete = length == file.size || code != 0;
        complete && length <= file.size && file.expected(0..length) == out
    });
    assert!(fits, "exit code {code} with {} bytes of no version: {}", out.len(), outcome.stderr);
}

/// The `--checksum` that `file` has.
fn digest_of(file: &File) -> String {
    format!("blake3={}", blake3::hash(&file.whole()))
}
