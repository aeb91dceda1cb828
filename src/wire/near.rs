//! Connections that stay with one thread, and exchanges on them for many small answers.
//!
//! A connection of the client's pool changes hands between threads, and hyper reads its heads apart from its
//! bodies: for a body of some KiB that is most of the work. Here the request is one write, head and body are
//! mostly one read, and the connection stays with the runtime of its thread. What is plain (one head of
//! HTTP/1.1 and a length) is parsed here; hyper is shown the bytes of everything else, and of every failure.
//!
//! Invariant: what hyper would not accept is not accepted here.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::Empty;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client::{self, Client};
use super::conn::Conn;
use super::head::{self, Exchange, Failure, HeadScan, TooLarge};
use super::http2::Http2;
use super::idle::Key;
use super::pipeline::{Pipelines, Turn};
use super::{Body, Request, Response, Route, dial, raw};
use crate::error::{Error, Kind, Result};
use crate::io::Io;
use crate::limits::{
    HEAD_FIELDS_MAX, IDLE_AGE_MAX, IDLE_MAX, NEAR_READ_BYTES, STALE_CONNECTIONS_MAX,
};

/// The connections of one thread.
///
/// Only for tasks of a `LocalSet`, on which the connections live.
pub(crate) struct Near {
    /// Idle ones that speak HTTP/1.1, and since when they are.
    idle: RefCell<HashMap<Key, Vec<(Conn, Instant)>>>,
    /// How many of them are kept: threads share what a process may.
    idle_max: usize,
    /// Those with requests in line.
    pub(super) pipelines: Pipelines,
    /// Those that speak HTTP/2, if any may.
    pub(super) http2: Option<Http2>,
}

impl Near {
    /// No connections yet of one of so many threads; `http2` tells whether some may speak HTTP/2.
    pub(crate) fn new(http2: bool, threads: usize) -> Rc<Self> {
        Rc::new(Self {
            idle: RefCell::default(),
            idle_max: IDLE_MAX / threads.max(1),
            pipelines: Pipelines::default(),
            http2: http2.then(Http2::default),
        })
    }

    /// Takes note that an answer was not the one to what was asked, as far as its digest tells: no more
    /// pipelines to its origin for a while.
    pub(crate) fn doubt(&self, route: &Route) {
        self.pipelines.doubt(&Key::new(route, None));
    }

    /// Takes the most recently used connection that is still quiet and young, or that of a line in which
    /// nobody waits.
    pub(super) fn take(&self, key: &Key) -> Option<Conn> {
        self.take_idle(key).or_else(|| self.pipelines.take(key).filter(Conn::is_quiet))
    }

    fn take_idle(&self, key: &Key) -> Option<Conn> {
        let mut idle = self.idle.borrow_mut();
        let conns = idle.get_mut(key)?;
        while let Some((conn, since)) = conns.pop() {
            if since.elapsed() < IDLE_AGE_MAX && conn.is_quiet() {
                return Some(conn);
            }
        }
        idle.remove(key);
        None
    }

    /// Keeps a connection for a later request of this thread.
    pub(super) fn keep(&self, key: Key, conn: Conn) {
        let mut idle = self.idle.borrow_mut();
        // Of origins that nobody asks again they would never go.
        idle.retain(|_, conns| {
            conns.retain(|(_, since)| since.elapsed() < IDLE_AGE_MAX);
            !conns.is_empty()
        });
        if idle.values().map(Vec::len).sum::<usize>() < self.idle_max {
            idle.entry(key).or_default().push((conn, Instant::now()));
        }
    }
}

/// What was read of an answer.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one, and goes nowhere")]
enum Heads {
    /// A plain head, and the connection after it.
    Plain { head: Head, conn: Conn, front: Vec<u8>, waited: Duration },
    /// Anything else, as hyper sees it.
    Odd(Box<Exchange>),
}

/// A plain response head.
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Length of the body.
    pub(super) length: u64,
    /// Bytes of the head; what follows them is the front of the body.
    pub(super) bytes: usize,
}

impl Client {
    /// As [`Client::ask`], over HTTP/1.1 and connections that stay with their thread; `in_line`, if it may
    /// wait for the answers to others.
    pub(super) async fn ask_over(
        &self,
        near: &Rc<Near>,
        io: &Io,
        request: &Request<'_>,
        in_line: bool,
    ) -> Result<Response> {
        let key = Key::new(request.route, None);
        if in_line {
            match self.ask_in_line(near, io, request, &key).await {
                Err(failure) if failure.nothing_came => {}
                done => return done.map_err(|failure| failure.error),
            }
        }
        for _ in 0..STALE_CONNECTIONS_MAX {
            let Some(conn) = near.take(&key) else { break };
            match self.exchange_near(near, io, conn, request, key.clone()).await {
                Err(failure) if failure.nothing_came => {}
                done => return done.map_err(|failure| failure.error),
            }
        }
        let dial = self.dial(request.route, None);
        let conn = dial::dial(&dial, self.tls_for(request.route)?).await?;
        let remote = conn.remote();
        client::first(&dial, remote, self.exchange_near(near, io, conn, request, key).await)
    }

