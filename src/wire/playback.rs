//! Plays the bytes of a server to a client, the way they come over a socket: in parts, and then the end.
//!
//! For tests, fuzz targets and a bench. It dials nothing: a pair of connected local sockets stands in for the
//! network. All that reads the bytes is what reads them in a download.

#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, TcpStream as StdTcp};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, StatusCode, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use url::Url;

use super::conn::Conn;
use super::idle::Key;
use super::{Client, Near, Request, Response, Route};
use crate::block::{Block, Place};
use crate::error::{Error, Kind, Result};
use crate::io::{Io, Received};

/// What a client made of the bytes.
#[derive(Debug)]
#[cfg_attr(not(any(test, fuzzing)), expect(dead_code, reason = "a bench looks at the head alone"))]
pub(crate) struct Played {
    /// The status of the final head.
    pub(crate) status: StatusCode,
    /// The version of HTTP in it.
    pub(crate) http: Version,
    /// The fields of the final head.
    pub(crate) headers: HeaderMap,
    /// Bytes of all heads.
    pub(crate) head_bytes: usize,
    /// What was received of the body.
    pub(crate) body: Vec<u8>,
    /// The failure that ended the body; `None` for its clean end.
    pub(crate) broken: Option<Error>,
}

/// Plays a response to a client that asks for a range, each part once the one before was looked at, and
/// reads its whole body into blocks of `block_bytes`.
///
/// # Errors
/// What the exchange of heads fails with.
pub(crate) fn play(parts: &[&[u8]], block_bytes: usize) -> Result<Played> {
    play_over(parts, block_bytes, None)
}

/// As [`play`], on a connection that stays with its thread.
#[cfg(any(test, fuzzing))]
pub(crate) fn play_near(parts: &[&[u8]], block_bytes: usize) -> Result<Played> {
    play_over(parts, block_bytes, Some(Near::new(false, 1)))
}

fn play_over(parts: &[&[u8]], block_bytes: usize, near: Option<Rc<Near>>) -> Result<Played> {
    let failed = |error: std::io::Error| Error::new(Kind::Internal, error.to_string());
    let exchange = async {
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let ours = ours.into_std().map_err(failed)?;
        // The calls on a connected socket are the same for both families.
        let ours = TcpStream::from_std(StdTcp::from(OwnedFd::from(ours))).map_err(failed)?;
        let answer = answer(theirs, parts);
        // The reader stands first, so that it sees every part by itself.
        futures_util::future::join(receive(ours, block_bytes, near), answer).await.0
    };
    RUNTIME.with(|runtime| match runtime {
        Ok(runtime) => runtime.block_on(exchange),
        Err(error) => Err(Error::new(Kind::Internal, error.to_string())),
    })
}

thread_local! {
    /// One for all plays of a thread: to make one takes longer than a play.
    static RUNTIME: std::io::Result<tokio::runtime::Runtime> =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
}

/// The side of the server; gives the socket back, for the client to find it open.
async fn answer(mut socket: UnixStream, parts: &[&[u8]]) -> UnixStream {
    let mut request = [0; 4096];
    // A failure means that the client has gone, which is its right.
    let _ = socket.read(&mut request).await;
    for part in parts {
        if socket.write_all(part).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let _ = socket.shutdown().await;
    socket
}

async fn receive(tcp: TcpStream, block_bytes: usize, near: Option<Rc<Near>>) -> Result<Played> {
    let url = Url::parse("http://a.test/f").map_err(|_| Error::new(Kind::Internal, "no URL"))?;
    let route = Route::new(url.clone(), &url);
    let client = Client::builder().build()?;
    let conn = Conn::new(tcp, None, (Ipv4Addr::LOCALHOST, 80).into());
    let range = Some("bytes=0-".to_owned());
    let (condition, past_caches) = (None, false);
    let request = Request { route: &route, range, condition, past_caches, head_timeout: PATIENCE };
    let io = Io::Epoll(Rc::default());
    let key = Key::new(&route, None);
    let response = match &near {
        Some(near) => client.exchange_near(near, &io, conn, &request, key).await,
        None => client.exchange(&io, conn, &request, key).await,
    };
    Ok(read(response.map_err(|failure| failure.error)?, block_bytes).await)
}

async fn read(mut response: Response, block_bytes: usize) -> Played {
    let mut body = Vec::new();
    let broken = loop {
        let block = Block::own(Place { index: 0, offset: 0, length: block_bytes });
        let enough = std::pin::pin!(tokio::time::sleep(PATIENCE));
        let (received, block) = response.fill(block, block_bytes, enough).await;
        body.extend_from_slice(block.bytes());
        match received {
            Ok(Received::Bytes(count)) => assert_eq!(count, block.filled(), "bytes are counted"),
            Ok(Received::End) => break None,
            Ok(Received::Nothing) => panic!("nothing came, and no end"),
            Err(error) => break Some(error),
        }
    };
    let Response { status, http, headers, head_bytes, .. } = response;
    Played { status, http, headers, head_bytes, body, broken }
}

/// Longer than anything here takes, for both sides end by themselves; whoever waits that long hangs.
const PATIENCE: Duration = Duration::from_secs(30);
