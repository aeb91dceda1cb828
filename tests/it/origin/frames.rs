//! A server that agrees on HTTP/2 and then says what it is told, frame by frame (RFC 9113 section 4).
//!
//! It reads what the client says only to know when a request has come.

use std::io::{self, Read, Write};

use super::Stream;

pub(super) type Script = Box<dyn Fn(usize, u32) -> Frames + Send + Sync>;

/// What is said to a request.
pub(crate) struct Frames {
    /// The bytes, frames or not.
    pub(crate) bytes: Vec<u8>,
    /// Whether the connection is closed behind them.
    pub(crate) is_last: bool,
}

/// The length of a frame's header.
const HEADER_BYTES: usize = 9;
/// What a client says first.
const PREFACE_BYTES: usize = 24;

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;

/// One frame, to be sent.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// Agrees to the client's settings, and answers its requests until either side has enough.
pub(super) fn converse(stream: &mut Stream, script: impl Fn(u32) -> Frames) -> io::Result<()> {
    stream.read_exact(&mut [0; PREFACE_BYTES])?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    loop {
        let mut head = [0; HEADER_BYTES];
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload)?;
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match (head[3], head[4] & ACK) {
            (SETTINGS, 0) => stream.write_all(&frame(SETTINGS, ACK, 0, &[]))?,
            (HEADERS, _) => {
                let said = script(id);
                stream.write_all(&said.bytes)?;
                stream.flush()?;
                if said.is_last {
                    return Ok(());
                }
            }
            _ => {}
        }
    }
}
