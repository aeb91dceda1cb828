//! Goes on where an earlier run stopped, or says why not; and believes nothing that somebody else has had a
//! hand in.

mod doubts;
mod meddling;
mod ways_on;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::harness::{Outcome, Run};
use crate::origin::{Cut, File, Origin, Reply, Running};

/// Blocks of `--block-size 64k`, and a little.
pub(crate) const SIZE: u64 = (2 << 20) + 17;
/// Bytes that a first run gets.
pub(crate) const GOT: u64 = 1 << 20;

/// A file of which one run gets the first half, and later ones whatever they ask for.
pub(crate) struct Halves {
    pub(crate) file: File,
    pub(crate) origin: Running,
    /// Bytes from here on are not served.
    pub(crate) limit: Arc<AtomicU64>,
    pub(crate) version: Arc<AtomicU64>,
}

impl Halves {
    pub(crate) fn new() -> Self {
        Self::bent(|reply| reply)
    }

    pub(crate) fn bent(bend: impl Fn(Reply) -> Reply + Send + Sync + 'static) -> Self {
        let file = File::new(SIZE);
        let (limit, version) = (Arc::new(AtomicU64::new(GOT)), Arc::new(AtomicU64::new(1)));
        let (seen, serves) = (Arc::clone(&limit), Arc::clone(&version));
        let origin = Origin::new()
            .at("/f.bin", move |request| {
                let file = file.version(serves.load(SeqCst));
                let first = request.range.clone().map_or(0, |range| range.start);
                let rest = seen.load(SeqCst).saturating_sub(first);
                bend(Reply::honest(&file, request)).cut(rest, Cut::Close)
            })
            .start();
        Self { file, origin, limit, version }
    }

    pub(crate) fn url(&self) -> String {
        self.origin.url("/f.bin")
    }

    /// The end of a first run that has got the first half.
    pub(crate) fn begun(&self) -> Outcome {
        self.begun_by(|run| run)
    }

    pub(crate) fn begun_by(&self, how: impl Fn(Run) -> Run) -> Outcome {
        let run = Run::new(&self.url()).args(["-b", "64k", "-c", "1", "--retries", "0"]);
        let outcome = how(run).finish();
        self.limit.store(u64::MAX, SeqCst);
        outcome
    }

    /// What runs after `outcome`: the same command.
    pub(crate) fn again(&self, outcome: &Outcome) -> Run {
        outcome.again(&self.url()).args(["-b", "64k", "-c", "1", "--retries", "0"])
    }

    /// The file as the origin has it now.
    pub(crate) fn now(&self) -> File {
        self.file.version(self.version.load(SeqCst))
    }

    /// The next run starts with nothing and says so in `words`.
    pub(crate) fn starts_anew(&self, outcome: &Outcome, words: &str) {
        let served = self.origin.served_bytes();
        let next = self.again(outcome).finish();
        next.assert_gives("f.bin", &self.now());
        assert!(next.stderr.contains(words), "{words:?} is not in: {}", next.stderr);
        assert!(!next.stderr.contains("going on"), "{}", next.stderr);
        assert!(self.origin.served_bytes() - served >= SIZE);
    }
}

pub(crate) fn part(outcome: &Outcome) -> PathBuf {
    outcome.left("part").expect("a part file")
}

pub(crate) fn ledger(outcome: &Outcome) -> PathBuf {
    outcome.left("ledger").expect("a ledger")
}
