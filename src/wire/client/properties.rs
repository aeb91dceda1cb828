//! What goes over the wire for any URL and any header field: one request, and the one that was meant.

use std::future::Future as _;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use tokio::io::AsyncReadExt as _;
use url::Url;

use super::*;

/// Everything hyper sends for a request to `url`, up to the moment it waits for an answer.
fn sent(client: &Client, url: &Url) -> Result<Vec<u8>> {
    let route = Route::new(url.clone(), url);
    let range = Some("bytes=0-1".to_owned());
    let head_timeout = Duration::from_secs(1);
    let (condition, past_caches) = (None, false);
    let asked = Request { route: &route, range, condition, past_caches, head_timeout };
    let request = client.http_request(&asked)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let (mut sender, connection) = http1::handshake(TokioIo::new(ours)).await.unwrap();
        let mut asking = Box::pin(async { sender.send_request(request).await.map(|_| ()) });
        let mut connection = Box::pin(connection);
        // Once neither moves any more, all that there is to send has been sent.
        std::future::poll_fn(|cx| {
            for _ in 0..8 {
                assert!(asking.as_mut().poll(cx).is_pending());
                assert!(connection.as_mut().poll(cx).is_pending());
            }
            std::task::Poll::Ready(())
        })
        .await;
        drop((asking, connection));
        let mut bytes = Vec::new();
        theirs.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(shown(&crate::wire::near::encode(&client.http_request(&asked)?)), shown(&bytes));
        Ok(bytes)
    })
}

/// The target and the fields of the only request in `bytes`.
fn only_request(bytes: &[u8]) -> (String, Vec<(String, Vec<u8>)>) {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(bytes).unwrap_or_else(|error| panic!("{error}: {}", shown(bytes)));
    assert_eq!(parsed, httparse::Status::Complete(bytes.len()), "{}", shown(bytes));
    assert_eq!((request.method, request.version), (Some("GET"), Some(1)));
    let fields = request.headers.iter();
    let fields = fields.map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec()));
    (request.path.unwrap().to_owned(), fields.collect())
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Text with what could end a line or a word, or be decoded to it.
fn text() -> impl Strategy<Value = String> {
    let parts = [
        "\r",
        "\n",
        "\r\n",
        "\0",
        "\t",
        " ",
        "\u{b}",
        "\u{c}",
        "\u{1f}",
        "\u{7f}",
        "\u{85}",
        "%0d%0a",
        "%0D%0A",
        "%00",
        "%20",
        "%",
        "%zz",
        "HTTP/1.1",
        "GET /evil",
        "\r\n\r\n",
        ":",
        "#",
        "?",
        "/",
        "//",
        "..",
        "\\",
        "^",
        "`",
        "{",
        "|",
        "}",
        "\"",
        "<",
        ">",
        "'",
        "[",
        "]",
        "@",
        "*",
        "\u{e9}",
        "\u{2028}",
        "\u{ff0f}",
        "a",
        "Host: evil",
        "Content-Length: 5",
    ];
    prop_oneof![
        prop::collection::vec(prop::sample::select(parts.to_vec()), 0..8)
            .prop_map(|parts| parts.concat()),
        any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_url_makes_one_request_for_its_own_target(host in text(), rest in text()) {
        let texts = ["h/", "h?", &format!("{host}/")].map(|front| format!("http://{front}{rest}"));
        for text in texts {
            let Ok(url) = Url::parse(&text) else { continue };
            if !url.has_host() {
                continue;
            }
            let (target, fields) = only_request(&sent(&Client::default(), &url).unwrap());
            // Read as a URL again, the target is the one that was parsed.
            let mut wanted = url.clone();
            wanted.set_fragment(None);
            let _ = wanted.set_username("");
            let _ = wanted.set_password(None);
            let again = Url::parse(&format!("http://h{target}")).unwrap();
            let meant = |url: &Url| -> Vec<u8> {
                percent_decode_str(&url[url::Position::BeforePath..]).collect()
            };
            prop_assert_eq!(meant(&again), meant(&wanted), "{:?}", text);
            let named = |name: &str| fields.iter().filter(|(found, _)| found == name).collect::<Vec<_>>();
            prop_assert_eq!(named("host").len(), 1);
            let host = String::from_utf8(named("host")[0].1.clone()).unwrap();
            let host = Url::parse(&format!("http://{host}/")).unwrap();
            prop_assert_eq!(host.origin(), url.origin(), "{:?}", text);
            let mut names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
            names.sort_unstable();
            prop_assert_eq!(names, ["accept", "accept-encoding", "host", "range", "user-agent"]);
        }
    }

    #[test]
    fn any_field_that_the_types_take_is_one_field(
        name in text(),
        value in prop_oneof![any::<Vec<u8>>(), text().prop_map(String::into_bytes)],
    ) {
        let name = HeaderName::from_bytes(format!("x-{name}").as_bytes());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(&value)) else { return Ok(()) };
        let builder = Client::builder().header(name.clone(), value.clone()).user_agent(value.clone());
        let (target, fields) =
            only_request(&sent(&builder.build().unwrap(), &Url::parse("http://h/f").unwrap()).unwrap());
        prop_assert_eq!(target, "/f");
        prop_assert_eq!(fields.len(), 6);
        let found = fields.iter().find(|(found, _)| found == name.as_str()).unwrap();
        // Blanks around a value are not part of it (RFC 9112 section 5).
        prop_assert_eq!(found.1.trim_ascii(), value.as_bytes().trim_ascii());
    }

    #[test]
    fn any_credentials_make_one_field(user in text(), password in text(), token in text()) {
        let url = Url::parse("http://h/f").unwrap();
        for builder in [Client::builder().basic_auth(&user, &password), Client::builder().bearer(&token)] {
            let (_, fields) = only_request(&sent(&builder.build().unwrap(), &url).unwrap());
            prop_assert_eq!(fields.iter().filter(|(name, _)| name == "authorization").count(), 1);
            prop_assert_eq!(fields.len(), 6);
        }
    }
}

