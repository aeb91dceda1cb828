//! A connection as hyper sees it: a tokio socket, with a TLS session on it or not.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::tls::Tls;
use crate::fault;

/// One connection, in the hands of the runtime of its thread.
pub(crate) struct Conn {
    tcp: TcpStream,
    tls: Option<Box<Tls>>,
    remote: SocketAddr,
    replay: Option<Box<Replay>>,
}

/// An answer that was read already, for one who will send its request once more.
struct Replay {
    bytes: Vec<u8>,
    used: usize,
    /// The request has been sent again, and was swallowed.
    is_asked: bool,
    /// Who read before that: hyper looks whether an idle connection is silent.
    reader: Option<Waker>,
}

impl Conn {
    pub(super) fn new(tcp: TcpStream, tls: Option<Box<Tls>>, remote: SocketAddr) -> Self {
        Self { tcp, tls, remote, replay: None }
    }

    /// Has the next request not sent, and answered by these bytes and what comes behind them.
    pub(super) fn replay(&mut self, bytes: Vec<u8>) {
        let replay = Replay { bytes, used: 0, is_asked: false, reader: None };
        self.replay = Some(Box::new(replay));
    }

    /// Whether nothing came on an idle connection. A byte or an end before anything was asked means that it
    /// is of no use (RFC 9112 section 9.2).
    pub(super) fn is_quiet(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(rustix::net::recv(&self.tcp, &mut [0], flags), Err(Errno::WOULDBLOCK))
    }

    /// Whether the server has chosen HTTP/2 in the handshake.
    pub(super) fn speaks_http2(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.speaks_http2())
    }

    pub(super) fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// What was read already and is not used; it comes before all that the connection still brings.
    pub(super) fn take_replay(&mut self) -> Vec<u8> {
        self.replay.take().map_or_else(Vec::new, |mut replay| replay.bytes.split_off(replay.used))
    }

    /// The socket and its session; nothing may be left to be replayed.
    pub(super) fn into_parts(self) -> (TcpStream, Option<Box<Tls>>, SocketAddr) {
        debug_assert!(self.replay.is_none(), "bytes of the body are lost");
        (self.tcp, self.tls, self.remote)
    }
}

impl Replay {
    /// Gives some of the bytes; false if there are no more.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let left = &self.bytes[self.used..];
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..count]);
        self.used += count;
        count > 0
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        fault::check("read head")?;
        let Self { tcp, tls, replay, .. } = &mut *self;
        if let Some(replayed) = replay {
            if !replayed.is_asked {
                replayed.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            if replayed.give(buffer) {
                return Poll::Ready(Ok(()));
            }
            *replay = None;
        }
        match tls {
            Some(tls) => tls.poll_read(tcp, cx, buffer),
            None => Pin::new(tcp).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        fault::check("write request")?;
        let Self { tcp, tls, replay, .. } = &mut *self;
        if let Some(replay) = replay {
            replay.is_asked = true;
            replay.reader.take().into_iter().for_each(Waker::wake);
            return Poll::Ready(Ok(bytes.len()));
        }
        match tls {
            Some(tls) => tls.poll_write(tcp, cx, bytes),
            None => Pin::new(tcp).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { tcp, tls, .. } = &mut *self;
        match tls {
            Some(tls) => tls.poll_flush(tcp, cx),
            None => Pin::new(tcp).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
