//! Neighbours: somebody cuts the part file off, replaces or removes it, or runs the same command.

use std::fs;
use std::path::Path;

use super::{file, refuse};
use crate::harness::{Outcome, Run, Started};
use crate::origin::{Latch, Origin, Running, assert_file_is};
use crate::ways::backends;

/// Answers a little, and the rest when the latch is opened. Another path has all of it at once.
fn held() -> (Running, Latch) {
    let latch = Latch::default();
    let shut = latch.clone();
    let origin = Origin::new()
        .bent("/f.bin", file(), move |request, reply| match request.nth {
            0 => reply,
            _ => reply.after(&shut),
        })
        .file("/g.bin", file());
    (origin.start(), latch)
}

fn begin(run: Run, origin: &Running) -> Started {
    let started = run.args(["-b", "256k", "-c", "4", "--retries", "1"]).start();
    origin.wait_for_requests(2);
    started
}

/// Meddles with the part file while the download is held. The run fails and publishes nothing, and the next
/// one ends well.
fn meddle_with_part(writes: &[&str], meddle: impl Fn(&Path), judge: impl Fn(&Outcome, &str)) {
    for io in backends() {
        for write in writes {
            let (origin, latch) = held();
            let url = origin.url("/f.bin");
            let run = Run::new(&url).args(["--io", io, "--write", write]);
            let started = begin(run, &origin);
            // What lands only later does not suffer.
            started.wait_for_landed();
            meddle(&started.wait_for("part"));
            latch.open();
            let outcome = started.end_or_die();
            judge(&outcome, write);
            assert!(!outcome.path("f.bin").exists(), "{io} {write}: {}", outcome.stderr);
            let again = outcome.again(&url).args(["--io", io, "--write", write, "-b", "256k"]);
            again.finish().assert_gives("f.bin", &file());
        }
    }
}

/// The kernel refuses to receive into a mapping that has lost its file, and a store of ours would end the
/// process. Neither is a right end, neither gives the file its name, and the next run starts anew. That is
/// all that a mapping can promise, and why it is used only where `--write mmap` asks for it.
#[test]
fn f16_a_mapped_part_that_is_cut_off_ends_the_run_and_gets_no_name() {
    let cut = |part: &Path| fs::File::options().write(true).open(part).unwrap().set_len(0).unwrap();
    meddle_with_part(&["mmap"], cut, |outcome, _| {
        assert_ne!(outcome.code, Some(0), "{}", outcome.stderr);
    });
}

#[test]
fn f16_nothing_is_mapped_unless_it_is_asked_for() {
    for io in backends() {
        let (origin, latch) = held();
        let started = begin(Run::new(&origin.url("/f.bin")).args(["--io", io]), &origin);
        let part = started.wait_for("part");
        let maps = fs::read_to_string(started.look("maps")).unwrap();
        latch.open();
        started.finish().assert_gives("f.bin", &file());
        assert!(!maps.contains(part.to_str().unwrap()), "{maps}");
    }
}

#[test]
fn f17_a_part_that_is_cut_off_gets_no_name() {
    let cut = |part: &Path| fs::File::options().write(true).open(part).unwrap().set_len(5).unwrap();
    meddle_with_part(&["auto", "buffered"], cut, |outcome, write| {
        assert_eq!(outcome.code, Some(7), "{write}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("cut off"), "{}", outcome.stderr);
    });
}

#[test]
fn f17_a_part_that_is_removed_or_replaced_gets_no_name() {
    let judge = |outcome: &Outcome, write: &str| {
        assert_eq!(outcome.code, Some(7), "{write}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("removed or replaced"), "{}", outcome.stderr);
    };
    let all = ["auto", "buffered", "mmap"];
    meddle_with_part(&all, |part| fs::remove_file(part).unwrap(), judge);
    let replace = |part: &Path| {
        fs::rename(part, part.with_extension("moved")).unwrap();
        fs::write(part, file().whole()).unwrap();
    };
    for io in backends() {
        for write in all {
            let (origin, latch) = held();
            let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "--write", write]);
            let started = begin(run, &origin);
            let part = started.wait_for("part");
            replace(&part);
            latch.open();
            let outcome = started.end_or_die();
            judge(&outcome, write);
            assert!(!outcome.path("f.bin").exists());
            assert!(part.exists(), "what is not ours was removed");
        }
    }
}

#[test]
fn f19_a_second_run_of_the_same_command_is_refused_and_the_first_ends_well() {
    for io in backends() {
        let (origin, latch) = held();
        let url = origin.url("/f.bin");
        let started = begin(Run::new(&url).args(["--io", io]), &origin);
        let target = started.path("f.bin");
        let second = Run::new(&url).args(["--io", io]).arg("-o").arg(&target);
        second.finish().assert_fails(7, &["another process", "f.bin"]);
        latch.open();
        started.finish().assert_gives("f.bin", &file());
    }
}

#[test]
fn f19_without_locks_the_run_that_came_last_gives_the_file_its_name() {
    for io in backends() {
        let (origin, latch) = held();
        let without = |run: Run| run.filter(refuse(libc::SYS_flock, libc::EOPNOTSUPP));
        let run = without(Run::new(&origin.url("/f.bin")).args(["--io", io]));
        let first = begin(run, &origin);
        let target = first.path("f.bin");
        let second = without(Run::new(&origin.url("/g.bin")).arg("-o").arg(&target));
        second.finish().assert_leaves_nothing();
        assert_file_is(&target, &file());
        latch.open();
        let first = first.end_or_die();
        assert_eq!(first.code, Some(7), "{}", first.stderr);
        assert_file_is(&first.path("f.bin"), &file());
    }
}
