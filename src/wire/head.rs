//! The exchange of heads: hyper writes the request and parses the response, and never sees a byte of the
//! body.
//!
//! [`HeadOnly`] shows hyper the connection up to the blank line of the final head and keeps what follows.
//! After that the connection can be taken back whole (for a body of known length), or opened again (for a
//! body whose frames hyper is to take off). The bounds on heads are enforced here, before anything is parsed.

mod scan;

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;

pub(super) use self::scan::{HeadScan, TooLarge};
use super::conn::Conn;
use crate::error::{Error, Escaped, Kind};
use crate::limits::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX};

/// hyper's side of a connection; it must be polled for anything to move.
pub(super) struct Driver {
    connection: Connection<HeadOnly, Empty<Bytes>>,
    /// Dropped, it would tell hyper to close after this response.
    _sender: http1::SendRequest<Empty<Bytes>>,
}

impl Driver {
    /// Moves the connection; ready when it has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.connection.poll_without_shutdown(cx)
    }

    /// Takes the connection back, and what was read of it beyond the head; `None` if hyper has kept some of
    /// that.
    pub(super) fn into_parts(self) -> Option<(Conn, Vec<u8>)> {
        let parts = self.connection.into_parts();
        let (mut conn, mut rest) = (parts.io.io.into_inner(), parts.io.rest);
        rest.extend(conn.take_replay());
        parts.read_buf.is_empty().then_some((conn, rest))
    }
}

/// A finished exchange of heads.
pub(super) struct Exchange {
    pub(super) response: http::Response<Incoming>,
    pub(super) driver: Driver,
    pub(super) view: Rc<View>,
    pub(super) head_bytes: usize,
    pub(super) waited: Duration,
}

/// A failed exchange of heads.
pub(super) struct Failure {
    pub(super) error: Error,
    /// Not a single byte of a response came and the connection is gone.
    pub(super) nothing_came: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, nothing_came: false }
    }
}

/// Sends the request and waits for the final head, for at most `timeout` in all.
pub(super) async fn exchange(
    conn: Conn,
    request: http::Request<Empty<Bytes>>,
    timeout: Duration,
) -> Result<Exchange, Failure> {
    let start = Instant::now();
    let view = Rc::new(View::default());
    let io = HeadOnly::new(conn, Rc::clone(&view));
    match tokio::time::timeout(timeout, send(io, request)).await {
        Ok(Ok(Some((response, driver)))) => {
            let head_bytes = view.seen.get();
            Ok(Exchange { response, driver, view, head_bytes, waited: start.elapsed() })
        }
        Ok(Ok(None)) => {
            Err(Error::new(Kind::Protocol, "the end of the response head is ambiguous").into())
        }
        Ok(Err(error)) => Err(failure(&error, view.seen.get())),
        Err(_) => Err(late(timeout).into()),
    }
}

/// No answer came in time.
pub(super) fn late(timeout: Duration) -> Error {
    let after = crate::units::show_time(timeout);
    Error::new(Kind::Stall, format!("the server did not answer within {after}"))
        .hint("raise --stall-timeout if it is just slow")
}

