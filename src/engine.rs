//! Starts and stops the threads: one that lives the life of the item, and the lane threads.
//!
//! Each lane thread has its own runtime, ring, block pool and lanes. Nothing here moves a byte.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use tokio::sync::{Notify, oneshot};
use url::Url;

use crate::block::Pool;
use crate::board::Board;
use crate::error::{Error, Kind, Result};
use crate::fetch::{self, Fetch, Item, Want};
use crate::io::{self, Io, uring};
use crate::lane::{Lane, Pulse};
use crate::limits::{CONNECTIONS_AUTO_MAX, POOL_BLOCKS_PER_LANE, POOL_BYTES_MAX, THREADS_MAX};
use crate::meter::Meter;
use crate::options::{Connections, IoChoice, Options, Outcome, Target};

/// A download at work. Dropping it stops the lanes and removes what is not complete.
pub struct Download {
    meter: Arc<Meter>,
    stopper: Stopper,
    result: oneshot::Receiver<Result<Outcome>>,
    thread: Option<JoinHandle<()>>,
}

/// Stops a download from anywhere.
#[derive(Clone, Debug, Default)]
pub struct Stopper(Arc<StopFlag>);

#[derive(Debug, Default)]
struct StopFlag {
    set: AtomicBool,
    changed: Notify,
}

/// Begins to download `url` to `target` on threads of its own, at once.
pub fn start(url: Url, target: Target, options: &Options) -> Download {
    begin(Item { url, target: Want::Target(target), options: options.clone() })
}

pub(crate) fn begin(item: Item) -> Download {
    let meter = Arc::new(Meter::default());
    let stopper = Stopper::default();
    let (tell, result) = oneshot::channel();
    let (theirs, their_stopper) = (Arc::clone(&meter), stopper.clone());
    let thread = std::thread::Builder::new().name("ringpull-fetch".into()).spawn(move || {
        // Nobody may listen any more.
        let _ = tell.send(live(item, theirs, their_stopper));
    });
    // Without the thread the channel is closed, and that is what `wait` reports.
    Download { meter, stopper, result, thread: thread.ok() }
}

fn live(item: Item, meter: Arc<Meter>, stopper: Stopper) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(Kind::Internal, "cannot start a runtime").because(error))?;
    runtime.block_on(fetch::run(item, meter, stopper))
}

impl Download {
    /// The counters to sample while it runs.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// A handle that stops it.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Waits for the end, on any runtime. Dropping the future stops the download.
    ///
    /// # Errors
    /// The failure that ended it; `Kind::Interrupted` after [`Stopper::stop`].
    pub async fn wait(mut self) -> Result<Outcome> {
        let result = (&mut self.result).await;
        self.join();
        result.unwrap_or_else(|_| Err(died()))
    }

    /// Waits for the end, blocking this thread. Not for use inside a runtime.
    ///
    /// # Errors
    /// As [`Download::wait`].
    pub fn wait_blocking(mut self) -> Result<Outcome> {
        self.join();
        self.result.try_recv().unwrap_or_else(|_| Err(died()))
    }

    pub(crate) fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outcome>> {
        let result = std::task::ready!(Pin::new(&mut self.result).poll(cx));
        Poll::Ready(result.unwrap_or_else(|_| Err(died())))
    }

    /// Stops the download without waiting for its threads, which end by themselves.
    pub(crate) fn abandon(mut self) {
        self.stopper.stop();
        drop(self.thread.take());
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic there closes the channel, which is reported.
            let _ = thread.join();
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.stopper.stop();
        self.join();
    }
}

impl std::fmt::Debug for Download {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Download").field("meter", &self.meter).finish_non_exhaustive()
    }
}

fn died() -> Error {
    Error::new(Kind::Internal, "a thread of the download ended unexpectedly")
        .hint("please report this, with the message above")
}

impl Stopper {
    /// Stops the download soon; what it has written is removed.
    pub fn stop(&self) {
        self.0.set.store(true, Relaxed);
        self.0.changed.notify_waiters();
    }

    pub(crate) async fn stopped(&self) {
        let mut changed = std::pin::pin!(self.0.changed.notified());
        changed.as_mut().enable();
        if !self.0.set.load(Relaxed) {
            changed.await;
        }
    }
}

/// The lane threads of one download.
pub(crate) struct Crew {
    threads: Vec<JoinHandle<()>>,
    backend: Arc<Backend>,
}

/// Which backend the threads really use.
#[derive(Default)]
struct Backend {
    /// 0: none yet, 1: io_uring, 2: epoll.
    used: AtomicU8,
    told: Mutex<bool>,
}

impl Crew {
    /// Starts the threads. `board` is made for the number of blocks in the smallest pool.
    ///
    /// # Errors
    /// `Kind::Usage` if io_uring was demanded and the kernel refuses; `Kind::Internal` if threads cannot be
    /// had.
    pub(crate) fn start(
        fetch: &Arc<Fetch>,
        board: impl FnOnce(u32) -> Arc<Board>,
    ) -> Result<(Self, Arc<Board>)> {
        let uring = choose(fetch)?;
        let lanes = lanes(&fetch.options);
        let threads = threads(&fetch.options).min(lanes);
        let backend = Arc::new(Backend::default());
        let pools = (0..threads)
            .map(|thread| pool(fetch.block_size(), lanes_of(thread, threads, lanes), threads))
            .collect::<Result<Vec<_>>>()?;
        let window = pools.iter().map(Pool::blocks).min().unwrap_or(1);
        let board = board(window);
        let mut crew = Self { threads: Vec::new(), backend };
        for (thread, pool) in pools.into_iter().enumerate() {
            match crew.spawn(thread, threads, lanes, pool, uring, fetch, &board) {
                Ok(()) => {}
                Err(error) => {
                    board.fail(Error::new(Kind::Interrupted, "a thread could not be started"));
                    crew.join();
                    return Err(Error::new(Kind::Internal, "cannot start a thread").because(error));
                }
            }
        }
        Ok((crew, board))
    }

