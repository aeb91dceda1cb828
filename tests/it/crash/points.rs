//! Death at every place where one is worth a test: before, within and after every line of the ledger, and
//! around all that gives the file its name.

use super::Left;
use crate::harness::{Outcome, Run};
use crate::origin::{File, Origin};
use crate::ways::backends;

const FILE_SIZE: u64 = 8 * (64 << 10) + 17;

/// Places that no run comes by: a loop that gets there does not end.
const POINTS_MAX: u64 = 2000;

/// Runs to the end after a death at `point`, then anew with a death at the next one, until none is left.
/// Returns how often the program died.
fn at_every_point(args: &[&str]) -> u64 {
    let file = File::new(FILE_SIZE);
    for point in 1..POINTS_MAX {
        let origin = Origin::new().file("/s3cr3t/f.bin", file).start();
        let url = origin.url("/s3cr3t/f.bin");
        let asked = |run: Run| run.args(["-b", "64k"]).args(args);
        let point_text = point.to_string();
        let run = asked(Run::new(&url)).env("RINGPULL_CRASH_AT", &point_text);
        let outcome = often(run).start().end_or_die();
        if !outcome.was_killed() {
            outcome.assert_gives("f.bin", &file);
            return point - 1;
        }
        check(&outcome, &file);
        // It dies again in the run that goes on, and only then is left alone.
        let outcome = often(asked(outcome.again(&url)).env("RINGPULL_CRASH_AT", &point_text));
        let outcome = outcome.start().end_or_die();
        check(&outcome, &file);
        asked(outcome.again(&url)).finish().assert_gives("f.bin", &file);
    }
    panic!("no end after {POINTS_MAX} deaths")
}

/// A line for each block or two, and a sync for each few lines.
fn often(run: Run) -> Run {
    run.env("RINGPULL_LINE_BYTES", "100000").env("RINGPULL_SYNC_BYTES", "400000")
}

fn check(outcome: &Outcome, file: &File) {
    if outcome.path("f.bin").exists() {
        crate::origin::assert_file_is(&outcome.path("f.bin"), file);
    }
    if let Some(left) = Left::of(outcome) {
        left.check(file);
        left.check_secrets();
    }
}

#[test]
fn a_death_at_any_line_of_the_ledger_or_step_of_publishing_is_survived() {
    for (index, write) in ["direct", "buffered", "mmap"].into_iter().enumerate() {
        let all = backends();
        // What follows a line does not depend on the backend: all pairs only where time does not matter.
        let some = &all[index % all.len()..][..1];
        for io in if super::number("RINGPULL_CYCLES").is_some() { all } else { some } {
            let deaths = at_every_point(&["--io", io, "--write", write, "-c", "1"]);
            assert!(deaths > 20, "only {deaths} places on {io}, {write}");
        }
    }
}

#[test]
fn a_death_at_any_place_is_survived_by_several_lanes_and_without_syncs() {
    let digest = format!("blake3={}", blake3::hash(&File::new(FILE_SIZE).whole()));
    let deaths = at_every_point(&["-c", "4", "--checksum", &digest]);
    assert!(deaths > 15, "{deaths}");
    let deaths = at_every_point(&["-c", "1", "--no-sync", "--overwrite"]);
    assert!(deaths > 12, "{deaths}");
}
