//! The faults of servers, caches, proxies, networks and file systems (`local`), each under the number that
//! its tests are named after.
//!
//! Every scenario runs on every backend, over one and over eight connections. What all of them hold stands in
//! `ends`. Most faults come at four turns: in the first answer, in the second, in all but the first, in all.
//!
//! What cannot occur, or cannot be told:
//! - H13: other bytes under the same tag, date and size are found by a digest alone; Repr-Digest is not read.
//! - H18: over plain TCP a body of unknown length that ends early is found by a digest alone.
//! - H23: cannot occur: the program never sends HEAD. Every scenario looks at the methods of its requests.
//! - H31: a login page as the very first answer is the file for all that can be told; a digest finds it.
//! - H39: a wrong digest is not asked for once more around the cache: the message names the header that does.
//! - H40: cannot occur by our doing: the origin fails every test whose client asks before it was answered.

mod breaks;
mod caches;
mod dial;
mod expiry;
mod framing;
mod heads;
mod limits;
mod local;
mod net;
mod ranges;
mod redirects;
mod tags;
mod trust;
mod versions;
mod waits;

use crate::ends::Fault;
use crate::origin::{Cut, File, Reply, Request};

/// Blocks for several connections, and not a whole number of them; small, for there are many scenarios.
const SIZE: u64 = (1 << 20) + 17;

/// A fault that needs no request to be told: its name and how it bends a reply.
type Row = (&'static str, fn(Reply) -> Reply);

/// Exit codes for a fault in the first answer, in the second, in all but the first, and in all.
type Turns = [&'static [i32]; 4];

/// The run ends well wherever the fault is.
const SURVIVED: Turns = [&[0]; 4];

/// The same fault in the first answer, in the second, in all but the first, and in all. An honest first
/// answer is cut short, so that a single connection has to ask again too.
fn at_every_turn(
    name: &str,
    codes: Turns,
    bend: impl Fn(&Request, Reply) -> Reply + Copy + Send + Sync + 'static,
) -> Vec<Fault> {
    let turns = [
        ("first", 0..1, codes[0]),
        ("second", 1..2, codes[1]),
        ("later", 1..usize::MAX, codes[2]),
        ("every", 0..usize::MAX, codes[3]),
    ];
    let fault = |(turn, bent, codes): (&str, std::ops::Range<usize>, _)| {
        Fault::of(file(), move |request, reply| match request.nth {
            nth if bent.contains(&nth) => bend(request, reply),
            0 => reply.cut(200_000, Cut::Close),
            _ => reply,
        })
        .named(format!("{name}: {turn} answer"))
        .codes(codes)
    };
    turns.into_iter().map(fault).collect()
}

/// As [`at_every_turn`], for parts alone: the whole file comes as it should.
fn parts_at_every_turn(
    name: &str,
    codes: Turns,
    bend: impl Fn(&Request, Reply) -> Reply + Copy + Send + Sync + 'static,
) -> Vec<Fault> {
    at_every_turn(name, codes, move |request, reply| match reply.is_part() {
        true => bend(request, reply),
        false => reply,
    })
}

/// The file of most scenarios.
fn file() -> File {
    File::new(SIZE)
}

/// First byte asked for, and the one behind the last.
fn span(request: &Request) -> (u64, u64) {
    let range = request.range.clone().unwrap_or(0..SIZE);
    (range.start, range.end.min(SIZE))
}

/// A part with the validators of the file.
fn tagged_part(span: std::ops::Range<u64>) -> Reply {
    Reply::part(&file(), span).set("ETag", &file().etag())
}

/// What a server without ranges answers.
fn whole(request: &Request) -> Reply {
    Reply::honest(&file(), &request.without("range"))
}

/// The `--checksum` that `file` has.
fn digest_of(file: &File) -> String {
    format!("blake3={}", blake3::hash(&file.whole()))
}
