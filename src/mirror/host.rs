//! One host of a run: what is to be had from it, and how much it bears.

use std::cell::Cell;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use super::queues::{Queue, Task};
use crate::courtesy::{Courtesy, Permit};
use crate::error::{Error, Kind, Result};
use crate::limits::WAITING_MAX;

pub(super) struct Host {
    queue: Queue,
    /// What the queues give next.
    large: Option<Task>,
    small: Option<Task>,
    /// Entries that turned out to be large.
    pub(super) turned_large: VecDeque<(Task, u32)>,
    pub(super) waiting: BinaryHeap<Waiting>,
    pub(super) courtesy: Courtesy,
    /// What it failed with when it could not be reached last.
    pub(super) broken: Kind,
    /// How many of its entries each thread may ask for at a time, and does. The connections of a thread are
    /// its own, and all together must not be more than the host gets.
    seats: Vec<u16>,
    pub(super) taken: Vec<u16>,
}

/// An entry that waits for its next attempt.
pub(super) struct Waiting {
    pub(super) due: Instant,
    pub(super) task: Task,
    pub(super) attempts: u32,
    pub(super) is_large: bool,
}

/// An entry to be seen to.
pub(super) struct Claim {
    pub(super) task: Task,
    /// Attempts that have failed.
    pub(super) attempts: u32,
    pub(super) is_large: bool,
    /// Connections that may be used.
    pub(super) connections: u16,
    /// What the host has been given up for: the entry fails for that without a request.
    pub(super) lost: Option<Kind>,
    /// Which of the hosts is asked, and from which thread.
    pub(super) host: usize,
    pub(super) thread: usize,
    /// Its host has answered, and does not wait for the rest of it.
    pub(super) is_answered: Cell<bool>,
}

/// Whether a host has something to do.
pub(super) enum Ready {
    Now,
    In(Duration),
    Not,
}

impl Host {
    /// What is queued for a host that nothing is known of yet.
    pub(super) fn new(mut queue: Queue, seats: Vec<u16>) -> Result<Self> {
        Ok(Self {
            large: queue.large.next().map_err(unreadable)?,
            small: queue.small.next().map_err(unreadable)?,
            queue,
            turned_large: VecDeque::new(),
            waiting: BinaryHeap::new(),
            courtesy: Courtesy::new(seats.iter().sum()),
            broken: Kind::Connect,
            taken: vec![0; seats.len()],
            seats,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.large.is_none()
            && self.small.is_none()
            && self.turned_large.is_empty()
            && self.waiting.is_empty()
    }

    pub(super) fn ready(&self, now: Instant, may_be_large: bool) -> Ready {
        let has_large = self.large.is_some() || !self.turned_large.is_empty();
        if (may_be_large && has_large) || (self.small.is_some() && self.takes_new()) {
            return Ready::Now;
        }
        match self.waiting.peek() {
            Some(first) if first.is_large && !may_be_large => Ready::Not,
            Some(first) if first.due <= now => Ready::Now,
            Some(first) => Ready::In(first.due - now),
            None => Ready::Not,
        }
    }

    /// Shares its connections out anew.
    pub(super) fn reseat(&mut self, seats: Vec<u16>) {
        self.taken.truncate(seats.len());
        self.seats = seats;
    }

    pub(super) fn has_seat(&self, thread: usize) -> bool {
        self.taken[thread] < self.seats[thread]
    }

    /// Whether there is room for one more that may have to wait.
    fn takes_new(&self) -> bool {
        self.waiting.len() + self.turned_large.len() < WAITING_MAX
    }

    /// Takes what is ready: what has waited first, then what is large, so that its end is not waited for.
    pub(super) fn take(
        &mut self,
        host: usize,
        now: Instant,
        may_be_large: bool,
        lost: Option<Kind>,
    ) -> Result<Claim> {
        let claim = |task, attempts, is_large| Claim {
            task,
            attempts,
            is_large,
            connections: 1,
            lost,
            host,
            thread: 0,
            is_answered: Cell::new(false),
        };
        let is_due = |first: &Waiting| first.due <= now && (may_be_large || !first.is_large);
        let mut claim = if self.waiting.peek().is_some_and(is_due) {
            let Waiting { task, attempts, is_large, .. } =
                self.waiting.pop().expect("proof: just seen");
            claim(task, attempts, is_large)
        } else if may_be_large && !self.turned_large.is_empty() {
            let (task, attempts) = self.turned_large.pop_front().expect("proof: just seen");
            claim(task, attempts, true)
        } else if let Some(task) = self.large.take_if(|_| may_be_large) {
            self.large = self.queue.large.next().map_err(unreadable)?;
            claim(task, 0, true)
        } else {
            let task = self.small.take().expect("proof: something is ready");
            self.small = self.queue.small.next().map_err(unreadable)?;
            claim(task, 0, false)
        };
        // A large one may use half of what the host bears, small ones go on with the rest.
        let half = self.courtesy.allowed() / 2;
        while claim.is_large
            && lost.is_none()
            && claim.connections < half
            && matches!(self.courtesy.may_begin(now), Permit::Yes)
        {
            claim.connections += 1;
        }
        Ok(claim)
    }
}

// The one that is due first is the greatest.
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.due.cmp(&self.due)
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Waiting {}

/// Shares the connections to one of the hosts out to threads, those left over to other threads for each.
pub(super) fn seats(per_host: u16, threads: usize, host: usize) -> Vec<u16> {
    let all = usize::from(per_host);
    let count = |thread| all / threads + usize::from((thread + host) % threads < all % threads);
    (0..threads).map(|thread| u16::try_from(count(thread)).unwrap_or(per_host)).collect()
}

fn unreadable(error: std::io::Error) -> Error {
    Error::local("read", std::path::Path::new("a queue of the run"), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_the_connections_to_a_host_and_what_is_left_over_goes_round() {
        assert_eq!([0, 1, 2].map(|host| seats(5, 3, host)), [[2, 2, 1], [2, 1, 2], [1, 2, 2]]);
        assert_eq!([0, 1].map(|host| seats(1, 2, host)), [[1, 0], [0, 1]]);
        for (per_host, threads) in [(1, 1), (8, 2), (1, 64), (65535, 64)] {
            let all: u32 = seats(per_host, threads, 3).into_iter().map(u32::from).sum();
            assert_eq!(all, u32::from(per_host));
        }
    }
}
