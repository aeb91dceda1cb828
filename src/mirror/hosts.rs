//! Who is asked next: hosts take turns, each as fast as it bears, and what failed waits for its time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::host::{Claim, Host, Ready, Waiting, seats};
use super::queues::Queue;
use crate::courtesy::{Ended, Permit, Verdict};
use crate::error::{Error, Kind, Result};
use crate::limits::LARGE_AT_ONCE;

/// The hosts of a run.
pub(super) struct Hosts {
    inner: Mutex<Inner>,
    /// Wakes those who wait, on each thread.
    changed: Vec<Notify>,
}

struct Inner {
    hosts: Vec<Host>,
    /// Whose turn it is.
    turn: usize,
    /// Claims that have not ended.
    in_flight: usize,
    large_in_flight: usize,
    /// Claims of each thread that wait for their hosts.
    by_thread: Vec<usize>,
    /// Why no more is begun.
    closed: bool,
    failure: Option<Error>,
}

/// What to do next.
pub(super) enum Next {
    Claim(Box<Claim>),
    /// Nothing before this time, unless something changes.
    Wait(Duration),
    /// There is nothing left, or no more is to be begun.
    Over,
}

impl Hosts {
    pub(super) fn new(queues: Vec<Queue>, per_host: u16, threads: usize) -> Result<Self> {
        let inner = Inner {
            hosts: hosts_of(queues, per_host, threads)?,
            turn: 0,
            in_flight: 0,
            large_in_flight: 0,
            by_thread: vec![0; threads],
            closed: false,
            failure: None,
        };
        let changed = (0..threads).map(|_| Notify::new()).collect();
        Ok(Self { inner: Mutex::new(inner), changed })
    }

    /// Takes more to do, once all is done. Nothing that hosts have shown so far counts any more.
    pub(super) fn refill(&self, queues: Vec<Queue>, per_host: u16) -> Result<()> {
        let threads = self.changed.len();
        let hosts = hosts_of(queues, per_host, threads)?;
        let mut inner = self.inner();
        (inner.hosts, inner.turn, inner.by_thread) = (hosts, 0, vec![0; threads]);
        Ok(())
    }

    /// Leaves all there is to do to the first threads: there are no others.
    pub(super) fn leave_to(&self, threads: usize, per_host: u16) {
        let mut inner = self.inner();
        inner.by_thread.truncate(threads);
        for (at, host) in inner.hosts.iter_mut().enumerate() {
            host.reseat(seats(per_host, threads, at));
        }
    }

