//! Where a file really is: the URL that was typed, the redirects from there, and who may see the credentials.

use url::{Origin, Url};

use crate::error::{Error, Escaped, Kind, Result};
use crate::limits::HEAD_CHAIN_BYTES_MAX;

/// The way from a typed URL to the one that answers. Pure: it decides, others ask.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    typed: Url,
    /// The origin whose credentials we hold.
    home: Origin,
    /// The URLs visited since the typed one; the last is current.
    hops: Vec<Url>,
    head_bytes: usize,
}

/// What redirects are allowed to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RedirectRule {
    pub(crate) max: u32,
    pub(crate) https_only: bool,
}

impl Route {
    /// The way to `typed`; credentials belong to the origin of `home`, which is another where `typed` is an
    /// alternate.
    pub(crate) fn new(typed: Url, home: &Url) -> Self {
        Self { typed, home: home.origin(), hops: Vec::new(), head_bytes: 0 }
    }

    /// The URL to ask next.
    pub(crate) fn url(&self) -> &Url {
        self.hops.last().unwrap_or(&self.typed)
    }

    /// Whether credentials, custom headers and the client certificate may go to the current URL: only to
    /// the origin (scheme, host and port) that the user typed.
    pub(crate) fn is_home(&self) -> bool {
        self.url().origin() == self.home
    }

    /// Whether the current URL came from a redirect.
    pub(crate) fn is_redirected(&self) -> bool {
        !self.hops.is_empty()
    }

    /// The same way without its history: the hops that led here count no more.
    pub(crate) fn settled(&self) -> Self {
        let hops = self.hops.last().cloned().into_iter().collect();
        Self { hops, head_bytes: 0, ..self.clone() }
    }

    /// Forgets the redirects: a signed URL may have expired, the typed one leads to a fresh one.
    pub(crate) fn reset(&mut self) {
        self.hops.clear();
        self.head_bytes = 0;
    }

