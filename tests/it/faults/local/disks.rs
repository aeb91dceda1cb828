//! Small disks that are mounted in a namespace of their own and end with it.

use std::fs;
use std::io;
use std::process::{Command, Output};

use super::is_root;
use crate::harness::{PROGRAM, Run};

/// How a disk comes to be, and what is done to it.
#[derive(Clone, Copy)]
pub(super) struct Disk {
    /// Shell commands that mount it at or below `disk`.
    pub(super) mount: &'static str,
    /// Where the target goes.
    pub(super) directory: &'static str,
    /// What is done after a first run, which must fail and leave something, before the same command runs
    /// again. Empty: there is one run.
    pub(super) mend: &'static str,
    /// What is done before the file is looked at.
    pub(super) settle: &'static str,
}

impl Disk {
    pub(super) const fn new(mount: &'static str, directory: &'static str) -> Self {
        Self { mount, directory, mend: "", settle: "" }
    }

    /// The program with its target on this disk. What a failed run leaves there is told on stderr, where one
    /// line too many fails the test. `None` where this cannot be had.
    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
    pub(super) fn run(&self) -> Option<Run> {
        if !is_root() {
            return None;
        }
        let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::create_dir(place.path().join("disk")).unwrap();
        let trial = format!("set -e\n{}\nexit 0\n", self.mount);
        if let Some(trouble) = trouble(shell(&trial).current_dir(&place).output()) {
            eprintln!("skipped: no such disk here: {trouble}");
            return None;
        }
        let run = Run::by(shell(&self.script()));
        fs::create_dir(run.path("disk")).unwrap();
        Some(run.arg(PROGRAM).args(["--progress", "none", "-d", self.directory]))
    }

    fn script(&self) -> String {
        let Self { mount, directory, mend, settle } = self;
        let again = match mend.is_empty() {
            true => String::new(),
            false => format!(
                "if test $code != 7 || ! ls -A {directory} | grep -q ledger; then\n\
                 echo \"left: nothing, exit code $code\" >&2; exit 99; fi\n{mend}\n\"$@\"\ncode=$?\n"
            ),
        };
        let left = format!(
            "ls -A {directory} | grep -vE '^(lost.found|[.]ringpull-.*)$' | sed 's/^/left: /' >&2\n"
        );
        let take = format!("{settle}\nmv {directory}/*.bin . 2>/dev/null\n");
        format!("set -e\n{mount}\nset +e\n\"$@\"\ncode=$?\n{again}{take}{left}exit $code\n")
    }
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
    command
}

/// What kept a command from ending well.
fn trouble(ended: io::Result<Output>) -> Option<String> {
    match ended {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    }
}