/// Exchanges the heads; `None` if hyper has all of the final head and sees no end of it.
async fn send(
    io: HeadOnly,
    request: http::Request<Empty<Bytes>>,
) -> Result<Option<(http::Response<Incoming>, Driver)>, hyper::Error> {
    let view = Rc::clone(&io.view);
    let (mut sender, mut connection) = http1::Builder::new()
        .max_headers(HEAD_FIELDS_MAX)
        .max_buf_size(HEAD_BYTES_MAX.next_power_of_two().max(8192))
        .handshake(io)
        .await?;
    let mut response = Box::pin(sender.send_request(request));
    let response = std::future::poll_fn(|cx| {
        // The connection first: it is what makes the response ready. It ends only with the connection.
        let ended = connection.poll_without_shutdown(cx);
        match (response.as_mut().poll(cx), ended) {
            (Poll::Ready(done), _) => Poll::Ready(done.map(Some)),
            (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            // hyper parses what it reads at once, and nothing more will come.
            (Poll::Pending, Poll::Pending) if view.stage.get() == Stage::Closed => {
                Poll::Ready(Ok(None))
            }
            (Poll::Pending, _) => Poll::Pending,
        }
    })
    .await?;
    Ok(response.map(|response| (response, Driver { connection, _sender: sender })))
}

fn failure(error: &hyper::Error, seen: usize) -> Failure {
    let cause = std::error::Error::source(error);
    let io_cause = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
    let inner = io_cause.and_then(io::Error::get_ref);
    if inner.is_some_and(|inner| inner.downcast_ref::<TooLarge>().is_some()) {
        let message = "the response head is larger than any honest one";
        return Error::new(Kind::Protocol, message).into();
    }
    if error.is_parse() {
        let why = error.to_string();
        let message = format!("the answer is not HTTP/1: {}", Escaped(&why));
        return Error::new(Kind::Protocol, message).into();
    }
    match io_cause {
        Some(cause) => broken(cause, seen == 0),
        None => {
            let message = "the server closed the connection before it answered";
            Failure { error: Error::new(Kind::Reset, message), nothing_came: seen == 0 }
        }
    }
}

/// The connection failed before the head was whole.
pub(super) fn broken(cause: &io::Error, nothing_came: bool) -> Failure {
    let alert = cause.get_ref().and_then(|inner| inner.downcast_ref());
    if let Some(rustls::Error::AlertReceived(alert)) = alert {
        let message = format!("the server refuses the TLS connection: {alert:?}");
        let hint = "does it want a client certificate? see --cert and --key";
        return Error::new(Kind::Tls, message).hint(hint).into();
    }
    let why = crate::error::reason(cause);
    let message = format!("the connection broke before the answer: {why}");
    Failure { error: Error::new(Kind::Reset, message), nothing_came }
}

/// Finds the end of a final head, as [`HeadOnly`] does, in bytes that came at once.
#[cfg(feature = "internals")]
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    HeadScan::default().feed(bytes).ok().flatten()
}

/// Shows hyper the heads of a connection and, unless opened again, nothing else.
struct HeadOnly {
    io: TokioIo<Conn>,
    view: Rc<View>,
    scan: HeadScan,
    /// What came in one read with the end of the head: the front of the body.
    rest: Vec<u8>,
}

/// What hyper may see, and what it has seen.
#[derive(Default)]
pub(super) struct View {
    stage: Cell<Stage>,
    seen: Cell<usize>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Head,
    /// The head is over; the body is not hyper's to read.
    Closed,
    Body,
}

impl View {
    /// Lets hyper read the body too.
    pub(super) fn open(&self) {
        self.stage.set(Stage::Body);
    }
}

impl HeadOnly {
    fn new(conn: Conn, view: Rc<View>) -> Self {
        Self { io: TokioIo::new(conn), view, scan: HeadScan::default(), rest: Vec::new() }
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        mut dst: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut memory = [0; 8192];
        let room = memory.len().min(dst.remaining());
        let mut buffer = hyper::rt::ReadBuf::new(&mut memory[..room]);
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer.unfilled()))?;
        let came = buffer.filled();
        let end = self
            .scan
            .feed(came)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let head = end.unwrap_or(came.len());
        self.view.seen.set(self.view.seen.get() + head);
        dst.put_slice(&came[..head]);
        if end.is_some() {
            self.rest = came[head..].to_vec();
            self.view.stage.set(Stage::Closed);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        mut dst: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, dst);
        }
        let count = self.rest.len().min(dst.remaining());
        dst.put_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl Read for HeadOnly {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        dst: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.view.stage.get() {
            Stage::Head => self.poll_head(cx, dst),
            Stage::Closed => Poll::Pending,
            Stage::Body => self.poll_body(cx, dst),
        }
    }
}

impl Write for HeadOnly {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
