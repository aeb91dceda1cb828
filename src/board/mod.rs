//! Deals leases to idle lanes, and turns the stages of one download. The race for late blocks is in `race`.
//!
//! All that the lanes of a download share stands behind one plain mutex, touched per lease and per block. A
//! stage ends in two steps: it is *cancelled*, which every lane sees at its next step, and it is *over*
//! when the last lane at work has let go: no write of an old stage is in flight when a new one begins.

mod at_work;
mod digesting;
mod job;
mod race;
mod state;

pub(crate) use at_work::AtWork;
pub(crate) use digesting::Digesting;
pub(crate) use job::Job;
pub(crate) use race::{Asker, Making, Step};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use url::Origin;

use self::state::{Next, Stage, State};
use crate::error::{Error, Kind, Result};
use crate::limits::{LATE_MIN, RESTARTS_MAX};
use crate::options::Verified;
use crate::pace::Pace;
use crate::plan::{Lease, LeaseId, Plan, Want};
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
    /// The receive buffer of each connection in bytes; `None` leaves it to the kernel.
    pub(crate) receive_buffer: Option<u64>,
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

/// How a download went well.
pub(crate) enum Ending {
    /// Every block has landed.
    Landed(Arc<Job>, u64),
    /// The target is right as it is, for this reason.
    UpToDate(u64, Verified),
}

/// What a lane is to do next.
pub(crate) enum Deal {
    /// Ask for the first bytes, and find out what there is.
    Probe(Manner),
    /// Fetch these blocks.
    Fetch(Arc<Job>, Lease),
}

impl Board {
    pub(crate) fn new(
        rules: Rules,
        manner: Manner,
        pace: Pace,
        throttle: Option<Throttle>,
    ) -> Self {
        let state = Mutex::new(State::new(manner, pace, throttle));
        Self { state, changed: Notify::new(), over: Notify::new(), rules }
    }

    /// Waits for something to do; `None` when the download is over.
    pub(crate) async fn next(&self, asker: &Asker) -> Option<(Deal, AtWork<'_>)> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let look_again = {
                let mut state = self.lock();
                if matches!(state.stage, Stage::Over(_)) {
                    return None;
                }
                if let Some(deal) = state.deal(asker, self.rules.window, Instant::now()) {
                    state.at_work += 1;
                    return Some((deal, AtWork::new(self)));
                }
                state.may_fall_late()
            };
            tokio::select! {
                biased;
                () = changed => {}
                // Nobody tells when others fall behind.
                () = tokio::time::sleep(LATE_MIN), if look_again => {}
            }
        }
    }

    /// Begins to fetch: the probing lane has opened a sink. Returns the lease that its answer serves: as many
    /// `blocks` from the first that is free, or none.
    pub(crate) fn run(&self, job: Arc<Job>, plan: Plan, blocks: u32) -> Option<Lease> {
        let mut state = self.lock();
        if !matches!(state.stage, Stage::Probing) {
            return None;
        }
        let mut plan = plan;
        let blocks = blocks.min(state.first_blocks_max(&job, self.rules.window));
        let want = Want { lanes: 1, at_least: blocks, at_most: blocks, below: u32::MAX };
        let lease = if blocks > 0 { plan.lease(&want) } else { None };
        job.digesting.follow(&plan);
        state.stage = Stage::Running(job, plan);
        state.check_complete();
        self.wake(state);
        lease
    }

    /// Notes a block that has landed.
    pub(crate) fn landed(&self, job: &Job, lease: LeaseId, index: u32) {
        let mut state = self.lock();
        let Some(plan) = state.plan_of(job) else { return };
        plan.landed(lease, index);
        job.digesting.follow(plan);
        let windowed = job.is_in_order();
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
    pub(crate) fn up_to_date(&self, size: u64, verified: Verified) {
        self.end(Next::Over(Ok(Ending::UpToDate(size, verified))));
    }

    /// Starts from the first byte again, as often as the reason allows; otherwise fails with `error`.
    ///
    /// `job` is what the lane works on, `None` for the prober. Several lanes may notice the same change:
    /// only the first counts. Returns whether this call was it and the download goes on.
    pub(crate) fn start_anew(&self, job: Option<&Job>, why: &Anew, error: Error) -> bool {
        let mut state = self.lock();
        let possible = match (&state.stage, job) {
            (Stage::Running(running, _), Some(job)) if std::ptr::eq(&**running, job) => {
                job.sink.give_up()
            }
            (Stage::Probing, None) => true,
            _ => return false,
        };
        let retries = self.rules.retries;
        let allowed = match why {
            Anew::Changed(_) => count(&mut state.changes) <= RESTARTS_MAX,
            Anew::Broken => count(&mut state.breaks) <= retries,
            Anew::OneStream if state.manner == Manner::Ranges => true,
            Anew::OneStream => count(&mut state.breaks) <= retries,
        };
        // Nodes that name one version differently never agree; a single response cannot contradict itself.
        if !matches!(why, Anew::Changed(_)) || state.changes == RESTARTS_MAX {
            state.manner = Manner::OneStream;
        }
        let goes_on = possible && allowed;
        self.end_stage(state, if goes_on { Next::Unprobed } else { Next::Over(Err(error)) });
        goes_on
    }

    /// No lane asks this origin for so long: it wanted us to wait.
    pub(crate) fn hold(&self, origin: &Origin, wait: Duration, now: Instant) {
        self.lock().holds.hold(origin, wait, now);
    }

    /// How long to wait before asking this origin.
    pub(crate) fn held(&self, origin: &Origin, now: Instant) -> Duration {
        self.lock().holds.left(origin, now)
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

    /// The receive buffer that a new connection should have, in bytes; `None` leaves it to the kernel.
    pub(crate) fn receive_buffer(&self) -> Option<u64> {
        self.rules.receive_buffer
    }

    /// A new connection answers: the wire fills its buffer at once, whatever is taken from it.
    pub(crate) fn dialled(&self, now: Instant) {
        if let Some(bytes) = self.rules.receive_buffer {
            // With large packets the kernel finds room for nearly twice of what it was asked for.
            self.throttle(bytes.saturating_mul(2), now);
        }
    }

    /// Gives back what was taken from the rate limit and not received.
    pub(crate) fn give_back_rate(&self, bytes: u64) {
        if let Some(throttle) = &mut self.lock().throttle {
            throttle.give_back(bytes);
        }
    }

    /// Lets the number of connections follow what they bring.
    pub(crate) fn sample(&self, now: Instant, received: u64) {
        let mut state = self.lock();
        let before = state.pace.allowed();
        match &state.throttle {
            // More connections would share the same rate.
            Some(throttle) if throttle.is_exhausted(now) => state.pace.pass(now, received),
            _ => state.pace.sample(now, received),
        }
        if state.pace.allowed() > before {
            self.wake(state);
        }
    }

    /// Waits until the stage is about to end: whoever still asks should stop.
    pub(crate) async fn ending(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if matches!(self.lock().stage, Stage::Ending(_) | Stage::Over(_)) {
                return;
            }
            changed.await;
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
        self.end_stage(self.lock(), next);
    }

    fn end_stage(&self, mut state: MutexGuard<'_, State>, next: Next) {
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

fn count(counter: &mut u32) -> u32 {
    *counter += 1;
    *counter
}
