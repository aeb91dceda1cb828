//! The crate's own face: a file as a stream of chunks, and the main job as one call.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::mpsc;
use url::Url;

use crate::engine::{self, Download};
use crate::error::{Error, Escaped, Kind, Result};
use crate::fetch::{Item, Want};
use crate::limits::{CHUNKS_MAX, CONNECTIONS_DEFAULT};
use crate::options::{Connections, Options, Outcome, Target};
use crate::sink::Chunk;
use crate::wire::Client;

/// Downloads a file to a path: the main job of the command line as one call.
///
/// Works on any async runtime, since the lanes run on threads of their own. Dropping the future stops them;
/// nothing is left under the target's name unless the call succeeds.
///
/// # Errors
/// [`Error::kind`] tells what failed; [`crate::error::Kind`] lists the kinds.
///
/// ```no_run
/// # async fn run() -> ringpull::Result<()> {
/// let options = ringpull::Options::default();
/// let outcome = ringpull::download("https://example.com/file.iso", "file.iso", &options).await?;
/// println!("{} bytes, durable: {}", outcome.bytes, outcome.durable);
/// # Ok(())
/// # }
/// ```
pub async fn download(
    url: impl AsRef<str>,
    path: impl AsRef<Path>,
    options: &Options,
) -> Result<Outcome> {
    let target = Target::File(path.as_ref().to_owned());
    engine::start(parse(url.as_ref())?, target, options).wait().await
}

/// A file on a server, to be received as a stream of chunks.
///
/// ```
/// use futures_util::TryStreamExt;
/// # use std::os::unix::fs::FileExt;
/// # let dir = std::env::temp_dir().join(format!("ringpull-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir).unwrap();
/// # std::fs::write(dir.join("data.bin"), vec![7; 3_000_000]).unwrap();
/// # let listen = vec!["127.0.0.1:0".parse().unwrap()];
/// # let served = ringpull::serve::Options { dir: dir.clone(), listen, ..Default::default() };
/// # let server = ringpull::serve::Server::start(&served).unwrap();
/// # let url = format!("http://{}/data.bin", server.addresses()[0]);
/// # let file = std::fs::File::create(dir.join("copy.bin")).unwrap();
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let downloader = ringpull::Downloader::builder(&url).connections(10).block_size(1 << 20).build()?;
/// let size: Option<u64> = downloader.size().await?; // None: the server does not say
/// let mut chunks = downloader.start();
/// while let Some(chunk) = chunks.try_next().await? {
///     file.write_all_at(&chunk.bytes, chunk.offset).unwrap(); // in any order
/// }
/// # assert_eq!(size, Some(3_000_000));
/// # assert_eq!(std::fs::read(dir.join("copy.bin")).unwrap(), vec![7; 3_000_000]);
/// # Ok::<_, ringpull::Error>(()) }).unwrap();
/// # drop(server);
/// # std::fs::remove_dir_all(dir).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Downloader {
    url: Url,
    options: Options,
}

/// Collects the settings of a [`Downloader`].
#[derive(Clone, Debug)]
pub struct DownloaderBuilder {
    url: String,
    options: Options,
}

impl Downloader {
    /// Begins with an http or https URL; what is wrong with it shows in [`DownloaderBuilder::build`].
    pub fn builder(url: impl AsRef<str>) -> DownloaderBuilder {
        let connections = Connections::exactly(CONNECTIONS_DEFAULT);
        let options = Options { connections, ..Options::default() };
        DownloaderBuilder { url: url.as_ref().to_owned(), options }
    }

    /// Asks the server for the size in bytes; `None` if it does not say.
    ///
    /// # Errors
    /// The failure of the request, after all retries.
    pub async fn size(&self) -> Result<Option<u64>> {
        let item =
            Item { url: self.url.clone(), target: Want::Size, options: self.options.clone() };
        let download = engine::begin(item);
        let meter = std::sync::Arc::clone(download.meter());
        download.wait().await?;
        Ok(meter.size())
    }

    /// Starts the lanes. Every byte of the file arrives in exactly one chunk; chunks arrive in any order.
    ///
    /// A failure is the last item of the stream: without one, the stream's end says that the file is
    /// complete. A checksum among the options is refused, since chunks come in any order.
    pub fn start(&self) -> ChunkStream {
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        let target = Want::Chunks(sender);
        let item = Item { url: self.url.clone(), target, options: self.options.clone() };
        ChunkStream { receiver, download: Some(engine::begin(item)) }
    }
}

impl DownloaderBuilder {
    /// Opens at most this many connections, 1 to 256; 10 unless called.
    #[must_use]
    pub fn connections(mut self, count: u16) -> Self {
        self.options.connections = Connections::exactly(count);
        self
    }

    /// Makes chunks of this many bytes, a power of two from 4 KiB to 64 MiB; 1 MiB unless called.
    #[must_use]
    pub fn block_size(mut self, bytes: u64) -> Self {
        self.options.block_size = bytes;
        self
    }

    /// Uses this client, with its headers, TLS settings and idle connections.
    #[must_use]
    pub fn client(mut self, client: &Client) -> Self {
        self.options.client = client.clone();
        self
    }

    /// Changes any other option.
    #[must_use]
    pub fn options(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// `Kind::Usage` for what is not an http or https URL, or a block size that is not possible.
    pub fn build(self) -> Result<Downloader> {
        let url = parse(&self.url)?;
        self.options.check(&url)?;
        Ok(Downloader { url, options: self.options })
    }
}

/// The chunks of a file as they arrive: a stream of `Result<Chunk>`.
///
/// Dropping it stops the lanes; they notice within half a second, on their own threads.
#[derive(Debug)]
pub struct ChunkStream {
    receiver: mpsc::Receiver<Result<Chunk>>,
    /// Taken when its result has been told.
    download: Option<Download>,
}

impl Stream for ChunkStream {
    type Item = Result<Chunk>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(chunk) = std::task::ready!(self.receiver.poll_recv(cx)) {
            return Poll::Ready(Some(chunk));
        }
        let Some(download) = &mut self.download else { return Poll::Ready(None) };
        let result = std::task::ready!(download.poll_result(cx));
        self.download = None;
        Poll::Ready(result.err().map(Err))
    }
}

impl Drop for ChunkStream {
    fn drop(&mut self) {
        if let Some(download) = self.download.take() {
            download.abandon();
        }
    }
}

fn parse(url: &str) -> Result<Url> {
    Url::parse(url).map_err(|error| {
        let message = format!("{} is not a URL: {error}", Escaped(url));
        Error::new(Kind::Usage, message).hint("write http://host/path or https://host/path")
    })
}
