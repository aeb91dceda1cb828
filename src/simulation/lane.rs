//! One connection, a step at a time: what `lane` does without waiting.

use std::ops::Range;
use std::time::Duration;

use super::content::Tag;
use super::life::{Judged, Life, Problem};
use super::server::Body;
use super::table::{Anew, Asker, Deal, Manner, Stage};
use crate::error::Kind;
use crate::gate::{Answer, Ask, Version};
use crate::limits::{FIRST_CONNECTS_MAX, PROGRESS_BYTES_MIN};
use crate::plan::{Lease, Patience};

#[derive(Default)]
pub(super) struct Lane {
    pub(super) doing: Doing,
    /// Nothing happens before.
    pub(super) wake: Duration,
}

#[derive(Default)]
pub(super) enum Doing {
    #[default]
    Idle,
    /// Asks for the first bytes.
    Probe {
        manner: Manner,
        ask: Ask,
        failures: u32,
    },
    Haul(Box<Haul>),
}

/// Bytes in memory, by their places in the file.
type Bytes = Vec<(Range<u64>, Tag)>;

/// One lease on its way.
pub(super) struct Haul {
    pub(super) lease: Lease,
    pub(super) cursor: u64,
    pub(super) end: u64,
    reached: u64,
    failures: u32,
    /// The block that is being filled.
    pub(super) block: Bytes,
    /// Blocks on their way to the disk.
    pub(super) writes: Vec<(u32, Bytes)>,
    pub(super) answer: Option<(Answer, Body)>,
    is_over: bool,
    is_given_back: bool,
}

/// Why an attempt ends before its time.
pub(super) enum Stop {
    Failed(Problem),
    LetGo,
}

