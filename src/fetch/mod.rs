//! The life of one item, from the first question to the rename.
//!
//! [`Fetch`] is what the lanes need to know of it: where it is, what was asked, where it goes. It opens the
//! sink when the first answer has told what there is (`open`), and ends well or not at all (`life`).

mod leave;
mod life;
mod open;
mod partial;
mod trial;
mod verify;
mod way;

pub(crate) use life::{Item, Want, note_fallback, run};
pub(crate) use open::{Existing, Opened};
pub(crate) use partial::Partial;
pub(crate) use trial::Trial;
pub(crate) use way::Way;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};
use url::{Origin, Url};

use self::partial::{Left, Source};
use crate::alternates::Alternates;
use crate::board::{Anew, Job};
use crate::error::{Error, Escaped, Kind, Result};
use crate::gate::{Answer, Version};
use crate::limits::{DISTRUST_AFTER, PROBE_BLOCKS};
use crate::meter::{Event, Meter};
use crate::options::{Connections, Options};
use crate::renewal::Renewal;
use crate::sink::{Chunk, StreamTo};
use crate::wire::{Response, Route};

/// One item: where it is, where it goes, and how.
pub(crate) struct Fetch {
    pub(crate) options: Options,
    pub(crate) meter: Arc<Meter>,
    url: Url,
    goal: Goal,
    existing: Option<Existing>,
    places: Mutex<Places>,
    source: Source,
    /// What an earlier run has left, until the first answer tells whether it is still right.
    left: Mutex<Option<Left>>,
    /// What is being fetched.
    job: Mutex<Option<Arc<Job>>>,
    /// A way that lanes wait for has been found, or not.
    renewed: Notify,
}

/// Where the bytes go.
#[derive(Clone, Debug)]
pub(crate) enum Goal {
    /// A regular file.
    File(PathBuf),
    /// A directory, and the name comes with the answer.
    Dir(PathBuf),
    /// Something that takes bytes in order: standard output, a FIFO, a device.
    Stream(StreamTo),
    /// Nowhere.
    Nowhere,
    /// The caller of the library.
    Caller(mpsc::Sender<Result<Chunk>>),
    /// Nothing is fetched: the size is all that is of interest.
    Size,
}

/// Where the file is: one route for each address, and the version found there.
struct Places {
    routes: Vec<Route>,
    renewals: Vec<Renewal>,
    versions: Vec<Option<Version>>,
    alternates: Alternates,
    /// The addresses that were given up and told of.
    lost: Vec<bool>,
    /// Times the file was asked for from its first byte.
    starts: u32,
}

impl Fetch {
    pub(crate) fn new(
        url: Url,
        goal: Goal,
        existing: Option<Existing>,
        options: Options,
        meter: Arc<Meter>,
    ) -> Self {
        let addresses = std::iter::once(url.clone()).chain(options.alternates.iter().cloned());
        let routes: Vec<_> = addresses.map(|address| Route::new(address, &url)).collect();
        let alternates = match &options.trial {
            Some(trial) if !trial.is_clean() => Alternates::ordered(trial.order(), false),
            _ => Alternates::new(routes.len(), options.has_proof()),
        };
        let (versions, lost) = (vec![None; routes.len()], vec![false; routes.len()]);
        let renewals = routes.iter().map(|_| Renewal::default()).collect();
        let places = Places { routes, renewals, versions, alternates, lost, starts: 0 };
        let source = Source::new(&url, options.proof());
        Self {
            options,
            meter,
            url,
            goal,
            existing,
            places: Mutex::new(places),
            source,
            left: Mutex::default(),
            job: Mutex::default(),
            renewed: Notify::new(),
        }
    }

    pub(crate) fn block_size(&self) -> u64 {
        self.options.block_size
    }

    /// Whether one connection is all there will be.
    pub(crate) fn is_single(&self) -> bool {
        self.options.connections == Connections::exactly(1)
    }

    /// Whether size and date are all that is of interest: the target is there, or nothing is fetched.
    pub(crate) fn only_compares(&self) -> bool {
        self.existing.is_some() || matches!(self.goal, Goal::Size)
    }

    /// Whether answers of this version may be put together.
    pub(crate) fn may_combine(&self, version: &Version) -> bool {
        version.is_strong() || self.options.has_proof() || self.options.assume_immutable
    }

    /// Whether the rest of the file must not come by other responses than this one, which does not hold all
    /// of it.
    pub(crate) fn needs_one_stream(&self, answer: &Answer) -> bool {
        let whole = answer.length == answer.version.size && answer.offset == 0;
        !self.only_compares() && answer.ranged && !whole && !self.may_combine(&answer.version)
    }

    /// The address that is a lane's turn.
    pub(crate) fn address(&self, lane: usize) -> Result<usize> {
        self.places()
            .alternates
            .choose(lane)
            .ok_or_else(|| Error::new(Kind::Internal, "there is no address left to ask"))
    }

