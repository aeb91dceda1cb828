//! HTTP/2 (RFC 9113): the connections of one thread, each with many exchanges at a time.
//!
//! For many small answers from one server: another request costs no connection, and often no packet of its
//! own. Which protocol a server speaks is agreed in the TLS handshake (ALPN, RFC 7301); where it does not
//! choose `h2` it is asked over HTTP/1.1 from then on. Large bodies do not come this way: here every byte is
//! copied once more, and one connection has one congestion window.
//!
//! Invariant: an exchange is made again here only if the server has not answered it and a kept connection, or
//! the server's word that it did nothing (REFUSED_STREAM, GOAWAY), is the reason.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use http::header::HOST;
use http_body_util::Empty;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::Mutex;

use super::client::Client;
use super::conn::Conn;
use super::framed::Framed;
use super::head::{Failure, late};
use super::idle::Key;
use super::near::Near;
use super::turns::Turns;
use super::{Body, Request, Response};
use crate::error::{Error, Escaped, Kind, Result};
use crate::io::Io;
use crate::limits::{
    HEAD_BYTES_MAX, HEAD_FIELDS_MAX, HTTP2_CONNECTION_WINDOW, HTTP2_ORIGINS_MAX,
    HTTP2_STREAM_WINDOW, IDLE_AGE_MAX, STALE_CONNECTIONS_MAX,
};

/// The HTTP/2 connections of one thread: one for each origin that speaks it.
///
/// Only for tasks of a `LocalSet`, on which the connections live.
#[derive(Default)]
pub(crate) struct Http2(RefCell<HashMap<Key, Rc<Mutex<State>>>>);

/// What is known of an origin.
#[derive(Default)]
enum State {
    #[default]
    Unknown,
    Open(Open),
    /// It speaks HTTP/1.1 alone.
    Older,
    /// There was no connection to be had when it was tried last.
    Failed(Instant, Error),
}

/// A connection that takes requests.
#[derive(Clone)]
struct Open {
    sender: SendRequest<Empty<Bytes>>,
    /// Who may ask over it now.
    turns: Rc<Turns>,
    remote: SocketAddr,
    used: Instant,
    /// Made for the exchange at hand.
    is_fresh: bool,
    /// Tells it from others.
    mark: Rc<()>,
}

/// Runs what belongs to a connection on its thread.
#[derive(Clone)]
struct OnThisThread;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for OnThisThread {
    fn execute(&self, work: F) {
        tokio::task::spawn_local(work);
    }
}

impl Http2 {
    fn state(&self, key: &Key) -> Rc<Mutex<State>> {
        let mut all = self.0.borrow_mut();
        if all.len() >= HTTP2_ORIGINS_MAX && !all.contains_key(key) {
            // Answers on their way keep their connections.
            all.retain(|_, state| Rc::strong_count(state) > 1);
        }
        Rc::clone(all.entry(key.clone()).or_default())
    }
}

impl Open {
    fn takes_requests(&self) -> bool {
        !self.sender.is_closed() && !self.turns.are_doubtful() && self.used.elapsed() < IDLE_AGE_MAX
    }

    async fn over(conn: Conn) -> Result<Self> {
        let remote = conn.remote();
        let shaken = Builder::new(OnThisThread)
            .initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
            .handshake(TokioIo::new(conn))
            .await;
        let (sender, connection) = shaken.map_err(|error| explain(&error).failure.error)?;
        let connection = Rc::new(RefCell::new(connection));
        // Once it has ended it must be gone, for what still waits in it to be told; then nobody need wait.
        let it = Rc::downgrade(&connection);
        let turns = Turns::new(move || {
            it.upgrade().map_or(usize::MAX, |it| it.borrow().current_max_send_streams())
        });
        tokio::task::spawn_local(async move {
            // How it ended is told to the exchanges that were on it.
            let _ = poll_fn(|cx| Pin::new(&mut *connection.borrow_mut()).poll(cx)).await;
        });
        Ok(Self {
            sender,
            turns,
            remote,
            used: Instant::now(),
            is_fresh: true,
            mark: Rc::default(),
        })
    }
}

