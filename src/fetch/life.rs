//! From the command to the rename: what stands before the first request and after the last byte.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use url::Url;

use super::open::{date_for_file, settle_if_right};
use super::verify::verify;
use super::{Existing, Fetch, Goal, Opened, shown};
use crate::board::{Board, Ending, Job, Manner, Rules};
use crate::engine::{Crew, Stopper};
use crate::error::{Error, Kind, Result};
use crate::limits::{SAMPLE_EVERY, STOP_GRACE};
use crate::meter::{Event, Meter, Phase};
use crate::name;
use crate::options::{Connections, Options, Outcome, Target, Verified, Write};
use crate::pace::Pace;
use crate::sink::{Chunk, Named, Publish, Sink, StreamTo, directory_of};
use crate::throttle::Throttle;

/// What to fetch, and for whom.
pub(crate) struct Item {
    pub(crate) url: Url,
    pub(crate) target: Want,
    pub(crate) options: Options,
}

/// Where a caller wants the bytes.
pub(crate) enum Want {
    Target(Target),
    Chunks(mpsc::Sender<Result<Chunk>>),
    /// None: only the size is asked for.
    Size,
}

/// Fetches one item; see [`crate::engine::start`].
///
/// Dropping the future stops the lanes; what has landed stays for another run.
pub(crate) async fn run(item: Item, meter: Arc<Meter>, stopper: Stopper) -> Result<Outcome> {
    let started = Instant::now();
    item.options.check(&item.url)?;
    let goal = goal(&item)?;
    let existing = existing(&goal, &item.options)?;
    if let (Some(existing), Goal::File(path)) = (&existing, &goal)
        && let Some(done) =
            until_stopped(already_right(existing, path, &item.options, &meter, started), &stopper)
                .await?
    {
        return Ok(done);
    }
    let Item { url, options, .. } = item;
    let fetch = Arc::new(Fetch::new(url, goal, existing, options, Arc::clone(&meter)));
    fetch.look_beside()?;
    if fetch.options.client.is_insecure() {
        let notice =
            "no certificate is checked (--insecure): whoever is in between can read and change all";
        meter.tell(Event::Notice(notice.into()));
    }
    let (crew, board) = Crew::start(&fetch, |window| Arc::new(board(&fetch.options, window)))?;
    let ending = watch(&board, &fetch, &stopper, started).await;
    let ending = ending.map(|ending| (ending, crew.io()));
    // The lanes have let go of everything by now; only their threads end later.
    let result = match ending {
        Ok((Ending::Landed(job, size), io)) => {
            finish(&fetch, &job, size, io, started, &stopper).await
        }
        Ok((Ending::UpToDate(size, verified), io)) => {
            Ok(Outcome { verified, ..up_to_date(&fetch, size, io, started) })
        }
        Err(error) => Err(error),
    };
    match &result {
        Err(_) => {
            fetch.leave().await;
            // No lane is at work any more, but one may wait for a name to be resolved.
            crew.leave(STOP_GRACE);
        }
        Ok(_) => crew.join(),
    }
    meter.set_phase(Phase::Done);
    result
}

fn board(options: &Options, window: u32) -> Board {
    let pace = match options.connections {
        Connections::Auto => Pace::auto(),
        Connections::Exactly(count) => Pace::exactly(count.get()),
    };
    let throttle = options.limit_rate.map(|rate| Throttle::new(rate, Instant::now()));
    let receive_buffer =
        throttle.as_ref().and_then(|throttle| throttle.receive_buffer(pace.allowed()));
    let rules = Rules { retries: options.retries, window, receive_buffer };
    Board::new(rules, Manner::Ranges, pace, throttle)
}

