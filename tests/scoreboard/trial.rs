//! One tool in one scenario: runs it, watches it, and judges what it leaves.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getuid, kill_process_group};
use tempfile::TempDir;

use crate::scenario::{Before, Scenario, Stage};
use crate::tool::{AXELRC, Job, TARGET, Tool};
use crate::verdict::Verdict;

/// A run is killed half way when no byte was served for so long, or up to twice as long. The tools save what
/// they know every second, and lose their patience after five.
const QUIET: Duration = Duration::from_millis(1500);
/// It is killed after so long in any case: a tool that asks again and again never lets the server be quiet.
const LOUD: Duration = Duration::from_secs(20);
/// Bytes of a file that evidence compares at a time.
const STEP: usize = 4096;

/// What came of it.
pub(crate) struct Trial {
    pub(crate) scenario: &'static str,
    pub(crate) tool: &'static str,
    pub(crate) ours: bool,
    pub(crate) verdict: Verdict,
    /// Whether the secret went to a host that the user did not name.
    pub(crate) leaked: bool,
    pub(crate) seconds: f64,
    /// Exit status, `None` for a run that was killed at the deadline.
    pub(crate) exit: Option<String>,
    /// What is under the target's name.
    pub(crate) found: String,
    pub(crate) command: String,
    /// The end of what it said.
    pub(crate) said: String,
    /// All requests, of the run before too.
    pub(crate) requests: Vec<String>,
}

impl Trial {
    /// Whether it keeps the promise of ringpull.
    pub(crate) fn is_fine(&self) -> bool {
        let kept =
            matches!(self.verdict, Verdict::Correct | Verdict::Error | Verdict::NotApplicable);
        kept && !self.leaked
    }

    /// Verdict and reason in one line.
    pub(crate) fn evidence(&self) -> String {
        let exit = self.exit.as_deref().unwrap_or("no end");
        format!("{}: {exit}; {}; {}", self.verdict.word(), self.found, self.said.trim())
    }
}

/// Runs a tool through a scenario; its directory stays below `keep`.
pub(crate) fn run(scenario: &Scenario, tool: &Tool, keep: Option<&Path>) -> Trial {
    let place = Place::new(scenario.disk_mib);
    let stage = (scenario.stage)();
    let mut trial = Trial {
        scenario: scenario.name,
        tool: tool.name,
        ours: tool.is_ours(),
        verdict: Verdict::NotApplicable,
        leaked: false,
        seconds: 0.0,
        exit: None,
        found: String::new(),
        command: String::new(),
        said: String::new(),
        requests: Vec::new(),
    };
    if !tool.is_installed() {
        trial.found = "not installed".to_owned();
        return trial;
    }
    let over_tls = stage.origins[0].certificate.is_some();
    if let Some(reason) = tool.no_tls.filter(|_| over_tls) {
        trial.found = reason.to_owned();
        return trial;
    }
    let Some(place) = place else {
        trial.found = "needs root".to_owned();
        return trial;
    };
    let mut command = place.command(scenario, tool, &stage);
    trial.command = format!("{command:?}");
    run_before(scenario.before, &mut command, &stage);
    stage.later.store(true, SeqCst);
    stage.trace.note(format!("-- the run that is judged: {}", place.listing()));
    let began = Instant::now();
    let status = Running::start(&mut command).end(scenario.deadline);
    trial.seconds = began.elapsed().as_secs_f64();
    trial.exit = status.map(|status| status.to_string());
    let (verdict, found) = judge(scenario, &stage, status, &place.target());
    (trial.verdict, trial.found) = (verdict, found);
    trial.leaked = leaked(scenario, &stage);
    trial.said = place.said();
    trial.requests = stage.trace.lines();
    if let Some(keep) = keep {
        place.keep(&keep.join(format!("{}-{}", scenario.name, tool.name).replace([' ', '/'], "_")));
    }
    trial
}

fn run_before(before: Before, command: &mut Command, stage: &Stage) {
    match before {
        Before::Nothing => {}
        Before::Killed => Running::start(command).kill_when_quiet(stage),
        Before::Complete => drop(Running::start(command).end(Duration::from_secs(60))),
    }
}

fn judge(
    scenario: &Scenario,
    stage: &Stage,
    status: Option<ExitStatus>,
    target: &Path,
) -> (Verdict, String) {
    let found = fs::read(target).ok();
    let is_right = found.as_ref().is_some_and(|found| stage.versions.contains(found));
    let looks = looks(found.as_deref(), &stage.versions);
    let verdict = match status {
        None => Verdict::Hang,
        Some(status) if status.success() && scenario.bad_certificate => Verdict::Accepted,
        Some(status) if status.success() && is_right => Verdict::Correct,
        Some(status) if status.success() && found.is_none() => Verdict::Nothing,
        Some(status) if status.success() => Verdict::Corrupt,
        Some(_) if is_right || found.is_none_or(|found| found.is_empty()) => Verdict::Error,
        Some(_) => Verdict::ErrorWithPartial,
    };
    (verdict, looks)
}