impl Life<'_> {
    pub(super) fn step(&mut self, lane: &mut Lane) {
        match std::mem::take(&mut lane.doing) {
            Doing::Idle => self.idle(lane),
            Doing::Probe { .. } if self.table.stage != Stage::Probing => self.let_go(lane),
            Doing::Probe { manner, ask, failures } => self.probe(lane, manner, ask, failures),
            Doing::Haul(haul) => self.haul_on(lane, haul),
        }
    }

    fn idle(&mut self, lane: &mut Lane) {
        let manner = self.job.as_ref().map_or(Manner::Ranges, |job| job.manner);
        let rng = &mut self.world.rng;
        let (limit, own) = (rng.u64(0..3000), rng.u64(0..300));
        let (limit, own) = (Duration::from_millis(limit), Duration::from_millis(own));
        let at_least = rng.u32(0..4);
        let asker = Asker { at_least, patience: Patience { limit, own }, now: self.ledger_now() };
        match self.table.deal(manner, &asker) {
            Some(Deal::Probe(manner)) => {
                if manner == Manner::OneStream {
                    self.forget_left();
                }
                self.learned = None;
                let ask = Ask { range: self.first_range(manner) };
                lane.doing = Doing::Probe { manner, ask, failures: 0 };
            }
            Some(Deal::Fetch(lease)) => self.haul(lane, lease, None),
            None => lane.wake = self.world.now + IDLE,
        }
    }

    pub(super) fn let_go(&mut self, lane: &mut Lane) {
        lane.doing = Doing::Idle;
        self.table.let_go();
    }

    fn probe(&mut self, lane: &mut Lane, manner: Manner, ask: Ask, failures: u32) {
        if let Some(wake) = self.held() {
            lane.wake = wake;
            lane.doing = Doing::Probe { manner, ask, failures };
            return;
        }
        let known = self.left_version();
        let problem = match self.ask(&ask, false, known.as_ref()) {
            Judged::Body(answer, body) => return self.open(&answer, body, lane),
            Judged::Empty => panic!("this server has no empty file"),
            Judged::Changed if self.forget_left() => {
                let ask = Ask { range: self.first_range(manner) };
                lane.doing = Doing::Probe { manner, ask, failures };
                return;
            }
            Judged::Unranged if ask.range.is_some() => {
                self.table.start_anew(Stage::Probing, Anew::OneStream, Kind::Protocol);
                return self.let_go(lane);
            }
            Judged::Changed | Judged::Unranged => Problem { kind: Kind::Protocol, asked: None },
            Judged::Failed(problem) => problem,
        };
        match self.again(problem, failures + 1, FIRST_CONNECTS_MAX) {
            Some(wait) => {
                lane.wake = self.world.now + wait;
                lane.doing = Doing::Probe { manner, ask, failures: failures + 1 };
            }
            None => {
                self.table.fail(problem.kind);
                self.let_go(lane);
            }
        }
    }

    pub(super) fn haul(&mut self, lane: &mut Lane, lease: Lease, answer: Option<(Answer, Body)>) {
        let cursor = self.table.extent(lease.blocks.start).start;
        let end = match self.size() {
            Some(_) => self.table.extent(lease.blocks.end - 1).end,
            None => u64::MAX,
        };
        self.world.note(|| format!("{lease:?} of bytes {cursor}..{end}"));
        self.world.doubled += u32::from(lease.twin);
        lane.doing = Doing::Haul(Box::new(Haul {
            lease,
            cursor,
            end,
            reached: cursor,
            failures: 0,
            block: Vec::new(),
            writes: Vec::new(),
            answer,
            is_over: false,
            is_given_back: false,
        }));
    }

    pub(super) fn size(&self) -> Option<u64> {
        self.job.as_ref().and_then(|job| job.version.size)
    }

    /// One thing of a lease: the end of a write, a question, some bytes.
    fn haul_on(&mut self, lane: &mut Lane, mut haul: Box<Haul>) {
        let is_over = haul.is_over || haul.cursor >= haul.end || self.table.stage != Stage::Running;
        if is_over && !std::mem::replace(&mut haul.is_given_back, is_over) {
            self.waste(&mut haul);
            self.table.give_back(haul.lease.id);
        }
        if is_over && haul.writes.is_empty() {
            return self.let_go(lane);
        }
        if !haul.writes.is_empty() && (is_over || self.world.rng.bool()) {
            self.settle(&mut haul);
        } else if let (true, Some(wake)) = (haul.answer.is_none(), self.held()) {
            lane.wake = wake;
        } else if let Some(wait) = self.advance(&mut haul) {
            lane.wake = self.world.now + wait;
        }
        lane.doing = Doing::Haul(haul);
    }

    /// Lets a block go that is not whole, or that another lane has won.
    fn waste(&mut self, haul: &mut Haul) {
        let bytes = haul.block.drain(..).map(|(range, _)| range.end - range.start);
        self.world.wasted += bytes.sum::<u64>();
    }

    /// The block at the cursor, or the one that is being filled.
    fn index(&self, haul: &Haul) -> u32 {
        let at = haul.block.first().map_or(haul.cursor, |(range, _)| range.start);
        u32::try_from(at / self.world.block_size).unwrap_or(u32::MAX)
    }

    /// Whether the block at the cursor is still this lane's.
    pub(super) fn holds(&mut self, haul: &Haul) -> bool {
        let filled = haul.block.iter().map(|(range, _)| range.end - range.start).sum();
        let (index, now) = (self.index(haul), self.ledger_now());
        self.table.holds(haul.lease.id, index, filled, now)
    }

    /// Puts a block on its way to the disk, unless another lane was faster.
    pub(super) fn commit(&mut self, haul: &mut Haul) -> Result<(), Stop> {
        let (index, now) = (self.index(haul), self.ledger_now());
        if !self.table.win(haul.lease.id, index, now) {
            return Err(Stop::LetGo);
        }
        haul.writes.push((index, std::mem::take(&mut haul.block)));
        Ok(())
    }

    /// One write has ended.
    fn settle(&mut self, haul: &mut Haul) {
        // They land in the order they were begun, and reach the disk in any.
        let (index, bytes) = haul.writes.remove(0);
        if self.world.disk_fails() {
            self.world.note(|| format!("block {index} cannot be written"));
            self.table.fail(Kind::LocalIo);
            return;
        }
        let part = self.job.as_ref().map_or(0, |job| job.part);
        let (start, end) = (bytes[0].0.start, bytes[bytes.len() - 1].0.end);
        for (range, tag) in bytes {
            self.world.disk.write(part, range, tag);
        }
        if self.table.stage != Stage::Running {
            return;
        }
        let now = self.ledger_now();
        if let Some(ledger) = &self.ledger {
            ledger.landed(start..end);
            if let Some(due) = ledger.due(now) {
                self.begin_sync(due);
            }
        }
        self.table.landed(haul.lease.id, index);
    }

    /// One question or some bytes; how long to wait after a failure.
    fn advance(&mut self, haul: &mut Haul) -> Option<Duration> {
        let done = match haul.answer.take() {
            None => self.request(haul),
            Some((answer, body)) => self.receive(haul, answer, body),
        };
        let problem = match done {
            Ok(()) if haul.answer.is_some() => return None,
            Ok(()) => {
                let progress = haul.cursor - haul.reached;
                if haul.cursor >= haul.end || progress >= PROGRESS_BYTES_MIN {
                    haul.failures = 0;
                    haul.reached = haul.cursor;
                    return None;
                }
                Problem { kind: Kind::Protocol, asked: None }
            }
            Err(Stop::LetGo) => {
                haul.is_over = true;
                return None;
            }
            Err(Stop::Failed(problem)) => problem,
        };
        self.world.note(|| format!("{problem:?} at {}", haul.cursor));
        let wait = self.goes_on(haul, problem);
        haul.is_over = wait.is_none();
        wait
    }

    fn request(&mut self, haul: &mut Haul) -> Result<(), Stop> {
        if !self.holds(haul) {
            return Err(Stop::LetGo);
        }
        let Some(job) = &self.job else { return Err(Stop::LetGo) };
        let range = match job.manner {
            Manner::OneStream if haul.cursor == 0 => None,
            _ => Some(haul.cursor..haul.end),
        };
        let ask = Ask { range };
        let known = Version { size: job.version.size, ..self.learned.clone().unwrap_or_default() };
        let conditional = !job.unconditional && ask.range.is_some();
        let can_condition = !job.unconditional && job.version.condition().is_some();
        match self.ask(&ask, conditional, Some(&known)) {
            Judged::Body(answer, body) => {
                assert_eq!(
                    answer.offset, haul.cursor,
                    "the gate lets only the byte asked for pass"
                );
                haul.answer = Some((answer, body));
                Ok(())
            }
            Judged::Empty | Judged::Changed => Err(self.anew(Anew::Changed)),
            Judged::Unranged if can_condition => {
                if let Some(job) = &mut self.job {
                    job.unconditional = true;
                }
                Err(Stop::Failed(Problem { kind: Kind::Protocol, asked: None }))
            }
            Judged::Unranged => Err(self.anew(Anew::OneStream)),
            Judged::Failed(problem) => Err(Stop::Failed(problem)),
        }
    }

    pub(super) fn anew(&mut self, why: Anew) -> Stop {
        let kind = if why == Anew::Changed { Kind::Changed } else { Kind::Protocol };
        self.world.note(|| format!("starts anew: {why:?}"));
        if self.table.start_anew(Stage::Running, why, kind) {
            self.forget();
        }
        Stop::LetGo
    }

    /// How long to wait before another attempt; `None` to give the lease back.
    fn goes_on(&mut self, haul: &mut Haul, problem: Problem) -> Option<Duration> {
        let progress = haul.cursor - haul.reached;
        haul.reached = haul.cursor;
        if progress >= PROGRESS_BYTES_MIN {
            haul.failures = 0;
        }
        haul.failures += 1;
        let (strong, manner) =
            self.job.as_ref().map(|job| (job.version.is_strong(), job.manner))?;
        if manner == Manner::OneStream && haul.cursor > 0 && !strong {
            if let Some(wait) = self.again(problem, haul.failures, u32::MAX) {
                self.hold(wait);
            }
            if self.table.start_anew(Stage::Running, Anew::Broken, problem.kind) {
                self.forget();
            }
            return None;
        }
        let now = self.ledger_now();
        if is_objection(problem.kind, progress) && self.table.objected(now) {
            return None;
        }
        match self.again(problem, haul.failures, u32::MAX) {
            Some(wait) => Some(wait),
            None if self.table.retire() => None,
            None => {
                self.table.fail(problem.kind);
                None
            }
        }
    }
}

fn is_objection(kind: Kind, progress: u64) -> bool {
    match kind {
        Kind::Refused | Kind::Unavailable => true,
        Kind::Connect | Kind::Reset => progress == 0,
        _ => false,
    }
}

/// How long an idle lane looks away.
const IDLE: Duration = Duration::from_millis(20);
