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

/// A table of cases.
#[derive(Default)]
pub(crate) struct Sheet(Vec<String>);

impl Sheet {
    /// Adds a case: medians of what `bytes` have cost. `calls` are the system calls of one run, if known.
    pub(crate) fn add(&mut self, name: &str, bytes: u64, costs: &[Cost], calls: Option<u64>) {
        if costs.is_empty() {
            return;
        }
        let wall = median(costs.iter().map(|cost| cost.wall.as_secs_f64()));
        let cpu = median(costs.iter().map(|cost| cost.cpu.as_secs_f64()));
        let gigabytes = bytes as f64 / 1e9;
        let calls = calls.map_or_else(
            || format!("{:>9} {:>12}", "", ""),
            |calls| format!("{calls:>9} {:>12.0}", calls as f64 / gigabytes),
        );
        self.0.push(format!(
            "{name:<36} {:>10.2} {:>8.2} {:>8.2} {:>10.3} {calls}",
            wall * 1e3,
            gigabytes / wall,
            cpu * 1e3,
            cpu / gigabytes
        ));
    }
}

impl std::fmt::Display for Sheet {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [case, wall, rate, cpu, share, calls, each] =
            ["medians of", "wall ms", "GB/s", "CPU ms", "CPU s/GB", "syscalls", "syscalls/GB"];
        writeln!(
            out,
            "{case:<36} {wall:>10} {rate:>8} {cpu:>8} {share:>10} {calls:>9} {each:>12}"
        )?;
        self.0.iter().try_for_each(|line| writeln!(out, "{}", line.trim_end()))
    }
}
