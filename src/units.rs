//! Sizes, rates and times: how people write them, how we show them, and checked conversions between integer
//! types.

use std::time::Duration;

/// One KiB, MiB and GiB in bytes.
pub const KIB: u64 = 1 << 10;
/// One MiB in bytes.
pub const MIB: u64 = 1 << 20;
/// One GiB in bytes.
pub const GIB: u64 = 1 << 30;

/// Reads a size in bytes: a number and an optional `k`, `M`, `G`, `T` (powers of 1024, as curl) or `KiB`,
/// `MiB`, `GiB`, `TiB`; also `kB` and `KB`, which mean the same here. Fractions such as `1.5G` are fine.
///
/// # Errors
/// A sentence for the user if the text is no size, or one beyond `i64::MAX`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => KIB,
        "m" | "mb" | "mib" => MIB,
        "g" | "gb" | "gib" => GIB,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return Err(format!("unknown unit {unit:?}: use k, M, G or KiB, MiB, GiB")),
    };
    let size = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(factor),
        Err(_) => fraction(number).map(|value| value * as_f64(factor)).and_then(whole_f64),
    };
    match size {
        Some(size) if i64::try_from(size).is_ok() => Ok(size),
        Some(_) => Err(format!("{text:?} is too large")),
        None => Err(format!("{text:?} is not a size: write 64k, 1MiB or 2G")),
    }
}

/// Reads a number of seconds, fractions allowed, more than zero and at most a hundred years.
///
/// # Errors
/// A sentence for the user.
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let number = text.strip_suffix('s').unwrap_or(text).trim_end();
    let seconds: f64 = number.parse().map_err(|_| "write seconds, such as 30 or 2.5")?;
    let in_range = seconds.is_finite() && seconds > 0.0 && seconds < 3.2e9;
    // What is above 0 may still be less than a Duration can tell.
    let time = in_range.then(|| Duration::from_secs_f64(seconds)).filter(|time| !time.is_zero());
    time.ok_or_else(|| "write seconds above 0, such as 30 or 2.5".into())
}

/// Shows a byte count with a binary unit and at most four digits: `0 B`, `999 B`, `1.50 MiB`, `12.3 GiB`.
pub fn show_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < KIB {
        return format!("{bytes} B");
    }
    let mut value = as_f64(bytes) / 1024.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// Shows a rate in bytes per second: `1.50 MiB/s`.
pub fn show_rate(bytes_per_second: f64) -> String {
    format!("{}/s", show_size(whole_f64(bytes_per_second.max(0.0)).unwrap_or(0)))
}

/// Shows a time the short way: `0.42 s`, `12.3 s`, `3:07 min`, `2:03:09 h`.
pub fn show_time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.2} s", time.as_secs_f64()),
        10..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02} h", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
}

/// Bytes over time, as a rate in bytes per second; zero where no time has passed.
pub fn rate(bytes: u64, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 { as_f64(bytes) / seconds } else { 0.0 }
}

/// A length in memory as a file length. Linux has no `usize` wider than 64 bits.
pub fn wide(length: usize) -> u64 {
    length as u64
}

/// A file length as a length in memory, where the caller has bounded it by a block.
///
/// # Panics
/// On a 32-bit system, if it does not fit: the caller broke its bound.
pub fn narrow(length: u64) -> usize {
    usize::try_from(length).expect("proof: bounded by a block, which is memory already")
}

/// A count as a float, for rates and shares, where the last bits do not matter.
#[expect(clippy::cast_precision_loss, reason = "rates and shares need no exact value")]
pub fn as_f64(count: u64) -> f64 {
    count as f64
}

/// A float as a whole count; `None` if it is negative, not finite or too large.
pub fn whole_f64(value: f64) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "range checked before"
    )]
    (value.is_finite() && (0.0..9.3e18).contains(&value)).then(|| value.round() as u64)
}

fn fraction(number: &str) -> Option<f64> {
    (number.chars().filter(|c| *c == '.').count() <= 1
        && number.chars().any(|c| c.is_ascii_digit()))
    .then(|| number.parse().ok())?
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, size) in [
            ("0", 0),
            ("17", 17),
            ("64k", 65536),
            ("1MiB", MIB),
            ("1.5G", 3 * GIB / 2),
            ("2 GiB", 2 * GIB),
            ("7b", 7),
        ] {
            assert_eq!(parse_size(text), Ok(size), "{text}");
        }
        for text in ["", "k", "-1", "1x", "1..5M", "99999999999G", "1e3", "."] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn seconds_are_positive_and_finite() {
        assert_eq!(parse_seconds("2.5"), Ok(Duration::from_millis(2500)));
        assert_eq!(parse_seconds("1e-9 s"), Ok(Duration::from_nanos(1)));
        for text in ["0", "-1", "nan", "inf", "x", "", "1e-10", "1e-300", "1ss"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_and_times_are_shown_short() {
        assert_eq!(show_size(0), "0 B");
        assert_eq!(show_size(1023), "1023 B");
        assert_eq!(show_size(MIB), "1.00 MiB");
        assert_eq!(show_size(GIB - 1), "1.00 GiB");
        assert_eq!(show_size(u64::MAX), "16.0 EiB");
        assert_eq!(show_time(Duration::from_millis(420)), "0.42 s");
        assert_eq!(show_time(Duration::from_secs(187)), "3:07 min");
        assert_eq!(show_time(Duration::from_secs(7389)), "2:03:09 h");
    }
}
