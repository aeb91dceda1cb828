//! What the rules cost on the way of a byte: per answer, per lease and per block.
//!
//! `cargo bench` measures; `cargo test --benches` runs each once, in its small setting.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ringpull::units;

fn shown_numbers(criterion: &mut Criterion) {
    criterion.bench_function("a size is read and shown", |bencher| {
        bencher.iter(|| units::show_size(units::parse_size(black_box("1.5G")).unwrap_or(0)));
    });
    criterion.bench_function("a rate is shown", |bencher| {
        bencher.iter(|| units::show_rate(units::rate(black_box(1 << 30), Duration::from_secs(1))));
    });
}

criterion_group!(benches, shown_numbers);
criterion_main!(benches);
