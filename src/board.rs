//! Deals leases to idle lanes, and turns the stages of one download.
//!
//! All that the lanes of a download share stands behind one plain mutex, touched per lease and per block. A stage ends
//! in two steps: it is *cancelled*, which every lane sees at its next step, and it is *over* when the last lane at work has
//! let go: no write of an old stage is in flight when a new one begins.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::digest::Follower;
use crate::error::{Error, Kind, Result};
use crate::gate::Version;
use crate::limits::RESTARTS_MAX;
use crate::pace::Pace;
use crate::plan::{Lease, LeaseId, Plan, Want};
use crate::sink::{Part, Sink};
use crate::throttle::Throttle;

/// What the lanes of one download share.
pub(crate) struct Board {
    state: Mutex<State>,
    /// Something changed for lanes that wait.
    changed: Notify,
    /// The download is over.
    over: Notify,
    rules: Rules,
}

/// What does not change during a download.
pub(crate) struct Rules {
    /// Times one stream may be fetched anew after it broke, because its bytes cannot be combined.
    pub(crate) retries: u32,
    /// Blocks of the smallest pool: how far ahead a stream may be dealt.
    pub(crate) window: u32,
}

struct State {
    stage: Stage,
    at_work: u32,
    manner: Manner,
    pace: Pace,
    /// Lanes that the server has been found to bear.
    lanes_max: u32,
    throttle: Option<Throttle>,
    /// Nobody asks before: the server wanted us to wait.
    hold: Option<Instant>,
    changes: u32,
    breaks: u32,
}

/// How the file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// In ranges, over several connections.
    Ranges,
    /// In one response, because ranges do not work or cannot be combined.
    OneStream,
}

/// Why a stage starts anew.
#[derive(Clone, Debug)]
pub(crate) enum Anew {
    /// The file changed on the server.
    Changed(String),
    /// Ranges do not work or must not be combined.
    OneStream,
    /// The one stream broke, and what came of it cannot be continued.
    Broken,
}

enum Stage {
    /// Somebody must ask for the first bytes.
    Unprobed,
    Probing,
    Running(Arc<Job>, Plan),
    /// Cancelled; becomes the next stage when no lane is at work.
    Ending(Next),
    Over(Option<Result<Ending>>),
}

enum Next {
    Unprobed,
    Over(Result<Ending>),
}

/// How a download went well.
pub(crate) enum Ending {
    /// Every block has landed.
    Landed(Arc<Job>, u64),
    /// The target is right as it is.
    UpToDate(u64),
}

/// One version of the file on its way into one sink.
pub(crate) struct Job {
    pub(crate) sink: Sink,
    part: Mutex<Option<Part>>,
    pub(crate) follower: Option<Follower>,
    pub(crate) version: Version,
    pub(crate) manner: Manner,
    /// Responses whose bytes went into the file.
    pub(crate) responses: AtomicU32,
    /// If-Range makes this server forget the range.
    unconditional: AtomicBool,
    cancel: Cancel,
}

/// A flag that can be waited for.
#[derive(Default)]
struct Cancel {
    set: AtomicBool,
    changed: Notify,
}

/// What a lane is to do next.
pub(crate) enum Deal {
    /// Ask for the first bytes, and find out what there is.
    Probe(Manner),
    /// Fetch these blocks.
    Fetch(Arc<Job>, Lease),
}

/// A lane at work. Dropping it says that the lane has let go of everything.
pub(crate) struct AtWork<'a>(&'a Board);

impl Job {
    pub(crate) fn new(
        sink: Sink,
        part: Option<Part>,
        follower: Option<Follower>,
        version: Version,
        manner: Manner,
    ) -> Self {
        Self {
            sink,
            part: Mutex::new(part),
            follower,
            version,
            manner,
            responses: AtomicU32::new(0),
            unconditional: AtomicBool::new(false),
            cancel: Cancel::default(),
        }
    }

    /// Takes the part file, to publish it.
    pub(crate) fn take_part(&self) -> Option<Part> {
        self.part.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether ranges must be asked for without a condition here.
    pub(crate) fn is_unconditional(&self) -> bool {
        self.unconditional.load(Relaxed)
    }

    pub(crate) fn set_unconditional(&self) {
        self.unconditional.store(true, Relaxed);
    }

    /// Whether the stage has ended: let go.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.set.load(Relaxed)
    }

    /// Waits until the stage has ended.
    pub(crate) async fn cancelled(&self) {
        let mut changed = std::pin::pin!(self.cancel.changed.notified());
        changed.as_mut().enable();
        if !self.is_cancelled() {
            changed.await;
        }
    }

    fn cancel(&self) {
        self.cancel.set.store(true, Relaxed);
        self.cancel.changed.notify_waiters();
    }
}

