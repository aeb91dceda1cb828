//! The seeds of the targets, and whatever a target once found, as ordinary tests; and some chance besides.

use std::path::Path;

use proptest::prelude::*;

type Target = fn(&[u8]);

/// Every target by the name of its folder and of its binary.
const TARGETS: [(&str, Target); 13] = [
    ("addresses", super::addresses),
    ("chunked", super::chunked),
    ("content_range", super::content_range),
    ("disposition", super::disposition),
    ("gate", super::gate),
    ("head", super::head),
    ("ledger", super::ledger),
    ("location", super::location),
    ("range", super::range),
    ("request", super::request),
    ("retry_after", super::retry_after),
    ("values", super::values),
    ("version", super::version),
];

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(name)
}

#[test]
fn every_seed_keeps_every_promise() {
    for (name, target) in TARGETS {
        let seeds = std::fs::read_dir(folder("corpus").join(name)).unwrap();
        let mut count = 0;
        for seed in seeds.map(|entry| entry.unwrap().path()) {
            let bytes = std::fs::read(&seed).unwrap();
            let kept = std::panic::catch_unwind(|| target(&bytes));
            assert!(kept.is_ok(), "{}", seed.display());
            count += 1;
        }
        assert!(count > 0, "{name} has no seeds");
    }
}

#[test]
fn every_target_is_listed_everywhere() {
    let manifest = std::fs::read_to_string(folder("Cargo.toml")).unwrap();
    let listed = manifest.lines().filter(|line| *line == "[[bin]]").count();
    assert_eq!(listed, TARGETS.len());
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name}");
        let text = std::fs::read_to_string(folder("targets").join(format!("{name}.rs"))).unwrap();
        assert!(text.contains(&format!("ringpull::fuzzing::{name}(bytes)")), "{name}");
    }
}

/// A seed of a target, changed here and there.
fn mutants() -> impl Strategy<Value = (usize, Vec<u8>)> {
    let seeds: Vec<(usize, Vec<u8>)> = TARGETS
        .iter()
        .enumerate()
        .flat_map(|(at, (name, _))| {
            let seeds = std::fs::read_dir(folder("corpus").join(name)).unwrap();
            seeds.map(move |seed| (at, std::fs::read(seed.unwrap().path()).unwrap()))
        })
        .collect();
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 0..6);
    (prop::sample::select(seeds), changes).prop_map(|((at, mut seed), changes)| {
        for (place, byte, change) in changes {
            let place = place.index(seed.len() + 1);
            match change {
                0 => seed.insert(place, byte),
                1 if place < seed.len() => seed[place] = byte,
                2 if place < seed.len() => _ = seed.remove(place),
                _ => seed.truncate(place),
            }
        }
        (at, seed)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_seed_that_is_changed_a_little_keeps_every_promise((at, bytes) in mutants()) {
        TARGETS[at].1(&bytes);
    }
}
