//! What cases cost, beside the time that criterion reports.
//!
//! CPU time is that of this process, read before and after: all its threads, those that the kernel runs for
//! its rings included. The server is a process of its own.

use std::time::{Duration, Instant};

use criterion::BenchmarkGroup;
use criterion::measurement::WallTime;
use rustix::time::{ClockId, clock_gettime};

/// What one run has cost.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

impl Cost {
    /// Runs it.
    pub(crate) fn of(run: impl FnOnce()) -> Self {
        let (began, cpu) = (Instant::now(), cpu());
        run();
        Self { wall: began.elapsed(), cpu: self::cpu().saturating_sub(cpu) }
    }
}

/// CPU time of this process so far.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Has criterion time a case, and returns what each run has cost; nothing if criterion leaves it out.
pub(crate) fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    mut run: impl FnMut() -> Cost,
) -> Vec<Cost> {
    let mut costs = Vec::new();
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            let before = costs.len();
            costs.extend((0..times).map(|_| run()));
            costs[before..].iter().map(|cost| cost.wall).sum()
        });
    });
    costs
}

/// The middle one.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A table of cases; the columns of system calls are there if any of them were counted.
#[derive(Default)]
pub(crate) struct Sheet(Vec<Row>);

struct Row {
    name: String,
    bytes: f64,
    /// Medians, in seconds.
    wall: f64,
    cpu: f64,
    calls: Option<u64>,
}

impl Sheet {
    /// Adds a case: what `bytes` have cost. `calls` are the system calls of one run, if known.
    pub(crate) fn add(&mut self, name: &str, bytes: u64, costs: &[Cost], calls: Option<u64>) {
        if costs.is_empty() {
            return;
        }
        let wall = median(costs.iter().map(|cost| cost.wall.as_secs_f64()));
        let cpu = median(costs.iter().map(|cost| cost.cpu.as_secs_f64()));
        self.0.push(Row { name: name.to_owned(), bytes: bytes as f64, wall, cpu, calls });
    }
}

impl std::fmt::Display for Sheet {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [wall, rate, cpu, share] = ["wall ms", "GB/s", "CPU ms", "CPU s/GB"];
        write!(out, "{:<36} {wall:>9} {rate:>7} {cpu:>8} {share:>9}", "medians of")?;
        if self.0.iter().any(|row| row.calls.is_some()) {
            write!(out, " {:>8} {:>11}", "syscalls", "syscalls/GB")?;
        }
        writeln!(out)?;
        for Row { name, bytes, wall, cpu, calls } in &self.0 {
            let gigabytes = bytes / 1e9;
            let (rate, share) = (gigabytes / wall, cpu / gigabytes);
            let (wall, cpu) = (wall * 1e3, cpu * 1e3);
            write!(out, "{name:<36} {wall:>9.2} {rate:>7.3} {cpu:>8.2} {share:>9.3}")?;
            if let Some(calls) = calls {
                write!(out, " {calls:>8} {:>11.0}", *calls as f64 / gigabytes)?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}
