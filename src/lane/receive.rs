//! Receives one body: from the socket into blocks, never a byte beyond the lease, never without a clock.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::haul::{Haul, Stop};
use super::{Anew, Answer, Making, Response, Step};
use crate::block::{Block, Place};
use crate::error::{Error, Kind, Result};
use crate::io::Received;
use crate::limits::{RECEIVE_SLICE, SKIP_BYTES_MAX, SLOW_MAX};
use crate::meter::Event;
use crate::stragglers::{Clock, Receipt, Stalled};
use crate::units::{narrow, show_size, show_time, wide};

impl Haul<'_> {
    /// Receives one body into blocks, from the cursor to the end of the answer or of the lease.
    pub(super) async fn receive(
        &mut self,
        answer: &Answer,
        mut response: Box<Response>,
    ) -> Result<(), Stop> {
        assert_eq!(answer.offset, self.cursor, "the gate lets only the byte asked for pass");
        self.skip(answer.skip, &mut response).await?;
        // The job's size is law where it is known; a stream of unknown size may learn it from a later answer.
        let size = self.job.version.size.or(answer.version.size).unwrap_or(u64::MAX);
        let sized = answer.length.map_or(size, |length| answer.offset + length);
        let end = sized.min(self.end).min(size);
        let mut clock = self.clock();
        while self.cursor < end {
            let block = self.lend().await?;
            let max = self.most(&block, end);
            self.block = Some(block);
            self.throttle(max).await?;
            let block = self.lend().await?;
            // The server is not to blame for the time that the disk and the rate limit take.
            let asked = Instant::now();
            let (received, block) = self.fill(&mut response, block, max).await;
            self.block = Some(block);
            self.settle_rate(max, &received);
            let bytes = match received? {
                Received::Bytes(count) => wide(count),
                Received::Nothing => 0,
                Received::End => return self.end_of_body(answer),
            };
            self.cursor += bytes;
            self.lane.fetch.meter.add_received(bytes);
            let receipt = Receipt { bytes, time: asked.elapsed(), left: end - self.cursor };
            self.judge(&mut clock, &receipt)?;
            self.check_size()?;
            if self.cursor == end && end == size && answer.length.is_none() {
                // Before the last block goes: once it has landed the file counts as complete.
                self.insist_on_end(&mut response).await?;
            }
            if self.cursor == sized && answer.reusable && response.has_surplus().await {
                let why = "the server sends more bytes than the range has that it tells";
                return Err(self.unranged(why.into()));
            }
            self.commit_if_full().await?;
        }
        if self.job.version.size.is_none() && end == size {
            self.note_end()?;
        }
        let exact = answer.length.is_some() && sized == end;
        if answer.reusable && exact {
            response.recycle(&self.lane.fetch.options.client);
        }
        self.job.answered_well();
        Ok(())
    }

    /// Receives into a block, until the lane must look up or has no use for it any more.
    async fn fill(
        &self,
        response: &mut Response,
        block: Block,
        max: usize,
    ) -> (Result<Received>, Block) {
        let released = self.released();
        // Bytes without an end that make no body keep the thread from its timers, and use up what tokio lets
        // a task do at a time; that must not stop the clock.
        let deadline = Instant::now() + RECEIVE_SLICE;
        let mut over = pin!(tokio::task::unconstrained(async {
            tokio::select! {
                biased;
                () = released => {}
                () = tokio::time::sleep(RECEIVE_SLICE) => {}
            }
        }));
        let mut is_over = false;
        let enough = pin!(poll_fn(|cx| {
            is_over |= Instant::now() >= deadline;
            is_over = is_over || over.as_mut().poll(cx).is_ready();
            if is_over { Poll::Ready(()) } else { Poll::Pending }
        }));
        response.fill(block, max, enough).await
    }

    fn clock(&self) -> Clock {
        Clock::new(self.lane.fetch.options.stall_timeout)
    }

    /// Takes note of a receive: whether the connection is still worth it.
    fn judge(&mut self, clock: &mut Clock, receipt: &Receipt) -> Result<(), Stop> {
        let filled = self.block.as_ref().map_or(0, |block| wide(block.filled()));
        let (lane, lease, index) = (self.lane.number, self.lease.id, self.index());
        let making = Making { lane, lease, index, filled };
        match self.lane.board.received(&self.job, &making, receipt) {
            Step::LetGo => return Err(Stop::LetGo),
            Step::Afresh if self.replaced < SLOW_MAX => {
                return Err(self.replace());
            }
            Step::Afresh | Step::GoOn => {}
        }
        check_stall(clock, receipt.bytes, receipt.time)
    }

    /// The most bytes to receive next: to the end of the block and of the answer, or what the rate limit
    /// allows.
    fn most(&self, block: &Block, end: u64) -> usize {
        let room = wide(block.wanted() - block.filled()).min(end - self.cursor);
        narrow(match self.lane.fetch.options.limit_rate {
            Some(_) => self.lane.board.slice().map_or(room, |slice| room.min(slice)),
            None => room,
        })
    }

    /// What was taken from the rate limit for bytes that did not come is free for others.
    fn settle_rate(&self, taken: usize, received: &Result<Received>) {
        let used = if let Ok(Received::Bytes(count)) = received { *count } else { 0 };
        if self.lane.fetch.options.limit_rate.is_some() && used < taken {
            self.lane.board.give_back_rate(wide(taken - used));
        }
    }

    /// A file of unknown size may turn out larger than allowed.
    fn check_size(&self) -> Result<(), Stop> {
        let checked = self.lane.fetch.check_size(Some(self.cursor));
        checked.map_err(|error| {
            self.lane.board.fail(error);
            Stop::LetGo
        })
    }

    async fn throttle(&self, bytes: usize) -> Result<(), Stop> {
        if self.lane.fetch.options.limit_rate.is_none() {
            return Ok(());
        }
        let wait = self.lane.board.throttle(wide(bytes), Instant::now());
        tokio::select! {
            biased;
            () = self.released() => {
                self.lane.board.give_back_rate(wide(bytes));
                Err(Stop::LetGo)
            }
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    /// The body is over: rightly where only its end tells its length, too early otherwise.
    fn end_of_body(&mut self, answer: &Answer) -> Result<(), Stop> {
        if answer.length.is_some() || self.job.version.size.is_some() {
            let message = "the server ended the body before the length it had announced";
            return Err(Error::new(Kind::Reset, message).into());
        }
        self.note_end()
    }

    /// A stream of unknown size ends at the cursor.
    fn note_end(&mut self) -> Result<(), Stop> {
        self.lane.board.ended(&self.job, self.cursor);
        self.end = self.cursor;
        if let Some(mut block) = self.block.take().filter(|block| block.filled() > 0) {
            block.end_here();
            self.commit(block)?;
        }
        Ok(())
    }

    /// A body that does not tell its length must end where the file does: more bytes are another version.
    async fn insist_on_end(&self, response: &mut Response) -> Result<(), Stop> {
        let place = Place { index: 0, offset: 0, length: 1 };
        let mut clock = self.clock();
        loop {
            let asked = Instant::now();
            let (received, _) = self.fill(response, Block::own(place), 1).await;
            match received? {
                Received::End => return Ok(()),
                Received::Bytes(_) => {
                    return Err(self.anew(&Anew::Changed("the file has grown".into())));
                }
                Received::Nothing => check_stall(&mut clock, 0, asked.elapsed())?,
            }
            self.check_released()?;
        }
    }

    /// Receives bytes that are not wanted: a server may begin before the byte that was asked for, as caches
    /// that align ranges do.
    async fn skip(&self, mut count: u64, response: &mut Response) -> Result<(), Stop> {
        if count > SKIP_BYTES_MAX {
            self.lane.fetch.meter.tell(Event::Detail("the server begins far too early".into()));
            return Err(self.anew(&Anew::OneStream));
        }
        let mut clock = self.clock();
        while count > 0 {
            let slice = self.lane.board.slice().unwrap_or(SKIP_AT_ONCE).min(SKIP_AT_ONCE);
            let place = Place { index: 0, offset: 0, length: narrow(count.min(slice)) };
            self.throttle(place.length).await?;
            let asked = Instant::now();
            let (received, block) = self.fill(response, Block::own(place), place.length).await;
            self.settle_rate(place.length, &received);
            if received? == Received::End {
                let message = "the body ended before the byte that was asked for";
                return Err(Error::new(Kind::Protocol, message).into());
            }
            check_stall(&mut clock, wide(block.filled()), asked.elapsed())?;
            count -= wide(block.filled());
            self.check_released()?;
        }
        Ok(())
    }

    fn check_released(&self) -> Result<(), Stop> {
        match self.lane.board.holds(&self.job, self.lease.id, self.index()) {
            true => Ok(()),
            false => Err(Stop::LetGo),
        }
    }
}

fn check_stall(clock: &mut Clock, bytes: u64, time: Duration) -> Result<(), Stop> {
    let message = match clock.note(bytes, time) {
        None => return Ok(()),
        Some(Stalled::Silent(time)) => format!("no byte came for {}", show_time(time)),
        Some(Stalled::Crawling(bytes, time)) => {
            format!("only {} came in {}", show_size(bytes), show_time(time))
        }
    };
    Err(Error::new(Kind::Stall, message)
        .hint("raise --stall-timeout if the server is just slow")
        .into())
}

/// Unwanted bytes that are received at once.
const SKIP_AT_ONCE: u64 = 64 << 10;
