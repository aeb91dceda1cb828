//! Directories that are kept open, the oldest first to go. They only save time.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::limits::DIRECTORIES_MAX;
use crate::units::narrow;

/// The directories that are open.
pub(super) struct Directories {
    open: HashMap<String, Arc<OwnedFd>>,
    order: VecDeque<String>,
    /// How many are kept at most: fewer after descriptors have run out.
    most: usize,
}

impl Default for Directories {
    /// As many as there may be, and at most a quarter of the descriptors that the process may have.
    fn default() -> Self {
        let allowed = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let most = allowed.map_or(DIRECTORIES_MAX, |allowed| narrow(allowed / 4));
        let most = most.clamp(1, DIRECTORIES_MAX);
        Self { open: HashMap::new(), order: VecDeque::new(), most }
    }
}

impl Directories {
    pub(super) fn find(&self, path: &str) -> Option<Arc<OwnedFd>> {
        self.open.get(path).cloned()
    }

    pub(super) fn keep(&mut self, path: &str, open: &Arc<OwnedFd>) {
        if self.most == 0 || self.open.insert(path.to_owned(), Arc::clone(open)).is_some() {
            return;
        }
        self.order.push_back(path.to_owned());
        self.shorten();
    }

    pub(super) fn forget(&mut self, path: &str) {
        if self.open.remove(path).is_some() {
            self.order.retain(|kept| kept != path);
        }
    }

    /// Closes half of them, and keeps no more from now on: others need descriptors as well. Says whether
    /// there was anything to close.
    pub(super) fn spare(&mut self) -> bool {
        let had = !self.open.is_empty();
        self.most = self.open.len() / 2;
        self.shorten();
        had
    }

    fn shorten(&mut self) {
        while self.order.len() > self.most {
            if let Some(oldest) = self.order.pop_front() {
                self.open.remove(&oldest);
            }
        }
    }
}
