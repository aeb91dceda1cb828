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

    /// Closes all of them.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;
    use crate::wire::route::RedirectRule;

    /// The key of a request to `url`, reached from `home`.
    fn key(url: &str, home: &str) -> Key {
        Key::new(&Route::new(Url::parse(url).unwrap(), &Url::parse(home).unwrap()))
    }

    fn pick(of: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
        prop::sample::select(of)
    }

    fn url() -> impl Strategy<Value = String> {
        let scheme = pick(&["http", "https"]);
        let host = pick(&["a", "b", "a.b", "127.0.0.1", "[::1]"]);
        let (port, path) = (pick(&["", ":80", ":443", ":81"]), pick(&["/", "/x?q"]));
        (scheme, host, port, path).prop_map(|(s, h, p, x)| format!("{s}://{h}{p}{x}"))
    }

    /// What must be equal: scheme, host, port, and whether our certificate was shown.
    fn identity(url: &str, home: &str) -> (String, String, Option<u16>, bool) {
        let [url, home] = [url, home].map(|text| Url::parse(text).unwrap());
        let of = |url: &Url| {
            let host = url.host_str().unwrap().to_owned();
            (url.scheme().to_owned(), host, url.port_or_known_default())
        };
        let (scheme, host, port) = of(&url);
        (scheme, host, port, of(&url) == of(&home))
    }

    proptest! {
        #[test]
        fn a_connection_is_shared_by_one_identity_alone(
            one in url(), home in url(), other in url(), other_home in url()
        ) {
            let is_one = identity(&one, &home) == identity(&other, &other_home);
            prop_assert_eq!(key(&one, &home) == key(&other, &other_home), is_one);
        }
    }

    #[test]
    fn an_address_that_a_redirect_led_to_is_another_identity_than_a_typed_one() {
        let home = Url::parse("https://a/").unwrap();
        let mut route = Route::new(home.clone(), &home);
        route.follow("https://b/", 0, RedirectRule { max: 1, https_only: false }).unwrap();
        assert_ne!(Key::new(&route), key("https://b/", "https://b/"));
        assert_eq!(Key::new(&route), key("https://b/x", "https://a/"));
    }
}
