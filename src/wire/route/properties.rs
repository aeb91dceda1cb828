//! Redirects against arbitrary Location fields: where they may lead, and that a refusal changes nothing.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::wire::{Client, Request};

const RULE: RedirectRule = RedirectRule { max: 5, https_only: false };

fn locations() -> impl Strategy<Value = String> {
    let nasty = "[a-z:/\\\\?#@.%0-9 \t\r\n\u{e9}\u{1f600}\\[\\]-]";
    prop_oneof![
        any::<String>(),
        proptest::string::string_regex(&format!("{nasty}{{0,20}}")).unwrap(),
        proptest::string::string_regex(&format!(
            "(https?:)?//[ab]\\.test(:[0-9]{{1,5}})?{nasty}{{0,9}}"
        ))
        .unwrap(),
        "https?://[a-z]{0,3}(:[a-z]{0,3})?@[ab]\\.test/[a-z]?",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_hop_is_clean_and_at_home_only_at_the_typed_origin(
        secure: bool, locations in prop::collection::vec(locations(), 1..9)
    ) {
        let typed = Url::parse(if secure { "https://a.test/x/y" } else { "http://a.test/x/y" }).unwrap();
        let mut route = Route::new(typed.clone(), &typed);
        let mut hops = 0;
        for location in locations {
            let before = route.url().clone();
            match route.follow(&location, location.len(), RULE) {
                Ok(()) => hops += 1,
                Err(error) => {
                    prop_assert_eq!(error.kind(), Kind::Redirect);
                    prop_assert!(!error.to_string().chars().any(char::is_control));
                    prop_assert_eq!(route.url(), &before);
                }
            }
            let url = route.url();
            prop_assert!(matches!(url.scheme(), "http" | "https") && url.has_host());
            prop_assert!(url.username().is_empty() && url.password().is_none());
            prop_assert!(hops == 0 || url.fragment().is_none());
            prop_assert!(!secure || url.scheme() == "https");
            prop_assert!(!url.as_str().contains(['\r', '\n', ' ', '\0']));
            let origin = (url.scheme(), url.host_str(), url.port());
            prop_assert_eq!(route.is_home(), origin == (typed.scheme(), Some("a.test"), None));
        }
        prop_assert!(hops <= RULE.max);
        prop_assert!(route.settled().url() == route.url());
        route.reset();
        prop_assert!(route.url() == &typed && route.is_home() && !route.is_redirected());
    }

    #[test]
    fn with_https_only_no_hop_is_http(locations in prop::collection::vec(locations(), 1..9)) {
        let typed = Url::parse("https://a.test/").unwrap();
        let mut route = Route::new(typed.clone(), &typed);
        for location in locations {
            let _ = route.follow(&location, 0, RedirectRule { https_only: true, ..RULE });
            prop_assert_eq!(route.url().scheme(), "https");
        }
    }

    #[test]
    fn an_alternate_is_home_only_where_the_first_address_is(location in locations()) {
        let home = Url::parse("https://a.test/").unwrap();
        let mut route = Route::new(Url::parse("https://b.test/").unwrap(), &home);
        prop_assert!(!route.is_home());
        let _ = route.follow(&location, 0, RULE);
        prop_assert_eq!(route.is_home(), route.url().origin() == home.origin());
    }
}

#[test]
fn a_url_too_long_for_a_request_line_is_refused_rather_than_cut() {
    let client = Client::builder().build().unwrap();
    let typed = Url::parse(&format!("http://a.test/{}", "a".repeat(70_000))).unwrap();
    let mut route = Route::new(typed.clone(), &typed);
    let kind = |route: &Route| {
        let head_timeout = Duration::from_secs(1);
        let (range, condition, past_caches) = (None, None, false);
        let request = Request { route, range, condition, past_caches, head_timeout };
        client.http_request(&request).map_err(|error| error.kind())
    };
    assert_eq!(kind(&route).unwrap_err(), Kind::Usage);
    // In a Location every such character takes two bytes, in a request six.
    route.follow(&format!("/{}", "\u{e9}".repeat(20_000)), 0, client.redirect_rule()).unwrap();
    assert_eq!(kind(&route).unwrap_err(), Kind::Redirect);
    route.follow("/short", 0, client.redirect_rule()).unwrap();
    assert_eq!(kind(&route).unwrap().uri(), "/short");
}
