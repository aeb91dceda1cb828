//! Dials: name, addresses, TCP, TLS, one wrap after the other.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::ClientConfig;
use tokio::net::{TcpSocket, TcpStream};
use url::{Host, Url};

use super::addresses::{Experience, Name};
use super::builder::{ClientBuilder, Family};
use super::conn::Conn;
use super::tls::Tls;
use crate::aside::aside;
use crate::error::{Error, Escaped, Kind, Result, reason};
use crate::fault;
use crate::limits::ADDRESS_DELAY;
use crate::units::show_time;

/// Where to dial, and what is known of it.
pub(super) struct Dial<'a> {
    pub(super) url: &'a Url,
    pub(super) settings: &'a ClientBuilder,
    pub(super) experience: &'a Experience,
    /// The receive buffer in bytes; `None` leaves it to the kernel.
    pub(super) receive_buffer: Option<u64>,
}

impl Dial<'_> {
    /// The host and port that the experience is of.
    pub(super) fn name(&self) -> Name {
        let host = self.url.host_str().unwrap_or_default();
        (host.to_owned(), self.url.port_or_known_default().unwrap_or(80))
    }
}

/// Connects to the URL's host. Dropping the future closes whatever is open.
///
/// # Errors
/// `Kind::Resolve`, `Kind::Connect` or `Kind::Tls`.
pub(super) async fn dial(dial: &Dial<'_>, tls: Option<Arc<ClientConfig>>) -> Result<Conn> {
    let Dial { url, settings, experience, .. } = *dial;
    // The address that let us connect, while nothing more is known of it.
    let open = Cell::new(None);
    let whole = async {
        let name = dial.name();
        let found = resolve(&name, dial).await?;
        let (tcp, remote) = connect(dial, &name, experience.order(&name, &found)).await?;
        open.set(Some(remote));
        let (tcp, tls) = match tls {
            Some(config) => {
                Tls::handshake(url, tcp, config).await.map(|(tcp, tls)| (tcp, Some(tls)))?
            }
            None => (tcp, None),
        };
        open.set(None);
        Ok(Conn::new(tcp, tls, remote))
    };
    let done = match tokio::time::timeout(settings.connect_timeout, whole).await {
        Ok(done) => done,
        Err(_) => Err(cannot_connect(
            url,
            &format!("no connection within {}", show_time(settings.connect_timeout)),
        )
        .hint("raise --connect-timeout, or check that the server can be reached")),
    };
    if let (Err(_), Some(address)) = (&done, open.get()) {
        // It let us connect and then did not shake hands: another one may.
        experience.failed(&dial.name(), address);
    }
    done
}

async fn resolve(name: &Name, dial: &Dial<'_>) -> Result<Vec<SocketAddr>> {
    let (host, port) = name;
    let found: Vec<SocketAddr> = match (dial.settings.pinned.get(name), dial.url.host()) {
        (Some(pinned), _) => pinned.iter().map(|address| (*address, *port).into()).collect(),
        (None, Some(Host::Ipv4(address))) => vec![(address, *port).into()],
        (None, Some(Host::Ipv6(address))) => vec![(address, *port).into()],
        (None, Some(Host::Domain(domain))) => look_up(domain.to_owned(), *port).await?,
        (None, None) => Vec::new(),
    };
    let family = dial.settings.family;
    let usable: Vec<_> = found
        .into_iter()
        .filter(|address| match family {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        })
        .collect();
    if usable.is_empty() {
        let why = match family {
            Family::Any => "the name has no address",
            Family::V4 => "it has no IPv4 address, and -4 asks for one",
            Family::V6 => "it has no IPv6 address, and -6 asks for one",
        };
        return Err(no_address(host, why));
    }
    Ok(usable)
}

/// Asks the system's resolver, which cannot be interrupted: on a thread that nothing waits for.
async fn look_up(name: String, port: u16) -> Result<Vec<SocketAddr>> {
    aside(move || {
        let found = (name.as_str(), port).to_socket_addrs();
        let found = found.map_err(|error| no_address(&name, &reason(&error)).because(error))?;
        Ok(found.collect())
    })
    .await
}

