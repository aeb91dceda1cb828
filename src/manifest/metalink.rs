//! Metalink 4 (RFC 5854) and its predecessor 3, one file after the other.
//!
//! Digests of stretches, its `pieces`, go with the file where they make sense. Invariant: a document that is
//! not well-formed, or ends before its root element does, is an error after the files that were whole.

use std::io::{self, BufRead, Read};

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::fields::{Context, Fields};
use super::list::bad;
use super::stretches::{Best, Gathering};
use super::{Each, unreadable};
use crate::error::{Error, Escaped, Kind, Result};
use crate::limits::MANIFEST_LINE_BYTES_MAX;
use crate::units::wide;

/// Elements within each other that we follow; those of Metalink 3 need six.
const DEPTH_MAX: usize = 64;
/// The rank of an address without a priority: behind all others (RFC 5854 section 4.2.16).
const RANK_LAST: u32 = 1_000_000;

/// An element that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    File,
    /// Of the file as a whole.
    Hash,
    Size,
    Url,
    /// Digests of its stretches.
    Stretches,
    /// Of a stretch.
    StretchHash,
    Other,
}

/// A file whose element is open.
#[derive(Default)]
struct File {
    line: u64,
    fields: Fields,
    /// Addresses with their ranks; lower ones come first.
    urls: Vec<(u32, String)>,
    /// Bytes that were kept of it, but for the digests of its stretches.
    length: usize,
    /// A set whose element is open.
    gathering: Option<Gathering>,
    stretches: Best,
}

impl File {
    fn tell(mut self, context: &Context, each: &mut Each<'_>) -> Result<()> {
        if self.length > MANIFEST_LINE_BYTES_MAX {
            return each(bad(self.line, "the file has more than 1 MiB of addresses and hashes"));
        }
        self.urls.sort_by_key(|(rank, _)| *rank);
        self.fields.urls = self.urls.into_iter().map(|(_, url)| url).collect();
        context.tell(self.line, &self.fields, self.stretches, each)
    }
}

/// What is open of a document.
#[derive(Default)]
struct Document {
    open: Vec<Open>,
    has_root: bool,
    file: Option<File>,
    /// The text of the innermost element.
    text: String,
    /// The algorithm of a hash, and the rank of an address.
    algo: String,
    rank: Option<u32>,
    /// Which stretch a digest says that it is of.
    number: Option<String>,
}

