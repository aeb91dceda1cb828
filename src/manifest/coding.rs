//! Takes gzip (RFC 1952) and zstd (RFC 8878) off a list; the first bytes tell which.
//!
//! It knows no list. Invariant: the end of the plain bytes is told only where the coded ones were whole and
//! their checksums right; anything else is an error.

use std::error::Error as Cause;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use crate::limits::{MANIFEST_READ_BYTES, MANIFEST_WINDOW_BYTES_MAX};
use crate::units::wide;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The last three bytes of the magic number of a frame to skip; the first is 0x50 to 0x5f.
const SKIPPED: [u8; 3] = [0x2a, 0x4d, 0x18];

/// The plain bytes of `input`.
pub(super) fn plain<'a>(mut input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut start = Vec::new();
    input.by_ref().take(4).read_to_end(&mut start)?;
    let (gzip, zstd) = (start.starts_with(&GZIP), is_zstd(&start));
    let input = io::Cursor::new(start).chain(input);
    Ok(if gzip {
        let input = BufReader::with_capacity(MANIFEST_READ_BYTES, input);
        Box::new(MultiGzDecoder::new(input))
    } else if zstd {
        let input = BufReader::with_capacity(MANIFEST_READ_BYTES, input);
        Box::new(Frames { state: Some(State::Between(input)) })
    } else {
        Box::new(input)
    })
}

fn is_zstd(start: &[u8]) -> bool {
    start == ZSTD || is_skipped(start)
}

fn is_skipped(start: &[u8]) -> bool {
    start.len() == 4 && start[0] & 0xf0 == 0x50 && start[1..] == SKIPPED
}

/// The contents of zstd frames, one after the other.
struct Frames<R: BufRead> {
    /// `None` after an error, and at the end.
    state: Option<State<R>>,
}

/// The contents of a frame; its magic number was read to see that it is one.
type Frame<R> = StreamingDecoder<io::Chain<io::Cursor<[u8; 4]>, R>, FrameDecoder>;

enum State<R: BufRead> {
    Between(R),
    Within(Box<Frame<R>>),
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            match self.state.take() {
                None => return Ok(0),
                Some(State::Between(input)) => self.state = open(input)?,
                Some(State::Within(mut frame)) => {
                    let read = frame.read(out).map_err(|error| plainly(&error))?;
                    if read > 0 {
                        self.state = Some(State::Within(frame));
                        return Ok(read);
                    }
                    self.state = Some(State::Between(close(*frame)?));
                }
            }
        }
    }
}

/// Goes to the next frame; `None` at the end of the input.
fn open<R: BufRead>(mut input: R) -> io::Result<Option<State<R>>> {
    loop {
        if input.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut magic = [0; 4];
        input.read_exact(&mut magic)?;
        if is_skipped(&magic) {
            let mut length = [0; 4];
            input.read_exact(&mut length)?;
            let length = u64::from(u32::from_le_bytes(length));
            if io::copy(&mut input.by_ref().take(length), &mut io::sink())? < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            continue;
        }
        let source = io::Cursor::new(magic).chain(input);
        let window = wide(MANIFEST_WINDOW_BYTES_MAX);
        let frame = StreamingDecoder::new_with_max_window_size(source, window)
            .map_err(|error| plainly(&error))?;
        return Ok(Some(State::Within(Box::new(frame))));
    }
}

/// Compares the checksum of a frame that was read to its end.
fn close<R: BufRead>(frame: Frame<R>) -> io::Result<R> {
    let (input, decoder) = frame.into_parts();
    let told = decoder.get_checksum_from_data();
    if told.is_some() && told != decoder.get_calculated_checksum() {
        return Err(damaged("the checksum of a frame is wrong".to_owned()));
    }
    Ok(input.into_inner().1)
}

/// What the decoder means, for people: the input has failed or ended, asks too much, or is damaged.
fn plainly(error: &(dyn Cause + 'static)) -> io::Error {
    let mut cause = Some(error);
    while let Some(at) = cause {
        let inner = at.downcast_ref::<io::Error>().map(|error| (error, error.get_ref()));
        match (inner, at.downcast_ref::<FrameDecoderError>()) {
            (Some((error, None)), _) => {
                let system = error.raw_os_error().map(io::Error::from_raw_os_error);
                return system.unwrap_or_else(|| error.kind().into());
            }
            (Some((error, Some(_))), _) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return io::ErrorKind::UnexpectedEof.into();
            }
            // The source of such an error is that of the error within.
            (Some((_, Some(inner))), _) => cause = Some(inner),
            (_, Some(FrameDecoderError::WindowSizeTooBig { requested, max })) => {
                return damaged(format!(
                    "it needs {requested} bytes of memory, and may have {max}"
                ));
            }
            (_, Some(FrameDecoderError::DictNotProvided { .. })) => {
                return damaged("it needs a dictionary".to_owned());
            }
            _ => cause = at.source(),
        }
    }
    damaged("a zstd frame is damaged".to_owned())
}

fn damaged(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
