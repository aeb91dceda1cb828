//! Every operation that can fail, failed once: the program bears it, or ends with a word and the same command
//! goes on.
//!
//! A scenario is run once to count its operations, then again with one of them failing, for each of them.
//! `src/fault.rs` does that inside the program, which looks after its blocks and descriptors by itself.
//! `RINGPULL_TORTURE=full` takes every operation with every error; otherwise the errors take turns.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::harness::{Outcome, Run};
use crate::origin::{Certificate, File, Origin, Running};
use crate::ways::{HAS_DIRECT, Way, backends};

/// Some blocks more than the first request asks for, and not a whole number of them.
const FILE_SIZE: u64 = 14 * 4096 + 17;
/// What a kernel may say; `short` does half of a transfer.
const FAULTS: [&str; 8] =
    ["EIO", "short", "ENOSPC", "EINTR", "ECONNRESET", "EAGAIN", "ENOMEM", "ECANCELED"];
/// Those that may stay for good.
const LASTING: [&str; 4] = ["EIO", "ENOSPC", "ECONNRESET", "ENOMEM"];
/// What was there under the name of the file.
const OLD: &[u8] = b"old";
/// What a run that bears no more may end with: network, TLS, refusal, answer, local file.
const CODES: [i32; 5] = [3, 4, 5, 6, 7];
/// Runs at a time: most of them wait for the clock or the disk.
const AT_ONCE: usize = 8;
/// Of so many operations one is taken where not all are; which one differs from scenario to scenario.
const STRIDE: usize = 3;
/// More operations than a scenario may have in one run, whatever the order of its threads.
const OPERATIONS_MAX: usize = 400;

/// One command, and what came before it.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    way: Way,
    twist: Twist,
}

/// What is special about a scenario.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Twist {
    Nothing,
    Checksum,
    /// An earlier run has failed in the middle.
    Resumed,
    Tls,
    /// Bodies come without their length, in chunks.
    Chunked,
    /// The target is there, and is to be replaced.
    Overwrite,
}

/// A scenario and its origin.
struct Stage {
    scenario: Scenario,
    origin: Running,
    logs: TempDir,
}

/// How many runs ended in which way.
#[derive(Default)]
struct Tally {
    unharmed: AtomicUsize,
    gone_on: AtomicUsize,
    not_struck: AtomicUsize,
}

fn file() -> File {
    File::new(FILE_SIZE)
}

fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for &io in backends() {
        for write in ["direct", "buffered", "mmap", "stream"] {
            if write == "direct" && !*HAS_DIRECT {
                continue;
            }
            for connections in ["1", "4"] {
                let way = Way { io, write, connections };
                all.push(Scenario { way, twist: Twist::Nothing });
            }
        }
        let way = Way { io, write: "buffered", connections: "4" };
        for twist in [Twist::Checksum, Twist::Resumed, Twist::Tls, Twist::Chunked, Twist::Overwrite]
        {
            all.push(Scenario { way, twist });
        }
    }
    all
}

impl Stage {
    fn new(scenario: Scenario) -> Self {
        let chunked = scenario.twist == Twist::Chunked;
        let mut origin = Origin::new().bent("/f.bin", file(), move |_, reply| match chunked {
            true => reply.chunked(&[5000]),
            false => reply,
        });
        let logs = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        if scenario.twist == Twist::Tls {
            let certificate = Certificate::valid_for("127.0.0.1");
            std::fs::write(logs.path().join("ca.pem"), &certificate.authority_pem).unwrap();
            origin = origin.tls(certificate);
        }
        let origin = origin.start();
        Self { scenario, origin, logs }
    }

    fn url(&self) -> String {
        self.origin.url("/f.bin")
    }

    fn arguments(&self, run: Run) -> Run {
        let run = self.scenario.way.take(run).args(["--block-size", "4k", "--threads", "2"]);
        let run = run.args(["--retries", "1"]);
        match self.scenario.twist {
            Twist::Checksum => {
                let hash = blake3::hash(&file().whole()).to_hex();
                run.args(["--checksum", &format!("blake3={hash}")])
            }
            Twist::Tls => run.arg("--cacert").arg(self.logs.path().join("ca.pem")),
            Twist::Overwrite => run.arg("--overwrite"),
            Twist::Nothing | Twist::Resumed | Twist::Chunked => run,
        }
    }

    /// The command, where it is to run.
    fn command(&self) -> Run {
        match self.scenario.twist {
            Twist::Resumed => {}
            Twist::Overwrite => return self.arguments(Run::new(&self.url())).put("f.bin", OLD),
            _ => return self.arguments(Run::new(&self.url())),
        }
        let first = self.arguments(Run::new(&self.url())).env("RINGPULL_FAULT", "write:9:ENOSPC");
        let first = first.finish();
        first.assert_fails(7, &["no space"]);
        assert_eq!(first.left_for_later().len(), 2, "there is something to go on with");
        self.arguments(first.again(&self.url()))
    }

