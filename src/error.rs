//! What can go wrong, in one type.
//!
//! An [`Error`] is a kind, one sentence that says what failed and on what, an optional hint that says what to
//! try, and its source. The kind alone decides the exit code and whether another attempt makes sense; nothing
//! reads the sentence. Every remote string that enters a sentence passes through [`Escaped`].

use std::fmt::{self, Write as _};
use std::time::Duration;

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure: what failed, on what, and what to try.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<&'static str>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The kinds of failure. The kind decides the exit code and whether to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The file on the server changed while it was fetched, more often than we start anew.
    Changed,
    /// The connection could not be made: refused, unreachable, timed out.
    Connect,
    /// The bytes do not have the digest that was asked for.
    Digest,
    /// The target exists and may not be replaced.
    Exists,
    /// A broken invariant of this program: a bug.
    Internal,
    /// Stopped by a signal or by the caller.
    Interrupted,
    /// A local file operation failed.
    LocalIo,
    /// The local file system has no room for the file.
    NoSpace,
    /// The local file system refuses access.
    Permission,
    /// The answer breaks HTTP, or does not answer what was asked.
    Protocol,
    /// Too many redirects, a loop, or one that may not be followed.
    Redirect,
    /// The server answered with a 4xx that asking again will not change.
    Refused,
    /// The connection was cut before the answer was whole.
    Reset,
    /// The host name has no address.
    Resolve,
    /// Several items failed with different causes.
    Several,
    /// No byte arrived for the stall timeout, or next to none for longer.
    Stall,
    /// The whole transfer took longer than `--max-time`.
    TimedOut,
    /// TLS failed: certificate, host name or handshake.
    Tls,
    /// The server is unable to answer now: 408, 429, 5xx.
    Unavailable,
    /// The request itself makes no sense: wrong URL, wrong option.
    Usage,
}

impl Kind {
    /// The process exit code, as the README lists them.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Connect | Self::Reset | Self::Resolve | Self::Stall | Self::TimedOut => 3,
            Self::Tls => 4,
            Self::Redirect | Self::Refused | Self::Unavailable => 5,
            Self::Changed | Self::Protocol => 6,
            Self::Exists | Self::LocalIo | Self::NoSpace | Self::Permission => 7,
            Self::Digest => 8,
            Self::Several => 9,
            Self::Interrupted => 130,
        }
    }

    /// Whether the same request may well succeed a little later.
    ///
    /// A protocol error counts: one broken answer (a proxy's, say) must not end a long download; the attempts
    /// are bounded all the same.
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Connect
                | Self::Protocol
                | Self::Reset
                | Self::Resolve
                | Self::Stall
                | Self::Unavailable
        )
    }

    /// The name in `--json` events: snake case, stable.
    pub fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Connect => "connect",
            Self::Digest => "digest",
            Self::Exists => "exists",
            Self::Internal => "internal",
            Self::Interrupted => "interrupted",
            Self::LocalIo => "local_io",
            Self::NoSpace => "no_space",
            Self::Permission => "permission",
            Self::Protocol => "protocol",
            Self::Redirect => "redirect",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Resolve => "resolve",
            Self::Several => "several",
            Self::Stall => "stall",
            Self::TimedOut => "timed_out",
            Self::Tls => "tls",
            Self::Unavailable => "unavailable",
            Self::Usage => "usage",
        }
    }
}

impl Error {
    /// A failure of `kind`; `message` says what failed and on what, without a final stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, retry_after: None, source: None }
    }

    /// Adds what to try.
    #[must_use]
    pub fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Adds the cause, shown with `--verbose`.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds the time the server asked us to wait before another attempt (RFC 9110 section 10.2.3).
    #[must_use]
    pub fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// The time the server asked us to wait before another attempt.
    pub fn wait_asked(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The kind of this failure.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The process exit code of this failure.
    pub fn exit_code(&self) -> u8 {
        self.kind.exit_code()
    }

    /// A failed operation on a local file: the kind follows from the error number.
    ///
    /// `action` names the operation ("create", "write"), `path` the file.
    pub fn local(action: &str, path: &std::path::Path, source: std::io::Error) -> Self {
        let shown = Escaped(&path.to_string_lossy()).to_string();
        let (kind, hint) = match source.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => {
                (Kind::NoSpace, Some("free some space or choose another directory with --dir"))
            }
            Some(libc::EFBIG) => (
                Kind::NoSpace,
                Some("the file is larger than the file system or `ulimit -f` allows"),
            ),
            Some(libc::EACCES | libc::EPERM | libc::EROFS) => (
                Kind::Permission,
                Some("choose a directory you may write to with --dir or --output"),
            ),
            Some(libc::EEXIST) => (Kind::Exists, Some("use --overwrite to replace it")),
            Some(libc::ENOENT) => {
                (Kind::LocalIo, Some("create the directory first, or choose another with --dir"))
            }
            _ => (Kind::LocalIo, None),
        };
        let mut error = Self::new(kind, format!("cannot {action} {shown}: {}", reason(&source)));
        error.hint = hint;
        error.because(source)
    }

    /// What the system said, if that is the cause.
    pub(crate) fn system(&self) -> Option<&std::io::Error> {
        self.source.as_ref()?.downcast_ref()
    }

    /// A copy to tell a second listener: same kind and sentence, the source as text.
    pub fn repeat(&self) -> Self {
        let mut copy = Self::new(self.kind, self.message.clone());
        copy.hint = self.hint;
        copy.retry_after = self.retry_after;
        if let Some(source) = &self.source {
            copy = copy.because(source.to_string());
        }
        copy
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)?;
        match self.hint {
            Some(hint) => write!(out, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

/// The operating system's sentence for an error, without Rust's "(os error 2)".
pub fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

/// Shows a string that came from outside without letting it steer the terminal or forge a log line.
///
/// Control characters (C0, DEL, C1), line and paragraph separators, bidirectional controls and the
/// backslash are written as `\u{..}` escapes.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            if is_unsafe_to_show(char) {
                write!(out, "{}", char.escape_unicode())?;
            } else {
                out.write_char(char)?;
            }
        }
        Ok(())
    }
}

fn is_unsafe_to_show(char: char) -> bool {
    char.is_control()
        || char == '\\'
        || matches!(char,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_strings_cannot_steer_the_terminal() {
        let nasty = "a\x1b[31mb\nc\u{9b}d\u{202e}e\u{7f}f\\g";
        let shown = Escaped(nasty).to_string();
        assert!(!shown.chars().any(char::is_control), "{shown}");
        assert!(!shown.contains('\u{202e}'));
        assert_eq!(Escaped("plain ünï.bin").to_string(), "plain ünï.bin");
    }

    #[test]
    fn a_full_disk_and_a_missing_directory_have_their_own_words() {
        let full =
            Error::local("write", "f".as_ref(), std::io::Error::from_raw_os_error(libc::ENOSPC));
        assert_eq!((full.kind(), full.exit_code()), (Kind::NoSpace, 7));
        assert_eq!(full.to_string().lines().count(), 1);
        let missing =
            Error::local("create", "d/f".as_ref(), std::io::Error::from_raw_os_error(libc::ENOENT));
        assert!(missing.to_string().contains("no such file or directory"), "{missing}");
    }
}