    /// The origin that answers for an address, as far as it is known.
    pub(crate) fn origin(&self, address: usize) -> Origin {
        self.places().routes[address].url().origin()
    }

    /// The version that answers from an address must belong to. Validators of one address say nothing of
    /// another.
    pub(crate) fn known_version(&self, address: usize, job: &Job) -> Option<Version> {
        let size = job.version.size;
        let places = self.places();
        // Validators may differ from one edge of a network to the next, and keep differing. Under a digest
        // that does no harm: the digest decides in the end.
        let distrusted = self.options.has_proof() && places.starts > DISTRUST_AFTER;
        let known = match places.versions[address].clone() {
            Some(known) if !distrusted => known,
            Some(known) => Version { is_page: known.is_page, ..Version::default() },
            None => Version::default(),
        };
        Some(Version { size, ..known })
    }

    /// Notes which address brought these bytes, where that may matter.
    pub(crate) fn gave(&self, address: usize, bytes: &Range<u64>) {
        if let Some(trial) = &self.options.trial {
            trial.gave(address, bytes);
        }
    }

    /// Forgets what the addresses said of the file, and what was counted: it starts (anew).
    pub(crate) fn start_anew(&self) {
        let mut places = self.places();
        places.versions.fill(None);
        places.starts += 1;
        drop(places);
        // Its blocks on the disk are needed for what comes; not under the lock, for it may take a while.
        let before = self.job.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(before);
        self.meter.start_anew();
    }

    /// Gives up an address, and says so once although several lanes may find it dead. Returns whether another
    /// takes its place.
    pub(crate) fn give_up_address(&self, address: usize, error: &Error) -> bool {
        let mut places = self.places();
        let replaced = places.alternates.give_up(address);
        let is_news = replaced && !std::mem::replace(&mut places.lost[address], true);
        drop(places);
        if is_news {
            self.meter.tell(Event::Notice(format!("giving up one address: {error}")));
        }
        replaced
    }

    /// Tells what the first answer said.
    pub(crate) fn note_probe(&self, answer: &Answer, response: &Response) {
        self.meter.set_size(answer.version.size);
        self.meter.tell(Event::Probe {
            size_bytes: answer.version.size,
            ranges: answer.ranged,
            validator: answer.version.label().map(ToOwned::to_owned),
            protocol: match response.http {
                http::Version::HTTP_10 => "http/1.0",
                _ => "http/1.1",
            },
            remote_addr: response.remote.to_string(),
        });
        if answer.ranged
            && answer.version.size > Some(self.probe_bytes())
            && !self.is_single()
            && self.needs_one_stream(answer)
        {
            let notice = "the server gives no strong validator, so the file comes over one connection \
                          (--checksum or --assume-immutable allows several)";
            self.meter.tell(Event::Notice(notice.into()));
        }
    }

    fn probe_bytes(&self) -> u64 {
        self.block_size() * u64::from(PROBE_BLOCKS)
    }

    /// The version that the first answer must belong to, if there is something to go on with.
    pub(crate) fn left_version(&self) -> Option<Version> {
        self.left().as_ref().map(Left::version)
    }

    /// The first bytes to ask for, if there is something to go on with.
    pub(crate) fn left_missing(&self) -> Option<Range<u64>> {
        self.left().as_ref().and_then(|left| left.first_missing(self.block_size()).ok())
    }

    /// Forgets what an earlier run has left, and says why. Returns whether there was anything.
    pub(crate) fn forget_left(&self, why: &Anew) -> bool {
        let left = self.left().take();
        if let Some(left) = &left {
            left.forget();
            self.meter.tell(match why {
                Anew::Changed(why) => Event::Changed { why: why.clone() },
                Anew::OneStream | Anew::Broken => {
                    let why = "what an earlier run has left cannot be combined with what comes now";
                    Event::Notice(format!("{why}; starting anew"))
                }
            });
        }
        left.is_some()
    }

    /// Whether another run would ask the same server: validators say nothing of another, and only a digest
    /// does.
    fn asks_the_same(&self) -> bool {
        self.options.has_proof() || self.places().alternates.choose(0) == Some(0)
    }

    /// Whether the first answer may lead to something to go on with: the name comes with it.
    pub(crate) fn may_find_left(&self) -> bool {
        matches!(self.goal, Goal::Dir(_))
    }

    /// What is being fetched now, or was last.
    pub(crate) fn job(&self) -> Option<Arc<Job>> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_job(&self, job: Option<Arc<Job>>) {
        *self.job.lock().unwrap_or_else(PoisonError::into_inner) = job;
    }

    fn left(&self) -> MutexGuard<'_, Option<Left>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A path for a sentence.
fn shown(path: &std::path::Path) -> String {
    Escaped(&path.to_string_lossy()).to_string()
}
