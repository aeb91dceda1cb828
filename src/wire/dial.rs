//! Dials: name, addresses, TCP, TLS, one wrap after the other.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use url::{Host, Url};

use super::client::{ClientBuilder, Family};
use super::conn::Conn;
use super::tls::Tls;
use crate::aside::aside;
use crate::error::{Error, Escaped, Kind, Result, reason};
use crate::fault;
use crate::limits::{ADDRESS_DELAY, ADDRESSES_MAX};

/// Connects to the URL's host. Dropping the future closes whatever is open.
///
/// # Errors
/// `Kind::Resolve`, `Kind::Connect` or `Kind::Tls`.
pub(super) async fn dial(
    url: &Url,
    tls: Option<Arc<ClientConfig>>,
    settings: &ClientBuilder,
) -> Result<Conn> {
    let whole = async {
        let addresses = resolve(url, settings.family).await?;
        let (tcp, remote) = connect(url, addresses).await?;
        let (tcp, tls) = match tls {
            Some(config) => {
                Tls::handshake(url, tcp, config).await.map(|(tcp, tls)| (tcp, Some(tls)))?
            }
            None => (tcp, None),
        };
        Ok(Conn::new(tcp, tls, remote))
    };
    match tokio::time::timeout(settings.connect_timeout, whole).await {
        Ok(done) => done,
        Err(_) => Err(cannot_connect(
            url,
            &format!("no connection within {}", show(settings.connect_timeout)),
        )
        .hint("raise --connect-timeout, or check that the server can be reached")),
    }
}

async fn resolve(url: &Url, family: Family) -> Result<Vec<SocketAddr>> {
    let port = url.port_or_known_default().unwrap_or(80);
    let found: Vec<SocketAddr> = match url.host() {
        Some(Host::Ipv4(address)) => vec![(address, port).into()],
        Some(Host::Ipv6(address)) => vec![(address, port).into()],
        Some(Host::Domain(name)) => look_up(name.to_owned(), port).await?,
        None => Vec::new(),
    };
    let usable: Vec<_> = found
        .iter()
        .copied()
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
        return Err(no_address(url.host_str().unwrap_or_default(), why));
    }
    Ok(interleave(&usable))
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

/// Alternates the families, beginning with the resolver's favourite (RFC 8305 section 4).
fn interleave(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first = addresses.first().map(SocketAddr::is_ipv6);
    let (ours, others): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.iter().copied().partition(|address| Some(address.is_ipv6()) == first);
    let mut others = others.into_iter();
    let mut mixed = Vec::with_capacity(addresses.len());
    for address in ours {
        mixed.push(address);
        mixed.extend(others.next());
    }
    mixed.extend(others);
    mixed.truncate(ADDRESSES_MAX);
    mixed
}

/// Happy eyeballs (RFC 8305 section 5): the next address starts when the last has failed or is slow to
/// answer.
async fn connect(url: &Url, addresses: Vec<SocketAddr>) -> Result<(TcpStream, SocketAddr)> {
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut last = None;
    loop {
        match waiting.next() {
            Some(address) => {
                attempts.push(async move {
                    let connected = match fault::check("connect") {
                        Ok(()) => TcpStream::connect(address).await,
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
                return Ok((tcp, address));
            }
            Ok(Some((address, Err(error)))) => last = Some((address, error)),
            Ok(None) | Err(_) => {}
        }
    }
    Err(match last {
        Some((address, error)) => refused(url, address, error),
        None => cannot_connect(url, "there is no address to try"),
    })
}

fn refused(url: &Url, address: SocketAddr, error: io::Error) -> Error {
    let failure = cannot_connect(url, &format!("{} ({address})", reason(&error)));
    let hint = match error.kind() {
        io::ErrorKind::ConnectionRefused => Some("is the server running, and the port right?"),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
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

fn show(time: Duration) -> String {
    crate::units::show_time(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_and_the_count_is_bounded() {
        let v6 = |n: u16| SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, n], 1));
        let v4 = |n: u8| SocketAddr::from(([10, 0, 0, n], 1));
        let mixed = interleave(&[v6(1), v6(2), v6(3), v4(1)]);
        assert_eq!(mixed, [v6(1), v4(1), v6(2), v6(3)]);
        let many: Vec<_> = (0..40).map(v4).collect();
        assert_eq!(interleave(&many).len(), ADDRESSES_MAX);
        assert!(interleave(&[]).is_empty());
    }
}
