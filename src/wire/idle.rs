//! Idle connections, kept by everything that tells identities apart.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::net::TcpStream;

use super::Route;
use super::conn::Conn;
use super::tls::Tls;
use crate::limits::{IDLE_AGE_MAX, IDLE_MAX};

/// What two requests must share to share a connection. All else (roots, verification, addresses) is the
/// same for one client; whether the client certificate was presented is not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    origin: String,
    home: bool,
}

impl Key {
    pub(super) fn new(route: &Route) -> Self {
        Self { origin: route.url().origin().ascii_serialization(), home: route.is_home() }
    }
}

/// The idle connections of one client, of all its threads.
#[derive(Debug, Default)]
pub(super) struct Idle(Mutex<HashMap<Key, Vec<Sleeper>>>);

/// A connection that no runtime owns.
pub(super) struct Sleeper {
    tcp: std::net::TcpStream,
    tls: Option<Box<Tls>>,
    remote: SocketAddr,
    since: Instant,
}

impl std::fmt::Debug for Sleeper {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Sleeper").field("remote", &self.remote).finish_non_exhaustive()
    }
}

impl Idle {
    /// Takes the most recently used connection that is still quiet and young.
    pub(super) fn take(&self, key: &Key) -> Option<Sleeper> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sleepers = all.get_mut(key)?;
        while let Some(sleeper) = sleepers.pop() {
            if sleeper.since.elapsed() < IDLE_AGE_MAX && sleeper.is_quiet() {
                return Some(sleeper);
            }
        }
        all.remove(key);
        None
    }

    pub(super) fn keep(&self, key: Key, conn: Conn) {
        let Some(sleeper) = Sleeper::new(conn) else { return };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.values().map(Vec::len).sum::<usize>() < IDLE_MAX {
            all.entry(key).or_default().push(sleeper);
        }
    }
}

impl Sleeper {
    fn new(conn: Conn) -> Option<Self> {
        let (tcp, tls, remote) = conn.into_parts();
        Some(Self { tcp: tcp.into_std().ok()?, tls, remote, since: Instant::now() })
    }

    /// A byte or an end before anything was asked means the connection is of no use (RFC 9112 section 9.2).
    fn is_quiet(&self) -> bool {
        let peeked = self.tcp.peek(&mut [0]);
        matches!(peeked, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Hands the connection to the runtime of this thread.
    pub(super) fn wake(self) -> std::io::Result<Conn> {
        Ok(Conn::new(TcpStream::from_std(self.tcp)?, self.tls, self.remote))
    }
}
