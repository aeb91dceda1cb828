//! Asks, follows redirects, and lets the gate judge what comes back.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::Lane;
use crate::board::Job;
use crate::error::{Error, Kind, Result};
use crate::fetch::Way;
use crate::gate::{self, Answer, Ask, Head, Version};
use crate::limits::{RECEIVE_SLICE, RETRY_AFTER_MAX};
use crate::retry;
use crate::wire::{Request, Response, Route, has_run_out};

/// An answer that is none of a failure or a redirect.
pub(super) enum Judged {
    /// The body may be written where the answer says.
    Body(Answer, Box<Response>),
    /// The file has no bytes.
    Empty(Version),
    /// The file is another one now.
    Changed(String),
    /// Ranges do not work here.
    Unranged(String),
    /// No answer came in the time that was given for it.
    Late,
}

/// One question, and what its answer must belong to.
struct Question<'a> {
    ask: &'a Ask,
    known: Option<&'a Version>,
    /// Whether to have the server send the range only of the known version.
    conditional: bool,
    /// The longest that an answer may take, if a fresh connection is worth a try then.
    patience: Option<Duration>,
}

/// A question that came to nothing.
struct Lost {
    error: Error,
    /// Whether the reason may be that a remembered address has expired.
    may_have_expired: bool,
}

impl Lost {
    fn certainly(error: Error) -> Self {
        Self { error, may_have_expired: false }
    }

    fn perhaps_expired(error: Error) -> Self {
        Self { error, may_have_expired: true }
    }
}

impl Lane {
    /// Sends one request to the address that is this lane's, over as many redirects as are allowed.
    ///
    /// Where what the redirects once led to works no more, all lanes together find out where they lead now.
    /// `patience` is for one answer to begin, and does not count what the server wants us to wait.
    /// Dropping the future closes the connection.
    ///
    /// # Errors
    /// Whatever the wire, a redirect or the gate's refusal gives; told with the URL's host and path where
    /// it is the server's.
    pub(super) async fn ask(
        &mut self,
        ask: &Ask,
        job: Option<&Job>,
        patience: Option<Duration>,
    ) -> Result<Judged> {
        let address = self.fetch.address(self.number)?;
        self.address = address;
        let fetch = Arc::clone(&self.fetch);
        let known = match job {
            Some(job) => fetch.known_version(address, job),
            None => fetch.left_version(),
        };
        let conditional = job.is_some_and(|job| !job.is_unconditional()) && ask.range.is_some();
        let question = Question { ask, known: known.as_ref(), conditional, patience };
        loop {
            let mut way = fetch.way(address).await?;
            let lost = match self.walk(&mut way, &question).await {
                Ok(judged) => return Ok(judged),
                Err(lost) => lost,
            };
            if !(lost.may_have_expired && way.has_failed()) {
                way.is_barred(&lost.error);
                return Err(lost.error);
            }
        }
    }

    /// Follows one way to its end.
    async fn walk(&mut self, way: &mut Way<'_>, question: &Question<'_>) -> Result<Judged, Lost> {
        loop {
            let sent = self.send(&way.route, question).await.map_err(|error| Lost {
                // The machine may be gone whose name the redirect gave.
                may_have_expired: matches!(error.kind(), Kind::Connect | Kind::Resolve)
                    && !has_run_out(&error),
                error,
            })?;
            let Some(response) = sent else { return Ok(Judged::Late) };
            let head =
                Head { status: response.status, http: response.http, headers: &response.headers };
            match gate::judge(&head, question.ask, question.known, SystemTime::now()) {
                gate::Verdict::Body(answer) => {
                    if response.is_fresh {
                        self.board.dialled(Instant::now());
                    }
                    way.answered(&answer.version);
                    return Ok(Judged::Body(answer, Box::new(response)));
                }
                gate::Verdict::Empty(version) => return Ok(Judged::Empty(version)),
                gate::Verdict::Changed(why) => return Ok(Judged::Changed(why)),
                gate::Verdict::Unranged(why) => return Ok(Judged::Unranged(why)),
                gate::Verdict::Redirect(location) => {
                    let rule = self.fetch.options.client.redirect_rule();
                    let followed = way.route.follow(&location, response.head_bytes, rule);
                    response.drain(&self.fetch.options.client, RECEIVE_SLICE).await;
                    // The redirects that were remembered may lead nowhere by now.
                    followed.map_err(Lost::perhaps_expired)?;
                }
                gate::Verdict::Failed(error) => {
                    self.note_wait(&way.route, &error);
                    let may_have_expired = gate::may_have_expired(response.status);
                    // Its connection is closed: kept open, it would take one of the places of a server that
                    // has too few.
                    drop(response);
                    return Err(match may_have_expired {
                        true => Lost::perhaps_expired(error),
                        false => Lost::certainly(error),
                    });
                }
            }
        }
    }

    /// Sends one request; `None` if its answer is late.
    async fn send(&mut self, route: &Route, question: &Question<'_>) -> Result<Option<Response>> {
        self.wait_out_hold(route).await;
        let request = Request {
            route,
            range: question.ask.header(),
            condition: question.known.filter(|_| question.conditional).and_then(Version::condition),
            past_caches: self.pulse.broke,
            head_timeout: self.fetch.options.stall_timeout,
        };
        let patience = question.patience.unwrap_or(Duration::MAX);
        let asked = self.fetch.options.client.ask(&self.io, &request, self.board.receive_buffer());
        let begun = Instant::now();
        let Ok(response) = tokio::time::timeout(patience, asked).await else { return Ok(None) };
        let response = response?;
        // A connection that takes long to make takes as long the next time.
        self.board.answered(begun.elapsed());
        self.pulse.waited = response.waited;
        Ok(Some(response))
    }

    /// A server that wants us to wait means all our connections to it.
    fn note_wait(&self, route: &Route, error: &Error) {
        if let Some(wait) = error.wait_asked().filter(|wait| *wait <= RETRY_AFTER_MAX) {
            self.board.hold(&route.url().origin(), wait, Instant::now());
        }
    }

    async fn wait_out_hold(&self, route: &Route) {
        let origin = route.url().origin();
        loop {
            let held = self.board.held(&origin, Instant::now());
            if held.is_zero() {
                return;
            }
            tokio::time::sleep(retry::stagger(held, fastrand::f64())).await;
        }
    }
}
