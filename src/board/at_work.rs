//! A lane at work, and how it retires.

use std::cell::Cell;
use std::time::Instant;

use super::Board;
use super::state::{Stage, State};

/// A lane at work. Dropping it says that the lane has let go of everything.
pub(crate) struct AtWork<'a> {
    board: &'a Board,
    retires: Cell<bool>,
}

impl<'a> AtWork<'a> {
    /// For a lane that the board counts as at work already.
    pub(super) fn new(board: &'a Board) -> Self {
        Self { board, retires: Cell::new(false) }
    }

    /// The server objected to this connection. Returns whether the lane should retire, because others are at
    /// work.
    pub(crate) fn objected(&self, now: Instant) -> bool {
        self.retire_if(|state| state.pace.objected(now))
    }

    /// This lane has run out of attempts. Returns whether it should retire, because others are at work.
    pub(crate) fn retire(&self) -> bool {
        self.retire_if(|_| true)
    }

    fn retire_if(&self, should: impl FnOnce(&mut State) -> bool) -> bool {
        let mut state = self.board.lock();
        // Whoever retires at this moment, but has yet to let go of its lease, is none who stays.
        let others = state.staying().saturating_sub(u32::from(!self.retires.get()));
        let retires = others > 0 && should(&mut state);
        if retires {
            // Otherwise the lane would be dealt the same lease at once.
            state.lanes_max = state.lanes_max.min(others);
            state.retiring += u32::from(!self.retires.replace(true));
        }
        retires
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let mut state = self.board.lock();
        state.at_work -= 1;
        state.retiring -= u32::from(self.retires.get());
        if matches!(state.stage, Stage::Probing) && state.at_work == 0 {
            // The prober let go without a word: somebody else must ask.
            state.stage = Stage::Unprobed;
        }
        self.board.settle(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{Manner, Rules};
    use crate::pace::Pace;

    #[test]
    fn lanes_that_retire_at_one_moment_all_count() {
        let rules = Rules { retries: 0, window: 1, receive_buffer: None };
        let board = Board::new(rules, Manner::Ranges, Pace::exactly(8), None);
        board.lock().at_work = 3;
        let lanes = [AtWork::new(&board), AtWork::new(&board), AtWork::new(&board)];
        assert!(lanes[0].retire());
        assert_eq!(board.lock().lanes_max, 2);
        assert!(lanes[1].retire() && lanes[0].retire(), "asked twice, it retires once");
        assert_eq!(board.lock().lanes_max, 1);
        assert!(!lanes[2].retire() && !lanes[2].objected(Instant::now()), "nobody else stays");
        drop(lanes);
        let state = board.lock();
        assert_eq!((state.at_work, state.retiring, state.lanes_max), (0, 0, 1));
    }
}
