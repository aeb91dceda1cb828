//! TLS: a rustls session whose ciphertext comes in large reads and whose plaintext goes straight into blocks.
//!
//! rustls alone asks the transport for 4 to 18 KiB at a time. Here one read of up to 256 KiB fills a
//! buffer, by epoll while hyper has the connection and by the thread's backend while a body is received,
//! and the session is fed from it.

mod config;

pub(super) use config::{Settings, config};

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ClientConnection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use url::Url;

use crate::block::{Block, Place};
use crate::error::{Error, Escaped, Kind, Result, reason};
use crate::io::{Enough, Received, Socket, Until};
use crate::limits::TLS_READ_BYTES;

/// The name of HTTP/2 in the handshake.
pub(super) const HTTP2: &[u8] = b"h2";

/// A TLS session and the ciphertext that it has not been fed yet.
pub(crate) struct Tls {
    session: ClientConnection,
    cipher: Cipher,
}

/// Ciphertext: filled from the socket, used up by the session.
struct Cipher {
    /// Away while the backend fills it; gone for good if that was given up.
    block: Option<Block>,
    used: usize,
}

impl Tls {
    /// Shakes hands with the server over a fresh connection.
    ///
    /// # Errors
    /// `Kind::Tls` if the certificate or the protocol does not suit, `Kind::Connect` if the connection
    /// breaks.
    pub(super) async fn handshake(
        url: &Url,
        mut tcp: TcpStream,
        config: Arc<ClientConfig>,
    ) -> Result<(TcpStream, Box<Self>)> {
        let host = url.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(|error| failed(host, &error.to_string()))?;
        let session = ClientConnection::new(config, name)
            .map_err(|error| failed(host, &error.to_string()).because(error))?;
        let mut tls = Box::new(Self { session, cipher: Cipher::new() });
        std::future::poll_fn(|cx| tls.poll_handshake(&mut tcp, cx))
            .await
            .map_err(|error| explain(host, error))?;
        Ok((tcp, tls))
    }

    /// Whether the server has chosen HTTP/2 (RFC 9113 section 3.2).
    pub(super) fn speaks_http2(&self) -> bool {
        self.session.alpn_protocol() == Some(HTTP2)
    }

    fn poll_handshake(
        &mut self,
        tcp: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.session.is_handshaking() {
            ready!(self.poll_send(tcp, cx))?;
            if self.session.is_handshaking()
                && !self.feed()?
                && ready!(self.poll_cipher(tcp, cx))? == 0
            {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        self.poll_send(tcp, cx)
    }

    /// Reads plaintext while hyper has the connection.
    pub(super) fn poll_read(
        &mut self,
        tcp: &mut TcpStream,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // An answer the session owes (a key update) goes along; it must not keep us from reading.
        if let Poll::Ready(Err(error)) = self.poll_send(tcp, cx) {
            return Poll::Ready(Err(error));
        }
        loop {
            match self.session.reader().read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            if !self.feed()? && ready!(self.poll_cipher(tcp, cx))? == 0 {
                self.end()?;
            }
        }
    }

    pub(super) fn poll_write(
        &mut self,
        tcp: &mut TcpStream,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(tcp, cx))?;
        let count = self.session.writer().write(bytes)?;
        // What does not go now goes with the flush.
        if let Poll::Ready(Err(error)) = self.poll_send(tcp, cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(count))
    }

    pub(super) fn poll_flush(
        &mut self,
        tcp: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_send(tcp, cx))?;
        Pin::new(tcp).poll_flush(cx)
    }

