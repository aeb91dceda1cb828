//! Ranges of requests against arbitrary numbers and text.

use proptest::prelude::*;

use super::*;

/// Small numbers that meet often, and the borders of their type.
fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..20u64, 1 => any::<u64>(), 1 => prop::sample::select(vec![u64::MAX, 1 << 63])]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_range_grants_what_it_names_of_the_file(first in numbers(), last in numbers(), size in numbers()) {
        let asked = parse(&format!("bytes={first}-{last}"), size);
        let expected = match (first <= last, first < size) {
            (false, _) => Asked::Whole,
            (true, false) => Asked::Unsatisfiable,
            (true, true) => Asked::Part { first, length: last.min(size - 1) - first + 1 },
        };
        prop_assert_eq!(asked, expected);
    }

    #[test]
    fn a_suffix_grants_the_end_of_the_file(length in numbers(), size in numbers()) {
        let expected = match (length, size) {
            (0, _) => Asked::Unsatisfiable,
            (_, 0) => Asked::Whole,
            _ => Asked::Part { first: size - length.min(size), length: length.min(size) },
        };
        prop_assert_eq!(parse(&format!("bytes=-{length}"), size), expected);
    }

    #[test]
    fn nothing_but_a_range_grants_a_part(
        value in prop_oneof![
            any::<String>(),
            "(bytes|BYTES|items)?[= ]{0,2}[0-9a\u{661}+ -]{0,4}-[0-9,\u{e9} -]{0,4}",
        ],
        size in numbers(),
    ) {
        if let Asked::Part { first, length } = parse(&value, size) {
            prop_assert!(length > 0 && first.checked_add(length).unwrap() <= size);
            prop_assert!(value.is_ascii() && value.to_ascii_lowercase().starts_with("bytes="));
        }
    }
}
