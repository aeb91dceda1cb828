//! Runs `ringpull mirror` in a place of its own, and judges what it says against what it leaves.
//!
//! After every run that ends by itself: no panic, no control character on stderr, the summary is the last
//! event and names the exit code, a sealed run has a line in the results for each of its counts, and no draft
//! is left.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{PROGRAM, parse_events};
use crate::origin::{File, assert_file_is};

/// A run that takes longer hangs: it is killed and the test fails.
const DEADLINE: Duration = Duration::from_secs(90);

/// A directory with room for lists, and the tree that they are about.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        // Beside the build, as other runs: /tmp is often a tmpfs.
        let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
        Self { dir: tempfile::Builder::new().prefix("mirror-").tempdir_in(place).unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A place in the tree.
    pub(crate) fn tree(&self, name: &str) -> PathBuf {
        self.dir.path().join("tree").join(name)
    }

    /// Writes a list, or anything else, beside the tree.
    pub(crate) fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    /// `ringpull mirror -d tree --json ...`, not waiting for the disk.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        let mut command = self.durable_command(args);
        command.arg("--no-sync");
        command
    }

    pub(crate) fn durable_command<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(["mirror", "-d", "tree", "--json", "--progress", "none"]).args(args);
        self.furnish(command)
    }

    /// Gives any command the clean environment of this place.
    pub(crate) fn furnish(&self, mut command: Command) -> Command {
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir.path()).current_dir(self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn start<A: AsRef<OsStr>>(&self, args: &[A]) -> Started {
        self.start_command(self.command(args))
    }

    pub(crate) fn start_command(&self, mut command: Command) -> Started {
        let mut child = command.spawn().unwrap();
        let stderr = collect(child.stderr.take().unwrap());
        let stdout = collect(child.stdout.take().unwrap());
        let stdin = child.stdin.take();
        let results = self.tree(".ringpull/results.jsonl");
        Started { child, stdin, stderr, stdout, results, begun: Instant::now() }
    }

    /// Runs it to its end and judges that.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, args: &[A]) -> Ended {
        let ended = self.start(args).finish();
        self.assert_no_drafts();
        ended
    }

    /// Runs it with this on standard input.
    pub(crate) fn run_fed(&self, args: &[&str], input: &[u8]) -> Ended {
        let mut command = self.command(args);
        command.stdin(Stdio::piped());
        let mut started = self.start_command(command);
        started.stdin.take().unwrap().write_all(input).unwrap();
        started.finish()
    }

    /// Waits until something is so.
    pub(crate) fn wait_until(&self, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < DEADLINE, "it never came: {}", self.dir.path().display());
            thread::yield_now();
        }
    }

    pub(crate) fn assert_no_drafts(&self) {
        let drafts = self.tree(".ringpull/drafts");
        let left = fs::read_dir(drafts).map_or(0, Iterator::count);
        assert_eq!(left, 0, "drafts are left");
    }

    /// The tree holds exactly these files.
    pub(crate) fn assert_holds(&self, files: &[(String, File)]) {
        let wanted: Vec<_> = files.iter().map(|(path, _)| path.as_bytes().to_vec()).collect();
        let mut wanted: Vec<_> = wanted.into_iter().collect();
        wanted.sort();
        let found: Vec<_> = self.names().into_keys().collect();
        let show = |names: &[Vec<u8>]| {
            names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(show(&found), show(&wanted), "names in the tree");
        self.assert_right(files);
    }

    /// These files are right, whatever else there is.
    pub(crate) fn assert_right(&self, files: &[(String, File)]) {
        for (path, file) in files {
            assert_file_is(&self.tree(path), file);
        }
    }

    /// Everything in the tree that is no directory and not ours, with what tells it from what it was.
    pub(crate) fn names(&self) -> BTreeMap<Vec<u8>, Print> {
        use std::os::unix::fs::MetadataExt;
        let (mut found, mut open) = (BTreeMap::new(), vec![self.tree("")]);
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten() {
                let entry = entry.unwrap();
                let path = entry.path();
                let name = path.strip_prefix(self.tree("")).unwrap().to_owned();
                let meta = fs::symlink_metadata(&path).unwrap();
                if name == Path::new(".ringpull") {
                    continue;
                }
                if meta.is_dir() {
                    open.push(path);
                } else {
                    let print = (meta.ino(), meta.size(), meta.mtime(), meta.ctime_nsec());
                    found.insert(name.as_os_str().as_bytes().to_vec(), print);
                }
            }
        }
        found
    }
}

/// Inode, size and dates of a file.
pub(crate) type Print = (u64, u64, i64, i64);

/// A mirror at work.
pub(crate) struct Started {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    stderr: Receiver<Vec<u8>>,
    stdout: Receiver<Vec<u8>>,
    results: PathBuf,
    begun: Instant,
}

