//! One entry from its first question to its place in the tree.
//!
//! What is small is received here ([`super::delivery`]); what is large goes to the engine, which splits it
//! over lanes. Invariant: what a failure says of an entry, and what it says of a host, is judged apart.

use std::rc::Rc;
use std::sync::Arc;

use super::crew::Shared;
use super::decide::Need;
use super::evidence::{
    Checking, blame, check_file, check_size, condition, is_same, is_worth_another, lost,
};
use super::host::Claim;
use super::page::{Asker, Heard, Trouble};
use super::results::Ending;
use crate::block::Block;
use crate::catalog::Record;
use crate::courtesy::{Ended, Verdict};
use crate::error::{Error, Kind, Result};
use crate::io::Io;
use crate::limits::{PIPELINED_BODY_MAX, RECEIVE_SLICE};
use crate::manifest::Entry;
use crate::retry::{self, Decision, Policy};
use crate::wire::{Near, Route};

/// One of those who run errands, with its memory.
pub(super) struct Runner {
    io: Io,
    pub(super) shared: Arc<Shared>,
    thread: usize,
    near: Rc<Near>,
    pub(super) buffer: Option<Block>,
}

/// What an attempt came to.
pub(super) enum Done {
    Ended(Ending),
    /// The file that is there is the one: nobody was asked.
    IsRight(Record),
    /// It has to be fetched as a large one.
    IsLarge,
    /// The file that is there is not the one, and it waits for another of the same digest.
    Waits,
}

impl Runner {
    pub(super) fn new(io: Io, shared: Arc<Shared>, thread: usize, near: Rc<Near>) -> Self {
        Self { io, shared, thread, near, buffer: None }
    }

    /// Runs errands until there are none.
    pub(super) async fn run(mut self) {
        while let Some(claim) = self.shared.hosts.next(self.thread).await {
            let shared = Arc::clone(&self.shared);
            let stopped = async {
                shared.stopper.stopped().await;
                shared.hosts.close();
            };
            tokio::select! {
                biased;
                () = self.see_to(*claim) => {}
                () = stopped => return,
            }
        }
    }

    /// Makes one attempt at an entry, and draws the conclusions.
    async fn see_to(&mut self, claim: Claim) {
        let shared = Arc::clone(&self.shared);
        let entry = match shared.catalog.read_at(claim.task.position) {
            Ok(entry) => entry,
            Err(error) => return shared.hosts.fail(error),
        };
        let _in_flight = shared.counts.in_flight();
        let mut attempt = match claim.lost {
            Some(kind) => self.without_host(&claim, &entry, kind).await,
            None => self.attempt(&claim, &entry).await,
        };
        if let Ok(Done::Ended(Ending::Fetched(record))) = &mut attempt
            && !claim.is_large
        {
            record.url = entry.urls[turn(&claim, &entry)].to_string();
        }
        let ending = match attempt {
            Ok(Done::Ended(ending)) => {
                shared.hosts.ended(&claim, Ended::Good);
                ending
            }
            Ok(Done::IsRight(record)) => {
                shared.hosts.ended(&claim, Ended::Unasked);
                Ending::Unchanged(Some(record))
            }
            Ok(Done::IsLarge) => {
                shared.hosts.ended(&claim, Ended::Good);
                return shared.hosts.turned_large(claim);
            }
            Ok(Done::Waits) => {
                shared.hosts.ended(&claim, Ended::Unasked);
                return;
            }
            Err(trouble) => {
                let kind = trouble.error.kind();
                if kind == Kind::Interrupted {
                    // It has no ending: the run is about to end.
                    return shared.hosts.close();
                }
                if kind == Kind::NoSpace {
                    // Whatever comes next needs room too; the next run goes on from here.
                    return shared.hosts.fail(trouble.error);
                }
                let blamed = blame(&trouble);
                if blamed == Ended::Broken {
                    shared.hosts.broke(&claim, kind);
                }
                let verdict = shared.hosts.ended(&claim, blamed);
                let failures = claim.attempts + 1;
                match (self.judge(&claim, &entry, &trouble.error), verdict) {
                    (_, Verdict::Again(wait)) if failures < ATTEMPTS_MAX => {
                        return shared.hosts.again(claim, wait);
                    }
                    (Decision::Again(wait), _) if claim.lost.is_none() => {
                        return shared.hosts.again(claim, wait);
                    }
                    _ => Ending::Failed(trouble.error, failures),
                }
            }
        };
        shared.trials.end(claim.task.ordinal);
        if let Err(error) = shared.tally.end(claim.task.ordinal, &entry, ending) {
            shared.hosts.fail(error);
        }
    }

