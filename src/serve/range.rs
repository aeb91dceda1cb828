//! Reads a `Range` field against the size of a file (RFC 9110 section 14).
//!
//! It knows nothing of validators or files. Invariant: a part lies inside the file and is not
//! empty.

/// What a `Range` field asks of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Everything: no range, or one this server does not honour (several, another unit, malformed),
    /// which RFC 9110 section 14.2 lets it ignore.
    Whole,
    /// `length` bytes from offset `first`.
    Part { first: u64, length: u64 },
    /// Nothing of what is asked exists.
    Unsatisfiable,
}

/// Reads the value of a `Range` field for a file of `size` bytes.
pub(super) fn parse(value: &str, size: u64) -> Asked {
    let Some((unit, spec)) = value.split_once('=') else { return Asked::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Asked::Whole };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Asked::Whole;
    }
    match (position(first), position(last)) {
        (Position::At(first), Position::At(last)) if first <= last => from(first, last, size),
        (Position::At(first), Position::None) => from(first, u64::MAX, size),
        (Position::None, Position::At(0)) => Asked::Unsatisfiable,
        // The last bytes of an empty file: satisfiable, and no Content-Range could say so.
        (Position::None, Position::At(_)) if size == 0 => Asked::Whole,
        (Position::None, Position::At(length)) => {
            let length = length.min(size);
            Asked::Part { first: size - length, length }
        }
        _ => Asked::Whole,
    }
}

fn from(first: u64, last: u64, size: u64) -> Asked {
    if first >= size {
        return Asked::Unsatisfiable;
    }
    Asked::Part { first, length: last.min(size - 1) - first + 1 }
}

enum Position {
    None,
    At(u64),
    Malformed,
}

/// One side of the dash. Numbers beyond 64 bits mean "very far" (RFC 9110 section 14.1.2 asks to
/// expect them).
fn position(text: &str) -> Position {
    if text.is_empty() {
        Position::None
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        Position::At(text.parse().unwrap_or(u64::MAX))
    } else {
        Position::Malformed
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;

    fn part(first: u64, length: u64) -> Asked {
        Asked::Part { first, length }
    }

    #[test]
    fn single_ranges_are_cut_to_the_file() {
        for (value, asked) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=10-19", part(10, 10)),
            ("BYTES=90-", part(90, 10)),
            ("bytes=99-1000", part(99, 1)),
            ("bytes=-1", part(99, 1)),
            ("bytes=-1000", part(0, 100)),
            ("bytes=0-99999999999999999999999", part(0, 100)),
            ("bytes=-99999999999999999999999", part(0, 100)),
            ("bytes= 3-4 ", part(3, 2)),
        ] {
            assert_eq!(parse(value, 100), asked, "{value}");
        }
    }

    #[test]
    fn ranges_beyond_the_end_are_unsatisfiable() {
        for value in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(parse(value, 100), Asked::Unsatisfiable, "{value}");
        }
        assert_eq!(parse("bytes=0-", 0), Asked::Unsatisfiable);
        assert_eq!(parse("bytes=-5", 0), Asked::Whole);
    }

    #[test]
    fn malformed_several_and_foreign_ranges_mean_the_whole_file() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=0-1,3-4",
            "bytes=+1-2",
            "bytes=0x1-2",
            "lines=0-1",
            "bytes=1",
            "bytes=1--2",
            "bytes 0-1",
            "bytes=0 - 1",
            "bytes=0-1, bytes=2-3",
        ] {
            assert_eq!(parse(value, 100), Asked::Whole, "{value}");
        }
    }

    #[test]
    fn no_range_leaves_the_file() {
        for size in 0..6 {
            for first in 0..8 {
                for last in 0..8 {
                    for value in [
                        format!("bytes={first}-{last}"),
                        format!("bytes={first}-"),
                        format!("bytes=-{last}"),
                    ] {
                        if let Asked::Part { first, length } = parse(&value, size) {
                            assert!(length > 0 && first + length <= size, "{value} of {size}");
                        }
                    }
                }
            }
        }
    }
}
