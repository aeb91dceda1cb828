//! The command line: text becomes arguments (`args`), arguments become checked work (`config`),
//! work is run (`run`).
//!
//! Not here: printing, which is `report`'s, and ending the process, which is `main`'s.

mod addresses;
mod args;
mod config;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod headers;
mod mirror;
mod pages;
mod run;
mod secrets;
mod serve;
mod signals;
mod values;

use std::ffi::OsString;
use std::io::IsTerminal;

use self::args::{Args, Command, DownloadArgs, TalkArgs};
use self::config::Work;
pub use self::run::Stop;
pub use self::signals::{Signal, Signals};
use crate::error::{Error, Kind, Result};
use crate::fault::Watch;
use crate::report::{Output, Progress, Report, Style, Summary};

/// Does what the command line `argv` (program name first) says, until it is done or `stop` holds a
/// signal, and returns the exit code.
pub async fn run(argv: impl IntoIterator<Item = OsString>, stop: Stop) -> u8 {
    let watch = Watch::begin();
    let exit_code = obey(argv, stop).await;
    watch.end();
    exit_code
}

async fn obey(argv: impl IntoIterator<Item = OsString>, stop: Stop) -> u8 {
    let args = match Args::read(argv) {
        Ok(args) => args,
        Err(error) => return pages::misread(&error),
    };
    let mut output = Output::standard();
    let done = match &args.command {
        None => return download(&args.download, stop).await,
        Some(Command::Mirror(args)) => return mirror::run(args, stop).await,
        Some(Command::Serve(args)) => serve::run(args, &mut output, stop).await,
        Some(Command::Completions { shell }) => pages::completions(*shell),
        Some(Command::Man) => pages::man(),
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            output.line(&format!("ringpull: {error}"));
            error.exit_code()
        }
    }
}

async fn download(args: &DownloadArgs, stop: Stop) -> u8 {
    let style = style(args, terminal());
    let output = if style.shared { Output::beside_body() } else { Output::standard() };
    let mut report = Report::new(style, output);
    let checked = password().and_then(|password| Work::check(args, password.as_deref()));
    let work = match checked {
        Ok(work) => work,
        Err(error) => {
            let (items, exit_code) = (args.urls.len(), error.exit_code());
            report.failed(&error, exit_code);
            report.summary(Summary { items, failed: items, exit_code, ..Summary::default() });
            return exit_code;
        }
    };
    for notice in &work.notices {
        report.remark(notice);
    }
    run::all(&work, &mut report, stop).await
}

/// What RINGPULL_PASSWORD holds.
fn password() -> Result<Option<String>> {
    match std::env::var("RINGPULL_PASSWORD") {
        Ok(password) => Ok(Some(password)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(Error::new(Kind::Usage, "RINGPULL_PASSWORD is not UTF-8"))
        }
    }
}

/// How to talk; `terminal` tells whether standard error can show a bar.
fn style(args: &DownloadArgs, terminal: bool) -> Style {
    let to_stdout = args.output.output.as_deref().is_some_and(|path| path.as_os_str() == "-");
    style_of(&args.talk, to_stdout, terminal)
}

fn style_of(talk: &TalkArgs, to_stdout: bool, terminal: bool) -> Style {
    let progress = match talk.progress {
        Progress::Auto | Progress::Bar if terminal => Progress::Bar,
        Progress::None => Progress::None,
        Progress::Auto | Progress::Bar | Progress::Plain => Progress::Plain,
    };
    Style {
        progress,
        quiet: talk.quiet,
        verbose: talk.verbose && !talk.quiet,
        json: talk.json,
        shared: talk.json && to_stdout,
    }
}

fn terminal() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style_for(argv: &[&str], terminal: bool) -> Style {
        let argv = ["ringpull", "http://h/f"].iter().chain(argv).map(OsString::from);
        style(&Args::read(argv).unwrap().download, terminal)
    }

    #[test]
    fn a_bar_needs_a_terminal() {
        assert_eq!(style_for(&[], true).progress, Progress::Bar);
        assert_eq!(style_for(&[], false).progress, Progress::Plain);
        assert_eq!(style_for(&["--progress", "bar"], false).progress, Progress::Plain);
        assert_eq!(style_for(&["--progress", "plain"], true).progress, Progress::Plain);
        assert_eq!(style_for(&["--progress", "none"], true).progress, Progress::None);
    }

    #[test]
    fn events_leave_standard_output_to_the_body() {
        assert!(style_for(&["--json", "-o", "-"], false).shared);
        assert!(!style_for(&["--json"], false).shared);
        assert!(!style_for(&["-q", "-v"], false).verbose);
    }
}
