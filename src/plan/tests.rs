//! The plan against a model: a set of free blocks, a set of leases, a set of landed blocks.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Wants a whole free run.
const ALL: Want = Want { lanes: 1, at_least: u32::MAX, at_most: u32::MAX, below: u32::MAX };

/// Beyond this a lease is late.
const LIMIT: Duration = Duration::from_secs(10);
const PATIENCE: Patience = Patience { limit: LIMIT, own: Duration::ZERO };

#[derive(Clone, Debug)]
enum Op {
    Lease(Want),
    /// The lane goes on to its next block.
    Claim {
        lease: usize,
    },
    /// The lane has all of its block.
    Win {
        lease: usize,
    },
    /// A block that was won is in the file.
    Land {
        lease: usize,
        block: usize,
    },
    GiveBack {
        lease: usize,
    },
    Recall {
        at_least: u32,
    },
    /// Some seconds pass, and an idle lane looks for what is late.
    Late {
        seconds: u64,
    },
}

fn wants() -> impl Strategy<Value = Want> {
    (0..9u32, 0..9u32, 0..40u32, prop_oneof![Just(u32::MAX), 0..200u32])
        .prop_map(|(lanes, at_least, at_most, below)| Want { lanes, at_least, at_most, below })
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => wants().prop_map(Op::Lease),
        9 => any::<usize>().prop_map(|lease| Op::Claim { lease }),
        9 => any::<usize>().prop_map(|lease| Op::Win { lease }),
        9 => any::<(usize, usize)>().prop_map(|(lease, block)| Op::Land { lease, block }),
        1 => any::<usize>().prop_map(|lease| Op::GiveBack { lease }),
        2 => (0..6u32).prop_map(|at_least| Op::Recall { at_least }),
        6 => (0..12u64).prop_map(|seconds| Op::Late { seconds }),
    ]
}

/// The model: what a correct plan must look like.
struct Model {
    now: Instant,
    free: BTreeSet<u32>,
    landed: BTreeSet<u32>,
    leases: Vec<Held>,
}

/// What a lane has: blocks on their way to the disk, one in the making, some not begun.
struct Held {
    id: LeaseId,
    won: BTreeSet<u32>,
    making: Option<u32>,
    rest: BTreeSet<u32>,
    since: Instant,
}

impl Held {
    fn is_late(&self, now: Instant) -> bool {
        now - self.since >= LIMIT
    }

    fn is_done(&self) -> bool {
        self.won.is_empty() && self.making.is_none() && self.rest.is_empty()
    }
}

impl Model {
    fn new(plan: &Plan) -> Self {
        let free = (0..plan.blocks().unwrap()).collect();
        Self { now: Instant::now(), free, landed: BTreeSet::new(), leases: Vec::new() }
    }

    fn apply(&mut self, plan: &mut Plan, op: &Op) {
        match op {
            Op::Lease(want) => self.lease(plan, want),
            Op::Claim { lease } => self.claim(plan, *lease),
            Op::Win { lease } => self.win(plan, *lease),
            Op::Land { lease, block } => {
                let Some(held) = self.pick(*lease).map(|at| &mut self.leases[at]) else { return };
                let won: Vec<u32> = held.won.iter().copied().collect();
                let Some(block) = won.get(block % won.len().max(1)) else { return };
                plan.landed(held.id, *block);
                held.won.remove(block);
                assert!(self.landed.insert(*block), "block {block} landed twice");
            }
            Op::GiveBack { lease } => {
                let Some(at) = self.pick(*lease) else { return };
                let held = &mut self.leases[at];
                plan.give_back(held.id);
                plan.give_back(held.id);
                self.free.append(&mut held.rest);
                let made = held.making.take();
                self.free.extend(made.filter(|block| self.makers(*block) == 0));
            }
            Op::Recall { at_least } => self.recall(plan, *at_least),
            Op::Late { seconds } => {
                self.now += Duration::from_secs(*seconds);
                self.late(plan);
            }
        }
        self.leases.retain(|held| !held.is_done());
    }

    fn claim(&mut self, plan: &mut Plan, lease: usize) {
        let Some(held) = self.pick(lease).map(|at| &mut self.leases[at]) else { return };
        if held.making.is_none() {
            let Some(next) = held.rest.pop_first() else { return };
            held.making = Some(next);
        }
        assert!(plan.claim(held.id, held.making.unwrap()));
        plan.begun(held.id, self.now);
        held.since = self.now;
    }

    /// The first who has a block takes it from all others.
    fn win(&mut self, plan: &mut Plan, lease: usize) {
        let Some(at) = self.pick(lease) else { return };
        let Some(block) = self.leases[at].making.take() else { return };
        self.leases[at].won.insert(block);
        self.leases[at].since = self.now;
        let losers = self.makers(block);
        assert_eq!(plan.win(self.leases[at].id, block, self.now), u32::try_from(losers).ok());
        for held in self.leases.iter_mut().filter(|held| held.making == Some(block)) {
            assert!(held.rest.is_empty(), "a block was doubled before what follows was taken");
            held.making = None;
            assert!(!plan.holds(held.id, block) && !plan.claim(held.id, block));
            assert_eq!(plan.win(held.id, block, self.now), None, "a block was won twice");
        }
    }

