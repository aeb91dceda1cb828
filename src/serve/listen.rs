//! Listens on one address and gives each connection its thread.
//!
//! It reads and sends nothing. Invariant: a door that has closed has no thread left; the threads of
//! its connections end before the one that accepts them.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::connection::{self, House};
use super::guests::{Guests, Place};
use super::stream::Stream;
use crate::error::{Error, Escaped, Kind, Result, reason};

/// One listening socket.
#[derive(Debug)]
pub(super) struct Door {
    listener: TcpListener,
    address: SocketAddr,
}

impl Door {
    /// Listens on `address`. A congestion control that cannot be had is a notice, not an error.
    ///
    /// # Errors
    /// [`Kind::Permission`] if the port needs more rights, [`Kind::Usage`] if the address cannot be
    /// used.
    pub(super) fn open(
        address: SocketAddr,
        congestion: Option<&str>,
        notices: &Notices,
    ) -> Result<Self> {
        let socket = bound(address).map_err(|error| unusable(address, error))?;
        if let Some(name) = congestion {
            // Accepted sockets inherit it (tcp(7)).
            if let Err(error) = socket.set_tcp_congestion(name.as_bytes()) {
                let name = Escaped(name);
                notices.add(format!(
                    "cannot set congestion control {name}: {}, using the default",
                    reason(&error)
                ));
            }
        }
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().map_err(|error| unusable(address, error))?;
        Ok(Self { listener, address })
    }

    /// The address with the port that was taken.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes [`Self::keep`] accept nobody any more: on Linux a shut-down listener wakes its
    /// accept(2) with EINVAL.
    pub(super) fn close(&self) {
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
    }

    /// Accepts connections until the door closes, then waits for those it has.
    pub(super) fn keep(&self, house: &House, guests: &Guests, notices: &Notices) {
        thread::scope(|scope| {
            while !guests.is_stopping() {
                match self.listener.accept() {
                    Ok((socket, _)) => {
                        if let Err(error) = receive(scope, socket, house, guests) {
                            notices.add(format!("cannot start a thread: {}", reason(&error)));
                            guests.wait_for_fewer(ACCEPT_PAUSE);
                        }
                    }
                    // Out of descriptors or memory: accept(2) fails at once, again and again.
                    Err(error) if is_shortage(&error) => {
                        notices.add(format!("cannot accept a connection: {}", reason(&error)));
                        guests.wait_for_fewer(ACCEPT_PAUSE);
                    }
                    // The client left before it was accepted, or the door is closed.
                    Err(_) => {}
                }
            }
        });
    }
}

/// Starts the thread of one connection.
fn receive<'scope>(
    scope: &'scope Scope<'scope, '_>,
    socket: TcpStream,
    house: &'scope House,
    guests: &'scope Guests,
) -> io::Result<()> {
    let socket = Arc::new(socket);
    let Some(place) = guests.admit(&socket) else { return Ok(()) };
    let live = move || {
        // Whatever ends a connection concerns its client, who sees it.
        let _ = attend(socket, house, guests, &place);
    };
    thread::Builder::new().name("serve".into()).spawn_scoped(scope, live)?;
    Ok(())
}

fn attend(
    socket: Arc<TcpStream>,
    house: &House,
    guests: &Guests,
    place: &Place<'_>,
) -> io::Result<()> {
    let stream = Stream::open(socket, house.tls.as_ref())?;
    connection::serve(house, stream, place.welcome, || guests.is_stopping())
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn unusable(address: SocketAddr, error: io::Error) -> Error {
    let message = format!("cannot listen on {address}: {}", reason(&error));
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Error::new(Kind::Permission, message)
            .hint("choose a port above 1023")
            .because(error);
    }
    Error::new(Kind::Usage, message).hint("choose another address or port").because(error)
}

fn is_shortage(error: &io::Error) -> bool {
    let shortages = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|number| shortages.contains(&number))
}

/// Sentences for the user, until somebody asks.
#[derive(Debug, Default)]
pub(super) struct Notices(Mutex<Vec<String>>);

impl Notices {
    /// Adds a sentence unless it has been said, or there are many.
    fn add(&self, sentence: String) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < NOTICES_MAX && !all.contains(&sentence) {
            all.push(sentence);
        }
    }

    /// All sentences, oldest first.
    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Connections that wait to be accepted: as many as are answered at a time; the kernel caps it at
/// `somaxconn`.
const BACKLOG: i32 = 1024;
/// Wait before the next accept(2) where there was no room, unless somebody leaves earlier.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Most notices that are kept.
const NOTICES_MAX: usize = 16;
