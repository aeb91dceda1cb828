//! The programs on the board and their command lines.
//!
//! Each is run in the mode that splits or continues a file, if it has one, with the same patience: five
//! seconds without a byte, four tries, a second between them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A column of the board.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    /// The program, found in PATH or at a path.
    pub(crate) program: PathBuf,
    /// What makes it print its version.
    version: &'static str,
    /// Its arguments. Words in braces are replaced.
    args: &'static str,
    /// What is added when there is an authority to trust.
    trust: &'static str,
    /// Why it cannot take part over TLS.
    pub(crate) no_tls: Option<&'static str>,
    /// What is added when there is a header of the user's.
    header: &'static str,
}

/// What one run is for.
pub(crate) struct Job<'a> {
    pub(crate) url: &'a str,
    pub(crate) authority: Option<&'a Path>,
    pub(crate) header: Option<&'a str>,
}

/// Name of the target in the working directory.
pub(crate) const TARGET: &str = "f";

/// What stands in the home of each trial for axel, which has no flags for it.
pub(crate) const AXELRC: &str = "reconnect_delay = 1\nsave_state_interval = 1\n";

const CURL: &str = "-fsSL --connect-timeout 5 --speed-limit 1 --speed-time 5 --retry 3 --retry-all-errors \
                    --retry-delay 1 -o {target} {url}";
const CURL_CONTINUE: &str = "-fsSL -C - --connect-timeout 5 --speed-limit 1 --speed-time 5 --retry 3 \
                             --retry-all-errors --retry-delay 1 -o {target} {url}";
const WGET: &str =
    "-nv -c --timeout=5 --tries=4 --waitretry=1 --retry-on-http-error=503 -O {target} {url}";
// Not both at once: 1.99.1 then sends two Range headers in one request.
const WGET2: &str = "-nv --chunk-size=1M --max-threads=8 --timeout=5 --tries=4 --waitretry=1 \
                     -O {target} {url}";
const WGET2_CONTINUE: &str = "-nv -c --timeout=5 --tries=4 --waitretry=1 -O {target} {url}";
const ARIA2C: &str = "-x8 -s8 -k1M -c --no-conf --connect-timeout=5 --timeout=5 --max-tries=4 --retry-wait=1 \
                      --auto-save-interval=1 --summary-interval=0 --console-log-level=warn \
                      -o {target} {url}";
const AXEL: &str = "-n8 -q -T 5 -o {target} {url}";
const RCLONE_URL: &str = "copyurl {url} {target} --config= --contimeout 5s --timeout 5s --retries 4 \
                          --retries-sleep 1s --low-level-retries 4 --multi-thread-streams 8 \
                          --multi-thread-cutoff 1M";
const RCLONE: &str = "copyto :http:{name} {target} --http-url {base} --config= --contimeout 5s --timeout 5s \
                      --retries 4 --retries-sleep 1s --low-level-retries 4 --multi-thread-streams 8 \
                      --multi-thread-cutoff 1M";
const URING: &str = "--progress none -c 8 -b 128k --io uring --connect-timeout 5 --stall-timeout 5 \
                     --retries 3 -o {target} {url}";
const EPOLL: &str = "--progress none -c 8 -b 128k --io epoll --connect-timeout 5 --stall-timeout 5 \
                     --retries 3 -o {target} {url}";

/// All columns; `ringpull` is the program to run for ours.
pub(crate) fn all(ringpull: &Path) -> Vec<Tool> {
    let tool = |name, program: &str, args| Tool {
        name,
        program: program.into(),
        version: "--version",
        args,
        trust: "",
        no_tls: None,
        header: "--header {header}",
    };
    let ours = |name, args| Tool {
        program: ringpull.into(),
        trust: "--cacert {authority}",
        ..tool(name, "", args)
    };
    let curl = |name, args| Tool { trust: "--cacert {authority}", ..tool(name, "curl", args) };
    let rclone = |name, args| Tool {
        version: "version",
        trust: "--ca-cert {authority}",
        ..tool(name, "rclone", args)
    };
    let authority = |tool| Tool { trust: "--ca-certificate {authority}", ..tool };
    vec![
        ours("ringpull", URING),
        ours("ringpull --io epoll", EPOLL),
        curl("curl", CURL),
        curl("curl -C -", CURL_CONTINUE),
        authority(tool("wget -c", "wget", WGET)),
        authority(tool("wget2 --chunk-size", "wget2", WGET2)),
        authority(tool("wget2 -c", "wget2", WGET2_CONTINUE)),
        Tool { trust: "--ca-certificate={authority}", ..tool("aria2c", "aria2c", ARIA2C) },
        Tool {
            no_tls: Some("refuses a good certificate of localhost"),
            ..tool("axel", "axel", AXEL)
        },
        rclone("rclone copyurl", RCLONE_URL),
        rclone("rclone copyto", RCLONE),
    ]
}

impl Tool {
    pub(crate) fn is_ours(&self) -> bool {
        self.name.starts_with("ringpull")
    }

    /// The first line of what it says about its version.
    pub(crate) fn version(&self) -> String {
        let output = Command::new(&self.program).arg(self.version).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        text.unwrap_or_default().lines().next().unwrap_or("not installed").to_owned()
    }

    /// Whether the program is there.
    pub(crate) fn is_installed(&self) -> bool {
        Command::new(&self.program).arg(self.version).output().is_ok()
    }

    /// The command line as a person would read it.
    pub(crate) fn shown(&self) -> String {
        let program = if self.is_ours() { Path::new("ringpull") } else { &self.program };
        format!("{} {}", program.display(), self.args)
    }

    /// The arguments of one run.
    pub(crate) fn arguments(&self, job: &Job<'_>) -> Vec<String> {
        let (base, name) = job.url.rsplit_once('/').unwrap();
        let authority = job.authority.map(|path| path.to_str().unwrap()).unwrap_or_default();
        let fill = |word: &str| {
            word.replace("{url}", job.url)
                .replace("{target}", TARGET)
                .replace("{base}", base)
                .replace("{name}", name)
                .replace("{authority}", authority)
                .replace("{header}", job.header.unwrap_or_default())
        };
        let trust = job.authority.map_or("", |_| self.trust);
        let header = job.header.map_or("", |_| self.header);
        let words = [self.args, trust, header].into_iter().flat_map(str::split_whitespace);
        words.map(fill).collect()
    }
}
