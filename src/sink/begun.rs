//! Whether bytes have gone where they cannot be taken back.

use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

/// A one-way street: either bytes have gone, or it is closed before the first.
#[derive(Default)]
pub(super) struct Begun(AtomicU8);

const UNUSED: u8 = 0;
const USED: u8 = 1;
const CLOSED: u8 = 2;

impl Begun {
    /// Notes that bytes are about to go; false if it was closed before.
    pub(super) fn begin(&self) -> bool {
        self.0.compare_exchange(UNUSED, USED, SeqCst, SeqCst).unwrap_or_else(|now| now) != CLOSED
    }

    /// Closes it, unless bytes have gone; false if they have.
    pub(super) fn close(&self) -> bool {
        self.0.compare_exchange(UNUSED, CLOSED, SeqCst, SeqCst).unwrap_or_else(|now| now) != USED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_to_come_decides() {
        let used = Begun::default();
        assert!(used.begin() && used.begin() && !used.close());
        let closed = Begun::default();
        assert!(closed.close() && closed.close() && !closed.begin());
    }
}
