//! What tells one version of a file from another: its size, ETag and Last-Modified date.
//!
//! A validator ties answers together only if it is strong (RFC 9110 section 8.8.1). Equal validators are no
//! proof of equal content, for servers make mistakes; different ones are always taken as a change.

use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, DATE, ETAG, IF_RANGE, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::Escaped;

/// One version of a file on the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Version {
    /// Size in bytes, if the server says.
    pub size: Option<u64>,
    /// The ETag field as it came, with quotes and `W/`.
    pub etag: Option<String>,
    /// The Last-Modified field as it came.
    pub last_modified: Option<String>,
    /// Whether the date is a strong validator: at least a second before the answer (RFC 9110 section
    /// 8.8.2.2).
    pub date_is_strong: bool,
    /// Whether the answer said that the file is a web page; `None` if it said nothing of its kind.
    pub is_page: Option<bool>,
}

impl Version {
    /// The version that the fields of an answer describe; `size` is the file's size in bytes.
    pub(crate) fn from_headers(headers: &HeaderMap, size: Option<u64>) -> Self {
        let last_modified = only(headers, &LAST_MODIFIED);
        let date_is_strong =
            match (date(last_modified.as_deref()), date(only(headers, &DATE).as_deref())) {
                (Some(modified), Some(answered)) => modified
                    .checked_add(DATE_IS_STRONG_AFTER)
                    .is_some_and(|strong| strong <= answered),
                _ => false,
            };
        let is_page = only(headers, &CONTENT_TYPE).map(|kind| is_page(&kind));
        Self { size, etag: only(headers, &ETAG), last_modified, date_is_strong, is_page }
    }

    /// Whether ranges may be combined on the word of this version: its ETag or its date is strong.
    pub(crate) fn is_strong(&self) -> bool {
        self.strong_etag().is_some() || self.date_is_strong
    }

    /// The If-Range field that has the server send the whole file if it has another version (RFC 9110 section
    /// 13.1.5). `None` without a strong validator: a weak one must not be sent.
    pub(crate) fn condition(&self) -> Option<(HeaderName, HeaderValue)> {
        let strong_date = || self.last_modified.as_deref().filter(|_| self.date_is_strong);
        let validator = self.strong_etag().or_else(strong_date)?;
        Some((IF_RANGE, HeaderValue::from_str(validator).ok()?))
    }

    /// Says what makes `other` another version than this one; `None` if nothing does.
    ///
    /// A validator that is missing on one side counts only if this version is strong by it.
    pub(crate) fn differs(&self, other: &Self) -> Option<String> {
        if let (Some(before), Some(after)) = (self.size, other.size)
            && before != after
        {
            return Some(format!("the size changed from {before} to {after} bytes"));
        }
        let relies_on_etag = self.strong_etag().is_some();
        let relies_on_date = self.date_is_strong && !relies_on_etag;
        changed("ETag", self.etag.as_deref(), other.etag.as_deref(), relies_on_etag).or_else(|| {
            let (before, after) = (self.last_modified.as_deref(), other.last_modified.as_deref());
            changed("Last-Modified date", before, after, relies_on_date)
        })
    }

    /// Whether `other` is a web page and this version is none: a login or an apology rather than a change.
    pub(crate) fn gave_way_to_page(&self, other: &Self) -> bool {
        self.is_page == Some(false) && other.is_page == Some(true)
    }

    /// When the file was last modified, if the server says.
    pub(crate) fn modified(&self) -> Option<SystemTime> {
        date(self.last_modified.as_deref())
    }

    /// The validator to show in reports: the ETag or the date, as it came.
    pub(crate) fn label(&self) -> Option<&str> {
        self.etag.as_deref().or(self.last_modified.as_deref())
    }

    /// The ETag if it is strong: well-formed, not marked as weak, and possible to send back as it came.
    fn strong_etag(&self) -> Option<&str> {
        let etag = self.etag.as_deref()?;
        let inner = etag.strip_prefix('"')?.strip_suffix('"')?;
        inner.bytes().all(|byte| matches!(byte, b'!' | b'#'..=b'~')).then_some(etag)
    }
}

fn changed(
    what: &str,
    before: Option<&str>,
    after: Option<&str>,
    relied_on: bool,
) -> Option<String> {
    match (before, after) {
        (Some(before), Some(after)) if before != after => {
            Some(format!("the {what} changed from {} to {}", shown(before), shown(after)))
        }
        (Some(before), None) if relied_on => {
            Some(format!("the {what} {} is missing from a later answer", shown(before)))
        }
        _ => None,
    }
}

/// The value of a field that occurs exactly once and is not empty. Bytes beyond ASCII become the characters
/// of Latin-1: values stay as different as they were.
fn only(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|value| !value.is_empty())?;
    values.next().is_none().then(|| value.as_bytes().iter().copied().map(char::from).collect())
}

/// Whether a Content-Type is that of a web page.
fn is_page(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    ["text/html", "application/xhtml+xml"].iter().any(|page| kind.eq_ignore_ascii_case(page))
}

fn date(value: Option<&str>) -> Option<SystemTime> {
    httpdate::parse_http_date(value?).ok()
}

/// The head of a remote string, safe to show.
fn shown(value: &str) -> String {
    match value.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}...", Escaped(&value[..end])),
        None => Escaped(value).to_string(),
    }
}

/// How long a date must lie back before the file cannot have changed twice within it.
const DATE_IS_STRONG_AFTER: Duration = Duration::from_secs(1);
/// Characters of a validator that a sentence shows.
const SHOWN_CHARS_MAX: usize = 100;
