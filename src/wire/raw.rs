//! A body of known length: the socket is taken back from hyper, and the backend receives straight into
//! blocks.

use std::io;
use std::net::SocketAddr;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use hyper::body::Incoming;

use super::conn::Conn;
use super::head::Driver;
use super::tls::Tls;
use crate::block::Block;
use crate::error::{Error, Kind, Result, reason};
use crate::io::{Enough, Io, Received, Socket, Until};
use crate::units::{narrow, wide};

/// The connection while such a body is on it.
pub(super) struct Raw {
    socket: Socket,
    tls: Option<Box<Tls>>,
    /// The front of the body, which came with the head, and how much of it is used.
    front: Vec<u8>,
    front_used: usize,
    left: u64,
}

/// The length of the body if it is framed by nothing but its length (RFC 9112 section 6.3, rules 1, 6 and 7).
///
/// Whether the field is honest is the gate's business; anything unclear goes through hyper.
pub(super) fn length(status: StatusCode, headers: &HeaderMap) -> Option<u64> {
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Some(0);
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    let mut fields = headers.get_all(CONTENT_LENGTH).iter();
    let text = fields.next()?.to_str().ok()?;
    let plain =
        fields.next().is_none() && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

impl Raw {
    /// Takes the connection back from hyper and gives its socket to the backend.
    pub(super) fn take_over(
        io: &Io,
        driver: Driver,
        incoming: Incoming,
        length: u64,
    ) -> Result<Self> {
        // hyper has seen no body byte, so neither the body channel nor its read buffer holds any.
        drop(incoming);
        let Some((conn, front)) = driver.into_parts() else {
            return Err(Error::new(Kind::Protocol, "the end of the response head is ambiguous"));
        };
        Self::new(io, conn, front, 0, length)
    }

    /// Gives the socket of a connection to the backend. Of the `front`, that much has been used.
    pub(super) fn new(
        io: &Io,
        conn: Conn,
        front: Vec<u8>,
        front_used: usize,
        length: u64,
    ) -> Result<Self> {
        let (tcp, tls, _) = conn.into_parts();
        let socket = io.adopt(tcp).map_err(broken)?;
        Ok(Self { socket, tls, front, front_used, left: length })
    }

    /// Body bytes still to come.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Receives body bytes; see [`super::Response::fill`].
    pub(super) async fn fill(
        &mut self,
        mut block: Block,
        max: usize,
        enough: Enough<'_>,
    ) -> (Result<Received>, Block) {
        let max = max.min(narrow(self.left.min(wide(max))));
        if max == 0 {
            return (Ok(Received::End), block);
        }
        let front = &self.front[self.front_used..];
        if !front.is_empty() {
            let count = block.fill_from(&front[..front.len().min(max)]);
            self.front_used += count;
            self.left -= wide(count);
            return (Ok(Received::Bytes(count)), block);
        }
        let (received, block) = match &mut self.tls {
            Some(tls) => tls.receive(&self.socket, block, max, enough).await,
            None => self.socket.receive(block, max, Until::All, enough).await,
        };
        let received = match received {
            Ok(Received::End) => Err(Error::new(
                Kind::Reset,
                format!("the server closed the connection {} bytes before the end", self.left),
            )),
            Ok(received) => {
                if let Received::Bytes(count) = received {
                    self.left -= wide(count);
                }
                Ok(received)
            }
            Err(error) => Err(broken(error)),
        };
        (received, block)
    }

    /// The connection, if the body was received to its end and nothing came behind it.
    pub(super) fn into_conn(mut self, remote: SocketAddr) -> Option<Conn> {
        let quiet = self.tls.as_mut().is_none_or(|tls| tls.is_quiet());
        let clean = self.left == 0 && self.front_used == self.front.len() && quiet;
        let tcp = clean.then(|| self.socket.release().ok())??;
        Some(Conn::new(tcp, self.tls, remote))
    }
}

fn broken(error: io::Error) -> Error {
    if error.raw_os_error() == Some(libc::EFAULT) {
        // The bytes could not go where they belong: into a mapped file whose disk has failed.
        let message = "the disk does not take what was received";
        return Error::new(Kind::LocalIo, message).because(error);
    }
    let why = how(&error);
    Error::new(Kind::Reset, format!("the connection broke: {why}")).because(error)
}

/// How a connection broke. rustls tells an end without close_notify (RFC 9112 section 9.8) as an early end.
pub(super) fn how(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it was cut without TLS's closing message".to_owned(),
        _ => reason(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length_of(fields: &[(&'static str, &'static str)]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        length(StatusCode::OK, &headers)
    }

    #[test]
    fn only_a_plain_content_length_frames_a_raw_body() {
        assert_eq!(length_of(&[("content-length", "42")]), Some(42));
        assert_eq!(length_of(&[]), None);
        assert_eq!(length_of(&[("content-length", "42"), ("transfer-encoding", "chunked")]), None);
        for odd in ["", "+1", "-1", "4 2", "1,1", "0x10", "99999999999999999999999"] {
            assert_eq!(length_of(&[("content-length", odd)]), None, "{odd}");
        }
        assert_eq!(length_of(&[("content-length", "1"), ("content-length", "1")]), None);
        assert_eq!(length(StatusCode::NOT_MODIFIED, &HeaderMap::new()), Some(0));
    }
}
