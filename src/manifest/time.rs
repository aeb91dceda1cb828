//! Times of lists: RFC 3339, HTTP dates, seconds since 1970; and RFC 3339 back.
//!
//! It asks no clock and knows no time zones but the offsets that a text gives. Invariant: what is written is
//! read back as the same time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY_SECONDS: i64 = 86_400;
/// Days from 0000-03-01 to 1970-01-01, and days of 400 years.
const EPOCH_DAYS: i64 = 719_468;
const ERA_DAYS: i64 = 146_097;

/// Reads a time.
///
/// # Errors
/// A sentence for the user.
pub(super) fn parse(text: &str) -> Result<SystemTime, &'static str> {
    const WRONG: &str =
        "the time is neither RFC 3339 with its zone, nor an HTTP date, nor seconds since 1970";
    let text = text.trim();
    let found = unix(text).or_else(|| rfc3339(text));
    found.or_else(|| httpdate::parse_http_date(text).ok()).ok_or(WRONG)
}

/// Writes a time as RFC 3339 in UTC, with nanoseconds where it has any. Years beyond 9999 are cut off there,
/// those before 0 at 0.
pub(super) fn show(time: SystemTime) -> String {
    let (seconds, nanos) = since_epoch(time);
    let seconds = seconds.clamp(-62_167_219_200, 253_402_300_799);
    let (days, second) = (seconds.div_euclid(DAY_SECONDS), seconds.rem_euclid(DAY_SECONDS));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = if nanos == 0 { String::new() } else { format!(".{nanos:09}") };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Whole seconds since 1970, rounded down, and the nanoseconds above.
fn since_epoch(time: SystemTime) -> (i64, u32) {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_nanos()),
        Err(before) => {
            let before = before.duration();
            let seconds = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            match before.subsec_nanos() {
                0 => (-seconds, 0),
                nanos => (-seconds - 1, 1_000_000_000 - nanos),
            }
        }
    }
}

fn at(seconds: i64, nanos: u32) -> Option<SystemTime> {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let time =
        if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    time?.checked_add(Duration::from_nanos(nanos.into()))
}

/// `1700000000` or `1700000000.25`.
fn unix(text: &str) -> Option<SystemTime> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let nanos = nanos(fraction).filter(|_| all_digits)?;
    let seconds: i64 = whole.parse().ok()?;
    // A fraction of a time before 1970 counts away from it.
    match (whole.starts_with('-'), nanos) {
        (true, 1..) => at(seconds.checked_sub(1)?, 1_000_000_000 - nanos),
        _ => at(seconds, nanos),
    }
}

/// Digits behind a point as nanoseconds; what is finer is cut off.
fn nanos(digits: &str) -> Option<u32> {
    let fine = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let nine: String = digits.chars().chain("00000000".chars()).take(9).collect();
    fine.then(|| nine.parse().ok())?
}

fn rfc3339(text: &str) -> Option<SystemTime> {
    let (date, clock) = text.split_at_checked(10)?;
    let clock = clock.strip_prefix(['T', 't', ' '])?;
    let zone_at = clock.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = clock.split_at(zone_at);
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let fits = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    let offset = if zone.eq_ignore_ascii_case("z") {
        0
    } else {
        let [hours, minutes] = numbers(zone.get(1..)?, ':', [2, 2])?;
        let seconds = (hours < 24 && minutes < 60).then_some(hours * 3600 + minutes * 60)?;
        if zone.starts_with('-') { -seconds } else { seconds }
    };
    let seconds =
        days(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second - offset;
    at(seconds, nanos(fraction).filter(|_| fits)?)
}

/// Numbers of so many digits with `mark` between.
fn numbers<const N: usize>(text: &str, mark: char, widths: [usize; N]) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(mark);
    for (number, width) in numbers.iter_mut().zip(widths) {
        let part = parts.next()?;
        let fits = part.len() == width && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = fits.then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(numbers)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; years begin in March here, so that the leap day
/// is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH_DAYS
}

/// The date so many days after 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let (era, of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_same_time_is_read_from_all_its_forms() {
        let time = UNIX_EPOCH + Duration::from_secs(784_111_777);
        for text in [
            "784111777",
            "784111777.0",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "1994-11-06T08:49:37Z",
            "1994-11-06t08:49:37.000z",
            "1994-11-06 09:49:37+01:00",
            "1994-11-06T00:19:37-08:30",
        ] {
            assert_eq!(parse(text), Ok(time), "{text}");
        }
        assert_eq!(
            parse("2024-02-29T00:00:00Z"),
            Ok(UNIX_EPOCH + Duration::from_secs(1_709_164_800))
        );
        assert_eq!(parse("-1.5"), Ok(UNIX_EPOCH - Duration::from_millis(1500)));
    }

    #[test]
    fn what_is_no_time_or_has_no_zone_is_refused() {
        for text in [
            "",
            "-",
            "1.",
            ".5",
            "1e9",
            "yesterday",
            "1994-11-06",
            "1994-11-06T08:49:37",
            "é994-11-06T08:49:37Z",
            "2023-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-01-01T24:00:00Z",
            "99999999999999999999",
            "2023-01-01T00:00:00+1:00",
            "2023-01-01T00:00:00.Z",
            "06-Nov-1994 08:49",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_time_that_is_shown_is_read_back(
            seconds in -62_167_219_200i64..253_402_300_799,
            nanos in 0u32..1_000_000_000,
        ) {
            let time = at(seconds, nanos).unwrap();
            prop_assert_eq!(parse(&show(time)), Ok(time), "{}", show(time));
        }
    }
}
