//! Secrets reach the origin that was typed, and no other: not by a redirect, an address that has expired,
//! or an alternate.
//!
//! An origin is scheme, host and port. The places here differ in each of the three alone and together:
//! two hosts that are one machine, two ports, two schemes.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::CANARY;
use crate::harness::Run;
use crate::origin::{Certificate, File, Origin, Reply, Request, Running};

const STATUSES: [&str; 5] = [
    "301 Moved Permanently",
    "302 Found",
    "303 See Other",
    "307 Temporary Redirect",
    "308 Permanent",
];

/// `user:` and the canary as Basic authorization shows them.
const BASIC: &str = "dXNlcjpjNG5hcnktNWVjcmV0";

fn file() -> File {
    File::new(1000)
}

/// Two ports for each scheme; each listens to both names of this machine.
struct Places {
    /// `http://127.0.0.1:PORT` and the like.
    bases: Arc<OnceLock<Vec<String>>>,
    origins: Vec<Running>,
}

impl Places {
    /// Every place redirects `/STATUS-PLACE` to `/f.bin` of that place.
    fn new(client: &Certificate) -> Self {
        let bases: Arc<OnceLock<Vec<String>>> = Arc::default();
        let mut origins = Vec::new();
        for scheme in ["http", "https"].repeat(2) {
            let mut origin = Origin::new().file("/f.bin", file());
            for (status, to) in
                STATUSES.iter().flat_map(|status| (0..8).map(move |to| (status, to)))
            {
                let bases = bases.clone();
                let redirect = move |_: &Request| {
                    Reply::redirect(status, &format!("{}/f.bin", bases.get().unwrap()[to]))
                };
                origin = origin.at(&format!("/{}-{to}", &status[..3]), redirect);
            }
            if scheme == "https" {
                let certificate = Certificate::valid_for("localhost");
                origin = origin.tls(certificate.asks_for_if_there_is_one(client));
            }
            origins.push(origin.start());
        }
        let base = |origin: &Running, host| {
            let scheme = origin.url("").split(':').next().unwrap().to_owned();
            format!("{scheme}://{host}:{}", origin.address().port())
        };
        let hosts = ["127.0.0.1", "localhost"];
        let all = origins.iter().flat_map(|origin| hosts.map(|host| base(origin, host)));
        bases.set(all.collect()).unwrap();
        Self { bases, origins }
    }

    fn bases(&self) -> &[String] {
        self.bases.get().unwrap()
    }

    /// All requests so far, with the place each was sent to.
    fn log(&self) -> Vec<(String, Request)> {
        let mut log = Vec::new();
        for origin in &self.origins {
            let scheme = origin.url("").split(':').next().unwrap().to_owned();
            for request in origin.log() {
                log.push((format!("{scheme}://{}", request.header("host").unwrap()), request));
            }
        }
        log
    }
}

/// How many header fields of a request hold the secret.
fn secrets(request: &Request) -> usize {
    let secret = |value: &str| value.contains(CANARY) || value.contains(BASIC);
    request.headers.iter().filter(|(_, value)| secret(value)).count()
}

/// How credentials are given.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Given {
    Options,
    BearerFile,
    InTheUrl,
}

impl Given {
    /// Fields that hold a secret at home.
    fn fields(self) -> usize {
        match self {
            Self::Options => 3,
            Self::BearerFile | Self::InTheUrl => 1,
        }
    }

    fn url(self, url: &str) -> String {
        match self {
            Self::InTheUrl => url.replace("://", &format!("://user:{CANARY}@")),
            _ => url.to_owned(),
        }
    }

    fn to(self, run: Run, client: &Certificate) -> Run {
        match self {
            Self::Options => {
                let run = run.put("cert.pem", client.chain_pem.as_bytes());
                let run = run.put("key.pem", client.key_pem.as_bytes());
                let run = run.args(["--cert", "cert.pem", "--key", "key.pem"]);
                let run = run.args(["-u", &format!("user:{CANARY}")]);
                let run = run.args(["-H", &format!("cOOkie: a={CANARY}")]);
                run.args(["-H", &format!("X-Token: {CANARY}")])
            }
            Self::BearerFile => {
                run.put("token", CANARY.as_bytes()).args(["--bearer-file", "token"])
            }
            Self::InTheUrl => run,
        }
    }
}

/// Fetches from `home` over a redirect of each status to each place, itself included.
fn fetch_from(home: &str, given: Given, client: &Certificate) {
    let paths = STATUSES.iter().flat_map(|status| {
        (0..8).map(move |to| given.url(&format!("{home}/{}-{to}", &status[..3])))
    });
    let typed: Vec<_> = paths.collect();
    let run = given.to(Run::new(&typed[0]).args(&typed[1..]), client);
    let run = run.args(["-k", "-c", "1", "--no-sync", "--retries", "0"]);
    // From https, redirects to http are refused.
    run.finish_talking().assert_code(if home.starts_with("https:") { 5 } else { 0 });
}

