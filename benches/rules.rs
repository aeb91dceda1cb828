//! The rules alone, without a socket or a thread: what they cost beside the bytes that they govern.
//!
//! They are private to the library; its feature `internals` opens them: `cargo bench --features internals
//! --bench rules`. As a test (`cargo test` instead) each case runs once.

#![expect(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ringpull::internals::{self, Judging, Log};

/// Blocks of the planned file: 100 GiB by default.
const BLOCKS: u32 = 100_000;
/// Lines of a long ledger, and lines that are appended to one.
const LINES: u64 = 64 << 10;
const APPENDED: u64 = 100;

const HEAD: &[u8] = b"HTTP/1.1 206 Partial Content\r\nDate: Sun, 22 Nov 2026 12:00:00 GMT\r\n\
    Server: nginx/1.29.3\r\nContent-Type: application/octet-stream\r\nContent-Length: 1048576\r\n\
    Last-Modified: Sat, 21 Nov 2026 08:30:00 GMT\r\nConnection: keep-alive\r\n\
    ETag: \"6920254c-80000000\"\r\nContent-Range: bytes 7340032-8388607/2147483648\r\n\
    Cache-Control: max-age=3600\r\nVia: 1.1 cache.example.net\r\nX-Cache: HIT\r\n\r\n";

/// A file dealt to lanes, every block of it claimed, won and landed.
fn plan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    group.throughput(Throughput::Elements(BLOCKS.into()));
    for lanes in [1, 16, 256] {
        group.bench_function(format!("100k blocks, {lanes} lanes"), |bencher| {
            bencher.iter(|| internals::plan(black_box(BLOCKS), lanes));
        });
    }
    group.finish();
}

/// A head that holds the range that was asked for.
fn gate(criterion: &mut Criterion) {
    let judging = Judging::of(HEAD);
    criterion.bench_function("gate/judge a 206", |bencher| {
        bencher.iter(|| assert!(black_box(&judging).is_body()));
    });
}

fn ledger(criterion: &mut Criterion) {
    let part = tempfile::tempfile().expect("a scratch file");
    let lines = internals::ledger(&part, LINES);
    let mut group = criterion.benchmark_group("ledger");
    group.throughput(Throughput::Elements(LINES));
    group.bench_function("replay 64k lines", |bencher| {
        bencher.iter(|| assert_eq!(internals::replay(black_box(&lines)), LINES << 20));
    });
    let dir = tempfile::tempdir().expect("a scratch directory");
    group.throughput(Throughput::Elements(APPENDED));
    group.bench_function("append 100 lines", |bencher| {
        let append = |log: Log| {
            (0..APPENDED).for_each(|line| log.append(line));
            log
        };
        bencher.iter_batched(|| Log::create(dir.path()), append, BatchSize::PerIteration);
    });
    group.finish();
}

fn head(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head");
    group.throughput(Throughput::Bytes(HEAD.len() as u64));
    group.bench_function("find the end", |bencher| {
        bencher.iter(|| assert_eq!(internals::head_end(black_box(HEAD)), Some(HEAD.len())));
    });
    // The parsing of hyper, and three system calls on either side.
    group.bench_function("exchange over a local socket", |bencher| {
        bencher.iter(|| assert_eq!(internals::exchange(black_box(HEAD)), HEAD.len()));
    });
    group.finish();
}

criterion_group!(benches, plan, gate, ledger, head);
criterion_main!(benches);
