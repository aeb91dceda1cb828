//! Opens the sink for what the first answer describes, or finds that nothing needs to be fetched.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Fetch, Goal, shown};
use crate::aside::aside;
use crate::board::{Job, Manner};
use crate::digest::{self, Checksum, Follower};
use crate::error::{Error, Kind, Result};
use crate::gate::{Answer, Version};
use crate::meter::Meter;
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

/// A target that was there before.
#[derive(Clone, Debug)]
pub(crate) struct Existing {
    pub(crate) size: u64,
    pub(crate) modified: Option<SystemTime>,
}

impl Fetch {
    /// Opens the sink for an answer with a body.
    ///
    /// # Errors
    /// `Kind::Exists` for a target that differs, `Kind::Refused` for a file above `max_filesize`, or a
    /// local failure.
    pub(crate) async fn open(&self, answer: &Answer) -> Result<Opened> {
        let several = answer.ranged && self.may_combine(&answer.version);
        let manner = if several { Manner::Ranges } else { Manner::OneStream };
        self.open_version(answer.version.clone(), manner, answer.disposition.as_deref()).await
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
        self.open_version(Version { size: Some(0), ..version }, Manner::OneStream, None).await
    }

    async fn open_version(
        &self,
        version: Version,
        manner: Manner,
        disposition: Option<&str>,
    ) -> Result<Opened> {
        if matches!(self.goal, Goal::Size) {
            return Ok(Opened::UpToDate(version.size.unwrap_or(0), Verified::Nothing));
        }
        self.check_size(version.size)?;
        if let (Some(existing), Goal::File(path)) = (&self.existing, &self.goal) {
            return existing.compare(&version, path);
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
            return match &self.options.checksum {
                Some(wanted) => existing.compare_digest(wanted, path, &self.meter).await,
                None => existing.compare(&version, path),
            };
        }
        let plan = Plan::new(version.size, self.block_size())?;
        let job = match target {
            Some(target) => self.open_file(target, version, manner).await?,
            None => self.open_other(version, manner).await?,
        };
        Ok(Opened::Job(Arc::new(job), plan))
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

    /// Creating and allocating may take the file system a while: not on a lane's thread.
    async fn open_file(&self, target: PathBuf, version: Version, manner: Manner) -> Result<Job> {
        let write = match self.options.write {
            Write::Auto => sink::Manner::Auto { sync: self.options.sync },
            Write::Direct => sink::Manner::Direct,
            Write::Buffered => sink::Manner::Buffered,
            Write::Mmap => sink::Manner::Mmap,
            Write::Discard => return self.open_other(version, manner).await,
        };
        let (size, block_size) = (version.size, self.block_size());
        let (part, sink) = aside(move || {
            let part = Part::create(&target)?;
            let sink = Sink::open(write, &part, size, block_size)?;
            Ok((part, sink))
        })
        .await?;
        let follower = match &self.options.checksum {
            Some(wanted) => {
                let file = Arc::clone(part.file());
                Some(Follower::start(wanted.algo(), file, Arc::clone(&self.meter))?)
            }
            None => None,
        };
        Ok(Job::new(sink, Some(part), follower, version, manner))
    }

    async fn open_other(&self, version: Version, manner: Manner) -> Result<Job> {
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
        Ok(Job::new(sink, None, None, version, manner))
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
            (Some(ours), Some(theirs)) => seconds(ours) == seconds(theirs),
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

fn seconds(time: SystemTime) -> Option<u64> {
    time.duration_since(SystemTime::UNIX_EPOCH).ok().as_ref().map(Duration::as_secs)
}
