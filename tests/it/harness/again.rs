//! Runs after runs, and beside runs: in the same directory, with what is there by then.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use super::{Outcome, PROGRAM, Run, Started, is_for_later, tree};

impl Outcome {
    /// `ringpull --progress none URL` in the directory that this run has left.
    pub(crate) fn again(&self, url: &str) -> Run {
        let run = Run::there(Arc::clone(&self.dir), Command::new(PROGRAM));
        run.args(["--progress", "none", url])
    }

    /// Whether somebody has killed it.
    pub(crate) fn was_killed(&self) -> bool {
        self.code.is_none()
    }

    /// The only file of ours with this extension, if there is one.
    pub(crate) fn left(&self, extension: &str) -> Option<PathBuf> {
        let mut left = tree(self.dir.path()).into_keys().filter(|path| is_for_later(path));
        let left = left.find(|path| path.extension().is_some_and(|found| found == extension));
        left.map(|path| self.dir.path().join(path))
    }
}

impl Started {
    /// `ringpull --progress none URL` at the same time in the same directory.
    pub(crate) fn beside(&self, url: &str) -> Run {
        let run = Run::there(Arc::clone(&self.dir), Command::new(PROGRAM));
        run.args(["--progress", "none", url])
    }

    /// Waits until a file of ours with this extension holds `word`.
    pub(crate) fn wait_for_file(&self, extension: &str, word: &str) -> PathBuf {
        let holds = |path: &PathBuf| {
            let found = path.to_string_lossy().ends_with(extension);
            let text = std::fs::read(path).unwrap_or_default();
            found && String::from_utf8_lossy(&text).contains(word)
        };
        while self.begun.elapsed() < super::DEADLINE {
            let ours = tree(self.dir.path()).into_keys().filter(|path| is_for_later(path));
            let mut ours = ours.map(|path| self.dir.path().join(path));
            if let Some(path) = ours.find(|path| holds(path)) {
                return path;
            }
            std::thread::yield_now();
        }
        panic!("no {extension} with {word:?} came");
    }

    /// Sends a signal at a moment that chance has chosen, unless the run is over by then, and waits for the
    /// end, which may be any that is quiet.
    pub(crate) fn end_by(self, signal: Signal, moment: Duration) -> Outcome {
        // Nothing is waited for: any moment is right.
        if let Ok(stderr) = self.stderr.recv_timeout(moment) {
            return Self { stderr: again(stderr), ..self }.end_or_die();
        }
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
        self.end_or_die()
    }

    /// Waits for the end, which may be a death by a signal, or any other that is quiet.
    pub(crate) fn end_or_die(self) -> Outcome {
        let outcome = self.gather();
        outcome.assert_quiet_end();
        outcome
    }
}

/// What was received, to be received once more.
fn again(bytes: Vec<u8>) -> std::sync::mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = std::sync::mpsc::channel();
    sender.send(bytes).unwrap();
    receiver
}