    #[expect(clippy::too_many_arguments, reason = "one caller, which has it all at hand")]
    fn spawn(
        &mut self,
        thread: usize,
        threads: usize,
        lanes: usize,
        pool: Pool,
        uring: bool,
        fetch: &Arc<Fetch>,
        board: &Arc<Board>,
    ) -> std::io::Result<()> {
        let numbers: Vec<_> = (thread..lanes).step_by(threads).collect();
        let (fetch, board) = (Arc::clone(fetch), Arc::clone(board));
        let backend = Arc::clone(&self.backend);
        let body = move || {
            let meter = Arc::clone(&fetch.meter);
            let ours = Arc::clone(&backend);
            let guard = Alarm(Arc::clone(&board));
            let their_pool = pool.clone();
            let work: io::Work = Box::new(move |io| {
                ours.note(&io);
                Box::pin(run_lanes(numbers, io, their_pool, board, fetch))
            });
            if let Some(refusal) = io::run(uring, &pool, work) {
                backend.tell_once(|| fetch::note_fallback(&meter, &refusal));
            }
            drop(guard);
        };
        let builder = std::thread::Builder::new().name(format!("ringpull-lane-{thread}"));
        self.threads.push(builder.spawn(body)?);
        Ok(())
    }

    /// The name of the backend in use.
    pub(crate) fn io(&self) -> &'static str {
        match self.backend.used.load(Relaxed) {
            1 => "uring",
            _ => "epoll",
        }
    }

    /// Waits for the threads, which end with the board.
    pub(crate) fn join(self) {
        for thread in self.threads {
            // A panic has set off the alarm, which failed the download.
            let _ = thread.join();
        }
    }
}

/// Fails the download if its thread panics: nobody must wait for lanes that are gone.
struct Alarm(Arc<Board>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(died());
        }
    }
}

impl Backend {
    fn note(&self, io: &Io) {
        let code = match io {
            Io::Uring(_) => 1,
            Io::Epoll => 2,
        };
        self.used.fetch_max(code, Relaxed);
    }

    fn tell_once(&self, tell: impl FnOnce()) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *told, true) {
            tell();
        }
    }
}

async fn run_lanes(numbers: Vec<usize>, io: Io, pool: Pool, board: Arc<Board>, fetch: Arc<Fetch>) {
    let mut lanes = tokio::task::JoinSet::new();
    for number in numbers {
        let (io, pool) = (io.clone(), pool.clone());
        let (board, fetch) = (Arc::clone(&board), Arc::clone(&fetch));
        let lane = Lane { number, io, pool, board, fetch, pulse: Pulse::default() };
        lanes.spawn_local(lane.run());
    }
    while let Some(ended) = lanes.join_next().await {
        if let Err(error) = ended {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

/// Whether to use io_uring; says once why not where that was not the caller's choice.
fn choose(fetch: &Fetch) -> Result<bool> {
    if fetch.options.io == IoChoice::Epoll {
        return Ok(false);
    }
    crate::sys::raise_memlock();
    match (uring::probe(), fetch.options.io) {
        (Ok(()), _) => Ok(true),
        (Err(refusal), IoChoice::Uring) => {
            Err(Error::new(Kind::Usage, format!("io_uring is not available: {refusal}"))
                .hint("use --io auto or --io epoll"))
        }
        (Err(refusal), _) => {
            fetch::note_fallback(&fetch.meter, &refusal);
            Ok(false)
        }
    }
}

/// Lanes in all: as many as there may ever be connections.
fn lanes(options: &Options) -> usize {
    usize::from(match options.connections {
        Connections::Auto => CONNECTIONS_AUTO_MAX,
        Connections::Exactly(count) => count.get(),
    })
}

fn threads(options: &Options) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = options.threads.map_or_else(cores, |threads| usize::from(threads.get()));
    wanted.clamp(1, usize::from(THREADS_MAX))
}

fn lanes_of(thread: usize, threads: usize, lanes: usize) -> usize {
    (thread..lanes).step_by(threads).count()
}

/// A pool for `lanes` lanes, one of `threads`: what they would like, within the bound on memory, but never
/// so little that lanes wait for each other.
fn pool(block_size: u64, lanes: usize, threads: usize) -> Result<Pool> {
    let lanes = u32::try_from(lanes).unwrap_or(u32::MAX);
    let share = POOL_BYTES_MAX / crate::units::wide(threads) / block_size;
    let share = u32::try_from(share).unwrap_or(u32::MAX);
    let blocks = lanes.saturating_mul(POOL_BLOCKS_PER_LANE).min(share).max(lanes.saturating_add(2));
    Pool::new(blocks, block_size)
}
