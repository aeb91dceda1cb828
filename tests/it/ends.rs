//! Fetches one file from an origin that misbehaves, on every backend, over one and over several connections.

use std::sync::Arc;

use crate::harness::{Outcome, Run};
use crate::origin::{File, Origin, Reply, Request, Running};
use crate::ways::backends;

/// Many blocks of `--block-size 64k`, so that several connections have work; and not a whole number of them.
pub(crate) const SIZE: u64 = (3 << 20) + 17;

/// Requests that no run may exceed, whatever the origin does.
const REQUESTS_MAX: usize = 200;

type Script = Arc<dyn Fn(&Request, Reply) -> Reply + Send + Sync>;

/// A misbehaving origin and what is asked of it.
pub(crate) struct Fault {
    pub(crate) file: File,
    script: Script,
    args: Vec<String>,
    retries: &'static str,
    connections: &'static [&'static str],
}

impl Fault {
    /// A file with a strong validator, each honest reply bent by `script`.
    pub(crate) fn new(script: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) -> Self {
        Self::of(File::new(SIZE), script)
    }

    pub(crate) fn of(
        file: File,
        script: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let args = vec!["--block-size".to_owned(), "64k".to_owned()];
        Self { file, script: Arc::new(script), args, retries: "2", connections: &["1", "8"] }
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    pub(crate) fn retries(mut self, retries: &'static str) -> Self {
        self.retries = retries;
        self
    }

    pub(crate) fn over(mut self, connections: &'static [&'static str]) -> Self {
        self.connections = connections;
        self
    }

    /// Every run ends with one of `codes`; with 0 only if every byte is right.
    pub(crate) fn ends(&self, codes: &[i32]) {
        self.each(|outcome, origin| {
            let code = outcome.code.unwrap();
            assert!(codes.contains(&code), "exit code {code}: {}", outcome.stderr);
            if code == 0 {
                outcome.assert_gives("f.bin", &self.file);
            }
            assert!(origin.log().len() <= REQUESTS_MAX, "{} requests", origin.log().len());
        });
    }

    /// Every run ends well.
    pub(crate) fn is_survived(&self) {
        self.ends(&[0]);
    }

    /// Runs against a fresh origin for every backend and number of connections.
    pub(crate) fn each(&self, check: impl Fn(&Outcome, &Running)) {
        for io in backends() {
            for connections in self.connections {
                let script = self.script.clone();
                let origin = Origin::new()
                    .bent("/f.bin", self.file, move |request, reply| script(request, reply))
                    .start();
                let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-c", connections]);
                let run = run.args(["--retries", self.retries]).args(&self.args);
                check(&run.finish(), &origin);
            }
        }
    }
}
