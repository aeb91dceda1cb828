//! Judges the conditions of a request against the version of a file (RFC 9110 section 13).
//!
//! It does no I/O and reads no clock. Invariant: a part is only granted against the version the
//! client names.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::range::{self, Asked};
use super::request::Method;

/// The conditional fields of a request, and its range.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    pub(super) if_match: Option<String>,
    pub(super) if_none_match: Option<String>,
    pub(super) if_modified_since: Option<String>,
    pub(super) if_unmodified_since: Option<String>,
    pub(super) if_range: Option<String>,
    pub(super) range: Option<String>,
}

/// What tells one version of a file from another.
#[derive(Debug)]
pub(super) struct Validators {
    /// A strong entity tag, quotes included.
    pub(super) etag: String,
    /// When the file changed last, in whole seconds, as HTTP dates are. `None` if that lies in the
    /// future, which RFC 9110 section 8.8.2.1 forbids to say.
    pub(super) modified: Option<SystemTime>,
    /// The size of the file in bytes.
    pub(super) size: u64,
}

impl Validators {
    /// The validators of an open file.
    ///
    /// The tag is made of device, inode, size and the nanoseconds of the last change: nginx's, of
    /// seconds and size, stays the same over two writes within a second.
    pub(super) fn of(file: &Metadata, now: SystemTime) -> Self {
        let etag = format!(
            "\"{:x}-{:x}-{:x}-{:x}.{:x}\"",
            file.dev(),
            file.ino(),
            file.size(),
            file.mtime(),
            file.mtime_nsec()
        );
        let modified = UNIX_EPOCH + whole_seconds(file);
        Self { etag, modified: (modified <= now).then_some(modified), size: file.size() }
    }
}

/// When a file changed last: the time since 1970 in whole seconds, within what an HTTP date can
/// say.
pub(super) fn whole_seconds(file: &Metadata) -> Duration {
    Duration::from_secs(u64::try_from(file.mtime()).unwrap_or(0).min(HTTP_DATE_SECONDS_MAX))
}

/// What the conditions leave of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Send everything.
    Whole,
    /// Send `length` bytes from offset `first`.
    Part { first: u64, length: u64 },
    /// The client has this version: 304.
    NotModified,
    /// The client means another version: 412.
    Failed,
    /// The range lies outside the file: 416.
    Unsatisfiable,
}

/// Judges in the order of RFC 9110 section 13.2.2.
pub(super) fn judge(
    asked: &Conditions,
    file: &Validators,
    method: Method,
    now: SystemTime,
) -> Verdict {
    match (&asked.if_match, date(asked.if_unmodified_since.as_deref()), file.modified) {
        (Some(tags), _, _) if !lists(tags, &file.etag, Comparison::Strong) => {
            return Verdict::Failed;
        }
        (None, Some(since), Some(modified)) if modified > since => return Verdict::Failed,
        _ => {}
    }
    match (&asked.if_none_match, date(asked.if_modified_since.as_deref()), file.modified) {
        (Some(tags), _, _) if lists(tags, &file.etag, Comparison::Weak) => {
            return Verdict::NotModified;
        }
        (None, Some(since), Some(modified)) if modified <= since => return Verdict::NotModified,
        _ => {}
    }
    // RFC 9110 section 14.2: a range on anything but GET is ignored.
    let range = asked.range.as_deref().filter(|_| method == Method::Get);
    match range {
        Some(range) if names_version(asked.if_range.as_deref(), file, now) => {
            match range::parse(range, file.size) {
                Asked::Whole => Verdict::Whole,
                Asked::Part { first, length } => Verdict::Part { first, length },
                Asked::Unsatisfiable => Verdict::Unsatisfiable,
            }
        }
        _ => Verdict::Whole,
    }
}

/// Whether `If-Range` is absent or names this version with a strong validator (RFC 9110 section
/// 13.1.5).
fn names_version(if_range: Option<&str>, file: &Validators, now: SystemTime) -> bool {
    let Some(named) = if_range else { return true };
    if named.trim() == file.etag {
        return true;
    }
    // A date is strong once the second it names is over (section 8.8.2.2).
    let is_over = |modified: SystemTime| {
        now.duration_since(modified).is_ok_and(|age| age >= Duration::from_secs(1))
    };
    date(Some(named)).is_some_and(|date| file.modified == Some(date) && is_over(date))
}

/// A date that cannot be read counts as absent (RFC 9110 sections 13.1.3 and 13.1.4).
fn date(value: Option<&str>) -> Option<SystemTime> {
    httpdate::parse_http_date(value?.trim()).ok()
}

