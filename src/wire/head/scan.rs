//! Finds the end of a response head, whatever parts it arrives in, and bounds it.

use crate::limits::{HEAD_BYTES_MAX, INTERIM_MAX};

/// The heads exceed the bounds on bytes or on interim responses.
#[derive(Debug)]
pub(crate) struct TooLarge;

impl std::fmt::Display for TooLarge {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("response head too large")
    }
}

impl std::error::Error for TooLarge {}

/// Reads heads byte by byte: lines end with LF, a CR before it is ignored (RFC 9112 section 2.2), blank
/// lines before a status line are skipped, and interim responses (1xx, except 101) are followed by another
/// head.
#[derive(Default)]
pub(crate) struct HeadScan {
    bytes: usize,
    interim: u32,
    /// Lines of the current head so far.
    lines: usize,
    /// Bytes of the current line so far, without CR.
    line: usize,
    status: [u8; 12],
}

impl HeadScan {
    /// Takes the next bytes; returns how many of them belong to heads once the final head has ended.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Option<usize>, TooLarge> {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' if self.line > 0 => (self.lines, self.line) = (self.lines + 1, 0),
                b'\n' if self.lines == 0 => {}
                b'\n' if self.is_interim() => self.next_head()?,
                b'\n' => return self.count(at + 1).map(|()| Some(at + 1)),
                b'\r' => {}
                _ => self.add(*byte),
            }
        }
        self.count(bytes.len()).map(|()| None)
    }

    fn add(&mut self, byte: u8) {
        if self.lines == 0
            && let Some(place) = self.status.get_mut(self.line)
        {
            *place = byte;
        }
        self.line += 1;
    }

    fn count(&mut self, bytes: usize) -> Result<(), TooLarge> {
        self.bytes += bytes;
        if self.bytes > HEAD_BYTES_MAX { Err(TooLarge) } else { Ok(()) }
    }

    fn is_interim(&self) -> bool {
        self.status.starts_with(b"HTTP/1.")
            && self.status[8..10] == *b" 1"
            && &self.status[9..] != b"101"
    }

    fn next_head(&mut self) -> Result<(), TooLarge> {
        self.interim += 1;
        (self.lines, self.line, self.status) = (0, 0, [0; 12]);
        if self.interim > INTERIM_MAX { Err(TooLarge) } else { Ok(()) }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: &[u8] =
        b"\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\n\n\
        HTTP/1.1 206 P\r\nA: b\r\n\r\nBODY\r\n\r\n";

    fn end_in_pieces(bytes: &[u8], part: usize) -> Option<usize> {
        let mut scan = HeadScan::default();
        let mut before = 0;
        for bytes in bytes.chunks(part) {
            if let Some(end) = scan.feed(bytes).unwrap() {
                return Some(before + end);
            }
            before += bytes.len();
        }
        None
    }

    #[test]
    fn the_end_is_found_whatever_the_pieces() {
        let end = HEADS.len() - b"BODY\r\n\r\n".len();
        for part in 1..=HEADS.len() {
            assert_eq!(end_in_pieces(HEADS, part), Some(end), "parts of {part}");
        }
        for cut in 0..end {
            assert_eq!(end_in_pieces(&HEADS[..cut], 7), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_101_is_final_and_bare_line_feeds_will_do() {
        assert_eq!(end_in_pieces(b"HTTP/1.1 101 S\n\nxyz", 3), Some(16));
        assert_eq!(end_in_pieces(b"HTTP/1.0 200\n\r\nx", 99), Some(15));
    }

    #[test]
    fn storms_and_bombs_are_refused() {
        let mut scan = HeadScan::default();
        assert!(scan.feed(&b"HTTP/1.1 100 C\r\n\r\n".repeat(17)).is_err());
        assert!(HeadScan::default().feed(&b"HTTP/1.1 100 C\r\n\r\n".repeat(16)).is_ok());
        assert!(HeadScan::default().feed(&vec![b'a'; HEAD_BYTES_MAX + 1]).is_err());
    }
}