/// Reads the files of a document.
///
/// # Errors
/// [`Kind::Usage`] if it is no Metalink.
pub(super) fn read(
    input: impl BufRead,
    name: &str,
    context: &Context,
    each: &mut Each<'_>,
) -> Result<()> {
    let mut reader = Reader::from_reader(Counted { input, lines: 1, taken: 0 });
    let mut buffer = Vec::new();
    let mut document = Document::default();
    loop {
        buffer.clear();
        reader.get_mut().taken = 0;
        let event = reader.read_event_into(&mut buffer);
        let line = reader.get_ref().lines;
        match event.map_err(|error| wrong(name, line, error))? {
            Event::Start(tag) => {
                document.start(&tag, line).map_err(|error| wrong(name, line, error))?;
            }
            Event::Empty(tag) => {
                document.start(&tag, line).map_err(|error| wrong(name, line, error))?;
                document.end(context, each)?;
            }
            Event::End(_) => document.end(context, each)?,
            Event::Text(text) => document.push(&text.xml10_content()),
            Event::CData(text) => document.push(&text.xml10_content()),
            Event::GeneralRef(entity) => {
                let char =
                    resolve(&entity).ok_or_else(|| malformed(name, line, "an unknown entity"))?;
                document.push(&char);
            }
            Event::Eof if document.open.is_empty() && document.has_root => return Ok(()),
            Event::Eof if document.has_root => {
                return Err(unreadable(name, io::ErrorKind::UnexpectedEof.into()));
            }
            Event::Eof => return Err(malformed(name, line, "no element `metalink`")),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

fn wrong(name: &str, line: u64, error: quick_xml::Error) -> Error {
    match error {
        quick_xml::Error::Io(error) => unreadable(name, io::Error::new(error.kind(), error)),
        other => malformed(name, line, &other.to_string()),
    }
}

fn malformed(name: &str, line: u64, why: &str) -> Error {
    let (name, why) = (Escaped(name), Escaped(why));
    Error::new(Kind::Usage, format!("the list {name} is no Metalink from line {line} on: {why}"))
}

/// What an entity stands for.
fn resolve(entity: &BytesRef<'_>) -> Option<String> {
    match entity.resolve_char_ref() {
        Ok(Some(char)) => Some(char.into()),
        Ok(None) => resolve_predefined_entity(&entity.xml10_content()).map(String::from),
        Err(_) => None,
    }
}

/// The value of an attribute, if it is there.
fn attribute(tag: &BytesStart<'_>, name: &str) -> quick_xml::Result<Option<String>> {
    let found = tag.try_get_attribute(name)?;
    let value = found.map(|found| found.normalized_value(XmlVersion::Implicit1_0)).transpose()?;
    Ok(value.map(|value| value.into_owned()))
}

impl Document {
    fn start(&mut self, tag: &BytesStart<'_>, line: u64) -> quick_xml::Result<()> {
        let syntax = |why: &str| quick_xml::Error::Io(io::Error::other(why).into());
        let name = tag.local_name();
        let name = name.into_inner();
        if self.open.is_empty() && (name != "metalink" || self.has_root) {
            return Err(syntax("its root is no element `metalink`"));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(syntax("its elements are too deep within each other"));
        }
        self.has_root = true;
        self.text.clear();
        let open = match name {
            "file" if self.file.is_none() => {
                let fields = Fields { path: attribute(tag, "name")?, ..Fields::default() };
                let length = fields.path.as_ref().map_or(0, String::len);
                self.file = Some(File { line, fields, length, ..File::default() });
                Open::File
            }
            "pieces" => {
                let of = |name| attribute(tag, name).map(Option::unwrap_or_default);
                let gathering = Gathering::new(&of("type")?, &of("length")?);
                if let Some(file) = &mut self.file {
                    file.gathering = Some(gathering);
                }
                Open::Stretches
            }
            "size" => Open::Size,
            "hash" if self.open.last() == Some(&Open::Stretches) => {
                self.number = attribute(tag, "piece")?;
                Open::StretchHash
            }
            "hash" => {
                self.algo = attribute(tag, "type")?.unwrap_or_default();
                Open::Hash
            }
            "url" => {
                self.rank = rank(tag)?;
                Open::Url
            }
            _ => Open::Other,
        };
        self.open.push(open);
        Ok(())
    }

    fn push(&mut self, text: &str) {
        let wanted = matches!(
            self.open.last(),
            Some(Open::Hash | Open::Size | Open::Url | Open::StretchHash)
        );
        // What is too long is cut off here, and too long for the file as a whole as well.
        if wanted && self.text.len() <= MANIFEST_LINE_BYTES_MAX {
            self.text.push_str(text);
        }
    }

    /// Closes the innermost element, and hands on the file that it was.
    fn end(&mut self, context: &Context, each: &mut Each<'_>) -> Result<()> {
        let open = self.open.pop();
        if open == Some(Open::File) {
            return self.file.take().map_or(Ok(()), |file| file.tell(context, each));
        }
        let (Some(file), Some(open)) = (&mut self.file, open) else { return Ok(()) };
        let text = self.text.trim();
        if matches!(open, Open::Hash | Open::Size | Open::Url) {
            file.length += text.len() + self.algo.len();
        }
        if file.length > MANIFEST_LINE_BYTES_MAX {
            return Ok(());
        }
        match open {
            Open::Hash => file.fields.digests.push((self.algo.clone(), text.into())),
            Open::Size => file.fields.size = Some(text.into()),
            Open::Url => file.urls.extend(self.rank.map(|rank| (rank, text.into()))),
            Open::StretchHash => {
                if let Some(gathering) = &mut file.gathering {
                    gathering.push(text, self.number.as_deref());
                }
            }
            Open::Stretches => {
                let set = file.gathering.take().map(Gathering::finish);
                set.into_iter().for_each(|set| file.stretches.add(set));
            }
            Open::File | Open::Other => {}
        }
        self.text.clear();
        Ok(())
    }
}

/// The rank of an address: by priority, lower ones first, or by the preference of Metalink 3, higher ones
/// first. `None` if it leads to something other than the file, such as a torrent of Metalink 3.
fn rank(tag: &BytesStart<'_>) -> quick_xml::Result<Option<u32>> {
    if attribute(tag, "type")?.is_some_and(|kind| !kind.starts_with("http")) {
        return Ok(None);
    }
    let number = |text: String| text.trim().parse::<u32>().ok();
    let priority = attribute(tag, "priority")?.and_then(number);
    let preference = attribute(tag, "preference")?.and_then(number);
    let preferred = preference.map(|preference| 101_u32.saturating_sub(preference));
    Ok(Some(priority.or(preferred).unwrap_or(RANK_LAST)))
}

/// Counts lines, and the bytes of an element, which it bounds.
struct Counted<R> {
    input: R,
    lines: u64,
    taken: usize,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken > MANIFEST_LINE_BYTES_MAX {
            return Err(io::Error::other("an element is longer than 1 MiB"));
        }
        self.input.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        // What is consumed was filled before, so that this reads nothing.
        if let Ok(filled) = self.input.fill_buf() {
            let ends = filled.iter().take(length).filter(|byte| **byte == b'\n').count();
            self.lines += wide(ends);
        }
        self.taken += length;
        self.input.consume(length);
    }
}