#[derive(Clone, Copy, PartialEq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether a list of entity tags, or `*`, holds `etag`, which is strong (RFC 9110 section 8.8.3.2).
fn lists(tags: &str, etag: &str, comparison: Comparison) -> bool {
    let mut rest = tags.trim();
    if rest == "*" {
        return true;
    }
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (is_weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        // Commas may stand inside the quotes, so the list is read tag by tag, up to the first thing
        // that is none.
        let Some(end) = quoted.strip_prefix('"').and_then(|opaque| opaque.find('"')) else {
            return false;
        };
        let (tag, after) = quoted.split_at(end + 2);
        if tag == etag && (comparison == Comparison::Weak || !is_weak) {
            return true;
        }
        rest = after;
    }
}

/// The last second an HTTP date can say: 31 December 9999.
const HTTP_DATE_SECONDS_MAX: u64 = 253_402_300_799;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"1-2-3\"";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn judged(set: impl FnOnce(&mut Conditions), method: Method) -> Verdict {
        let modified = httpdate::parse_http_date(SAME).unwrap();
        let file = Validators { etag: TAG.into(), modified: Some(modified), size: 100 };
        let mut asked = Conditions::default();
        set(&mut asked);
        judge(&asked, &file, method, modified + Duration::from_secs(60))
    }

    fn get(set: impl FnOnce(&mut Conditions)) -> Verdict {
        judged(set, Method::Get)
    }

    #[test]
    fn if_match_compares_strongly_and_hides_if_unmodified_since() {
        for (tags, verdict) in [
            (TAG, Verdict::Whole),
            ("*", Verdict::Whole),
            ("\"x,y\" , \"1-2-3\"", Verdict::Whole),
            ("W/\"1-2-3\"", Verdict::Failed),
            ("\"x\"", Verdict::Failed),
            ("1-2-3", Verdict::Failed),
            ("", Verdict::Failed),
        ] {
            assert_eq!(get(|c| c.if_match = Some(tags.into())), verdict, "{tags}");
        }
        let both = |c: &mut Conditions| {
            c.if_match = Some(TAG.into());
            c.if_unmodified_since = Some(EARLIER.into());
        };
        assert_eq!(get(both), Verdict::Whole);
    }

    #[test]
    fn if_none_match_compares_weakly_and_hides_if_modified_since() {
        for (tags, verdict) in [
            (TAG, Verdict::NotModified),
            ("W/\"1-2-3\"", Verdict::NotModified),
            ("*", Verdict::NotModified),
            ("\"x\"", Verdict::Whole),
        ] {
            let set = |c: &mut Conditions| {
                c.if_none_match = Some(tags.into());
                c.if_modified_since = Some(LATER.into());
            };
            assert_eq!(get(set), verdict, "{tags}");
        }
    }

    #[test]
    fn dates_are_compared_and_broken_ones_ignored() {
        let since = |date: &str| get(|c| c.if_modified_since = Some(date.into()));
        assert_eq!(since(EARLIER), Verdict::Whole);
        assert_eq!(since(SAME), Verdict::NotModified);
        assert_eq!(since("yesterday"), Verdict::Whole);
        let unmodified = |date: &str| get(|c| c.if_unmodified_since = Some(date.into()));
        assert_eq!(unmodified(EARLIER), Verdict::Failed);
        assert_eq!(unmodified(SAME), Verdict::Whole);
        assert_eq!(unmodified("yesterday"), Verdict::Whole);
    }

    #[test]
    fn a_part_is_granted_only_against_the_named_version() {
        let part = Verdict::Part { first: 1, length: 2 };
        for (named, granted) in [
            (TAG, true),
            (SAME, true),
            (EARLIER, false),
            (LATER, false),
            ("W/\"1-2-3\"", false),
            ("\"x\"", false),
            ("rubbish", false),
        ] {
            let set = |c: &mut Conditions| {
                c.range = Some("bytes=1-2".into());
                c.if_range = Some(named.into());
            };
            assert_eq!(get(set) == part, granted, "{named}");
            assert_eq!(judged(set, Method::Head), Verdict::Whole, "{named}");
        }
    }

    #[test]
    fn a_date_is_no_strong_validator_within_its_own_second() {
        let modified = httpdate::parse_http_date(SAME).unwrap();
        let file = Validators { etag: TAG.into(), modified: Some(modified), size: 100 };
        let asked = Conditions {
            range: Some("bytes=1-2".into()),
            if_range: Some(SAME.into()),
            ..Conditions::default()
        };
        let soon = modified + Duration::from_millis(900);
        assert_eq!(judge(&asked, &file, Method::Get, soon), Verdict::Whole);
    }
}
