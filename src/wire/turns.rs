//! Turns on a connection that takes a number of exchanges at a time (RFC 9113 section 5.1.2).
//!
//! h2 would queue what is too much, and nobody could tell a request that waits for its turn from one that the
//! server does not answer. Invariant: no turn is waited for unless somebody has one.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::Notify;

/// The turns of one connection.
pub(super) struct Turns {
    taken: Cell<usize>,
    /// How many there are now; the server may change its mind.
    most: Box<dyn Fn() -> usize>,
    /// Told when one ends.
    ended: Notify,
    /// An exchange fell silent: others should go elsewhere.
    doubtful: Cell<bool>,
}

/// The right to one exchange, until it is dropped.
pub(super) struct Turn(Rc<Turns>);

impl Turns {
    pub(super) fn new(most: impl Fn() -> usize + 'static) -> Rc<Self> {
        Rc::new(Self {
            taken: Cell::new(0),
            most: Box::new(most),
            ended: Notify::new(),
            doubtful: Cell::new(false),
        })
    }

    /// Whether an exchange on the connection fell silent.
    pub(super) fn are_doubtful(&self) -> bool {
        self.doubtful.get()
    }

    /// Waits for a turn. There is always one: a server that wants no requests for now is asked to show it.
    pub(super) async fn next(self: &Rc<Self>) -> Turn {
        loop {
            let ended = self.ended.notified();
            if self.taken.get() < (self.most)().max(1) {
                self.taken.set(self.taken.get() + 1);
                return Turn(Rc::clone(self));
            }
            ended.await;
        }
    }
}

impl Turn {
    /// Has later exchanges go elsewhere: this one fell silent, and so may the connection have.
    pub(super) fn doubt(&self) {
        self.0.doubtful.set(true);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Self(turns) = self;
        turns.taken.set(turns.taken.get() - 1);
        turns.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll(waits: std::pin::Pin<&mut impl Future<Output = Turn>>) -> Option<Turn> {
        match waits.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    #[test]
    fn who_comes_when_all_turns_are_taken_gets_one_that_ends() {
        let most = Rc::new(Cell::new(2));
        let theirs = Rc::clone(&most);
        let turns = Turns::new(move || theirs.get());
        let first = poll(pin!(turns.next())).unwrap();
        let second = poll(pin!(turns.next())).unwrap();
        let mut third = pin!(turns.next());
        assert!(poll(third.as_mut()).is_none());
        drop(first);
        let third = poll(third).unwrap();
        // There are fewer from now on.
        most.set(1);
        drop(second);
        let mut fourth = pin!(turns.next());
        assert!(poll(fourth.as_mut()).is_none());
        drop(third);
        assert!(poll(fourth).is_some());
    }

    #[test]
    fn a_server_that_wants_no_requests_gets_one_at_a_time() {
        let turns = Turns::new(|| 0);
        let first = poll(pin!(turns.next())).unwrap();
        let mut second = pin!(turns.next());
        assert!(poll(second.as_mut()).is_none());
        drop(first);
        assert!(poll(second).is_some());
    }
}