#[test]
fn secrets_reach_the_typed_origin_and_no_other() {
    let client = Certificate::valid_for("client");
    for given in [Given::Options, Given::BearerFile, Given::InTheUrl] {
        let places = Places::new(&client);
        for home in places.bases() {
            fetch_from(home, given, &client);
        }
        let log = places.log();
        for place in places.bases() {
            let certified = given == Given::Options && place.starts_with("https:");
            let here = log.iter().filter(|(there, _)| there == place).map(|(_, request)| request);
            let (landed, typed): (Vec<_>, Vec<_>) =
                here.partition(|request| request.path == "/f.bin");
            assert_eq!(typed.len(), STATUSES.len() * 8);
            for request in typed {
                assert_eq!(secrets(request), given.fields(), "{given:?} at {place}: {request:?}");
                assert_eq!(request.certified, certified, "{given:?} at {place}");
            }
            // Of all that were redirected here, only those from here bring secrets.
            let from = if place.starts_with("https:") { 8 } else { 4 };
            assert_eq!(landed.len(), STATUSES.len() * from, "{given:?} at {place}");
            let with = landed.iter().filter(|request| secrets(request) > 0).count();
            assert_eq!(with, STATUSES.len(), "{given:?} at {place}");
            let shown = landed.iter().filter(|request| request.certified).count();
            assert_eq!(shown, if certified { STATUSES.len() } else { 0 }, "{given:?} at {place}");
        }
    }
}

#[test]
fn an_address_asked_for_again_gets_no_more_than_the_first() {
    let file = File::new(16 << 20);
    for status in STATUSES {
        let mut away = Origin::new();
        for nth in 0..64 {
            away = away.bent(&format!("/signed-{nth}"), file, |request, reply| match request.nth {
                0..3 => reply,
                _ => Reply::status("403 Forbidden"),
            });
        }
        let away = away.start();
        let base = away.url("");
        let home = Origin::new()
            .at("/f.bin", move |request| {
                Reply::redirect(status, &format!("{base}/signed-{}", request.nth))
            })
            .start();
        let run = Run::new(&home.url("/f.bin")).args(["-b", "64k", "-c", "2", "-u"]);
        let run = run.args([&format!("user:{CANARY}"), "-H", &format!("X-Token: {CANARY}")]);
        run.args(["--no-sync"]).finish().assert_gives("f.bin", &file);
        assert!(home.log().len() > 1, "nothing had expired");
        assert!(home.log().iter().all(|request| secrets(request) == 2));
        assert!(away.log().iter().all(|request| secrets(request) == 0));
    }
}

#[test]
fn a_redirect_through_another_origin_takes_nothing_along() {
    let bases: Arc<OnceLock<[String; 2]>> = Arc::default();
    let [known, theirs] = [bases.clone(), bases.clone()];
    let home = Origin::new()
        .at("/f.bin", move |_| {
            Reply::redirect("307 x", &format!("{}/way", known.get().unwrap()[1]))
        })
        .file("/end.bin", file())
        .start();
    let away = Origin::new()
        .at("/way", move |_| {
            // What another origin writes into a Location is its own, and no credential of ours.
            let back = theirs.get().unwrap()[0].replace("://", "://evil:evil@");
            Reply::redirect("308 x", &format!("{back}/end.bin"))
        })
        .start();
    bases.set([home.url(""), away.url("")]).unwrap();
    let run = Run::new(&home.url("/f.bin")).args(["-u", &format!("user:{CANARY}")]);
    run.finish().assert_gives("f.bin", &file());
    assert!(away.log().iter().all(|request| secrets(request) == 0));
    for request in home.log() {
        assert_eq!(request.header("authorization"), Some(format!("Basic {BASIC}").as_str()));
    }
}

#[test]
fn an_alternate_gets_secrets_only_at_the_typed_origin() {
    let file = File::new((8 << 20) + 3);
    let digest = format!("blake3={}", blake3::hash(&file.whole()));
    // Slow enough that every address is asked before others have fetched its share.
    let slow = |_: &Request, reply: Reply| reply.dribble(32 << 10, Duration::from_millis(50));
    let twin = || Origin::new().bent("/twin.bin", file, slow);
    let home = twin().bent("/f.bin", file, slow).start();
    let other = twin().start();
    let named = home.url("/twin.bin").replace("127.0.0.1", "localhost");
    let secure = twin().tls(Certificate::valid_for("localhost")).start();
    let run = Run::new(&home.url("/f.bin")).args(["-b", "64k", "-c", "8", "--checksum", &digest]);
    let run = run.args(["-k", "--no-sync", "-u", &format!("user:{CANARY}")]);
    let run = run.args(["-H", &format!("Cookie: {CANARY}"), "-H", &format!("X-Token: {CANARY}")]);
    let run = [home.url("/twin.bin"), other.url("/twin.bin"), named, secure.url("/twin.bin")]
        .iter()
        .fold(run, |run, url| run.args(["--alternate", url]));
    run.finish().assert_gives("f.bin", &file);
    let typed = home.address().to_string();
    let (at_home, elsewhere): (Vec<_>, Vec<_>) =
        home.log().into_iter().partition(|request| request.header("host") == Some(&typed));
    assert!(at_home.iter().any(|request| request.path == "/twin.bin"));
    assert!(at_home.iter().all(|request| secrets(request) == 3));
    let foreign = [elsewhere, other.log(), secure.log()];
    assert!(foreign.iter().all(|log| !log.is_empty()));
    assert!(foreign.iter().flatten().all(|request| secrets(request) == 0));
}

#[test]
fn credentials_of_one_url_are_not_those_of_the_next() {
    let origin = Origin::new().file("/a", file()).file("/b", file()).file("/c", file()).start();
    let with = |user: &str, path: &str| origin.url(path).replace("://", &format!("://{user}:x@"));
    let run = Run::new(&with("one", "/a")).args([with("two", "/b"), origin.url("/c")]);
    run.finish_talking().assert_code(0);
    let log = origin.log();
    let sent = |path| {
        let request = log.iter().find(|request| request.path == path).unwrap();
        request.header("authorization").map(ToOwned::to_owned)
    };
    assert_eq!(sent("/a").as_deref(), Some("Basic b25lOng="));
    assert_eq!(sent("/b").as_deref(), Some("Basic dHdvOng="));
    assert_eq!(sent("/c"), None);
}
