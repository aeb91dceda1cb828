//! Opens the sink for what the first answer describes, or finds that nothing needs to be fetched.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::partial::{Left, Look, Partial};
use super::{Fetch, Goal, shown};
use crate::aside::aside;
use crate::board::{Anew, Digesting, Job, Manner};
use crate::digest::{self, Checksum, Follower};
use crate::error::{Error, Kind, Result};
use crate::gate::{Answer, Version};
use crate::limits::{IN_TURN_WAIT_MAX, MODIFIED_MAX};
use crate::meter::{Event, Meter};
use crate::name;
use crate::options::{Verified, Write};
use crate::plan::Plan;
use crate::sink::{self, Chunks, Part, Sink, Stream};
use crate::units::show_size;

/// What came of the first answer.
pub(crate) enum Opened {
    /// A sink is open, and a plan covers the file.
    Job(Arc<Job>, Plan),
    /// The target has this size in bytes and the right date or digest already.
    UpToDate(u64, Verified),
}

/// What the first answer tells of how the file will come.
struct Shape {
    version: Version,
    manner: Manner,
    /// The server answers at once: short leases cost nothing.
    is_prompt: bool,
}

/// A target that was there before.
#[derive(Clone, Debug)]
pub(crate) struct Existing {
    pub(crate) size: u64,
    pub(crate) modified: Option<SystemTime>,
}

impl Fetch {
    /// Opens the sink for an answer with a body, which began `waited` after it was asked for.
    ///
    /// # Errors
    /// `Kind::Exists` for a target that differs, `Kind::Refused` for a file above `max_filesize`, or a
    /// local failure.
    pub(crate) async fn open(&self, answer: &Answer, waited: Duration) -> Result<Opened> {
        let several = answer.ranged && self.may_combine(&answer.version);
        let manner = if several { Manner::Ranges } else { Manner::OneStream };
        let is_prompt = waited <= IN_TURN_WAIT_MAX;
        let shape = Shape { version: answer.version.clone(), manner, is_prompt };
        self.open_version(shape, answer.disposition.as_deref()).await
    }

    /// Whether opening may take long without a part file to look after: a FIFO waits for its reader, and a
    /// file that the server named may have to be hashed.
    pub(crate) fn may_wait_to_open(&self) -> bool {
        let hashes = matches!(self.goal, Goal::Dir(_)) && self.options.checksum.is_some();
        matches!(self.goal, Goal::Stream(_)) || hashes
    }

    /// Opens the sink for a file without bytes.
    pub(crate) async fn open_empty(&self, version: Version) -> Result<Opened> {
        self.meter.set_size(Some(0));
        let version = Version { size: Some(0), ..version };
        self.open_version(Shape { version, manner: Manner::OneStream, is_prompt: true }, None).await
    }

    async fn open_version(&self, shape: Shape, disposition: Option<&str>) -> Result<Opened> {
        let version = &shape.version;
        if matches!(self.goal, Goal::Size) {
            return Ok(Opened::UpToDate(version.size.unwrap_or(0), Verified::Nothing));
        }
        self.check_size(version.size)?;
        self.check_stretches(version.size)?;
        if let (Some(existing), Goal::File(path)) = (&self.existing, &self.goal) {
            return settle_if_right(existing.compare(version, path), path, self.options.sync).await;
        }
        let target = match &self.goal {
            Goal::File(path) => Some(path.clone()),
            Goal::Dir(directory) => Some(self.named_by_server(directory, disposition)?),
            Goal::Stream(_) | Goal::Nowhere | Goal::Caller(_) | Goal::Size => None,
        };
        if let (Goal::Dir(_), Some(path)) = (&self.goal, &target)
            && !self.options.overwrite
            && let Ok(meta) = std::fs::symlink_metadata(path)
        {
            let existing = Existing::new(&meta);
            Left::clear_stale(path);
            let compared = match &self.options.checksum {
                Some(wanted) => existing.compare_digest(wanted, path, &self.meter).await,
                None => existing.compare(version, path),
            };
            return settle_if_right(compared, path, self.options.sync).await;
        }
        let opened = match target {
            Some(target) if self.options.write != Write::Discard => {
                self.open_file(target, shape).await?
            }
            _ => self.open_other(shape).await?,
        };
        if let Opened::Job(job, _) = &opened {
            self.set_job(Some(Arc::clone(job)));
        }
        Ok(opened)
    }