    /// Follows a redirect (RFC 9110 section 10.2.2 and 15.4); `head_bytes` counts towards the bound on the
    /// chain.
    ///
    /// # Errors
    /// `Kind::Redirect` for a loop, too many hops, an address that cannot be used, or a way from https to
    /// http.
    pub(crate) fn follow(
        &mut self,
        location: &str,
        head_bytes: usize,
        rule: RedirectRule,
    ) -> Result<()> {
        let shown = Escaped(location).to_string();
        let refuse = |why: String| Err(Error::new(Kind::Redirect, why));
        let Ok(mut next) = self.url().join(location) else {
            return refuse(format!("the server redirects to {shown}, which is not a URL"));
        };
        if !matches!(next.scheme(), "http" | "https") || !next.has_host() {
            return refuse(format!("the server redirects to {shown}, which is not http or https"));
        }
        if self.url().scheme() == "https" && next.scheme() == "http" {
            return refuse(format!("the server redirects from https to http ({shown})"));
        }
        if rule.https_only && next.scheme() != "https" {
            return refuse(format!(
                "the server redirects to {shown}, and --https-only forbids http"
            ));
        }
        next.set_fragment(None);
        // Credentials in a Location are the server's, not the user's: never send them.
        if next.set_username("").is_err() || next.set_password(None).is_err() {
            return refuse(format!("the server redirects to {shown}, which has no host"));
        }
        if next == self.typed || self.hops.contains(&next) {
            return refuse(format!("the server redirects in a loop (back to {shown})"));
        }
        self.head_bytes += head_bytes;
        if self.hops.len() >= usize::try_from(rule.max).unwrap_or(usize::MAX)
            || self.head_bytes > HEAD_CHAIN_BYTES_MAX
        {
            let max = rule.max;
            return Err(Error::new(Kind::Redirect, format!("more than {max} redirects"))
                .hint("allow more with --max-redirs"));
        }
        self.hops.push(next);
        Ok(())
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULE: RedirectRule = RedirectRule { max: 3, https_only: false };

    fn route(url: &str) -> Route {
        let url = Url::parse(url).unwrap();
        Route::new(url.clone(), &url)
    }

    #[test]
    fn a_relative_location_is_resolved_and_its_credentials_and_fragment_dropped() {
        let mut route = route("http://a/x/y?q");
        route.follow("../z#frag", 0, RULE).unwrap();
        assert_eq!(route.url().as_str(), "http://a/z");
        route.follow("http://u:p@b/", 0, RULE).unwrap();
        assert_eq!(route.url().as_str(), "http://b/");
        assert!(!route.is_home());
    }

    #[test]
    fn loops_downgrades_and_long_chains_are_refused() {
        assert_eq!(route("http://a/").follow("/", 0, RULE).unwrap_err().kind(), Kind::Redirect);
        assert!(route("https://a/").follow("http://a/", 0, RULE).is_err());
        assert!(route("http://a/").follow("file:///etc/passwd", 0, RULE).is_err());
        let only = RedirectRule { https_only: true, ..RULE };
        assert!(route("http://a/").follow("http://a/b", 0, only).is_err());
        let mut long = route("http://a/");
        for hop in 0..3 {
            long.follow(&format!("/{hop}"), 0, RULE).unwrap();
        }
        assert!(long.follow("/end", 0, RULE).is_err());
        assert!(route("http://a/").follow("/b", HEAD_CHAIN_BYTES_MAX + 1, RULE).is_err());
    }

    #[test]
    fn another_port_or_scheme_is_not_home() {
        for there in ["http://a:81/", "https://a/", "http://a.b/"] {
            let mut route = route("http://a/");
            route.follow(there, 0, RULE).unwrap();
            assert!(!route.is_home(), "{there}");
        }
    }

    #[test]
    fn escape_sequences_in_a_location_are_shown_harmless() {
        let error = route("http://a/").follow("ftp://x/\x1b[2J", 0, RULE).unwrap_err();
        assert!(!error.to_string().contains('\x1b'));
    }

    /// Locations that are likelier than chance to be taken for something else.
    fn location() -> impl Strategy<Value = String> {
        let parts = [
            "http:",
            "https:",
            "HTTPS:",
            "file:",
            "//",
            "/",
            "\\",
            "@",
            ":",
            ":81",
            ":443",
            ":80",
            "a.test",
            "b.test",
            "a.test.",
            "A.TEST",
            "evil.test",
            "u:p",
            "..",
            "%2e",
            "?",
            "#",
            "%0d%0a",
            "\r\n",
            "\t",
            "\0",
            " ",
            ";",
            "[::1]",
            "127.0.0.1",
            "\u{ff0f}",
            "\u{202e}",
            "x",
        ];
        prop_oneof![
            prop::collection::vec(prop::sample::select(parts.to_vec()), 0..8)
                .prop_map(|parts| parts.concat()),
            any::<String>(),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn whatever_the_locations_credentials_stay_at_home(
            typed in prop::sample::select(vec!["http://a.test/f", "https://a.test/f", "http://a.test:81/f"]),
            locations in prop::collection::vec(location(), 1..4),
        ) {
            let mut route = route(typed);
            let home = route.url().clone();
            let rule = RedirectRule { max: 9, https_only: false };
            for location in locations {
                let before = route.url().clone();
                if let Err(error) = route.follow(&location, 0, rule) {
                    prop_assert_eq!(error.kind(), Kind::Redirect);
                    prop_assert!(!error.to_string().chars().any(char::is_control), "{}", error);
                    continue;
                }
                let url = route.url();
                prop_assert!(matches!(url.scheme(), "http" | "https"), "{}", url);
                prop_assert!(before.scheme() == "http" || url.scheme() == "https", "{} to {}", before, url);
                prop_assert!(url.username().is_empty() && url.password().is_none(), "{}", url);
                prop_assert!(url.as_str().bytes().all(|byte| byte.is_ascii_graphic()), "{:?}", url.as_str());
                let same = (url.scheme(), url.host_str(), url.port_or_known_default())
                    == (home.scheme(), home.host_str(), home.port_or_known_default());
                prop_assert_eq!(route.is_home(), same, "{}", url);
            }
        }
    }
}
