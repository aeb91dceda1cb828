//! One life of the program in the world: from the look beside the target to the name, the failure or the
//! crash.
//!
//! It does what `fetch` does, with the real ledger and the real judgements.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;

use super::disk::Disk;
use super::lane::{Doing, Lane};
use super::server::Body;
use super::sync::Sync;
use super::table::{Ending, Manner, Stage, Table};
use super::world::World;
use crate::error::Kind;
use crate::gate::{self, Answer, Ask, Head, Verdict, Version};
use crate::ledger::{Extents, Found, Ledger};
use crate::limits::RETRY_AFTER_MAX;
use crate::retry::{self, Decision, Policy};

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Done,
    Failed(Kind),
    Crashed,
}

/// One version on its way into one part file.
pub(super) struct Job {
    pub(super) version: Version,
    pub(super) manner: Manner,
    pub(super) part: u64,
    pub(super) unconditional: bool,
}

/// What an earlier life has left.
pub(super) struct Left {
    pub(super) found: Found,
    pub(super) landed: Extents,
}

pub(super) struct Life<'w> {
    pub(super) world: &'w mut World,
    pub(super) table: Table,
    pub(super) job: Option<Job>,
    pub(super) ledger: Option<Arc<Ledger>>,
    /// What the server said first.
    pub(super) learned: Option<Version>,
    pub(super) left: Option<Left>,
    pub(super) syncs: Vec<Sync>,
    /// The clock of the ledger, and when in the world it was read.
    pub(super) clock: (Instant, Duration),
    began: Instant,
    /// Syncs that had failed before.
    failures: u32,
    /// Goes on from what was left.
    pub(super) is_resumed: bool,
}

/// What one question brought.
pub(super) enum Judged {
    Body(Answer, Body),
    Empty,
    Changed,
    Unranged,
    Failed(Problem),
}

/// A failure, and how long the server wants to be left alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    pub(super) asked: Option<Duration>,
}

impl<'w> Life<'w> {
    pub(super) fn begin(world: &'w mut World) -> Self {
        let table = Table::new(world.lanes, world.retries);
        let failures = world.disk.failures;
        let mut life = Self {
            world,
            failures,
            table,
            job: None,
            ledger: None,
            learned: None,
            left: None,
            syncs: Vec::new(),
            clock: (Instant::now(), Duration::ZERO),
            began: Instant::now(),
            is_resumed: false,
        };
        life.look_beside();
        life
    }

    fn look_beside(&mut self) {
        let disk = &mut self.world.disk;
        let found = disk.part().and_then(|part| {
            let found = Found::read(&disk.ledger).ok()??;
            (found.head().part == Disk::name_of(part)).then_some(found)
        });
        if let Some(found) = found {
            let landed = found.landed(&disk.epoch());
            if landed.bytes() > 0 {
                self.left = Some(Left { found, landed });
                return;
            }
        }
        disk.remove();
        let _ = fs::remove_file(&disk.ledger);
    }

    /// Lives until something ends it.
    pub(super) fn run(mut self) -> End {
        let count = if self.world.lanes == 0 { 16 } else { self.world.lanes };
        let mut lanes: Vec<Lane> = (0..count).map(|_| Lane::default()).collect();
        let mut next_tick = self.world.now;
        for _ in 0..STEPS_MAX {
            if let Stage::Over(ending) = self.table.stage {
                return self.end(ending, &mut lanes);
            }
            if self.world.crashes() {
                return self.crash(&mut lanes);
            }
            self.world.pass_time();
            if self.world.now >= next_tick {
                next_tick = self.world.now + crate::limits::SAMPLE_EVERY;
                self.remember();
            }
            if !self.syncs.is_empty() && self.world.rng.u8(0..6) == 0 {
                self.poke();
            }
            self.step_some(&mut lanes);
        }
        panic!("no end after {STEPS_MAX} steps");
    }

    fn step_some(&mut self, lanes: &mut [Lane]) {
        let now = self.world.now;
        let ready = lanes.iter().filter(|lane| lane.wake <= now).count();
        if ready == 0 {
            let next = lanes.iter().map(|lane| lane.wake).min().unwrap_or(now);
            self.world.now = self.world.now.max(next);
            return;
        }
        let turn = self.world.rng.usize(0..ready);
        if let Some(lane) = lanes.iter_mut().filter(|lane| lane.wake <= now).nth(turn) {
            self.step(lane);
        }
    }

    /// What is done now and then.
    fn remember(&mut self) {
        self.table.pace.sample(self.began + self.world.now, self.world.fetched);
        let now = self.ledger_now();
        let Some(ledger) = &self.ledger else { return };
        ledger.flush();
        if let Some(due) = ledger.due(now) {
            self.begin_sync(due);
        }
    }

    pub(super) fn ledger_now(&self) -> Instant {
        self.clock.0 + (self.world.now - self.clock.1)
    }

