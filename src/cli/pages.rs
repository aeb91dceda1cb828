//! The texts that are made from the definition of the command line: refusals, help, manual page,
//! completions.

use std::io::{ErrorKind as IoKind, Write};

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::args::Args;
use crate::error::{Error, Kind, Result, reason};
use crate::report::Output;

/// Tells what clap says about a command line that it did not accept, and returns the exit code.
pub(super) fn misread(error: &clap::Error) -> u8 {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // A reader that has seen enough, as in `ringpull --help | head`, is no failure.
            let _ = error.print();
        }
        _ => Output::standard().line(&sentence(&error.to_string())),
    }
    u8::try_from(error.exit_code()).unwrap_or_else(|_| Kind::Usage.exit_code())
}

/// Writes the manual page.
pub(super) fn man() -> Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Args::command()).render(&mut page).map_err(|error| {
        Error::new(Kind::Internal, "cannot make the manual page").because(error)
    })?;
    put(&page)
}

/// Writes a completion script.
pub(super) fn completions(shell: clap_complete::Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "ringpull", &mut script);
    put(&script)
}

fn put(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != IoKind::BrokenPipe => {
            let said = format!("cannot write to standard output: {}", reason(&error));
            Err(Error::new(Kind::LocalIo, said).because(error))
        }
        _ => Ok(()),
    }
}

/// Folds what clap says into one line: the error and its tips, not the usage.
fn sentence(text: &str) -> String {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut paragraphs = text.trim().split("\n\n").map(words);
    let mut line =
        format!("ringpull: {}", paragraphs.next().unwrap_or_default().replacen("error: ", "", 1));
    for tip in paragraphs.filter_map(|text| text.strip_prefix("tip: ").map(str::to_owned)) {
        line.push_str(&format!("; {tip}"));
    }
    line + "; see ringpull --help"
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn said(argv: &[&str]) -> String {
        let argv = ["ringpull"].iter().chain(argv).map(OsString::from);
        sentence(&Args::read(argv).unwrap_err().to_string())
    }

    #[test]
    fn a_refusal_is_one_line_that_says_what_to_try() {
        assert_eq!(
            said(&["--cheksum", "x", "http://h/f"]),
            "ringpull: unexpected argument '--cheksum' found; a similar argument exists: \
             '--checksum'; see ringpull --help"
        );
        assert_eq!(
            said(&["-q"]),
            "ringpull: the following required arguments were not provided: <URL>...; \
             see ringpull --help"
        );
        let line = said(&["-b", "3M", "http://h/f"]);
        assert!(
            line.contains("'--block-size <SIZE>': write a power of two from 4.00 KiB"),
            "{line}"
        );
        assert!(said(&["-w", "fast", "http://h/f"]).contains("auto, direct, buffered"));
    }

    #[test]
    fn flags_that_do_not_work_do_not_exist() {
        for flag in ["--http2", "--http1.1", "--proxy", "--netrc", "--interface"] {
            assert!(said(&[flag, "http://h/f"]).contains("unexpected argument"), "{flag}");
        }
    }
}