/// Where the bytes go, as far as that is known before the first answer.
fn goal(item: &Item) -> Result<Goal> {
    let target = match &item.target {
        Want::Chunks(_) if item.options.checksum.is_some() => {
            let message = "chunks come in any order, and a checksum needs them in one";
            return Err(Error::new(Kind::Usage, message).hint("hash the file when it is complete"));
        }
        Want::Chunks(sender) => return Ok(Goal::Caller(sender.clone())),
        Want::Size => return Ok(Goal::Size),
        Want::Target(target) => target,
    };
    let goal = match target {
        Target::Stdout => Goal::Stream(StreamTo::Stdout),
        Target::File(path) => file_goal(path)?,
        Target::Dir(_) if item.options.write == Write::Discard => Goal::Nowhere,
        Target::Dir(directory) if item.options.content_disposition => {
            check_directory(directory)?;
            Goal::Dir(directory.clone())
        }
        Target::Dir(directory) => {
            let name = name::from_url(&item.url).ok_or_else(|| {
                Error::new(Kind::Usage, "the URL has no file name").hint("name one with --output")
            })?;
            named_goal(directory.join(name), &item.options)?
        }
    };
    let is_file = matches!(goal, Goal::File(_) | Goal::Dir(_));
    match item.options.write {
        Write::Discard => Ok(Goal::Nowhere),
        Write::Mmap | Write::Direct | Write::Buffered if !is_file => {
            let message = "the output is a stream, and --write needs a file";
            Err(Error::new(Kind::Usage, message).hint("leave --write away, or name a file"))
        }
        _ => Ok(goal),
    }
}

/// A path that nobody typed is a file: a FIFO or device there, or a link to one, is in the way.
fn named_goal(path: PathBuf, options: &Options) -> Result<Goal> {
    match file_goal(&path)? {
        Goal::Stream(_) if options.overwrite => Ok(Goal::File(path)),
        Goal::Stream(_) => Err(in_the_way(&path)),
        goal => Ok(goal),
    }
}

/// What stands at a path decides: a FIFO or device takes the bytes as they come, a directory takes none.
fn file_goal(path: &Path) -> Result<Goal> {
    let ends_with_slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {
            Err(Error::new(Kind::LocalIo, format!("{} is a directory", shown(path)))
                .hint("use --dir for a directory"))
        }
        Ok(meta) if !meta.is_file() => Ok(Goal::Stream(StreamTo::Path(path.to_owned()))),
        _ if ends_with_slash || path.file_name().is_none() => {
            Err(Error::new(Kind::LocalIo, format!("{} is not a file name", shown(path)))
                .hint("use --dir for a directory"))
        }
        _ => {
            check_directory(directory_of(path))?;
            Ok(Goal::File(path.to_owned()))
        }
    }
}

/// Says before the first request that there is no directory to write to.
fn check_directory(directory: &Path) -> Result<()> {
    let found = std::fs::metadata(directory);
    let found = found.map_err(|error| Error::local("write to the directory", directory, error))?;
    if found.is_dir() {
        return Ok(());
    }
    Err(Error::new(Kind::LocalIo, format!("{} is not a directory", shown(directory)))
        .hint("choose another with --dir"))
}

/// The target that is there already and may not be replaced.
fn existing(goal: &Goal, options: &Options) -> Result<Option<Existing>> {
    let Goal::File(path) = goal else { return Ok(None) };
    if options.overwrite {
        return Ok(None);
    }
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() => Ok(Some(Existing::new(&meta))),
        Ok(_) => {
            let target = std::fs::metadata(path).map_err(|_| in_the_way(path))?;
            Ok(Some(Existing::new(&target)))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::local("look at", path, error)),
    }
}

fn in_the_way(path: &Path) -> Error {
    Error::new(Kind::Exists, format!("{} exists", shown(path)))
        .hint("use --overwrite to replace it")
}

/// Under a digest the file on disk itself tells whether it is right, and no request is needed.
async fn already_right(
    existing: &Existing,
    path: &Path,
    options: &Options,
    meter: &Arc<Meter>,
    started: Instant,
) -> Result<Option<Outcome>> {
    let Some(wanted) = &options.checksum else { return Ok(None) };
    meter.set_phase(Phase::Verifying);
    let compared = existing.compare_digest(wanted, path, meter).await;
    let Opened::UpToDate(size, verified) = settle_if_right(compared, path, options.sync).await?
    else {
        return Ok(None);
    };
    meter.set_phase(Phase::Done);
    let path = Some(path.to_owned());
    Ok(Some(Outcome { path, verified, up_to_date: true, ..outcome(meter, size, started) }))
}

