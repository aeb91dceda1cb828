//! The client: identity, TLS and time limits of all connections, and the idle ones among them.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HOST, RANGE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::Empty;
use rustls::ClientConfig;

use super::conn::Conn;
use super::head::{self, Exchange};
use super::idle::{Idle, Key};
use super::route::RedirectRule;
use super::{Body, Request, Response, Route, dial, framed, raw, tls};
use crate::error::{Error, Kind, Result};
use crate::io::Io;
use crate::limits;

/// Who we are to servers: headers, credentials, TLS, time limits, and a pool of idle connections.
///
/// Cheap to clone; clones share the pool. Credentials and custom headers go only to the origin (scheme,
/// host, port) of the URL that a download was started with, never to where it redirects.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: ClientBuilder,
    tls_home: OnceLock<Arc<ClientConfig>>,
    tls_away: OnceLock<Arc<ClientConfig>>,
    idle: Idle,
}

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
    headers: HeaderMap,
    user_agent: HeaderValue,
    max_redirects: u32,
    https_only: bool,
    pub(super) connect_timeout: Duration,
    pub(super) family: Family,
    pub(super) tls: tls::Settings,
}

impl std::fmt::Debug for ClientBuilder {
    /// Leaves headers out: they may hold credentials.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ClientBuilder").field("family", &self.family).finish_non_exhaustive()
    }
}

impl Default for Client {
    fn default() -> Self {
        ClientBuilder::default()
            .build()
            .expect("proof: the defaults name no file that could be missing")
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
    /// `Kind::Usage` if a certificate or key file cannot be read or does not hold what it should.
    pub fn build(self) -> Result<Client> {
        let named_files = self.tls.roots.is_some() || self.tls.identity.is_some();
        let client = Client(Arc::new(Inner {
            settings: self,
            tls_home: OnceLock::new(),
            tls_away: OnceLock::new(),
            idle: Idle::default(),
        }));
        if named_files {
            client.tls_config(true)?;
        }
        Ok(client)
    }

    fn authorization(mut self, value: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            self.headers.insert(AUTHORIZATION, value);
        }
        self
    }
}

impl Client {
    /// Starts from the defaults.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// What redirects may do.
    pub(crate) fn redirect_rule(&self) -> RedirectRule {
        let settings = &self.0.settings;
        RedirectRule { max: settings.max_redirects, https_only: settings.https_only }
    }

    /// Refuses a typed URL that this client must not ask.
    pub(crate) fn check(&self, url: &url::Url) -> Result<()> {
        if self.0.settings.https_only && url.scheme() != "https" {
            return Err(Error::new(
                Kind::Usage,
                "the URL is not https, and --https-only forbids it",
            ));
        }
        Ok(())
    }

    /// Sends a request over an idle or a new connection and waits for the head of its response.
    ///
    /// A kept-alive connection that turns out dead before the first response byte is replaced at once (RFC
    /// 9110 section 9.2.2: GET is idempotent). Dropping the future closes the connection.
    pub(crate) async fn ask(&self, io: &Io, request: &Request<'_>) -> Result<Response> {
        let key = Key::new(request.route);
        for _ in 0..limits::STALE_CONNECTIONS_MAX {
            let Some(conn) = self.0.idle.take(&key) else { break };
            let Ok(conn) = conn.wake() else { continue };
            match self.exchange(io, conn, request, key.clone()).await {
                Err(failure) if failure.nothing_came => {}
                done => return done.map_err(|failure| failure.error),
            }
        }
        let conn = self.dial(request.route).await?;
        self.exchange(io, conn, request, key).await.map_err(|failure| failure.error)
    }

    /// Keeps a connection for a later request.
    pub(super) fn keep(&self, key: Key, conn: Conn) {
        self.0.idle.keep(key, conn);
    }

    async fn dial(&self, route: &Route) -> Result<Conn> {
        let url = route.url();
        let tls = match url.scheme() {
            "https" => Some(self.tls_config(route.is_home())?),
            _ => None,
        };
        dial::dial(url, tls, &self.0.settings).await
    }

