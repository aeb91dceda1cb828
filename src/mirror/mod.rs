//! A directory in line with a list: the fetches of many small entries and a few large ones, and the books
//! that say at the end what became of each.
//!
//! One thread lives the life of the run: it reads the list into the catalog (`survey`), compares it with what
//! is there, and hands what needs work to the lane threads (`hosts`), each of which runs a number of errands
//! at a time (`errand`). What waits for another of the same digest (`twins`) is linked after that
//! (`linking`), or fetched if that cannot be. The books (`tally`) take one ending for every entry. When all
//! have theirs, what was written is synced, and only then the run is sealed and what is no longer wanted
//! removed (`close`).
//!
//! Invariant: the list and the tree are the only truth. Journal and snapshot save work; without them a run
//! looks at the files again and asks the server.

mod close;
mod compare;
mod counts;
mod crew;
mod decide;
mod delivery;
mod errand;
mod evidence;
mod extra;
mod host;
mod hosts;
mod large;
mod limit;
mod lines;
mod linking;
mod page;
mod queues;
mod reading;
mod removal;
mod results;
mod rows;
mod survey;
mod tally;
#[cfg(test)]
mod tests;
mod twins;
mod way;

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};
use url::Url;

pub use self::counts::{Counts, Stage, Standing};
use crate::engine::Stopper;
use crate::error::{Error, Kind, Result};
pub use crate::manifest::Format;
use crate::manifest::{Entry, Filter};
use crate::options::Options;
use crate::tempo::Tempo;

/// What to bring in line with what.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Order {
    /// The list of what is wanted.
    pub list: List,
    /// The directory that the entries go to.
    pub directory: PathBuf,
    /// What relative addresses of the list are relative to.
    pub base_url: Option<Url>,
    /// The format of the list; `None` looks at it.
    pub format: Option<Format>,
    /// Globs of the paths that are wanted; all, if there is none.
    pub include: Vec<String>,
    /// Globs of the paths that are not.
    pub exclude: Vec<String>,
    /// Whether to remove what the list does not have.
    pub delete: bool,
    /// Most files to remove; `None` is the larger of 1000 and a tenth of the list.
    pub max_delete: Option<u64>,
    /// How much of what seems unchanged is read again.
    pub verify: Verify,
    /// How entries of equal digests get their files from one that is fetched; `None` fetches each.
    pub dedupe: Option<Dedupe>,
    /// Whether to tell what would be done, and do nothing.
    pub dry_run: bool,
    /// Entries in flight at a time, of all hosts together.
    pub jobs: NonZeroU16,
    /// Most connections to one host, or requests at a time over HTTP/2.
    pub per_host: NonZeroU16,
    /// Whether small entries may come over HTTP/2 from servers that speak it.
    pub http2: bool,
    /// The least time between two requests to one host; `None` for as many as it answers.
    pub request_gap: Option<Duration>,
    /// Where journal and snapshot are kept; `None` is `.ringpull` in the directory.
    pub state: Option<PathBuf>,
    /// Where to write a line for every entry; `None` is `results.jsonl` beside the journal.
    pub results: Option<PathBuf>,
    /// Where to write the entries that failed, as a list for another run.
    pub failures: Option<PathBuf>,
    /// How the single file is fetched.
    pub options: Options,
}

/// A list of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum List {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// A list on a server, or, where it ends in a slash, the index of a directory there.
    Url(Url),
}

/// How much of what seems unchanged is read again and compared with its digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Nothing: size, dates and inode are what they were.
    #[default]
    None,
    /// One in a hundred.
    Sample,
    /// Everything that has a digest.
    All,
}

/// How a file is made from another that has the same digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dedupe {
    /// As with `Reflink` where the file system can, else as with `Hardlink`.
    #[default]
    Auto,
    /// As a file of its own that shares the blocks until one of them is written to (ioctl_ficlone(2)).
    Reflink,
    /// As another name of the same file (link(2)): all have the date of the first.
    Hardlink,
}

impl Order {
    /// An order with the defaults.
    pub fn new(list: List, directory: PathBuf) -> Self {
        Self {
            list,
            directory,
            base_url: None,
            format: None,
            include: Vec::new(),
            exclude: Vec::new(),
            delete: false,
            max_delete: None,
            verify: Verify::None,
            dedupe: None,
            dry_run: false,
            jobs: JOBS_DEFAULT,
            per_host: PER_HOST_DEFAULT,
            http2: true,
            request_gap: None,
            state: None,
            results: None,
            failures: None,
            options: Options::default(),
        }
    }

    /// Whose credentials we hold, for an entry: those of the server that the list came from or is relative
    /// to. Only a list of the user's own may name others.
    fn home<'a>(&'a self, entry: &'a Entry) -> &'a Url {
        match (&self.list, &self.base_url) {
            (_, Some(base)) => base,
            (List::Url(list), None) => list,
            _ => &entry.urls[0],
        }
    }

