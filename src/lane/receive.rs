//! Receives one body: from the socket into blocks, never a byte beyond the lease, never without a clock.

use std::time::Instant;

use super::haul::{Haul, Stop};
use super::{Anew, Answer, Response};
use crate::block::{Block, Place};
use crate::error::{Error, Kind, Result};
use crate::io::Received;
use crate::limits::{RECEIVE_SLICE, SKIP_BYTES_MAX};
use crate::meter::Event;
use crate::units::{narrow, wide};

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
        let mut quiet_since = Instant::now();
        while self.cursor < end {
            // The server is not to blame for the time that the disk and the rate limit take.
            let paused = Instant::now();
            let block = self.lend().await?;
            let max = self.most(&block, end);
            self.throttle(max).await?;
            quiet_since += paused.elapsed();
            let (received, block) = response.fill(block, max, RECEIVE_SLICE).await;
            self.block = Some(block);
            self.settle_rate(max, &received);
            match received? {
                Received::Bytes(count) => {
                    self.cursor += wide(count);
                    self.lane.fetch.meter.add_received(wide(count));
                    quiet_since = Instant::now();
                }
                Received::Nothing => self.check_stall(quiet_since)?,
                Received::End => return self.end_of_body(answer),
            }
            self.check_cancelled()?;
            self.check_size()?;
            if self.cursor == end && end == size && answer.length.is_none() {
                // Before the last block goes: once it has landed the file counts as complete.
                self.insist_on_end(&mut response).await?;
            }
            self.commit_if_full().await?;
        }
        if self.job.version.size.is_none() && end == size {
            self.note_end();
        }
        let exact = answer.length.is_some_and(|length| answer.offset + length == end);
        if answer.reusable && exact {
            response.recycle(&self.lane.fetch.options.client);
        }
        Ok(())
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
            () = self.job.cancelled() => Err(Stop::LetGo),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    fn check_stall(&self, quiet_since: Instant) -> Result<(), Stop> {
        let timeout = self.lane.fetch.options.stall_timeout;
        if quiet_since.elapsed() < timeout {
            return Ok(());
        }
        let message = format!("no byte came for {}", crate::units::show_time(timeout));
        Err(Error::new(Kind::Stall, message)
            .hint("raise --stall-timeout if the server is just slow")
            .into())
    }

    /// The body is over: rightly where only its end tells its length, too early otherwise.
    fn end_of_body(&mut self, answer: &Answer) -> Result<(), Stop> {
        if answer.length.is_some() || self.job.version.size.is_some() {
            let message = "the server ended the body before the length it had announced";
            return Err(Error::new(Kind::Reset, message).into());
        }
        self.note_end();
        Ok(())
    }

    /// A stream of unknown size ends at the cursor.
    fn note_end(&mut self) {
        self.lane.board.ended(&self.job, self.cursor);
        self.end = self.cursor;
        if let Some(mut block) = self.block.take().filter(|block| block.filled() > 0) {
            block.end_here();
            self.commit(block);
        }
    }

    /// A body that does not tell its length must end where the file does: more bytes are another version.
    async fn insist_on_end(&self, response: &mut Response) -> Result<(), Stop> {
        let place = Place { index: 0, offset: 0, length: 1 };
        let quiet_since = Instant::now();
        loop {
            let (received, _) = response.fill(Block::own(place), 1, RECEIVE_SLICE).await;
            match received? {
                Received::End => return Ok(()),
                Received::Bytes(_) => {
                    return Err(self.anew(&Anew::Changed("the file has grown".into())));
                }
                Received::Nothing => self.check_stall(quiet_since)?,
            }
            self.check_cancelled()?;
        }
    }

    /// Receives bytes that are not wanted: a server may begin before the byte that was asked for, as caches
    /// that align ranges do.
    async fn skip(&self, mut count: u64, response: &mut Response) -> Result<(), Stop> {
        if count > SKIP_BYTES_MAX {
            self.lane.fetch.meter.tell(Event::Detail("the server begins far too early".into()));
            return Err(self.anew(&Anew::OneStream));
        }
        let mut quiet_since = Instant::now();
        while count > 0 {
            let slice = self.lane.board.slice().unwrap_or(SKIP_AT_ONCE).min(SKIP_AT_ONCE);
            let place = Place { index: 0, offset: 0, length: narrow(count.min(slice)) };
            let paused = Instant::now();
            self.throttle(place.length).await?;
            quiet_since += paused.elapsed();
            let (received, block) =
                response.fill(Block::own(place), place.length, RECEIVE_SLICE).await;
            self.settle_rate(place.length, &received);
            match received? {
                Received::Bytes(_) => quiet_since = Instant::now(),
                Received::Nothing => self.check_stall(quiet_since)?,
                Received::End => {
                    let message = "the body ended before the byte that was asked for";
                    return Err(Error::new(Kind::Protocol, message).into());
                }
            }
            count -= wide(block.filled());
            self.check_cancelled()?;
        }
        Ok(())
    }

    fn check_cancelled(&self) -> Result<(), Stop> {
        if self.job.is_cancelled() { Err(Stop::LetGo) } else { Ok(()) }
    }
}

/// Unwanted bytes that are received at once.
const SKIP_AT_ONCE: u64 = 64 << 10;
