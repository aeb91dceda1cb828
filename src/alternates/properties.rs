//! The choice of addresses against arbitrary answers and failures.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Event {
    Answered(usize),
    GivenUp(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = (any::<bool>(), 0..5usize).prop_map(|(answered, address)| match answered {
        true => Event::Answered(address),
        false => Event::GivenUp(address),
    });
    prop::collection::vec(event, 0..20)
}

proptest! {
    #[test]
    fn there_is_always_an_address_and_never_one_given_up(
        count in 0..5usize, combine: bool, events in events(), lane in 0..20usize
    ) {
        let mut all = Alternates::new(count, combine);
        let mut gone = Vec::new();
        let mut pinned = None;
        for event in events {
            match event {
                // Only who was asked answers.
                Event::Answered(address) => {
                    let Some(address) = all.choose(address) else { continue };
                    all.answered(address);
                    pinned = pinned.or((!combine).then_some(address));
                }
                Event::GivenUp(address) => {
                    let address = address % count.max(1);
                    if all.give_up(address) {
                        gone.push(address);
                    }
                }
            }
            let chosen = all.choose(lane);
            prop_assert!(chosen.is_some_and(|at| at < count.max(1) && !gone.contains(&at)));
            prop_assert!(pinned.is_none() || chosen == pinned, "bytes of two origins would mix");
        }
    }

    #[test]
    fn without_a_digest_all_lanes_use_one_address(count in 1..5usize, gone in 0..5usize, lanes: [usize; 4]) {
        let mut all = Alternates::new(count, false);
        all.give_up(gone % count);
        let chosen = lanes.map(|lane| all.choose(lane));
        prop_assert!(chosen.iter().all(|address| *address == chosen[0]));
    }
}
