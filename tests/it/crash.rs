//! Crash loops: the program dies at any moment, over and over, until the file is complete. A loop always
//! ends, with the right bytes and nothing beside them, and no run fetches again what an earlier one wrote
//! down.
//!
//! These are the slow tests; `--skip crash::` leaves them out. `RINGPULL_CYCLES` and `RINGPULL_POWER_CUTS`
//! say how often to die, `RINGPULL_SEED` where to begin: a seed that failed comes first then.

mod kill;
mod left;
mod points;
mod power;

pub(crate) use left::Left;

/// A number from the environment.
pub(crate) fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

/// Tells the seed if the test fails.
struct Told {
    seed: u64,
    what: &'static str,
}

impl Drop for Told {
    #[expect(clippy::print_stderr, reason = "a seed is told")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to see it again: RINGPULL_SEED={} {}", self.seed, self.what);
        }
    }
}
