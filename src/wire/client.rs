//! The client: identity, TLS and time limits of all connections, and the idle ones among them.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::HeaderValue;
use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, HOST, RANGE, USER_AGENT};
use http_body_util::Empty;
use rustls::ClientConfig;

use super::addresses::Experience;
use super::builder::ClientBuilder;
use super::conn::Conn;
use super::dial::{self, Dial};
use super::head::{self, Exchange};
use super::idle::{Idle, Key};
use super::route::RedirectRule;
use super::{Body, Request, Response, Route, framed, raw, tls};
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
    experience: Experience,
}

impl Default for Client {
    fn default() -> Self {
        ClientBuilder::default()
            .build()
            .expect("proof: the defaults name no file that could be missing")
    }
}

impl Client {
    /// A client with these settings.
    ///
    /// # Errors
    /// `Kind::Usage` if a certificate or key file cannot be read or does not hold what it should.
    pub(super) fn new(settings: ClientBuilder) -> Result<Self> {
        let named_files = settings.tls.roots.is_some() || settings.tls.identity.is_some();
        let client = Self(Arc::new(Inner {
            settings,
            tls_home: OnceLock::new(),
            tls_away: OnceLock::new(),
            idle: Idle::default(),
            experience: Experience::default(),
        }));
        if named_files {
            client.tls_config(true)?;
        }
        Ok(client)
    }

    /// Starts from the defaults.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// What redirects may do.
    pub(crate) fn redirect_rule(&self) -> RedirectRule {
        let settings = &self.0.settings;
        RedirectRule { max: settings.max_redirects, https_only: settings.https_only }
    }

    /// Whether any certificate is accepted.
    pub(crate) fn is_insecure(&self) -> bool {
        self.0.settings.tls.insecure
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
    ///
    /// The connection has a receive buffer of that many bytes; `None` leaves it to the kernel.
    pub(crate) async fn ask(
        &self,
        io: &Io,
        request: &Request<'_>,
        receive_buffer: Option<u64>,
    ) -> Result<Response> {
        let key = Key::new(request.route, receive_buffer);
        for _ in 0..limits::STALE_CONNECTIONS_MAX {
            let Some(conn) = self.0.idle.take(&key) else { break };
            let Ok(conn) = conn.wake() else { continue };
            match self.exchange(io, conn, request, key.clone()).await {
                Err(failure) if failure.nothing_came => {}
                done => return done.map_err(|failure| failure.error),
            }
        }
        let dial = self.dial(request.route, receive_buffer);
        let conn = dial::dial(&dial, self.tls_for(request.route)?).await?;
        let remote = conn.remote();
        first(&dial, remote, self.exchange(io, conn, request, key).await)
    }

    /// Closes the idle connections if hardly a descriptor is free: the end of a download needs a few, and
    /// must not fail for want of what only saves time.
    pub(crate) fn spare_descriptors(&self) {
        let probes: Vec<_> =
            (0..limits::FILES_SPARE).map(|_| std::fs::File::open("/dev/null")).collect();
        if probes.iter().any(std::result::Result::is_err) {
            self.0.idle.clear();
        }
    }

    /// Keeps a connection for a later request.
    pub(super) fn keep(&self, key: Key, conn: Conn) {
        self.0.idle.keep(key, conn);
    }

    /// Dials a server that may choose HTTP/2.
    pub(super) async fn dial_http2(&self, request: &Request<'_>) -> Result<Conn> {
        let mut config = self.tls_config(request.route.is_home())?;
        Arc::make_mut(&mut config).alpn_protocols.insert(0, tls::HTTP2.to_vec());
        dial::dial(&self.dial(request.route, None), Some(config)).await
    }

    pub(super) fn dial<'a>(&'a self, route: &'a Route, receive_buffer: Option<u64>) -> Dial<'a> {
        let Inner { settings, experience, .. } = &*self.0;
        Dial { url: route.url(), settings, experience, receive_buffer }
    }

    pub(super) fn tls_for(&self, route: &Route) -> Result<Option<Arc<ClientConfig>>> {
        match route.url().scheme() {
            "https" => self.tls_config(route.is_home()).map(Some),
            _ => Ok(None),
        }
    }

    pub(super) async fn exchange(
        &self,
        io: &Io,
        conn: Conn,
        request: &Request<'_>,
        key: Key,
    ) -> std::result::Result<Response, head::Failure> {
        let remote = conn.remote();
        let http_request = self.http_request(request)?;
        let exchange = head::exchange(conn, http_request, request.head_timeout).await?;
        Ok(respond(io, exchange, remote, key)?)
    }

    pub(crate) fn http_request(
        &self,
        request: &Request<'_>,
    ) -> Result<http::Request<Empty<Bytes>>> {
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
        if request.past_caches && !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
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

/// The response to the first request on a connection.
pub(super) fn first(
    dial: &Dial<'_>,
    remote: SocketAddr,
    done: std::result::Result<Response, head::Failure>,
) -> Result<Response> {
    match done {
        Ok(response) => Ok(Response { is_fresh: true, ..response }),
        Err(failure) => {
            if matches!(failure.error.kind(), Kind::Reset | Kind::Stall) {
                // It lets us connect and does not answer: another address of the name may.
                dial.experience.failed(&dial.name(), remote);
            }
            Err(failure.error)
        }
    }
}

/// The response whose head hyper has read.
pub(super) fn respond(
    io: &Io,
    exchange: Exchange,
    remote: SocketAddr,
    key: Key,
) -> Result<Response> {
    let Exchange { response, driver, view, head_bytes, waited } = exchange;
    let (head, incoming) = response.into_parts();
    let body = match raw::length(head.status, &head.headers) {
        Some(length) => Body::Raw(raw::Raw::take_over(io, driver, incoming, length)?),
        None => Body::Framed(Box::new(framed::Framed::new(driver, &view, incoming))),
    };
    let (status, http, headers) = (head.status, head.version, head.headers);
    let (is_fresh, near, is_last) = (false, None, false);
    Ok(Response {
        status,
        http,
        headers,
        remote,
        head_bytes,
        waited,
        is_fresh,
        body,
        key,
        near,
        is_last,
    })
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
    use std::time::Duration;

    use http::HeaderName;
    use http::header::AUTHORIZATION;

    use super::*;

    fn request_for(client: &Client, route: &Route) -> http::Request<Empty<Bytes>> {
        let range = Some("bytes=0-1".to_owned());
        let head_timeout = Duration::from_secs(1);
        let condition = None;
        client
            .http_request(&Request { route, range, condition, past_caches: false, head_timeout })
            .unwrap()
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