/// What a file is, compared with each version.
fn looks(found: Option<&[u8]>, versions: &[Vec<u8>]) -> String {
    let Some(found) = found else { return "no file".to_owned() };
    if let Some(number) = versions.iter().position(|version| version == found) {
        return format!("{} bytes, all of version {}", found.len(), number + 1);
    }
    let mut runs: Vec<(usize, String)> = Vec::new();
    for (at, block) in found.chunks(STEP).enumerate().map(|(number, block)| (number * STEP, block))
    {
        let same = |version: &Vec<u8>| version.get(at..at + block.len()) == Some(block);
        let kind = match versions.iter().position(same) {
            Some(number) => format!("version {}", number + 1),
            None if block.iter().all(|byte| *byte == 0) => "zeros".to_owned(),
            None => "other bytes".to_owned(),
        };
        if runs.last().is_none_or(|(_, last)| *last != kind) {
            runs.push((at, kind));
        }
    }
    let all = runs.len();
    let runs: Vec<_> =
        runs.into_iter().take(12).map(|(at, kind)| format!("{kind} from {at}")).collect();
    format!("{} bytes, {all} stretches: {}", found.len(), runs.join(", "))
}

fn leaked(scenario: &Scenario, stage: &Stage) -> bool {
    let Some((name, value)) = scenario.secret.and_then(|secret| secret.split_once(": ")) else {
        return false;
    };
    let others = stage.origins.iter().skip(1).flat_map(|origin| origin.log());
    others.into_iter().any(|request| request.header(name).is_some_and(|sent| sent.contains(value)))
}

/// A program in a process group of its own.
struct Running {
    ended: Receiver<ExitStatus>,
    group: Pid,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child: Child = command.process_group(0).spawn().unwrap();
        let group = Pid::from_child(&child);
        let (sender, ended) = channel();
        thread::spawn(move || sender.send(child.wait().unwrap()));
        Self { ended, group }
    }

    /// Waits for the end, for so long.
    fn end(self, deadline: Duration) -> Option<ExitStatus> {
        let status = self.ended.recv_timeout(deadline).ok();
        if status.is_none() {
            self.kill();
        }
        status
    }

    /// Kills the program when the server has had nothing to send for a while, unless it ended before.
    fn kill_when_quiet(self, stage: &Stage) {
        let (mut served, began) = (0, Instant::now());
        while self.ended.recv_timeout(QUIET).is_err() {
            let now: u64 = stage.origins.iter().map(crate::origin::Running::served_bytes).sum();
            if now == served && now > 0 || began.elapsed() > LOUD {
                return self.kill();
            }
            served = now;
        }
    }

    fn kill(&self) {
        // It may have ended just now.
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.ended.recv();
    }
}

/// The directory of a trial: a home, the working directory, and what was said.
struct Place {
    dir: TempDir,
    mounted: bool,
}

impl Place {
    /// `None` if it takes root to make it.
    fn new(disk_mib: Option<u32>) -> Option<Self> {
        let beside_the_build = env!("CARGO_TARGET_TMPDIR");
        let dir = tempfile::Builder::new().prefix("board-").tempdir_in(beside_the_build).unwrap();
        let mut place = Self { dir, mounted: false };
        fs::create_dir(place.path("here")).unwrap();
        fs::write(place.path(".axelrc"), AXELRC).unwrap();
        if let Some(size) = disk_mib {
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &format!("size={size}m"), "scoreboard"]);
            place.mounted = getuid().is_root()
                && mount.arg(place.path("here")).status().is_ok_and(|status| status.success());
            return place.mounted.then_some(place);
        }
        Some(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn target(&self) -> PathBuf {
        self.path("here").join(TARGET)
    }

    fn command(&self, scenario: &Scenario, tool: &Tool, stage: &Stage) -> Command {
        let certificate = stage.origins[0].certificate.as_ref();
        let authority = certificate.map(|certificate| {
            let path = self.path("authority.pem");
            fs::write(&path, &certificate.authority_pem).unwrap();
            path
        });
        let job = Job { url: &stage.url, authority: authority.as_deref(), header: scenario.secret };
        let mut command = Command::new(&tool.program);
        command.args(tool.arguments(&job)).current_dir(self.path("here")).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir.path()).stdin(Stdio::null());
        if let Some(authority) = &authority {
            // For axel, which has no flag for it.
            command.env("SSL_CERT_FILE", authority);
        }
        let said = fs::File::create(self.path("said")).unwrap();
        command.stdout(said.try_clone().unwrap()).stderr(said);
        command
    }

    /// The last of what the runs said.
    fn said(&self) -> String {
        let text = fs::read(self.path("said")).unwrap();
        let end = &text[text.len().saturating_sub(2000)..];
        String::from_utf8_lossy(end).into_owned()
    }

    /// Names and sizes of what a run before has left.
    fn listing(&self) -> String {
        let entries = fs::read_dir(self.path("here")).unwrap().map(|entry| {
            let entry = entry.unwrap();
            format!("{} ({})", entry.file_name().display(), entry.metadata().unwrap().len())
        });
        entries.collect::<Vec<_>>().join(", ")
    }

    fn keep(&self, to: &Path) {
        let copied = Command::new("cp").arg("-a").arg(self.dir.path()).arg(to).status();
        assert!(copied.unwrap().success());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.mounted {
            // Lazily: what a killed process had open may take the kernel a moment to let go.
            let unmounted = Command::new("umount").arg("--lazy").arg(self.path("here")).status();
            assert!(unmounted.is_ok_and(|status| status.success()) || thread::panicking());
        }
    }
}
