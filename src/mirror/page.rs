//! One question and its answer, redirects followed; and a whole page kept in memory, as indexes are.

use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderName, HeaderValue, StatusCode};

use super::counts::Counts;
use crate::block::{Block, Place};
use crate::error::{Error, Kind, Result};
use crate::gate::{self, Answer, Ask, Head, Version};
use crate::io::{Io, Received};
use crate::limits::{INDEX_BYTES_MAX, RECEIVE_SLICE};
use crate::options::Options;
use crate::tempo::Tempo;
use crate::wire::{Near, Request, Response, Route};

/// What a server answered.
pub(super) enum Heard {
    /// The version that was named is still the one (304).
    Same,
    /// The body follows.
    Body(Answer, Box<Response>),
    /// The file has no bytes.
    Empty(Version),
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) error: Error,
    /// What the server said, if it said anything.
    pub(super) status: Option<StatusCode>,
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self { error, status: None }
    }
}

/// Whom to ask, as whom.
pub(super) struct Asker<'a> {
    pub(super) io: &'a Io,
    pub(super) options: &'a Options,
    pub(super) counts: &'a Counts,
    /// How often a host may be asked; `None` for as often as it answers.
    pub(super) tempo: Option<&'a Mutex<Tempo>>,
    /// The connections of this thread, if it keeps its own.
    pub(super) near: Option<&'a Rc<Near>>,
    /// Whether the body is held against a digest, and is small.
    pub(super) is_checked: bool,
}

impl Asker<'_> {
    /// Asks for the whole of what a way leads to.
    pub(super) async fn ask(
        &self,
        route: &mut Route,
        condition: Option<(HeaderName, HeaderValue)>,
        past_caches: bool,
    ) -> Result<Heard, Trouble> {
        let client = &self.options.client;
        loop {
            let request = Request {
                route,
                range: None,
                condition: condition.clone(),
                past_caches,
                head_timeout: self.options.stall_timeout,
            };
            self.wait_for_turn(route).await;
            self.counts.add_request();
            let response = match self.near {
                Some(near) => client.ask_near(near, self.io, &request, self.is_checked).await?,
                None => client.ask(self.io, &request, None).await?,
            };
            let status = response.status;
            if status == StatusCode::NOT_MODIFIED && condition.is_some() {
                response.drain(client, RECEIVE_SLICE).await;
                return Ok(Heard::Same);
            }
            let head = Head { status, http: response.http, headers: &response.headers };
            let ask = Ask { range: None };
            let error = match gate::judge(&head, &ask, None, SystemTime::now()) {
                gate::Verdict::Body(answer) => return Ok(Heard::Body(answer, Box::new(response))),
                gate::Verdict::Empty(version) => {
                    response.drain(client, RECEIVE_SLICE).await;
                    return Ok(Heard::Empty(version));
                }
                gate::Verdict::Redirect(location) => {
                    let followed =
                        route.follow(&location, response.head_bytes, client.redirect_rule());
                    response.drain(client, RECEIVE_SLICE).await;
                    followed.map_err(|error| Trouble { error, status: Some(status) })?;
                    continue;
                }
                gate::Verdict::Failed(error) => {
                    // The next request comes over the same connection; servers answer many a 404 this way.
                    response.drain(client, RECEIVE_SLICE).await;
                    error
                }
                gate::Verdict::Changed(why) | gate::Verdict::Unranged(why) => {
                    Error::new(Kind::Protocol, why)
                }
            };
            return Err(Trouble { error, status: Some(status) });
        }
    }

    async fn wait_for_turn(&self, route: &Route) {
        let Some(tempo) = self.tempo else { return };
        let wait = {
            let mut tempo = tempo.lock().unwrap_or_else(PoisonError::into_inner);
            tempo.turn(&route.url().origin(), Instant::now())
        };
        tokio::time::sleep(wait).await;
    }

    /// A whole page: its bytes, its kind, and where it was in the end.
    ///
    /// # Errors
    /// As [`Self::ask`], and `Kind::Protocol` for a page larger than [`INDEX_BYTES_MAX`].
    pub(super) async fn page(
        &self,
        mut route: Route,
    ) -> Result<(Vec<u8>, Option<String>, url::Url), Trouble> {
        let (answer, mut response) = match self.ask(&mut route, None, false).await? {
            Heard::Body(answer, response) => (answer, response),
            Heard::Same | Heard::Empty(_) => return Ok((Vec::new(), None, route.url().clone())),
        };
        let kind = response.headers.get(http::header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).map(ToOwned::to_owned);
        let too_large = || {
            let message = format!("the page has more than {INDEX_BYTES_MAX} bytes");
            Trouble::from(Error::new(Kind::Protocol, message))
        };
        let mut page = Vec::new();
        let mut block = Block::own(Place { index: 0, offset: 0, length: PAGE_PART_BYTES });
        let mut patience = Patience::new(self.options.stall_timeout);
        loop {
            let received;
            (received, block) = receive(&mut response, block, PAGE_PART_BYTES, &mut patience).await;
            if received? == Received::End {
                break;
            }
            page.extend_from_slice(block.bytes());
            self.counts.add_bytes(route.url(), crate::units::wide(block.filled()));
            block.clear();
            if page.len() > INDEX_BYTES_MAX {
                return Err(too_large());
            }
        }
        if answer.reusable {
            response.recycle(&self.options.client);
        }
        Ok((page, kind, route.url().clone()))
    }
}

/// How long bytes have been waited for in vain.
pub(super) struct Patience {
    silent: Duration,
    most: Duration,
}

impl Patience {
    pub(super) fn new(most: Duration) -> Self {
        Self { silent: Duration::ZERO, most }
    }
}

/// Receives some of a body, or its end, into what the block has left, at most `max` bytes.
///
/// # Errors
/// As [`Response::fill`], and `Kind::Stall` if nothing comes for too long.
pub(super) async fn receive(
    response: &mut Response,
    mut block: Block,
    max: usize,
    patience: &mut Patience,
) -> (Result<Received>, Block) {
    loop {
        let enough = std::pin::pin!(tokio::time::sleep(RECEIVE_SLICE));
        let received;
        (received, block) = response.fill(block, max, enough).await;
        match received {
            Ok(Received::Nothing) => patience.silent += RECEIVE_SLICE,
            other => {
                patience.silent = Duration::ZERO;
                return (other, block);
            }
        }
        if patience.silent >= patience.most {
            response.fell_silent();
            let time = crate::units::show_time(patience.most);
            let error = Error::new(Kind::Stall, format!("no byte came for {time}"))
                .hint("raise --stall-timeout if the server is just slow");
            return (Err(error), block);
        }
    }
}

/// Bytes of a page that are received at once.
const PAGE_PART_BYTES: usize = 64 << 10;