    /// What follows an attempt that failed, whatever its host makes of it.
    fn judge(&self, claim: &Claim, entry: &Entry, error: &Error) -> Decision {
        let (kind, failures) = (error.kind(), claim.attempts + 1);
        let policy = Policy { retries: self.shared.order.options.retries };
        match retry::judge(kind, failures, error.wait_asked(), fastrand::f64(), &policy) {
            Decision::Again(wait) => Decision::Again(wait),
            // No other run is at work here: the kernel still ends one that was killed.
            Decision::GiveUp
                if kind == Kind::Exists && claim.is_large && failures < HELD_ATTEMPTS_MAX =>
            {
                Decision::Again(RECEIVE_SLICE)
            }
            // Another copy of the file may have the digest.
            Decision::GiveUp => {
                let has_kept = || self.shared.trials.has_kept(claim.task.ordinal);
                match is_worth_another(kind, failures, entry, has_kept) {
                    true => Decision::Again(std::time::Duration::ZERO),
                    false => Decision::GiveUp,
                }
            }
        }
    }

    /// What can be done for an entry whose host has been given up: look whether it is there already.
    async fn without_host(
        &self,
        claim: &Claim,
        entry: &Entry,
        kind: Kind,
    ) -> Result<Done, Trouble> {
        match claim.task.need {
            Need::Look => self.look(entry).await,
            Need::Hash => {
                let right = self.hash(entry).await?;
                right.map(Done::IsRight).ok_or_else(|| lost(entry, kind))
            }
            _ => Err(lost(entry, kind)),
        }
    }

    /// Reads the file that is there, and asks nobody.
    async fn look(&self, entry: &Entry) -> Result<Done, Trouble> {
        Ok(self.hash(entry).await?.map_or(Done::Waits, Done::IsRight))
    }

    async fn attempt(&mut self, claim: &Claim, entry: &Entry) -> Result<Done, Trouble> {
        let past_caches = claim.attempts > 0;
        if claim.is_large {
            return Ok(Done::Ended(self.large(claim, entry).await?));
        }
        let known = match &claim.task.need {
            Need::Hash if claim.attempts == 0 => {
                if let Some(record) = self.hash(entry).await? {
                    return Ok(Done::IsRight(record));
                }
                None
            }
            Need::Look => return self.look(entry).await,
            Need::Check(known) => Some(known),
            _ => None,
        };
        // Each attempt goes to the next address, if there are several.
        let turn = turn(claim, entry);
        let home = self.shared.order.home(entry);
        let mut route = Route::new(entry.urls[turn].clone(), home);
        // That nothing has changed since a date says nothing of a file that somebody else has put there, nor
        // of its size: then the answer has to name both.
        // Validators of one address say nothing of another.
        let condition = known.filter(|known| known.is_recorded && turn == 0).and_then(condition);
        let is_checked = !past_caches && condition.is_none() && self.may_wait_in_line(entry);
        let asker = Asker {
            io: &self.io,
            options: &self.shared.order.options,
            counts: &self.shared.counts,
            tempo: self.shared.tempo.as_deref(),
            near: Some(&self.near),
            is_checked,
        };
        let heard = asker.ask(&mut route, condition, past_caches).await?;
        if self.shared.order.is_walk() {
            check_file(&entry.urls[turn], route.url())?;
        }
        match heard {
            Heard::Same if known.is_some() => match self.shared.tree.stat(&entry.path)? {
                Some(_) => Ok(Done::Ended(self.unchanged(entry, None)?)),
                None => {
                    let message = "the file was removed while the server was asked about it";
                    Err(Error::new(Kind::Changed, message).into())
                }
            },
            Heard::Body(answer, response) => {
                let done = self.body(claim, entry, route.url(), known, answer, *response).await;
                let is_wrong = |trouble: &Trouble| trouble.error.kind() == Kind::Digest;
                if is_checked && done.as_ref().is_err_and(is_wrong) {
                    self.near.doubt(&route);
                }
                done
            }
            Heard::Empty(version) => {
                check_size(entry, Some(0))?;
                if let Some(known) = known
                    && let Some(there) = self.shared.tree.stat(&entry.path)?
                    && is_same(known, &version, &there)
                {
                    return Ok(Done::Ended(self.unchanged(entry, Some(&version))?));
                }
                let draft = self.shared.tree.create(&entry.path)?;
                Ok(Done::Ended(self.publish(entry, &version, draft, Checking::new(entry), 0)?))
            }
            Heard::Same => {
                let message = "the server says that nothing changed, and was not asked";
                Err(Error::new(Kind::Protocol, message).into())
            }
        }
    }

    /// Whether the answer may come behind others: it is small, and held against a digest. What comes this way
    /// is not held back by a rate.
    fn may_wait_in_line(&self, entry: &Entry) -> bool {
        let is_small = entry.size.is_some_and(|size| size <= PIPELINED_BODY_MAX);
        is_small && entry.checksum.is_some() && self.shared.throttle.is_none()
    }
}

/// Which of the addresses of an entry is asked.
fn turn(claim: &Claim, entry: &Entry) -> usize {
    usize::try_from(claim.attempts).unwrap_or(0) % entry.urls.len()
}

/// Attempts to begin a large entry whose file somebody holds.
const HELD_ATTEMPTS_MAX: u32 = 4;
/// Attempts of one entry, however often its host wants it to come again.
const ATTEMPTS_MAX: u32 = 30;
