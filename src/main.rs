//! The program `ringpull`. A table of contents: catch the signals, run the command line, exit.

use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use ringpull::cli::{self, Signal, Signals};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

fn main() -> ExitCode {
    let (stop, stopped) = watch::channel(None);
    let ready = runtime().and_then(|runtime| {
        watch_signals(stop)?;
        Ok(runtime)
    });
    match ready {
        Ok(runtime) => ExitCode::from(runtime.block_on(cli::run(std::env::args_os(), stopped))),
        Err(error) => {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "ringpull: cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Sends the first signal to whoever runs, on a thread of its own so that nothing can keep it from
/// being noticed.
fn watch_signals(stop: watch::Sender<Option<Signal>>) -> std::io::Result<()> {
    let runtime = runtime()?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals::listen().map_err(std::io::Error::other)?
    };
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            let first = signals.next().await;
            stop.send_replace(Some(first));
            let _ = tokio::time::timeout(GRACE, signals.next()).await;
            exit(first);
        });
    })?;
    Ok(())
}

/// Ends the process at once: a second signal came, or the first was not obeyed in time.
#[expect(clippy::exit, reason = "whoever should return from main is stuck or unwanted")]
fn exit(signal: Signal) {
    std::process::exit(i32::from(signal.exit_code()));
}

fn runtime() -> std::io::Result<Runtime> {
    // tokio panics where its first runtime finds too few descriptors for the signals; so look before.
    drop([UnixStream::pair()?, UnixStream::pair()?, UnixStream::pair()?]);
    Builder::new_current_thread().enable_all().build()
}

/// Time to stop in order after the first signal; the process is gone within two seconds of it.
const GRACE: Duration = Duration::from_millis(1800);