#[test]
fn the_request_line_holds_path_and_query_only() {
    for (url, line) in [
        ("http://u:p@h:8/a%20b?c=d#e", "/a%20b?c=d"),
        ("http://h", "/"),
        ("http://h/a|b^c`{d}?x={y}|z", "/a%7Cb%5Ec%60%7Bd%7D?x=%7By%7D%7Cz"),
        ("http://h/ü", "/%C3%BC"),
    ] {
        assert_eq!(origin_form(&Url::parse(url).unwrap()).unwrap().to_string(), line);
    }
}

#[test]
fn encoded_line_ends_stay_encoded() {
    for text in
        ["http://h/a%0d%0aX:%20y", "http://h/?a%0D%0aX: y", "http://h/%0d%0a%0d%0aGET%20/evil"]
    {
        let (target, _) =
            only_request(&sent(&Client::default(), &Url::parse(text).unwrap()).unwrap());
        assert!(target.to_ascii_lowercase().contains("%0d%0a"), "{target}");
    }
}

#[test]
fn a_target_too_long_for_a_request_is_refused_and_never_another_one() {
    let url = Url::parse(&format!("http://h/{}", "a".repeat(1 << 17))).unwrap();
    assert_eq!(sent(&Client::default(), &url).unwrap_err().kind(), Kind::Usage);
}

/// A field that is new here tells identities apart, or it does not. If two requests of one client can differ
/// in it, it belongs into the key of the idle connections, and into its tests.
#[test]
fn every_setting_of_a_client_is_the_same_for_all_its_connections() {
    let ClientBuilder {
        headers: _,
        user_agent: _,
        max_redirects: _,
        https_only: _,
        connect_timeout: _,
        family: _,
        pinned: _,
        tls: tls::Settings { roots: _, identity: _, insecure: _ },
    } = ClientBuilder::default();
    let one = Client::default();
    let (clone, other) = (one.clone(), Client::default());
    assert!(Arc::ptr_eq(&one.0, &clone.0) && !Arc::ptr_eq(&one.0, &other.0));
}