    /// Asks once. `condition`: have the server send the file only if it is still the same.
    pub(super) fn ask(&mut self, ask: &Ask, condition: bool, known: Option<&Version>) -> Judged {
        let world = &mut *self.world;
        let condition = known.filter(|_| condition).and_then(Version::condition);
        let condition = condition.as_ref().and_then(|(_, value)| value.to_str().ok());
        let reply = match world.server.answer(&mut world.rng, world.now, ask, condition) {
            Ok(reply) => reply,
            Err(kind) => {
                world.note(|| format!("{ask:?}: {kind:?}"));
                if kind == Kind::Stall {
                    world.now += crate::limits::STALL_TIMEOUT_DEFAULT;
                }
                return Judged::Failed(Problem { kind, asked: None });
            }
        };
        let status = StatusCode::from_u16(reply.status).unwrap_or_default();
        let head = Head { status, http: http::Version::HTTP_11, headers: &reply.headers };
        let verdict = gate::judge(&head, ask, known, SystemTime::UNIX_EPOCH);
        world
            .note(|| format!("{ask:?} {condition:?}: {status} {:?} -> {verdict:?}", reply.headers));
        match verdict {
            Verdict::Body(answer) => {
                self.learned.get_or_insert_with(|| answer.version.clone());
                Judged::Body(answer, reply.body)
            }
            Verdict::Empty(_) => Judged::Empty,
            Verdict::Changed(_) => Judged::Changed,
            Verdict::Unranged(_) => Judged::Unranged,
            Verdict::Redirect(_) => Judged::Failed(Problem { kind: Kind::Redirect, asked: None }),
            Verdict::Failed(error) => {
                if let Some(wait) = error.wait_asked().filter(|wait| *wait <= RETRY_AFTER_MAX) {
                    self.hold(wait);
                }
                Judged::Failed(Problem { kind: error.kind(), asked: error.wait_asked() })
            }
        }
    }

    /// Whether and when to try again.
    pub(super) fn again(&mut self, problem: Problem, failures: u32, most: u32) -> Option<Duration> {
        let Problem { kind, asked } = problem;
        let most = if kind == Kind::Connect { most } else { u32::MAX };
        let policy = Policy { retries: self.world.retries.min(most) };
        match retry::judge(kind, failures, asked, self.world.rng.f64(), &policy) {
            Decision::Again(wait) => Some(wait),
            Decision::GiveUp => None,
        }
    }

    pub(super) fn hold(&mut self, wait: Duration) {
        let now = self.began + self.world.now;
        self.table.holds.hold(&origin(), wait, now);
    }

    /// When the server may be asked again, if not now.
    pub(super) fn held(&mut self) -> Option<Duration> {
        let left = self.table.holds.left(&origin(), self.began + self.world.now);
        let jitter = self.world.rng.f64();
        (!left.is_zero()).then(|| self.world.now + retry::stagger(left, jitter))
    }

    fn crash(mut self, lanes: &mut [Lane]) -> End {
        let world = &mut *self.world;
        for lane in lanes {
            let Doing::Haul(haul) = &mut lane.doing else { continue };
            for (range, tag) in haul.writes.drain(..).flat_map(|(_, parts)| parts) {
                let end = world.rng.u64(range.start..=range.end);
                world.disk.write(
                    self.job.as_ref().map_or(0, |job| job.part),
                    range.start..end,
                    tag,
                );
            }
        }
        // Whatever a process does when it ends in order, this one does not.
        let bytes = fs::read(&world.disk.ledger);
        self.syncs.clear();
        drop((self.ledger.take(), self.left.take()));
        match bytes {
            Ok(bytes) => {
                fs::write(&world.disk.ledger, bytes).expect("proof: the directory is ours");
            }
            Err(_) => drop(fs::remove_file(&world.disk.ledger)),
        }
        let power = world.rng.bool();
        world.note(|| format!("crash, power cut: {power}"));
        if power {
            world.disk.power_cut(&mut world.rng);
        }
        End::Crashed
    }

    fn end(self, ending: Ending, lanes: &mut [Lane]) -> End {
        self.world.note(|| format!("{ending:?}"));
        match ending {
            Ending::Landed(size) => {
                if let Some(ledger) = &self.ledger {
                    assert!(ledger.is_ours());
                }
                if self.world.crashes() {
                    return self.crash(lanes);
                }
                let mark = self.world.disk.begin_sync();
                // A failure that another opening of the file was told of is told here too.
                if self.world.disk_fails() || self.world.disk.failures > self.failures {
                    self.world.disk.failed(mark, &mut self.world.rng);
                    if let Some(ledger) = &self.ledger {
                        ledger.lose();
                    }
                    return self.leave(Kind::LocalIo);
                }
                self.world.disk.synced(mark);
                if self.world.crashes() {
                    return self.crash(lanes);
                }
                self.world.check_complete(size);
                if let Some(ledger) = &self.ledger {
                    ledger.forget();
                }
                self.world.disk.remove();
                End::Done
            }
            Ending::Failed(kind) => self.leave(kind),
        }
    }

    /// Leaves what has landed to another life.
    fn leave(mut self, kind: Kind) -> End {
        let now = self.ledger_now();
        let mut is_kept = self.left.is_some() || self.is_resumed;
        if let Some(ledger) = self.ledger.clone() {
            ledger.flush();
            if let Some(due) = ledger.parting_sync(now) {
                self.begin_sync(due);
                for _ in 0..self.world.rng.u32(0..6) {
                    self.poke();
                }
            }
            is_kept |= ledger.is_kept();
        }
        self.syncs.clear();
        drop((self.ledger.take(), self.left.take()));
        if !is_kept {
            self.world.disk.remove();
        }
        End::Failed(kind)
    }
}

/// The server's, of which there is one.
fn origin() -> url::Origin {
    url::Origin::Tuple("http".into(), url::Host::Ipv4([127, 0, 0, 1].into()), 80)
}

/// More steps than any life needs.
const STEPS_MAX: u32 = 60_000;