    /// Runs the command with a fault and returns what its log says: operations, and which was struck.
    fn run(&self, fault: &str, name: &str) -> (Outcome, usize, String) {
        let log = self.logs.path().join(name);
        let run = self.command().env("RINGPULL_FAULT", fault);
        let outcome = run.env("RINGPULL_FAULT_LOG", log.to_str().unwrap()).start().end();
        let (count, struck) = read(&log, &outcome);
        (outcome, count, struck)
    }

    /// The number of operations of a run in which nothing fails.
    fn count(&self) -> usize {
        let (outcome, count, _) = self.run("count", "count");
        self.scenario.way.assert_gives(&outcome, "f.bin", &file());
        assert!(count < OPERATIONS_MAX, "{count} operations");
        count
    }

    /// Fails one operation, judges the end, and goes on without the fault.
    fn fail(&self, fault: &str, tally: &Tally) {
        let told = Told(format!("{:?} under RINGPULL_FAULT={fault}", self.scenario));
        let (outcome, _, struck) = self.run(fault, fault);
        let _told = Told(format!("{} at `{struck}`: {}", told.0, outcome.stderr));
        if struck == "-" {
            tally.not_struck.fetch_add(1, Relaxed);
        }
        if outcome.code == Some(0) {
            tally.unharmed.fetch_add(1, Relaxed);
            // What cannot be looked at is not removed either.
            if !["is at", "remove part"].contains(&struck.as_str()) {
                self.scenario.way.assert_gives(&outcome, "f.bin", &file());
            }
            return;
        }
        tally.gone_on.fetch_add(1, Relaxed);
        assert!(CODES.contains(&outcome.code.unwrap()), "exit code {:?}", outcome.code);
        let there = std::fs::read(outcome.path("f.bin")).ok();
        let before = (self.scenario.twist == Twist::Overwrite).then(|| OLD.to_vec());
        // What was replaced cannot come back: then the new file stays, whole, and its name is not durable.
        let is_replaced = before.is_some() && struck == "sync directory";
        let allowed = if is_replaced { Some(file().whole()) } else { before };
        assert_eq!(there, allowed, "a file that is not whole has its name");
        assert!(file().whole().starts_with(&outcome.stdout), "wrong bytes on standard output");
        let again = self.arguments(outcome.again(&self.url())).env("RINGPULL_FAULT", "count");
        self.scenario.way.assert_gives(&again.finish(), "f.bin", &file());
    }
}

/// Reads the log of a run, which it writes when nothing was lost.
fn read(log: &Path, outcome: &Outcome) -> (usize, String) {
    let text = std::fs::read_to_string(log);
    let text = text.unwrap_or_else(|error| panic!("{error}: {}", outcome.stderr));
    let (count, struck) = text.trim_end().split_once(' ').unwrap();
    (count.parse().unwrap(), struck.to_owned())
}

#[expect(clippy::print_stderr, reason = "the counts are worth a look")]
fn tell(text: &str) {
    eprintln!("{text}");
}

/// Told if the test fails meanwhile.
struct Told(String);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tell(&self.0);
        }
    }
}

/// The faults of a scenario with so many operations: all, or one for some operations.
fn faults(number: usize, operations: usize, full: bool) -> Vec<String> {
    let mut faults = Vec::new();
    if !full {
        for operation in (1..=operations).filter(|at| (at + number).is_multiple_of(STRIDE)) {
            let what = FAULTS[(operation / STRIDE + number) % FAULTS.len()];
            faults.push(format!("{operation}:{what}"));
        }
        return faults;
    }
    for operation in 1..=operations {
        for what in FAULTS {
            faults.push(format!("{operation}:{what}"));
            // And it stays like that; what only says "again" does not.
            if LASTING.contains(&what) {
                faults.push(format!("{operation}+:{what}"));
            }
        }
    }
    faults
}

#[test]
fn whatever_the_kernel_refuses_the_same_command_ends_well() {
    let full = std::env::var("RINGPULL_TORTURE").is_ok_and(|value| value == "full");
    let stages: Vec<Arc<Stage>> =
        scenarios().into_iter().map(|scenario| Arc::new(Stage::new(scenario))).collect();
    let mut jobs = Vec::new();
    let mut operations = 0;
    for (number, stage) in stages.iter().enumerate() {
        let count = stage.count();
        operations += count;
        jobs.extend(
            faults(number, count, full).into_iter().map(|fault| (Arc::clone(stage), fault)),
        );
    }
    let (runs, tally) = (jobs.len(), Tally::default());
    let jobs = Mutex::new(jobs);
    let next = || jobs.lock().unwrap().pop();
    let broken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((stage, fault)) = next() {
                    let failed = catch_unwind(AssertUnwindSafe(|| stage.fail(&fault, &tally)));
                    broken.fetch_add(usize::from(failed.is_err()), Relaxed);
                }
            });
        }
    });
    let Tally { unharmed, gone_on, not_struck } = tally;
    tell(&format!(
        "{} scenarios with {operations} operations, {runs} runs: {unharmed:?} ended well, {gone_on:?} \
         failed and were gone on with; {not_struck:?} were over before their fault",
        stages.len()
    ));
    assert_eq!(broken.into_inner(), 0, "runs that did not end as they should; see above");
    assert!(runs >= 300 && gone_on.into_inner() > 0, "this is no torture");
}
