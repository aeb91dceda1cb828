//! Whole downloads from `ringpull serve` on loopback: backends, ways to write, sizes, connections, TLS.
//!
//! `cargo bench --bench loopback` takes about four minutes; a part of a case's name picks cases. As a test
//! (`cargo test --bench loopback`) each case runs once with small files. Downloads are durable but for those
//! that are discarded. For a comparison with other programs see `scripts/versus`, for one with what this
//! machine could do `benches/limit.rs`.
//!
//! The table at the end adds what criterion does not tell: CPU seconds of this process, which is the client
//! alone, and system calls, counted once a case for the program `ringpull` by `perf`, or by `strace`.

#![expect(clippy::print_stdout, reason = "it is a program, and its output is the result")]

#[path = "loopback/calls.rs"]
mod calls;
#[expect(dead_code, unused_imports, reason = "shared with the other bench")]
#[path = "common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};
use ringpull::{Client, Connections, IoChoice, Options, Target, Write};

use calls::Counter;
use common::{Cost, Served, Sheet, is_full, measure};

/// One download.
#[derive(Clone, Copy)]
struct Case {
    /// The served file.
    file: Size,
    io: (&'static str, IoChoice),
    write: (&'static str, Write),
    connections: u16,
    tls: bool,
}

/// Name and bytes of a file.
type Size = (&'static str, u64);

const IOS: [(&str, IoChoice); 2] = [("uring", IoChoice::Uring), ("epoll", IoChoice::Epoll)];
const DIRECT: (&str, Write) = ("direct", Write::Direct);
const BUFFERED: (&str, Write) = ("buffered", Write::Buffered);
const MMAP: (&str, Write) = ("mmap", Write::Mmap);
const DISCARD: (&str, Write) = ("discard", Write::Discard);

/// Files for `cargo bench`, and for a test.
const SIZES: [[Size; 3]; 2] = [
    [("1K", 1 << 10), ("1M", 1 << 20), ("256M", 256 << 20)],
    [("1K", 1 << 10), ("64K", 64 << 10), ("8M", 8 << 20)],
];

/// Not every product: each choice beside the most usual ones of the others.
fn cases([tiny, block, large]: [Size; 3]) -> Vec<Case> {
    let mut cases = Vec::new();
    for io in IOS {
        let plain = |file, write, connections| Case { file, io, write, connections, tls: false };
        cases.extend([DIRECT, BUFFERED, MMAP, DISCARD].map(|write| plain(large, write, 4)));
        cases.extend([1, 16].map(|connections| plain(large, DIRECT, connections)));
        cases.extend([DIRECT, BUFFERED].map(|write| plain(block, write, 1)));
        cases.push(plain(tiny, BUFFERED, 1));
        let tls = |case| Case { tls: true, ..case };
        cases.extend([DIRECT, DISCARD].map(|write| tls(plain(large, write, 4))));
        cases.push(tls(plain(tiny, BUFFERED, 1)));
    }
    cases
}

impl Case {
    fn name(&self) -> String {
        let tls = if self.tls { "tls" } else { "plain" };
        let (file, io, write) = (self.file.0, self.io.0, self.write.0);
        format!("{file}/{tls}/{io}/{write}/{}", self.connections)
    }
}

/// Two servers of the same files, and where copies go.
struct Bench {
    plain: Served,
    tls: Served,
    copy: PathBuf,
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    // Below `target`: the temporary directory is often no disk.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch directory");
    let files = dir.path().join("served");
    std::fs::create_dir(&files).expect("a directory to serve");
    let sizes = SIZES[usize::from(!is_full())];
    for (name, size) in sizes {
        Served::make(&files.join(name), size);
    }
    let tls = Served::start(&files, Some(certificate(dir.path())));
    let bench = Bench { plain: Served::start(&files, None), tls, copy: dir.path().join("copy") };

    let counter = Counter::find();
    let mut sheet = Sheet::default();
    let mut group = criterion.benchmark_group("loopback");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(4));
    for case in cases(sizes) {
        // Containers refuse io_uring, and some file systems O_DIRECT.
        match bench.fetch(&Case { file: sizes[0], ..case }) {
            Ok(_) => bench.case(&mut group, &mut sheet, &counter, &case),
            Err(refusal) => println!("loopback: {}: not here: {refusal}", case.name()),
        }
    }
    group.finish();
    println!("{}", counter.words());
    if is_full() {
        println!("{sheet}");
    }
    criterion.final_summary();
}

/// Makes a certificate for the server's address; returns it and its key, as files.
fn certificate(dir: &Path) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let (certificate, key) = (dir.join("certificate.pem"), dir.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("a file for the certificate");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file for the key");
    (certificate, key)
}

impl Bench {
    fn case(
        &self,
        group: &mut BenchmarkGroup<'_, WallTime>,
        sheet: &mut Sheet,
        counter: &Counter,
        case: &Case,
    ) {
        let (name, (_, size)) = (case.name(), case.file);
        group.throughput(Throughput::Bytes(size));
        let costs = measure(group, &name, || self.fetch(case).expect("a download that ends well"));
        if !costs.is_empty() {
            sheet.add(&name, size, &costs, counter.count(&self.arguments(case)));
        }
    }

    /// Downloads into a file that is not there yet, by a client of its own: with fresh connections.
    fn fetch(&self, case: &Case) -> ringpull::Result<Cost> {
        // There may be none.
        let _ = std::fs::remove_file(&self.copy);
        let mut done = None;
        let cost = Cost::of(|| done = Some(self.download(case)));
        let outcome = done.expect("it has just run")?;
        assert_eq!(outcome.io, case.io.0, "another backend");
        Ok(cost)
    }

    fn download(&self, case: &Case) -> ringpull::Result<ringpull::Outcome> {
        let served = if case.tls { &self.tls } else { &self.plain };
        let url = served.url(case.file.0).parse().expect("the server's own URL");
        let mut options = Options::default();
        if let Some(certificate) = served.certificate() {
            options.client = Client::builder().root_certificates(certificate.to_owned()).build()?;
        }
        options.connections = Connections::exactly(case.connections);
        (options.io, options.write) = (case.io.1, case.write.1);
        ringpull::engine::start(url, Target::File(self.copy.clone()), &options).wait_blocking()
    }

    /// The same download as a command line.
    fn arguments(&self, case: &Case) -> Vec<String> {
        let served = if case.tls { &self.tls } else { &self.plain };
        let copy = self.copy.display().to_string();
        let connections = case.connections.to_string();
        let mut arguments: Vec<_> = ["--quiet", "--overwrite", "--output", &copy].into();
        arguments.extend(["--io", case.io.0, "--write", case.write.0]);
        arguments.extend(["--connections", &connections]);
        let certificate = served.certificate().map(|path| path.display().to_string());
        arguments.extend(certificate.iter().flat_map(|path| ["--cacert", path]));
        let url = served.url(case.file.0);
        arguments.push(&url);
        arguments.into_iter().map(str::to_owned).collect()
    }
}
