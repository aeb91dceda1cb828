//! Brings a lease home: as many answers as it takes, from the byte reached.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::ask::Judged;
use super::failure::Since;
use super::tries::Tries;
use super::writes::{Commit, Writes, Written};
use super::{Anew, Answer, Ask, AtWork, Job, Lane, Lease, Manner, Response};
use crate::block::{Block, Place};
use crate::error::{Error, Kind, Result};
use crate::limits::{LATE_MIN, ODD_ANSWERS_MAX, PROGRESS_BYTES_MIN, SLOW_MAX};
use crate::meter::Event;
use crate::units::{narrow, rate, wide};

/// One lease on its way.
pub(super) struct Haul<'a> {
    pub(super) lane: &'a mut Lane,
    pub(super) at_work: &'a AtWork<'a>,
    pub(super) job: Arc<Job>,
    pub(super) lease: Lease,
    /// File offset of the next byte.
    pub(super) cursor: u64,
    /// File offset behind the lease; `u64::MAX` while the size is unknown.
    pub(super) end: u64,
    /// The block that is being filled, and that keeps what it has across answers.
    pub(super) block: Option<Block>,
    /// Blocks on their way into the sink, oldest first.
    pub(super) writes: Writes,
    /// Times that the connection of this lease was replaced because it was too slow.
    pub(super) replaced: u32,
    /// Refusals that were tried again.
    pub(super) refusals: u32,
}

