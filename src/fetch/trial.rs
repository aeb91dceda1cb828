//! Which addresses gave the wrong stretches of a file, over all attempts of a run to fetch it.
//!
//! It reads and asks nothing. Invariant: a byte is held against the address that brought it last.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::digest::Stretches;
use crate::ledger::Extents;

/// The digests of the stretches of a file, and what they have shown so far.
#[derive(Debug)]
pub(crate) struct Trial {
    stretches: Arc<Stretches>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What each address has brought.
    given: Vec<Extents>,
    /// Wrong stretches of each address.
    wrong: Vec<u32>,
    /// An attempt has left what was right for the next.
    has_kept: bool,
}

impl Trial {
    /// A trial of so many addresses.
    pub(crate) fn new(stretches: Arc<Stretches>, addresses: usize) -> Self {
        let (given, wrong) = (vec![Extents::default(); addresses], vec![0; addresses]);
        Self { stretches, state: Mutex::new(State { given, wrong, has_kept: false }) }
    }

    pub(crate) fn stretches(&self) -> &Arc<Stretches> {
        &self.stretches
    }

    /// Notes who brought these bytes.
    pub(super) fn gave(&self, address: usize, bytes: &Range<u64>) {
        let mut state = self.state();
        for (at, given) in state.given.iter_mut().enumerate() {
            match at == address {
                true => given.insert(bytes.clone()),
                false => given.remove(bytes.clone()),
            }
        }
    }

    /// Notes that these bytes were wrong.
    pub(super) fn convict(&self, wrong: &Range<u64>) {
        let State { given, wrong: counts, .. } = &mut *self.state();
        for (given, count) in given.iter().zip(counts) {
            *count += u32::from(given.overlaps(wrong));
        }
    }

    /// Notes that the next attempt finds what was right.
    pub(super) fn keep(&self) {
        self.state().has_kept = true;
    }

    /// Whether an attempt has left what was right for the next.
    pub(crate) fn has_kept(&self) -> bool {
        self.state().has_kept
    }

    /// The addresses in the order in which they are to be asked: who gave wrong bytes comes last.
    pub(super) fn order(&self) -> Vec<usize> {
        let state = self.state();
        let mut order: Vec<_> = (0..state.wrong.len()).collect();
        order.sort_by_key(|at| state.wrong[*at]);
        order
    }

    /// Whether no address has given wrong bytes yet: then all may be asked side by side.
    pub(super) fn is_clean(&self) -> bool {
        self.state().wrong.iter().all(|count| *count == 0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algo;

    #[test]
    fn whoever_brought_a_wrong_byte_last_is_asked_last() {
        let stretches = Stretches::new(Algo::Md5, 1 << 20, vec![0; 32]).unwrap();
        let trial = Trial::new(Arc::new(stretches), 3);
        trial.gave(0, &(0..10));
        trial.gave(1, &(10..20));
        assert!(trial.is_clean() && trial.order() == [0, 1, 2] && !trial.has_kept());
        trial.convict(&(20..30));
        assert!(trial.is_clean(), "nobody is known to have brought it");
        trial.convict(&(5..10));
        assert!(!trial.is_clean() && trial.order() == [1, 2, 0]);
        trial.gave(1, &(5..10));
        trial.convict(&(5..10));
        assert_eq!(trial.order(), [2, 0, 1], "it was not the first this time");
        trial.convict(&(4..11));
        assert_eq!(trial.order(), [2, 0, 1], "both had a part");
    }
}
