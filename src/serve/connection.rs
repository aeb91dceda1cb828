//! Lives one connection: reads a request, answers it, and again, until one side has enough.
//!
//! It decides when a connection ends, not what an answer says. Invariant: answers leave in the
//! order of their requests, and after one that could not be sent whole, nothing more is sent.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use rustls::ServerConfig;

use super::answer::{Afterwards, Answer};
use super::request::{self, HEAD_BYTES_MAX, Parsed, Request};
use super::stream::Stream;
use super::tree::Tree;

/// What the connections of a server have in common.
#[derive(Debug)]
pub(super) struct House {
    pub(super) tree: Tree,
    /// How to speak TLS; `None` for plain HTTP.
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// Wait for the next request on an idle connection.
    pub(super) keep_alive: Duration,
    /// Requests that were answered, in whatever way.
    pub(super) requests: AtomicU64,
    /// Bytes of bodies that were handed to the kernel.
    pub(super) served_bytes: AtomicU64,
}

/// How a connection is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Welcome {
    /// Its requests are answered.
    Served,
    /// The house is full: its first request gets a 503.
    TurnedAway,
}

/// Answers the requests of one connection; `is_stopping` tells whether the one just read is the
/// last.
///
/// # Errors
/// What broke the connection, for whoever cares. The client sees it cut.
pub(super) fn serve(
    house: &House,
    mut stream: Stream,
    welcome: Welcome,
    is_stopping: impl Fn() -> bool,
) -> io::Result<()> {
    let mut inbox = Inbox { bytes: vec![0; HEAD_BYTES_MAX], filled: 0 };
    loop {
        let (answer, afterwards) = match inbox.next(&mut stream, house.keep_alive)? {
            Next::Gone => break,
            Next::Refused(status) => (Answer::refusal(status), Afterwards::Close),
            Next::Request(_) if welcome == Welcome::TurnedAway => {
                (Answer::refusal(StatusCode::SERVICE_UNAVAILABLE), Afterwards::Close)
            }
            Next::Request(request) => {
                let is_last = !request.persistent || is_stopping();
                let afterwards =
                    if is_last { Afterwards::Close } else { Afterwards::Keep(request.version) };
                (Answer::to(&request, &house.tree, SystemTime::now()), afterwards)
            }
        };
        house.requests.fetch_add(1, Relaxed);
        let head = answer.head(SystemTime::now(), afterwards);
        stream.send(head, &answer.body, &house.served_bytes)?;
        if afterwards == Afterwards::Close || is_stopping() {
            break;
        }
    }
    stream.finish();
    Ok(())
}

enum Next {
    Request(Request),
    Refused(StatusCode),
    /// The client left, or said nothing for too long.
    Gone,
}

/// The bytes that arrived and are not answered yet.
struct Inbox {
    bytes: Vec<u8>,
    filled: usize,
}

impl Inbox {
    fn next(&mut self, stream: &mut Stream, keep_alive: Duration) -> io::Result<Next> {
        stream.wait_at_most(keep_alive)?;
        // The clock of a head starts with its first byte, and drops of it do not turn it back.
        let mut deadline = (self.filled > 0).then(|| Instant::now() + HEAD_TIME_MAX);
        loop {
            match request::parse(&self.bytes[..self.filled]) {
                Parsed::Partial => {}
                Parsed::Refused(status) => return Ok(Next::Refused(status)),
                Parsed::Whole(request, length) => {
                    self.bytes.copy_within(length..self.filled, 0);
                    self.filled -= length;
                    return Ok(Next::Request(request));
                }
            }
            if let Some(deadline) = deadline {
                stream.wait_at_most(deadline.saturating_duration_since(Instant::now()))?;
            }
            match stream.read(&mut self.bytes[self.filled..]) {
                Ok(0) => return Ok(Next::Gone),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let is_idle = deadline.is_none();
                    let late = Next::Refused(StatusCode::REQUEST_TIMEOUT);
                    return Ok(if is_idle { Next::Gone } else { late });
                }
                Err(error) => return Err(error),
            }
            deadline.get_or_insert_with(|| Instant::now() + HEAD_TIME_MAX);
        }
    }
}

/// Time from the first byte of a head to its last.
const HEAD_TIME_MAX: Duration = Duration::from_secs(20);
