//! Runs the real program in an empty directory with a clean environment, and judges what it leaves.
//!
//! After every run, whatever its end: no panic, no control character on stderr, nothing beside the target.
//! A run that ends badly says so in one line and leaves the directory as it was, but for a part file and its
//! ledger, which nobody else can read.

mod again;
mod look;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use seccompiler::BpfProgram;
use serde_json::Value;
use tempfile::TempDir;

use crate::origin::{File, assert_file_is};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_ringpull");

/// A run that takes longer hangs: it is killed and the test fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// The program with its arguments and directory, not yet started.
pub(crate) struct Run {
    command: Command,
    dir: Arc<TempDir>,
    filters: Vec<BpfProgram>,
}

impl Run {
    /// `ringpull --progress none URL` in an empty directory.
    pub(crate) fn new(url: &str) -> Self {
        Self::bare().args(["--progress", "none", url])
    }

    /// `ringpull` without an argument.
    pub(crate) fn bare() -> Self {
        Self::by(Command::new(PROGRAM))
    }

    /// The program started by another one.
    pub(crate) fn by(command: Command) -> Self {
        // Beside the build and not in /tmp: that is often a tmpfs, and direct writes want a disk.
        Self::in_dir(scratch(Path::new(env!("CARGO_TARGET_TMPDIR"))), command)
    }

    /// `ringpull --progress none URL` as this user, with no privileges and these limits of prlimit(1), in an
    /// empty directory that is the user's. Only root can become another user.
    pub(crate) fn as_user(user: u32, limits: &[&str], url: &str) -> Self {
        // In /tmp, because the user may not be allowed to look where the build lies.
        let dir = scratch(&std::env::temp_dir());
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = dir.path().join("ringpull");
        // A copy of our own would be open for writing in whatever another test starts just then.
        let copied = Command::new("cp").arg(PROGRAM).arg(&program).status();
        assert!(copied.unwrap().success());
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={user}"), format!("--regid={user}")]);
        command.args(["--clear-groups", "prlimit"]).args(limits).arg(program);
        let run = Self::in_dir(dir, command).args(["--progress", "none", url]);
        chown(run.path(""), Some(user), Some(user)).unwrap();
        run
    }

    fn in_dir(dir: TempDir, command: Command) -> Self {
        fs::create_dir_all(dir.path().join("work")).unwrap();
        Self::there(Arc::new(dir), command)
    }

    fn there(dir: Arc<TempDir>, mut command: Command) -> Self {
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", dir.path()).current_dir(dir.path().join("work"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, dir, filters: Vec::new() }
    }

    /// Has the kernel pass the system calls of the program through another filter.
    pub(crate) fn filter(mut self, filter: BpfProgram) -> Self {
        self.filters.push(filter);
        self
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Has the program write into this descriptor, which nobody collects.
    pub(crate) fn stdout(mut self, out: impl Into<Stdio>) -> Self {
        self.command.stdout(out);
        self
    }

    /// Puts a file into the working directory before the run.
    pub(crate) fn put(self, name: &str, bytes: &[u8]) -> Self {
        fs::write(self.path(name), bytes).unwrap();
        self
    }

    /// A place in the working directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("work").join(name)
    }

    /// Starts the program and returns at once.
    pub(crate) fn start(mut self) -> Started {
        let before = tree(self.dir.path());
        let mut child = match self.filters.is_empty() {
            true => self.command.spawn().unwrap(),
            false => spawn_filtered(&mut self.command, &self.filters),
        };
        let stderr = collect(child.stderr.take().unwrap());
        let stdout = child.stdout.take();
        Started { child, stderr, stdout, before, dir: self.dir, begun: Instant::now() }
    }

    /// Runs the program to its end.
    pub(crate) fn finish(self) -> Outcome {
        self.start().finish()
    }

    /// Runs the program to its end, however much it says.
    pub(crate) fn finish_talking(self) -> Outcome {
        let outcome = self.start().end();
        outcome.assert_quiet_end();
        outcome
    }

