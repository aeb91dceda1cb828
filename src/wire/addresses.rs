//! The addresses of a name in the order in which they are tried, and what is remembered of them.
//!
//! Happy eyeballs (RFC 8305) alternate the families, and what has worked before comes first: eight
//! connections do not pay eight times for one black hole. Every dial resolves anew; an address that the
//! resolver has dropped is never tried for having worked once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use crate::limits::{ADDRESSES_MAX, NAMES_MAX};

/// What one client has learned of the names it dials.
#[derive(Debug, Default)]
pub(super) struct Experience(Mutex<HashMap<Name, Record>>);

/// A host and a port.
pub(super) type Name = (String, u16);

#[derive(Debug, Default)]
struct Record {
    /// Connected last.
    good: Option<SocketAddr>,
    /// Failed since they last worked.
    bad: Vec<SocketAddr>,
}

impl Experience {
    /// Puts the addresses of a name in the order in which to try them.
    pub(super) fn order(&self, name: &Name, found: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut order = interleave(found);
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(record) = all.get(name) {
            // A stable sort: among equals the families still alternate.
            order.sort_by_key(|address| record.rank(address));
        }
        order.truncate(ADDRESSES_MAX);
        order
    }

    /// Notes that an address let us connect.
    pub(super) fn worked(&self, name: &Name, address: SocketAddr) {
        self.note(name, |record| {
            record.good = Some(address);
            record.bad.retain(|bad| *bad != address);
        });
    }

    /// Notes that an address did not let us connect, or broke off before it answered.
    pub(super) fn failed(&self, name: &Name, address: SocketAddr) {
        self.note(name, |record| {
            record.good = record.good.filter(|good| *good != address);
            if !record.bad.contains(&address) && record.bad.len() < ADDRESSES_MAX {
                record.bad.push(address);
            }
        });
    }

    fn note(&self, name: &Name, change: impl FnOnce(&mut Record)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(name) && all.len() >= NAMES_MAX {
            // It only saves time: whoever is still in use is soon back.
            all.clear();
        }
        change(all.entry(name.clone()).or_default());
    }
}

impl Record {
    fn rank(&self, address: &SocketAddr) -> u8 {
        match address {
            good if self.good.as_ref() == Some(good) => 0,
            bad if self.bad.contains(bad) => 2,
            _ => 1,
        }
    }
}

/// Alternates the families, beginning with the resolver's favourite (RFC 8305 section 4).
fn interleave(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first = addresses.first().map(SocketAddr::is_ipv6);
    let (ours, others): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.iter().copied().partition(|address| Some(address.is_ipv6()) == first);
    let mut others = others.into_iter();
    let mut mixed = Vec::with_capacity(addresses.len());
    for address in ours {
        mixed.push(address);
        mixed.extend(others.next());
    }
    mixed.extend(others);
    mixed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v6(n: u16) -> SocketAddr {
        SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, n], 1))
    }

    fn v4(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 1))
    }

    fn name() -> Name {
        ("h".to_owned(), 1)
    }

    #[test]
    fn families_alternate_and_the_count_is_bounded() {
        let fresh = Experience::default();
        let mixed = fresh.order(&name(), &[v6(1), v6(2), v6(3), v4(1)]);
        assert_eq!(mixed, [v6(1), v4(1), v6(2), v6(3)]);
        let many: Vec<_> = (0..40).map(v4).collect();
        assert_eq!(fresh.order(&name(), &many).len(), ADDRESSES_MAX);
        assert!(fresh.order(&name(), &[]).is_empty());
    }

    #[test]
    fn what_worked_comes_first_and_what_failed_last() {
        let seen = Experience::default();
        seen.failed(&name(), v6(1));
        seen.worked(&name(), v4(2));
        let found = [v6(1), v6(2), v4(1), v4(2)];
        assert_eq!(seen.order(&name(), &found), [v4(2), v4(1), v6(2), v6(1)]);
        seen.failed(&name(), v4(2));
        seen.worked(&name(), v6(1));
        assert_eq!(seen.order(&name(), &found), [v6(1), v4(1), v6(2), v4(2)]);
        let other = ("h".to_owned(), 2);
        assert_eq!(seen.order(&other, &found), [v6(1), v4(1), v6(2), v4(2)], "another port");
    }

    #[test]
    fn an_address_that_the_name_has_lost_is_not_tried() {
        let seen = Experience::default();
        seen.worked(&name(), v4(9));
        assert_eq!(seen.order(&name(), &[v4(1)]), [v4(1)]);
    }

    #[test]
    fn an_address_beyond_the_bound_that_works_is_kept() {
        let seen = Experience::default();
        let many: Vec<_> = (0..40).map(v4).collect();
        seen.worked(&name(), v4(39));
        assert_eq!(seen.order(&name(), &many)[0], v4(39));
    }

    #[test]
    fn the_memory_is_bounded() {
        let seen = Experience::default();
        for port in 0..1000 {
            seen.worked(&("h".to_owned(), port), v4(1));
        }
        assert!(seen.0.lock().unwrap().len() <= NAMES_MAX);
    }

    proptest! {
        #[test]
        fn an_order_holds_every_address_once_and_the_families_take_turns(
            sixes in 0..8u16, fours in 0..8u8, six_first: bool
        ) {
            let six = (0..sixes).map(v6);
            let four = (0..fours).map(v4);
            let found: Vec<_> = match six_first {
                true => six.chain(four).collect(),
                false => four.chain(six).collect(),
            };
            let order = interleave(&found);
            let sorted = |addresses: &[SocketAddr]| {
                let mut sorted = addresses.to_vec();
                sorted.sort();
                sorted
            };
            prop_assert_eq!(sorted(&order), sorted(&found));
            prop_assert_eq!(order.first(), found.first());
            let turns = usize::from(sixes.min(u16::from(fours))) * 2;
            for pair in order[..turns].windows(2) {
                prop_assert_ne!(pair[0].is_ipv6(), pair[1].is_ipv6());
            }
        }
    }
}
