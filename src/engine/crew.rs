//! The lane threads of one download: how many, with what memory, on which backend.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{died, no_thread};
use crate::block::Pool;
use crate::board::Board;
use crate::error::{Error, Kind, Result};
use crate::fetch::{self, Fetch};
use crate::io::{self, Io, Wanted, uring};
use crate::lane::{Lane, Pulse};
use crate::limits::{CONNECTIONS_AUTO_MAX, POOL_BLOCKS_PER_LANE, POOL_BYTES_MAX, THREADS_MAX};
use crate::options::{Connections, IoChoice, Options, Write};

/// The lane threads of one download.
pub(crate) struct Crew {
    threads: Vec<JoinHandle<()>>,
    backend: Arc<Backend>,
    /// Closed when the last thread has ended.
    ended: mpsc::Receiver<()>,
}

/// What every lane thread needs to begin.
#[derive(Clone)]
struct Orders {
    wanted: Wanted,
    fetch: Arc<Fetch>,
    board: Arc<Board>,
    backend: Arc<Backend>,
    _running: mpsc::Sender<()>,
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
    /// `Kind::Usage` if io_uring was demanded and the kernel refuses; `Kind::LocalIo` if threads cannot be
    /// had.
    pub(crate) fn start(
        fetch: &Arc<Fetch>,
        board: impl FnOnce(u32) -> Arc<Board>,
    ) -> Result<(Self, Arc<Board>)> {
        let wanted = choose(fetch)?;
        let lanes = lanes(&fetch.options);
        let threads = threads(&fetch.options).min(lanes);
        let numbers = |thread| (thread..lanes).step_by(threads).collect::<Vec<_>>();
        let pools = (0..threads)
            .map(|thread| pool(fetch.block_size(), numbers(thread).len(), threads))
            .collect::<Result<Vec<_>>>()?;
        let board = board(pools.iter().map(Pool::blocks).min().unwrap_or(1));
        let (running, ended) = mpsc::channel();
        let mut crew = Self { threads: Vec::new(), backend: Arc::default(), ended };
        let orders = Orders {
            wanted,
            fetch: Arc::clone(fetch),
            board: Arc::clone(&board),
            backend: Arc::clone(&crew.backend),
            _running: running,
        };
        for (thread, pool) in pools.into_iter().enumerate() {
            let (numbers, orders) = (numbers(thread), orders.clone());
            let builder = std::thread::Builder::new().name(format!("ringpull-lane-{thread}"));
            match builder.spawn(move || work(numbers, &pool, orders)) {
                Ok(handle) => crew.threads.push(handle),
                // Not with fewer: the kernel needs threads of its own for io_uring, and waits for them for
                // ever.
                Err(error) => {
                    board.fail(Error::new(Kind::Interrupted, "a thread could not be started"));
                    crew.join();
                    return Err(no_thread(error));
                }
            }
        }
        Ok((crew, board))
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

    /// Waits for the threads for at most `grace`: one that waits for a name to be resolved, say, cannot be
    /// interrupted, and ends by itself.
    pub(crate) fn leave(self, grace: Duration) {
        // Nothing is ever sent: the channel closes with the last thread.
        if self.ended.recv_timeout(grace) == Err(RecvTimeoutError::Disconnected) {
            self.join();
        }
    }
}

/// One lane thread from start to end.
fn work(numbers: Vec<usize>, pool: &Pool, orders: Orders) {
    let alarm = Alarm(Arc::clone(&orders.board));
    let Orders { wanted, fetch, board, backend, _running } = orders;
    let (theirs, meter, noted) = (pool.clone(), Arc::clone(&fetch.meter), Arc::clone(&backend));
    let lanes: io::Work = Box::new(move |io| {
        noted.note(&io);
        Box::pin(run_lanes(numbers, io, theirs, board, fetch))
    });
    match io::run(wanted, pool, lanes) {
        Ok(None) => {}
        Ok(Some(refusal)) => backend.tell_once(|| fetch::note_fallback(&meter, &refusal)),
        Err(error) => alarm.0.fail(no_loop(error)),
    }
}

async fn run_lanes(numbers: Vec<usize>, io: Io, pool: Pool, board: Arc<Board>, fetch: Arc<Fetch>) {
    let mut lanes = tokio::task::JoinSet::new();
    for number in numbers {
        let (io, pool) = (io.clone(), pool.clone());
        let (board, fetch) = (Arc::clone(&board), Arc::clone(&fetch));
        let pulse = Pulse::default();
        let syncs = tokio::task::JoinSet::new();
        lanes.spawn_local(Lane { number, io, pool, board, fetch, address: 0, pulse, syncs }.run());
    }
    while let Some(ended) = lanes.join_next().await {
        if let Err(error) = ended {
            std::panic::resume_unwind(error.into_panic());
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
            Io::Epoll(_) => 2,
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

/// Whether to use io_uring; says once why not where that was not the caller's choice.
fn choose(fetch: &Fetch) -> Result<Wanted> {
    let throws_away = fetch.options.write == Write::Discard;
    match fetch.options.io {
        IoChoice::Epoll => return Ok(Wanted::Epoll),
        // With nothing to write a ring is a detour: epoll takes 0.55 of its time and 0.7 of its CPU time.
        IoChoice::Auto if throws_away => return Ok(Wanted::Epoll),
        IoChoice::Auto | IoChoice::Uring => {}
    }
    crate::sys::raise_memlock();
    match (uring::probe(), fetch.options.io) {
        (Ok(()), IoChoice::Uring) => Ok(Wanted::Uring),
        (Ok(()), _) => Ok(Wanted::Either),
        (Err(refusal), IoChoice::Uring) => {
            Err(Error::new(Kind::Usage, format!("io_uring is not available: {refusal}"))
                .hint("use --io auto or --io epoll"))
        }
        (Err(refusal), _) => {
            fetch::note_fallback(&fetch.meter, &refusal);
            Ok(Wanted::Epoll)
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

/// A pool for `lanes` lanes, one of `threads`: what they would like, within the bound on memory, but never so
/// little that lanes wait for each other.
fn pool(block_size: u64, lanes: usize, threads: usize) -> Result<Pool> {
    let lanes = u32::try_from(lanes).unwrap_or(u32::MAX);
    let share = POOL_BYTES_MAX / crate::units::wide(threads) / block_size;
    let share = u32::try_from(share).unwrap_or(u32::MAX);
    let blocks = lanes.saturating_mul(POOL_BLOCKS_PER_LANE).min(share).max(lanes.saturating_add(2));
    Pool::new(blocks, block_size)
}

fn no_loop(error: std::io::Error) -> Error {
    let why = crate::error::reason(&error);
    Error::new(Kind::LocalIo, format!("cannot start an event loop: {why}"))
        .hint("raise the limit on open files (see `ulimit -n`), or use fewer --threads")
        .because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::BLOCK_SIZE_DEFAULT;

    #[test]
    fn the_pools_of_the_defaults_stay_within_their_bound() {
        let lanes = usize::from(CONNECTIONS_AUTO_MAX);
        for threads in 1..=lanes {
            let pools = (0..threads).map(|thread| {
                let share = (thread..lanes).step_by(threads).count();
                let pool = pool(BLOCK_SIZE_DEFAULT, share, threads).unwrap();
                assert!(
                    usize::try_from(pool.blocks()).unwrap() > share,
                    "lanes would wait for each other"
                );
                u64::from(pool.blocks()) * BLOCK_SIZE_DEFAULT
            });
            // Many threads with a lane or two each need more: three blocks where it is one.
            assert!(pools.sum::<u64>() <= POOL_BYTES_MAX.max(96 << 20), "{threads} threads");
        }
    }
}