    /// Waits in the line to an origin. That there is none comes to the same as a connection that has gone.
    async fn ask_in_line(
        &self,
        near: &Rc<Near>,
        io: &Io,
        request: &Request<'_>,
        key: &Key,
    ) -> Exchanged {
        let start = Instant::now();
        let gone = || {
            let message = "the server closed the connection before it answered";
            Failure { error: Error::new(Kind::Reset, message), nothing_came: true }
        };
        let http_request = self.http_request(request)?;
        let asked = near.pipelines.ask(key, || near.take_idle(key), || encode(&http_request));
        let (answer, remote) = asked.ok_or_else(gone)?;
        let (key, timeout) = (key.clone(), request.head_timeout);
        match answer.await.map_err(|_| gone())? {
            Turn::Whole(head, body) => {
                let waited = start.elapsed();
                Ok(answered(head, Body::Whole(body), remote, waited, key, near))
            }
            Turn::Rest(conn, came) => {
                let heads = finish(conn, came, http_request, timeout, start).await?;
                Ok(Response { is_last: true, ..heard(io, heads, remote, key, near)? })
            }
        }
    }

    pub(super) async fn exchange_near(
        &self,
        near: &Rc<Near>,
        io: &Io,
        conn: Conn,
        request: &Request<'_>,
        key: Key,
    ) -> Exchanged {
        let remote = conn.remote();
        let heads = exchange(conn, self.http_request(request)?, request.head_timeout).await?;
        Ok(heard(io, heads, remote, key, near)?)
    }
}

/// What an exchange of heads came to.
type Exchanged = std::result::Result<Response, Failure>;

fn heard(io: &Io, heads: Heads, remote: SocketAddr, key: Key, near: &Rc<Near>) -> Result<Response> {
    match heads {
        Heads::Odd(exchange) => {
            let response = client::respond(io, *exchange, remote, key)?;
            Ok(Response { near: Some(Rc::clone(near)), ..response })
        }
        Heads::Plain { head, conn, front, waited } => {
            let body = Body::Raw(raw::Raw::new(io, conn, front, head.bytes, head.length)?);
            Ok(answered(head, body, remote, waited, key, near))
        }
    }
}

fn answered(
    head: Head,
    body: Body,
    remote: SocketAddr,
    waited: Duration,
    key: Key,
    near: &Rc<Near>,
) -> Response {
    let Head { status, headers, bytes: head_bytes, .. } = head;
    let (http, near) = (http::Version::HTTP_11, Some(Rc::clone(near)));
    let (is_fresh, is_last) = (false, false);
    Response {
        status,
        http,
        headers,
        remote,
        head_bytes,
        waited,
        is_fresh,
        body,
        key,
        near,
        is_last,
    }
}

/// Sends the request and waits for the final head, for at most `timeout` in all.
async fn exchange(
    mut conn: Conn,
    request: http::Request<Empty<Bytes>>,
    timeout: Duration,
) -> std::result::Result<Heads, Failure> {
    let start = Instant::now();
    let came = match tokio::time::timeout(timeout, ask(&mut conn, &request)).await {
        Ok(came) => came.map_err(|error| head::broken(&error, true))?,
        Err(_) => return Err(head::late(timeout).into()),
    };
    finish(conn, came, request, timeout, start).await
}

/// Makes heads of what came; hyper reads on where they are not plain or not whole.
async fn finish(
    mut conn: Conn,
    came: Came,
    request: http::Request<Empty<Bytes>>,
    timeout: Duration,
    start: Instant,
) -> std::result::Result<Heads, Failure> {
    if let Some(head) = came.head_end.and_then(|end| plain(&came.bytes[..end])) {
        return Ok(Heads::Plain { head, conn, front: came.bytes, waited: start.elapsed() });
    }
    conn.replay(came.bytes);
    let left = timeout.saturating_sub(start.elapsed());
    let odd = head::exchange(conn, request, left).await?;
    Ok(Heads::Odd(Box::new(Exchange { waited: start.elapsed(), ..odd })))
}

