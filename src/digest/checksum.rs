//! A digest as people write it: `sha256=ba7816bf…`.
//!
//! It computes nothing. Its invariant: a [`Checksum`] holds exactly as many bytes as its algorithm makes.

use std::fmt;
use std::str::FromStr;

/// A hash function that a file can be checked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algo {
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// SHA-512 (FIPS 180-4).
    Sha512,
    /// BLAKE3 with its usual 32 bytes.
    Blake3,
    /// SHA-1 (FIPS 180-4): finds accidents, not attackers.
    Sha1,
    /// MD5 (RFC 1321): finds accidents, not attackers.
    Md5,
}

impl Algo {
    const ALL: [Self; 5] = [Self::Sha256, Self::Sha512, Self::Blake3, Self::Sha1, Self::Md5];

    /// The name in `--checksum` and in reports, such as `sha256`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
            Self::Blake3 => "blake3",
            Self::Sha1 => "sha1",
            Self::Md5 => "md5",
        }
    }

    /// The length of a digest in bytes; in hex digits it is twice as long.
    pub fn digest_len(self) -> usize {
        match self {
            Self::Sha512 => 64,
            Self::Sha256 | Self::Blake3 => 32,
            Self::Sha1 => 20,
            Self::Md5 => 16,
        }
    }
}

impl FromStr for Algo {
    type Err = String;

    /// Reads a name in any case.
    ///
    /// # Errors
    /// A sentence for the user that lists the known names.
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|algo| algo.name().eq_ignore_ascii_case(text));
        known.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("unknown digest algorithm {text:?}: use one of {names}")
        })
    }
}

/// The digest of a file, and the algorithm that made it.
///
/// ```
/// let text = "md5=900150983cd24fb0d6963f7d28e17f72";
/// let checksum: ringpull::Checksum = text.parse()?;
/// assert_eq!(checksum.to_string(), text);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Checksum {
    algo: Algo,
    bytes: Box<[u8]>,
}

impl Checksum {
    /// A digest that was computed; `bytes` has the length of the algorithm.
    pub(crate) fn new(algo: Algo, bytes: &[u8]) -> Self {
        assert_eq!(bytes.len(), algo.digest_len(), "a digest has the length of its algorithm");
        Self { algo, bytes: bytes.into() }
    }

    /// The algorithm that makes this digest.
    pub fn algo(&self) -> Algo {
        self.algo
    }

    /// The digest itself, [`Algo::digest_len`] bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl FromStr for Checksum {
    type Err = String;

    /// Reads `ALGO=HEX` or `ALGO:HEX`, in any case.
    ///
    /// # Errors
    /// A sentence for the user: unknown algorithm, wrong length, or no hex digits.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, hex)) = text.trim().split_once(['=', ':']) else {
            return Err(format!("{text:?} names no algorithm: write ALGO=HEX, such as sha256=HEX"));
        };
        let algo: Algo = name.trim().parse()?;
        let digits = hex.trim().as_bytes();
        if let Some(wrong) = digits.iter().find(|digit| !digit.is_ascii_hexdigit()) {
            return Err(format!("{:?} is not a hex digit", char::from(*wrong)));
        }
        let (wanted, found) = (algo.digest_len() * 2, digits.len());
        if found != wanted {
            return Err(format!("a {} digest has {wanted} hex digits, not {found}", algo.name()));
        }
        let bytes = digits.chunks_exact(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1]));
        Ok(Self { algo, bytes: bytes.collect() })
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}=", self.algo.name())?;
        self.bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Checksum({self})")
    }
}

/// The value of one hex digit, which the caller has checked to be one.
fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_reads_with_either_separator_in_any_case() {
        let shown = "md5=900150983cd24fb0d6963f7d28e17f72";
        for text in [
            shown,
            "MD5:900150983CD24FB0D6963F7D28E17F72",
            " md5 = 900150983cd24fb0d6963F7d28e17f72\n",
        ] {
            let read: Checksum = text.parse().unwrap();
            assert_eq!((read.algo(), read.bytes().len()), (Algo::Md5, 16));
            assert_eq!(read.to_string(), shown);
        }
    }

    #[test]
    fn every_algorithm_is_known_by_its_name() {
        for algo in Algo::ALL {
            assert_eq!(algo.name().parse(), Ok(algo));
            let text = format!("{}={}", algo.name(), "0f".repeat(algo.digest_len()));
            assert_eq!(text.parse::<Checksum>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_wrong_checksum_is_told_what_is_wrong() {
        let cases = [
            ("900150983cd24fb0d6963f7d28e17f72", "write ALGO=HEX"),
            ("crc32=00000000", "sha256, sha512, blake3, sha1, md5"),
            ("sha256=00", "64 hex digits, not 2"),
            ("sha1=", "40 hex digits, not 0"),
            ("md5=900150983cd24fb0d6963f7d28e17f7g", "'g' is not a hex digit"),
            ("md5=900150983cd24fb0d6963f7d28e17f7\u{e9}", "is not a hex digit"),
            ("", "write ALGO=HEX"),
        ];
        for (text, sentence) in cases {
            let error = text.parse::<Checksum>().unwrap_err();
            assert!(error.contains(sentence), "{text:?}: {error}");
        }
    }
}