/// Happy eyeballs (RFC 8305 section 5): the next address starts when the last has failed or is slow to
/// answer. The slow ones stay in the race.
async fn connect(
    dial: &Dial<'_>,
    name: &Name,
    addresses: Vec<SocketAddr>,
) -> Result<(TcpStream, SocketAddr)> {
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut last = None;
    loop {
        match waiting.next() {
            Some(address) => {
                attempts.push(async move {
                    let connected = match fault::check("connect") {
                        Ok(()) => open(address, dial.receive_buffer).await,
                        Err(error) => Err(error),
                    };
                    (address, connected)
                });
            }
            None if attempts.is_empty() => break,
            None => {}
        }
        let patience = if waiting.len() > 0 { ADDRESS_DELAY } else { Duration::MAX };
        match tokio::time::timeout(patience, attempts.next()).await {
            Ok(Some((address, Ok(tcp)))) => {
                // Best effort: a request is one small segment either way.
                let _ = tcp.set_nodelay(true);
                dial.experience.worked(name, address);
                return Ok((tcp, address));
            }
            Ok(Some((address, Err(error)))) => {
                if !is_ours(&error) {
                    dial.experience.failed(name, address);
                }
                last = Some((address, error));
            }
            Ok(None) | Err(_) => {}
        }
    }
    Err(match last {
        Some((address, error)) => refused(dial.url, address, error),
        None => cannot_connect(dial.url, "there is no address to try"),
    })
}

/// One attempt. The size of the buffer must be known before: the handshake announces the window.
async fn open(address: SocketAddr, receive_buffer: Option<u64>) -> io::Result<TcpStream> {
    let make = || match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = make()?;
    let wanted = receive_buffer.map_or(0, |bytes| u32::try_from(bytes).unwrap_or(u32::MAX));
    if wanted == 0 {
        return socket.connect(address).await;
    }
    let granted = socket.set_recv_buffer_size(wanted).and_then(|()| socket.recv_buffer_size());
    // The kernel doubles what it is given, for its own books, and stops at net.core.rmem_max (socket(7)). Too
    // small a buffer would slow the connection down for good; one that nobody has set grows as need be.
    match granted {
        Ok(granted) if granted / 2 >= wanted => socket.connect(address).await,
        _ => make()?.connect(address).await,
    }
}

/// Whether this machine has run out of what another connection needs: descriptors, ports, memory.
pub(crate) fn has_run_out(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    error.kind() == Kind::Connect && source.is_some_and(is_ours)
}

/// Whether this machine is out of something, so that the failure says nothing of the address.
fn is_ours(error: &io::Error) -> bool {
    let out_of = [libc::EMFILE, libc::ENFILE, libc::EADDRNOTAVAIL, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|number| out_of.contains(&number))
}

fn refused(url: &Url, address: SocketAddr, error: io::Error) -> Error {
    let failure = cannot_connect(url, &format!("{} ({address})", reason(&error)));
    let hint = match (error.raw_os_error(), error.kind()) {
        (Some(libc::EMFILE), _) => Some("allow more open files with `ulimit -n`"),
        (Some(libc::ENFILE | libc::ENOBUFS | libc::ENOMEM), _) => {
            Some("this machine has run out of it; close something else, or ask for less")
        }
        (Some(libc::EADDRNOTAVAIL), _) => {
            Some("no local port or address is free; use fewer --connections, or wait a minute")
        }
        (_, io::ErrorKind::ConnectionRefused) => Some("is the server running, and the port right?"),
        (_, io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
            Some("check the network, or try -4 or -6")
        }
        _ => None,
    };
    let failure = failure.because(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn cannot_connect(url: &Url, why: &str) -> Error {
    let host = Escaped(url.host_str().unwrap_or_default());
    let port = url.port_or_known_default().unwrap_or(80);
    Error::new(Kind::Connect, format!("cannot connect to {host} port {port}: {why}"))
}

fn no_address(name: &str, why: &str) -> Error {
    let why = why.strip_prefix("failed to lookup address information: ").unwrap_or(why);
    Error::new(Kind::Resolve, format!("cannot resolve {}: {}", Escaped(name), Escaped(why)))
        .hint("check the host name and the network")
}