impl Board {
    pub(crate) fn new(rules: Rules, manner: Manner, pace: Pace, throttle: Option<Throttle>) -> Self {
        let stage = Stage::Unprobed;
        let lanes_max = u32::MAX;
        let state = State {
            stage,
            at_work: 0,
            manner,
            pace,
            lanes_max,
            throttle,
            hold: None,
            changes: 0,
            breaks: 0,
        };
        Self { state: Mutex::new(state), changed: Notify::new(), over: Notify::new(), rules }
    }

    /// Waits for something to do; `None` when the download is over.
    ///
    /// `at_least` is the number of blocks below which a request costs this lane more than it brings.
    pub(crate) async fn next(&self, at_least: u32) -> Option<(Deal, AtWork<'_>)> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let mut state = self.lock();
                if matches!(state.stage, Stage::Over(_)) {
                    return None;
                }
                if let Some(deal) = state.deal(at_least, self.rules.window) {
                    state.at_work += 1;
                    return Some((deal, AtWork(self)));
                }
            }
            changed.await;
        }
    }

    /// Begins to fetch: the probing lane has opened a sink. Returns the lease that its answer serves.
    pub(crate) fn run(&self, job: Arc<Job>, plan: Plan, blocks: u32) -> Option<Lease> {
        let mut state = self.lock();
        if !matches!(state.stage, Stage::Probing) {
            return None;
        }
        let mut plan = plan;
        let lease = plan.lease(&Want { lanes: 1, at_least: blocks, at_most: blocks, below: u32::MAX });
        state.stage = Stage::Running(Arc::clone(&job), plan);
        state.check_complete();
        self.wake(state);
        lease
    }

    /// Notes a block that has landed.
    pub(crate) fn landed(&self, job: &Job, lease: LeaseId, index: u32) {
        let mut state = self.lock();
        let Some(plan) = state.plan_of(job) else { return };
        plan.landed(lease, index);
        let frontier = plan.landed_prefix();
        let offset = plan.blocks().is_none_or(|blocks| frontier < blocks);
        let offset = if offset { Some(plan.extent(frontier).start) } else { plan.size() };
        if let (Some(follower), Some(offset)) = (&job.follower, offset) {
            follower.landed_below(offset);
        }
        let windowed = job.sink.is_in_order();
        state.check_complete();
        if windowed || matches!(state.stage, Stage::Ending(_)) {
            self.wake(state);
        }
    }

    /// Takes back what has not landed of a lease.
    pub(crate) fn give_back(&self, job: &Job, lease: LeaseId) {
        let mut state = self.lock();
        if let Some(plan) = state.plan_of(job) {
            plan.give_back(lease);
        }
        self.wake(state);
    }

    /// Notes where a stream of unknown size ended; before its last block lands.
    pub(crate) fn ended(&self, job: &Job, size: u64) {
        let mut state = self.lock();
        if let Some(plan) = state.plan_of(job) {
            plan.ended(size);
        }
        state.check_complete();
        self.wake(state);
    }

    /// The bytes of a block.
    pub(crate) fn extent(&self, job: &Job, index: u32) -> Option<std::ops::Range<u64>> {
        self.lock().plan_of(job).map(|plan| plan.extent(index))
    }

    /// Ends the download with a failure, unless it has ended already.
    pub(crate) fn fail(&self, error: Error) {
        self.end(Next::Over(Err(error)));
    }

    /// Ends the download because the target is right as it is.
    pub(crate) fn up_to_date(&self, size: u64) {
        self.end(Next::Over(Ok(Ending::UpToDate(size))));
    }

    /// Starts from the first byte again, as often as the reason allows; otherwise fails with `error`.
    pub(crate) fn start_anew(&self, why: &Anew, error: Error) {
        let mut state = self.lock();
        let possible = match &state.stage {
            Stage::Running(job, plan) => job.sink.can_start_anew() || plan.landed_bytes() == 0,
            _ => true,
        };
        let allowed = match why {
            Anew::Changed(_) => count(&mut state.changes) <= RESTARTS_MAX,
            Anew::Broken => count(&mut state.breaks) <= self.rules.retries,
            Anew::OneStream => state.manner != Manner::OneStream || count(&mut state.breaks) <= self.rules.retries,
        };
        if !matches!(why, Anew::Changed(_)) {
            state.manner = Manner::OneStream;
        }
        drop(state);
        self.end(if possible && allowed { Next::Unprobed } else { Next::Over(Err(error)) });
    }

    /// The server objected to one connection. Returns whether the lane should retire, because others are at work.
    pub(crate) fn objected(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let others = state.at_work.saturating_sub(1);
        let retire = others > 0 && state.pace.objected(now);
        if retire {
            // Otherwise the lane would be dealt the same lease at once.
            state.lanes_max = state.lanes_max.min(others);
        }
        retire
    }

    /// A lane has run out of attempts. Returns whether it should retire, because others are at work.
    pub(crate) fn retire(&self) -> bool {
        let mut state = self.lock();
        let others = state.at_work.saturating_sub(1);
        if others > 0 {
            state.lanes_max = state.lanes_max.min(others);
        }
        others > 0
    }

    /// Nobody asks the server for this long: it wanted us to wait.
    pub(crate) fn hold(&self, wait: Duration, now: Instant) {
        let mut state = self.lock();
        let until = now.checked_add(wait);
        state.hold = state.hold.max(until);
    }

    /// How long to wait before asking.
    pub(crate) fn held(&self, now: Instant) -> Duration {
        self.lock().hold.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// The most bytes to receive at once under the rate limit; `None` without one.
    pub(crate) fn slice(&self) -> Option<u64> {
        self.lock().throttle.as_ref().map(Throttle::slice)
    }

    /// Takes bytes from the rate limit and says how long to wait.
    pub(crate) fn throttle(&self, bytes: u64, now: Instant) -> Duration {
        let mut state = self.lock();
        state.throttle.as_mut().map_or(Duration::ZERO, |throttle| throttle.take(bytes, now))
    }

    /// Lets the number of connections follow what they bring.
    pub(crate) fn sample(&self, now: Instant, received: u64) {
        let mut state = self.lock();
        let before = state.pace.allowed();
        state.pace.sample(now, received);
        if state.pace.allowed() > before {
            self.wake(state);
        }
    }

    /// Waits for the end of the download and takes its result.
    pub(crate) async fn wait(&self) -> Result<Ending> {
        loop {
            let mut over = std::pin::pin!(self.over.notified());
            over.as_mut().enable();
            if let Stage::Over(result) = &mut self.lock().stage {
                return result.take().unwrap_or_else(|| {
                    Err(Error::new(Kind::Internal, "the result of a download was taken twice"))
                });
            }
            over.await;
        }
    }

    fn end(&self, next: Next) {
        let mut state = self.lock();
        match &state.stage {
            Stage::Over(_) | Stage::Ending(Next::Over(_)) => return,
            Stage::Running(job, _) => job.cancel(),
            Stage::Unprobed | Stage::Probing | Stage::Ending(Next::Unprobed) => {}
        }
        state.stage = Stage::Ending(next);
        self.settle(state);
    }

    /// Turns the stage if nobody is at work any more, and wakes whoever waits.
    fn settle(&self, mut state: MutexGuard<'_, State>) {
        if state.at_work == 0 {
            state.stage = match std::mem::replace(&mut state.stage, Stage::Unprobed) {
                Stage::Ending(Next::Over(result)) => Stage::Over(Some(result)),
                Stage::Ending(Next::Unprobed) => Stage::Unprobed,
                other => other,
            };
        }
        if matches!(state.stage, Stage::Over(_)) {
            self.over.notify_waiters();
        }
        self.wake(state);
    }

    fn wake(&self, state: MutexGuard<'_, State>) {
        drop(state);
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.at_work -= 1;
        if matches!(state.stage, Stage::Probing) && state.at_work == 0 {
            // The prober let go without a word: somebody else must ask.
            state.stage = Stage::Unprobed;
        }
        self.0.settle(state);
    }
}

