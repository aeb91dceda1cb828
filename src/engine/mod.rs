//! Starts and stops the threads: one that lives the life of the item, and the lane threads.
//!
//! Each lane thread has its own runtime, ring, block pool and lanes. Nothing here moves a byte.

mod crew;

pub(crate) use crew::Crew;

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use tokio::sync::{Notify, oneshot};
use url::Url;

use crate::error::{Error, Kind, Result};
use crate::fetch::{self, Item, Want};
use crate::meter::Meter;
use crate::options::{Options, Outcome, Target};

/// A download at work. Dropping it stops the lanes; what has landed stays for another run.
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
    let (hand, handed) = mpsc::sync_channel::<oneshot::Sender<_>>(1);
    let builder = std::thread::Builder::new().name("ringpull-fetch".into());
    let thread = builder.spawn(move || {
        let Ok(tell) = handed.recv() else { return };
        // Nobody may listen any more.
        let _ = tell.send(live(item, theirs, their_stopper));
    });
    match thread {
        Ok(thread) => {
            hand.send(tell).expect("proof: the thread waits for it");
            Download { meter, stopper, result, thread: Some(thread) }
        }
        Err(error) => {
            // It reaches whoever waits.
            let _ = tell.send(Err(no_thread(error)));
            Download { meter, stopper, result, thread: None }
        }
    }
}

fn live(item: Item, meter: Arc<Meter>, stopper: Stopper) -> Result<Outcome> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
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

fn no_thread(error: std::io::Error) -> Error {
    let why = crate::error::reason(&error);
    Error::new(Kind::LocalIo, format!("cannot start a thread: {why}"))
        .hint("raise the limits on processes and open files (see `ulimit -u` and `ulimit -n`)")
        .because(error)
}

fn died() -> Error {
    Error::new(Kind::Internal, "a thread of the download ended unexpectedly")
        .hint("please report this, with the message above")
}

impl Stopper {
    /// Stops the download soon; what has landed stays for another run.
    pub fn stop(&self) {
        self.0.set.store(true, Relaxed);
        self.0.changed.notify_waiters();
    }

    /// Whether it was told to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.set.load(Relaxed)
    }

    pub(crate) async fn stopped(&self) {
        let mut changed = std::pin::pin!(self.0.changed.notified());
        changed.as_mut().enable();
        if !self.0.set.load(Relaxed) {
            changed.await;
        }
    }
}
