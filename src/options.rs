//! What a caller can choose, already checked: text becomes options in `cli`, options become work in `engine`.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::digest::Checksum;
use crate::error::{Error, Escaped, Kind, Result};
use crate::fetch::Trial;
use crate::limits;
use crate::wire::Client;

/// Everything about one download besides its URL and its target. Change the fields you care about:
///
/// ```
/// let mut options = ringpull::Options::default();
/// options.overwrite = true;
/// options.connections = ringpull::Connections::exactly(8);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// TLS, headers, credentials, time limits of the connection, and the pool of idle connections.
    pub client: Client,
    /// How many connections to open.
    pub connections: Connections,
    /// Lane threads; `None` takes one a core, at most one a connection.
    pub threads: Option<NonZeroU16>,
    /// The unit of memory, disk write and retry in bytes: a power of two from 4 KiB to 64 MiB.
    pub block_size: u64,
    /// How bytes reach the file.
    pub write: Write,
    /// Which kernel interface moves the bytes.
    pub io: IoChoice,
    /// Other addresses of the same file; used with a checksum, or while the first does not answer.
    pub alternates: Vec<Url>,
    /// Most bytes a second over all connections of the download.
    pub limit_rate: Option<u64>,
    /// Refuses a file larger than this many bytes.
    pub max_filesize: Option<u64>,
    /// The digest the file must have.
    pub checksum: Option<Checksum>,
    /// Asks for parallel ranges although no strong validator ties them to one version of the file.
    pub assume_immutable: bool,
    /// Replaces an existing target.
    pub overwrite: bool,
    /// Forgets what an earlier run has left, and starts from the first byte.
    pub restart: bool,
    /// Takes the file name from the server's Content-Disposition, where the target is a directory.
    pub content_disposition: bool,
    /// Makes the file durable before success; without it the page cache may still hold the last bytes.
    pub sync: bool,
    /// Attempts after the first that a run of failures without progress may cost.
    pub retries: u32,
    /// Time without a byte before a connection is given up.
    pub stall_timeout: Duration,
    /// Time the transfer may take; digest and sync come after it.
    pub max_time: Option<Duration>,
    /// The digests of the stretches of the file, which cover it wholly, and what they have shown.
    pub(crate) trial: Option<Arc<Trial>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            client: Client::default(),
            connections: Connections::Auto,
            threads: None,
            block_size: limits::BLOCK_SIZE_DEFAULT,
            write: Write::Auto,
            io: IoChoice::Auto,
            alternates: Vec::new(),
            limit_rate: None,
            max_filesize: None,
            checksum: None,
            assume_immutable: false,
            overwrite: false,
            restart: false,
            content_disposition: false,
            sync: true,
            retries: limits::RETRIES_DEFAULT,
            stall_timeout: limits::STALL_TIMEOUT_DEFAULT,
            max_time: None,
            trial: None,
        }
    }
}

impl Options {
    /// Whether digests decide in the end what the file is, whoever its bytes come from.
    pub(crate) fn has_proof(&self) -> bool {
        self.checksum.is_some() || self.trial.is_some()
    }

    /// What names the digests that decide.
    pub(crate) fn proof(&self) -> Option<String> {
        let stretches = || self.trial.as_ref().map(|trial| trial.stretches().identity());
        self.checksum.as_ref().map(ToString::to_string).or_else(stretches)
    }

    /// Refuses what can never work, before anything is started.
    pub(crate) fn check(&self, url: &Url) -> Result<()> {
        for url in std::iter::once(url).chain(&self.alternates) {
            if !matches!(url.scheme(), "http" | "https") {
                let message = format!("{}:// is not supported", Escaped(url.scheme()));
                return Err(Error::new(Kind::Usage, message).hint("use http:// or https://"));
            }
            self.client.check(url)?;
        }
        let possible = limits::BLOCK_SIZE_MIN..=limits::BLOCK_SIZE_MAX;
        if !self.block_size.is_power_of_two() || !possible.contains(&self.block_size) {
            let message = format!("a block of {} bytes is not possible", self.block_size);
            return Err(
                Error::new(Kind::Usage, message).hint("use a power of two from 4 KiB to 64 MiB")
            );
        }
        Ok(())
    }
}

/// How many connections a download opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// A few at first, more while that makes the whole faster, fewer when the server objects.
    Auto,
    /// At most this many, fewer when the server objects.
    Exactly(NonZeroU16),
}

impl Connections {
    /// At most this many connections, at least one and at most [`limits::CONNECTIONS_MAX`].
    pub fn exactly(count: u16) -> Self {
        let count = count.clamp(1, limits::CONNECTIONS_MAX);
        Self::Exactly(NonZeroU16::new(count).expect("proof: clamped to at least 1"))
    }
}

/// How bytes reach the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Write {
    /// `Direct` where the file system can and the file is worth it, `Buffered` elsewhere.
    #[default]
    Auto,
    /// O_DIRECT: around the page cache, from aligned memory.
    Direct,
    /// Through the page cache.
    Buffered,
    /// Received straight into a memory-mapped, fully allocated file.
    Mmap,
    /// Received, checked and thrown away: measures the network.
    Discard,
}

/// Which kernel interface moves the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoChoice {
    /// io_uring where the kernel allows it and something is written, epoll elsewhere.
    #[default]
    Auto,
    /// io_uring or an error.
    Uring,
    /// epoll and plain system calls.
    Epoll,
}

/// Where a download goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// This file.
    File(PathBuf),
    /// A file in this directory, named after the URL.
    Dir(PathBuf),
    /// Standard output, in order.
    Stdout,
}

/// What a successful download did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The file, if the target was one.
    pub path: Option<PathBuf>,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Body bytes that came over the network, repeated ones included.
    pub fetched_bytes: u64,
    /// Bytes that an earlier run had left.
    pub resumed_bytes: u64,
    /// Wall time from the call to durability.
    pub time: Duration,
    /// The most connections that received at the same time.
    pub connections: u32,
    /// The backend that moved the bytes: `uring` or `epoll`.
    pub io: &'static str,
    /// How the bytes reached the file: `direct`, `buffered`, `mmap`, `discard` or `stream`.
    pub write: &'static str,
    /// Whether the file and its directory entry were synced to disk.
    pub durable: bool,
    /// What ties the bytes to one version of the file.
    pub verified: Verified,
    /// The target was there already, with the right size and time or digest; no body was fetched.
    pub up_to_date: bool,
}

/// What ties the bytes to one version of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verified {
    /// The digest the caller gave.
    Digest(Checksum),
    /// The digests of all its stretches, as a list of a mirror may have them.
    Stretches,
    /// Every answer carried the same strong validator.
    Validator,
    /// One response carried the whole file.
    OneResponse,
    /// Nothing: `assume_immutable` combined answers that no validator ties together.
    Nothing,
}
