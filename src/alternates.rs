//! Chooses among the addresses of one file.
//!
//! Validators mean nothing across hosts (RFC 9110 section 8.8.1), so several addresses are used side by
//! side only under a digest. Without one the others only stand in while the first has not answered yet.
//! Pure: it counts and chooses.

/// The addresses of one file and what became of them; address 0 is the one that was typed first.
#[derive(Debug)]
pub(crate) struct Alternates {
    /// The addresses, the one to be asked first in front.
    order: Vec<usize>,
    usable: Vec<bool>,
    /// Bytes of different addresses may be combined, because a digest decides in the end.
    combine: bool,
    /// The only address in use, once one has answered and others may not be combined with it.
    pinned: Option<usize>,
}

impl Alternates {
    /// `count` addresses, at least one.
    pub(crate) fn new(count: usize, combine: bool) -> Self {
        Self::ordered((0..count.max(1)).collect(), combine)
    }

    /// All addresses from 0 on, at least one, in the order in which they are to be asked.
    pub(crate) fn ordered(order: Vec<usize>, combine: bool) -> Self {
        Self { usable: vec![true; order.len()], order, combine, pinned: None }
    }

    /// The address for a lane; `None` if no usable one is left.
    pub(crate) fn choose(&self, lane: usize) -> Option<usize> {
        if let Some(pinned) = self.pinned {
            return self.usable[pinned].then_some(pinned);
        }
        let usable: Vec<_> = self.order.iter().filter(|at| self.usable[**at]).copied().collect();
        let turn = if self.combine { lane } else { 0 };
        (!usable.is_empty()).then(|| usable[turn % usable.len()])
    }

    /// Notes that an address has answered for the file.
    pub(crate) fn answered(&mut self, address: usize) {
        if !self.combine && self.pinned.is_none() {
            self.pinned = Some(address);
        }
    }

    /// Gives an address up. Returns whether another can take its place.
    pub(crate) fn give_up(&mut self, address: usize) -> bool {
        let others = self.usable.iter().enumerate().any(|(at, usable)| *usable && at != address);
        let replaceable = others && self.pinned.is_none();
        // Several lanes may find the same address dead, one after the other.
        if replaceable {
            self.usable[address] = false;
        }
        replaceable
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_share_the_addresses_under_a_digest() {
        let mut all = Alternates::new(3, true);
        assert_eq!((0..4).map(|lane| all.choose(lane).unwrap()).collect::<Vec<_>>(), [0, 1, 2, 0]);
        all.answered(0);
        assert!(all.give_up(0));
        assert_eq!((0..3).map(|lane| all.choose(lane).unwrap()).collect::<Vec<_>>(), [1, 2, 1]);
        assert!(all.give_up(1));
        assert!(!all.give_up(2), "the last address is never given up");
        assert_eq!(all.choose(7), Some(2));
    }

    #[test]
    fn the_order_says_who_stands_in_for_whom() {
        let mut all = Alternates::ordered(vec![2, 0, 1], false);
        assert_eq!((all.choose(0), all.choose(1)), (Some(2), Some(2)));
        assert!(all.give_up(2));
        assert_eq!(all.choose(0), Some(0));
        let all = Alternates::ordered(vec![1, 0], true);
        assert_eq!((0..3).map(|lane| all.choose(lane).unwrap()).collect::<Vec<_>>(), [1, 0, 1]);
    }

    #[test]
    fn without_a_digest_the_first_to_answer_is_the_only_one() {
        let mut all = Alternates::new(2, false);
        assert_eq!((all.choose(0), all.choose(5)), (Some(0), Some(0)));
        assert!(all.give_up(0));
        assert_eq!(all.choose(3), Some(1));
        all.answered(1);
        assert!(!all.give_up(1));
    }
}
