//! Certificates: what is trusted, and on whose word.

use crate::harness::{Outcome, Run};
use crate::origin::{Certificate, File, Origin, Running};

fn file() -> File {
    File::new(300_000)
}

fn origin(certificate: Certificate) -> Running {
    Origin::new().tls(certificate).file("/f.bin", file()).start()
}

/// Trusts the origin's authority.
fn fetch(origin: &Running, args: &[&str]) -> Outcome {
    let authority = &origin.certificate.as_ref().unwrap().authority_pem;
    let run = Run::new(&origin.url("/f.bin")).put("ca.pem", authority.as_bytes());
    run.args(["--cacert", "ca.pem"]).args(args).finish()
}

#[test]
fn a_good_certificate_of_a_known_authority_is_trusted() {
    fetch(&origin(Certificate::valid_for("localhost")), &[]).assert_gives("f.bin", &file());
    fetch(&origin(Certificate::valid_for("127.0.0.1")), &[]).assert_gives("f.bin", &file());
}

#[test]
fn a_client_certificate_is_shown_when_asked_for() {
    let client = Certificate::valid_for("client");
    let origin = origin(Certificate::valid_for("localhost").asks_for(&client));
    fetch(&origin, &["--retries", "0"]).assert_code(4);
    let run = Run::new(&origin.url("/f.bin")).arg("-k");
    let run = run.put("cert.pem", client.chain_pem.as_bytes());
    let run = run.put("key.pem", client.key_pem.as_bytes());
    run.args(["--cert", "cert.pem", "--key", "key.pem"]).finish().assert_gives("f.bin", &file());
}

#[test]
fn unreadable_certificate_files_are_named() {
    let origin = origin(Certificate::valid_for("localhost"));
    for option in ["--cacert", "--cert"] {
        for name in ["missing.pem", "empty.pem"] {
            let run = Run::new(&origin.url("/f.bin")).put("empty.pem", b"").put("key.pem", b"");
            let run = run.args([option, name]);
            let run = if option == "--cert" { run.args(["--key", "key.pem"]) } else { run };
            let outcome = run.finish();
            assert!([Some(2), Some(4), Some(7)].contains(&outcome.code), "{}", outcome.stderr);
            assert!(outcome.stderr.contains(name), "{}", outcome.stderr);
        }
    }
    assert_eq!(origin.log().len(), 0);
}

#[test]
fn plain_http_on_a_tls_port_and_the_reverse_are_refused() {
    let secure = origin(Certificate::valid_for("localhost"));
    let url = format!("http://{}/f.bin", secure.address());
    let outcome = Run::new(&url).args(["--retries", "0"]).finish();
    assert!([Some(3), Some(6)].contains(&outcome.code), "{}", outcome.stderr);
    drop(secure);
    let plain = Origin::new().at("/f.bin", |_| unreachable!()).start();
    let url = format!("https://{}/f.bin", plain.address());
    let outcome = Run::new(&url).args(["--retries", "0"]).finish();
    assert!([Some(3), Some(4)].contains(&outcome.code), "{}", outcome.stderr);
}
