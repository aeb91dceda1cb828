//! Servers that try the user's trust: certificates, credentials, a connection that just ends.

use crate::framing::truncated;
use crate::origin::{Certificate, Cut, File, Origin, Reply, Request};
use crate::scenario::{PATH, SIZE, Scenario, Stage, Trace};

/// What no other host may see.
pub(crate) const SECRET: &str = "Authorization: Bearer scoreboard-secret";

pub(crate) fn all() -> Vec<Scenario> {
    let all = Scenario::new;
    let bad = |name, says, stage| Scenario { bad_certificate: true, ..all(name, says, stage) };
    vec![
        all("TLS, honest", "a good server with a good certificate", || {
            over_tls(Certificate::valid_for("localhost"), |_, reply| reply)
        }),
        all(
            "TLS cut without close_notify",
            "no length, no ranges; the body ends with FIN at 4 MiB",
            || {
                over_tls(Certificate::valid_for("localhost"), |request, _| {
                    let file = File::new(SIZE);
                    let reply =
                        Reply::honest(&file, &request.without("Range")).without("Accept-Ranges");
                    truncated(reply, Cut::Close).until_close()
                })
            },
        ),
        bad("expired certificate", "from 2001", || {
            over_tls(Certificate::expired(), |_, reply| reply)
        }),
        bad("certificate of another host", "for elsewhere.invalid", || {
            over_tls(Certificate::wrong_host(), |_, reply| reply)
        }),
        Scenario {
            secret: Some(SECRET),
            ..all("redirect to another host", "the user gave an Authorization header", redirected)
        },
        Scenario {
            disk_mib: Some(4),
            ..all("disk full", "room for half of the file; the server is good", || {
                let file = File::new(SIZE);
                Stage::bent(file, &[file], |_, reply| reply)
            })
        },
    ]
}

fn over_tls(
    certificate: Certificate,
    script: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
) -> Stage {
    Stage::over_tls(certificate, File::new(SIZE), script)
}

/// From one name and port to another.
fn redirected() -> Stage {
    let file = File::new(SIZE);
    let trace = Trace::default();
    let honest = trace.over(move |request| Reply::honest(&file, request));
    let other = Origin::new().at(PATH, honest).start();
    let there = format!("http://localhost:{}{PATH}", other.address().port());
    let redirect = trace.over(move |_| Reply::redirect("302 Found", &there));
    let asked = Origin::new().at(PATH, redirect).start();
    Stage::new(vec![asked, other], &[file], trace)
}
