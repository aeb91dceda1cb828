//! What a scenario is made of: what the server does, what is run, and which bytes are right.
//!
//! The scenarios themselves stand in the files beside this one, by what goes wrong in them.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::origin::{Body, Certificate, Cut, File, Origin, Reply, Request, Running};
use crate::{changing, framing, ranges, resumed, secure};

/// Size of most files, in bytes. Odd, and large enough that every tool splits it.
pub(crate) const SIZE: u64 = (8 << 20) + 12_345;
/// Where bodies end that never end well, in bytes.
pub(crate) const HALF: u64 = 4 << 20;
/// A path of the origin, and the name of the target.
pub(crate) const PATH: &str = "/f";

/// Time to the end where nothing has to time out. The good server needs two seconds.
const DEADLINE: Duration = Duration::from_secs(40);
/// Time to the end where silence has to be noticed: by rclone four times four times, five seconds each.
const PATIENT: Duration = Duration::from_secs(100);

/// What each connection gives: 64 KiB every 10 ms.
const PACE: (usize, Duration) = (64 << 10, Duration::from_millis(10));

/// What is run before the run that is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    Nothing,
    /// A run that is killed with SIGKILL when half of each range has come.
    Killed,
    /// A run to its good end.
    Complete,
}

/// One row of the board.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What the server does, in one clause.
    pub(crate) says: &'static str,
    pub(crate) before: Before,
    pub(crate) deadline: Duration,
    /// Room on the disk, in MiB.
    pub(crate) disk_mib: Option<u32>,
    /// Sent as a header of the user's.
    pub(crate) secret: Option<&'static str>,
    /// Whether success is a failure.
    pub(crate) bad_certificate: bool,
    pub(crate) stage: fn() -> Stage,
}

impl Scenario {
    pub(crate) fn new(name: &'static str, says: &'static str, stage: fn() -> Stage) -> Self {
        Self {
            name,
            says,
            before: Before::Nothing,
            deadline: DEADLINE,
            disk_mib: None,
            secret: None,
            bad_certificate: false,
            stage,
        }
    }

    pub(crate) fn patient(self) -> Self {
        Self { deadline: PATIENT, ..self }
    }

    pub(crate) fn before(self, before: Before) -> Self {
        Self { before, ..self }
    }
}

/// All rows, in the order of the table.
pub(crate) fn all() -> Vec<Scenario> {
    let mut all = ranges::all();
    all.extend(changing::all());
    all.extend(framing::all());
    all.extend(secure::all());
    all.extend(resumed::all());
    all
}

/// What was asked and answered, a line each.
#[derive(Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<Vec<String>>>);

impl Trace {
    pub(crate) fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Wraps a script so that its answers are noted.
    pub(crate) fn over(
        &self,
        script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> impl Fn(&Request) -> Reply + Send + Sync + 'static {
        let trace = self.clone();
        move |request| {
            let mut reply = script(request);
            trace.note(exchange(request, &reply));
            // Without a pace one connection would have the whole file before the second is open.
            reply.dribble.get_or_insert(PACE);
            reply
        }
    }
}

fn exchange(request: &Request, reply: &Reply) -> String {
    let shown = |name: &str, value: Option<&str>| {
        value.map(|value| format!(" {name}: {value}")).unwrap_or_default()
    };
    let range = shown("Range", request.header("range"));
    let condition = shown("If-Range", request.header("if-range"));
    let lines = reply.lines.iter().filter(|line| line.starts_with("Content-Range"));
    let content_range: String = lines.map(|line| format!(" {line}")).collect();
    let cut = reply.cut.map(|(after, cut)| format!(", {cut:?} after {after}")).unwrap_or_default();
    let (method, path, status) = (&request.method, &request.path, &reply.status);
    let length = reply.body.len();
    format!("{method} {path}{range}{condition} -> {status}{content_range}, body {length}{cut}")
}

