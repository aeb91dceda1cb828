//! Somebody changes the files while a run is at work: nothing wrong gets the name.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use super::SIZE;
use crate::harness::{Outcome, Run};
use crate::origin::{File, Latch, Origin, assert_file_is};

/// Runs until something has landed, meddles, and lets the run go on.
fn meddled(meddle: impl Fn(&Path, &Path)) -> Outcome {
    let (latch, file) = (Latch::default(), File::new(SIZE));
    let held = latch.clone();
    let origin = Origin::new()
        .bent("/f.bin", file, move |request, reply| match &request.range {
            // The first request brings a part; the next ones wait.
            Some(range) if range.start > 0 => reply.after(&held),
            _ => reply,
        })
        .start();
    let args = ["-b", "64k", "-c", "2"];
    let run = Run::new(&origin.url("/f.bin")).args(args).env("RINGPULL_LINE_BYTES", "65536");
    let started = run.start();
    let ledger = started.wait_for_file(".ledger", "written");
    meddle(&ledger.with_extension("part"), &ledger);
    latch.open();
    let outcome = started.end_or_die();
    if outcome.path("f.bin").exists() {
        assert_file_is(&outcome.path("f.bin"), &file);
    } else {
        // Whatever was done, the same command ends well in the end.
        let next = outcome.again(&origin.url("/f.bin")).args(args).finish();
        next.assert_code(0);
        assert_file_is(&next.path("f.bin"), &file);
    }
    outcome
}

#[test]
fn a_part_file_that_is_removed_or_replaced_gets_no_name() {
    meddled(|part, _| fs::remove_file(part).unwrap()).assert_code(7);
    let outcome = meddled(|part, _| {
        let aside = part.with_extension("aside");
        fs::copy(part, &aside).unwrap();
        fs::rename(aside, part).unwrap();
    });
    outcome.assert_code(7);
}

#[test]
fn a_part_file_that_is_cut_off_gets_no_name() {
    let cut = |part: &Path, lengths: &[u64]| {
        let file = OpenOptions::new().write(true).open(part).unwrap();
        lengths.iter().for_each(|length| file.set_len(*length).unwrap());
    };
    meddled(|part, _| cut(part, &[1000, SIZE])).assert_code(7);
    // What lands behind the cut extends it again.
    meddled(|part, _| cut(part, &[1000])).assert_code(7);
}

#[test]
fn a_ledger_that_somebody_else_has_written_to_gives_no_name() {
    let append = |ledger: &Path, bytes: &[u8]| {
        OpenOptions::new().append(true).open(ledger).unwrap().write_all(bytes).unwrap();
    };
    meddled(|_, ledger| append(ledger, b"x")).assert_code(7);
    meddled(|_, ledger| {
        let json = format!(r#"{{"written":[[0,{SIZE}]]}}"#);
        let line = format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()));
        append(ledger, line.as_bytes());
    })
    .assert_code(7);
}

#[test]
fn a_ledger_that_is_removed_or_replaced_gives_no_name() {
    meddled(|_, ledger| fs::remove_file(ledger).unwrap()).assert_code(7);
    meddled(|_, ledger| {
        let aside = ledger.with_extension("aside");
        fs::copy(ledger, &aside).unwrap();
        fs::rename(aside, ledger).unwrap();
    })
    .assert_code(7);
}
