//! N8: certificates that do not hold.

use crate::harness::{Outcome, Run};
use crate::origin::{Certificate, File, Origin, Running};
use crate::ways::backends;

fn file() -> File {
    File::new(300_000)
}

fn origin(certificate: Certificate) -> Running {
    Origin::new().tls(certificate).file("/f.bin", file()).start()
}

/// Trusts the origin's authority.
fn trusting(origin: &Running, args: &[&str]) -> Outcome {
    let authority = &origin.certificate.as_ref().unwrap().authority_pem;
    let run = Run::new(&origin.url("/f.bin")).put("ca.pem", authority.as_bytes());
    run.args(["--json", "--cacert", "ca.pem"]).args(args).finish()
}

/// Exit code 4, a line with `words`, and no second attempt.
fn assert_refused(outcome: &Outcome, origin: &Running, words: &[&str]) {
    outcome.assert_fails(4, words);
    assert!(outcome.events().iter().all(|event| event["event"] != "retry"));
    assert!(origin.log().is_empty(), "a request went to a server nobody trusts");
}

#[test]
fn n08_a_certificate_out_of_its_dates_names_the_host_and_the_clock() {
    for io in backends() {
        for connections in ["1", "8"] {
            let expired = origin(Certificate::expired());
            let outcome = trusting(&expired, &["--io", io, "-c", connections]);
            assert_refused(&outcome, &expired, &["localhost", "certificate has expired", "clock"]);
            let early = origin(Certificate::not_yet_valid());
            let outcome = trusting(&early, &["--io", io, "-c", connections]);
            assert_refused(&outcome, &early, &["localhost", "not valid yet", "clock"]);
        }
    }
}

#[test]
fn n08_a_certificate_for_another_host_is_refused() {
    let origin = origin(Certificate::wrong_host());
    assert_refused(&trusting(&origin, &[]), &origin, &["localhost", "another host name", "URL"]);
}

#[test]
fn n08_a_certificate_of_an_unknown_authority_is_refused() {
    for certificate in [Certificate::self_signed(), Certificate::valid_for("localhost")] {
        let origin = origin(certificate);
        let outcome = Run::new(&origin.url("/f.bin")).arg("--json").finish();
        assert_refused(&outcome, &origin, &["localhost", "trusted authority", "--cacert"]);
    }
    let other = Certificate::valid_for("localhost").authority_pem;
    let origin = origin(Certificate::valid_for("localhost"));
    let run = Run::new(&origin.url("/f.bin")).put("other.pem", other.as_bytes());
    let outcome = run.args(["--json", "--cacert", "other.pem"]).finish();
    assert_refused(&outcome, &origin, &["localhost", "trusted authority"]);
}

#[test]
fn n08_insecure_takes_every_certificate_and_says_so_every_run() {
    for certificate in [
        Certificate::valid_for("localhost"),
        Certificate::wrong_host(),
        Certificate::expired(),
        Certificate::not_yet_valid(),
        Certificate::self_signed(),
    ] {
        let origin = origin(certificate);
        for _ in 0..2 {
            let outcome = Run::new(&origin.url("/f.bin")).arg("-k").finish();
            outcome.assert_gives("f.bin", &file());
            let notes = outcome.stderr.matches("no certificate is checked").count();
            assert_eq!(notes, 1, "{}", outcome.stderr);
        }
    }
}
