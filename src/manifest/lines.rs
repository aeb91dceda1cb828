//! Lines of a list, with their numbers, within a bound on memory.
//!
//! It knows no format. Invariant: a line is told once its end was read; when reading fails, the line that was
//! begun is not told, for it may be half of one.

use std::io::{self, BufRead};

use super::unreadable;
use crate::error::Result;
use crate::limits::MANIFEST_LINE_BYTES_MAX;
use crate::units::wide;

/// The lines of an input.
pub(super) struct Lines<'a, R> {
    input: R,
    name: &'a str,
    number: u64,
    buffer: Vec<u8>,
}

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: u64,
    /// The text, or why it is none.
    pub(super) text: Result<&'a str, &'static str>,
}

impl<'a, R: BufRead> Lines<'a, R> {
    /// The lines of `input`, which people call `name`.
    pub(super) fn new(input: R, name: &'a str) -> Self {
        Self { input, name, number: 0, buffer: Vec::new() }
    }

    /// The next line; `None` at the end. LF and CRLF end a line, and a byte order mark before the first one
    /// is dropped.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>> {
        self.buffer.clear();
        let whole = self.fill().map_err(|source| unreadable(self.name, source))?;
        if self.buffer.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let mut bytes = self.buffer.as_slice();
        if self.number == 1 {
            bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        }
        if let Some(line) = bytes.strip_suffix(b"\n") {
            bytes = line.strip_suffix(b"\r").unwrap_or(line);
        }
        let text = match str::from_utf8(bytes) {
            _ if !whole => Err("the line is longer than 1 MiB"),
            Ok(text) => Ok(text),
            Err(_) => Err("the line is not UTF-8"),
        };
        Ok(Some(Line { number: self.number, text }))
    }

    /// Reads up to the end of a line; `false` if it is too long, and the rest of it was skipped.
    fn fill(&mut self) -> io::Result<bool> {
        let most = wide(MANIFEST_LINE_BYTES_MAX);
        let read = io::Read::take(&mut self.input, most).read_until(b'\n', &mut self.buffer)?;
        if read < MANIFEST_LINE_BYTES_MAX || self.buffer.ends_with(b"\n") {
            return Ok(true);
        }
        Ok(self.input.skip_until(b'\n')? == 0)
    }
}