impl Client {
    /// Sends a request over a connection of this thread, HTTP/2 if it may and the server speaks it, and waits
    /// for the head of its response; else as [`Client::ask`]. Where an answer `is_checked` against a digest,
    /// which tells it from that to another request, the request may wait in a pipeline instead.
    ///
    /// Dropping the future gives the exchange up, and no other on its connection.
    pub(crate) async fn ask_near(
        &self,
        near: &Rc<Near>,
        io: &Io,
        request: &Request<'_>,
        is_checked: bool,
    ) -> Result<Response> {
        let key = Key::new(request.route, None);
        let http2 = near.http2.as_ref().filter(|_| request.route.url().scheme() == "https");
        let Some(http2) = http2 else {
            return self.ask_over(near, io, request, is_checked).await;
        };
        if is_checked && near.pipelines.may_be_asked(&key) {
            match self.ask_over(near, io, request, true).await {
                // It may speak HTTP/2 alone.
                Err(error) if error.kind() == Kind::Tls => {}
                done => return done,
            }
        }
        let state = http2.state(&key);
        let mut tries = 0;
        loop {
            let Some(open) = self.open(&state, near, request, &key).await? else {
                return self.ask_over(near, io, request, is_checked).await;
            };
            let (is_fresh, mark) = (open.is_fresh, Rc::clone(&open.mark));
            let failed = match self.exchange_over(open, request, key.clone()).await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            tries += 1;
            let again = match failed.sequel {
                Sequel::Older | Sequel::Again | Sequel::Anew => true,
                Sequel::Nothing | Sequel::Leave => failed.failure.nothing_came && !is_fresh,
            };
            match failed.sequel {
                Sequel::Nothing | Sequel::Again => {}
                Sequel::Leave | Sequel::Anew => replace(&state, &mark, State::Unknown).await,
                Sequel::Older => replace(&state, &mark, State::Older).await,
            }
            if !again || tries > STALE_CONNECTIONS_MAX {
                return Err(failed.failure.error);
            }
        }
    }

    /// The connection to ask over, made if there is none; `None` where the server speaks HTTP/1.1.
    async fn open(
        &self,
        state: &Mutex<State>,
        near: &Near,
        request: &Request<'_>,
        key: &Key,
    ) -> Result<Option<Open>> {
        let asked = Instant::now();
        let mut state = state.lock().await;
        match &mut *state {
            State::Older => return Ok(None),
            State::Open(open) if open.takes_requests() => {
                open.used = Instant::now();
                return Ok(Some(Open { is_fresh: false, ..open.clone() }));
            }
            // Who waited for somebody else's attempt need not make one more.
            State::Failed(when, error) if *when >= asked => return Err(error.repeat()),
            State::Unknown | State::Open(_) | State::Failed(..) => {}
        }
        let opened = async {
            let conn = self.dial_http2(request).await?;
            if conn.speaks_http2() {
                return Open::over(conn).await.map(Some);
            }
            near.keep(key.clone(), conn);
            Ok(None)
        };
        let opened = opened.await;
        *state = match &opened {
            Ok(Some(open)) => State::Open(open.clone()),
            Ok(None) => State::Older,
            Err(error) => State::Failed(Instant::now(), error.repeat()),
        };
        opened
    }

    async fn exchange_over(
        &self,
        open: Open,
        request: &Request<'_>,
        key: Key,
    ) -> std::result::Result<Response, Failed> {
        let http_request = self.http2_request(request).map_err(Failed::from)?;
        let Open { mut sender, turns, remote, is_fresh, .. } = open;
        // Those before it are patient with the server; so there is an end to this.
        let turn = turns.next().await;
        let start = Instant::now();
        let sent = async {
            sender.ready().await?;
            sender.send_request(http_request).await
        };
        let response = match tokio::time::timeout(request.head_timeout, sent).await {
            Ok(sent) => sent.map_err(|error| explain(&error))?,
            Err(_) => return Err(Failed::new(late(request.head_timeout), Sequel::Leave)),
        };
        let (head, incoming) = response.into_parts();
        let head_bytes = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        let head_bytes = head_bytes.sum();
        if head.headers.len() > HEAD_FIELDS_MAX || head_bytes > HEAD_BYTES_MAX {
            let message = "the response head is larger than any honest one";
            return Err(Error::new(Kind::Protocol, message).into());
        }
        let (status, http, headers) = (head.status, head.version, head.headers);
        let body = Body::Stream(Box::new(Framed::of_stream(incoming, turn)));
        let waited = start.elapsed();
        let near = None;
        Ok(Response {
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
            is_last: false,
        })
    }

