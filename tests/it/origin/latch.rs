//! Makes one thread wait for an event in another.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Longest wait; a test that needs more hangs.
const DEADLINE: Duration = Duration::from_secs(30);

/// Shut at first, open for ever once opened. Clones are the same latch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latch(Arc<(Mutex<bool>, Condvar)>);

impl Latch {
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Waits until the latch is open and panics after the deadline.
    pub(crate) fn wait(&self) {
        assert!(self.is_open_within(DEADLINE), "the latch was never opened");
    }

    /// Waits for at most `time`.
    pub(crate) fn is_open_within(&self, time: Duration) -> bool {
        let shut = self.0.0.lock().unwrap();
        let (open, _) = self.0.1.wait_timeout_while(shut, time, |open| !*open).unwrap();
        *open
    }
}