    /// Runs the program to its complaint about the command line, which may take several lines.
    pub(crate) fn finish_usage(self) {
        let outcome = self.start().end();
        outcome.assert_code(2);
        outcome.assert_quiet_end();
        outcome.assert_unchanged();
        assert!(!outcome.stderr.is_empty());
    }
}

/// Starts a program from a thread under `filters`, which the program inherits.
fn spawn_filtered(command: &mut Command, filters: &[BpfProgram]) -> Child {
    thread::scope(|scope| {
        let spawn = || {
            for filter in filters {
                seccompiler::apply_filter(filter).unwrap();
            }
            command.spawn().unwrap()
        };
        scope.spawn(spawn).join().unwrap()
    })
}

fn scratch(place: &Path) -> TempDir {
    tempfile::Builder::new().prefix("it-").tempdir_in(place).unwrap()
}

/// The program at work.
pub(crate) struct Started {
    child: Child,
    stderr: Receiver<Vec<u8>>,
    pub(crate) stdout: Option<ChildStdout>,
    before: BTreeMap<PathBuf, u64>,
    dir: Arc<TempDir>,
    begun: Instant,
}

impl Started {
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// The most memory that the program has had so far (`VmHWM` of proc_pid_status(5)).
    pub(crate) fn peak_memory_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kibibytes << 10
    }

    /// A place in the working directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("work").join(name)
    }

    /// Waits for the end and judges it.
    pub(crate) fn finish(self) -> Outcome {
        let outcome = self.end();
        outcome.assert_quiet_end();
        if outcome.code != Some(0) {
            outcome.assert_problem();
        }
        outcome
    }

    /// Waits for the end without judging it; the end of stderr is taken for the end of the process.
    pub(crate) fn end(self) -> Outcome {
        let outcome = self.gather();
        assert!(outcome.code.is_some(), "killed: {}", outcome.stderr);
        outcome
    }

    fn gather(mut self) -> Outcome {
        let stdout = self.stdout.take().map(collect);
        let Ok(stderr) = self.stderr.recv_timeout(DEADLINE.saturating_sub(self.begun.elapsed()))
        else {
            self.child.kill().unwrap();
            let stderr = self.stderr.recv().unwrap_or_default();
            let _ = self.child.wait();
            panic!("hangs after {DEADLINE:?}: {}", String::from_utf8_lossy(&stderr));
        };
        let status = self.child.wait().unwrap();
        Outcome {
            code: status.code(),
            stdout: stdout.map_or(Vec::new(), |bytes| bytes.recv().unwrap_or_default()),
            stderr: String::from_utf8(stderr).expect("stderr is UTF-8"),
            before: self.before,
            dir: self.dir,
        }
    }
}

/// Reads a pipe to its end on a thread of its own.
fn collect(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

/// How a run ended and what it left.
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    before: BTreeMap<PathBuf, u64>,
    dir: Arc<TempDir>,
}

impl Outcome {
    /// No panic, and nothing that steers a terminal.
    fn assert_quiet_end(&self) {
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        let control = self.stderr.chars().find(|char| char.is_control() && *char != '\n');
        assert_eq!(control, None, "{:?}", self.stderr);
    }

    /// One line says why, and the directory is as it was.
    fn assert_problem(&self) {
        let lines = self.problem_lines();
        assert_eq!(lines.len(), 1, "one line says what is wrong: {:?}", self.stderr);
        assert!(lines[0].starts_with("ringpull: "), "{:?}", self.stderr);
        self.assert_unchanged();
    }

    /// The files that a run leaves for another one: a part file and its ledger, or nothing.
    pub(crate) fn left_for_later(&self) -> Vec<PathBuf> {
        let mut left: Vec<_> =
            tree(self.dir.path()).into_keys().filter(|path| self.is_kept(path)).collect();
        left.sort();
        let ends: Vec<_> = left.iter().map(|path| path.extension().unwrap()).collect();
        assert!(ends.is_empty() || ends == ["ledger", "part"], "{left:?}");
        left.into_iter().map(|path| self.dir.path().join(path)).collect()
    }

