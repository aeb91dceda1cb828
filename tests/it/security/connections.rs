//! A connection that was made as somebody serves nobody else, although one run fetches many files and keeps
//! its connections.

use std::sync::{Arc, OnceLock};

use crate::harness::Run;
use crate::origin::{Certificate, File, Origin, Reply, Request, Running};

fn file() -> File {
    File::new(1000)
}

/// Fetches all of it over as few connections as there can be.
fn fetch(urls: &[String], args: &[&str]) {
    let run = Run::new(&urls[0]).args(&urls[1..]).args(args);
    run.args(["-c", "1", "-t", "1", "--no-sync"]).finish_talking().assert_code(0);
}

fn asked<'a>(log: &'a [Request], path: &str) -> &'a Request {
    log.iter().find(|request| request.path == path).unwrap()
}

#[test]
fn one_identity_shares_its_connection() {
    let origin = Origin::new().file("/a", file()).file("/b", file()).start();
    fetch(&[origin.url("/a"), origin.url("/b")], &["-u", "one:x"]);
    assert_eq!(origin.connections(), 1);
}

#[test]
fn two_logins_do_not_share_a_connection() {
    let origin = Origin::new().file("/a", file()).file("/b", file()).file("/c", file()).start();
    let with = |user: &str, path: &str| origin.url(path).replace("://", &format!("://{user}:x@"));
    fetch(&[with("one", "/a"), with("two", "/b"), origin.url("/c")], &[]);
    assert_eq!(origin.connections(), 3);
}

#[test]
fn two_names_of_one_machine_do_not_share_a_connection() {
    let origin = Origin::new().file("/a", file()).file("/b", file()).start();
    let named = origin.url("/b").replace("127.0.0.1", "localhost");
    fetch(&[origin.url("/a"), named], &[]);
    assert_eq!(origin.connections(), 2);
}

/// A secure origin that takes client certificates, and a plain one that redirects to it.
fn secure_and_plain(client: &Certificate) -> (Running, Running) {
    let known: Arc<OnceLock<String>> = Arc::default();
    let theirs = known.clone();
    let secure = Origin::new()
        .tls(Certificate::valid_for("localhost").asks_for_if_there_is_one(client))
        .file("/typed", file())
        .file("/typed-too", file())
        .file("/redirected", file())
        .start();
    let plain = Origin::new()
        .at("/to", move |_| Reply::redirect("302 Found", theirs.get().unwrap()))
        .start();
    known.set(secure.url("/redirected")).unwrap();
    (secure, plain)
}

#[test]
fn a_connection_with_our_certificate_is_not_lent_to_a_redirect() {
    let client = Certificate::valid_for("client");
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, &client.chain_pem).unwrap();
    std::fs::write(&key, &client.key_pem).unwrap();
    let args = ["-k", "--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
    for redirected_first in [false, true] {
        let (secure, plain) = secure_and_plain(&client);
        let mut urls = vec![secure.url("/typed"), secure.url("/typed-too"), plain.url("/to")];
        if redirected_first {
            urls.reverse();
        }
        fetch(&urls, &args);
        let log = secure.log();
        let typed = asked(&log, "/typed");
        let redirected = asked(&log, "/redirected");
        assert!(typed.certified && asked(&log, "/typed-too").certified);
        assert!(!redirected.certified, "a redirect was followed with our certificate");
        assert_ne!(typed.connection, redirected.connection);
        assert_eq!(typed.connection, asked(&log, "/typed-too").connection);
    }
}
