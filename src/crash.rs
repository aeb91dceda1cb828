//! Lets tests choose where the program dies, and how soon it writes down and syncs what has landed: in debug
//! builds alone, and there only where an environment variable asks for it.
//!
//! Its invariant: a release build holds nothing of this, and a debug build that is not asked behaves as one.

use std::fs::File;

/// Comes by a place where a crash is worth a test. `RINGPULL_CRASH_AT=N` has the N-th of them be the end of
/// the process, by SIGKILL.
pub(crate) fn point() {
    #[cfg(debug_assertions)]
    if asked::is_here() {
        asked::die();
    }
}

/// As [`point`], in the middle of appending `bytes`: half of them are in the file by then.
pub(crate) fn point_within(file: &File, bytes: &[u8]) {
    #[cfg(debug_assertions)]
    if asked::is_here() {
        asked::die_within(file, bytes);
    }
    #[cfg(not(debug_assertions))]
    let _ = (file, bytes);
}

/// Bytes that a line of the ledger waits for: `usual`, or `RINGPULL_LINE_BYTES`.
pub(crate) fn line_bytes(usual: u64) -> u64 {
    #[cfg(debug_assertions)]
    let usual = asked::number("RINGPULL_LINE_BYTES").unwrap_or(usual);
    usual
}

/// Bytes that a sync of the part file waits for: `usual`, or `RINGPULL_SYNC_BYTES`.
pub(crate) fn sync_bytes(usual: u64) -> u64 {
    #[cfg(debug_assertions)]
    let usual = asked::number("RINGPULL_SYNC_BYTES").unwrap_or(usual);
    usual
}

#[cfg(debug_assertions)]
mod asked {
    use std::fs::File;
    use std::io::Write as _;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    static WANTED: LazyLock<Option<u64>> = LazyLock::new(|| number("RINGPULL_CRASH_AT"));
    static PASSED: AtomicU64 = AtomicU64::new(0);

    /// The number in an environment variable.
    pub(super) fn number(name: &str) -> Option<u64> {
        std::env::var(name).ok()?.parse().ok()
    }

    pub(super) fn is_here() -> bool {
        let passed = PASSED.fetch_add(1, SeqCst) + 1;
        *WANTED == Some(passed)
    }

    pub(super) fn die_within(mut file: &File, bytes: &[u8]) {
        // Whether or not it can be written: this is the end.
        let _ = file.write_all(&bytes[..bytes.len() / 2]);
        die();
    }

    pub(super) fn die() {
        let myself = rustix::process::getpid();
        // Fails only where the kernel has no such process, and then nobody is left to be told.
        let _ = rustix::process::kill_process(myself, rustix::process::Signal::KILL);
    }
}
