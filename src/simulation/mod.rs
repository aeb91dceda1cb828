//! Whole downloads in worlds of their own, thousands of them: the real plan, gate, retry, pace and ledger
//! between a server, a disk and a clock that follow a seed.
//!
//! Not here: sockets, threads, waiting. Lanes are stepped one at a time in any order, and a life may end
//! after any step. The checks: a complete file is one version of the server's, whole and durable; what the
//! ledger claims is there; a calm world ends well, with no byte fetched twice.
//!
//! `RINGPULL_SEED=number` plays one world and tells all of it; `RINGPULL_SEEDS=number` plays so many.

mod content;
mod disk;
mod lane;
mod life;
mod open;
mod receive;
mod server;
mod sync;
mod table;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use self::world::{Story, World};

/// Worlds of an ordinary run.
const SEEDS: u64 = 10_000;
/// Threads that play.
const PLAYERS: usize = 4;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("proof: whoever sets it means a number"))
}

#[expect(clippy::print_stderr, reason = "who replays a world wants to hear of it")]
fn tell(text: &str) {
    eprintln!("{text}");
}

/// Plays a world; its story if the promise was kept.
fn play(seed: u64, dir: &Path) -> Option<Story> {
    let play = |traced| {
        let mut world = World::new(seed, dir, traced);
        let story = catch_unwind(AssertUnwindSafe(|| world.play())).ok();
        if traced {
            tell(&format!("{}\nseed {seed}: {story:?}", world.trace()));
        }
        story
    };
    match number("RINGPULL_SEED") {
        Some(_) => play(true),
        None => play(false).or_else(|| play(true)),
    }
}

#[test]
fn whatever_happens_the_file_is_whole_or_not_there() {
    let one = number("RINGPULL_SEED");
    let seeds = one.map_or(0..number("RINGPULL_SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    let next = AtomicU64::new(seeds.start);
    let players = if one.is_some() { 1 } else { PLAYERS };
    let sums = [(); 5].map(|()| AtomicU64::new(0));
    let broken = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..players {
            scope.spawn(|| {
                let dir = tempfile::tempdir().unwrap();
                while broken.load(Relaxed) == 0 {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let Some(story) = play(seed, dir.path()) else {
                        broken.fetch_add(1, Relaxed);
                        break;
                    };
                    let Story { lives, crashes, failures, resumed, doubled } = story;
                    for (sum, count) in
                        sums.iter().zip([lives, crashes, failures, resumed, doubled])
                    {
                        sum.fetch_add(u64::from(count), Relaxed);
                    }
                }
            });
        }
    });
    let [lives, crashes, failures, resumed, doubled] = sums.map(AtomicU64::into_inner);
    tell(&format!(
        "{} worlds, {lives} lives: {crashes} crashes, {failures} clean failures, {resumed} went on from \
         what was left; {doubled} blocks were asked for twice",
        seeds.end - seeds.start
    ));
    assert_eq!(broken.into_inner(), 0, "replay it with RINGPULL_SEED=, and its trace");
    assert!(
        one.is_some() || [crashes, failures, resumed, doubled].iter().all(|count| *count > 0),
        "nothing happens here"
    );
}