impl State {
    fn deal(&mut self, at_least: u32, window: u32) -> Option<Deal> {
        match &mut self.stage {
            Stage::Unprobed => {
                self.stage = Stage::Probing;
                Some(Deal::Probe(self.manner))
            }
            Stage::Running(job, plan) => {
                let lanes = match job.manner {
                    Manner::OneStream => 1,
                    Manner::Ranges => u32::from(self.pace.allowed()).min(self.lanes_max),
                };
                if self.at_work >= lanes {
                    return None;
                }
                let fair = plan.free_blocks().div_ceil(lanes);
                let (at_most, below) = match job.sink.is_in_order() {
                    true => ((window / lanes).max(1), plan.landed_prefix().saturating_add(window)),
                    false => (u32::MAX, u32::MAX),
                };
                let at_least = if lanes == 1 { u32::MAX } else { at_least.min(fair).max(1) };
                let lease = plan.lease(&Want { lanes, at_least, at_most, below })?;
                Some(Deal::Fetch(Arc::clone(job), lease))
            }
            Stage::Probing | Stage::Ending(_) | Stage::Over(_) => None,
        }
    }

    fn plan_of(&mut self, job: &Job) -> Option<&mut Plan> {
        match &mut self.stage {
            Stage::Running(running, plan) if std::ptr::eq(&**running, job) => Some(plan),
            _ => None,
        }
    }

    fn check_complete(&mut self) {
        if let Stage::Running(job, plan) = &self.stage
            && let (true, Some(size)) = (plan.is_complete(), plan.size())
        {
            let landed = Ending::Landed(Arc::clone(job), size);
            self.stage = Stage::Ending(Next::Over(Ok(landed)));
        }
    }
}

fn count(counter: &mut u32) -> u32 {
    *counter += 1;
    *counter
}
