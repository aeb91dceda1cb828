//! Plans that begin with bytes in the file, and streams that end while they are leased, against sets of bytes
//! and blocks.

use std::collections::BTreeSet;
use std::time::Instant;

use proptest::prelude::*;

use super::*;

const ALL: Want = Want { lanes: 1, at_least: u32::MAX, at_most: u32::MAX, below: u32::MAX };

/// Ranges that neither touch nor overlap, and the set of their bytes.
fn landed_bytes() -> impl Strategy<Value = (Vec<Range<u64>>, BTreeSet<u64>)> {
    prop::collection::vec((1..30u64, 1..60u64), 0..12).prop_map(|gaps| {
        let (mut at, mut ranges, mut bytes) = (0, Vec::new(), BTreeSet::new());
        for (gap, length) in gaps {
            // The first may begin with the file.
            let start = at + if ranges.is_empty() { gap - 1 } else { gap };
            at = start + length;
            bytes.extend(start..at);
            ranges.push(start..at);
        }
        (ranges, bytes)
    })
}

proptest! {
    #[test]
    fn a_resumed_plan_asks_for_every_block_that_is_not_whole(
        size in 0..500u64, block_size in 1..40u64, (ranges, bytes) in landed_bytes()
    ) {
        let ranges = ranges.into_iter().map(|range| range.start.min(size)..range.end.min(size));
        let ranges = ranges.filter(|range| !range.is_empty());
        let mut plan = Plan::resumed(size, block_size, ranges).unwrap();
        let blocks = plan.blocks().unwrap();
        let whole = |index: u32| plan.extent(index).all(|byte| bytes.contains(&byte));
        let missing: BTreeSet<u32> = (0..blocks).filter(|index| !whole(*index)).collect();
        let there: u64 = (0..blocks).filter(|index| whole(*index))
            .map(|index| plan.extent(index).end - plan.extent(index).start).sum();
        prop_assert_eq!(plan.landed_bytes(), there);
        prop_assert_eq!(plan.free_blocks(), u32::try_from(missing.len()).unwrap());
        prop_assert_eq!(plan.landed_prefix(), missing.first().copied().unwrap_or(blocks));
        prop_assert_eq!(plan.is_complete(), missing.is_empty());
        let first = plan.first_free().map(|range| range.start);
        prop_assert_eq!(first, missing.first().map(|index| plan.extent(*index).start));
        let mut asked = BTreeSet::new();
        while let Some(lease) = plan.lease(&ALL) {
            for index in lease.blocks {
                prop_assert!(asked.insert(index), "block {} is asked for twice", index);
                land(&mut plan, lease.id, index);
            }
        }
        prop_assert_eq!(asked, missing);
        prop_assert!(plan.is_complete() && plan.is_idle());
        prop_assert_eq!(plan.landed_bytes(), size);
    }

    #[test]
    fn a_stream_may_end_whatever_is_leased_or_given_back(
        size in 0..600u64,
        block_size in 1..40u64,
        stop in 0..700u32,
        breaks in prop::collection::vec(any::<bool>(), 1..20),
        given_back: bool,
    ) {
        let mut plan = Plan::new(None, block_size).unwrap();
        let mut lease = plan.lease(&ALL).unwrap();
        let blocks = u32::try_from(size.div_ceil(block_size)).unwrap();
        for index in 0..blocks.min(stop) {
            let at = units::narrow(u64::from(index));
            if breaks[at % breaks.len()] {
                plan.give_back(lease.id);
                lease = plan.lease(&ALL).unwrap();
                prop_assert_eq!(lease.blocks.start, index, "what has landed is not leased again");
            }
            land(&mut plan, lease.id, index);
        }
        if given_back {
            plan.give_back(lease.id);
        }
        plan.ended(size);
        plan.ended(size);
        prop_assert_eq!(plan.blocks(), Some(blocks));
        prop_assert_eq!(plan.is_complete(), stop >= blocks);
        let out: Vec<_> = plan.leases.keys().copied().collect();
        out.into_iter().for_each(|id| plan.give_back(id));
        while let Some(lease) = plan.lease(&ALL) {
            for index in lease.blocks {
                land(&mut plan, lease.id, index);
            }
        }
        prop_assert!(plan.is_complete() && plan.is_idle());
        prop_assert_eq!(plan.landed_bytes(), size);
    }
}

/// A block from its first byte to the disk; panics if it has landed before.
fn land(plan: &mut Plan, lease: LeaseId, block: u32) {
    assert!(plan.claim(lease, block));
    assert_eq!(plan.win(lease, block, Instant::now()), Some(0));
    plan.landed(lease, block);
}
