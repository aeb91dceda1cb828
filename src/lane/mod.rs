//! A lane runs one connection: lend, fill, commit. Only here do a wire and a sink meet.
//!
//! ```text
//! while let Some(deal) = board.next()
//!     answer = ask(range)                  judged by the gate before a byte is written
//!     for index in lease
//!         block = sink.lend(index)         waits here and nowhere else
//!         block = answer.fill(block)       clocks around this; ends when another lane has the block
//!         board.win(index)                 a late block has several lanes: the first to fill it goes on
//!         writes.push(sink.commit(block))  a task of this lane's own
//!         settle(those already done)
//!     settle(all)
//! ```

mod ask;
mod failure;
mod haul;
mod receive;
mod tries;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use self::ask::Judged;
use self::haul::Haul;
use self::tries::{Tries, Verdict};
use crate::block::Pool;
use crate::board::{Anew, Asker, AtWork, Board, Deal, Job, Making, Manner, Step};
use crate::error::{Error, Kind};
use crate::fetch::{Fetch, Opened};
use crate::gate::{Answer, Ask, Version};
use crate::io::Io;
use crate::ledger::Due;
use crate::limits::{LEASE_ROUND_TRIPS, PROBE_BLOCKS};
use crate::plan::Lease;
use crate::units::{as_f64, whole_f64};
use crate::wire::Response;

/// One lane of a lane thread.
pub(crate) struct Lane {
    pub(crate) number: usize,
    pub(crate) io: Io,
    pub(crate) pool: Pool,
    pub(crate) board: Arc<Board>,
    pub(crate) fetch: Arc<Fetch>,
    /// The address that was asked last.
    pub(crate) address: usize,
    /// How this lane's connection has done so far.
    pub(crate) pulse: Pulse,
    /// Syncs for the ledger that this lane has started.
    pub(crate) syncs: JoinSet<()>,
}

/// The measured speed of a lane, for the size of its leases and for what it expects of others, and whether
/// all went well.
#[derive(Default)]
pub(crate) struct Pulse {
    /// Time from a request to its head.
    waited: Duration,
    /// Bytes per second of the last lease; zero while nothing is known.
    rate: f64,
    /// The last answer broke: a cache on the way may have kept half of it.
    broke: bool,
}

/// What the first question has found.
enum Found {
    Body(Answer, Box<Response>),
    Empty(Version),
}

impl Lane {
    /// Works until the download is over.
    pub(crate) async fn run(mut self) {
        let board = Arc::clone(&self.board);
        while let Some((deal, at_work)) =
            board.next(&self.pulse.asker(self.fetch.block_size())).await
        {
            match deal {
                Deal::Probe(manner) => self.probe(manner, &at_work).await,
                Deal::Fetch(job, lease) => {
                    Haul::new(&mut self, &at_work, job, lease).run(None).await;
                }
            }
        }
        while self.syncs.join_next().await.is_some() {}
    }

    /// Begins a sync for the ledger, beside whatever this lane does.
    fn sync(&mut self, job: &Arc<Job>, due: Due) {
        while self.syncs.try_join_next().is_some() {}
        let (io, job, board) = (self.io.clone(), Arc::clone(job), Arc::clone(&self.board));
        self.syncs.spawn_local(async move {
            let sync = |file| {
                let io = io.clone();
                async move { io.sync(&file).await }
            };
            if let Err(error) = due.settle(sync).await {
                board.fail(job.sync_failed(error));
            }
        });
    }

    /// Asks for the first bytes, opens a sink for what the answer describes, and goes on with its body.
    async fn probe(&mut self, manner: Manner, at_work: &AtWork<'_>) {
        let board = Arc::clone(&self.board);
        let found = tokio::select! {
            biased;
            () = board.ending() => return,
            found = self.find(manner) => found,
        };
        match found {
            Some(Found::Body(answer, response)) => {
                self.open(manner, answer, response, at_work).await;
            }
            Some(Found::Empty(version)) => match self.fetch.open_empty(version).await {
                Ok(Opened::Job(job, plan)) => drop(board.run(job, plan, 0)),
                Ok(Opened::UpToDate(size, verified)) => board.up_to_date(size, verified),
                Err(error) => board.fail(error),
            },
            None => {}
        }
    }

