//! The world that a download lives in: its clock, its chances, its server and its disk, all from one seed.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;

use super::content::Tag;
use super::disk::Disk;
use super::life::{End, Life};
use super::server::Server;
use crate::error::Kind;
use crate::ledger::Found;

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) now: Duration,
    pub(super) server: Server,
    pub(super) disk: Disk,
    /// Any file: the ledger wants one to hold open.
    pub(super) file: File,
    pub(super) block_size: u64,
    /// Connections; 0 for as many as seem good.
    pub(super) lanes: u16,
    pub(super) retries: u32,
    /// Bytes that lanes have received in this life, and that were there at its last start.
    pub(super) fetched: u64,
    pub(super) left_bytes: u64,
    /// Bytes of blocks that several lanes fetched, or that did not become whole.
    pub(super) wasted: u64,
    /// Blocks that were asked for twice.
    pub(super) doubled: u32,
    is_calm: bool,
    crash_one_in: u32,
    fail_one_in: u32,
    latency_ms: u64,
    trace: Option<String>,
}

/// How a world came to its end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Story {
    pub(super) lives: u32,
    pub(super) crashes: u32,
    pub(super) failures: u32,
    pub(super) resumed: u32,
    pub(super) doubled: u32,
}

impl World {
    pub(super) fn new(seed: u64, dir: &Path, traced: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let block_size = *rng.choice(&[4 << 10, 1 << 20, 64 << 20]).unwrap_or(&4096);
        let server = Server::new(&mut rng, block_size);
        Self {
            now: Duration::ZERO,
            server,
            disk: Disk::new(dir.join("ledger")),
            file: File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(dir.join("part"))
                .expect("proof: the directory is the test's own"),
            block_size,
            lanes: *rng.choice(&[0, 1, 2, 3, 4]).unwrap_or(&1),
            retries: rng.u32(0..6),
            fetched: 0,
            left_bytes: 0,
            wasted: 0,
            doubled: 0,
            is_calm: false,
            crash_one_in: *rng.choice(&[20, 100, 400, 2000]).unwrap_or(&100),
            fail_one_in: *rng.choice(&[10, 100, 1000]).unwrap_or(&100),
            latency_ms: *rng.choice(&[1, 30, 300, 3000]).unwrap_or(&30),
            rng,
            trace: traced.then(String::new),
        }
    }

    /// Lives until the file is complete: at first as it happens, then in a calm world, where it must be.
    pub(super) fn play(&mut self) -> Story {
        let mut story = Story::default();
        let troubled = self.rng.u32(1..6);
        let block_size = self.block_size;
        for life in 0..=troubled {
            self.check_claims();
            if life == troubled {
                self.is_calm = true;
                self.server.calm(self.now);
                self.retries = 8;
            }
            (self.fetched, self.left_bytes, self.wasted) = (0, 0, 0);
            // Nobody has to stay with the blocks of an earlier life.
            self.block_size = *self.rng.choice(SIZES_OF_BLOCKS).unwrap_or(&4) * block_size / 4;
            self.note(|| format!("--- life {life}"));
            let end = Life::begin(self).run();
            self.note(|| format!("{end:?}"));
            story.lives += 1;
            story.resumed += u32::from(self.left_bytes > 0);
            story.doubled = self.doubled;
            match end {
                End::Done => {
                    assert!(!self.is_calm || self.is_frugal(), "{} bytes fetched", self.fetched);
                    return story;
                }
                End::Crashed => story.crashes += 1,
                End::Failed(kind) => {
                    story.failures += 1;
                    assert!(!self.is_calm, "fails in a calm world: {kind:?}");
                    assert!(!matches!(kind, Kind::Internal | Kind::Usage), "{kind:?}");
                }
            }
        }
        panic!("the file was never complete");
    }

    /// In a calm world no byte is fetched twice, and none that was there.
    fn is_frugal(&self) -> bool {
        let size = self.server.versions[self.server.current(self.now)].size;
        self.fetched + self.left_bytes <= size + self.wasted
    }

    pub(super) fn crashes(&mut self) -> bool {
        !self.is_calm && self.rng.u32(0..self.crash_one_in) == 0
    }

    pub(super) fn disk_fails(&mut self) -> bool {
        !self.is_calm && self.rng.u32(0..self.fail_one_in) == 0
    }

    pub(super) fn pass_time(&mut self) {
        self.now += Duration::from_millis(self.rng.u64(0..=self.latency_ms));
    }

    /// Tells what happens, if somebody listens.
    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let _ = writeln!(trace, "{:>9.3} {}", self.now.as_secs_f64(), what());
        }
    }

    pub(super) fn trace(&self) -> &str {
        self.trace.as_deref().unwrap_or_default()
    }

    /// The file is whole, of one version, and on the disk.
    pub(super) fn check_complete(&self, size: u64) {
        let tag = self.disk.durable().only(&(0..size));
        let Some(Tag { version, shift: 0 }) = tag else {
            panic!("complete with {tag:?}: {:?}", self.disk.durable());
        };
        assert_eq!(self.server.versions[version].size, size, "complete with another size");
    }

    /// What a ledger claims is there, of one version; what it calls durable is on the disk.
    fn check_claims(&self) {
        let Ok(Some(found)) = Found::read(&self.disk.ledger) else { return };
        if self.disk.part().map(Disk::name_of) != Some(found.head().part.clone()) {
            return;
        }
        let views = [(self.disk.epoch(), self.disk.cached()), ("none".into(), self.disk.durable())];
        for (epoch, content) in views {
            let mut first = None;
            for range in found.landed(&epoch).iter() {
                let tag = content.only(&range);
                let tag = tag.unwrap_or_else(|| {
                    panic!("{range:?} is claimed in epoch {epoch}: {content:?}")
                });
                assert_eq!(tag.shift, 0);
                assert_eq!(*first.get_or_insert(tag), tag, "two versions in one file");
            }
        }
    }
}

/// Blocks of a life, in quarters of those that the sizes of files were made for.
const SIZES_OF_BLOCKS: &[u64] = &[4, 4, 4, 2, 3, 8];
