//! The lane threads of a run: each has its own loop and runs a number of errands at a time.

use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::Order;
use super::counts::Counts;
use super::errand::Runner;
use super::hosts::Hosts;
use super::large::Trials;
use super::limit::Limit;
use super::tally::Tally;
use crate::block::Pool;
use crate::catalog::Catalog;
use crate::engine::Stopper;
use crate::error::{Error, Kind, Result};
use crate::io::{self, Io, Wanted};
use crate::limits::{BLOCK_SIZE_MIN, THREADS_MAX};
use crate::options::IoChoice;
use crate::tempo::Tempo;
use crate::throttle::Throttle;
use crate::tree::Tree;
use crate::wire::Near;

/// What all errands of a run share.
pub(super) struct Shared {
    pub(super) order: Order,
    pub(super) catalog: Arc<Catalog>,
    pub(super) tree: Arc<Tree>,
    pub(super) hosts: Hosts,
    pub(super) tally: Tally,
    pub(super) counts: Arc<Counts>,
    pub(super) stopper: Stopper,
    /// What ends the run.
    pub(super) limit: Limit,
    pub(super) throttle: Option<Mutex<Throttle>>,
    pub(super) tempo: Option<Arc<Mutex<Tempo>>>,
    pub(super) trials: Trials,
}

impl Shared {
    /// Waits until so many bytes may be received, or as many of them as may come at once; gives how many.
    pub(super) async fn throttle(&self, bytes: usize) -> usize {
        let Some(throttle) = &self.throttle else { return bytes };
        let (bytes, wait) = {
            let mut throttle = throttle.lock().unwrap_or_else(PoisonError::into_inner);
            let bytes = bytes.min(crate::units::narrow(throttle.slice())).max(1);
            (bytes, throttle.take(crate::units::wide(bytes), Instant::now()))
        };
        tokio::time::sleep(wait).await;
        bytes
    }

    /// Gives back what was allowed and did not come.
    pub(super) fn give_back(&self, bytes: usize) {
        if let (Some(throttle), 1..) = (&self.throttle, bytes) {
            let mut throttle = throttle.lock().unwrap_or_else(PoisonError::into_inner);
            throttle.give_back(crate::units::wide(bytes));
        }
    }
}

/// The threads at work.
pub(super) struct Crew {
    threads: Vec<JoinHandle<()>>,
    /// How many have not ended.
    running: Arc<AtomicUsize>,
}

impl Crew {
    /// Threads of a run.
    pub(super) fn threads(order: &Order) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads =
            order.options.threads.map_or_else(cores, |threads| usize::from(threads.get()));
        threads.clamp(1, usize::from(THREADS_MAX)).min(usize::from(order.jobs.get()))
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// If not one can be had.
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Self> {
        let jobs = usize::from(shared.order.jobs.get());
        let threads = Self::threads(&shared.order);
        let mut crew = Self { threads: Vec::new(), running: Arc::default() };
        for thread in 0..threads {
            let (theirs, runners) = (Arc::clone(shared), (thread..jobs).step_by(threads).count());
            let builder = std::thread::Builder::new().name(format!("ringpull-lane-{thread}"));
            crew.running.fetch_add(1, Relaxed);
            let ended =
                Ended { running: Arc::clone(&crew.running), watcher: std::thread::current() };
            let spawned = builder.spawn(move || {
                let _ended = ended;
                work(&theirs, thread, runners);
            });
            match spawned {
                Ok(handle) => crew.threads.push(handle),
                Err(_) if thread > 0 => {
                    shared.hosts.leave_to(thread, shared.order.per_host.get());
                    break;
                }
                Err(error) => return Err(no_thread(&error)),
            }
        }
        Ok(crew)
    }

    /// Whether all of them have ended.
    pub(super) fn is_over(&self) -> bool {
        self.running.load(Relaxed) == 0
    }

    /// Waits for all of them.
    pub(super) fn join(self) -> Result<()> {
        let ended: Vec<_> = self.threads.into_iter().map(JoinHandle::join).collect();
        match ended.into_iter().all(|ended| ended.is_ok()) {
            true => Ok(()),
            false => Err(Error::new(Kind::Internal, "a thread of the mirror ended unexpectedly")),
        }
    }
}

/// Tells the thread of the run that one of the lane threads has come to its end.
struct Ended {
    running: Arc<AtomicUsize>,
    watcher: std::thread::Thread,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Relaxed);
        self.watcher.unpark();
    }
}

fn work(shared: &Arc<Shared>, thread: usize, runners: usize) {
    let _alarm = Alarm(shared);
    let theirs = Arc::clone(shared);
    let errands: io::Work = Box::new(move |io| Box::pin(run(io, theirs, thread, runners)));
    // Small bodies come with their heads or shortly after: a ring has nothing to do but to change hands.
    // Sockets are left to epoll, unless the caller wants it otherwise.
    let wanted = match shared.order.options.io {
        IoChoice::Uring => Wanted::Uring,
        IoChoice::Auto | IoChoice::Epoll => Wanted::Epoll,
    };
    let ran = Pool::new(1, BLOCK_SIZE_MIN).and_then(|pool| {
        let ran = io::run(wanted, &pool, errands);
        ran.map(|_| ()).map_err(|error| no_thread(&error))
    });
    if let Err(error) = ran {
        shared.hosts.fail(error);
    }
}

async fn run(io: Io, shared: Arc<Shared>, thread: usize, runners: usize) {
    let mut all = tokio::task::JoinSet::new();
    let near = Near::new(shared.order.http2, Crew::threads(&shared.order));
    for _ in 0..runners {
        let runner = Runner::new(io.clone(), Arc::clone(&shared), thread, Rc::clone(&near));
        all.spawn_local(runner.run());
    }
    while let Some(ended) = all.join_next().await {
        if let Err(error) = ended {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

/// Ends the run if one of its threads panics: nobody must wait for errands that are gone.
struct Alarm<'a>(&'a Arc<Shared>);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let message = "a thread of the mirror ended unexpectedly";
            self.0.hosts.fail(Error::new(Kind::Internal, message));
        }
    }
}

fn no_thread(error: &std::io::Error) -> Error {
    let why = crate::error::reason(error);
    Error::new(Kind::LocalIo, format!("cannot start a thread: {why}"))
        .hint("raise the limits on processes and open files (see `ulimit -u` and `ulimit -n`)")
}
