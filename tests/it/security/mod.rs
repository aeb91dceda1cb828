//! What a hostile server, a planted file or a curious neighbour must not achieve.
//!
//! Each file holds one class: the origin or the directory is the attacker, the real program is the one
//! attacked, and the test looks at what was written, sent or shown. What a class needs of the inner parts is
//! beside those, as properties.

mod connections;
mod credentials;
mod escapes;
mod heads;
mod injection;
mod names;
mod planted;
mod planted_later;
mod traces;

use std::path::Path;

/// A secret that must not turn up where it is looked for.
const CANARY: &str = "c4nary-5ecret";

/// The files below `directory`, links not followed.
fn files_in(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The name of our own file beside a target: `part` or `ledger`.
fn beside(target: &Path, suffix: &str) -> std::path::PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let directory = target.parent().unwrap().canonicalize().unwrap();
    let mut hasher = blake3::Hasher::new();
    hasher.update(directory.as_os_str().as_bytes()).update(&[0]);
    hasher.update(target.file_name().unwrap().as_bytes());
    let hash = hasher.finalize().to_hex();
    directory.join(format!(".ringpull-{}.{suffix}", &hash[..24]))
}

/// Percent-encodes every byte that is no letter or digit.
fn encoded(bytes: &[u8]) -> String {
    let encode = |byte: &u8| match byte.is_ascii_alphanumeric() {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02x}"),
    };
    bytes.iter().map(encode).collect()
}
