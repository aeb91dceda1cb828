//! Whole downloads from an embedded server on loopback: every way to write, on both backends.
//!
//! `cargo bench` measures with a file of 256 MiB; as a test (`cargo test --benches`) each case runs once
//! with 1 MiB. Durable cases include the fsync and the rename. For a comparison with other programs see
//! `scripts/versus`.

#![expect(missing_docs, reason = "criterion's macros make public functions")]

use std::net::SocketAddr;
use std::path::Path;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringpull::serve::{self, Server};
use ringpull::{Connections, IoChoice, Options, Target, Write};

fn downloads(criterion: &mut Criterion) {
    let size: usize =
        if std::env::args().any(|arg| arg == "--bench") { 256 << 20 } else { 1 << 20 };
    let dir = tempfile::tempdir().expect("a scratch directory");
    let bytes: Vec<u8> =
        (0..size).map(|at| (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
    std::fs::write(dir.path().join("f"), bytes).expect("the served file");
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let served = serve::Options { dir: dir.path().to_owned(), listen, ..serve::Options::default() };
    let server = Server::start(&served).expect("a server on loopback");
    let url = format!("http://{}/f", server.addresses()[0]);

    let mut group = criterion.benchmark_group("download");
    group.throughput(Throughput::Bytes(size as u64)).sample_size(10);
    for (write, name) in [
        (Write::Direct, "direct"),
        (Write::Buffered, "buffered"),
        (Write::Mmap, "mmap"),
        (Write::Discard, "discard"),
    ] {
        for (io, backend) in [(IoChoice::Auto, "auto"), (IoChoice::Epoll, "epoll")] {
            let mut options = Options::default();
            options.connections = Connections::exactly(4);
            (options.write, options.io, options.overwrite) = (write, io, true);
            let target = dir.path().join("copy");
            group.bench_function(BenchmarkId::new(name, backend), |bencher| {
                bencher.iter(|| fetch(&url, &target, &options));
            });
        }
    }
    group.finish();
}

fn fetch(url: &str, target: &Path, options: &Options) -> u64 {
    let url = url.parse().expect("the server's own URL");
    let download = ringpull::engine::start(url, Target::File(target.to_owned()), options);
    match download.wait_blocking() {
        Ok(outcome) => outcome.bytes,
        // O_DIRECT is not everywhere; the others must work.
        Err(error) if options.write == Write::Direct => error.to_string().len() as u64,
        Err(error) => panic!("{error}"),
    }
}

criterion_group!(benches, downloads);
criterion_main!(benches);
