//! ringpull downloads files over HTTP(S) on Linux as fast as the machine allows, and says "done" only when
//! every byte is right and on disk.
//!
//! **The promise:** success means that every byte was written at the offset the server said, from one
//! version of the file, is durable and, if a digest was given, has that digest. Anything else is an
//! [`Error`], and the same call again continues. The target's name never shows anything but a whole file.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let mut options = ringpull::Options::default();
//! options.checksum = Some("md5=900150983cd24fb0d6963f7d28e17f72".parse()?);
//! ringpull::download("https://example.com/file.iso", "file.iso", &options).await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`download`] is the main job as one call, [`Downloader`] a file as a stream of chunks, [`Client`] who we
//! are to servers: pass one to share its TLS settings, headers and idle connections. [`engine::start`]
//! gives a handle to watch and stop. All of them work from any async runtime: the work is done by threads
//! of their own.
//!
//! # The tour
//!
//! The rest of this page is for whoever reads or changes the code; it takes a quarter of an hour.
//!
//! ## The one idea
//!
//! **A file is a row of equal blocks. The sink lends a block, the wire fills it, the sink commits it, the
//! ledger remembers it.**
//!
//! The block (1 MiB by default, aligned in the file) is at once the unit of memory, of disk write, of
//! alignment, of retry, of resume and of verification. So O_DIRECT alignment falls out, memory is blocks
//! times their size, and back-pressure is "no free block".
//!
//! | noun | what it does | | noun | what it does |
//! |---|---|---|---|---|
//! | Plan | leases runs of blocks, takes them back | | Lane | runs one connection: lend, fill, commit |
//! | Lease | bounds one request | | Fetch | lives one item from probe to rename |
//! | Block | carries bytes | | Board | deals leases to idle lanes |
//! | Pool | limits memory | | Engine | starts and stops the threads |
//! | Wire | asks and fills | | Meter | counts |
//! | Gate | judges an answer before a byte is written | | Report | shows |
//! | Sink | lends blocks, commits them | | Ledger | remembers what landed, across crashes |
//!
//! ## The floors
//!
//! A file imports only from its own floor and the floors below; `tests/tidy.rs` holds this table and fails
//! on a wrong `use crate::`.
//!
//! ```text
//! 5 faces    main  cli(arguments)  report(the only printer)  serve(static server)  downloader  lib
//! 4 engine   engine(threads)  board(deals leases)  fetch(life of an item)  lane(lend, fill, commit)  options
//!            mirror(a directory in line with a list)  catalog(the list, sorted, and what is known of it)
//! 3 seams    wire/{dial tls head raw framed near pipeline}
//!            sink/{direct buffered mmap discard stream chunks part}
//!            ledger  digest  manifest(lists as users give them)  tree(a directory by descriptors)
//! 2 memory   block(Block, Pool)   io/{uring epoll}   sys   aside(work on a thread of its own)
//!            sorting(on disk)
//!            fault(any of these fails on demand)  crash(the program dies on demand): for tests alone
//! 1 rules    plan  gate  retry  pace(connection count)  throttle(rate)  stragglers  alternates(choice)
//!            name  holds(who wants to be left alone)  renewal(who asks again for an expired address)
//!            courtesy(how much a host of a mirror is asked)  tempo(how often)
//! 0 words    error  units  meter  limits
//! ```
//!
//! Floor 1 is pure: no async, no I/O, no clock; time comes as an argument. `unsafe` lives in `block`,
//! `io/uring`, `io/low_water` and `sink/mmap`, each with its whole argument at its head. Seams are closed
//! enums with one `match` a verb in their `mod.rs` and one file a variant. Every queue and loop has its bound
//! in [`limits`] or, where one rule alone knows it, at the foot of its file. The library never prints and
//! never exits.
//!
//! ## The way of a byte
//!
//! `socket -> block -> file`: two hops.
//!
//! 1. A lane takes a lease from the board and asks for its bytes. `wire/dial` resolves and connects (happy
//!    eyeballs), `wire/tls` shakes hands; an idle connection is used where there is one.
//! 2. hyper writes the request and parses the head, behind a wrapper (`wire/head`) that shows it the
//!    connection only up to the blank line of the final head. The bounds on heads are enforced there.
//! 3. The gate judges the head: status, Content-Range, lengths, codings, validators. Nothing is written
//!    before it agrees.
//! 4. A body of known length is received by the thread's backend straight into the block (`wire/raw`): one
//!    `IORING_OP_RECV` with `MSG_WAITALL` a block, or plain reads on epoll. Under TLS, ciphertext comes in
//!    reads of up to 256 KiB and plaintext goes straight into the block. Chunked bodies and those without a
//!    length go through hyper (`wire/framed`), one copy more.
//! 5. The sink commits the block while the lane fills the next: a registered O_DIRECT write, a buffered
//!    write, or nothing at all where the block is a window of the mapped file.
//! 6. The connection goes back to the client for the next lease.
//!
//! Small entries of a mirror take a shorter way over HTTP/1.1: `wire/near` keeps their connections with the
//! thread, writes the request and reads the head itself, and leaves every head that is not plain to hyper.
//! Where their digests are known, they wait for each other's answers on one connection (`wire/pipeline`).
//!
//! The first ranged request is probe and first data in one. Its answer tells size, version and whether
//! ranges work; then the other lanes start. Without a strong validator or a digest, ranges are not
//! combined: the file comes in one response.
//!
//! ## Who is late
//!
//! An idle lane first takes what is free, then the rear half of what the slowest has not begun. After that it
//! waits for somebody to be *late*: for a block that takes several times as long as it would take the idle
//! lane (`plan/late`). It takes what the late lane has not begun, and when there is no such thing it fills
//! the late block too. A block belongs to the first lane that has all of it: that one commits it, and the
//! others are woken and let go. So one connection that hangs costs a block and a moment, whatever the sink.
//!
//! A lane that crawls beside its siblings while it has much to do (`stragglers`), or gets no answer, drops
//! its connection and asks on a fresh one, from the byte reached. Time in which it waits for the sink or the
//! rate limit does not count.
//!
//! ## Threads
//!
//! One thread lives the life of the item ([`engine`]). Per core, one lane thread with its own runtime,
//! ring, block pool and lanes. Threads share the open file, the board (plan and stages behind one mutex,
//! touched per lease and per block) and the meter's atomics. Digests are hashed on a thread of their own:
//! from memory, each block in its turn, where the server answers at once or one lane brings all in order;
//! else, and after an earlier run, read back behind the frontier where blocks do not come in order.
//!
//! io_uring is refused in many places: default container filters, small limits on locked memory,
//! `kernel.io_uring_disabled`. Then the same lanes run on epoll, with one line that says why; so they do,
//! without a word, where nothing is written. Both backends keep the same promises and pass the same tests.
//!
//! ## The end
//!
//! All blocks landed: the sink cuts off padding, the digest is compared, mode and time are set, the part
//! file is synced, renamed without replacing, its directory synced, and the ledger removed. Where a mirror's
//! list has digests of stretches, a file that is wrong is read back (`fetch/verify`), and what of it is right
//! stays for the next attempt.
//!
//! A failure at any point leaves the part file and its ledger, if anything had landed, and the next run
//! (`fetch/partial`) looks for them before its first question. The ledger is a file of checksummed lines,
//! appended to after the bytes that they name:
//!
//! ```text
//! head      format, hashed URL and digest, size, validators, identity of the part file
//! begin     a run begins, in this epoch: one boot, one mount
//! written   these bytes were written        trusted in the same epoch: the page cache survives a kill
//! syncing   a sync begins of what only the page cache has    if its end is not told, that is not trusted
//! durable   so many written lines are on disk, after fdatasync      trusted for ever
//! lost      a sync has failed: only what was durable before counts
//! wrong     these bytes are missing again: digests of stretches have shown them to be wrong
//! ```
//!
//! Syncs are begun by bytes and by seconds ([`limits`]) and run on the ring beside the lanes, on a file
//! description of their own: a failed sync is told once a description, and the last sync must not miss it.
//! A torn end is ignored; whatever else is doubtful (another URL, digest, format, part file, one that was
//! cut off) is not believed but fetched again, and said. The first question of a run that goes on asks for
//! the first missing bytes, and the gate compares its answer with the version that the ledger names.
//! Correctness rests on identities and on the rename; the lock on the part file only saves work.

pub mod error;
pub mod limits;
pub mod meter;
pub mod units;

mod alternates;
mod courtesy;
mod gate;
mod holds;
mod name;
mod pace;
mod plan;
mod renewal;
mod retry;
mod stragglers;
mod tempo;
mod throttle;

mod aside;
mod block;
mod crash;
mod fault;
mod io;
mod sorting;
pub mod sys;

pub mod digest;
mod ledger;
#[allow(dead_code, unused_imports, reason = "the mirror takes it up")]
mod manifest;
mod sink;
mod tree;
mod wire;

mod board;
mod catalog;
pub mod engine;
mod fetch;
mod lane;
pub mod mirror;
mod options;
#[cfg(test)]
mod simulation;

#[doc(hidden)]
pub mod cli;
mod downloader;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
mod report;
pub mod serve;

pub use digest::{Algo, Checksum};
pub use downloader::{ChunkStream, Downloader, DownloaderBuilder, download};
pub use engine::{Download, Stopper};
pub use error::{Error, Kind, Result};
pub use options::{Connections, IoChoice, Options, Outcome, Target, Verified, Write};
pub use sink::Chunk;
pub use wire::{Client, ClientBuilder, Family};
