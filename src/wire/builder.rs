//! Who a client is to servers, put together: headers, credentials, TLS, time limits, addresses.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::addresses::Name;
use super::{Client, tls};
use crate::error::{Error, Kind, Result};
use crate::limits;

/// Which addresses of a name may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// IPv6 and IPv4, raced against each other (RFC 8305).
    #[default]
    Any,
    /// Only IPv4.
    V4,
    /// Only IPv6.
    V6,
}

/// Collects the settings of a [`Client`].
#[derive(Clone)]
pub struct ClientBuilder {
    pub(super) headers: HeaderMap,
    pub(super) user_agent: HeaderValue,
    pub(super) max_redirects: u32,
    pub(super) https_only: bool,
    pub(super) connect_timeout: Duration,
    pub(super) family: Family,
    /// Addresses of names that the resolver is not asked for.
    pub(super) pinned: HashMap<Name, Vec<IpAddr>>,
    pub(super) tls: tls::Settings,
}

impl std::fmt::Debug for ClientBuilder {
    /// Leaves headers out: they may hold credentials.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ClientBuilder").field("family", &self.family).finish_non_exhaustive()
    }
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            headers: HeaderMap::new(),
            user_agent: HeaderValue::from_static(concat!("ringpull/", env!("CARGO_PKG_VERSION"))),
            max_redirects: limits::REDIRECTS_DEFAULT,
            https_only: false,
            connect_timeout: limits::CONNECT_TIMEOUT_DEFAULT,
            family: Family::Any,
            pinned: HashMap::new(),
            tls: tls::Settings::default(),
        }
    }
}

impl ClientBuilder {
    /// Sends a header field with every request to the typed origin; the same name may come again.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Sends this User-Agent instead of `ringpull/VERSION`.
    #[must_use]
    pub fn user_agent(mut self, value: HeaderValue) -> Self {
        self.user_agent = value;
        self
    }

    /// Sends credentials with the Basic scheme (RFC 7617).
    #[must_use]
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        let pair = base64::prelude::BASE64_STANDARD.encode(format!("{user}:{password}"));
        self.authorization(&format!("Basic {pair}"))
    }

    /// Sends a bearer token (RFC 6750). Bytes that no header may hold are left out.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        let token: String = token.chars().filter(char::is_ascii_graphic).collect();
        self.authorization(&format!("Bearer {token}"))
    }

    /// Follows at most this many redirects.
    #[must_use]
    pub fn max_redirects(mut self, max: u32) -> Self {
        self.max_redirects = max;
        self
    }

    /// Refuses every URL, typed or redirected to, that is not https.
    #[must_use]
    pub fn https_only(mut self, only: bool) -> Self {
        self.https_only = only;
        self
    }

    /// Bounds the time to resolve, connect and finish the TLS handshake.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Uses only addresses of this family.
    #[must_use]
    pub fn family(mut self, family: Family) -> Self {
        self.family = family;
        self
    }

    /// Takes these addresses for a host and port instead of asking the resolver; all else, such as the name
    /// in the certificate, stays as it is. The last call for a host and port counts.
    #[must_use]
    pub fn resolve(mut self, host: &str, port: u16, addresses: Vec<IpAddr>) -> Self {
        // As the URL parser writes it, which compares exactly.
        let host = url::Host::parse(host).map_or_else(|_| host.to_owned(), |host| host.to_string());
        self.pinned.insert((host, port), addresses);
        self
    }

    /// Trusts the certificates in this PEM file instead of the system's.
    #[must_use]
    pub fn root_certificates(mut self, path: PathBuf) -> Self {
        self.tls.roots = Some(path);
        self
    }

    /// Presents this certificate chain and key (PEM files) to the typed origin.
    #[must_use]
    pub fn client_certificate(mut self, certificates: PathBuf, key: PathBuf) -> Self {
        self.tls.identity = Some((certificates, key));
        self
    }

    /// Accepts any certificate: whoever sits on the line can then read and change everything.
    #[must_use]
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.tls.insecure = insecure;
        self
    }

    /// Checks the settings and makes the client.
    ///
    /// # Errors
    /// `Kind::Usage` if a certificate or key file cannot be read or does not hold what it should, or a header
    /// field would change what a request asks for or how it is framed.
    pub fn build(self) -> Result<Client> {
        if let Some(name) = self.headers.keys().find(|name| is_ours(name)) {
            let message = format!("the header field {name} is set by ringpull itself");
            return Err(Error::new(Kind::Usage, message));
        }
        Client::new(self)
    }

    fn authorization(mut self, value: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            self.headers.insert(AUTHORIZATION, value);
        }
        self
    }
}

/// Whether a header field is not for callers to set.
pub(crate) fn is_ours(name: &HeaderName) -> bool {
    OURS.contains(&name.as_str())
}

/// The fields that ranges, the checks on answers and the framing depend on.
const OURS: [&str; 13] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
    "te",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_that_requests_rest_on_are_refused() {
        for name in OURS {
            let name = HeaderName::from_static(name);
            let client = Client::builder().header(name, HeaderValue::from_static("1")).build();
            assert_eq!(client.err().map(|error| error.kind()), Some(Kind::Usage));
        }
    }
}
