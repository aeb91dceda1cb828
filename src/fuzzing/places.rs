//! Where a server sends us: to a file name, to another URL.

use std::path::{Component, Path};

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderName, HeaderValue};
use url::Url;

use super::{Input, is_harmless};
use crate::limits::NAME_BYTES_MAX;
use crate::name;
use crate::wire::{Client, Request, Route};

/// A Content-Disposition field, which is also taken for a name and for the path of a URL.
pub fn disposition(bytes: &[u8]) {
    let latin: String = bytes.iter().copied().map(char::from).collect();
    let text = String::from_utf8_lossy(bytes);
    for text in [&*text, &latin] {
        [name::from_disposition(text), name::clean(text)]
            .into_iter()
            .flatten()
            .for_each(|name| is_one_component(&name));
        let field = format!("attachment; filename=\"{text}\"");
        name::from_disposition(&field).iter().for_each(|name| is_one_component(name));
        if let Ok(url) = Url::parse(&format!("http://a.test/{text}")) {
            name::from_url(&url).iter().for_each(|name| is_one_component(name));
        }
    }
}

fn is_one_component(name: &str) {
    let components: Vec<_> = Path::new(name).components().collect();
    assert!(matches!(components[..], [Component::Normal(only)] if only == name), "{name:?}");
    assert!(name.len() <= NAME_BYTES_MAX, "{} bytes", name.len());
    assert!(!name.starts_with(['.', '-', ' ']) && !name.ends_with(['.', ' ']), "{name:?}");
    assert!(!name.contains(['/', '\\', '\0']), "{name:?}");
    is_harmless(name);
    assert_eq!(name::clean(name).as_deref(), Some(name), "cleaned twice it is another");
}

/// A line with the URL that was typed, a line with the URL whose credentials we hold (empty: the same), and
/// one line for each Location field.
pub fn location(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (typed, home) = (input.text(), input.text());
    let Some(typed) = web(&typed) else { return };
    let home = web(&home).unwrap_or_else(|| typed.clone());
    let client = Client::builder()
        .basic_auth("user", "password")
        .header(HeaderName::from_static("x-secret"), HeaderValue::from_static("secret"))
        .build()
        .unwrap_or_else(|error| panic!("{error}"));
    let mut route = Route::new(typed.clone(), &home);
    asks_rightly(&client, &route, &home);
    let mut visited = vec![typed];
    while !input.is_empty() {
        let location = input.text();
        let before = route.url().clone();
        match route.follow(&location, location.len(), client.redirect_rule()) {
            Ok(()) => {
                let url = route.url();
                assert!(web(url.as_str()).is_some(), "{url} is followed");
                assert!(before.scheme() == "http" || url.scheme() == "https", "{url} is less safe");
                assert!(url.username().is_empty() && url.password().is_none(), "{url}");
                assert!(!visited.contains(url), "{url} twice");
                visited.push(url.clone());
            }
            Err(error) => {
                is_harmless(&error.to_string());
                assert_eq!(route.url(), &before, "a redirect that is refused is followed");
            }
        }
        asks_rightly(&client, &route, &home);
    }
    assert!(visited.len() <= 21, "{} redirects", visited.len() - 1);
    assert!(visited.len() == 1 || route.settled().url() == route.url());
    route.reset();
    assert_eq!(route.url(), &visited[0]);
}

/// A URL as the command line lets it pass.
fn web(text: &str) -> Option<Url> {
    let mut url = Url::parse(text).ok()?;
    url.set_fragment(None);
    url.set_username("").and_then(|()| url.set_password(None)).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

/// Fails if the request for the current URL asks for something else, or tells a stranger our credentials.
fn asks_rightly(client: &Client, route: &Route, home: &Url) {
    let origin = |url: &Url| {
        (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default())
    };
    let url = route.url();
    let (range, condition, past_caches, head_timeout) = (None, None, true, Default::default());
    let request = Request { route, range, condition, past_caches, head_timeout };
    let Ok(request) = client.http_request(&request) else {
        assert!(url.as_str().len() > 20_000, "{url} is not asked for");
        return;
    };
    let is_home = origin(url) == origin(home);
    for secret in [AUTHORIZATION.as_str(), "x-secret"] {
        assert_eq!(request.headers().contains_key(secret), is_home, "{secret} to {url}");
    }
    let host = request.headers()[HOST].as_bytes();
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    assert_eq!(host, format!("{}{port}", url.host_str().unwrap_or("")).as_bytes());
    let target = request.uri().to_string();
    assert!(target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic()));
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<_>>();
    let wanted = &url[url::Position::BeforePath..url::Position::AfterQuery];
    assert_eq!(decoded(&target), decoded(wanted), "asks for something else than {url}");
}
