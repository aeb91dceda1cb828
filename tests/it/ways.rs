//! The ways a byte can take: how it is received, how it is written, over how many connections.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::LazyLock;

use crate::harness::{Outcome, Run};
use crate::origin::File;

/// One combination of `--io`, `--write` and `--connections`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) io: &'static str,
    /// A value of `--write`, or `stream` for standard output.
    pub(crate) write: &'static str,
    pub(crate) connections: &'static str,
}

impl Way {
    pub(crate) fn take(&self, run: Run) -> Run {
        let run = run.args(["--io", self.io, "--connections", self.connections]);
        match self.write {
            "stream" => run.args(["--output", "-"]),
            write => run.args(["--write", write]),
        }
    }

    /// The bytes of `file` came out where this way leads.
    pub(crate) fn assert_gives(&self, outcome: &Outcome, name: &str, file: &File) {
        assert_eq!(outcome.code, Some(0), "{self:?}: {}", outcome.stderr);
        match self.write {
            "discard" => {
                outcome.assert_leaves_nothing();
            }
            "stream" => {
                outcome.assert_leaves_nothing();
                assert_eq!(file.difference(&outcome.stdout[..]), None, "{self:?}");
            }
            _ => {
                outcome.assert_gives(name, file);
            }
        }
    }
}

/// Runs `check` for every way that this machine has.
pub(crate) fn every_way(check: impl Fn(Way)) {
    for write in ["direct", "buffered", "mmap", "discard", "stream"] {
        if write == "direct" && !*HAS_DIRECT {
            continue;
        }
        for &io in backends() {
            for connections in ["1", "8"] {
                check(Way { io, write, connections });
            }
        }
    }
}

/// The backends that this machine has.
pub(crate) fn backends() -> &'static [&'static str] {
    if *HAS_URING { &["uring", "epoll"] } else { &["epoll"] }
}

/// Containers often refuse io_uring.
static HAS_URING: LazyLock<bool> = LazyLock::new(|| io_uring::IoUring::new(8).is_ok());

/// Some file systems refuse O_DIRECT.
pub(crate) static HAS_DIRECT: LazyLock<bool> = LazyLock::new(|| {
    OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_DIRECT | libc::O_TMPFILE)
        .open(env!("CARGO_TARGET_TMPDIR"))
        .is_ok()
});