    /// Finds what there is; `None` if that has failed, as the board then knows.
    async fn find(&mut self, manner: Manner) -> Option<Found> {
        let fetch = Arc::clone(&self.fetch);
        if manner == Manner::OneStream {
            fetch.forget_left(&Anew::OneStream);
        }
        let mut ask = Ask { range: self.first_range(manner) };
        fetch.start_anew();
        let mut tries = Tries::first(&fetch);
        let mut was_odd = false;
        loop {
            let error = match self.ask(&ask, None, None).await {
                Ok(Judged::Body(answer, response)) => return Some(Found::Body(answer, response)),
                Ok(Judged::Empty(version)) => {
                    fetch.forget_left(&Anew::Changed("the file is empty now".into()));
                    return Some(Found::Empty(version));
                }
                Ok(Judged::Changed(why)) if fetch.forget_left(&Anew::Changed(why.clone())) => {
                    ask = Ask { range: self.first_range(manner) };
                    continue;
                }
                // One odd answer must not cost what an earlier run has left.
                Ok(Judged::Unranged(why))
                    if !was_odd && fetch.options.retries > 0 && fetch.left_missing().is_some() =>
                {
                    was_odd = true;
                    Error::new(Kind::Protocol, why)
                }
                Ok(Judged::Unranged(why)) if ask.range.is_some() => {
                    let error = Error::new(Kind::Protocol, why);
                    self.board.start_anew(None, &Anew::OneStream, error);
                    return None;
                }
                Ok(Judged::Unranged(why) | Judged::Changed(why)) => Error::new(Kind::Protocol, why),
                Ok(Judged::Late) => Error::new(Kind::Stall, "the answer is late"),
                Err(error) => error,
            };
            match tries.judge(error, 0) {
                Verdict::Again(wait) => tokio::time::sleep(wait).await,
                Verdict::GiveUp(error) if self.fetch.give_up_address(self.address, &error) => {
                    tries = Tries::first(&fetch);
                }
                Verdict::GiveUp(error) => {
                    self.board.fail(error);
                    return None;
                }
            }
        }
    }

    /// What the first request asks for: everything where one connection will do, a few blocks where more
    /// may follow, a byte where only size and date are compared.
    fn first_range(&self, manner: Manner) -> Option<std::ops::Range<u64>> {
        match manner {
            Manner::OneStream => None,
            Manner::Ranges if self.fetch.only_compares() => Some(0..1),
            Manner::Ranges => {
                let missing = self.fetch.left_missing().unwrap_or(0..u64::MAX);
                let few = self.fetch.block_size() * u64::from(PROBE_BLOCKS);
                let is_all = self.fetch.is_single() && !self.fetch.may_find_left();
                let most = if is_all { u64::MAX } else { missing.start + few };
                Some(missing.start..missing.end.min(most))
            }
        }
    }

    async fn open(
        &mut self,
        manner: Manner,
        answer: Answer,
        response: Box<Response>,
        at_work: &AtWork<'_>,
    ) {
        self.fetch.note_probe(&answer, &response);
        if manner == Manner::Ranges && self.fetch.needs_one_stream(&answer) {
            let why = "ranges of this file cannot be combined safely";
            self.board.start_anew(None, &Anew::OneStream, Error::new(Kind::Protocol, why));
            return;
        }
        let block_size = self.fetch.block_size();
        let blocks = answer.length.map_or(u64::MAX, |length| length.div_ceil(block_size));
        let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
        let board = Arc::clone(&self.board);
        let opened = tokio::select! {
            biased;
            // A FIFO may wait for its reader for ever. A part file must not be left to a thread nobody
            // waits for.
            () = board.ending(), if self.fetch.may_wait_to_open() => return,
            opened = self.fetch.open(&answer, response.waited) => opened,
        };
        match opened {
            Ok(Opened::Job(job, plan)) => {
                // Where an earlier run has left something unforeseen, the answer may begin elsewhere.
                let serves = plan.first_free().is_some_and(|free| free.start == answer.offset);
                let blocks = if serves { blocks } else { 0 };
                if let Some(lease) = self.board.run(Arc::clone(&job), plan, blocks) {
                    Haul::new(self, at_work, job, lease).run(Some((answer, response))).await;
                }
            }
            Ok(Opened::UpToDate(size, verified)) => self.board.up_to_date(size, verified),
            Err(error) => self.board.fail(error),
        }
    }
}

impl Pulse {
    fn asker(&self, block_size: u64) -> Asker {
        let fill = Duration::try_from_secs_f64(as_f64(block_size) / self.rate).ok();
        let block_time = fill.map(|fill| self.waited.saturating_add(fill));
        Asker { at_least: self.blocks(block_size), block_time }
    }

    /// The blocks below which the gap between two requests would show.
    fn blocks(&self, block_size: u64) -> u32 {
        let bytes = self.rate * self.waited.as_secs_f64() * LEASE_ROUND_TRIPS;
        let blocks = whole_f64(bytes / as_f64(block_size)).unwrap_or(0);
        u32::try_from(blocks).unwrap_or(u32::MAX)
    }
}
