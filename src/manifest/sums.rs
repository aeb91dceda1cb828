//! What sha256sum, md5sum, b3sum and their kin write, in the form of GNU and of BSD, signed or not.
//!
//! It computes nothing and checks no signature. Invariant: a line that is neither a sum nor a comment nor
//! part of a signature is a bad line.

use std::io::BufRead;

use super::Each;
use super::fields::{Context, Fields};
use super::lines::{Line, Lines};
use super::list::bad;
use crate::digest::Algo;
use crate::error::{Error, Kind, Result};

const SIGNED: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const SIGNATURE_END: &str = "-----END PGP SIGNATURE-----";

/// Where a line stands in a message with a signature (RFC 9580 section 7).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Head,
    Body,
    Signature,
}

/// A line apart: algorithm where it is told, hex digits, name.
#[derive(Debug, PartialEq, Eq)]
struct Sum<'a> {
    algo: Option<&'a str>,
    hex: &'a str,
    name: String,
}

/// Reads sums; their names are paths below the base. Blank lines and those that begin with `#` are passed
/// over.
///
/// # Errors
/// [`Kind::Usage`] without a base.
pub(super) fn read(
    mut lines: Lines<'_, impl BufRead>,
    list: &str,
    context: &Context,
    each: &mut Each<'_>,
) -> Result<()> {
    if context.base().is_none() {
        let error = Error::new(
            Kind::Usage,
            "a list of digests has names only, and no address to begin from",
        );
        return Err(error.hint("say with --base-url where the files are"));
    }
    let list = list.rsplit('/').next().unwrap_or(list).to_ascii_lowercase();
    let blake3 = ["b3", "blake3"].iter().any(|name| list.contains(name));
    let mut part = Part::Body;
    while let Some(Line { number, text }) = lines.next()? {
        let found = match text {
            Ok(text) if is_beside(text, &mut part) => continue,
            Ok(text) => match apart(text) {
                Some(sum) => match fields(sum, blake3) {
                    Ok(fields) => context.found(number, &fields),
                    Err(why) => bad(number, why),
                },
                None => bad(number, "neither a digest and a name nor `ALGO (name) = digest`"),
            },
            Err(why) => bad(number, why),
        };
        each(found)?;
    }
    Ok(())
}

/// Whether a list that begins with this line is one of sums.
pub(super) fn is_one(line: &str) -> bool {
    line.starts_with(SIGNED) || apart(line).is_some()
}

/// Whether a line is no sum: blank, a comment, or part of a signature.
fn is_beside(text: &str, part: &mut Part) -> bool {
    let line = text.trim_end();
    match *part {
        Part::Head if line.is_empty() => *part = Part::Body,
        Part::Head => {}
        Part::Signature if line == SIGNATURE_END => *part = Part::Body,
        Part::Signature => {}
        Part::Body if line == SIGNED => *part = Part::Head,
        Part::Body if line == SIGNATURE => *part = Part::Signature,
        Part::Body => return line.is_empty() || line.starts_with('#'),
    }
    true
}

fn fields(sum: Sum<'_>, blake3: bool) -> Result<Fields, &'static str> {
    let algo = match sum.algo {
        Some(algo) => algo,
        None => by_length(sum.hex.len(), blake3).ok_or("no digest that we know is as long")?,
    };
    // As `find -exec sha256sum` writes them.
    let path = sum.name.strip_prefix("./").unwrap_or(&sum.name);
    let digests = vec![(algo.into(), sum.hex.into())];
    Ok(Fields { path: Some(path.into()), digests, ..Fields::default() })
}

fn by_length(digits: usize, blake3: bool) -> Option<&'static str> {
    let algos = [Algo::Md5, Algo::Sha1, Algo::Sha256, Algo::Sha512];
    let found = algos.into_iter().find(|algo| algo.digest_len() * 2 == digits)?;
    Some(if blake3 && found == Algo::Sha256 { Algo::Blake3.name() } else { found.name() })
}

/// Takes a line apart: `digest  name`, `digest *name`, `ALGO (name) = digest`. A backslash in front says that
/// the name has escapes (coreutils, "md5sum invocation").
fn apart(text: &str) -> Option<Sum<'_>> {
    let (escaped, line) = match text.strip_prefix('\\') {
        Some(line) => (true, line),
        None => (false, text),
    };
    let (algo, hex, name) = gnu(line).or_else(|| bsd(line))?;
    let name = if escaped { unescape(name)? } else { name.to_owned() };
    Some(Sum { algo, hex, name })
}

fn gnu(line: &str) -> Option<(Option<&str>, &str, &str)> {
    let (hex, rest) = line.split_once([' ', '\t'])?;
    let name = rest.strip_prefix([' ', '*']).unwrap_or(rest);
    (is_hex(hex) && !name.is_empty()).then_some((None, hex, name))
}

fn bsd(line: &str) -> Option<(Option<&str>, &str, &str)> {
    let (algo, rest) = line.split_once('(')?;
    let (name, hex) = rest.rsplit_once(')')?;
    let hex = hex.trim().strip_prefix('=')?.trim();
    let is_algo = !algo.trim().is_empty()
        && algo.trim().chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    (is_algo && !name.is_empty()).then_some((Some(algo.trim()), hex, name))
}

fn is_hex(text: &str) -> bool {
    text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn unescape(name: &str) -> Option<String> {
    let mut plain = String::with_capacity(name.len());
    let mut chars = name.chars();
    while let Some(char) = chars.next() {
        plain.push(match char {
            '\\' => match chars.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            other => other,
        });
    }
    Some(plain)
}