/// The servers of one trial, at work.
pub(crate) struct Stage {
    /// The first is the one asked; no other may see the secret.
    pub(crate) origins: Vec<Running>,
    pub(crate) url: String,
    /// Contents that are right.
    pub(crate) versions: Vec<Vec<u8>>,
    pub(crate) trace: Trace,
    /// Set between the run before and the run that is judged.
    pub(crate) later: Arc<AtomicBool>,
}

impl Stage {
    /// A server whose GET requests for [`PATH`] are answered by `script`, which is given the honest answer;
    /// everything else is answered honestly for `file`.
    pub(crate) fn bent(
        file: File,
        versions: &[File],
        script: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::scripted(versions, move |request| {
            let reply = Reply::honest(&file, request);
            if request.method == "GET" { script(request, reply) } else { reply }
        })
    }

    /// A server whose requests for [`PATH`] are all answered by `script`.
    pub(crate) fn scripted(
        versions: &[File],
        script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let trace = Trace::default();
        let origin = Origin::new().at(PATH, trace.over(script)).start();
        Self::new(vec![origin], versions, trace)
    }

    /// Counts the login page as a version too: whoever saves all of it and nothing else believed the server.
    pub(crate) fn or_login_page(mut self) -> Self {
        self.versions.push(login_page());
        self
    }

    /// The same over TLS.
    pub(crate) fn over_tls(
        certificate: Certificate,
        file: File,
        script: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let trace = Trace::default();
        let script = trace.over(move |request| script(request, Reply::honest(&file, request)));
        let origin = Origin::new().tls(certificate).at(PATH, script).start();
        Self::new(vec![origin], &[file], trace)
    }

    pub(crate) fn new(origins: Vec<Running>, versions: &[File], trace: Trace) -> Self {
        let url = origins[0].url(PATH);
        let versions = versions.iter().map(File::whole).collect();
        Self { origins, url, versions, trace, later: Arc::default() }
    }

    /// Serves half of each range of `first` and then silence; when the run before is over, `script` answers.
    pub(crate) fn in_turn(
        first: File,
        versions: &[File],
        script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let later = Arc::new(AtomicBool::new(false));
        let over = later.clone();
        let stage = Self::scripted(versions, move |request| {
            if over.load(SeqCst) { script(request) } else { stinted(&first, request) }
        });
        Self { later, ..stage }
    }

    /// Serves `first` honestly; when the run before is over, `script` answers.
    pub(crate) fn afterwards(
        first: File,
        versions: &[File],
        script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let later = Arc::new(AtomicBool::new(false));
        let over = later.clone();
        let stage = Self::scripted(versions, move |request| {
            if over.load(SeqCst) { script(request) } else { Reply::honest(&first, request) }
        });
        Self { later, ..stage }
    }
}

/// Half of an honest answer, then silence.
fn stinted(file: &File, request: &Request) -> Reply {
    let reply = Reply::honest(file, request);
    match request.method.as_str() {
        "GET" => {
            let half = reply.body.len() / 2;
            reply.cut(half, Cut::Stall)
        }
        _ => reply,
    }
}

/// Adds the validators of the file, so that nothing but the answer itself is odd.
pub(crate) fn validated(file: &File, reply: Reply) -> Reply {
    let modified = httpdate::fmt_http_date(file.modified());
    reply.set("ETag", &file.etag()).set("Last-Modified", &modified).set("Accept-Ranges", "bytes")
}

/// A page that is not the file, but what the server says the file is.
pub(crate) fn login_page() -> Vec<u8> {
    "<!DOCTYPE html><title>Log in</title><p>You have been logged out.\n".repeat(64).into_bytes()
}

/// The page with 200 and a length of its own.
pub(crate) fn login_answer() -> Reply {
    let page = login_page();
    let length = page.len().to_string();
    Reply::status("200 OK")
        .body(Body::Bytes(page))
        .set("Content-Length", &length)
        .set("Content-Type", "text/html")
}
