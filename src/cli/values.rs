//! Reads single values of options: text in, checked value or a sentence out.
//!
//! Not here: what several options mean together.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::digest::Checksum;
use crate::limits;
use crate::options::{Connections, IoChoice, Write};
use crate::units::{parse_size, show_size};

/// Reads `auto` or a number from 1 to [`limits::CONNECTIONS_MAX`].
pub(crate) fn connections(text: &str) -> Result<Connections, String> {
    if text == "auto" {
        return Ok(Connections::Auto);
    }
    number(text, limits::CONNECTIONS_MAX)
        .map(Connections::Exactly)
        .ok_or_else(|| format!("write auto or a number from 1 to {}", limits::CONNECTIONS_MAX))
}

/// Reads a number from 1 to [`limits::THREADS_MAX`].
pub(crate) fn threads(text: &str) -> Result<NonZeroU16, String> {
    number(text, limits::THREADS_MAX)
        .ok_or_else(|| format!("write a number from 1 to {}", limits::THREADS_MAX))
}

/// Reads a power of two from [`limits::BLOCK_SIZE_MIN`] to [`limits::BLOCK_SIZE_MAX`].
pub(crate) fn block_size(text: &str) -> Result<u64, String> {
    let (min, max) = (limits::BLOCK_SIZE_MIN, limits::BLOCK_SIZE_MAX);
    let size = parse_size(text)?;
    if size.is_power_of_two() && (min..=max).contains(&size) {
        Ok(size)
    } else {
        Err(format!("write a power of two from {} to {}", show_size(min), show_size(max)))
    }
}

/// Reads a rate in bytes per second, more than zero.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    match parse_size(text.trim().trim_end_matches("/s"))? {
        0 => Err("write a rate above 0, or leave the option out".into()),
        rate => Ok(rate),
    }
}

/// Reads requests a second, and gives the time from one to the next.
pub(crate) fn request_gap(text: &str) -> Result<Duration, String> {
    let usage = || "write a number from 0.001 to 100000".to_owned();
    let number: f64 = text.trim().parse().map_err(|_| usage())?;
    (0.001..=100_000.0)
        .contains(&number)
        .then(|| Duration::from_secs_f64(1.0 / number))
        .ok_or_else(usage)
}

/// Reads `ALGO=HEX` or `ALGO:HEX`.
pub(crate) fn checksum(text: &str) -> Result<Checksum, String> {
    text.trim().parse()
}

/// The addresses of a host and port, as `--resolve` gives them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pinned {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) addresses: Vec<IpAddr>,
}

/// Reads `HOST:PORT:ADDR[,ADDR...]`; addresses of IPv6 may stand in brackets, as curl has them.
pub(crate) fn pinned(text: &str) -> Result<Pinned, String> {
    let usage = "write HOST:PORT:ADDR[,ADDR]";
    // A literal address of IPv6 as the host holds colons of its own.
    let after_host =
        if text.starts_with('[') { text.find(']').map_or(0, |end| end + 1) } else { 0 };
    let (host, rest) = text[after_host..].split_once(':').ok_or(usage)?;
    let host = format!("{}{host}", &text[..after_host]);
    let (port, addresses) = rest.split_once(':').ok_or(usage)?;
    let port: u16 = port.parse().map_err(|_| format!("{port} is no port; {usage}"))?;
    let address = |text: &str| {
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        bare.parse().map_err(|_| format!("{text} is no address; {usage}"))
    };
    let addresses = addresses.split(',').map(address).collect::<Result<_, _>>()?;
    if host.is_empty() {
        return Err(usage.into());
    }
    Ok(Pinned { host, port, addresses })
}

/// Reads a way to write.
pub(crate) fn write() -> impl TypedValueParser<Value = Write> {
    PossibleValuesParser::new(["auto", "direct", "buffered", "mmap", "discard"]).map(|name| {
        match name.as_str() {
            "direct" => Write::Direct,
            "buffered" => Write::Buffered,
            "mmap" => Write::Mmap,
            "discard" => Write::Discard,
            _ => Write::Auto,
        }
    })
}

/// Reads a kernel interface.
pub(crate) fn io() -> impl TypedValueParser<Value = IoChoice> {
    PossibleValuesParser::new(["auto", "uring", "epoll"]).map(|name| match name.as_str() {
        "uring" => IoChoice::Uring,
        "epoll" => IoChoice::Epoll,
        _ => IoChoice::Auto,
    })
}

fn number(text: &str, max: u16) -> Option<NonZeroU16> {
    text.parse().ok().filter(|number: &NonZeroU16| number.get() <= max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stay_within_their_limits() {
        assert_eq!(connections("auto"), Ok(Connections::Auto));
        assert_eq!(connections("256"), Ok(Connections::exactly(256)));
        for text in ["0", "257", "-1", "many", "", "99999999999"] {
            assert!(connections(text).is_err(), "{text}");
        }
        assert_eq!(threads("64").map(NonZeroU16::get), Ok(64));
        assert!(threads("65").is_err() && threads("0").is_err());
    }

    #[test]
    fn a_block_is_a_power_of_two_within_its_limits() {
        assert_eq!(block_size("1M"), Ok(1 << 20));
        assert_eq!(block_size("4k"), Ok(limits::BLOCK_SIZE_MIN));
        assert_eq!(block_size("64MiB"), Ok(limits::BLOCK_SIZE_MAX));
        for text in ["2k", "128M", "3M", "0", "4097", "x"] {
            assert!(block_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_are_pinned_as_curl_has_it() {
        let read = |text: &str| pinned(text).map(|pinned| (pinned.host, pinned.port));
        assert_eq!(read("h.test:80:127.0.0.1"), Ok(("h.test".into(), 80)));
        assert_eq!(read("[::1]:80:127.0.0.1"), Ok(("[::1]".into(), 80)));
        let both = pinned("h:443:[::1],10.0.0.1,fe80::2").unwrap().addresses;
        assert_eq!(both.iter().filter(|address| address.is_ipv6()).count(), 2);
        for text in
            ["", "h", "h:80", "h:x:1.2.3.4", "h:80:", "h:80:name", "h:80:1.2.3.4,", ":80:1.2.3.4"]
        {
            assert!(pinned(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rate_of_zero_is_refused() {
        assert_eq!(rate("10M/s"), Ok(10 << 20));
        assert!(rate("0").is_err());
    }
}
