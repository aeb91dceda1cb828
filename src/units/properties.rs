//! Sizes, rates and times against arbitrary text and numbers.

use proptest::prelude::*;

use super::*;

/// Text that is likelier than chance to be a number with a unit.
fn numbers() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        r"[0-9]{0,22}\.?[0-9]{0,22} ?[kKmMgGtTbBiIsS/]{0,4}",
        r"[-+]?(inf|nan|[0-9]{0,3})(e[-+]?[0-9]{0,4})?s?",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_reads_as_a_size_is_an_offset(text in numbers()) {
        if let Ok(size) = parse_size(&text) {
            prop_assert!(i64::try_from(size).is_ok());
            prop_assert!(text.bytes().any(|byte| byte.is_ascii_digit()));
        }
    }

    #[test]
    fn whole_sizes_are_exact(count in 0..=u64::MAX, unit in 0..5u32) {
        let name = ["", "k", "MiB", "gb", "T"][usize::try_from(unit).unwrap()];
        let size = count.checked_mul(1 << (10 * unit)).filter(|size| i64::try_from(*size).is_ok());
        prop_assert_eq!(parse_size(&format!("{count}{name}")).ok(), size);
    }

    #[test]
    fn fractions_are_near(thousandths in 0..4_000_000u64) {
        let text = format!("{}.{:03}M", thousandths / 1000, thousandths % 1000);
        let exact = thousandths * MIB / 1000;
        prop_assert!(parse_size(&text).unwrap().abs_diff(exact) <= 1);
    }

    #[test]
    fn what_reads_as_a_time_is_one(text in numbers()) {
        if let Ok(time) = parse_seconds(&text) {
            prop_assert!(!time.is_zero() && time < Duration::from_secs(3_200_000_001));
        }
    }

    #[test]
    fn times_read_back_as_written(nanos in 1..1_000_000_000_000_000u64) {
        let time = Duration::from_nanos(nanos);
        let text = format!("{}.{:09}", time.as_secs(), time.subsec_nanos());
        let read = parse_seconds(&text).unwrap();
        prop_assert!(read.abs_diff(time) <= Duration::from_micros(1));
    }

    #[test]
    fn shown_sizes_are_short_and_near(bytes: u64, shift in 0..64u32) {
        let bytes = bytes >> shift;
        let shown = show_size(bytes);
        prop_assert!(shown.len() <= 9, "{}", shown);
        if let Ok(read) = parse_size(&shown) {
            prop_assert!(read.abs_diff(bytes) <= bytes / 100, "{} for {}", shown, bytes);
        }
    }

    #[test]
    fn any_rate_and_any_time_can_be_shown(rate: f64, bytes: u64, nanos: u64) {
        let time = Duration::from_nanos(nanos);
        prop_assert!(show_rate(rate).ends_with("/s") && !show_time(time).is_empty());
        prop_assert!(super::rate(bytes, time).is_finite());
    }

    #[test]
    fn floats_become_counts_or_nothing(value: f64) {
        match whole_f64(value) {
            Some(count) => prop_assert!((as_f64(count) - value).abs() <= 0.5 + value * 1e-15),
            None => prop_assert!(!(0.0..9.3e18).contains(&value)),
        }
    }
}