    /// Whether an entry that is large may be split over connections by the engine: it knows no other home
    /// than the address of the entry, and no limit that it shares.
    fn is_split(&self, entry: &Entry) -> bool {
        let is_home = self.home(entry).origin() == entry.urls[0].origin();
        is_home && self.options.limit_rate.is_none() && self.request_gap.is_none()
    }

    /// Whether the list is the index of a directory and of all below it.
    fn is_walk(&self) -> bool {
        let List::Url(url) = &self.list else { return false };
        self.format.map_or(url.path().ends_with('/'), |format| format == Format::Index)
    }

    /// The turns of the hosts, from their first.
    fn tempo(&self) -> Option<Arc<Mutex<Tempo>>> {
        self.request_gap.map(|gap| Arc::new(Mutex::new(Tempo::new(gap))))
    }

    fn filter(&self) -> Result<Filter> {
        Filter::new(&self.include, &self.exclude)
    }
}

/// Entries in flight, unless told otherwise (aria2's `-j` is 5, rclone's `--transfers` 4, curl's `-Z` 50).
pub const JOBS_DEFAULT: NonZeroU16 = NonZeroU16::new(32).expect("proof: not 0");
/// Connections to one host, unless told otherwise.
pub const PER_HOST_DEFAULT: NonZeroU16 = NonZeroU16::new(8).expect("proof: not 0");

/// Actions of a dry run that wait for their listener.
const ACTIONS_MAX: usize = 1024;

/// A run at work. Dropping it stops it; the next run goes on.
#[derive(Debug)]
pub struct Mirror {
    counts: Arc<Counts>,
    stopper: Stopper,
    result: oneshot::Receiver<Result<Sealed>>,
    actions: mpsc::Receiver<Action>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What a dry run would do with one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// `fetch`, `check` with the server, `hash` what is there, `link` with another, or `delete`.
    pub verb: String,
    /// The path below the directory.
    pub path: String,
}

/// What a run that came to its end did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sealed {
    /// How many entries ended how.
    pub standing: Standing,
    /// Files that were removed.
    pub deleted: u64,
    /// Why nothing was removed, or nothing but what was in the way of entries, although that was asked for.
    pub not_deleted: Option<String>,
    /// Whether all that was written is on disk.
    pub durable: bool,
}

/// Begins to bring a directory in line, on threads of its own.
pub fn start(order: Order) -> Mirror {
    let (counts, stopper) = (Arc::new(Counts::default()), Stopper::default());
    let (tell, result) = oneshot::channel();
    let (act, actions) = mpsc::channel(ACTIONS_MAX);
    let (theirs, their_stopper) = (Arc::clone(&counts), stopper.clone());
    let builder = std::thread::Builder::new().name("ringpull-mirror".into());
    let (hand, handed) = std::sync::mpsc::sync_channel::<oneshot::Sender<Result<Sealed>>>(1);
    let spawned = builder.spawn(move || {
        let Ok(tell) = handed.recv() else { return };
        // Nobody may listen any more.
        let mut told = |verb: &str, path: &str| {
            let action = Action { verb: verb.to_owned(), path: path.to_owned() };
            // Nobody may listen any more.
            let _ = act.blocking_send(action);
            Ok(())
        };
        let _ = tell.send(close::live(&order, &theirs, &their_stopper, &mut told));
    });
    let thread = match spawned {
        Ok(thread) => {
            hand.send(tell).expect("proof: the thread waits for it");
            Some(thread)
        }
        Err(error) => {
            let why = crate::error::reason(&error);
            let _ =
                tell.send(Err(Error::new(Kind::LocalIo, format!("cannot start a thread: {why}"))));
            None
        }
    };
    Mirror { counts, stopper, result, actions, thread }
}

impl Mirror {
    /// What there is to count, to be looked at while it runs.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// A handle that stops it.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// The next thing that a dry run would do; `None` when there is no more. A dry run waits for its
    /// listener.
    pub async fn next_action(&mut self) -> Option<Action> {
        self.actions.recv().await
    }

    /// Waits for the end, on any runtime.
    ///
    /// # Errors
    /// What kept the run from its end: the list cannot be read, the disk is full, it was stopped. That
    /// entries failed is none: [`Sealed::standing`] has them.
    pub async fn wait(mut self) -> Result<Sealed> {
        // Who does not listen to what a dry run says must not keep it waiting.
        self.actions.close();
        let result = (&mut self.result).await;
        self.join();
        result.unwrap_or_else(|_| {
            Err(Error::new(Kind::Internal, "a thread of the mirror ended unexpectedly"))
        })
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic there closes the channel, which is reported.
            let _ = thread.join();
        }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.stopper.stop();
        // A dry run must not wait for a listener who is gone.
        self.actions.close();
        self.join();
    }
}

/// Seconds since 1970 of a date, for what is compared and kept.
fn seconds(date: SystemTime) -> u64 {
    date.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The time until which a run may last.
fn deadline(options: &Options, begun: Instant) -> Option<Instant> {
    begun.checked_add(options.max_time?)
}
