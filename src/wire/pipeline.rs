//! Pipelining (RFC 9112 section 9.3.2): requests that wait for each other's answers on one connection.
//!
//! For many small answers over HTTP/1.1: several requests share a write, several answers a read. A task of
//! the connection's thread writes what is asked and deals out the answers that are plain, small and whole.
//! Anything else goes, with the connection, to the one who asked for it, and all behind it ask again
//! elsewhere, which they may (RFC 9110 section 9.2.2).
//!
//! A server that thinks about each answer is faster over several connections, and some answer out of turn, or
//! the first request alone, which nothing in HTTP/1.1 would show. Invariants: only requests come here whose
//! answers are held against a digest; and an origin that does not answer in one go what was asked in one go
//! is not asked this way for a while.

mod promptness;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::sync::oneshot;

use self::promptness::Promptness;
use super::conn::Conn;
use super::head::HeadScan;
use super::idle::Key;
use super::near::{Came, Head, plain};
use crate::gate;
use crate::limits::{
    IDLE_AGE_MAX, PIPELINE_DEPTH_MAX, PIPELINE_DOUBT, PIPELINE_ORIGINS_MAX, PIPELINE_PATIENCE,
    PIPELINE_READ_BYTES, PIPELINED_BODY_MAX,
};
use crate::units::{narrow, wide};

/// The pipelines of one thread, at most one for each origin.
///
/// Only for tasks of a `LocalSet`, on which the connections live.
#[derive(Default)]
pub(super) struct Pipelines(RefCell<HashMap<Key, Rc<Line>>>);

/// What comes of a request that waited in line.
pub(super) enum Turn {
    /// A plain answer, and its body.
    Whole(Head, Bytes),
    /// The connection, and what came on it. Nobody must ask over it again: others have, and left.
    Rest(Conn, Came),
}

/// Those who wait for an answer on one connection.
struct Line {
    /// Gone once it has ended, or serves somebody else.
    conn: RefCell<Option<Conn>>,
    remote: SocketAddr,
    unsent: RefCell<Vec<u8>>,
    waiting: RefCell<VecDeque<Waiting>>,
    /// Answers that were dealt out.
    answers: Cell<u32>,
    /// The driver of the connection, while it has nothing to do.
    driver: Cell<Option<Waker>>,
    /// No more may be asked.
    is_over: Cell<bool>,
    /// Since when the origin is taken for one that should not be asked this way.
    doubted: Cell<Option<Instant>>,
}

struct Waiting {
    turn: oneshot::Sender<Turn>,
    since: Instant,
    /// Somebody waited already when it came.
    is_behind: bool,
}

impl Pipelines {
    /// Puts a request in line; if there is no line, on an idle connection. `None` if it cannot be asked this
    /// way. Else the answer follows, or the end of the channel: then nothing of an answer came.
    pub(super) fn ask(
        &self,
        key: &Key,
        idle: impl FnOnce() -> Option<Conn>,
        request: impl FnOnce() -> Vec<u8>,
    ) -> Option<(oneshot::Receiver<Turn>, SocketAddr)> {
        let line = match self.line(key)? {
            Some(line) => line,
            None => self.begin(key, idle()?)?,
        };
        let has_room = line.waiting.borrow().len() < PIPELINE_DEPTH_MAX;
        has_room.then(|| (line.push(&request()), line.remote))
    }

    /// Takes the connection of a line in which nobody waits.
    pub(super) fn take(&self, key: &Key) -> Option<Conn> {
        let mut all = self.0.borrow_mut();
        let line = all.get(key).filter(|line| line.is_empty() && !line.is_over.get())?;
        let conn = line.conn.take();
        // It sees that the connection has gone.
        line.driver.take().into_iter().for_each(Waker::wake);
        line.is_over.set(true);
        if line.doubted.get().is_none() {
            all.remove(key);
        }
        conn
    }

    /// Whether an origin may be asked this way, as far as is known.
    pub(super) fn may_be_asked(&self, key: &Key) -> bool {
        self.line(key).is_some()
    }