/// Why a haul stops before its end.
pub(super) enum Stop {
    /// This connection failed; the lease may be tried again.
    Failed(Error),
    /// This connection brings nothing or next to it; a fresh one goes on from the byte reached.
    Slow,
    /// The stage is over, a sink failed or another lane has the rest: the board knows already.
    LetGo,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl<'a> Haul<'a> {
    pub(super) fn new(
        lane: &'a mut Lane,
        at_work: &'a AtWork<'a>,
        job: Arc<Job>,
        lease: Lease,
    ) -> Self {
        let (cursor, end) = bounds(lane, &job, &lease);
        let (block, writes) = (None, Writes::default());
        Self { lane, at_work, job, lease, cursor, end, block, writes, replaced: 0, refusals: 0 }
    }

    /// Works until the lease has landed or was given back. `first` is an answer that is there already.
    pub(super) async fn run(mut self, first: Option<(Answer, Box<Response>)>) {
        self.job.sink.prepare(&self.lane.io, &self.lane.pool);
        self.bring(first).await;
        while let Some(more) = self.settle_all().await {
            (self.cursor, self.end) = bounds(self.lane, &self.job, &more);
            (self.lease, self.replaced) = (more, 0);
            self.bring(None).await;
        }
    }

    /// Receives the lease, and gives back what of it cannot be had.
    async fn bring(&mut self, first: Option<(Answer, Box<Response>)>) {
        if self.lease.twin {
            let block = self.lease.blocks.start;
            let message = format!("block {block} is late: asking for it once more");
            self.lane.fetch.meter.tell(Event::Detail(message));
        }
        let started = (Instant::now(), self.cursor);
        let fetch = Arc::clone(&self.lane.fetch);
        let mut tries = Tries::new(&fetch);
        let mut answer = first;
        let mut reached = self.cursor;
        // A refusal takes no time in which others could receive; the wait before the next attempt does.
        let mut refused_at = None;
        while self.cursor < self.end {
            let heard = refused_at.take().unwrap_or_else(|| fetch.meter.received());
            let attempt = self.attempt(answer.take()).await;
            let progress = self.cursor - reached;
            reached = self.cursor;
            let received = fetch.meter.received();
            let others = received > heard + progress;
            refused_at = (progress == 0).then_some(received);
            let error = match attempt {
                // An answer may bring less than was asked for, but a server that brings crumbs is none.
                Ok(()) if self.cursor < self.end && progress < PROGRESS_BYTES_MIN => {
                    let message = format!("the server sends only {progress} bytes at a time");
                    Error::new(Kind::Protocol, message)
                }
                Ok(()) => {
                    self.lane.pulse.broke = false;
                    tries.progressed(progress);
                    continue;
                }
                Err(Stop::Failed(error)) => error,
                Err(Stop::Slow) => continue,
                Err(Stop::LetGo) => break,
            };
            if !self.goes_on(&mut tries, error, &Since { progress, others }).await {
                break;
            }
            if self.cursor == self.end
                && let Some(block) = self.block.take()
            {
                // All of it came, and then the answer failed: whoever sends it again is counted on.
                self.cursor = block.offset();
                reached = self.cursor;
                self.waste(block);
            }
        }
        self.lane.pulse.rate = rate(self.cursor - started.1, started.0.elapsed());
        // Before the lease ends: a window of the file must be back when the block is dealt anew.
        if let Some(block) = self.block.take() {
            self.waste(block);
            // This was no measure of what the lane can do.
            self.lane.pulse.rate = 0.0;
        }
        self.lane.board.give_back(&self.job, self.lease.id);
    }

    /// Lets a block go that is not committed.
    fn waste(&self, block: Block) {
        self.lane.fetch.meter.waste(wide(block.filled()));
        drop(block);
    }

    /// The block at the cursor.
    pub(super) fn index(&self) -> u32 {
        let at_cursor = || self.cursor / self.lane.fetch.block_size();
        self.block
            .as_ref()
            .map_or_else(|| u32::try_from(at_cursor()).unwrap_or(u32::MAX), Block::index)
    }

    /// Waits until there is no use in going on: the stage is over, or another lane has the block at the
    /// cursor.
    pub(super) fn released(&self) -> impl Future<Output = ()> + use<> {
        let (board, job) = (Arc::clone(&self.lane.board), Arc::clone(&self.job));
        let (lease, index) = (self.lease.id, self.index());
        async move { board.released(&job, lease, index).await }
    }

    /// One answer: asked for if it is not there, and received to its end.
    async fn attempt(&mut self, answer: Option<(Answer, Box<Response>)>) -> Result<(), Stop> {
        let (answer, response) = match answer {
            Some(there) => there,
            None => self.request().await?,
        };
        self.job.responses.fetch_add(1, Relaxed);
        let fetch = Arc::clone(&self.lane.fetch);
        let _receiving = fetch.meter.connection();
        self.receive(&answer, response).await
    }

    /// Asks for what is missing of the lease.
    async fn request(&mut self) -> Result<(Answer, Box<Response>), Stop> {
        let range = match self.job.manner {
            Manner::OneStream if self.cursor == 0 => None,
            _ => Some(self.cursor..self.end),
        };
        let ask = Ask { range };
        let (job, released) = (Arc::clone(&self.job), self.released());
        let conditional = !job.is_unconditional() && job.version.condition().is_some();
        let patience = self.lane.board.answer_limit().filter(|_| self.replaced < SLOW_MAX);
        let judged = tokio::select! {
            biased;
            () = released => return Err(Stop::LetGo),
            judged = self.lane.ask(&ask, Some(&job), patience) => judged?,
        };
        match judged {
            Judged::Body(answer, response) => Ok((answer, response)),
            Judged::Late => Err(self.replace()),
            Judged::Empty(_) => Err(self.anew(&Anew::Changed("the file is empty now".into()))),
            Judged::Changed(why) => Err(self.anew(&Anew::Changed(why))),
            Judged::Unranged(_) if conditional => {
                // Some servers forget the range when asked conditionally; the gate compares versions all
                // the same.
                job.set_unconditional();
                job.answered_oddly();
                Err(Error::new(Kind::Protocol, "the server ignores ranges under a condition")
                    .into())
            }
            Judged::Unranged(why) => Err(self.unranged(why)),
        }
    }

    /// What follows an answer to a range that cannot be trusted. One among good ones must not cost what has
    /// landed.
    pub(super) fn unranged(&self, why: String) -> Stop {
        let is_forgiven = self.job.answered_oddly() < ODD_ANSWERS_MAX;
        if is_forgiven && self.lane.fetch.options.retries > 0 {
            return Error::new(Kind::Protocol, why).into();
        }
        self.lane.fetch.meter.tell(Event::Detail(why));
        self.anew(&Anew::OneStream)
    }

    /// Gives the connection up for a fresh one.
    pub(super) fn replace(&mut self) -> Stop {
        self.replaced += 1;
        let message = "replacing a connection that is far slower than the others";
        self.lane.fetch.meter.tell(Event::Detail(message.into()));
        Stop::Slow
    }

    /// The block at the cursor: the one that is being filled, or one from the sink, which may take its time.
    pub(super) async fn lend(&mut self) -> Result<Block, Stop> {
        if let Some(block) = self.block.take() {
            return Ok(block);
        }
        let place = self.place();
        if !self.lane.board.claim(&self.job, self.lease.id, place.index) {
            return Err(Stop::LetGo);
        }
        let job = Arc::clone(&self.job);
        // Not every sink lends from a pool, which would be the bound. The clock of the block stands still.
        while !job.is_in_order() && self.writes.are_many() {
            let released = self.released();
            tokio::select! {
                biased;
                () = released => return Err(Stop::LetGo),
                done = self.writes.oldest() => self.settle(done)?,
            }
        }
        let block = loop {
            let released = self.released();
            let lent = async {
                match self.lease.twin {
                    true => job.lend_twin(&self.lane.pool, place).await,
                    false => job.sink.lend(&self.lane.pool, place).await,
                }
            };
            tokio::select! {
                biased;
                () = released => return Err(Stop::LetGo),
                block = lent => break block,
                // Memory that a finished write still holds comes free only when it is settled.
                done = self.writes.oldest() => self.settle(done)?,
            }
        };
        self.lane.board.begun(&self.job, self.lease.id);
        Ok(block)
    }

    /// Where the block at the cursor belongs.
    fn place(&self) -> Place {
        let block_size = self.lane.fetch.block_size();
        let index = self.index();
        assert!(self.lease.blocks.contains(&index), "a lane stays within its lease");
        assert_eq!(self.cursor % block_size, 0, "a block is filled from its start");
        let size = self.job.version.size.unwrap_or(u64::MAX);
        Place { index, offset: self.cursor, length: narrow(block_size.min(size - self.cursor)) }
    }

    pub(super) async fn commit_if_full(&mut self) -> Result<(), Stop> {
        if let Some(block) = self.block.take_if(|block| block.is_full()) {
            self.commit(block)?;
        }
        while self.writes.has_finished() {
            let done = self.writes.oldest().await;
            self.settle(done)?;
        }
        Ok(())
    }

    /// Starts to put a full block into the sink, unless another lane was faster.
    pub(super) fn commit(&mut self, block: Block) -> Result<(), Stop> {
        let index = block.index();
        assert!(self.lease.blocks.contains(&index), "a lane writes only within its lease");
        if !self.lane.board.win(&self.job, self.lease.id, index) {
            self.waste(block);
            return Err(Stop::LetGo);
        }
        self.writes.start(&self.lane.io, &self.job, self.lease.id, block);
        Ok(())
    }

    /// Takes note of the oldest write, which has finished.
    fn settle(&mut self, ((lease, index), done): Written) -> Result<(), Stop> {
        let block = match done {
            Ok(Ok(Commit::Landed(block))) => block,
            Ok(Ok(Commit::Abandoned)) => return Err(Stop::LetGo),
            Ok(Err(error)) => {
                self.lane.board.fail(error);
                return Err(Stop::LetGo);
            }
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        let length = self.length_of(index);
        self.lane.fetch.meter.add_landed(length);
        let start = u64::from(index) * self.lane.fetch.block_size();
        self.lane.fetch.gave(self.lane.address, &(start..start + length));
        let due = self.job.landed(start..start + length, self.lane.fetch.options.sync);
        if let Some(due) = due {
            self.lane.sync(&self.job, due);
        }
        if let Some(block) = block {
            self.job.digesting.offer(block);
        }
        self.lane.board.landed(&self.job, lease, index);
        Ok(())
    }

    fn length_of(&self, index: u32) -> u64 {
        let block_size = self.lane.fetch.block_size();
        let start = u64::from(index) * block_size;
        block_size.min(self.job.version.size.unwrap_or(self.cursor) - start)
    }

    /// Waits for all writes: none is in flight when the lane lets go of the stage. Returns early with
    /// something to do meanwhile, should they wait for a block that another lane is late with.
    async fn settle_all(&mut self) -> Option<Lease> {
        while !self.writes.is_empty() {
            let done = tokio::select! {
                biased;
                done = self.writes.oldest() => done,
                () = tokio::time::sleep(LATE_MIN) => {
                    let asker = self.lane.pulse.asker(self.lane.fetch.block_size());
                    match self.lane.board.more(&self.job, &asker) {
                        Some(lease) => return Some(lease),
                        None => continue,
                    }
                }
            };
            // A failure is on the board; the other writes must end all the same.
            let _ = self.settle(done);
        }
        None
    }
}

/// The byte offsets of a lease; it ends nowhere while the size is unknown.
fn bounds(lane: &Lane, job: &Job, lease: &Lease) -> (u64, u64) {
    let first = lane.board.extent(job, lease.blocks.start).map_or(0, |extent| extent.start);
    let last = || lane.board.extent(job, lease.blocks.end - 1);
    let end = job.version.size.map_or(u64::MAX, |_| last().map_or(first, |extent| extent.end));
    (first, end)
}