/// Waits for the end of the download, and does what must be done now and then.
async fn watch(
    board: &Arc<Board>,
    fetch: &Fetch,
    stopper: &Stopper,
    started: Instant,
) -> Result<Ending> {
    fetch.meter.set_phase(Phase::Fetching);
    let mut over = std::pin::pin!(board.wait());
    let mut tick = tokio::time::interval(SAMPLE_EVERY);
    let deadline = fetch.options.max_time.map_or(Duration::MAX, |max| max);
    let mut too_late = std::pin::pin!(tokio::time::sleep(deadline));
    let mut is_late = false;
    loop {
        tokio::select! {
            ending = &mut over => return ending,
            () = stopper.stopped() => {
                board.fail(interrupted());
                return over.await;
            }
            () = &mut too_late, if !is_late => {
                is_late = true;
                let time = crate::units::show_time(started.elapsed());
                board.fail(Error::new(Kind::TimedOut, format!("not complete after {time}"))
                    .hint("raise --max-time"));
            }
            _ = tick.tick() => {
                board.sample(Instant::now(), fetch.meter.received());
                fetch.remember(board);
            }
        }
    }
}

/// Every block has landed: verify, make durable, give the file its name.
async fn finish(
    fetch: &Fetch,
    job: &Arc<Job>,
    size: u64,
    io: &'static str,
    started: Instant,
    stopper: &Stopper,
) -> Result<Outcome> {
    fetch.options.client.spare_descriptors();
    if let Some(ledger) = job.ledger() {
        // Verifying may take long, and a kill meanwhile must not cost what was fetched last.
        ledger.flush();
    }
    job.sink.settle();
    job.cut(size)?;
    let verified = until_stopped(verify(fetch, job, size), stopper).await?;
    fetch.meter.set_phase(Phase::Syncing);
    let partial = job.take_partial();
    let path = partial.as_ref().map(|partial| partial.part.target().to_owned());
    let sync = fetch.options.sync;
    if let (Sink::Stream(stream), true) = (&job.sink, sync) {
        until_stopped(stream.sync(), stopper).await?;
    }
    let mut durable = false;
    if let Some(mut partial) = partial {
        let modified = job.version.modified().map(date_for_file);
        let publish = Publish { modified, overwrite: fetch.options.overwrite, sync };
        partial.check(size)?;
        partial.part.prepare(&publish)?;
        if sync {
            if let Some(ledger) = &partial.ledger {
                ledger.sync_begins();
            }
            // A disk may take its time.
            let synced = until_stopped(partial.part.sync(), stopper).await;
            partial.believe_sync(synced)?;
        }
        partial.check(size)?;
        let named = partial.publish(&publish)?;
        durable = named == Named::Durable;
        if let Named::Unsynced(Some(why)) = named {
            let what = "the file is on disk, but a power cut may take its name";
            fetch.meter.tell(Event::Notice(format!("{what}: cannot sync the directory: {why}")));
        }
    }
    Ok(Outcome {
        durable,
        path,
        io,
        write: job.sink.name(),
        resumed_bytes: job.resumed_bytes,
        verified,
        connections: fetch.meter.connections_max().max(1),
        ..outcome(&fetch.meter, size, started)
    })
}

/// Does what may take long, unless somebody does not want to wait for it.
async fn until_stopped<T>(work: impl Future<Output = Result<T>>, stopper: &Stopper) -> Result<T> {
    tokio::select! {
        done = work => done,
        () = stopper.stopped() => Err(interrupted()),
    }
}

fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "interrupted")
}

fn up_to_date(fetch: &Fetch, size: u64, io: &'static str, started: Instant) -> Outcome {
    let path = match &fetch.goal {
        Goal::File(path) => Some(path.clone()),
        _ => None,
    };
    Outcome { path, io, up_to_date: true, ..outcome(&fetch.meter, size, started) }
}

fn outcome(meter: &Meter, size: u64, started: Instant) -> Outcome {
    Outcome {
        path: None::<PathBuf>,
        bytes: size,
        fetched_bytes: meter.fetched(),
        resumed_bytes: 0,
        time: started.elapsed(),
        connections: 0,
        io: "none",
        write: "none",
        durable: false,
        verified: Verified::Nothing,
        up_to_date: false,
    }
}

/// Tells once why io_uring is not used.
pub(crate) fn note_fallback(meter: &Meter, why: &dyn std::fmt::Display) {
    meter.tell(Event::Notice(format!("io_uring is not available: {why}; using epoll")));
}
