//! Collects the credentials of a command line: from an option, a file or the environment.
//!
//! Invariant: no secret enters an error, a notice or `Debug` output.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::args::HttpArgs;
use super::config::usage;
use super::headers;
use crate::error::{Error, Escaped, Result};

/// How requests identify themselves.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    /// Not at all.
    Anonymous,
    /// Basic authentication (RFC 7617).
    Basic { user: String, password: String },
    /// A bearer token (RFC 6750).
    Bearer(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Basic { .. } => "Basic(..)",
            Self::Bearer(_) => "Bearer(..)",
        })
    }
}

/// The credentials that all URLs of a command line share.
#[derive(Debug)]
pub(super) struct Secrets {
    login: Login,
}

impl Secrets {
    /// Reads the credentials; `password` is what RINGPULL_PASSWORD holds.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) if there are several or malformed ones, or the
    /// failure to read the bearer file.
    pub(super) fn read(args: &HttpArgs, password: Option<&str>) -> Result<Self> {
        let in_header = args.header.iter().any(|text| is_field(text, "authorization"));
        let given = [args.user.is_some(), args.bearer_file.is_some(), in_header];
        if given.iter().filter(|given| **given).count() > 1 {
            return Err(usage(
                "--user, --bearer-file and --header Authorization exclude each other",
            ));
        }
        let login = match (&args.user, &args.bearer_file) {
            (Some(text), _) => basic(text, password)?,
            (None, Some(path)) => Login::Bearer(token_of(path)?),
            (None, None) => Login::Anonymous,
        };
        Ok(Self { login })
    }

    /// What requests identify themselves with.
    pub(super) fn login(&self) -> &Login {
        &self.login
    }

    /// Remarks on secrets that other users of the machine can read in the process list.
    pub(super) fn notices(&self, args: &HttpArgs) -> Vec<String> {
        let mut notices = Vec::new();
        if args.typed.user && args.user.as_deref().is_some_and(|text| text.contains(':')) {
            notices.push(
                "other users can read the password of --user in the process list; \
                 set RINGPULL_PASSWORD instead"
                    .to_owned(),
            );
        }
        for text in args.header.iter().filter(|_| args.typed.header) {
            let name = text.split(':').next().unwrap_or_default();
            if headers::is_secret(name) {
                notices.push(format!(
                    "other users can read the value of --header {} in the process list; \
                     use --bearer-file or RINGPULL_HEADER instead",
                    Escaped(name)
                ));
            }
        }
        notices
    }
}

fn basic(text: &str, password: Option<&str>) -> Result<Login> {
    let (user, password) = text.split_once(':').unwrap_or((text, password.unwrap_or("")));
    if text.contains(|char: char| char.is_ascii_control()) {
        return Err(usage("--user holds a control character"));
    }
    Ok(Login::Basic { user: user.to_owned(), password: password.to_owned() })
}

fn is_field(text: &str, name: &str) -> bool {
    text.split_once(':').is_some_and(|(field, _)| field.trim().eq_ignore_ascii_case(name))
}

/// Reads a token: the file without the line break at its end. It may be a pipe.
fn token_of(path: &Path) -> Result<String> {
    if path.as_os_str() == "-" {
        return Err(usage("--bearer-file does not read standard input; name a file"));
    }
    let failed = |error| Error::local("read", path, error);
    let mut token = Vec::new();
    let limit = TOKEN_BYTES_MAX + 2;
    File::open(path).map_err(failed)?.take(limit).read_to_end(&mut token).map_err(failed)?;
    let token = token.trim_ascii_end();
    let shown = path.to_string_lossy();
    match std::str::from_utf8(token) {
        Ok("") => Err(usage(format!("--bearer-file {}: the file is empty", Escaped(&shown)))),
        Ok(token)
            if token.bytes().all(|byte| byte.is_ascii_graphic())
                && token.len() as u64 <= TOKEN_BYTES_MAX =>
        {
            Ok(token.to_owned())
        }
        _ => Err(usage(format!(
            "--bearer-file {}: not a token: one line of visible ASCII is wanted",
            Escaped(&shown)
        ))),
    }
}

/// Longest token in bytes: servers commonly take no more than this in one field.
const TOKEN_BYTES_MAX: u64 = 16 << 10;

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::args::Args;

    fn args(argv: &[&str]) -> HttpArgs {
        let argv = ["ringpull"].iter().chain(argv).chain(&["http://h/f"]).map(OsString::from);
        Args::read(argv).unwrap().download.http
    }

    fn login(argv: &[&str], password: Option<&str>) -> Result<Login> {
        Secrets::read(&args(argv), password).map(|secrets| secrets.login)
    }

    fn basic_of(user: &str, password: &str) -> Login {
        Login::Basic { user: user.into(), password: password.into() }
    }

    #[test]
    fn the_password_comes_from_the_option_or_the_environment() {
        assert_eq!(login(&["-u", "me:p:w"], Some("env")).unwrap(), basic_of("me", "p:w"));
        assert_eq!(login(&["-u", "me"], Some("env")).unwrap(), basic_of("me", "env"));
        assert_eq!(login(&["-u", "me"], None).unwrap(), basic_of("me", ""));
        assert_eq!(login(&[], Some("env")).unwrap(), Login::Anonymous);
    }

    #[test]
    fn a_token_loses_its_line_break_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let text = path.to_str().unwrap();
        std::fs::write(&path, "abc.def-\r\n").unwrap();
        assert_eq!(
            login(&["--bearer-file", text], None).unwrap(),
            Login::Bearer("abc.def-".into())
        );
        for bad in ["", "\n", "a b", "a\nb", "ü", &"x".repeat((16 << 10) + 1)] {
            std::fs::write(&path, bad).unwrap();
            assert_eq!(login(&["--bearer-file", text], None).unwrap_err().exit_code(), 2);
        }
        assert_eq!(
            login(&["--bearer-file", "/nonexistent/token"], None).unwrap_err().exit_code(),
            7
        );
        assert_eq!(login(&["--bearer-file", "-"], None).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn credentials_come_from_one_place() {
        for argv in [
            &["-u", "a:b", "--bearer-file", "x"][..],
            &["-u", "a:b", "-H", "authorization: Basic x"],
            &["--bearer-file", "x", "-H", "Authorization: y"],
        ] {
            assert_eq!(login(argv, None).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn a_secret_on_the_command_line_draws_a_notice_that_does_not_repeat_it() {
        let count = |argv: &[&str]| {
            let args = args(argv);
            let notices = Secrets::read(&args, None).unwrap().notices(&args);
            assert!(!format!("{notices:?}").contains("s3cret"));
            notices.len()
        };
        assert_eq!(count(&["-u", "me:s3cret"]), 1);
        assert_eq!(count(&["-u", "me"]), 0);
        assert_eq!(
            count(&["-H", "Authorization: s3cret", "-H", "Cookie: s3cret", "-H", "X: s3cret"]),
            2
        );
        assert!(!format!("{:?}", login(&["-u", "me:s3cret"], None)).contains("s3cret"));
    }
}
