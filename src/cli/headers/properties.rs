//! Fields of `--header` against arbitrary text.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_field_that_passes_is_one_line_and_not_ours(
        text in prop_oneof![any::<String>(), "[A-Za-z-]{1,8} ?: ?[\\x00-\\x7f\u{e9}]{0,12}"]
    ) {
        if let Ok((name, value)) = parse(&text) {
            prop_assert!(!is_ours(&name));
            prop_assert!(!value.is_empty() && value.is_sensitive());
            prop_assert!(!value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
            let written = format!("{name}:{}", String::from_utf8_lossy(value.as_bytes()));
            prop_assert_eq!(parse(&written).unwrap(), (name, value));
        }
    }

    #[test]
    fn a_field_of_visible_text_passes_as_it_is(
        name in "x-[a-z0-9]{1,9}", value in "[!-~]([ -~]{0,20}[!-~])?"
    ) {
        let (read_name, read_value) = parse(&format!("{name}: {value}\t ")).unwrap();
        prop_assert_eq!((read_name.as_str(), read_value.to_str().unwrap()), (&*name, &*value));
    }

    #[test]
    fn no_refusal_tells_the_value(name in "[A-Za-z \u{e9}-]{0,9}", secret in "[a-z]{12}") {
        for text in [format!("{name}: {secret}\0"), format!("{name}:{secret}\r\nA: b")] {
            let said = parse(&text).unwrap_err().to_string();
            prop_assert!(!said.contains(&secret) && !said.chars().any(char::is_control), "{}", said);
        }
    }
}
