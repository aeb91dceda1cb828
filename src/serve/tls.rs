//! The server's side of TLS: reads certificate and key, and speaks rustls over a blocking socket.
//!
//! It knows nothing of HTTP. Invariant: `close_notify` is sent only where the last answer was sent
//! whole, so that a client can tell an end from a cut.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use crate::error::{Error, Kind, Result};
use crate::units;

/// Reads a certificate chain and its key, both PEM.
///
/// # Errors
/// [`Kind::Tls`] if they hold no certificate or key, or do not belong together; what
/// [`Error::local`] makes of files that cannot be read.
pub(super) fn config(chain: &Path, key: &Path) -> Result<Arc<ServerConfig>> {
    let failed = |what: &str, path: &Path, error: pem::Error| match error {
        pem::Error::Io(source) => Error::local("read", path, source),
        other => {
            let shown = path.display().to_string();
            Error::new(Kind::Tls, format!("no {what} in {}", crate::error::Escaped(&shown)))
                .because(other.to_string())
        }
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect)
        .map_err(|error| failed("certificate", chain, error))?;
    let secret =
        PrivateKeyDer::from_pem_file(key).map_err(|error| failed("private key", key, error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, secret))
        .map_err(|error| {
            Error::new(Kind::Tls, format!("cannot use this certificate with this key: {error}"))
                .because(error)
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// One TLS connection.
#[derive(Debug)]
pub(super) struct Tls {
    session: ServerConnection,
    socket: Arc<TcpStream>,
}

impl Tls {
    /// Makes the handshake.
    ///
    /// # Errors
    /// Whatever the socket says; `InvalidData` where the client breaks TLS, after it was told by an
    /// alert.
    pub(super) fn accept(config: &Arc<ServerConfig>, socket: Arc<TcpStream>) -> io::Result<Self> {
        let mut session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        session.set_buffer_limit(Some(2 * READ_BYTES));
        let mut tls = Self { session, socket };
        while tls.session.is_handshaking() {
            tls.flush()?;
            if tls.session.is_handshaking() && tls.receive()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        tls.flush()?;
        Ok(tls)
    }

    /// Reads what the client sent; 0 at the end, whether it was announced or not: a request head
    /// says itself whether it is whole.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                outcome => return outcome,
            }
            self.flush()?;
            self.receive()?;
        }
    }

    /// Sends `bytes`.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.session.writer().write(rest)?;
            rest = &rest[taken..];
            self.flush()?;
        }
        Ok(())
    }

    /// Sends a head and `length` bytes of a file from offset `first`, and counts these in `served`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends early.
    pub(super) fn send_file(
        &mut self,
        head: &[u8],
        (file, mut first, length): (&File, u64, u64),
        served: &AtomicU64,
    ) -> io::Result<()> {
        let end = first + length;
        let mut buffer = vec![0; READ_BYTES + head.len()];
        buffer[..head.len()].copy_from_slice(head);
        // The head shares a record, and so a packet, with the first bytes of the body.
        let mut filled = head.len();
        while first < end {
            let room = units::narrow((end - first).min(units::wide(READ_BYTES)));
            match file.read_at(&mut buffer[filled..filled + room], first) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.send(&buffer[..filled + count])?;
                    first += units::wide(count);
                    served.fetch_add(units::wide(count), Relaxed);
                    filled = 0;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says that nothing follows. Failures do not matter any more.
    pub(super) fn finish(&mut self) {
        self.session.send_close_notify();
        let _ = self.flush();
    }

    fn receive(&mut self) -> io::Result<usize> {
        let count = loop {
            match self.session.read_tls(&mut &*self.socket) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome?,
            }
        };
        if let Err(error) = self.session.process_new_packets() {
            // The alert that says what was wrong.
            let _ = self.flush();
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut &*self.socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Bytes of a file that are read and encrypted at once: 16 TLS records, one system call to send
/// them.
const READ_BYTES: usize = 256 << 10;
