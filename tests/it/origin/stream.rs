//! The connection under an answer: plain or TLS, with the ways to end it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::Cut;

/// One accepted connection.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Stream {
    pub(crate) fn new(socket: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        Ok(match tls {
            None => Self::Plain(socket),
            Some(config) => {
                let session = ServerConnection::new(config).map_err(io::Error::other)?;
                Self::Tls(Box::new(StreamOwned::new(session, socket)))
            }
        })
    }

    /// Whether the client has shown a certificate.
    pub(crate) fn is_certified(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.conn.peer_certificates().is_some())
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// Whether bytes wait to be read. Not told of TLS, whose own messages may wait.
    pub(crate) fn has_more(&self) -> bool {
        let Self::Plain(socket) = self else { return false };
        let _ = socket.set_nonblocking(true);
        let waits = socket.peek(&mut [0]).is_ok_and(|count| count > 0);
        let _ = socket.set_nonblocking(false);
        waits
    }

    /// Ends the connection in a bad way.
    pub(crate) fn end(self, cut: Cut) {
        match cut {
            Cut::Reset => self.reset(),
            Cut::Close => self.cut(),
            Cut::Stall => self.drain(),
        }
    }

    /// Ends the connection as a good server does; errors do not matter any more.
    pub(crate) fn close(mut self) {
        if let Self::Tls(stream) = &mut self {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        self.cut();
    }

    /// FIN, and no close_notify. Reads what is in flight first, so that no RST follows.
    pub(crate) fn cut(self) {
        let _ = self.socket().shutdown(Shutdown::Write);
        self.drain();
    }

    /// RST, at once. The caller must have dropped every other handle of the socket.
    pub(crate) fn reset(self) {
        let _ = socket2::SockRef::from(self.socket()).set_linger(Some(Duration::ZERO));
    }

    /// Waits until the client, or the end of the test, closes the connection.
    pub(crate) fn drain(&self) {
        let mut bin = [0; 4096];
        let mut socket = self.socket();
        while socket.read(&mut bin).is_ok_and(|count| count > 0) {}
    }
}

impl Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(out),
            Self::Tls(stream) => stream.read(out),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
