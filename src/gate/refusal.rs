//! Judges the answers without the file: redirects, refusals, and servers that cannot answer now.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{DATE, LOCATION, RETRY_AFTER};

use crate::error::{Error, Kind, Result};
use crate::gate::{Head, Verdict, broken};
use crate::limits::RETRY_AFTER_MAX;
use crate::units::show_time;

/// Judges a redirect by its one Location field (RFC 9110 section 10.2.2).
pub(crate) fn redirect(head: &Head<'_>) -> Result<Verdict> {
    let mut locations = head.headers.get_all(LOCATION).iter();
    let first = locations.next().and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
    match (first, locations.next()) {
        (Some(location), None) if !location.is_empty() => {
            Ok(Verdict::Redirect(location.to_owned()))
        }
        (_, Some(_)) => Err(broken("the server redirects to several places at once")),
        _ => Err(broken(format!(
            "the server redirects ({}) without a usable Location",
            words(head.status)
        ))),
    }
}

/// The failure that any other answer means.
pub(crate) fn error(head: &Head<'_>, now: SystemTime) -> Error {
    let status = head.status;
    let message = format!("the server answered {}", words(status));
    match status.as_u16() {
        408 | 425 | 429 => unavailable(head, message, now),
        401 => {
            Error::new(Kind::Refused, message).hint("give credentials with --user or --bearer-file")
        }
        // These two will be the same next time.
        501 | 505 => Error::new(Kind::Refused, message),
        500..=599 => unavailable(head, message, now),
        // A conditional answer to an unconditional request is no refusal but a mistake.
        304 => broken(message),
        300..=499 => Error::new(Kind::Refused, message),
        _ => broken(format!("{message} instead of the file")),
    }
}

/// Whether this refusal may mean that an address which once worked has expired. Of the signed ones, some say
/// 400 (`ExpiredToken`), most 403; one machine of many says 404 or 410 for what it no longer holds.
pub(crate) fn may_have_expired(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 401 | 403 | 404 | 410)
}

fn unavailable(head: &Head<'_>, message: String, now: SystemTime) -> Error {
    let asked = retry_after(head, now);
    let message = match asked {
        Some(wait) if wait > RETRY_AFTER_MAX => {
            let (wait, most) = (show_time(wait), show_time(RETRY_AFTER_MAX));
            format!("{message} and wants to be asked again in {wait}, more than the {most} we wait")
        }
        _ => message,
    };
    Error::new(Kind::Unavailable, message).retry_after(asked)
}

/// The status code and its usual phrase; what the server wrote beside it is not shown.
fn words(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(phrase) => format!("{} {phrase}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// The time the server asks to wait (RFC 9110 section 10.2.3).
///
/// A date counts from the server's own Date field, so that neither clock has to be right.
fn retry_after(head: &Head<'_>, now: SystemTime) -> Option<Duration> {
    let value = head.headers.get(RETRY_AFTER)?.to_str().ok()?;
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let server_now = head.headers.get(DATE).and_then(|date| date.to_str().ok());
    let now = server_now.and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or(now);
    Some(until.duration_since(now).unwrap_or(Duration::ZERO))
}
