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
/// same for one client; whether the client certificate was presented is not, nor is the receive buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    origin: String,
    home: bool,
    receive_buffer: Option<u64>,
}

impl Key {
    pub(super) fn new(route: &Route, receive_buffer: Option<u64>) -> Self {
        let origin = route.url().origin().ascii_serialization();
        Self { origin, home: route.is_home(), receive_buffer }
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

    /// Closes all of them.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn keep(&self, key: Key, conn: Conn) {
        let Some(sleeper) = Sleeper::new(conn) else { return };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Of origins that nobody asks again they would never go.
        all.retain(|_, sleepers| {
            sleepers.retain(|sleeper| sleeper.since.elapsed() < IDLE_AGE_MAX);
            !sleepers.is_empty()
        });
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    /// Where a route leads and whose credentials it carries there: all that a key has to tell apart.
    #[derive(Clone, Debug, PartialEq)]
    struct Identity {
        scheme: &'static str,
        host: &'static str,
        port: u16,
        home: bool,
        receive_buffer: Option<u64>,
    }

    impl Identity {
        fn key(&self, path: &str) -> Key {
            let Self { scheme, host, port, home, receive_buffer } = self;
            let typed = Url::parse(&format!("{scheme}://{host}:{port}/{path}")).unwrap();
            let elsewhere = Url::parse("https://elsewhere.test/").unwrap();
            let home = if *home { &typed } else { &elsewhere };
            Key::new(&Route::new(typed.clone(), home), *receive_buffer)
        }
    }

    fn identity() -> impl Strategy<Value = Identity> {
        let scheme = prop::sample::select(vec!["http", "https"]);
        let hosts = ["a.test", "a.test.", "b.a.test", "127.0.0.1", "127.0.0.2", "[::1]"];
        let port = prop::sample::select(vec![80, 443, 8080, 8443]);
        let buffer = prop::sample::select(vec![None, Some(8 << 10), Some(64 << 10)]);
        (scheme, prop::sample::select(hosts.to_vec()), port, any::<bool>(), buffer).prop_map(
            |(scheme, host, port, home, receive_buffer)| Identity {
                scheme,
                host,
                port,
                home,
                receive_buffer,
            },
        )
    }

    proptest! {
        #[test]
        fn two_requests_share_a_key_only_if_they_share_every_field(
            one in identity(),
            other in identity(),
        ) {
            prop_assert_eq!(one.key("a?b") == other.key("c/d"), one == other);
        }
    }

    #[test]
    fn spelling_makes_no_other_identity() {
        let key = |text: &str| {
            let url = Url::parse(text).unwrap();
            Key::new(&Route::new(url.clone(), &url), None)
        };
        for same in
            ["HTTP://A.test/x", "http://a.test:80/?q", "http://u:p@a.test/", "http://%41.TEST/"]
        {
            assert_eq!(key(same), key("http://a.test/"), "{same}");
        }
        assert_eq!(key("https://a.test:443/"), key("https://a.test/"));
    }

    #[tokio::test]
    async fn a_connection_is_lent_only_to_the_identity_it_was_made_for() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut identities = Vec::new();
        for scheme in ["http", "https"] {
            for host in ["a.test", "b.test"] {
                for port in [8001, 8002] {
                    for (home, receive_buffer) in
                        [(true, None), (false, None), (true, Some(8 << 10))]
                    {
                        identities.push(Identity { scheme, host, port, home, receive_buffer });
                    }
                }
            }
        }
        let mut accepted = Vec::new();
        for owner in &identities {
            let idle = Idle::default();
            let tcp = TcpStream::connect(address).await.unwrap();
            accepted.push(listener.accept().unwrap());
            idle.keep(owner.key(""), Conn::new(tcp, None, address));
            for other in identities.iter().filter(|other| *other != owner) {
                assert!(idle.take(&other.key("")).is_none(), "{owner:?} lent to {other:?}");
            }
            assert!(idle.take(&owner.key("f")).is_some(), "{owner:?}");
        }
    }
}
