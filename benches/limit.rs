//! How fast this machine could download: the loops that any download contains, written directly on io_uring,
//! and how far from the last of them ringpull is.
//!
//! `cargo bench --bench limit` moves 2 GiB from a `ringpull serve` of its own in four ways, each with one
//! thread and with two, over four connections with up to four blocks of 1 MiB in flight each. At the end
//! ringpull and the bare loop take turns with a durable download, and the last lines say what ringpull takes
//! in addition: at most 1.1 times the time and 1.2 times the CPU is the aim. As a test (`cargo test --bench
//! limit`) each way moves a few MiB once. What was written is always compared with what was served.
//!
//! The bare loop checks nothing: it is what ringpull is compared with, and no way to download.

#![expect(clippy::print_stdout, reason = "it is a program, and its output is the result")]

#[path = "limit/bare.rs"]
mod bare;
#[expect(dead_code, reason = "shared with the other bench")]
#[path = "common/mod.rs"]
mod common;
#[path = "limit/ring.rs"]
mod ring;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput};
use ringpull::{Connections, Options, Target, Write};

use bare::{CONNECTIONS, Job, Way};
use common::{Cost, Served, Sheet, is_full, measure, median, same_bytes};

/// Pairs of durable downloads that are compared.
const PAIRS: usize = 9;
const WAYS: [(&str, Way); 4] = [
    ("receive, discard by MSG_TRUNC", Way::Trunc),
    ("receive, discard a copy", Way::Copy),
    ("receive, write buffered, sync", Way::Buffered),
    ("receive, write O_DIRECT, sync", Way::Direct),
];

/// What is served, and where copies go.
struct Bench {
    served: Served,
    source: PathBuf,
    copy: PathBuf,
    size: u64,
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    if let Err(refusal) = io_uring::IoUring::new(8) {
        println!("limit: there is no io_uring here: {refusal}");
        return;
    }
    // Below `target`: the temporary directory is often no disk.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch directory");
    let (source, copy) = (dir.path().join("f"), dir.path().join("copy"));
    let size = if is_full() { 2 << 30 } else { 16 << 20 };
    Served::make(&source, size);
    let bench = Bench { served: Served::start(dir.path(), None), source, copy, size };
    loops(&mut criterion, &bench);
    if bench.has(Way::Direct) {
        compare(&bench);
    }
    criterion.final_summary();
}

/// All ways, with one thread and with two.
fn loops(criterion: &mut Criterion, bench: &Bench) {
    let mut sheet = Sheet::default();
    let mut group = criterion.benchmark_group("limit");
    group.throughput(Throughput::Bytes(bench.size)).sampling_mode(SamplingMode::Flat);
    group.sample_size(10).warm_up_time(Duration::from_millis(1));
    for (name, way) in WAYS {
        if !bench.has(way) {
            println!("limit: {name}: not on this file system");
            continue;
        }
        // Ten runs, more where they are short.
        group.measurement_time(Duration::from_secs(if way.writes() { 10 } else { 4 }));
        for threads in [1, 2] {
            let name = format!("{name}, {threads} thr");
            let costs = measure(&mut group, &name, || bench.bare(way, threads));
            sheet.add(&name, bench.size, &costs, None);
            bench.check();
        }
    }
    group.finish();
    if is_full() {
        println!("{sheet}");
    }
}

/// Durable downloads by the bare loop and by ringpull, in turns.
fn compare(bench: &Bench) {
    // ringpull takes a thread for each core, too.
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(2));
    let pairs: Vec<(Cost, Cost)> = (0..if is_full() { PAIRS } else { 1 })
        .map(|_| {
            let bare = bench.bare(Way::Direct, threads);
            bench.check();
            let ours = bench.ringpull();
            bench.check();
            (bare, ours)
        })
        .collect();
    if !is_full() {
        return;
    }
    let wall = |cost: &Cost| cost.wall.as_secs_f64();
    let cpu = |cost: &Cost| cost.cpu.as_secs_f64();
    say("wall", &pairs, wall, 1.1);
    say("CPU", &pairs, cpu, 1.2);
}

fn say(what: &str, pairs: &[(Cost, Cost)], seconds: impl Fn(&Cost) -> f64, aim: f64) {
    let ratios = || pairs.iter().map(|(bare, ours)| seconds(ours) / seconds(bare));
    let (least, most) = (ratios().fold(f64::MAX, f64::min), ratios().fold(0.0, f64::max));
    println!(
        "durable, {what}: ringpull / bare loop x{:.3} ({least:.3} to {most:.3}), aim x{aim}; \
         medians {:.3} s and {:.3} s",
        median(ratios()),
        median(pairs.iter().map(|(_, ours)| seconds(ours))),
        median(pairs.iter().map(|(bare, _)| seconds(bare))),
    );
}

impl Bench {
    /// Whether the file system can do it.
    fn has(&self, way: Way) -> bool {
        if way != Way::Direct {
            return true;
        }
        let direct = rustix::fs::OFlags::DIRECT | rustix::fs::OFlags::RDONLY;
        rustix::fs::open(&self.source, direct, rustix::fs::Mode::empty()).is_ok()
    }

    fn bare(&self, way: Way, threads: usize) -> Cost {
        self.clear();
        let (server, size, target) = (self.served.address(), self.size, self.copy.as_path());
        let job = Job { server, size, way, threads, target };
        Cost::of(|| bare::run(&job).expect("a loop that ends well"))
    }

    /// ringpull as it comes, but for as many connections as the bare loop has, and O_DIRECT.
    fn ringpull(&self) -> Cost {
        self.clear();
        let url: url::Url = self.served.url("f").parse().expect("the server's own URL");
        Cost::of(|| {
            let mut options = Options::default();
            let connections = u16::try_from(CONNECTIONS).expect("a few connections");
            options.connections = Connections::exactly(connections);
            options.write = Write::Direct;
            let target = Target::File(self.copy.clone());
            let outcome = ringpull::engine::start(url, target, &options).wait_blocking();
            assert!(outcome.expect("a download that ends well").durable);
        })
    }

    /// Removes the last copy, and lets the disk come to rest.
    fn clear(&self) {
        // There may be none.
        let _ = std::fs::remove_file(&self.copy);
        let dir = self.copy.parent().unwrap_or(Path::new("/"));
        let dir = File::open(dir).expect("the scratch directory");
        rustix::fs::syncfs(&dir).expect("a disk that syncs");
    }

    /// Fails if there is a copy and it differs from what was served.
    fn check(&self) {
        if self.copy.exists() {
            assert!(same_bytes(&self.source, &self.copy).expect("two files"), "the copy differs");
        }
    }
}