    /// What to do next on a thread; waits until there is something.
    pub(super) async fn next(&self, thread: usize) -> Option<Box<Claim>> {
        loop {
            let mut changed = std::pin::pin!(self.changed[thread].notified());
            changed.as_mut().enable();
            let (next, other) = self.look(thread, Instant::now());
            match next {
                Ok(Next::Claim(claim)) => {
                    // Whoever ends asks again by himself; one of those who wait is woken only for what is
                    // left.
                    if let Some(other) = other {
                        self.changed[other].notify_one();
                    }
                    return Some(claim);
                }
                Ok(Next::Over) => {
                    self.wake_all();
                    return None;
                }
                Ok(Next::Wait(wait)) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep(wait) => {}
                    }
                }
                Err(error) => self.fail(error),
            }
        }
    }

    /// What to do next, and which thread has more to do then.
    fn look(&self, thread: usize, now: Instant) -> (Result<Next>, Option<usize>) {
        let mut inner = self.inner();
        let next = inner.next(thread, now);
        let other = matches!(next, Ok(Next::Claim(_))).then(|| inner.idlest(now)).flatten();
        (next, other)
    }

    fn wake_all(&self) {
        self.changed.iter().for_each(Notify::notify_waiters);
    }

    /// All of an answer has come: its host may be asked for more while the entry is written.
    pub(super) fn answered(&self, claim: &Claim) {
        if claim.is_answered.replace(true) {
            return;
        }
        self.inner().leave(claim, Ended::Good);
        // Whoever is done here writes first, and asks then.
        self.changed[claim.thread].notify_one();
    }

    /// An entry has come to its end, or to the end of an attempt: what that says of its host.
    pub(super) fn ended(&self, claim: &Claim, ended: Ended) -> Verdict {
        let mut inner = self.inner();
        inner.in_flight -= 1;
        inner.large_in_flight -= usize::from(claim.is_large);
        match claim.is_answered.get() {
            true => Verdict::Final,
            false => inner.leave(claim, ended),
        }
    }

    /// The host of an entry could not be reached; said before the entry ends.
    pub(super) fn broke(&self, claim: &Claim, kind: Kind) {
        self.inner().hosts[claim.host].broken = kind;
    }

    /// An entry is to be tried again after some time.
    pub(super) fn again(&self, claim: Claim, after: Duration) {
        let due = Instant::now() + after;
        let Claim { task, attempts, is_large, host, .. } = claim;
        let waiting = Waiting { due, task, attempts: attempts + 1, is_large };
        self.inner().hosts[host].waiting.push(waiting);
    }

    /// An entry has turned out to be large.
    pub(super) fn turned_large(&self, claim: Claim) {
        let mut inner = self.inner();
        inner.hosts[claim.host].turned_large.push_back((claim.task, claim.attempts));
    }

    /// Begins nothing more.
    pub(super) fn close(&self) {
        self.inner().closed = true;
        self.wake_all();
    }

    /// Begins nothing more, for this reason; the first counts.
    pub(super) fn fail(&self, error: Error) {
        self.inner().failure.get_or_insert(error);
        self.close();
    }

    /// Whether nothing more is to be begun.
    pub(super) fn is_closed(&self) -> bool {
        self.inner().closed
    }

    /// Why the run cannot go on, if it cannot.
    pub(super) fn failure(&self) -> Option<Error> {
        self.inner().failure.take()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hosts_of(queues: Vec<Queue>, per_host: u16, threads: usize) -> Result<Vec<Host>> {
    let numbered = queues.into_iter().enumerate();
    numbered.map(|(at, queue)| Host::new(queue, seats(per_host, threads, at))).collect()
}

impl Inner {
    fn next(&mut self, thread: usize, now: Instant) -> Result<Next> {
        if self.closed {
            return Ok(Next::Over);
        }
        if self.by_thread[thread] > 0 && self.by_thread[thread] >= self.share() {
            return Ok(Next::Wait(IDLE_WAIT));
        }
        let (mut wait, mut is_left) = (IDLE_WAIT, self.in_flight > 0);
        for step in 0..self.hosts.len() {
            let at = (self.turn + step) % self.hosts.len();
            let may_be_large = self.large_in_flight < LARGE_AT_ONCE;
            let host = &mut self.hosts[at];
            is_left |= !host.is_empty();
            if !host.has_seat(thread) {
                continue;
            }
            match host.ready(now, may_be_large) {
                Ready::Now => {}
                Ready::In(time) => {
                    wait = wait.min(time);
                    continue;
                }
                Ready::Not => continue,
            }
            let is_lost = host.courtesy.is_given_up();
            match if is_lost { Permit::Yes } else { host.courtesy.may_begin(now) } {
                Permit::Yes => {}
                Permit::Wait(time) => {
                    wait = wait.min(time);
                    continue;
                }
                Permit::Full => continue,
            }
            let lost = is_lost.then_some(host.broken);
            let mut claim = host.take(at, now, may_be_large, lost)?;
            claim.thread = thread;
            host.taken[thread] += 1;
            self.by_thread[thread] += 1;
            self.turn = at + 1;
            self.in_flight += 1;
            self.large_in_flight += usize::from(claim.is_large);
            return Ok(Next::Claim(Box::new(claim)));
        }
        Ok(if is_left { Next::Wait(wait) } else { Next::Over })
    }

    /// A host has nothing more to do for an entry.
    fn leave(&mut self, claim: &Claim, ended: Ended) -> Verdict {
        self.by_thread[claim.thread] -= 1;
        let Host { courtesy, taken, .. } = &mut self.hosts[claim.host];
        taken[claim.thread] -= 1;
        let now = Instant::now();
        for _ in 1..claim.connections {
            courtesy.ended(Ended::Unasked, now);
        }
        match claim.lost {
            Some(_) => Verdict::Final,
            None => courtesy.ended(ended, now),
        }
    }

    /// What a thread may have in flight: whoever ends asks again at once, so that one thread alone would do
    /// all that is allowed.
    fn share(&self) -> usize {
        let busy = self.hosts.iter().filter(|host| !host.is_empty());
        let allowed: usize = busy.map(|host| usize::from(host.courtesy.allowed())).sum();
        allowed.div_ceil(self.by_thread.len()).max(1)
    }

    /// Of the threads that could begin something now, the one that has the least in flight.
    fn idlest(&self, now: Instant) -> Option<usize> {
        let may_be_large = self.large_in_flight < LARGE_AT_ONCE;
        let could = |thread: &usize| {
            self.hosts.iter().any(|host| {
                let may_begin = host.courtesy.is_given_up() || host.courtesy.would_begin(now);
                let is_ready = matches!(host.ready(now, may_be_large), Ready::Now);
                may_begin && is_ready && host.has_seat(*thread)
            })
        };
        let threads = 0..self.by_thread.len();
        threads.filter(could).min_by_key(|thread| self.by_thread[*thread])
    }
}

/// The longest wait before another look, where nothing says how long it may take.
const IDLE_WAIT: Duration = Duration::from_secs(1);
