//! Fetches one file from an origin that misbehaves, on every backend, over one and over several connections.
//!
//! Whatever the origin does, exit code 0 comes with every byte of one version of the file, every request is
//! a GET, none names a weak tag, and there are not too many of them. What a failed run leaves does no harm:
//! the same command against the same origin, which is honest by then, ends well.

use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::harness::{Outcome, Run};
use crate::origin::{File, Origin, Reply, Request, Running};
use crate::ways::backends;

/// Many blocks of `--block-size 64k`, so that several connections have work; and not a whole number of them.
pub(crate) const SIZE: u64 = (3 << 20) + 17;

/// Requests that no run may exceed, whatever the origin does.
const REQUESTS_MAX: usize = 200;

/// Programs that run at a time in one test; most of them wait.
const AT_ONCE: usize = 12;

type Script = Arc<dyn Fn(&Request, Reply) -> Reply + Send + Sync>;

/// A misbehaving origin and what is asked of it.
#[derive(Clone)]
pub(crate) struct Fault {
    /// The file that an honest answer has.
    pub(crate) file: File,
    name: String,
    /// Versions beside `file` that a run may end well with.
    others: Vec<File>,
    script: Script,
    args: Vec<String>,
    retries: &'static str,
    connections: &'static [&'static str],
    codes: Vec<i32>,
    requests_max: usize,
    mends: bool,
}

impl Fault {
    /// A file with a strong validator, each honest reply bent by `script`. The run ends well.
    pub(crate) fn new(script: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) -> Self {
        Self::of(File::new(SIZE), script)
    }

    pub(crate) fn of(
        file: File,
        script: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self {
            file,
            name: String::new(),
            others: Vec::new(),
            script: Arc::new(script),
            args: ["--no-sync", "--block-size", "64k"].map(str::to_owned).to_vec(),
            retries: "2",
            connections: &["1", "8"],
            codes: vec![0],
            requests_max: REQUESTS_MAX,
            mends: true,
        }
    }

    /// Says what goes wrong, for the message of a failed test.
    pub(crate) fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The run ends with one of these exit codes.
    pub(crate) fn codes(mut self, codes: &[i32]) -> Self {
        self.codes = codes.to_vec();
        self
    }

    /// The run may end well with the whole of this version too.
    pub(crate) fn or(mut self, other: File) -> Self {
        self.others.push(other);
        self
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    pub(crate) fn retries(mut self, retries: &'static str) -> Self {
        self.retries = retries;
        self
    }

    pub(crate) fn over(mut self, connections: &'static [&'static str]) -> Self {
        self.connections = connections;
        self
    }

    pub(crate) fn requests(mut self, max: usize) -> Self {
        self.requests_max = max;
        self
    }

    /// What was asked for cannot end well, not even with an honest origin.
    pub(crate) fn for_good(mut self) -> Self {
        self.mends = false;
        self
    }

    /// Every run ends with one of `codes`; with 0 only if every byte is right.
    pub(crate) fn ends(&self, codes: &[i32]) {
        hold([self.clone().codes(codes)]);
    }

    /// Every run ends well.
    pub(crate) fn is_survived(&self) {
        self.ends(&[0]);
    }

    /// Runs against a fresh origin for every backend and number of connections.
    pub(crate) fn each(&self, check: impl Fn(&Outcome, &Running) + Sync) {
        run_all(std::slice::from_ref(self), &|_, outcome, origin| check(outcome, origin));
    }

    /// The end of a run against the misbehaving origin.
    fn judge(&self, outcome: &Outcome, origin: &Running) {
        let code = outcome.code.unwrap();
        assert!(self.codes.contains(&code), "exit code {code}: {}", outcome.stderr);
        if code == 0 {
            let is_other = |other: &&File| {
                let found = fs::File::open(outcome.path("f.bin"));
                found.is_ok_and(|found| other.difference(found).is_none())
            };
            outcome.assert_gives("f.bin", self.others.iter().find(is_other).unwrap_or(&self.file));
        }
        let log = origin.log();
        assert!(log.len() <= self.requests_max, "{} requests", log.len());
        assert!(log.iter().all(|request| request.method == "GET"));
        let weak = |condition: &str| condition.starts_with("W/");
        assert!(!log.iter().any(|request| request.header("if-range").is_some_and(weak)));
    }
}

/// Runs all these faults in every way, and reports all that end otherwise than they should.
pub(crate) fn hold(faults: impl IntoIterator<Item = Fault>) {
    let faults: Vec<_> = faults.into_iter().collect();
    run_all(&faults, &Fault::judge);
}

type Check<'a> = &'a (dyn Fn(&Fault, &Outcome, &Running) + Sync);

fn run_all(faults: &[Fault], check: Check<'_>) {
    let mut ways = Vec::new();
    for fault in faults {
        for io in backends() {
            ways.extend(fault.connections.iter().map(|connections| (fault, *io, *connections)));
        }
    }
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let run_some = || {
        while let Some((fault, io, connections)) = ways.get(next.fetch_add(1, SeqCst)) {
            if let Err(failure) = run_one(fault, io, connections, check) {
                failures.lock().unwrap().push(failure);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(ways.len()) {
            scope.spawn(run_some);
        }
    });
    let failures = failures.into_inner().unwrap();
    let (failed, all) = (failures.len(), ways.len());
    assert!(failures.is_empty(), "{failed} of {all} runs:\n{}", failures.join("\n"));
}

/// One run, and another against the mended origin if that one fails. Says what went wrong, if anything.
fn run_one(fault: &Fault, io: &str, connections: &str, check: Check<'_>) -> Result<(), String> {
    let mended = Arc::new(AtomicBool::new(false));
    let (script, is_mended) = (fault.script.clone(), mended.clone());
    let bend = move |request: &Request, reply| match is_mended.load(SeqCst) {
        true => reply,
        false => script(request, reply),
    };
    let origin = Origin::new().bent("/f.bin", fault.file, bend).start();
    let command = |run: Run| {
        let run = run.args(["--io", io, "-c", connections, "--retries", fault.retries]);
        run.args(&fault.args)
    };
    let mut ended = None;
    let judged = catch_unwind(AssertUnwindSafe(|| {
        let outcome = ended.insert(command(Run::new(&origin.url("/f.bin"))).finish());
        check(fault, outcome, &origin);
    }));
    let judged = judged.and_then(|()| {
        mended.store(true, SeqCst);
        let outcome = ended.take().filter(|outcome| fault.mends && outcome.code != Some(0));
        let Some(outcome) = outcome else { return Ok(()) };
        catch_unwind(AssertUnwindSafe(|| {
            let again = command(outcome.again(&origin.url("/f.bin"))).finish();
            again.assert_gives("f.bin", &fault.file);
        }))
    });
    let when = if mended.load(SeqCst) { ", once the origin is mended" } else { "" };
    let log = origin.log_lines();
    let stopped = catch_unwind(AssertUnwindSafe(|| drop(origin)));
    judged.and(stopped).map_err(|panic| {
        let (name, why) = (&fault.name, text(&*panic));
        format!("\"{name}\" over {connections} by {io}{when}: {why}\n{log}")
    })
}

/// What a panic said.
fn text(panic: &(dyn Any + Send)) -> String {
    let fixed = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    fixed.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
