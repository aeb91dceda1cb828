//! Servers whose bodies do not end where or when they should.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use crate::origin::{Body, Cut, File, Reply, Request};
use crate::scenario::{HALF, SIZE, Scenario, Stage};

pub(crate) fn all() -> Vec<Scenario> {
    let all = Scenario::new;
    vec![
        all("chunked 206", "ranges come chunked, without Content-Length", || {
            bent(|_, reply| match reply.is_part() {
                true => reply.chunked(&[10_000, 3]),
                false => reply,
            })
        }),
        all("cut short twice", "the first two bodies end half way with FIN", || {
            spoiled(|reply| halved(reply, Cut::Close))
        }),
        all("reset twice", "the first two bodies end half way with RST", || {
            spoiled(|reply| halved(reply, Cut::Reset))
        }),
        all("silent twice", "the first two bodies stop half way, and nothing comes", || {
            spoiled(|reply| halved(reply, Cut::Stall))
        })
        .patient(),
        all("always cut short", "no byte after 4 MiB ever comes: FIN", || {
            bent(|_, reply| truncated(reply, Cut::Close))
        })
        .patient(),
        all("always silent", "no byte after 4 MiB ever comes: silence", || {
            bent(|_, reply| truncated(reply, Cut::Stall))
        })
        .patient(),
        all("chunked, always cut short", "chunked, no ranges, no byte after 4 MiB: FIN", || {
            let file = File::new(SIZE);
            Stage::scripted(&[file], move |request| {
                let reply =
                    Reply::honest(&file, &request.without("Range")).without("Accept-Ranges");
                truncated(reply.chunked(&[60_000]), Cut::Close)
            })
        })
        .patient(),
        all(
            "206 until close, always cut short",
            "206 without Content-Length, no byte after 4 MiB: FIN",
            || {
                bent(|_, reply| match reply.is_part() {
                    true => truncated(reply, Cut::Close).until_close(),
                    false => truncated(reply, Cut::Close),
                })
            },
        )
        .patient(),
        all("dribble", "16 KiB every 20 ms on each connection", || {
            bent(|_, reply| reply.dribble(16 << 10, Duration::from_millis(20)))
        })
        .patient(),
        all("Content-Length and chunked", "chunked bodies with a Content-Length of 1000", || {
            bent(|_, reply| reply.chunked(&[60_000]).set("Content-Length", "1000").closing())
        }),
        all("two Content-Lengths", "the first is 1000 bytes too small", || {
            bent(|_, mut reply| {
                let length = reply.body.len();
                let small = length.saturating_sub(1000);
                reply.lines.retain(|line| !line.starts_with("Content-Length"));
                reply.lines.insert(0, format!("Content-Length: {small}"));
                reply.lines.insert(1, format!("Content-Length: {length}"));
                reply.closing()
            })
        }),
        all("bytes after the body", "1000 bytes more than Content-Length", || {
            bent(|_, reply| reply.surplus(&[b'x'; 1000]))
        }),
    ]
}

fn bent(script: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) -> Stage {
    let file = File::new(SIZE);
    Stage::bent(file, &[file], script)
}

/// Bends the first two GET answers.
fn spoiled(script: impl Fn(Reply) -> Reply + Send + Sync + 'static) -> Stage {
    let gets = AtomicUsize::new(0);
    bent(move |_, reply| match gets.fetch_add(1, SeqCst) < 2 {
        true => script(reply),
        false => reply,
    })
}

fn halved(reply: Reply, cut: Cut) -> Reply {
    let half = reply.body.len() / 2;
    reply.cut(half, cut)
}

/// Sends no byte of the file after [`HALF`].
pub(crate) fn truncated(reply: Reply, cut: Cut) -> Reply {
    match &reply.body {
        Body::File(_, span) => {
            let after = HALF.saturating_sub(span.start);
            reply.cut(after, cut)
        }
        Body::Bytes(_) | Body::Repeated(..) => reply,
    }
}