    /// As over HTTP/1.1, but that the URL is whole and tells the host (RFC 9113 section 8.3.1).
    fn http2_request(&self, request: &Request<'_>) -> Result<http::Request<Empty<Bytes>>> {
        let mut http_request = self.http_request(request)?;
        let host = http_request.headers_mut().remove(HOST);
        let host = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
        let text = format!("https://{host}{}", http_request.uri());
        *http_request.uri_mut() = text.parse().map_err(|_| {
            let message = "the host that a header names cannot be asked for over HTTP/2";
            Error::new(Kind::Usage, message).hint("use --http1.1")
        })?;
        *http_request.version_mut() = http::Version::HTTP_2;
        Ok(http_request)
    }
}

/// Forgets a connection, unless there is another one by now.
async fn replace(state: &Mutex<State>, mark: &Rc<()>, now: State) {
    let mut state = state.lock().await;
    if matches!(&*state, State::Open(open) if Rc::ptr_eq(&open.mark, mark)) {
        *state = now;
    }
}

/// Why an exchange came to nothing.
struct Failed {
    failure: Failure,
    /// What else follows from it.
    sequel: Sequel,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Sequel {
    #[default]
    Nothing,
    /// The connection takes no more requests, or should not.
    Leave,
    /// The server says that it did nothing: it may be asked again at once.
    Again,
    /// The same, over another connection.
    Anew,
    /// The server wants to be asked over HTTP/1.1.
    Older,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { failure: error.into(), sequel: Sequel::Nothing }
    }
}

impl Failed {
    fn new(error: Error, sequel: Sequel) -> Self {
        Self { failure: error.into(), sequel }
    }
}

/// What a failure before the head means (RFC 9113 sections 7 and 8.7).
fn explain(error: &hyper::Error) -> Failed {
    let source = std::error::Error::source(error);
    match source.and_then(|source| source.downcast_ref::<h2::Error>()) {
        Some(error) => judge(error),
        // hyper itself: the connection was gone before the request was on it.
        None => gone("the server closed the connection before it answered"),
    }
}

fn judge(error: &h2::Error) -> Failed {
    if let Some(broken) = error.get_io() {
        let why = crate::error::reason(broken);
        return gone(&format!("the connection broke before the answer: {why}"));
    }
    let reason = error.reason().unwrap_or(h2::Reason::INTERNAL_ERROR);
    let why = error.to_string();
    let why = Escaped(&why);
    match (reason, error.is_go_away()) {
        (h2::Reason::HTTP_1_1_REQUIRED, _) => {
            let message = "the server wants to be asked over HTTP/1.1";
            Failed::new(Error::new(Kind::Protocol, message), Sequel::Older)
        }
        (h2::Reason::REFUSED_STREAM, false) => {
            let message = "the server refuses so many requests at a time";
            Failed::new(Error::new(Kind::Unavailable, message), Sequel::Again)
        }
        (h2::Reason::NO_ERROR, true) => {
            let message = "the server closes its connections before it answers";
            Failed::new(Error::new(Kind::Reset, message), Sequel::Anew)
        }
        (h2::Reason::ENHANCE_YOUR_CALM, _) if error.is_remote() => {
            let message = "the server asks for fewer requests";
            Failed::new(Error::new(Kind::Unavailable, message), Sequel::Leave)
        }
        (_, is_connection) => {
            let sequel = if is_connection { Sequel::Leave } else { Sequel::Nothing };
            let (kind, who) = match error.is_remote() {
                true => (Kind::Reset, "the server gave the exchange up"),
                false => (Kind::Protocol, "the answer is not HTTP/2"),
            };
            Failed::new(Error::new(kind, format!("{who}: {why}")), sequel)
        }
    }
}

/// The connection has gone, and nothing of an answer came.
fn gone(message: &str) -> Failed {
    let failure = Failure { error: Error::new(Kind::Reset, message), nothing_came: true };
    Failed { failure, sequel: Sequel::Leave }
}
