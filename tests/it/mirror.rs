//! `ringpull mirror` from outside: the real binary, lists of every kind, and a scripted origin.

mod again;
mod changes;
mod coded;
mod dedupe;
mod ends;
mod gone;
mod hosts;
mod http2;
mod indexes;
mod kills;
mod linking;
mod lists;
mod nginx;
mod papers;
mod pipelines;
mod readers;
mod room;
mod rough;
mod runner;
mod shared;
mod streams;
mod stretches;
mod syncs;
mod tls;
mod verify;
mod walks;
mod wrong;

use sha2::Digest as _;

use crate::origin::{File, Origin, Running};

/// So many small files in a few directories, some of them empty.
pub(crate) fn files(count: u64) -> Vec<(String, File)> {
    let file = |at: u64| {
        let path = format!("d{}/e{}/f{at}.bin", at % 3, at % 2);
        (path, File::new(at * 1237 % 9001).seed(at + 1))
    };
    (0..count).map(file).collect()
}

/// An origin that serves them honestly.
pub(crate) fn origin_of(files: &[(String, File)]) -> Origin {
    let serve =
        |origin: Origin, (path, file): &(String, File)| origin.file(&format!("/{path}"), *file);
    files.iter().fold(Origin::new(), serve)
}

/// A table with address, path, size and digest.
pub(crate) fn table(origin: &Running, files: &[(String, File)]) -> String {
    let line = |(path, file): &(String, File)| {
        format!("{}\t{path}\t{}\t{}\n", origin.url(&format!("/{path}")), file.size, sha256(file))
    };
    format!("url\tpath\tsize\tsha256\n{}", files.iter().map(line).collect::<String>())
}

/// A table with address and path, and nothing to tell whether a file is right.
pub(crate) fn bare_table(origin: &Running, files: &[(String, File)]) -> String {
    let line =
        |(path, _): &(String, File)| format!("{}\t{path}\n", origin.url(&format!("/{path}")));
    format!("url\tpath\n{}", files.iter().map(line).collect::<String>())
}

pub(crate) fn sha256(file: &File) -> String {
    hex(&sha2::Sha256::digest(file.whole()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
