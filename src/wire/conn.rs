//! A connection as hyper sees it: a tokio socket, with a TLS session on it or not.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::tls::Tls;
use crate::fault;

/// One connection, in the hands of the runtime of its thread.
pub(crate) struct Conn {
    tcp: TcpStream,
    tls: Option<Box<Tls>>,
    remote: SocketAddr,
}

impl Conn {
    pub(super) fn new(tcp: TcpStream, tls: Option<Box<Tls>>, remote: SocketAddr) -> Self {
        Self { tcp, tls, remote }
    }

    /// Whether the server has chosen HTTP/2 in the handshake.
    pub(super) fn speaks_http2(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.speaks_http2())
    }

    pub(super) fn remote(&self) -> SocketAddr {
        self.remote
    }

    pub(super) fn into_parts(self) -> (TcpStream, Option<Box<Tls>>, SocketAddr) {
        (self.tcp, self.tls, self.remote)
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        fault::check("read head")?;
        let Self { tcp, tls, .. } = &mut *self;
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
        let Self { tcp, tls, .. } = &mut *self;
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
