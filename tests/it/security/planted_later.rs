//! What somebody puts where we write while we are at it.

use std::fs;
use std::path::{Path, PathBuf};

use super::beside;
use super::planted::{KINDS, Kind, Victims, file, judge};
use crate::harness::Run;
use crate::origin::{Latch, Origin, assert_file_is};

/// Plants while the download is held after its first answer, and lets it end.
fn plant_during(args: &[&str], place: impl Fn(&Path) -> PathBuf) {
    for kind in KINDS {
        let latch = Latch::default();
        let shut = latch.clone();
        let origin = Origin::new()
            .bent("/f.bin", file(), move |request, reply| match request.nth {
                0 => reply,
                _ => reply.after(&shut),
            })
            .start();
        let run = Run::new(&origin.url("/f.bin")).args(args);
        let run = run.args(["-b", "64k", "-c", "4", "--retries", "0"]);
        let victims = Victims::beside(&run);
        let started = run.start();
        origin.wait_for_requests(2);
        let place = place(&started.path("f.bin"));
        let moved = place.with_extension("moved");
        fs::rename(&place, &moved).unwrap();
        let planted = victims.plant(kind, &place);
        latch.open();
        let outcome = started.end();
        judge(&outcome, &victims, &format!("{kind:?} at {}", place.display()));
        if planted {
            outcome.assert_code(7);
            assert!(!outcome.path("f.bin").exists(), "{kind:?}");
            assert!(place.symlink_metadata().is_ok(), "{kind:?}: what is not ours was removed");
        }
    }
}

#[test]
fn a_part_that_is_replaced_is_neither_published_nor_removed() {
    plant_during(&[], |target| beside(target, "part"));
    plant_during(&["--overwrite"], |target| beside(target, "part"));
}

#[test]
fn a_ledger_that_is_replaced_hurts_nobody() {
    for kind in [Kind::LinkToFile, Kind::HardLink, Kind::Fifo, Kind::FullDirectory] {
        let latch = Latch::default();
        let shut = latch.clone();
        let origin = Origin::new()
            .bent("/f.bin", file(), move |request, reply| match request.nth {
                0 => reply,
                _ => reply.after(&shut),
            })
            .start();
        let run = Run::new(&origin.url("/f.bin"));
        let run = run.args(["-b", "64k", "-c", "4", "--retries", "0"]);
        let victims = Victims::beside(&run);
        let started = run.start();
        origin.wait_for_requests(2);
        let place = beside(&started.path("f.bin"), "ledger");
        let _ = fs::remove_file(&place);
        assert!(victims.plant(kind, &place));
        latch.open();
        judge(&started.end(), &victims, &format!("{kind:?}"));
    }
}

#[test]
fn a_target_that_appears_is_never_written_through() {
    for (overwrite, kind) in
        [false, true].into_iter().flat_map(|overwrite| KINDS.map(|kind| (overwrite, kind)))
    {
        let latch = Latch::default();
        let shut = latch.clone();
        let origin =
            Origin::new().bent("/f.bin", file(), move |_, reply| reply.after(&shut)).start();
        let mut run = Run::new(&origin.url("/f.bin")).args(["--retries", "0"]);
        if overwrite {
            run = run.arg("--overwrite");
        }
        let victims = Victims::beside(&run);
        let started = run.start();
        origin.wait_for_requests(1);
        let target = started.path("f.bin");
        let planted = victims.plant(kind, &target);
        latch.open();
        let outcome = started.end();
        judge(&outcome, &victims, &format!("{kind:?}"));
        if planted && !overwrite {
            outcome.assert_code(7);
            assert!(target.symlink_metadata().is_ok());
        }
        if outcome.code == Some(0) {
            assert_file_is(&target, &file());
        }
    }
}
