//! Paths of entries: which are allowed, how a URL becomes one, and how one becomes a URL.
//!
//! It looks at no file tree. Invariant: what passes [`check`] stays beneath any directory that it is joined
//! to, apart from symbolic links, and out of the one where ringpull keeps its own state.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use crate::limits::{COMPONENT_BYTES_MAX, PATH_BYTES_MAX};

/// Where the state of a tree is kept, right below its root.
const OWN: &str = ".ringpull";
/// What a component is written with in a URL without encoding: the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Whether a path may be one of an entry.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("the path is empty");
    }
    if path.starts_with('/') {
        return Err("the path is absolute");
    }
    if path.len() > PATH_BYTES_MAX {
        return Err("the path is too long");
    }
    if path.split('/').next() == Some(OWN) {
        return Err("the path leads into the directory where ringpull keeps its own files");
    }
    path.split('/').try_for_each(check_component)
}

/// Whether a name may be a component of a path.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_component(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("the path has an empty component"),
        "." => Err("the path has a component `.`"),
        ".." => Err("the path has a component `..`"),
        _ if name.len() > COMPONENT_BYTES_MAX => Err("a component of the path is too long"),
        _ if name.contains('/') => Err("a name holds a slash"),
        _ if name.chars().any(char::is_control) => Err("the path holds a control character"),
        _ => Ok(()),
    }
}

/// The path of a URL: what is below `base`, or all of it if it is elsewhere. It is not checked but for what
/// decoding hides.
///
/// # Errors
/// What is wrong with it.
pub(super) fn of_url(url: &Url, base: Option<&Url>) -> Result<String, &'static str> {
    let whole = url.path();
    let below = base
        .filter(|base| base.origin() == url.origin())
        .and_then(|base| whole.strip_prefix(base.path()))
        .unwrap_or_else(|| whole.strip_prefix('/').unwrap_or(whole));
    if below.is_empty() || below.ends_with('/') {
        return Err("the address ends in a slash and names no file: give it a path");
    }
    let mut path = String::with_capacity(below.len());
    for component in below.split('/') {
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(&decode(component)?);
    }
    Ok(path)
}

/// One component of the path of a URL, decoded.
///
/// # Errors
/// What is wrong with it.
pub(super) fn decode(component: &str) -> Result<String, &'static str> {
    let name = percent_decode_str(component).decode_utf8();
    let name = name.map_err(|_| "the name in the address is not UTF-8")?;
    check_component(&name)?;
    Ok(name.into_owned())
}

/// A path as a relative reference, for [`Url::join`]. It holds no colon, so it is no address by itself.
pub(super) fn encode(path: &str) -> String {
    let components: Vec<String> =
        path.split('/').map(|name| utf8_percent_encode(name, ENCODED).to_string()).collect();
    components.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_or_cannot_be_are_refused() {
        let long = format!("a/{}", "x".repeat(COMPONENT_BYTES_MAX + 1));
        let deep = "x/".repeat(PATH_BYTES_MAX);
        for path in [
            "",
            "/",
            "/a",
            "..",
            "../a",
            "a/../b",
            "a/..",
            ".",
            "./a",
            "a/./b",
            "a//b",
            "a/",
            "a\0b",
            "a\nb",
            "a\u{9b}b",
            ".ringpull",
            ".ringpull/tmp/x",
            &long,
            &deep,
        ] {
            assert!(check(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn odd_paths_are_fine() {
        for path in
            ["a", "a/b/c", "...", "..a", "-x", "a b", "é/ü", "a\\b", "C:\\x", "a/.ringpull", "~"]
        {
            assert_eq!(check(path), Ok(()), "{path:?}");
        }
    }

    #[test]
    fn a_url_becomes_the_path_below_its_base() {
        let base: Url = "http://h/pub/".parse().unwrap();
        for (url, path) in [
            ("http://h/pub/a/b%20c", Ok("a/b c")),
            ("http://h/public/x", Ok("public/x")),
            ("http://other/pub/x?y=1", Ok("pub/x")),
            ("http://h/pub/a%2Fb", Err("a name holds a slash")),
            ("http://h/pub/..%2F..%2Fetc", Err("a name holds a slash")),
            ("http://h/pub/a%00", Err("the path holds a control character")),
            ("http://h/pub/%FF", Err("the name in the address is not UTF-8")),
            ("http://h/pub/a//b", Err("the path has an empty component")),
            ("http://h/pub/a%5Cb", Ok("a\\b")),
        ] {
            let found = of_url(&url.parse().unwrap(), Some(&base));
            assert_eq!(found.as_deref(), path.as_ref().copied(), "{url}");
        }
        for url in ["http://h/pub/", "http://h/", "http://h", "http://h/pub/d/"] {
            assert!(of_url(&url.parse().unwrap(), Some(&base)).is_err(), "{url}");
        }
    }

    #[test]
    fn a_path_survives_the_way_into_a_url_and_back() {
        let base: Url = "http://h/pub/".parse().unwrap();
        for path in ["a", "a/b c", "x:y", "q?a#b%20", "é", "a\\b", "%2e%2e/x", "&;=+"] {
            let url = base.join(&encode(path)).unwrap();
            assert_eq!(of_url(&url, Some(&base)).as_deref(), Ok(path), "{url}");
        }
    }
}
