//! Makes file names that are always one path component: out of URLs, out of Content-Disposition, and for
//! our own files beside the target.
//!
//! It opens nothing and knows no directory's contents. Whatever a server sends, the result holds no
//! separator, no control or invisible character, does not hide or look like an option, and fits a directory
//! entry.

#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::limits::NAME_BYTES_MAX;

/// The name of the file that a URL points at: its last path segment, percent-decoded once and cleaned.
///
/// `None` if the path ends in `/` or nothing of the segment survives. Bytes that are no UTF-8 stay encoded.
pub(crate) fn from_url(url: &Url) -> Option<String> {
    let segment = url.path_segments()?.next_back()?;
    let bytes: Vec<u8> = percent_decode_str(segment).collect();
    let mut name = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        name.push_str(chunk.valid());
        for byte in chunk.invalid() {
            write!(name, "%{byte:02X}").expect("proof: writing to a string cannot fail");
        }
    }
    clean(&name)
}

/// The name that a Content-Disposition field proposes (RFC 6266 section 4.3), cleaned.
///
/// `filename*` wins over `filename` where it decodes (RFC 8187: UTF-8 and ISO-8859-1).
pub(crate) fn from_disposition(value: &str) -> Option<String> {
    let (_kind, mut rest) = value.split_once(';')?;
    let (mut plain, mut extended) = (None, None);
    while let Some((name, value, after)) = parameter(rest) {
        // Of repeated parameters the first counts, as in browsers.
        if name.eq_ignore_ascii_case("filename*") {
            extended.get_or_insert(value);
        } else if name.eq_ignore_ascii_case("filename") {
            plain.get_or_insert(value);
        }
        rest = after;
    }
    let extended = extended.and_then(|value| decode_extended(&value));
    extended.and_then(|name| clean(&name)).or_else(|| clean(&plain?))
}

/// The part of `name` that is safe as one path component.
///
/// Takes what follows the last `/` or `\`; drops control, bidirectional and zero-width characters; strips
/// dots, dashes and spaces in front, dots and spaces behind; cuts to [`NAME_BYTES_MAX`] and keeps the
/// extension. `None` if nothing is left.
pub(crate) fn clean(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next()?;
    let visible: String = last.chars().filter(|char| !is_hidden(*char)).collect();
    let front = visible.trim_start_matches(|char| matches!(char, '.' | '-') || is_space(char));
    let whole = trim_back(front);
    (!whole.is_empty()).then(|| shorten(whole))
}

/// The name of the file that holds a partial download: the same for the same target, of fixed length.
pub(crate) fn part(target_name: &OsStr, directory: &Path) -> String {
    beside(target_name, directory, "part")
}

/// The name of the file that remembers what of a partial download has landed.
pub(crate) fn ledger(target_name: &OsStr, directory: &Path) -> String {
    beside(target_name, directory, "ledger")
}

fn beside(target_name: &OsStr, directory: &Path, suffix: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(directory.as_os_str().as_bytes());
    // Neither a path nor a name holds a zero, so the two cannot run into each other.
    hasher.update(&[0]);
    hasher.update(target_name.as_bytes());
    let hash = hasher.finalize().to_hex();
    format!(".ringpull-{}.{suffix}", &hash[..HASH_DIGITS])
}

/// Splits off the first parameter: its name, its value, and what follows.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let text = text.trim_start_matches([';', ' ', '\t']);
    let (name, rest) = text.split_once('=')?;
    let rest = rest.trim_start_matches([' ', '\t']);
    let (value, after) = match rest.strip_prefix('"') {
        Some(quoted) => unquote(quoted)?,
        None => {
            let (token, after) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
            (token.trim_end().to_owned(), after)
        }
    };
    Some((name.trim_end(), value, after))
}

/// Reads a quoted-string after its opening quote (RFC 9110 section 5.6.4); `None` if it does not end.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next()?),
            char => value.push(char),
        }
    }
}

/// Decodes `charset'language'percent-encoded` (RFC 8187 section 3.2).
fn decode_extended(value: &str) -> Option<String> {
    let mut fields = value.splitn(3, '\'');
    let (charset, _language, text) = (fields.next()?, fields.next()?, fields.next()?);
    if !text.split('%').skip(1).all(starts_with_two_digits) {
        return None;
    }
    let bytes: Vec<u8> = percent_decode_str(text).collect();
    if charset.eq_ignore_ascii_case("utf-8") {
        String::from_utf8(bytes).ok()
    } else if charset.eq_ignore_ascii_case("iso-8859-1") {
        Some(bytes.into_iter().map(char::from).collect())
    } else {
        None
    }
}

fn starts_with_two_digits(text: &str) -> bool {
    text.len() >= 2 && text.bytes().take(2).all(|byte| byte.is_ascii_hexdigit())
}

/// Cuts a name to [`NAME_BYTES_MAX`] bytes at a character, before a short extension rather than within it.
fn shorten(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name.to_owned();
    }
    let dot = name.rfind('.').filter(|dot| name.len() - dot <= EXTENSION_BYTES_MAX);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let room = NAME_BYTES_MAX - extension.len();
    let end = (0..=room).rev().find(|end| stem.is_char_boundary(*end)).unwrap_or(0);
    format!("{}{extension}", trim_back(&stem[..end]))
}

fn trim_back(name: &str) -> &str {
    name.trim_end_matches(|char| char == '.' || is_space(char))
}

/// White space, and characters without a shape of their own that a name could end or begin with.
fn is_space(char: char) -> bool {
    char.is_whitespace()
        || matches!(char, '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}')
}

/// Control characters, and what steers or leaves no trace in a shown name.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Hexadecimal digits of the hash in our own names: 96 bits, beyond accident.
const HASH_DIGITS: usize = 24;
/// Longest extension in bytes, its dot included, that survives a cut.
const EXTENSION_BYTES_MAX: usize = 17;
