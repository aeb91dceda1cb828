//! The signals that end the program, as values.
//!
//! Not here: what to do about them. A SIGHUP that was ignored when the program began stays ignored,
//! so that `nohup ringpull …` survives its terminal. SIGINT and SIGTERM always stop: whoever sends
//! them means it, also to a program that a shell has put in the background with SIGINT ignored.
//! SIGXFSZ is caught and forgotten: a file above `ulimit -f` is then a failed write with a sentence,
//! and not the end of the process.

use std::future::poll_fn;
use std::task::Poll;

use tokio::signal::unix::{self, SignalKind};

use crate::error::{Error, Kind, Result};

/// A signal that ends the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: the terminal is gone.
    Hangup,
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Signal {
    const ALL: [Self; 3] = [Self::Hangup, Self::Interrupt, Self::Terminate];

    /// The exit code a shell expects of a program that this signal ended: 128 and its number.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Hangup => 129,
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    fn kind(self) -> SignalKind {
        match self {
            Self::Hangup => SignalKind::hangup(),
            Self::Interrupt => SignalKind::interrupt(),
            Self::Terminate => SignalKind::terminate(),
        }
    }
}

/// The signals as they arrive.
pub struct Signals {
    streams: Vec<(Signal, unix::Signal)>,
}

impl Signals {
    /// Catches the signals from now on. Runs inside a tokio runtime with I/O.
    ///
    /// # Errors
    /// [`Kind::Internal`] if the kernel refuses.
    pub fn listen() -> Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mut streams = Vec::new();
        for signal in Signal::ALL {
            if signal == Signal::Hangup && is_ignored_in(&status, signal) {
                continue;
            }
            streams.push((signal, catch(signal.kind())?));
        }
        // The handler stays when its stream is dropped.
        drop(catch(SignalKind::from_raw(libc::SIGXFSZ))?);
        Ok(Self { streams })
    }

    /// Waits for the next signal. Dropping the future loses none.
    pub async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            for (signal, stream) in &mut self.streams {
                if stream.poll_recv(context).is_ready() {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}

fn catch(kind: SignalKind) -> Result<unix::Signal> {
    unix::signal(kind)
        .map_err(|error| Error::new(Kind::Internal, "cannot catch signals").because(error))
}

/// Whether the text of `/proc/self/status` has `signal` among the ignored ones: bit 0 of the mask
/// is signal 1; see proc_pid_status(5).
fn is_ignored_in(status: &str, signal: Signal) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal.kind().as_raw_value() - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_learns_the_signal_from_the_exit_code() {
        for signal in Signal::ALL {
            assert_eq!(i32::from(signal.exit_code()), 128 + signal.kind().as_raw_value());
        }
    }

    #[test]
    fn ignored_signals_are_read_from_the_status() {
        let status =
            "SigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000004002\n";
        assert!(is_ignored_in(status, Signal::Hangup));
        assert!(!is_ignored_in(status, Signal::Interrupt));
        assert!(!is_ignored_in("Name:\tx\n", Signal::Hangup));
    }
}
