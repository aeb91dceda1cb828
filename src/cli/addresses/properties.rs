//! Addresses against arbitrary text: what passes can be fetched, what does not tells no secret.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_passes_is_a_place_on_the_web_without_credentials(
        text in prop_oneof![
            any::<String>(),
            "https?:[/\\\\]{0,3}[a-z:@%\u{e9}\u{1f600}.\\[\\]/?#0-9 -]{0,24}",
        ]
    ) {
        match parse(&text).and_then(split_login) {
            Ok((url, login)) => {
                prop_assert!(matches!(url.scheme(), "http" | "https") && url.has_host());
                prop_assert!(url.username().is_empty() && url.password().is_none());
                prop_assert_eq!(url.fragment(), None);
                prop_assert_eq!(alternates(&[text]).is_ok(), login.is_none());
                prop_assert!(!shown_url(&url).chars().any(char::is_control));
            }
            Err(error) => {
                prop_assert_eq!(error.exit_code(), 2);
                prop_assert!(!error.to_string().chars().any(char::is_control));
                prop_assert!(alternates(&[text]).is_err());
            }
        }
    }

    #[test]
    fn credentials_come_back_as_they_were_meant(user in "[^:\\x00-\\x1f]{1,9}", password in any::<String>()) {
        let encode = |text: &str| {
            text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>()
        };
        let text = format!("http://{}:{}@h/f", encode(&user), encode(&password));
        let (url, login) = split_login(parse(&text).unwrap()).unwrap();
        prop_assert_eq!(url.as_str(), "http://h/f");
        prop_assert_eq!(login, Some(Login::Basic { user, password }));
    }

    #[test]
    fn no_refusal_tells_credentials_or_a_query(
        scheme in "(https?|ftp|x)?",
        user in "[a-z%:\u{e9}]{0,5}",
        secret in "[a-z]{12}",
        tail in "([?#][a-z]?)?",
        rest in "[a-z:.%/ \\[]{0,9}",
    ) {
        for text in [
            format!("{scheme}://{user}:{secret}{tail}@{rest}"),
            format!("{scheme}://{rest}?{secret}"),
            format!("{user}:{secret}{tail}@{rest}"),
        ] {
            if let Err(error) = parse(&text).and_then(split_login) {
                prop_assert!(!error.to_string().contains(&secret), "{}", error);
            }
        }
    }
}
