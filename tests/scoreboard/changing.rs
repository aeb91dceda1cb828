//! Servers whose file changes during a download, and servers that refuse for a while.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::origin::{File, Origin, Reply, Request, Validator};
use crate::scenario::{PATH, SIZE, Scenario, Stage, Trace};

/// GET requests that see the first version.
const FIRST: usize = 3;
/// GET requests that one address of a redirect serves.
const USES: usize = 3;

pub(crate) fn all() -> Vec<Scenario> {
    let all = Scenario::new;
    vec![
        all("change: ETag", "after three answers there is another version, same size", || {
            changing(File::new(SIZE), File::new(SIZE).version(2), Reply::honest)
        }),
        all("change: only Last-Modified", "the same, with no ETag", || {
            let first = File::new(SIZE).validator(Validator::Date);
            changing(first, first.version(2), Reply::honest)
        }),
        all("change: weak ETag", "the same, with a weak ETag alone", || {
            let first = File::new(SIZE).validator(Validator::Weak);
            changing(first, first.version(2), Reply::honest)
        }),
        all("change: no validator", "the same, with neither", || {
            let first = File::new(SIZE).validator(Validator::None);
            changing(first, first.version(2), Reply::honest)
        }),
        all("change: size", "after three answers the file is larger", || {
            changing(File::new(SIZE), File::new(SIZE + 100_000).version(2), Reply::honest)
        }),
        all("change: If-Range ignored", "another ETag, and 206 whatever If-Range says", || {
            changing(File::new(SIZE), File::new(SIZE).version(2), |file, request| {
                Reply::honest(file, &request.without("If-Range"))
            })
        }),
        all("503, then fine", "the first two answers are 503 with Retry-After: 1", || {
            let asked = AtomicUsize::new(0);
            let file = File::new(SIZE);
            Stage::scripted(&[file], move |request| match asked.fetch_add(1, SeqCst) < 2 {
                true => Reply::status("503 Service Unavailable").set("Retry-After", "1"),
                false => Reply::honest(&file, request),
            })
        }),
        all(
            "redirect that expires",
            "each address behind a redirect serves three answers, then 403",
            expiring,
        ),
    ]
}

/// Answers the first GET requests for `first`, all others for `second`.
fn changing(
    first: File,
    second: File,
    answer: impl Fn(&File, &Request) -> Reply + Send + Sync + 'static,
) -> Stage {
    let gets = AtomicUsize::new(0);
    Stage::scripted(&[first, second], move |request| {
        let before = match request.method.as_str() {
            "GET" => gets.fetch_add(1, SeqCst),
            _ => gets.load(SeqCst),
        };
        answer(if before < FIRST { &first } else { &second }, request)
    })
}

/// `/f` leads to the address that is good now.
fn expiring() -> Stage {
    let file = File::new(SIZE);
    let trace = Trace::default();
    let served = std::sync::Arc::new(AtomicUsize::new(0));
    let good = served.clone();
    let to_good = move |_: &Request| {
        let number = good.load(SeqCst) / USES;
        Reply::redirect("302 Found", &format!("/signed?number={number}"))
    };
    let mut origin = Origin::new().at(PATH, trace.over(to_good));
    for number in 0..64 {
        let served = served.clone();
        let signed = move |request: &Request| {
            let used = served.load(SeqCst);
            if used / USES != number {
                return Reply::status("403 Forbidden");
            }
            served.fetch_add(usize::from(request.method == "GET"), SeqCst);
            Reply::honest(&file, request)
        };
        origin = origin.at(&format!("/signed?number={number}"), trace.over(signed));
    }
    Stage::new(vec![origin.start()], &[file], trace)
}
