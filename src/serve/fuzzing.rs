//! The requests that the static server reads, for the fuzz targets.

use std::path::Component;
use std::time::{Duration, UNIX_EPOCH};

use super::conditions::{self, Conditions, Validators, Verdict};
use super::range::{self, Asked};
use super::request::{self, Method, Parsed, Request};
use super::target::Target;
use crate::fuzzing::Input;

/// A request head, whole or not.
pub fn request(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(request::HEAD_BYTES_MAX)];
    let parsed = request::parse(bytes);
    if let Parsed::Whole(request, length) = &parsed {
        assert!(*length <= bytes.len());
        assert_eq!(request::parse(&bytes[..*length]), parsed, "what follows has a say");
        for end in prefixes(*length) {
            let before = request::parse(&bytes[..end]);
            let is_less = !matches!(before, Parsed::Whole(..));
            assert!(is_less, "a request of {length} bytes is over after {end}");
        }
        leads_below(request);
        answers_within(request);
    }
}

/// Some lengths below `length`: all of a short head, those near the ends of a long one.
fn prefixes(length: usize) -> impl Iterator<Item = usize> {
    (0..length).filter(move |end| *end < 64 || *end + 64 > length)
}

/// Fails if a target could leave the served directory, or a redirect our host.
fn leads_below(request: &Request) {
    let Ok(target) = Target::parse(&request.target) else { return };
    assert!(target.path.components().all(|part| matches!(part, Component::Normal(_))));
    assert!(!target.path.is_absolute());
    let slashed = target.with_slash();
    assert!(slashed.starts_with('/') && !slashed.starts_with("//"), "{slashed}");
    assert!(!slashed.bytes().any(|byte| byte.is_ascii_control()), "{slashed:?}");
    let again = Target::parse(&slashed).map(|again| (again.path, again.has_slash));
    assert_eq!(again, Ok((target.path, true)), "{slashed} leads elsewhere");
}

/// Fails if the conditions grant a part outside of the file, or one to the wrong client.
fn answers_within(request: &Request) {
    for size in [0, 1, 100, u64::MAX >> 1] {
        let modified = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let file = Validators { etag: "\"a-1\"".into(), modified: Some(modified), size };
        let now = modified + Duration::from_secs(60);
        let verdict = conditions::judge(&request.conditions, &file, request.method, now);
        let asked = &request.conditions;
        if let Verdict::Part { first, length } = verdict {
            assert!(length > 0 && first.checked_add(length).is_some_and(|end| end <= size));
            assert!(request.method == Method::Get && asked.range.is_some());
            let weak = asked.if_range.as_ref().is_some_and(|tag| tag.starts_with("W/"));
            assert!(!weak, "a weak tag is granted a part");
        }
        if *asked == Conditions::default() {
            assert_eq!(verdict, Verdict::Whole);
        }
    }
}

/// A line with the size of a file, and a Range field.
pub fn range(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let size = input.numbers().next().flatten().unwrap_or(100);
    let value = input.text();
    let asked = range::parse(&value, size);
    if let Asked::Part { first, length } = asked {
        let end = first.checked_add(length);
        assert!(length > 0 && end.is_some_and(|end| end <= size), "{value} of {size}");
        let end = first + length - 1;
        assert_eq!(range::parse(&format!("bytes={first}-{end}"), size), asked);
    }
    let digits = value.bytes().any(|byte| byte.is_ascii_digit());
    assert!(asked == Asked::Whole || (digits && value.contains('-')), "{value:?}");
}
