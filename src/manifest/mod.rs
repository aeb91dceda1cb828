//! Reads the lists of files that users and servers have, whatever their form, into entries.
//!
//! It opens nothing, fetches nothing and keeps nothing: one record is in memory at a time, and each is handed
//! on as it is read. Invariant: every record comes out once, as an entry whose path stays beneath its root,
//! or as a bad line that says why; and a list that ends too early is an error after what was read of it.

mod coding;
mod fields;
mod filter;
mod guess;
mod index;
mod json;
mod lines;
mod list;
mod metalink;
mod path;
mod stretches;
mod sums;
mod table;
mod time;

#[cfg(test)]
mod tests;

use std::io::{self, BufReader, Read};
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use url::Url;

use crate::digest::{Checksum, Stretches};
use crate::error::{Error, Escaped, Kind, Result};
use crate::limits::MANIFEST_READ_BYTES;

pub(crate) use filter::Filter;
pub(crate) use index::{Link, Listing, links};
pub(crate) use json::write_line;
pub(crate) use path::check as check_path;

use coding::plain;
use fields::Context;
use lines::Lines;

/// One wanted file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where it belongs: relative, components between `/`, none of them empty, `.` or `..`.
    pub(crate) path: String,
    /// Where it is: http or https, no credentials, no fragment. The first is the main one, never missing.
    pub(crate) urls: Vec<Url>,
    /// Its size in bytes, where the list tells.
    pub(crate) size: Option<u64>,
    /// The strongest of its digests, where the list tells.
    pub(crate) checksum: Option<Checksum>,
    /// The digests of its stretches, where the list tells.
    pub(crate) stretches: Option<Arc<Stretches>>,
    /// When it was last modified, where the list tells.
    pub(crate) modified: Option<SystemTime>,
    /// The line of the list that names it, from 1; of an index, the number of its link.
    pub(crate) line: u64,
}

impl Entry {
    /// What its bytes are held against: the digest of the whole, else one of the digests of its stretches,
    /// which stands for them in what a run remembers and is no digest of the bytes.
    pub(crate) fn wanted(&self) -> Option<Checksum> {
        let mark = || self.stretches.as_ref().map(|stretches| stretches.mark());
        self.checksum.clone().or_else(mark)
    }
}

/// A record that is no entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    /// The line of the list, from 1; of an index, the number of its link.
    pub(crate) line: u64,
    /// The path that it names, if it names one that can be.
    pub(crate) path: Option<String>,
    /// What is wrong with it, for people; remote text in it is escaped.
    pub(crate) why: String,
}

/// What a record turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A file to have.
    Entry(Entry),
    /// A record that counts as failed.
    Bad(BadLine),
    /// Something that the next record says and that is not used; it counts for nothing.
    Doubt(BadLine),
}

/// The forms of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A header and records, with tabs between cells and no quotes.
    Tsv,
    /// A header and records, with commas between cells (RFC 4180), one record a line.
    Csv,
    /// A JSON object a line, with the same names as the columns of a table.
    Jsonl,
    /// An address a line.
    List,
    /// An input file of aria2: the addresses of one file a line, and indented options below.
    Aria2,
    /// What sha256sum and its kin write, in the form of GNU or of BSD.
    Sums,
    /// Metalink 4 (RFC 5854), and its predecessor 3.
    Metalink,
    /// A directory index of an HTTP server, in HTML or JSON.
    Index,
}

impl FromStr for Format {
    type Err = String;

    /// Reads a name of `--format`.
    ///
    /// # Errors
    /// A sentence for the user that lists the known names.
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "tsv" => Self::Tsv,
            "csv" => Self::Csv,
            "jsonl" => Self::Jsonl,
            "list" => Self::List,
            "aria2" => Self::Aria2,
            "sha256sums" | "sha512sums" | "sha1sums" | "md5sums" | "sums" => Self::Sums,
            "metalink" => Self::Metalink,
            "index" => Self::Index,
            _ => {
                let names = "tsv, csv, jsonl, list, aria2, sha256sums, metalink, index";
                return Err(format!("unknown format {text:?}: use one of {names}"));
            }
        })
    }
}

/// Takes what is found, one record after the other.
type Each<'a> = dyn FnMut(Found) -> Result<()> + 'a;

/// Reads a list, which may be under gzip or zstd, and hands each record to `each` as it comes.
///
/// `name` is what the user or the server calls the list; its ending says something about the form, and the
/// contents the rest, unless `format` says it all. Relative addresses and bare names are looked for in
/// `base`, which is a directory whether it ends in a slash or not: for a list that was fetched, its URL
/// without the last component.
///
/// # Errors
/// [`Kind::LocalIo`] if the input cannot be read to its end or is damaged; what came before was handed on.
/// [`Kind::Usage`] if it cannot be a list of this form, or one that needs a base has none. Whatever `each`
/// returns.
pub(crate) fn read(
    input: impl Read,
    name: &str,
    format: Option<Format>,
    base: Option<&Url>,
    each: &mut Each<'_>,
) -> Result<()> {
    let mut input = plain(input).map_err(|source| unreadable(name, source))?;
    let (start, broken) = guess::start(&mut input);
    let format = format.unwrap_or_else(|| guess::format(name, &start));
    let input = io::Cursor::new(start).chain(broken).chain(input);
    let input = BufReader::with_capacity(MANIFEST_READ_BYTES, input);
    let context = Context::new(base)?;
    match format {
        Format::Metalink => metalink::read(input, name, &context, each),
        Format::Index => index::read(input, name, base, each),
        Format::Tsv => table::read(Lines::new(input, name), '\t', &context, each),
        Format::Csv => table::read(Lines::new(input, name), ',', &context, each),
        Format::Jsonl => json::read(Lines::new(input, name), &context, each),
        Format::List => list::read_plain(Lines::new(input, name), &context, each),
        Format::Aria2 => list::read_aria2(Lines::new(input, name), &context, each),
        Format::Sums => sums::read(Lines::new(input, name), name, &context, each),
    }
}

/// The input cannot be read to its end.
fn unreadable(name: &str, source: io::Error) -> Error {
    let name = Escaped(name);
    let error = if source.kind() == io::ErrorKind::UnexpectedEof {
        Error::new(Kind::LocalIo, format!("the list {name} is cut off"))
    } else {
        let reason = source.to_string();
        Error::new(Kind::LocalIo, format!("cannot read the list {name}: {}", Escaped(&reason)))
    };
    error.because(source)
}