/// What came, and where in it the heads end.
pub(super) struct Came {
    pub(super) bytes: Vec<u8>,
    pub(super) head_end: Option<usize>,
}

/// Writes the request; reads until the heads are whole, or no more of them comes or should.
async fn ask(conn: &mut Conn, request: &http::Request<Empty<Bytes>>) -> io::Result<Came> {
    conn.write_all(&encode(request)).await?;
    conn.flush().await?;
    let (mut bytes, mut scan) = (Vec::with_capacity(NEAR_READ_BYTES), HeadScan::default());
    loop {
        let before = bytes.len();
        match conn.read_buf(&mut bytes).await {
            Ok(0) => return Ok(Came { bytes, head_end: None }),
            Ok(_) => {}
            Err(error) if before == 0 => return Err(error),
            // hyper will meet it too.
            Err(_) => return Ok(Came { bytes, head_end: None }),
        }
        match scan.feed(&bytes[before..]) {
            Ok(None) => {}
            Ok(Some(end)) => return Ok(Came { bytes, head_end: Some(before + end) }),
            Err(TooLarge) => return Ok(Came { bytes, head_end: None }),
        }
    }
}

/// The request as RFC 9112 section 3 has it. Names and values of an [`http::HeaderMap`] have no line ends.
pub(super) fn encode(request: &http::Request<Empty<Bytes>>) -> Vec<u8> {
    let mut bytes = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// A head that is all of `bytes`, if nothing of it calls for more than this.
pub(super) fn plain(bytes: &[u8]) -> Option<Head> {
    let mut fields = [const { MaybeUninit::uninit() }; HEAD_FIELDS_MAX];
    let mut head = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let parsed = parser.parse_response_with_uninit_headers(&mut head, bytes, &mut fields).ok()?;
    if parsed != httparse::Status::Complete(bytes.len()) || head.version != Some(1) {
        return None;
    }
    let status = StatusCode::from_u16(head.code?).ok()?;
    let mut headers = HeaderMap::with_capacity(head.headers.len());
    for field in &*head.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    let length = raw::length(status, &headers).filter(|_| !status.is_informational())?;
    Some(Head { status, headers, length, bytes: bytes.len() })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{SocketAddr, TcpListener};

    use tokio::net::TcpStream;
    use url::Url;

    use super::*;
    use crate::wire::Route;

    fn key(text: &str) -> Key {
        let url = Url::parse(text).unwrap();
        Key::new(&Route::new(url.clone(), &url), None)
    }

    /// Connections to a listener, and their other ends.
    async fn connect(count: usize) -> Vec<(Conn, std::net::TcpStream)> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let mut all = Vec::new();
        for _ in 0..count {
            let tcp = TcpStream::connect(address).await.unwrap();
            all.push((Conn::new(tcp, None, address), listener.accept().unwrap().0));
        }
        all
    }

    #[tokio::test]
    async fn a_connection_is_lent_again_while_it_is_quiet() {
        let near = Near::new(false, 1);
        let (mine, other) = (key("http://a.test/x"), key("http://b.test/x"));
        let mut ends = Vec::new();
        for (conn, end) in connect(3).await {
            near.keep(mine.clone(), conn);
            ends.push(end);
        }
        assert!(near.take(&other).is_none());
        // The last one speaks unasked, the one before it has gone.
        ends[2].write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").unwrap();
        ends.remove(1);
        assert!(near.take(&mine).is_some());
        assert!(near.take(&mine).is_none());
        assert!(near.idle.borrow().is_empty());
    }

    #[tokio::test]
    async fn no_more_connections_are_kept_than_there_is_room_for() {
        let near = Near::new(false, 1);
        for (count, (conn, _)) in connect(IDLE_MAX + 2).await.into_iter().enumerate() {
            near.keep(key(&format!("http://h{}.test/", count % 3)), conn);
        }
        assert_eq!(near.idle.borrow().values().map(Vec::len).sum::<usize>(), IDLE_MAX);
    }

    #[test]
    fn a_head_is_plain_only_if_it_is_all_there_is_and_says_its_length() {
        let head = plain(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nETag: \"x\"\r\n\r\n").unwrap();
        assert_eq!((head.status, head.length, head.bytes), (StatusCode::OK, 4, 49));
        assert_eq!(head.headers["etag"], "\"x\"");
        assert_eq!(plain(b"HTTP/1.1 304 Same\r\n\r\n").unwrap().length, 0);
        for odd in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n",
            "HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\n",
            "HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\n",
            "HTTP/1.1 101 Other\r\nContent-Length: 4\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nb",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n",
        ] {
            assert!(plain(odd.as_bytes()).is_none(), "{odd}");
        }
    }
}
