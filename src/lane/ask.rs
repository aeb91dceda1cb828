//! Asks, follows redirects, and lets the gate judge what comes back.

use std::time::{Instant, SystemTime};

use super::Lane;
use crate::board::Job;
use crate::error::{Kind, Result};
use crate::gate::{self, Answer, Ask, Head, Version};
use crate::limits::RECEIVE_SLICE;
use crate::wire::{Request, Response};

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
}

impl Lane {
    /// Sends one request to the address that is this lane's, over as many redirects as are allowed.
    ///
    /// Dropping the future closes the connection.
    ///
    /// # Errors
    /// Whatever the wire, a redirect or the gate's refusal gives; told with the URL's host and path where
    /// it is the server's.
    pub(super) async fn ask(&mut self, ask: &Ask, job: Option<&Job>) -> Result<Judged> {
        let held = self.board.held(Instant::now());
        if !held.is_zero() {
            tokio::time::sleep(held).await;
        }
        let address = self.fetch.address(self.number)?;
        self.address = address;
        let mut route = self.fetch.route(address);
        let known = match job {
            Some(job) => self.fetch.known_version(address, job),
            None => self.fetch.left_version(),
        };
        let remembered = route.is_redirected();
        let mut asked_again = false;
        loop {
            let response = self.send(&route, ask, job, known.as_ref()).await?;
            let head =
                Head { status: response.status, http: response.http, headers: &response.headers };
            match gate::judge(&head, ask, known.as_ref(), SystemTime::now()) {
                gate::Verdict::Body(answer) => {
                    self.fetch.learned(address, &route, &answer.version);
                    return Ok(Judged::Body(answer, Box::new(response)));
                }
                gate::Verdict::Empty(version) => return Ok(Judged::Empty(version)),
                gate::Verdict::Changed(why) => return Ok(Judged::Changed(why)),
                gate::Verdict::Unranged(why) => return Ok(Judged::Unranged(why)),
                gate::Verdict::Redirect(location) => {
                    let rule = self.fetch.options.client.redirect_rule();
                    let followed = route.follow(&location, response.head_bytes, rule);
                    if let Err(error) = followed {
                        // The redirects that were remembered may lead nowhere by now.
                        if asked_again || !remembered {
                            return Err(error);
                        }
                        asked_again = true;
                        route.reset();
                    }
                    response.drain(&self.fetch.options.client, RECEIVE_SLICE).await;
                }
                gate::Verdict::Failed(error) => {
                    // A signed address may have expired; the typed one leads to a fresh one.
                    let stale =
                        error.kind() == Kind::Refused && job.is_some() && route.is_redirected();
                    // Its connection is closed: kept open, it would take one of the places of a server that
                    // has too few.
                    drop(response);
                    if !stale || asked_again {
                        return Err(error);
                    }
                    asked_again = true;
                    route.reset();
                }
            }
        }
    }

    async fn send(
        &mut self,
        route: &crate::wire::Route,
        ask: &Ask,
        job: Option<&Job>,
        known: Option<&Version>,
    ) -> Result<Response> {
        let conditional = job.is_some_and(|job| !job.is_unconditional()) && ask.range.is_some();
        let request = Request {
            route,
            range: ask.header(),
            condition: known.filter(|_| conditional).and_then(Version::condition),
            head_timeout: self.fetch.options.stall_timeout,
        };
        let response = self.fetch.options.client.ask(&self.io, &request).await?;
        self.pulse.waited = response.waited;
        Ok(response)
    }
}
