//! Death at random moments, with options that differ from run to run, a file that changes on the server, and
//! other processes at work on the same target.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;

use super::Left;
use super::left::{GRAIN, blocks};
use crate::harness::{Outcome, Run};
use crate::origin::{File, Origin, Reply, Request, Running, assert_file_is};
use crate::ways::backends;

/// Deaths in an ordinary run of the tests.
const CYCLES: u64 = 200;

/// Runs of one download; the last of them are left alone.
const RUNS_MAX: u32 = 40;

/// Blocks of a lane: one that fills, and those on their way to the disk. `limits::POOL_BLOCKS_PER_LANE`, and
/// one that lands just then.
const LANE_BLOCKS: u64 = 5;

/// The same where no pool limits them, because they are windows of the mapped file: `limits::WRITES_MAX`, one
/// that fills, and a late one's copy.
const MMAP_LANE_BLOCKS: u64 = 8 + 2;

/// Bytes of a download that are underway and in no file, for each lane: what the socket of the origin and
/// that of the client take at most.
fn socket_bytes() -> u64 {
    ["tcp_rmem", "tcp_wmem"].iter().map(|name| most(name)).sum()
}

fn most(name: &str) -> u64 {
    let sizes = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap();
    sizes.split_whitespace().next_back().unwrap().parse().unwrap()
}

/// What the loop has seen, in the end.
#[derive(Debug, Default)]
struct Tally {
    downloads: u64,
    runs: u64,
    deaths: u64,
    terminations: u64,
    changes: u64,
    rivals: u64,
    resumed: u64,
    /// Bytes on disk that were in no line, after each death.
    unrecorded: Vec<u64>,
}

/// One download, from its first run to the file.
struct Loop<'a> {
    rng: Rng,
    file: File,
    version: Arc<AtomicU64>,
    /// Whether all runs are given a digest: what one gathers under it counts only under it.
    digested: bool,
    origin: Running,
    url: String,
    /// Bytes that were on disk and in no line after the death before.
    unknown: Vec<bool>,
    /// Bytes that may have been sent by now.
    most_bytes: u64,
    tally: &'a mut Tally,
}

/// How one run is asked for.
#[derive(Debug)]
struct Asked {
    args: Vec<String>,
    lanes: u64,
    block_size: u64,
    line_bytes: u64,
}

impl Asked {
    fn lane_blocks(&self) -> u64 {
        let is_mmap = self.args.iter().any(|arg| arg == "mmap");
        if is_mmap { MMAP_LANE_BLOCKS } else { LANE_BLOCKS }
    }
}

/// How one run ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Alone,
    Signal(Signal, Duration),
    /// At one of the places in the code that are worth a death.
    Point(u32),
    /// Together with another process, and killed after some time if at all.
    Rivals(Option<Duration>),
}

#[test]
fn a_download_that_is_killed_over_and_over_ends_with_the_right_bytes() {
    let cycles = super::number("RINGPULL_CYCLES").unwrap_or(CYCLES);
    let first = super::number("RINGPULL_SEED").unwrap_or(0);
    let mut tally = Tally::default();
    let mut seed = first;
    while tally.deaths + tally.terminations < cycles {
        let told = super::Told { seed, what: "RINGPULL_CYCLES=1" };
        Loop::new(seed, &mut tally).run();
        drop(told);
        seed += 1;
    }
    tell(&mut tally);
}

#[expect(clippy::print_stdout, reason = "figures for whoever wants to see them")]
fn tell(tally: &mut Tally) {
    let mut unrecorded = std::mem::take(&mut tally.unrecorded);
    unrecorded.sort_unstable();
    let at = |share: usize| unrecorded.get(unrecorded.len() * share / 100).copied().unwrap_or(0);
    println!("{tally:?}: bytes on disk and in no line: median {}, 99 % {}", at(50), at(99));
}

impl<'a> Loop<'a> {
    fn new(seed: u64, tally: &'a mut Tally) -> Self {
        let mut rng = Rng::with_seed(seed);
        let block_count = if rng.u8(..5) == 0 { rng.u64(100..300) } else { rng.u64(1..=40) };
        let size = (block_count * (64 << 10)).saturating_sub(rng.u64(0..1000)).max(1);
        let file = File::new(size).seed(seed);
        let version = Arc::new(AtomicU64::new(1));
        let dribble = match rng.u8(..3) {
            0 => None,
            1 => Some(16 << 10),
            _ => Some(64 << 10),
        };
        let serves = Arc::clone(&version);
        let script = move |request: &Request| {
            let reply = Reply::honest(&file.version(serves.load(SeqCst)), request);
            match dribble {
                Some(bytes) => reply.dribble(bytes, Duration::from_millis(1)),
                None => reply,
            }
        };
        let origin = Origin::new().at("/s3cr3t/f.bin?s3cr3t", script).start();
        let url = origin.url("/s3cr3t/f.bin?s3cr3t");
        tally.downloads += 1;
        let digested = rng.u8(..3) == 0;
        let (unknown, most_bytes) = (Vec::new(), size);
        Self { rng, file, version, digested, origin, url, unknown, most_bytes, tally }
    }

