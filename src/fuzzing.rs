//! What the fuzz targets below `tests/fuzz` call: one function each, from bytes to nothing.
//!
//! A function reads its input with the code of a download and panics if a promise of that code does not hold.
//! It is no part of the library: only tests and `cfg(fuzzing)` compile it. What is private to `cli`,
//! `ledger` or `serve` is checked by a file of this name there. The seeds of each target are inputs of a test
//! here, too.

mod answers;
mod bodies;
mod places;
#[cfg(test)]
mod tests;

pub use self::answers::{content_range, gate, retry_after, version};
pub use self::bodies::{chunked, head};
pub use self::places::{disposition, location};
pub use crate::cli::fuzzing::{addresses, values};
pub use crate::ledger::fuzzing::ledger;
pub use crate::serve::fuzzing::{range, request};

use http::{HeaderMap, HeaderName, HeaderValue};

/// An input, read from the front: lines first, so that a person can write and read one.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next line without its end; empty at the end of the input.
    pub(crate) fn line(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == b'\n').unwrap_or(self.0.len());
        let line = &self.0[..end];
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        line
    }

    /// The next line as text.
    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.line()).into_owned()
    }

    /// The numbers of the next line; what is none is left out.
    pub(crate) fn numbers(&mut self) -> impl Iterator<Item = Option<u64>> + use<> {
        let words: Vec<_> = self.text().split(' ').map(|word| word.parse().ok()).collect();
        words.into_iter()
    }

    /// The fields up to an empty line; what is no field is left out.
    pub(crate) fn fields(&mut self) -> HeaderMap {
        let mut fields = HeaderMap::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                return fields;
            }
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            let (name, value) = (&line[..colon], line.get(colon + 1..).unwrap_or_default());
            let name = HeaderName::from_bytes(name);
            let value = HeaderValue::from_bytes(value.trim_ascii());
            if let (Ok(name), Ok(value)) = (name, value) {
                let _ = fields.try_append(name, value);
            }
        }
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Fails if a sentence could steer the terminal it is shown on.
pub(crate) fn is_harmless(sentence: &str) {
    let steers = |char: char| {
        char.is_control() || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!sentence.chars().any(steers), "{sentence:?}");
}
