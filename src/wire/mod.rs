//! Asks and fills: one HTTP/1.1 exchange at a time over TCP or TLS, its body straight into blocks; and, for
//! many small answers, connections that stay with their thread, pipelines and HTTP/2 ([`Client::ask_near`]).
//!
//! [`Client::ask`] dials or takes an idle connection, lets hyper send the request and parse the head, and
//! returns a [`Response`] whose body is received by the thread's own backend. It judges nothing: that is
//! the gate's work. It writes no file and follows no redirect by itself.

mod addresses;
mod builder;
mod client;
mod conn;
mod dial;
mod framed;
mod head;
mod http2;
mod idle;
mod near;
mod pipeline;
#[cfg(any(test, fuzzing, feature = "internals"))]
pub(crate) mod playback;
mod raw;
mod route;
mod tls;
mod turns;

pub(crate) use builder::is_ours;
pub use builder::{ClientBuilder, Family};
pub use client::Client;
pub(crate) use dial::has_run_out;
#[cfg(feature = "internals")]
pub(crate) use head::head_end;
pub(crate) use near::Near;
pub(crate) use route::Route;

use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use crate::block::Block;
use crate::error::Result;
use crate::gate::{self, Head};
use crate::io::{Enough, Received};
use crate::limits::{DRAIN_BYTES_MAX, LAST_CHUNK_WAIT};

/// What to ask for. The URL and the credentials that may go there are the route's.
pub(crate) struct Request<'a> {
    pub(crate) route: &'a Route,
    /// The value of the Range field.
    pub(crate) range: Option<String>,
    /// A conditional field, such as If-Range.
    pub(crate) condition: Option<(HeaderName, HeaderValue)>,
    /// Whether caches on the way should ask the origin (`no-cache`, RFC 9111 section 5.2.1.4).
    pub(crate) past_caches: bool,
    /// Time from the request to the end of the response head.
    pub(crate) head_timeout: Duration,
}

/// A response head, and the body behind it.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) http: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) remote: SocketAddr,
    /// Bytes of all heads, interim ones included.
    pub(crate) head_bytes: usize,
    /// Time from the request to the head: about one round trip and the server's thinking.
    pub(crate) waited: Duration,
    /// Whether the connection was made for this request.
    pub(crate) is_fresh: bool,
    body: Body,
    key: idle::Key,
    /// Where its connection belongs, if that is not the client's pool.
    near: Option<Rc<Near>>,
    /// Others have asked over its connection as well, and do not wait for their answers any more.
    is_last: bool,
}

enum Body {
    /// Content-Length told the length: received by the backend itself.
    Raw(raw::Raw),
    /// Chunked, or until the connection closes: hyper takes the frames off.
    Framed(Box<framed::Framed>),
    /// A stream of HTTP/2, on a connection that others share.
    Stream(Box<framed::Framed>),
    /// What is left of a body that came whole, on a connection that others share.
    Whole(Bytes),
}

impl Response {
    /// Receives at most `max` body bytes into the block, until it is `enough`.
    ///
    /// `Received::End` is the clean end of the body. Dropping the future loses the connection and the
    /// block's bytes.
    ///
    /// # Errors
    /// `Kind::Reset` if the body was cut short, `Kind::Protocol` if its framing is broken.
    pub(crate) async fn fill(
        &mut self,
        mut block: Block,
        max: usize,
        enough: Enough<'_>,
    ) -> (Result<Received>, Block) {
        match &mut self.body {
            Body::Raw(raw) => raw.fill(block, max, enough).await,
            Body::Framed(body) | Body::Stream(body) => body.fill(block, max, enough).await,
            Body::Whole(left) if left.is_empty() => (Ok(Received::End), block),
            Body::Whole(left) => {
                let count = block.fill_from(&left[..left.len().min(max)]);
                left.advance(count);
                (Ok(Received::Bytes(count)), block)
            }
        }
    }

    /// Notes that the body has fallen silent: a connection that others share gets no more requests.
    pub(crate) fn fell_silent(&self) {
        if let Body::Stream(stream) = &self.body {
            stream.doubt();
        }
    }

    /// Whether body bytes follow where it should end. The last chunk is waited for a moment; late or broken,
    /// it leaves the connection as it is: not to be used again.
    pub(crate) async fn has_surplus(&mut self) -> bool {
        let Body::Framed(framed) = &mut self.body else { return false };
        tokio::time::timeout(LAST_CHUNK_WAIT, framed.goes_on()).await.unwrap_or(false)
    }

    /// Gives the connection back to the client, if it is in a state to serve another request.
    pub(crate) fn recycle(self, client: &Client) {
        if self.is_last {
            return;
        }
        let conn = match self.body {
            Body::Raw(raw) => raw.into_conn(self.remote),
            Body::Framed(framed) => framed.into_conn(),
            // Its connection serves others already.
            Body::Stream(stream) => {
                stream.see_off();
                None
            }
            Body::Whole(_) => None,
        };
        match (conn, self.near) {
            (Some(conn), Some(near)) => near.keep(self.key, conn),
            (Some(conn), None) => client.keep(self.key, conn),
            (None, _) => {}
        }
    }

    /// Reads a short body nobody wants, so that the connection can be used again, and gives it back.
    pub(crate) async fn drain(mut self, client: &Client, wait: Duration) {
        let head = Head { status: self.status, http: self.http, headers: &self.headers };
        let goes_on = gate::is_keep_alive(&head) && !self.is_last;
        let raw = match &mut self.body {
            Body::Raw(raw) => raw,
            Body::Framed(_) | Body::Whole(_) => return,
            Body::Stream(stream) => {
                // Given up, the stream would be reset, and servers count resets.
                let _ = tokio::time::timeout(wait, stream.drain(DRAIN_BYTES_MAX)).await;
                return;
            }
        };
        if raw.left() > DRAIN_BYTES_MAX || !goes_on {
            return;
        }
        let length = crate::units::narrow(raw.left());
        let place = crate::block::Place { index: 0, offset: 0, length };
        let mut block = Block::own(place);
        let deadline = tokio::time::Instant::now() + wait;
        while raw.left() > 0 {
            let max = block.wanted() - block.filled();
            let enough = pin!(tokio::time::sleep_until(deadline));
            let received;
            (received, block) = raw.fill(block, max, enough).await;
            if !matches!(received, Ok(Received::Bytes(_))) {
                return;
            }
        }
        self.recycle(client);
    }
}
