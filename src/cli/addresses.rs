//! Reads URLs as people type them, takes credentials out of them, and shows them without secrets.
//!
//! Invariant: what a refusal shows of an address holds neither credentials nor query values,
//! because signed URLs carry tokens there, and nothing that steers a terminal.

use percent_encoding::percent_decode_str;
use url::{ParseError, Url};

use super::config::usage;
use super::secrets::Login;
use crate::error::{Escaped, Result};
use crate::report::shown_url;

/// Reads an address of a file.
///
/// # Errors
/// [`Kind::Usage`](crate::error::Kind::Usage) if it is no URL, or neither http nor https.
pub(super) fn parse(text: &str) -> Result<Url> {
    let shown = shown_text(text);
    match Url::parse(text) {
        Ok(mut url) if matches!(url.scheme(), "http" | "https") => {
            url.set_fragment(None);
            Ok(url)
        }
        // `localhost:8000/f` reads as the scheme `localhost`.
        Ok(_) | Err(ParseError::RelativeUrlWithoutBase) if !text.contains("://") => {
            let rest = shown.trim_start_matches('/');
            Err(usage(format!("\"{shown}\" has no scheme; write https://{rest}")))
        }
        Ok(url) => Err(usage(format!("{shown}: cannot fetch {}; use http or https", url.scheme()))),
        Err(error) => Err(usage(format!("\"{shown}\" is not a URL: {error}"))),
    }
}

/// Reads the other addresses of a file. Credentials in them are refused: they would go to every
/// origin or none.
///
/// # Errors
/// [`Kind::Usage`](crate::error::Kind::Usage), as [`parse`].
pub(super) fn alternates(texts: &[String]) -> Result<Vec<Url>> {
    texts
        .iter()
        .map(|text| match split_login(parse(text)?)? {
            (url, None) => Ok(url),
            (url, Some(_)) => Err(usage(format!(
                "--alternate {}: credentials are not taken here",
                shown_url(&url)
            ))),
        })
        .collect()
}

/// Takes the credentials out of a URL.
///
/// # Errors
/// [`Kind::Usage`](crate::error::Kind::Usage) if they are not UTF-8, or if the user name holds a
/// colon (RFC 7617 section 2).
pub(super) fn split_login(mut url: Url) -> Result<(Url, Option<Login>)> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok((url, None));
    }
    let user = decoded(url.username());
    let password = decoded(url.password().unwrap_or(""));
    url.set_username("")
        .and_then(|()| url.set_password(None))
        .map_err(|()| usage("cannot read the URL"))?;
    match (user, password) {
        (Some(user), Some(password)) if !user.contains(':') => {
            Ok((url, Some(Login::Basic { user, password })))
        }
        _ => Err(usage(format!(
            "the credentials in the URL of {} are not usable; use --user",
            shown_url(&url)
        ))),
    }
}

/// As [`shown_url`], for text that may be no URL: whatever precedes its last `@` may be a password.
fn shown_text(text: &str) -> String {
    let (bare, query) = match text.find(['?', '#']) {
        Some(end) if text[end..].starts_with('?') => (&text[..end], "?…"),
        Some(end) => (&text[..end], ""),
        None => (text, ""),
    };
    // A later `://` begins no host: in `me:secret@host/http://x` the secret precedes it.
    let is_scheme = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    let scheme = bare.find("://").filter(|at| is_scheme(&bare[..*at])).map_or(0, |at| at + 3);
    // A password may hold the `?` or `#` that was taken for the end.
    if text[bare.len()..].contains('@') && bare[scheme..].contains(':') {
        return format!("{}…", Escaped(&bare[..scheme]));
    }
    let host = bare.rfind('@').map_or(scheme, |at| scheme.max(at + 1));
    format!("{}{}{query}", Escaped(&bare[..scheme]), Escaped(&bare[host..]))
}

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let error = parse(text).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    }

    #[test]
    fn an_address_without_a_scheme_is_told_how_to_get_one() {
        assert!(refusal("example.com/f").contains("write https://example.com/f"));
        assert!(refusal("localhost:8000/f").contains("write https://localhost:8000/f"));
        assert!(refusal("//example.com/f").contains("write https://example.com/f"));
        assert!(refusal("serve").contains("write https://serve"));
    }

    #[test]
    fn only_http_and_https_are_fetched() {
        assert!(refusal("ftp://h/f").contains("cannot fetch ftp"));
        assert!(refusal("file:///etc/passwd").contains("cannot fetch file"));
        assert!(refusal("http://").contains("is not a URL"));
        assert!(refusal("http://h:99999/f").contains("is not a URL"));
        assert_eq!(parse("HTTP://H/f#x").unwrap().as_str(), "http://h/f");
    }

    #[test]
    fn credentials_are_decoded_and_taken_out() {
        let (url, login) = split_login(parse("https://me%40x:p%3Aw@h/f").unwrap()).unwrap();
        assert_eq!(url.as_str(), "https://h/f");
        assert_eq!(login, Some(Login::Basic { user: "me@x".into(), password: "p:w".into() }));
        assert_eq!(split_login(parse("https://h/@a/f").unwrap()).unwrap().1, None);
        assert!(split_login(parse("http://a%3Ab:c@h/").unwrap()).is_err());
        assert!(split_login(parse("http://%ff@h/").unwrap()).is_err());
        assert!(alternates(&["http://u:p@h/".into()]).is_err());
    }

    #[test]
    fn what_is_shown_holds_no_secret_and_no_escape() {
        assert_eq!(
            shown_url(&parse("http://u:s3@h:8/@a/f?token=t1#x").unwrap()),
            "http://h:8/@a/f?…"
        );
        for text in [
            "ftp://u:s3@h/f?t1",
            "http://u:s3/x@h/f",
            "u:s3@h/f",
            "u:s3@h/http://x",
            "http://u:s3#1@h/f",
            "u:s3?1@h/f",
            "http://u:s3@:x/?t1",
            "\x1b[31m",
        ] {
            let said = refusal(text);
            assert!(!said.contains("s3") && !said.contains("t1"), "{said}");
            assert!(!said.chars().any(char::is_control), "{said:?}");
        }
    }
}
