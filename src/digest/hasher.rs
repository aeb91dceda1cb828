//! The hash functions behind one verb: bytes in, in order, and a checksum out.
//!
//! It reads no file and starts no thread; whoever has the bytes in memory uses it on its own thread.

use sha2::Digest as _;

use super::{Algo, Checksum};

/// A digest in the making.
#[derive(Debug)]
pub(crate) enum Hasher {
    /// SHA-256.
    Sha256(sha2::Sha256),
    /// SHA-512.
    Sha512(sha2::Sha512),
    /// BLAKE3, boxed because its state of about 2 KiB is many times the others'.
    Blake3(Box<blake3::Hasher>),
    /// SHA-1.
    Sha1(sha1::Sha1),
    /// MD5.
    Md5(md5::Md5),
}

impl Hasher {
    /// A hasher that has seen no byte yet.
    pub(crate) fn new(algo: Algo) -> Self {
        match algo {
            Algo::Sha256 => Self::Sha256(sha2::Sha256::new()),
            Algo::Sha512 => Self::Sha512(sha2::Sha512::new()),
            Algo::Blake3 => Self::Blake3(Box::default()),
            Algo::Sha1 => Self::Sha1(sha1::Sha1::new()),
            Algo::Md5 => Self::Md5(md5::Md5::new()),
        }
    }

    /// Adds the bytes that follow all bytes added before.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(state) => state.update(bytes),
            Self::Sha512(state) => state.update(bytes),
            Self::Blake3(state) => {
                state.update(bytes);
            }
            Self::Sha1(state) => state.update(bytes),
            Self::Md5(state) => state.update(bytes),
        }
    }

    /// The digest of all bytes added.
    pub(crate) fn finish(self) -> Checksum {
        match self {
            Self::Sha256(state) => Checksum::new(Algo::Sha256, &state.finalize()),
            Self::Sha512(state) => Checksum::new(Algo::Sha512, &state.finalize()),
            Self::Blake3(state) => Checksum::new(Algo::Blake3, state.finalize().as_bytes()),
            Self::Sha1(state) => Checksum::new(Algo::Sha1, &state.finalize()),
            Self::Md5(state) => Checksum::new(Algo::Md5, &state.finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published digests of the empty string and of `abc`.
    const VECTORS: [(&str, &str); 10] = [
        ("", "sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "sha256=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "",
            "sha512=cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
             47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
        ),
        (
            "abc",
            "sha512=ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
        ("", "blake3=af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        ("abc", "blake3=6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
        ("", "sha1=da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ("abc", "sha1=a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("", "md5=d41d8cd98f00b204e9800998ecf8427e"),
        ("abc", "md5=900150983cd24fb0d6963f7d28e17f72"),
    ];

    #[test]
    fn known_bytes_have_their_published_digests() {
        for (text, digest) in VECTORS {
            let wanted: Checksum = digest.parse().unwrap();
            let mut hasher = Hasher::new(wanted.algo());
            hasher.update(text.as_bytes());
            assert_eq!(hasher.finish(), wanted);
        }
    }

    #[test]
    fn the_cuts_between_updates_do_not_matter() {
        for (text, digest) in VECTORS {
            let wanted: Checksum = digest.parse().unwrap();
            let mut hasher = Hasher::new(wanted.algo());
            for byte in text.bytes() {
                hasher.update(&[byte]);
                hasher.update(&[]);
            }
            assert_eq!(hasher.finish(), wanted);
        }
    }
}