    /// Takes note that an answer may have been that to another request.
    pub(super) fn doubt(&self, key: &Key) {
        if let Some(line) = self.0.borrow().get(key) {
            line.doubt();
        }
    }

    /// The line of an origin that may be asked this way, if there is one.
    fn line(&self, key: &Key) -> Option<Option<Rc<Line>>> {
        let mut all = self.0.borrow_mut();
        let Some(line) = all.get(key) else { return Some(None) };
        match line.doubted.get() {
            Some(since) if since.elapsed() < PIPELINE_DOUBT => return None,
            None if !line.is_over.get() => return Some(Some(Rc::clone(line))),
            _ => {}
        }
        all.remove(key);
        Some(None)
    }

    fn begin(&self, key: &Key, conn: Conn) -> Option<Rc<Line>> {
        let mut all = self.0.borrow_mut();
        if all.len() >= PIPELINE_ORIGINS_MAX {
            all.retain(|_, line| !line.waiting.borrow().is_empty());
        }
        if all.len() >= PIPELINE_ORIGINS_MAX {
            return None;
        }
        let line = Rc::new(Line::new(conn));
        all.insert(key.clone(), Rc::clone(&line));
        tokio::task::spawn_local(Driver::new(Rc::clone(&line)).run());
        Some(line)
    }
}

impl Line {
    fn new(conn: Conn) -> Self {
        Self {
            remote: conn.remote(),
            conn: RefCell::new(Some(conn)),
            unsent: RefCell::default(),
            waiting: RefCell::default(),
            answers: Cell::new(0),
            driver: Cell::new(None),
            is_over: Cell::new(false),
            doubted: Cell::new(None),
        }
    }

    fn push(&self, request: &[u8]) -> oneshot::Receiver<Turn> {
        let (turn, answer) = oneshot::channel();
        let (mut waiting, since) = (self.waiting.borrow_mut(), Instant::now());
        let is_behind = !waiting.is_empty();
        waiting.push_back(Waiting { turn, since, is_behind });
        self.unsent.borrow_mut().extend_from_slice(request);
        self.driver.take().into_iter().for_each(Waker::wake);
        answer
    }

    fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    fn doubt(&self) {
        self.doubted.set(Some(Instant::now()));
    }
}

/// One connection, and what was read of the answer to the first in line.
struct Driver {
    line: Rc<Line>,
    bytes: BytesMut,
    scan: HeadScan,
    scanned: usize,
    head: Option<Head>,
    /// When the last bytes came, and the last answer of which they were the end.
    came: Instant,
    answered: Instant,
    promptness: Promptness,
    is_flushed: bool,
}

/// How it goes on once all that is whole is dealt out.
enum Sequel {
    Wait,
    Over,
    /// What came is not for this.
    Leave,
}

impl Driver {
    fn new(line: Rc<Line>) -> Self {
        let now = Instant::now();
        Self {
            line,
            bytes: BytesMut::new(),
            scan: HeadScan::default(),
            scanned: 0,
            head: None,
            came: now,
            answered: now,
            promptness: Promptness::default(),
            is_flushed: true,
        }
    }

    async fn run(mut self) {
        let _end = End(Rc::clone(&self.line));
        loop {
            match self.deal() {
                Sequel::Wait => {}
                Sequel::Over => return,
                Sequel::Leave => return self.leave(),
            }
            let is_idle = self.line.is_empty();
            let patience = if is_idle { IDLE_AGE_MAX } else { PIPELINE_PATIENCE };
            match tokio::time::timeout(patience, poll_fn(|cx| self.step(cx))).await {
                Ok(Ok(true)) => {}
                Ok(_) => return self.leave(),
                Err(_) if is_idle => return,
                Err(_) => {
                    self.line.doubt();
                    return self.leave();
                }
            }
        }
    }