    fn makers(&self, block: u32) -> usize {
        self.leases.iter().filter(|held| held.making == Some(block)).count()
    }

    /// What one lane loses another gets, and only of what is not begun.
    fn recall(&mut self, plan: &mut Plan, at_least: u32) {
        let Some(taken) = plan.recall(at_least) else { return };
        assert!(self.free.is_empty(), "recalled although something is free");
        assert!(taken.blocks.len() >= units::narrow(u64::from(at_least.max(1))));
        self.take_rest(plan, &taken);
    }

    fn take_rest(&mut self, plan: &mut Plan, taken: &Lease) {
        let last = taken.blocks.end - 1;
        let victim = self.leases.iter_mut().find(|held| held.rest.contains(&last));
        let victim = victim.expect("recalled from nobody");
        let blocks = victim.rest.split_off(&taken.blocks.start);
        assert_eq!(blocks, taken.blocks.clone().collect::<BTreeSet<_>>(), "a block was begun");
        assert!(!plan.claim(victim.id, taken.blocks.start), "the old lane may still begin it");
        self.hold(plan, taken);
    }

    /// Only from those who are late, and a second lane gets only what nobody can give up.
    fn late(&mut self, plan: &mut Plan) {
        let late = |held: &&Held| held.is_late(self.now);
        let Some(taken) = plan.take_late(&PATIENCE, self.now) else {
            let rests = self.leases.iter().filter(late).all(|held| held.rest.is_empty());
            assert!(rests, "what a late lane has not begun is left to it");
            for block in self.leases.iter().filter(late).filter_map(|held| held.making) {
                let all = self
                    .leases
                    .iter()
                    .filter(|held| held.making == Some(block))
                    .all(|held| late(&held));
                assert!(!all || self.makers(block) >= 3, "block {block} is left to the late");
            }
            return;
        };
        if !taken.twin {
            let victim = self.leases.iter().find(|held| held.rest.contains(&taken.blocks.start));
            assert!(victim.as_ref().is_some_and(late));
            return self.take_rest(plan, &taken);
        }
        assert_eq!(taken.blocks.len(), 1);
        let mut makers = self.leases.iter().filter(|held| held.making == Some(taken.blocks.start));
        assert!(makers.all(|held| held.is_late(self.now)));
        assert!((1..3).contains(&self.makers(taken.blocks.start)));
        self.hold(plan, &taken);
    }

    fn hold(&mut self, plan: &mut Plan, lease: &Lease) {
        plan.begun(lease.id, self.now);
        let mut rest: BTreeSet<u32> = lease.blocks.clone().collect();
        let (making, won) = (rest.pop_first(), BTreeSet::new());
        self.leases.push(Held { id: lease.id, won, making, rest, since: self.now });
    }

    fn lease(&mut self, plan: &mut Plan, want: &Want) {
        let lowest = self.free.first().copied().filter(|lowest| *lowest < want.below);
        let Some(lease) = plan.lease(want) else {
            assert_eq!(lowest, None, "a free block was not leased");
            return;
        };
        assert_eq!(Some(lease.blocks.start), lowest, "not the lowest run");
        assert!(!lease.blocks.is_empty() && lease.blocks.end <= want.below);
        assert!(lease.blocks.len() <= units::narrow(u64::from(want.at_most.max(1))));
        for block in lease.blocks.clone() {
            assert!(self.free.remove(&block), "block {block} was leased or landed already");
        }
        assert!(!lease.twin);
        self.hold(plan, &lease);
    }

    fn pick(&self, number: usize) -> Option<usize> {
        (!self.leases.is_empty()).then(|| number % self.leases.len())
    }

    fn agrees(&self, plan: &Plan) {
        let prefix = (0..).find(|block| !self.landed.contains(block)).unwrap();
        let bytes: u64 = self.landed.iter().map(|block| length(plan, *block)).sum();
        assert_eq!(plan.free_blocks(), u32::try_from(self.free.len()).unwrap());
        assert_eq!(plan.is_idle(), self.leases.is_empty());
        assert_eq!(plan.landed_prefix(), prefix);
        assert_eq!(plan.landed_bytes(), bytes);
        assert_eq!(plan.is_complete(), plan.blocks() == u32::try_from(self.landed.len()).ok());
    }
}

fn length(plan: &Plan, index: u32) -> u64 {
    let extent = plan.extent(index);
    extent.end - extent.start
}

/// Lands whatever is left, lease by lease.
fn finish(plan: &mut Plan) {
    while let Some(lease) = plan.lease(&ALL) {
        for block in lease.blocks {
            land(plan, lease.id, block);
        }
    }
}

/// A block from its first byte to the disk.
fn land(plan: &mut Plan, lease: LeaseId, block: u32) {
    assert!(plan.claim(lease, block));
    assert_eq!(plan.win(lease, block, Instant::now()), Some(0));
    plan.landed(lease, block);
}

