//! What can be seen of the program at work.

use std::fs;
use std::path::PathBuf;

use super::{DEADLINE, Started};

impl Started {
    /// A file in the program's directory of /proc.
    pub(crate) fn look(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.child.id())).join(name)
    }

    /// The part file or the ledger (by extension), once there is one.
    pub(crate) fn wait_for(&self, extension: &str) -> PathBuf {
        self.wait_until(|| {
            let mut names = fs::read_dir(self.path("")).unwrap().map(|name| name.unwrap().path());
            names.find(|path| path.extension().is_some_and(|found| found == extension))
        })
    }

    /// Waits until the ledger says that something has landed.
    pub(crate) fn wait_for_landed(&self) {
        let ledger = self.wait_for("ledger");
        // Two lines begin it.
        self.wait_until(|| (fs::read_to_string(&ledger).ok()?.lines().count() > 2).then_some(()));
    }

    fn wait_until<T>(&self, mut found: impl FnMut() -> Option<T>) -> T {
        while self.begun.elapsed() < DEADLINE {
            match found() {
                Some(found) => return found,
                None => std::thread::yield_now(),
            }
        }
        panic!("it never came");
    }
}