    /// Refuses a file of more bytes than the caller allows.
    pub(crate) fn check_size(&self, size: Option<u64>) -> Result<()> {
        match (size, self.options.max_filesize) {
            (Some(size), Some(max)) if size > max => {
                let (size, max) = (show_size(size), show_size(max));
                let message =
                    format!("the file has {size} or more, and --max-filesize allows {max}");
                Err(Error::new(Kind::Refused, message))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a file whose stretches are not as many as the digests that it is to have.
    fn check_stretches(&self, size: Option<u64>) -> Result<()> {
        match (size, &self.options.trial) {
            (Some(size), Some(trial))
                if self.options.checksum.is_none() && !trial.stretches().covers(size) =>
            {
                let (count, length) = (trial.stretches().count(), trial.stretches().length());
                let message = format!(
                    "the server's file has {size} bytes, and not {count} stretches of {length}"
                );
                Err(Error::new(Kind::Digest, message))
            }
            _ => Ok(()),
        }
    }

    /// The target in a directory, named by the server or, failing that, by the URL.
    fn named_by_server(&self, directory: &Path, disposition: Option<&str>) -> Result<PathBuf> {
        let name =
            disposition.and_then(name::from_disposition).or_else(|| name::from_url(&self.url));
        let name = name.ok_or_else(|| {
            Error::new(Kind::Usage, "neither the server nor the URL gives a file name")
                .hint("name one with --output")
        })?;
        Ok(directory.join(name))
    }

    /// Opens the file in which the bytes gather: the one that an earlier run has left, or a new one.
    async fn open_file(&self, target: PathBuf, shape: Shape) -> Result<Opened> {
        let Shape { version, manner, .. } = &shape;
        let size = version.size;
        if let (Goal::Dir(_), Manner::Ranges) = (&self.goal, manner) {
            // The name came with the answer.
            self.look_for_left(&target)?;
        }
        let left = self.take_left(version, *manner);
        let in_turn = left.is_none() && self.hashes_in_turn(&shape);
        let write = self.write(in_turn);
        let (plan, sink, partial) = match left {
            Some(left) => self.open_left(left, size, write).await?,
            None => self.open_new(target, &shape, write).await?,
        };
        self.meter.add_landed(partial.resumed_bytes);
        let digesting = match &self.options.checksum {
            Some(wanted) if in_turn => {
                self.meter
                    .tell(Event::Detail("hashing blocks from memory, each in its turn".into()));
                Digesting::InTurn(Stream::start(None, Some(wanted.algo()))?)
            }
            Some(wanted) => {
                let file = Arc::clone(partial.part.file());
                Digesting::Behind(Follower::start(wanted.algo(), file, Arc::clone(&self.meter))?)
            }
            None => Digesting::Nothing,
        };
        let job = Job::new(sink, Some(partial), digesting, shape.version, shape.manner);
        Ok(Opened::Job(Arc::new(job), plan))
    }

    /// Looks for what an earlier run has left beside a target, and keeps it until the version is known.
    ///
    /// # Errors
    /// `Kind::Exists` if another process is at work on it.
    pub(super) fn look_for_left(&self, target: &Path) -> Result<()> {
        let look = Left::look(target, &self.source)?;
        let left = match look {
            Look::Left(left) => left,
            Look::Doubtful(why) => {
                let why = format!("what an earlier run has left is of no use: {why}");
                self.meter.tell(Event::Notice(why));
                return Ok(());
            }
            Look::Nothing => return Ok(()),
        };
        if self.options.restart {
            left.forget();
        } else {
            *self.left() = Some(*left);
        }
        Ok(())
    }

    /// What an earlier run has left of this version.
    fn take_left(&self, version: &Version, manner: Manner) -> Option<Left> {
        let left = self.left().take()?;
        let known = left.version();
        let doubt = match manner {
            Manner::OneStream => Some(Anew::OneStream),
            Manner::Ranges if !self.asks_the_same() => Some(Anew::OneStream),
            // Gathered on somebody's word (`--assume-immutable`) that is not given now.
            Manner::Ranges if !self.may_combine(&known) => Some(Anew::OneStream),
            Manner::Ranges => known.differs(version).map(Anew::Changed),
        };
        let Some(why) = doubt else { return Some(left) };
        *self.left() = Some(left);
        self.forget_left(&why);
        None
    }

    async fn open_left(
        &self,
        left: Left,
        size: Option<u64>,
        write: sink::Manner,
    ) -> Result<(Plan, Sink, Partial)> {
        let block_size = self.block_size();
        let plan = left.plan(block_size)?;

        let landed_bytes = plan.landed_bytes();
        let (there, all) = (show_size(landed_bytes), show_size(size.unwrap_or(0)));
        self.meter
            .tell(Event::Notice(format!("going on where it stopped: {there} of {all} are there")));
        let (sink, partial) = aside(move || {
            let sink = Sink::open(write, left.part(), size, block_size)?;
            let partial = left.resume(landed_bytes, sink.is_cached())?;
            Ok((sink, partial))
        })
        .await?;
        Ok((plan, sink, partial))
    }

    /// Creating and allocating may take the file system a while: not on a lane's thread.
    async fn open_new(
        &self,
        target: PathBuf,
        shape: &Shape,
        write: sink::Manner,
    ) -> Result<(Plan, Sink, Partial)> {
        let Shape { version, manner, .. } = shape;
        let (size, block_size) = (version.size, self.block_size());
        let plan = Plan::new(size, block_size)?;
        // A file of one block is all there or not at all.
        let worth = *manner == Manner::Ranges && size > Some(block_size) && self.asks_the_same();
        let resumable = (worth && self.may_combine(version)).then(|| version.clone());
        let source = self.source.clone();
        let (sink, partial, failed) = aside(move || {
            let part = Part::create(&target)?;
            let sink = Sink::open(write, &part, size, block_size)?;
            let resumable = resumable.filter(|_| part.is_locked());
            let version = resumable.as_ref();
            let (partial, failed) = Partial::begin(part, size, version, &source, sink.is_cached());
            Ok((sink, partial, failed))
        })
        .await?;
        if let Some(error) = failed {
            let text = format!("if it is interrupted, it will have to start anew: {error}");
            self.meter.tell(Event::Notice(text));
        }
        Ok((plan, sink, partial))
    }

    /// Whether each block is hashed from memory in its turn, and none read back: where the server answers at
    /// once, or one lane brings all in order.
    ///
    /// A mapped file keeps its windows for late blocks. A file with several addresses does without: one of
    /// them may want to be left alone for seconds, and the others must be free to run ahead of its blocks.
    fn hashes_in_turn(&self, shape: &Shape) -> bool {
        let is_in_order = self.is_single() || shape.manner == Manner::OneStream;
        let is_even = shape.is_prompt && self.options.alternates.is_empty();
        self.options.checksum.is_some()
            && (is_even || is_in_order)
            && self.options.write != Write::Mmap
    }

    fn write(&self, in_turn: bool) -> sink::Manner {
        match self.options.write {
            Write::Auto | Write::Discard => {
                // Blocks that come out of order are read back for the digest. From the disk that takes twice
                // as long as from the page cache (2 GiB, SHA-256: 4.9 and 2.5 s).
                let is_read_back = match self.options.checksum {
                    Some(_) => !in_turn && !self.is_single(),
                    None => self.options.has_proof(),
                };
                sink::Manner::Auto { prefers_cache: !self.options.sync || is_read_back }
            }
            Write::Direct => sink::Manner::Direct,
            Write::Buffered => sink::Manner::Buffered,
            Write::Mmap => sink::Manner::Mmap,
        }
    }

    async fn open_other(&self, shape: Shape) -> Result<Opened> {
        let Shape { version, manner, .. } = shape;
        let plan = Plan::new(version.size, self.block_size())?;
        let algo = self.options.checksum.as_ref().map(|wanted| wanted.algo());
        let sink = match &self.goal {
            Goal::Caller(sender) => Sink::Chunks(Chunks::new(sender.clone())),
            Goal::Stream(to) => {
                let to = to.clone();
                let out = aside(move || to.open()).await?;
                Sink::Stream(Stream::start(Some(out), algo)?)
            }
            Goal::File(_) | Goal::Dir(_) | Goal::Nowhere | Goal::Size => match algo {
                Some(_) => Sink::Stream(Stream::start(None, algo)?),
                None => Sink::Discard,
            },
        };
        Ok(Opened::Job(Arc::new(Job::new(sink, None, Digesting::Nothing, version, manner)), plan))
    }
}

impl Existing {
    pub(crate) fn new(meta: &std::fs::Metadata) -> Self {
        Self { size: meta.len(), modified: meta.modified().ok() }
    }

    /// Under a digest the file on disk itself tells whether it is right.
    pub(crate) async fn compare_digest(
        &self,
        wanted: &Checksum,
        path: &Path,
        meter: &Arc<Meter>,
    ) -> Result<Opened> {
        let found = digest::of_file(path, wanted.algo(), Arc::clone(meter)).await?;
        if found == *wanted {
            return Ok(Opened::UpToDate(self.size, Verified::Digest(found)));
        }
        let message = format!("{} exists and has another digest", shown(path));
        Err(Error::new(Kind::Exists, message).hint("use --overwrite to replace it"))
    }

    /// Same size and date to the second, as HTTP tells them, is the same file; anything else is in the way.
    fn compare(&self, version: &Version, path: &Path) -> Result<Opened> {
        let same_date = match (self.modified, version.modified()) {
            (Some(ours), Some(theirs)) => seconds(ours) == seconds(date_for_file(theirs)),
            _ => false,
        };
        if version.size == Some(self.size) && same_date {
            return Ok(Opened::UpToDate(self.size, Verified::Nothing));
        }
        let path = shown(path);
        Err(Error::new(Kind::Exists, format!("{path} exists and differs from the server's file"))
            .hint("use --overwrite to replace it"))
    }
}

/// A target that is right needs nothing of what an earlier run has left beside it; but it may not be on the
/// disk yet, where that run was killed after the rename or did not sync.
pub(super) async fn settle_if_right(
    compared: Result<Opened>,
    path: &Path,
    sync: bool,
) -> Result<Opened> {
    if let Ok(Opened::UpToDate(..)) = compared {
        let path = path.to_owned();
        let settle = move || {
            if sync {
                sink::sync_existing(&path)?;
            }
            Left::clear(&path);
            Ok(())
        };
        aside(settle).await?;
    }
    compared
}

/// The date that a file gets for one that a server gave: file systems end earlier than HTTP does, and a date
/// that they bend would not be found again.
pub(super) fn date_for_file(given: SystemTime) -> SystemTime {
    given.min(SystemTime::UNIX_EPOCH + MODIFIED_MAX)
}

fn seconds(time: SystemTime) -> Option<u64> {
    time.duration_since(SystemTime::UNIX_EPOCH).ok().as_ref().map(Duration::as_secs)
}