    async fn exchange(
        &self,
        io: &Io,
        conn: Conn,
        request: &Request<'_>,
        key: Key,
    ) -> std::result::Result<Response, head::Failure> {
        let remote = conn.remote();
        let http_request = self.http_request(request)?;
        let Exchange { response, driver, view, head_bytes, waited } =
            head::exchange(conn, http_request, request.head_timeout).await?;
        let (head, incoming) = response.into_parts();
        let body = match raw::length(head.status, &head.headers) {
            Some(length) => Body::Raw(raw::Raw::take_over(io, driver, incoming, length)?),
            None => Body::Framed(Box::new(framed::Framed::new(driver, &view, incoming))),
        };
        let (status, http, headers) = (head.status, head.version, head.headers);
        Ok(Response { status, http, headers, remote, head_bytes, waited, body, key })
    }

    fn http_request(&self, request: &Request<'_>) -> Result<http::Request<Empty<Bytes>>> {
        let url = request.route.url();
        let settings = &self.0.settings;
        let mut http_request = http::Request::new(Empty::new());
        *http_request.uri_mut() = origin_form(url).ok_or_else(|| unaskable(request.route))?;
        let headers = http_request.headers_mut();
        headers.insert(HOST, host_field(url));
        headers.insert(USER_AGENT, settings.user_agent.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        // A range is one of the encoded bytes, and what is encoded cannot be checked: ask for the file
        // itself.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if request.route.is_home() {
            for name in settings.headers.keys() {
                headers.remove(name);
            }
            for (name, value) in &settings.headers {
                headers.append(name, value.clone());
            }
        }
        if let Some(range) = &request.range {
            headers.insert(RANGE, visible(range));
        }
        if let Some((name, value)) = &request.condition {
            headers.insert(name, value.clone());
        }
        Ok(http_request)
    }

    fn tls_config(&self, home: bool) -> Result<Arc<ClientConfig>> {
        let cell = if home { &self.0.tls_home } else { &self.0.tls_away };
        if let Some(config) = cell.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(tls::config(&self.0.settings.tls, home)?);
        Ok(Arc::clone(cell.get_or_init(|| config)))
    }
}

/// Path and query as they go into the request line (RFC 9112 section 3.2.1); `None` beyond 64 KiB.
fn origin_form(url: &url::Url) -> Option<http::Uri> {
    let text = &url[url::Position::BeforePath..url::Position::AfterQuery];
    // The URL parser has percent-encoded everything but a few characters that http::Uri refuses.
    let text: String = text.chars().map(encode_rare).collect();
    text.parse().ok()
}

fn unaskable(route: &Route) -> Error {
    match route.is_redirected() {
        true => Error::new(Kind::Redirect, "the server redirects to a URL that is too long"),
        false => Error::new(Kind::Usage, "the URL is too long"),
    }
}

fn encode_rare(char: char) -> String {
    match char {
        '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}' => format!("%{:02X}", u32::from(char)),
        _ => char.to_string(),
    }
}

fn host_field(url: &url::Url) -> HeaderValue {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => visible(&format!("{host}:{port}")),
        None => visible(host),
    }
}

/// A header value of what is known to be visible ASCII: a host from the URL parser, numbers.
fn visible(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    fn request_for(client: &Client, route: &Route) -> http::Request<Empty<Bytes>> {
        let range = Some("bytes=0-1".to_owned());
        let head_timeout = Duration::from_secs(1);
        client.http_request(&Request { route, range, condition: None, head_timeout }).unwrap()
    }

    #[test]
    fn credentials_and_custom_headers_stay_at_home() {
        let client = Client::builder()
            .basic_auth("u", "p")
            .header(HeaderName::from_static("x-secret"), HeaderValue::from_static("s"))
            .build()
            .unwrap();
        let typed = url::Url::parse("http://a.test/f").unwrap();
        let mut route = Route::new(typed.clone(), &typed);
        let home = request_for(&client, &route);
        assert_eq!(home.headers()[AUTHORIZATION], "Basic dTpw");
        assert_eq!(home.headers()["x-secret"], "s");
        for there in ["http://b.test/f", "http://a.test:81/f", "https://a.test/g"] {
            route.reset();
            route.follow(there, 0, client.redirect_rule()).unwrap();
            let away = request_for(&client, &route);
            assert!(!away.headers().contains_key(AUTHORIZATION), "{there}");
            assert!(!away.headers().contains_key("x-secret"), "{there}");
            assert_eq!(away.headers()[RANGE], "bytes=0-1");
        }
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let client = Client::builder().bearer("tok3n").build().unwrap();
        assert!(!format!("{client:?}").contains("tok3n"));
    }
}
