//! What comes from each host of a mirror, for the line and the events that tell of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::error::Escaped;
use crate::units::{rate, show_rate, whole_f64};

/// Hosts, with what came from them and how fast it comes.
#[derive(Debug, Default)]
pub(super) struct Hosts(BTreeMap<String, (u64, f64)>);

/// What came from one host, as events have it.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct HostNumbers {
    bytes: u64,
    bytes_per_second: u64,
}

impl Hosts {
    /// Takes note of the bytes so far, some time after the last look.
    pub(super) fn sample(&mut self, bytes: BTreeMap<String, u64>, since: Duration) {
        for (host, bytes) in bytes {
            let (before, per_second) = self.0.entry(host).or_default();
            *per_second = rate(bytes.saturating_sub(*before), since);
            *before = bytes;
        }
    }

    /// `a.org 3.1 MiB/s` of those that bring the most, where there is more than one.
    pub(super) fn fastest(&self) -> impl Iterator<Item = String> {
        let mut all: Vec<_> = self.0.iter().map(|(host, (_, rate))| (host, *rate)).collect();
        all.retain(|(_, rate)| *rate > 0.0 && self.0.len() > 1);
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all.truncate(SHOWN);
        let show = |(host, rate): (&String, f64)| format!("{} {}", Escaped(host), show_rate(rate));
        all.into_iter().map(show).collect::<Vec<_>>().into_iter()
    }

    pub(super) fn numbers(&self) -> BTreeMap<String, HostNumbers> {
        let numbers = |(host, (bytes, rate)): (&String, &(u64, f64))| {
            let bytes_per_second = whole_f64(*rate).unwrap_or(0);
            (host.clone(), HostNumbers { bytes: *bytes, bytes_per_second })
        };
        self.0.iter().map(numbers).collect()
    }
}

/// Hosts that fit a line.
const SHOWN: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_are_shown_where_there_are_several() {
        let mut hosts = Hosts::default();
        let bytes = |bytes: [u64; 5]| {
            ["a", "b", "c", "d", "e"].map(str::to_owned).into_iter().zip(bytes).collect()
        };
        hosts.sample(BTreeMap::from([("a".to_owned(), 5)]), Duration::from_secs(1));
        assert_eq!(hosts.fastest().count(), 0, "one host is the whole");
        hosts.sample(bytes([1029, 3 << 20, 10 << 10, 7, 0]), Duration::from_secs(2));
        let shown: Vec<_> = hosts.fastest().collect();
        assert_eq!(shown, ["b 1.50 MiB/s", "c 5.00 KiB/s", "a 512 B/s"]);
        let a = &hosts.numbers()["a"];
        assert_eq!(*a, HostNumbers { bytes: 1029, bytes_per_second: 512 });
        hosts.sample(bytes([1029, 3 << 20, 10 << 10, 7, 1]), Duration::from_secs(1));
        assert_eq!(hosts.fastest().collect::<Vec<_>>(), ["e 1 B/s"], "who is idle is not shown");
    }
}