impl Started {
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end and judges it.
    pub(crate) fn finish(self) -> Ended {
        let ended = self.end_or_die();
        assert!(ended.code.is_some(), "killed: {}", ended.stderr);
        ended.judge();
        ended
    }

    /// Waits for the end, which may be a death by a signal. The end of the pipes is that of the process.
    pub(crate) fn end_or_die(mut self) -> Ended {
        let left = DEADLINE.saturating_sub(self.begun.elapsed());
        let Ok(stderr) = self.stderr.recv_timeout(left) else {
            self.child.kill().unwrap();
            let stderr = self.stderr.recv().unwrap_or_default();
            let _ = self.child.wait();
            panic!("hangs after {DEADLINE:?}: {}", String::from_utf8_lossy(&stderr));
        };
        let stdout = self.stdout.recv().unwrap();
        let code = self.child.wait().unwrap().code();
        let stderr = String::from_utf8(stderr).expect("stderr is UTF-8");
        assert!(!stderr.contains("panicked"), "{stderr}");
        let control = stderr.chars().find(|char| char.is_control() && *char != '\n');
        assert_eq!(control, None, "{stderr:?}");
        let stdout = String::from_utf8(stdout).expect("stdout is UTF-8");
        // A death may cut the last line.
        let whole = stdout.rfind('\n').map_or(0, |end| end + 1);
        Ended { code, stderr, events: parse_events(&stdout[..whole]), results: self.results }
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

/// How a run ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
    pub(crate) events: Vec<Value>,
    results: PathBuf,
}

impl Ended {
    fn judge(&self) {
        let Some(last) = self.events.last() else {
            assert_eq!(self.code, Some(2), "no event: {}", self.stderr);
            return;
        };
        assert_eq!(last["event"], "summary", "{last}");
        assert_eq!(last["exit_code"].as_i64(), self.code.map(i64::from), "{last}");
        let is_dry = self.events.iter().any(|event| event["event"] == "action");
        if last["sealed"] == true && !is_dry {
            let ended = ["fetched", "linked", "unchanged", "failed", "bad_lines"];
            let sum: u64 = ended.iter().map(|name| self.count(name)).sum();
            assert!(sum == self.count("entries") || sum == 0, "{last}");
        }
    }

    pub(crate) fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{} {:#?}", self.stderr, self.events);
        self
    }

    /// Exit code, and these counts of the summary, which are also those of the results.
    pub(crate) fn assert_ends(&self, code: i32, counts: &[(&str, u64)]) -> &Self {
        self.assert_code(code);
        for (name, count) in counts {
            assert_eq!(self.count(name), *count, "{name}: {} {:#?}", self.stderr, self.events);
        }
        let results = self.results();
        for (state, name) in [
            ("fetched", "fetched"),
            ("linked", "linked"),
            ("unchanged", "unchanged"),
            ("failed", "failed"),
            ("bad_line", "bad_lines"),
        ] {
            let lines = results.iter().filter(|line| line["state"] == state).count();
            assert_eq!(lines as u64, self.count(name), "lines of {state} in the results");
        }
        assert_eq!(results.len() as u64, self.count("entries"), "lines of the results");
        self
    }

    /// A count of the summary.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let summary = self.events.last().expect("a summary");
        summary[name].as_u64().unwrap_or_else(|| panic!("{name} is not in {summary}"))
    }

    /// The lines of the results.
    pub(crate) fn results(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.results).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The line of the results for this path.
    pub(crate) fn result(&self, path: &str) -> Value {
        let mut lines = self.results();
        lines.retain(|line| line["path"] == path);
        assert_eq!(lines.len(), 1, "{path}: {lines:#?}");
        lines.remove(0)
    }

    /// The kind of failure of this path.
    pub(crate) fn failure(&self, path: &str) -> String {
        let line = self.result(path);
        assert_eq!(line["state"], "failed", "{line}");
        line["kind"].as_str().unwrap().to_owned()
    }

    /// The lines that make no entry, with the reason why.
    pub(crate) fn bad_lines(&self) -> Vec<(u64, String)> {
        let mut lines = self.results();
        lines.retain(|line| line["state"] == "bad_line");
        let told = |line: &Value| {
            (line["line"].as_u64().unwrap(), line["message"].as_str().unwrap().to_owned())
        };
        let mut bad: Vec<_> = lines.iter().map(told).collect();
        bad.sort();
        bad
    }

    /// What a dry run would do, in order of the paths.
    pub(crate) fn actions(&self) -> Vec<String> {
        let actions = self.events.iter().filter(|event| event["event"] == "action");
        let mut told: Vec<_> = actions
            .map(|event| {
                format!("{} {}", event["action"].as_str().unwrap(), event["path"].as_str().unwrap())
            })
            .collect();
        told.sort();
        told
    }
}
