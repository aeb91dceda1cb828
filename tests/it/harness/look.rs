//! What the kernel tells of the program at work.

use std::path::PathBuf;

use super::Started;

impl Started {
    /// A file in the program's directory of /proc.
    pub(crate) fn look(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.child.id())).join(name)
    }
}
