//! Puts a reply on the wire, with everything that is to go wrong on the way.

use std::io::{self, Write};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::reply::{Cut, Reply};
use super::request::Request;
use super::stream::Stream;
use super::{Latch, Shared};

/// Body bytes per write unless the reply dribbles.
const PIECE: usize = 64 << 10;

impl Shared {
    /// Sends `reply` and hands the connection back if another request may follow.
    pub(super) fn answer(
        &self,
        reply: Reply,
        request: &Request,
        mut stream: Stream,
        number: usize,
    ) -> Option<Stream> {
        if let Some(latch) = &reply.latch {
            latch.wait();
        }
        let with_body = request.method != "HEAD";
        match self.send(&reply, with_body, &mut stream) {
            Ok(Some(cut)) => {
                if cut == Cut::Reset {
                    self.forget(number);
                }
                stream.end(cut);
                None
            }
            Ok(None) if reply.close => {
                stream.close();
                None
            }
            Ok(None) => Some(stream),
            Err(_) => None,
        }
    }

    fn send(&self, reply: &Reply, with_body: bool, stream: &mut Stream) -> io::Result<Option<Cut>> {
        stream.write_all(&reply.interim)?;
        if let Some(cut) = self.send_head(reply, stream)? {
            return Ok(Some(cut));
        }
        if let Some(latch) = &reply.body_latch {
            stream.flush()?;
            latch.wait();
        }
        let mut out =
            BodyWriter { shared: self, stream, chunks: reply.chunks.as_deref(), chunk: 0 };
        let (length, cut) = match reply.cut {
            Some((after, cut)) if after <= reply.body.len() => (after, Some(cut)),
            _ => (reply.body.len(), None),
        };
        if with_body {
            out.write_body(reply, length)?;
        }
        if cut.is_none() && with_body && reply.chunks.is_some() {
            out.stream.write_all(reply.chunk_end.as_bytes())?;
        }
        if cut.is_none() {
            out.stream.write_all(&reply.surplus)?;
        }
        out.stream.flush()?;
        Ok(cut)
    }

    /// Sends the head, or as much of it as the client is to see, and says how that ends.
    fn send_head(&self, reply: &Reply, stream: &mut Stream) -> io::Result<Option<Cut>> {
        let head = head_of(reply);
        let (length, cut) = match reply.cut_head {
            Some((after, cut)) => (after.min(head.len()), Some(cut)),
            None => (head.len(), None),
        };
        let (at_once, every) = reply.dribble_head.unwrap_or((length.max(1), Duration::ZERO));
        for bytes in head[..length].chunks(at_once) {
            stream.write_all(bytes)?;
            if reply.dribble_head.is_some() {
                stream.flush()?;
                pause(&self.stopped, every)?;
            }
        }
        if cut.is_some() {
            stream.flush()?;
        }
        Ok(cut)
    }
}

fn head_of(reply: &Reply) -> Vec<u8> {
    if let Some(raw) = &reply.raw_head {
        return raw.clone();
    }
    let mut head = format!("HTTP/1.1 {}{}", reply.status, reply.line_end);
    for line in &reply.lines {
        head.push_str(line);
        head.push_str(reply.line_end);
    }
    head.push_str(reply.line_end);
    head.into_bytes()
}

/// Writes a body in pieces and counts its bytes.
struct BodyWriter<'a> {
    shared: &'a Shared,
    stream: &'a mut Stream,
    /// Lengths of the chunks, if the body is chunked.
    chunks: Option<&'a [usize]>,
    /// Number of the next chunk.
    chunk: usize,
}

impl BodyWriter<'_> {
    fn write_body(&mut self, reply: &Reply, length: u64) -> io::Result<()> {
        let mut buffer = vec![0; PIECE];
        let mut at = 0;
        while at < length {
            let rest = usize::try_from(length - at).unwrap_or(PIECE);
            let piece = &mut buffer[..rest.min(self.next_piece(reply))];
            reply.body.read(at, piece);
            self.write_piece(reply, piece)?;
            at += piece.len() as u64;
            self.shared.served_bytes.fetch_add(piece.len() as u64, SeqCst);
            if let Some((_, every)) = reply.dribble {
                self.stream.flush()?;
                pause(&self.shared.stopped, every)?;
            }
        }
        Ok(())
    }

    fn next_piece(&self, reply: &Reply) -> usize {
        let dribble = reply.dribble.map_or(PIECE, |(bytes, _)| bytes);
        let chunk = self.chunks.map_or(PIECE, |lengths| lengths[self.chunk % lengths.len()]);
        dribble.min(chunk).min(PIECE)
    }

    fn write_piece(&mut self, reply: &Reply, piece: &[u8]) -> io::Result<()> {
        if self.chunks.is_none() {
            return self.stream.write_all(piece);
        }
        self.chunk += 1;
        let mut framed = format!("{:x}{}\r\n", piece.len(), reply.chunk_extension).into_bytes();
        framed.extend_from_slice(piece);
        framed.extend_from_slice(b"\r\n");
        self.stream.write_all(&framed)
    }
}

/// Lets `time` pass unless the origin is stopped meanwhile.
fn pause(stopped: &Latch, time: Duration) -> io::Result<()> {
    match stopped.is_open_within(time) {
        true => Err(io::ErrorKind::Interrupted.into()),
        false => Ok(()),
    }
}
