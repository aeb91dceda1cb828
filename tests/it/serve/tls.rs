//! The static file server over TLS, with a rustls client that trusts one certificate made for the
//! test.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use ringpull::serve::{Options, Server};
use tempfile::TempDir;

use super::{connect, dir_with, noise, options, read_answer, read_head, send, sparse};

struct Tls {
    server: Server,
    client: Arc<rustls::ClientConfig>,
}

fn start_tls(dir: &TempDir) -> Tls {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (dir.path().join("chain.pem"), dir.path().join("key.pem"));
    std::fs::write(&chain, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let server =
        Server::start(&Options { tls: Some((chain, key)), ..options(dir.path()) }).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Tls { server, client: Arc::new(client) }
}

type TlsClient = BufReader<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>;

fn connect_tls(tls: &Tls, address: SocketAddr) -> TlsClient {
    let name = "localhost".try_into().unwrap();
    let session = rustls::ClientConnection::new(Arc::clone(&tls.client), name).unwrap();
    BufReader::new(rustls::StreamOwned::new(session, TcpStream::connect(address).unwrap()))
}

#[test]
fn tls_serves_the_same_bytes_and_announces_its_end() {
    let body = noise(1_000_003);
    let dir = dir_with(&[("f", &body)]);
    let tls = start_tls(&dir);
    let mut client = connect_tls(&tls, tls.server.addresses()[0]);
    let request = b"GET /f HTTP/1.1\r\nHost: x\r\nRange: bytes=3-\r\n\r\n";
    client.get_mut().write_all(request).unwrap();
    let answer = read_answer(&mut client).unwrap();
    assert_eq!((answer.status, answer.body == body[3..]), (206, true));
    assert_eq!(client.get_ref().conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    client.get_mut().write_all(b"GET /f HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    assert!(read_answer(&mut client).unwrap().body == body);
    // Without close_notify this would be UnexpectedEof.
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    // Someone who speaks plain HTTP is not answered, and harms nobody.
    let mut plain = connect(&tls.server);
    send(&plain, "GET /f HTTP/1.1\r\nHost: x\r\n\r\n");
    plain.get_ref().shutdown(Shutdown::Write).unwrap();
    let mut alert = Vec::new();
    let _ = plain.read_to_end(&mut alert);
    assert!(!alert.starts_with(b"HTTP"));
}

#[test]
fn over_tls_a_cut_answer_has_no_announced_end() {
    let dir = tempfile::tempdir().unwrap();
    let file = sparse(&dir);
    let tls = start_tls(&dir);
    let mut client = connect_tls(&tls, tls.server.addresses()[0]);
    client.get_mut().write_all(b"GET /sparse HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(read_head(&mut client).unwrap().status, 200);
    file.set_len(1).unwrap();
    let error = std::io::copy(&mut client, &mut std::io::sink()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}