    /// Deals out the answers that are whole.
    fn deal(&mut self) -> Sequel {
        loop {
            if self.line.is_empty() {
                let is_done = self.line.doubted.get().is_some() || !self.bytes.is_empty();
                return if is_done { Sequel::Over } else { Sequel::Wait };
            }
            if self.head.is_none() {
                match self.scan.feed(&self.bytes[self.scanned..]) {
                    Ok(Some(end)) => self.scanned += end,
                    Ok(None) => {
                        self.scanned = self.bytes.len();
                        return Sequel::Wait;
                    }
                    Err(_) => return Sequel::Leave,
                }
                let head = plain(&self.bytes[..self.scanned]);
                self.head = head.filter(|head| head.length <= PIPELINED_BODY_MAX);
                if self.head.is_none() {
                    return Sequel::Leave;
                }
            }
            let there = wide(self.bytes.len());
            let is_whole = |head: &mut Head| there - wide(head.bytes) >= head.length;
            let Some(head) = self.head.take_if(is_whole) else { return Sequel::Wait };
            if !self.hand_out(head) {
                return Sequel::Over;
            }
        }
    }

    /// Gives the first in line its answer; whether another may follow it.
    fn hand_out(&mut self, head: Head) -> bool {
        let mut answer = self.bytes.split_to(head.bytes + narrow(head.length)).freeze();
        let body = answer.split_off(head.bytes);
        (self.scan, self.scanned) = (HeadScan::default(), 0);
        let (status, http) = (head.status, http::Version::HTTP_11);
        let goes_on = gate::is_keep_alive(&gate::Head { status, http, headers: &head.headers });
        let first = self.line.waiting.borrow_mut().pop_front();
        let Some(Waiting { turn, since, is_behind }) = first else { return false };
        self.line.answers.set(self.line.answers.get().saturating_add(1));
        let before = is_behind.then_some(self.answered);
        if !self.promptness.note(since, before, self.came) {
            self.line.doubt();
        }
        self.answered = self.came;
        // Whoever gave up in the meantime does not want it any more.
        let _ = turn.send(Turn::Whole(head, body));
        goes_on
    }

    /// Leaves the connection, with what came, to the first in line.
    fn leave(self) {
        if self.bytes.is_empty() {
            return;
        }
        let head_end = self.head.map(|head| head.bytes);
        let (conn, first) = (self.line.conn.take(), self.line.waiting.borrow_mut().pop_front());
        let (Some(conn), Some(first)) = (conn, first) else { return };
        let _ = first.turn.send(Turn::Rest(conn, Came { bytes: self.bytes.into(), head_end }));
    }

    /// Sends what is to be sent and reads what has come; false at the end of the connection.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let line = Rc::clone(&self.line);
        let mut conn = line.conn.borrow_mut();
        let Some(conn) = conn.as_mut() else { return Poll::Ready(Ok(false)) };
        let was_sent = self.send(conn, cx).unwrap_or_else(|_| {
            // The answers to what was sent before may still come.
            self.line.is_over.set(true);
            self.line.unsent.borrow_mut().clear();
            self.is_flushed = true;
            true
        });
        self.bytes.reserve(PIPELINE_READ_BYTES);
        let read = pin!(conn.read_buf(&mut self.bytes));
        match read.poll(cx) {
            Poll::Ready(count) => {
                self.came = Instant::now();
                Poll::Ready(count.map(|count| count > 0))
            }
            // The first request has the patience of one.
            Poll::Pending if was_sent => Poll::Ready(Ok(true)),
            Poll::Pending => {
                self.line.driver.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }

    fn send(&mut self, conn: &mut Conn, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut unsent = self.line.unsent.borrow_mut();
        let mut sent = 0;
        while sent < unsent.len() {
            match Pin::new(&mut *conn).poll_write(cx, &unsent[sent..])? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => sent += count,
                Poll::Pending => break,
            }
        }
        unsent.drain(..sent);
        self.is_flushed &= sent == 0;
        if !self.is_flushed {
            self.is_flushed = Pin::new(conn).poll_flush(cx)?.is_ready();
        }
        Ok(sent > 0)
    }
}

/// The end of a connection: whoever still waits gets no answer.
struct End(Rc<Line>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.is_over.set(true);
        self.0.conn.take();
        let left = self.0.waiting.take();
        if !left.is_empty() && self.0.answers.get() < PROVEN_ANSWERS {
            self.0.doubt();
        }
    }
}

/// Answers after which a connection may end like any other that was used for a while.
const PROVEN_ANSWERS: u32 = 8;
