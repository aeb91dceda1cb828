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
mod pages;
mod run;
mod secrets;
mod serve;
mod signals;
mod values;

use std::ffi::OsString;
use std::io::IsTerminal;

use self::args::{Args, Command, DownloadArgs};
use self::config::Work;
pub use self::run::Stop;
pub use self::signals::{Signal, Signals};
use crate::error::{Error, Kind};
use crate::report::{Output, Progress, Report, Style, Summary};

/// Does what the command line `argv` (program name first) says, until it is done or `stop` holds a
/// signal, and returns the exit code.
pub async fn run(argv: impl IntoIterator<Item = OsString>, stop: Stop) -> u8 {
    let args = match Args::read(argv) {
        Ok(args) => args,
        Err(error) => return pages::misread(&error),
    };
    let mut output = Output::standard();
    let done = match &args.command {
        None => return download(&args.download, stop).await,
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
    let checked = match std::env::var("RINGPULL_PASSWORD") {
        Ok(password) => Work::check(args, Some(&password)),
        Err(std::env::VarError::NotPresent) => Work::check(args, None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(Error::new(Kind::Usage, "RINGPULL_PASSWORD is not UTF-8"))
        }
    };
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

/// How to talk; `terminal` tells whether standard error can show a bar.
fn style(args: &DownloadArgs, terminal: bool) -> Style {
    let talk = &args.talk;
    let progress = match talk.progress {
        Progress::Auto | Progress::Bar if terminal => Progress::Bar,
        Progress::None => Progress::None,
        Progress::Auto | Progress::Bar | Progress::Plain => Progress::Plain,
    };
    let to_stdout = args.output.output.as_deref().is_some_and(|path| path.as_os_str() == "-");
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

    fn style_of(argv: &[&str], terminal: bool) -> Style {
        let argv = ["ringpull", "http://h/f"].iter().chain(argv).map(OsString::from);
        style(&Args::read(argv).unwrap().download, terminal)
    }

    #[test]
    fn a_bar_needs_a_terminal() {
        assert_eq!(style_of(&[], true).progress, Progress::Bar);
        assert_eq!(style_of(&[], false).progress, Progress::Plain);
        assert_eq!(style_of(&["--progress", "bar"], false).progress, Progress::Plain);
        assert_eq!(style_of(&["--progress", "plain"], true).progress, Progress::Plain);
        assert_eq!(style_of(&["--progress", "none"], true).progress, Progress::None);
    }

    #[test]
    fn events_leave_standard_output_to_the_body() {
        assert!(style_of(&["--json", "-o", "-"], false).shared);
        assert!(!style_of(&["--json"], false).shared);
        assert!(!style_of(&["-q", "-v"], false).verbose);
    }
}
