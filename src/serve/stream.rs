//! The byte stream to one client, plain or TLS: one match per verb.
//!
//! It knows nothing of HTTP. Invariant: a body is sent in full or the send fails; nothing is ever
//! padded.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SendFlags;
use rustls::ServerConfig;

use super::answer::Body;
use super::tls::Tls;
use crate::units;

/// A byte stream to a client.
#[derive(Debug)]
pub(super) struct Stream {
    socket: Arc<TcpStream>,
    cover: Cover,
}

#[derive(Debug)]
enum Cover {
    Plain,
    Tls(Box<Tls>),
}

impl Stream {
    /// Takes over an accepted socket; makes the TLS handshake if there is a `config`.
    pub(super) fn open(
        socket: Arc<TcpStream>,
        config: Option<&Arc<ServerConfig>>,
    ) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(SEND_STALL))?;
        let cover = match config {
            None => Cover::Plain,
            Some(config) => {
                socket.set_read_timeout(Some(HANDSHAKE_STALL))?;
                Cover::Tls(Box::new(Tls::accept(config, Arc::clone(&socket))?))
            }
        };
        Ok(Self { socket, cover })
    }

    /// Bounds the wait of each [`Self::read`].
    pub(super) fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        // The kernel takes 0 for "forever".
        self.socket.set_read_timeout(Some(time.max(Duration::from_millis(1))))
    }

    /// Reads what the client sent; 0 at the end, `WouldBlock` when the wait is over.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let outcome = match &mut self.cover {
                Cover::Plain => (&*self.socket).read(buffer),
                Cover::Tls(tls) => tls.read(buffer),
            };
            match outcome {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }

    /// Sends a head and its body, and counts the bytes of the body in `served`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file became shorter meanwhile. The connection is of no use after any
    /// error.
    pub(super) fn send(&mut self, head: String, body: &Body, served: &AtomicU64) -> io::Result<()> {
        match body {
            Body::Empty => self.send_text(head.as_bytes()),
            Body::Text(text) => {
                self.send_text((head + text).as_bytes())?;
                served.fetch_add(units::wide(text.len()), Relaxed);
                Ok(())
            }
            Body::File { file, first, length } => match &mut self.cover {
                Cover::Plain => {
                    // MSG_MORE: the head waits for the first bytes of the file and leaves with
                    // them.
                    send_all(&self.socket, head.as_bytes(), SendFlags::MORE)?;
                    send_file(&self.socket, (file, *first, *length), served)
                }
                Cover::Tls(tls) => tls.send_file(head.as_bytes(), (file, *first, *length), served),
            },
        }
    }

    fn send_text(&mut self, text: &[u8]) -> io::Result<()> {
        match &mut self.cover {
            Cover::Plain => send_all(&self.socket, text, SendFlags::empty()),
            Cover::Tls(tls) => tls.send(text),
        }
    }

    /// Ends a connection after an answer that was sent whole, so that the client can still read it:
    /// closing with unread bytes would reset the connection and take the answer away (RFC 9112
    /// section 9.6).
    pub(super) fn finish(mut self) {
        if let Cover::Tls(tls) = &mut self.cover {
            tls.finish();
        }
        let is_half_closed = self.socket.shutdown(Shutdown::Write).is_ok()
            && self.socket.set_read_timeout(Some(LINGER)).is_ok();
        let mut waste = [0; 4096];
        let mut reads_left = if is_half_closed { LINGER_READS_MAX } else { 0 };
        while reads_left > 0 && (&*self.socket).read(&mut waste).is_ok_and(|count| count > 0) {
            reads_left -= 1;
        }
    }
}

fn send_all(socket: &TcpStream, bytes: &[u8], flags: SendFlags) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::net::send(socket, rest, flags | SendFlags::NOSIGNAL) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// sendfile(2) hands pages of the page cache to the socket: no copy on this side.
fn send_file(
    socket: &TcpStream,
    (file, mut first, length): (&File, u64, u64),
    served: &AtomicU64,
) -> io::Result<()> {
    let end = first + length;
    while first < end {
        let count = units::narrow((end - first).min(SEND_BYTES));
        match rustix::fs::sendfile(socket, file, Some(&mut first), count) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                served.fetch_add(units::wide(count), Relaxed);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Bytes given to one sendfile(2): few calls, and the counter still moves while a large file is
/// sent.
const SEND_BYTES: u64 = 8 << 20;
/// Time in which a client must take at least one byte (nginx's `send_timeout`).
const SEND_STALL: Duration = Duration::from_secs(60);
/// Time in which the client must answer each flight of the handshake.
const HANDSHAKE_STALL: Duration = Duration::from_secs(20);
/// Wait for the client's end after ours.
const LINGER: Duration = Duration::from_secs(1);
/// Reads of 4 KiB that are thrown away meanwhile.
const LINGER_READS_MAX: u32 = 64;
