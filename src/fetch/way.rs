//! The way of one question: where an address leads, and what to do when that has stopped working.
//!
//! What a redirect led to is remembered, and may expire. Then one lane asks the typed address again while
//! the others wait here (the rules are `renewal`'s). It sends nothing itself. Dropping a [`Way`] hands its
//! turn to the next lane.

use super::Fetch;
use crate::error::{Error, Result};
use crate::gate::Version;
use crate::renewal::Turn;
use crate::wire::Route;

/// The way of one question to an address.
pub(crate) struct Way<'a> {
    fetch: &'a Fetch,
    address: usize,
    pub(crate) route: Route,
    origin: Origin,
}

/// Where a way comes from.
#[derive(Clone, Copy, PartialEq)]
enum Origin {
    /// The user: nothing that can have expired. The number is the age of what is known.
    Typed(u64),
    /// An answer that once came by it, at this age.
    Remembered(u64),
    /// The user, asked for a fresh one while the others wait for that.
    Renewing,
    /// What the others waited for has been told.
    Told,
}

/// Another lane asks, in the round after this one.
struct Wait(u64);

impl Fetch {
    /// The way to an address as far as it is known; waits while another lane finds a fresh one.
    ///
    /// # Errors
    /// The refusal of the typed address, where it has been asked often enough, and what kept the other lane
    /// from asking it.
    pub(crate) async fn way(&self, address: usize) -> Result<Way<'_>> {
        let mut waited = None;
        loop {
            let mut renewed = std::pin::pin!(self.renewed.notified());
            renewed.as_mut().enable();
            match self.try_way(address, waited)? {
                Ok(way) => return Ok(way),
                Err(Wait(round)) => waited = waited.or(Some(round)),
            }
            renewed.await;
        }
    }

    fn try_way(&self, address: usize, waited: Option<u64>) -> Result<Result<Way<'_>, Wait>> {
        let mut places = self.places();
        let mut route = places.routes[address].clone();
        let origin = match places.renewals[address].turn(self.meter.fetched(), waited) {
            Turn::Known(age) if route.is_redirected() => Origin::Remembered(age),
            Turn::Known(age) => Origin::Typed(age),
            Turn::Ask => {
                route.reset();
                Origin::Renewing
            }
            Turn::Wait(round) => return Ok(Err(Wait(round))),
            Turn::Failed(error) => return Err(error),
        };
        Ok(Ok(Way { fetch: self, address, route, origin }))
    }
}

impl Way<'_> {
    /// Notes that the address answered by this way, with this version.
    pub(crate) fn answered(&mut self, version: &Version) {
        let mut places = self.fetch.places();
        let renewal = &mut places.renewals[self.address];
        let is_fresh = match self.origin {
            // Another lane may have found a fresh way while this answer came by the old one.
            Origin::Typed(age) | Origin::Remembered(age) => renewal.is_current(age),
            Origin::Renewing => {
                renewal.renewed();
                true
            }
            Origin::Told => false,
        };
        if is_fresh {
            places.routes[self.address] = self.route.settled();
        }
        // The first answer is the reference: were it replaced, versions could drift apart step by step.
        places.versions[self.address].get_or_insert_with(|| version.clone());
        places.alternates.answered(self.address);
        drop(places);
        if self.origin == Origin::Renewing {
            self.tell();
        }
    }

    /// Notes that what was remembered of the way does not work any more. Returns whether there may be another
    /// way by now; otherwise the failure stands.
    pub(crate) fn has_failed(&self) -> bool {
        let Origin::Remembered(age) = self.origin else { return false };
        let bytes = self.fetch.meter.fetched();
        self.fetch.places().renewals[self.address].failed(age, bytes)
    }

    /// Notes that there is no way for now.
    pub(crate) fn is_barred(&mut self, error: &Error) {
        self.not_renewed(Some(error));
    }

    fn not_renewed(&mut self, error: Option<&Error>) {
        if self.origin == Origin::Renewing {
            self.fetch.places().renewals[self.address].not_renewed(error);
            self.tell();
        }
    }

    fn tell(&mut self) {
        self.origin = Origin::Told;
        self.fetch.renewed.notify_waiters();
    }
}

impl Drop for Way<'_> {
    fn drop(&mut self) {
        self.not_renewed(None);
    }
}
