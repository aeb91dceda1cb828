//! A static file server over a directory: byte ranges, conditional requests, listings, TLS.
//!
//! It is meant for benchmarks, demos and copies in a local network, and must not be the bottleneck
//! of a downloader on the same machine: one blocking thread a connection, bodies by sendfile(2). It
//! is no general web server: no virtual hosts, no compression, no uploads. Invariant: nothing
//! outside the directory is ever served, and no body is ever padded: if a file shrinks while it is
//! sent, the connection is cut.

mod answer;
mod conditions;
mod connection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod guests;
mod listen;
mod listing;
mod media;
mod range;
mod request;
mod stream;
mod target;
mod tls;
mod tree;

use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use connection::House;
use guests::Guests;
use listen::{Door, Notices};
use tree::Tree;

use crate::error::{Error, Kind, Result};
use crate::limits::SERVE_CONNECTIONS_MAX;

/// What to serve, where and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory to serve.
    pub dir: PathBuf,
    /// The addresses to listen on; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// The certificate chain and its key, both PEM files, for https; `None` for http.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The TCP congestion control; `None` for the system's default.
    pub congestion: Option<String>,
    /// How long a connection may wait for its next request.
    pub keep_alive: Duration,
}

impl Default for Options {
    /// The current directory on `http://127.0.0.1:8000/`.
    fn default() -> Self {
        Self {
            dir: ".".into(),
            listen: vec![(Ipv4Addr::LOCALHOST, 8000).into()],
            tls: None,
            // bbr, the default of some systems, paces even loopback: it caps a client at about 1.7
            // GB/s.
            congestion: Some("cubic".into()),
            keep_alive: Duration::from_secs(60),
        }
    }
}

/// A running server. Dropping it cuts its connections; [`Server::stop`] is the polite way.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    doors: Vec<Arc<Door>>,
    keepers: Vec<JoinHandle<()>>,
    guests: Arc<Guests>,
    house: Arc<House>,
    notices: Arc<Notices>,
}

impl Server {
    /// Starts to listen and to answer, on threads of its own.
    ///
    /// # Errors
    /// [`Kind::Usage`] if there is no address or one cannot be used, or `dir` is no directory;
    /// [`Kind::Permission`] if a port or file is off limits; [`Kind::Tls`] for a certificate or key
    /// that does not fit; [`Kind::LocalIo`] for a file that cannot be read; [`Kind::Internal`] if a
    /// thread cannot start.
    pub fn start(options: &Options) -> Result<Self> {
        Self::start_bounded(options, SERVE_CONNECTIONS_MAX)
    }

    fn start_bounded(options: &Options, connections_max: usize) -> Result<Self> {
        if options.listen.is_empty() {
            return Err(Error::new(Kind::Usage, "cannot serve without an address to listen on"));
        }
        let tls = options.tls.as_ref().map(|(chain, key)| tls::config(chain, key)).transpose()?;
        let house = House {
            tree: Tree::open(&options.dir)?,
            tls,
            keep_alive: options.keep_alive,
            requests: AtomicU64::new(0),
            served_bytes: AtomicU64::new(0),
        };
        let mut server = Self {
            addresses: Vec::new(),
            doors: Vec::new(),
            keepers: Vec::new(),
            guests: Arc::new(Guests::new(connections_max)),
            house: Arc::new(house),
            notices: Arc::default(),
        };
        let congestion = options.congestion.as_deref();
        for address in &options.listen {
            let door = Door::open(*address, congestion, &server.notices)?;
            server.addresses.push(door.address());
            server.doors.push(Arc::new(door));
        }
        // Only once every address is ours: a server that cannot start has answered nobody.
        for door in server.doors.clone() {
            server.keepers.push(server.keep(door)?);
        }
        Ok(server)
    }

    fn keep(&self, door: Arc<Door>) -> Result<JoinHandle<()>> {
        let (house, guests) = (Arc::clone(&self.house), Arc::clone(&self.guests));
        let notices = Arc::clone(&self.notices);
        thread::Builder::new()
            .name("serve-accept".into())
            .spawn(move || door.keep(&house, &guests, &notices))
            .map_err(|error| Error::new(Kind::Internal, "cannot start a thread").because(error))
    }

    /// The addresses it listens on, in the order of [`Options::listen`], with the ports that were
    /// taken.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops accepting, lets running answers finish for at most `grace`, then cuts them.
    pub fn stop(mut self, grace: Duration) {
        self.close(grace);
    }

    /// The requests answered so far, refusals included.
    pub fn requests(&self) -> u64 {
        self.house.requests.load(Relaxed)
    }

    /// The bytes of bodies sent so far.
    pub fn served_bytes(&self) -> u64 {
        self.house.served_bytes.load(Relaxed)
    }

    /// What the user should know and no error says: one sentence each, oldest first.
    pub fn notices(&self) -> Vec<String> {
        self.notices.all()
    }

    fn close(&mut self, grace: Duration) {
        // First nobody new, then the doors: who slips in between is turned away by the guest list.
        self.guests.dismiss(Shutdown::Read);
        for door in &self.doors {
            door.close();
        }
        self.guests.wait_until_gone(grace);
        self.guests.dismiss(Shutdown::Both);
        for keeper in self.keepers.drain(..) {
            // A panic has been shown by its own thread.
            let _ = keeper.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close(Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    fn status(client: &mut TcpStream) -> String {
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut head = [0; 12];
        client.read_exact(&mut head).unwrap();
        String::from_utf8(head.into()).unwrap()
    }

    #[test]
    fn beyond_the_bound_a_connection_is_turned_away_until_another_leaves() {
        let dir = tempfile::tempdir().unwrap();
        let listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
        let options = Options { dir: dir.path().into(), listen, ..Options::default() };
        let server = Server::start_bounded(&options, 1).unwrap();
        let connect = || TcpStream::connect(server.addresses()[0]).unwrap();

        let mut first = connect();
        assert_eq!(status(&mut first), "HTTP/1.1 200");
        let mut second = connect();
        assert_eq!(status(&mut second), "HTTP/1.1 503");
        let mut rest = Vec::new();
        second.read_to_end(&mut rest).unwrap();
        assert!(String::from_utf8(rest).unwrap().contains("\r\nConnection: close\r\n"));

        first.shutdown(Shutdown::Both).unwrap();
        // The server sees the end a moment later; every try is a whole exchange.
        assert!((0..10_000).any(|_| status(&mut connect()) == "HTTP/1.1 200"));
    }
}
