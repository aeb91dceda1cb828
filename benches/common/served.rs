//! Files served by `ringpull serve` in a process of its own, so that what the bench's process uses is the
//! client's.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running server. Dropping it ends the process.
pub(crate) struct Served {
    child: Child,
    address: SocketAddr,
    /// Certificate and key, both PEM files, where it speaks TLS.
    tls: Option<(PathBuf, PathBuf)>,
}

impl Served {
    /// Serves a directory on a free port of loopback.
    pub(crate) fn start(dir: &Path, tls: Option<(PathBuf, PathBuf)>) -> Self {
        let mut serve = Command::new(env!("CARGO_BIN_EXE_ringpull"));
        serve.args(["serve", "--listen", "127.0.0.1:0"]).arg(dir);
        if let Some((certificate, key)) = &tls {
            serve.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        let mut child = serve.stdout(Stdio::piped()).spawn().expect("a server on loopback");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("a piped output"));
        out.read_line(&mut line).expect("a server that says where it listens");
        let address = line.trim_end().trim_end_matches('/').rsplit('/').next();
        let address = address.and_then(|address| address.parse().ok());
        let Some(address) = address else { panic!("the server says {line:?}") };
        Self { child, address, tls }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a file in the directory.
    pub(crate) fn url(&self, name: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/{name}", self.address)
    }

    /// The certificate to trust, a PEM file.
    pub(crate) fn certificate(&self) -> Option<&Path> {
        self.tls.as_ref().map(|(certificate, _)| certificate.as_path())
    }

    /// Makes a file to serve, of bytes that occur at no other place.
    pub(crate) fn make(path: &Path, size: u64) {
        let mut file = File::create(path).expect("the served file");
        let (mut random, mut bytes) = (fastrand::Rng::with_seed(size), vec![0; 1 << 20]);
        let mut left = size;
        while left > 0 {
            random.fill(&mut bytes);
            let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.write_all(&bytes[..count]).expect("room for the served file");
            left -= count as u64;
        }
        // Its own way to the disk must not compete with what is measured.
        file.sync_all().expect("the served file on disk");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether two files hold the same bytes.
pub(crate) fn same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut here, mut there) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = one.read(&mut here)?;
        if count == 0 {
            return Ok(true);
        }
        other.read_exact(&mut there[..count])?;
        if here[..count] != there[..count] {
            return Ok(false);
        }
    }
}
