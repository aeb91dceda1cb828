//! Reads single values of options: text in, checked value or a sentence out.
//!
//! Not here: what several options mean together.

use std::num::NonZeroU16;

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

/// Reads `ALGO=HEX` or `ALGO:HEX`.
pub(crate) fn checksum(text: &str) -> Result<Checksum, String> {
    text.trim().parse()
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
    fn a_rate_of_zero_is_refused() {
        assert_eq!(rate("10M/s"), Ok(10 << 20));
        assert!(rate("0").is_err());
    }
}