    /// Receives plaintext into the block while the backend has the socket; as [`Socket::receive`] with
    /// `Until::All`.
    pub(super) async fn receive(
        &mut self,
        socket: &Socket,
        mut block: Block,
        max: usize,
        mut enough: Enough<'_>,
    ) -> (io::Result<Received>, Block) {
        let mut got = 0;
        while got < max {
            match self.session.reader().read(&mut block.spare_mut()[..max - got]) {
                Ok(0) => break,
                Ok(count) => {
                    block.advance(count);
                    got += count;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if got == 0 => return (Err(error), block),
                Err(_) => break,
            }
            match self.more(socket, enough.as_mut()).await {
                Ok(true) => {}
                Ok(false) if got == 0 => return (Ok(Received::Nothing), block),
                Err(error) if got == 0 => return (Err(error), block),
                Ok(false) | Err(_) => break,
            }
        }
        (Ok(if got > 0 { Received::Bytes(got) } else { Received::End }), block)
    }

    /// Whether nothing is buffered that nobody asked for.
    pub(super) fn is_quiet(&mut self) -> bool {
        let fed =
            self.cipher.block.as_ref().is_some_and(|block| block.filled() == self.cipher.used);
        let state = self.session.process_new_packets();
        fed && state.is_ok_and(|state| state.plaintext_bytes_to_read() == 0)
    }

    /// Feeds the session, from the socket if nothing is buffered; false if nothing came until it was enough.
    async fn more(&mut self, socket: &Socket, enough: Enough<'_>) -> io::Result<bool> {
        if self.feed()? {
            return Ok(true);
        }
        let mut block = self.cipher.block.take().ok_or(io::ErrorKind::NotConnected)?;
        block.clear();
        self.cipher.used = 0;
        let max = block.wanted();
        let (received, block) = socket.receive(block, max, Until::Some, enough).await;
        self.cipher.block = Some(block);
        match received? {
            Received::Bytes(_) => {}
            Received::End => self.end()?,
            Received::Nothing => return Ok(false),
        }
        Ok(true)
    }

    /// Feeds one piece of the buffered ciphertext; false if there is none.
    fn feed(&mut self) -> io::Result<bool> {
        let Some(block) = &self.cipher.block else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let mut rest = &block.bytes()[self.cipher.used..];
        if rest.is_empty() {
            return Ok(false);
        }
        self.cipher.used += self.session.read_tls(&mut rest)?;
        self.process()?;
        Ok(true)
    }

    /// Tells the session that the peer has closed: without a close_notify before, its reader then reports a
    /// cut.
    fn end(&mut self) -> io::Result<()> {
        self.session.read_tls(&mut io::empty())?;
        self.process()
    }

    fn process(&mut self) -> io::Result<()> {
        match self.session.process_new_packets() {
            Ok(_) => Ok(()),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }

    fn poll_cipher(
        &mut self,
        tcp: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let Some(block) = &mut self.cipher.block else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        block.clear();
        self.cipher.used = 0;
        let mut buffer = ReadBuf::new(block.spare_mut());
        ready!(Pin::new(tcp).poll_read(cx, &mut buffer))?;
        let count = buffer.filled().len();
        block.advance(count);
        Poll::Ready(Ok(count))
    }

    fn poll_send(&mut self, tcp: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let mut transport = Transport { tcp: &mut *tcp, cx: &mut *cx };
            match self.session.write_tls(&mut transport) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Cipher {
    fn new() -> Self {
        let place = Place { index: 0, offset: 0, length: TLS_READ_BYTES };
        Self { block: Some(Block::own(place)), used: 0 }
    }
}

/// Shows rustls a blocking writer that would block where tokio is pending.
struct Transport<'a, 'b> {
    tcp: &'a mut TcpStream,
    cx: &'a mut Context<'b>,
}

impl Write for Transport<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.tcp).poll_write(self.cx, bytes) {
            Poll::Ready(done) => done,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn failed(host: &str, why: &str) -> Error {
    Error::new(Kind::Tls, format!("TLS with {} failed: {}", Escaped(host), Escaped(why)))
}

/// A failed handshake in words a user can act on.
fn explain(host: &str, error: io::Error) -> Error {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        let host = Escaped(host);
        let why = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
            _ => reason(&error),
        };
        return Error::new(Kind::Connect, format!("TLS handshake with {host} broke off: {why}"))
            .because(error);
    };
    let (why, hint) = match tls {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                ("its certificate has expired".to_owned(), "check this machine's clock")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                ("its certificate is not valid yet".to_owned(), "check this machine's clock")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                (
                    "its certificate is for another host name".to_owned(),
                    "check the host name in the URL",
                )
            }
            // A signature that does not fit comes of another authority of the same name.
            CertificateError::UnknownIssuer
            | CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => (
                "its certificate is not signed by a trusted authority".to_owned(),
                "name the authority's certificate with --cacert, if you trust it",
            ),
            other => (format!("its certificate is not valid: {other}"), "see --cacert"),
        },
        other => (other.to_string(), "does the server speak TLS 1.2 or 1.3 on this port?"),
    };
    failed(host, &why).hint(hint).because(error)
}
