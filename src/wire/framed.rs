//! A body in chunks or until the connection closes, or one stream of HTTP/2: hyper takes the frames off, one
//! copy into the block.

use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};

use super::conn::Conn;
use super::head::{Driver, View};
use super::raw;
use super::turns::Turn;
use crate::block::Block;
use crate::error::{Error, Escaped, Kind, Result};
use crate::io::{Enough, Received};
use crate::limits::LAST_CHUNK_WAIT;
use crate::units::wide;

/// The connection while such a body is on it.
pub(super) struct Framed {
    /// Moves the connection, if it is this body's alone.
    driver: Option<Driver>,
    /// Its turn on a connection that several bodies share, held until it is dropped.
    turn: Option<Turn>,
    incoming: Incoming,
    /// What is left of the last frame.
    frame: Bytes,
    /// A failure behind the bytes that were handed out with the last call.
    failed: Option<Error>,
    ended: bool,
}

impl Framed {
    pub(super) fn new(driver: Driver, view: &View, incoming: Incoming) -> Self {
        view.open();
        Self::of(Some(driver), None, incoming)
    }

    /// A body that is one stream of several on its connection (HTTP/2).
    pub(super) fn of_stream(incoming: Incoming, turn: Turn) -> Self {
        Self::of(None, Some(turn), incoming)
    }

    fn of(driver: Option<Driver>, turn: Option<Turn>, incoming: Incoming) -> Self {
        Self { driver, turn, incoming, frame: Bytes::new(), failed: None, ended: false }
    }

    /// Receives body bytes; see [`super::Response::fill`].
    pub(super) async fn fill(
        &mut self,
        mut block: Block,
        max: usize,
        mut enough: Enough<'_>,
    ) -> (Result<Received>, Block) {
        if let Some(error) = self.failed.take() {
            return (Err(error), block);
        }
        let mut got = 0;
        while got < max && !self.ended {
            if self.frame.is_empty() {
                let next = tokio::select! {
                    biased;
                    next = self.next_frame() => next,
                    () = &mut enough => match got {
                        0 => return (Ok(Received::Nothing), block),
                        _ => break,
                    },
                };
                match next {
                    Ok(()) => continue,
                    Err(error) if got == 0 => return (Err(error), block),
                    Err(error) => {
                        self.failed = Some(error);
                        break;
                    }
                }
            }
            let count = block.fill_from(&self.frame[..self.frame.len().min(max - got)]);
            let _ = self.frame.split_to(count);
            got += count;
        }
        (Ok(if got > 0 { Received::Bytes(got) } else { Received::End }), block)
    }

    /// Has later exchanges on a shared connection go elsewhere.
    pub(super) fn doubt(&self) {
        if let Some(turn) = &self.turn {
            turn.doubt();
        }
    }

    /// Takes the rest of a body that nobody wants, if it has no more than so many bytes.
    pub(super) async fn drain(&mut self, most: u64) {
        let mut left = most;
        while !self.ended && self.next_frame().await.is_ok() {
            match left.checked_sub(wide(self.frame.len())) {
                Some(less) => left = less,
                None => return,
            }
        }
    }

    /// Waits for the end of a stream whose body came by its length: given up before, it would be reset.
    pub(super) fn see_off(mut self) {
        if !self.ended && !self.incoming.is_end_stream() {
            tokio::task::spawn_local(async move {
                let _ = tokio::time::timeout(LAST_CHUNK_WAIT, self.drain(0)).await;
            });
        }
    }

    /// Waits for the end of the body or for more of it, and says which came.
    pub(super) async fn goes_on(&mut self) -> bool {
        while !self.ended && self.frame.is_empty() && self.next_frame().await.is_ok() {}
        !self.frame.is_empty()
    }

    /// The connection, if the body has ended and nothing came behind it.
    pub(super) fn into_conn(self) -> Option<Conn> {
        if !self.ended || !self.frame.is_empty() {
            return None;
        }
        let (conn, rest) = self.driver?.into_parts()?;
        rest.is_empty().then_some(conn)
    }

    async fn next_frame(&mut self) -> Result<()> {
        let next = std::future::poll_fn(|cx| self.poll_frame(cx)).await;
        match next {
            Some(Ok(frame)) => self.frame = frame,
            Some(Err(error)) => return Err(explain(&error)),
            // hyper takes a stream that is reset, or a connection that is left, without complaint (NO_ERROR)
            // for the end of the body. Only END_STREAM is that (RFC 9113 section 8.1).
            None if self.turn.is_some() && !self.incoming.is_end_stream() => {
                let message = "the server ended the stream before the end of the body";
                return Err(Error::new(Kind::Reset, message));
            }
            None => self.ended = true,
        }
        Ok(())
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Bytes>>> {
        if self.driver.as_mut().is_some_and(|driver| driver.poll(cx).is_ready()) {
            // Its error, if any, comes out of the body too; the connection is of no use any more.
            self.driver = None;
        }
        let frame = std::pin::pin!(self.incoming.frame()).poll(cx);
        frame.map(|frame| {
            // Trailers carry nothing we use.
            frame.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default()))
        })
    }
}

fn explain(error: &hyper::Error) -> Error {
    let source = std::error::Error::source(error);
    let why = match source.and_then(|source| source.downcast_ref()) {
        Some(broken) => raw::how(broken),
        None => source.map_or_else(|| error.to_string(), ToString::to_string),
    };
    let why = Escaped(&why);
    if error.is_incomplete_message() || error.is_closed() {
        Error::new(Kind::Reset, "the server closed the connection before the end of the body")
    } else if error.is_parse() {
        Error::new(Kind::Protocol, format!("the body's framing is broken: {why}"))
    } else {
        Error::new(Kind::Reset, format!("the connection broke: {why}"))
    }
}