proptest! {
    #[test]
    fn no_block_is_lost_or_leased_twice_and_all_land(
        size in 0..2000u64, block_size in 1..40u64, ops in prop::collection::vec(ops(), 0..300)
    ) {
        let mut plan = Plan::new(Some(size), block_size).unwrap();
        let mut model = Model::new(&plan);
        for op in &ops {
            model.apply(&mut plan, op);
            model.agrees(&plan);
        }
        for held in model.leases.drain(..) {
            plan.give_back(held.id);
            held.won.iter().for_each(|block| plan.landed(held.id, *block));
        }
        finish(&mut plan);
        prop_assert!(plan.is_complete() && plan.is_idle());
        prop_assert_eq!(plan.landed_bytes(), size);
    }

    #[test]
    fn extents_tile_the_file(size in 0..100_000u64, block_size in 16..5000u64) {
        let plan = Plan::new(Some(size), block_size).unwrap();
        let mut offset = 0;
        for index in 0..plan.blocks().unwrap() {
            let extent = plan.extent(index);
            prop_assert_eq!(extent.start, offset);
            prop_assert!(extent.start < extent.end && extent.end - extent.start <= block_size);
            offset = extent.end;
        }
        prop_assert_eq!(offset, size);
    }

    #[test]
    fn a_stream_of_any_length_ends_complete(
        size in 0..2000u64, block_size in 1..40u64, landed_first in any::<bool>(), broken in 0..60u32
    ) {
        let mut plan = Plan::new(None, block_size).unwrap();
        let mut lease = plan.lease(&ALL).unwrap();
        prop_assert_eq!(&lease.blocks, &(0..u32::MAX));
        prop_assert_eq!(plan.lease(&ALL), None);
        let blocks = u32::try_from(size.div_ceil(block_size)).unwrap();
        for index in 0..blocks {
            if index == broken {
                plan.give_back(lease.id);
                lease = plan.lease(&ALL).unwrap();
                prop_assert_eq!(&lease.blocks, &(index..u32::MAX));
            }
            if index + 1 == blocks && !landed_first {
                plan.ended(size);
            }
            land(&mut plan, lease.id, index);
        }
        prop_assert!(!plan.is_complete() || !landed_first);
        plan.ended(size);
        prop_assert!(plan.is_complete() && plan.is_idle());
        prop_assert_eq!((plan.landed_bytes(), plan.free_blocks()), (size, 0));
        prop_assert_eq!(plan.landed_prefix(), blocks);
    }
}

#[test]
fn leases_shrink_towards_the_end() {
    let mut plan = Plan::new(Some(1000), 1).unwrap();
    let want = Want { lanes: 5, at_least: 8, at_most: 64, below: u32::MAX };
    let mut lengths = Vec::new();
    while let Some(lease) = plan.lease(&want) {
        lengths.push(lease.blocks.len());
    }
    assert_eq!(lengths[0], 64);
    assert!(lengths.is_sorted_by(|a, b| a >= b), "{lengths:?}");
    assert!(lengths.contains(&50) && lengths.last() == Some(&8), "{lengths:?}");
}

#[test]
fn an_empty_file_is_complete_at_once() {
    let mut plan = Plan::new(Some(0), 1 << 20).unwrap();
    assert!(plan.is_complete() && plan.is_idle());
    assert_eq!(plan.blocks(), Some(0));
    assert_eq!(plan.lease(&ALL), None);
}

#[test]
fn a_stream_that_ends_without_a_byte_is_complete() {
    let mut plan = Plan::new(None, 1 << 20).unwrap();
    let lease = plan.lease(&ALL).unwrap();
    assert!(!plan.is_complete());
    plan.ended(0);
    assert!(plan.is_complete() && plan.is_idle());
    plan.give_back(lease.id);
}

#[test]
fn a_stream_that_ends_while_nobody_has_the_lease_leaves_its_rest_free() {
    let mut plan = Plan::new(None, 10).unwrap();
    let lease = plan.lease(&ALL).unwrap();
    land(&mut plan, lease.id, 0);
    plan.give_back(lease.id);
    plan.ended(35);
    assert_eq!(plan.free_blocks(), 3);
    assert_eq!(plan.lease(&ALL).unwrap().blocks, 1..4);
}

#[test]
fn more_blocks_than_can_be_tracked_is_wrong_usage() {
    let most = u64::from(limits::BLOCKS_MAX) * 4096;
    let error = Plan::new(Some(most + 1), 4096).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.to_string().contains("--block-size"), "{error}");
    assert!(Plan::new(Some(u64::MAX), 1).is_err());
}

#[test]
#[should_panic(expected = "landed twice")]
fn a_block_cannot_land_twice() {
    let mut plan = Plan::new(Some(3), 1).unwrap();
    let lease = plan.lease(&ALL).unwrap();
    land(&mut plan, lease.id, 1);
    plan.landed(lease.id, 1);
}

#[test]
#[should_panic(expected = "landed outside")]
fn a_recalled_block_cannot_land() {
    let mut plan = Plan::new(Some(3), 1).unwrap();
    let lease = plan.lease(&ALL).unwrap();
    plan.shrink(lease.id, 1);
    plan.landed(lease.id, 1);
}