    /// The directory is as it was; a failed run may keep what the same command can continue.
    fn assert_unchanged(&self) {
        let mut after = tree(self.dir.path());
        if self.code != Some(0) {
            after.retain(|path, _| !self.is_kept(path));
        }
        assert_eq!(after, self.without_kept(), "left something: {}", self.stderr);
    }

    /// What was there before, without what a failed run before this one kept.
    fn without_kept(&self) -> BTreeMap<PathBuf, u64> {
        let mut before = self.before.clone();
        before.retain(|path, _| !is_for_later(path));
        before
    }

    /// Whether this is a part file or its ledger, and nobody else's to read.
    fn is_kept(&self, path: &Path) -> bool {
        let meta = fs::symlink_metadata(self.dir.path().join(path)).unwrap();
        is_for_later(path) && meta.is_file() && meta.permissions().mode() & 0o777 == 0o600
    }

    /// What stderr says besides notes and retries.
    fn problem_lines(&self) -> Vec<&str> {
        let besides = ["ringpull: note: ", "ringpull: retry "];
        self.stderr
            .lines()
            .filter(|line| !besides.iter().any(|talk| line.starts_with(talk)))
            .collect()
    }

    /// Exit code 0, exactly this file under `name`, and nothing else that was not there before.
    pub(crate) fn assert_gives(&self, name: &str, file: &File) -> &Self {
        self.assert_code(0);
        assert_file_is(&self.path(name), file);
        let mut after = tree(self.dir.path());
        let mut before = self.without_kept();
        let place = Path::new("work").join(name);
        before.remove(&place);
        after.remove(&place);
        assert_eq!(after, before, "left something beside the target");
        self
    }

    /// This exit code and a line with all of `words`.
    pub(crate) fn assert_fails(&self, code: i32, words: &[&str]) {
        assert_ne!(code, 0);
        self.assert_code(code);
        let line = self.problem_lines()[0];
        for word in words {
            assert!(
                line.to_lowercase().contains(&word.to_lowercase()),
                "{word:?} is not in: {line}"
            );
        }
    }

    /// Exit code 0 and a directory like before.
    pub(crate) fn assert_leaves_nothing(&self) -> &Self {
        self.assert_code(0);
        self.assert_unchanged();
        self
    }

    pub(crate) fn assert_code(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
    }

    /// The events of `--json` on stdout.
    pub(crate) fn events(&self) -> Vec<Value> {
        parse_events(std::str::from_utf8(&self.stdout).unwrap())
    }

    /// The one event of this name.
    pub(crate) fn event(&self, name: &str) -> Value {
        let mut events = self.events();
        events.retain(|event| event["event"] == name);
        assert_eq!(events.len(), 1, "{name}: {}", String::from_utf8_lossy(&self.stdout));
        events.remove(0)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("work").join(name)
    }
}

/// Parses lines of JSON, each an object with a name and a time.
pub(crate) fn parse_events(text: &str) -> Vec<Value> {
    let parse = |line: &str| {
        let event: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(event["event"].is_string() && event["t"].is_number(), "{line}");
        event
    };
    text.lines().map(parse).collect()
}

/// Whether a file in the working directory is named as what a failed run keeps.
fn is_for_later(path: &Path) -> bool {
    let name = path.strip_prefix("work").ok().and_then(Path::to_str).unwrap_or_default();
    let hash = name.strip_prefix(".ringpull-");
    let hash = hash.and_then(|rest| rest.strip_suffix(".part").or(rest.strip_suffix(".ledger")));
    hash.is_some_and(|hash| !hash.is_empty() && !hash.contains('/'))
}

/// Every file and directory below `root`, with the sizes of the files.
fn tree(root: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            }
            let size = if kind.is_file() { entry.metadata().unwrap().len() } else { 0 };
            found.insert(entry.path().strip_prefix(root).unwrap().to_owned(), size);
        }
    }
    found
}