    fn run(mut self) {
        let mut deaths = self.rng.u32(1..8);
        let mut before = None;
        for _ in 0..RUNS_MAX {
            let end = if deaths > 0 { self.end() } else { End::Alone };
            deaths = deaths.saturating_sub(1);
            let asked = self.asked();
            let outcome = self.run_once(before.as_ref(), &asked, end);
            match outcome.code {
                Some(0) if matches!(end, End::Rivals(Some(_))) => {
                    // The one that was killed may have gathered all that the other has given its name.
                    let next = outcome.again(&self.url).args(&asked.args);
                    return self.check_complete(&next.args(["-H", "X-Key: s3cr3t"]).finish());
                }
                Some(0) => return self.check_complete(&outcome),
                Some(7) if matches!(end, End::Rivals(_)) => {}
                Some(code) => assert!(self.may_end(end, code), "{end:?}: {}", outcome.stderr),
                None => assert!(!matches!(end, End::Alone)),
            }
            self.check_left(&outcome, &asked);
            before = Some(outcome);
        }
        panic!("no end after {RUNS_MAX} runs");
    }

    fn may_end(&self, end: End, code: i32) -> bool {
        matches!(end, End::Signal(Signal::TERM, _)) && code == 143
    }

    fn end(&mut self) -> End {
        let rng = &mut self.rng;
        // Some runs die while they start, some at the very end, and some live.
        let longest = 20 + self.file.size / (128 << 10);
        let moment = Duration::from_micros(rng.u64(0..longest * 1000));
        match rng.u8(..10) {
            0..4 => End::Signal(Signal::KILL, moment),
            4..6 => End::Signal(Signal::TERM, moment),
            6 => End::Rivals(Some(moment)),
            7 if rng.u8(..3) == 0 => End::Rivals(None),
            _ => End::Point(rng.u32(1..30)),
        }
    }

    fn asked(&mut self) -> Asked {
        let digest = blake3::hash(&self.now().whole());
        let rng = &mut self.rng;
        let one = |rng: &mut Rng, of: &[&'static str]| of[rng.usize(..of.len())];
        let mut args = vec!["--io", one(rng, backends())];
        args.extend(["--write", one(rng, &["auto", "direct", "buffered", "mmap"])]);
        let connections = one(rng, &["1", "8"]);
        let block_size = *rng.choice(&[GRAIN >> 10, 64, 64, 64, 256]).unwrap();
        if rng.u8(..4) == 0 {
            args.push("--no-sync");
        }
        let mut args: Vec<_> = args.into_iter().map(ToOwned::to_owned).collect();
        args.extend(["-c".into(), connections.into(), "-b".into(), format!("{block_size}k")]);
        if self.digested {
            args.extend(["--checksum".into(), format!("blake3={digest}")]);
        }
        Asked {
            args,
            lanes: connections.parse().unwrap(),
            block_size: block_size << 10,
            line_bytes: *rng.choice(&[64 << 10, 200_000, 1 << 20]).unwrap(),
        }
    }

    /// The file as the origin has it now.
    fn now(&self) -> File {
        self.file.version(self.version.load(SeqCst))
    }

    fn run_once(&mut self, before: Option<&Outcome>, asked: &Asked, end: End) -> Outcome {
        self.tally.runs += 1;
        let requests = self.origin.log().len();
        let landed = before.and_then(Left::of).filter(|left| left.etag() == self.now().etag());
        let landed = landed.map(|left| left.landed());
        let ready = |run: Run| {
            run.args(&asked.args)
                .args(["-H", "X-Key: s3cr3t"])
                .env("RINGPULL_LINE_BYTES", &asked.line_bytes.to_string())
                .env("RINGPULL_SYNC_BYTES", "500000")
        };
        let run =
            ready(before.map_or_else(|| Run::new(&self.url), |before| before.again(&self.url)));
        let outcome = match end {
            End::Alone => run.finish(),
            End::Signal(signal, moment) => run.start().end_by(signal, moment),
            End::Point(point) => {
                run.env("RINGPULL_CRASH_AT", &point.to_string()).start().end_or_die()
            }
            End::Rivals(moment) => self.rival(run, &ready, moment),
        };
        self.tally.deaths += u64::from(outcome.was_killed());
        self.tally.terminations += u64::from(outcome.code == Some(143));
        // Two at a time may each ask for what the other has just got.
        if let (Some(landed), false) = (&landed, matches!(end, End::Rivals(_))) {
            self.tally.resumed += 1;
            self.check_requests(requests, landed, asked.block_size);
        }
        let lanes = asked.lanes * if matches!(end, End::Rivals(_)) { 2 } else { 1 };
        self.most_bytes += asked.line_bytes
            + lanes * (asked.lane_blocks() * asked.block_size + socket_bytes().min(self.file.size));
        outcome
    }

    /// A second process on the same target: one of the two has to go, whichever it is, and does no harm.
    fn rival(&mut self, run: Run, ready: &dyn Fn(Run) -> Run, moment: Option<Duration>) -> Outcome {
        self.tally.rivals += 1;
        let first = run.start();
        let second = ready(first.beside(&self.url)).start();
        let first = match moment {
            Some(moment) => first.end_by(Signal::KILL, moment),
            None => first.end_or_die(),
        };
        let second = second.end();
        let codes = [first.code, second.code];
        assert!(codes.iter().all(|code| matches!(code, None | Some(0 | 7))), "{}", first.stderr);
        assert!(second.code.is_some());
        if first.code == Some(7) {
            assert_eq!(second.code, Some(0), "both have gone: {}\n{}", first.stderr, second.stderr);
        }
        if let Some(7) = second.code {
            let words = ["another process", "exists", "interrupted"];
            assert!(words.iter().any(|word| second.stderr.contains(word)), "{}", second.stderr);
        }
        if second.code != Some(0) {
            return first;
        }
        self.tally.deaths += u64::from(first.was_killed());
        second
    }

    /// No request asks for a block that is there.
    fn check_requests(&self, from: usize, landed: &[bool], block_size: u64) {
        let there: Vec<_> = blocks(self.file.size, block_size)
            .filter(|block| landed[block.clone()].iter().all(|landed| *landed))
            .collect();
        let is_all = landed.iter().all(|landed| *landed);
        for request in &self.origin.log()[from..] {
            let range = request.range.clone().unwrap_or(0..u64::MAX);
            // Where everything is there, one byte tells whether it is still the same file.
            let is_look = is_all && range == (self.file.size - 1..self.file.size);
            // An open end: the answer is cut off where the missing bytes end.
            let first = usize::try_from(range.start).unwrap();
            let again = there.iter().find(|block| block.contains(&first));
            assert!(is_look || again.is_none(), "{range:?} is there: {again:?}");
        }
    }

    /// What a death leaves: no wrong byte under the name, nothing in the ledger that is not in the part
    /// file, and little in the part file that is not in the ledger.
    fn check_left(&mut self, outcome: &Outcome, asked: &Asked) {
        let target = outcome.path("f.bin");
        if target.exists() {
            // A stop that comes while the directory is being synced does not wait for a slow disk: the name
            // is there by then, and what it names is on disk.
            assert!(matches!(outcome.code, None | Some(7 | 143)), "{}", outcome.stderr);
            assert_file_is(&target, &self.now());
            return;
        }
        assert!(self.origin.served_bytes() <= self.most_bytes);
        let Some(left) = Left::of(outcome) else { return };
        left.check_secrets();
        let version = (1..=self.now().version).map(|version| self.file.version(version));
        let file =
            version.rev().find(|file| file.etag() == left.etag()).expect("a version of ours");
        let unknown = left.check(&file);
        let known_before = |at: &usize| self.unknown.get(*at).is_some_and(|unknown| *unknown);
        let is_new = |at: &usize| unknown[*at] && !known_before(at);
        let unrecorded = (0..unknown.len()).filter(is_new).count() as u64;
        let most = asked.line_bytes + asked.lanes * asked.lane_blocks() * asked.block_size;
        assert!(unrecorded <= most, "{unrecorded} bytes on disk and in no line: {asked:?}");
        self.tally.unrecorded.push(unrecorded);
        self.unknown = unknown;
        if self.rng.u8(..8) == 0 {
            self.tally.changes += 1;
            self.version.fetch_add(1, SeqCst);
            self.unknown.clear();
            self.most_bytes += self.file.size;
        }
    }

    fn check_complete(&self, outcome: &Outcome) {
        outcome.assert_gives("f.bin", &self.now());
        let (sent, most) = (self.origin.served_bytes(), self.most_bytes);
        assert!(sent <= most, "{sent} bytes sent, and {most} are enough");
    }
}
