//! The bucket against arbitrary amounts and clocks that run backwards a little.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn what_is_given_back_is_as_if_never_taken(
        rate in 1..4_000_000_000u64, before in 0..=MIB, bytes in 0..=MIB, after in 0..=MIB
    ) {
        let start = Instant::now();
        let (mut one, mut other) = (Throttle::new(rate, start), Throttle::new(rate, start));
        one.take(before, start);
        other.take(before, start);
        one.take(bytes, start);
        one.give_back(bytes);
        prop_assert_eq!(one.take(after, start), other.take(after, start));
    }

    #[test]
    fn no_amount_at_no_rate_overflows(
        rate: u64, steps in prop::collection::vec((any::<u64>(), 0..1000u64, any::<bool>()), 0..20)
    ) {
        let start = Instant::now() + Duration::from_secs(9);
        let mut throttle = Throttle::new(rate, start);
        prop_assert!((SLICE_MIN..=SLICE_MAX).contains(&throttle.slice()));
        for (bytes, back_ms, gives) in steps {
            if gives {
                throttle.give_back(bytes);
            }
            // Threads that meet at a lock may come with an older clock.
            throttle.take(bytes, start - Duration::from_millis(back_ms));
        }
    }

    #[test]
    fn receive_buffers_suffice_for_a_long_round_trip_and_hold_little_more(
        rate in 1..4_000_000_000u64, connections in 1..300u16
    ) {
        let of_all = |time: u64| u128::from(rate) * u128::from(time) / 1000;
        if let Some(bytes) = Throttle::new(rate, Instant::now()).receive_buffer(connections) {
            let all = u128::from(bytes) * u128::from(connections);
            prop_assert!((RECEIVE_BUFFER_MIN..=RECEIVE_BUFFER_MAX).contains(&bytes));
            prop_assert!(all + u128::from(connections) >= of_all(125));
            prop_assert!(bytes == RECEIVE_BUFFER_MIN || all <= of_all(125));
        } else {
            let most = u128::from(RECEIVE_BUFFER_MAX) * u128::from(connections);
            prop_assert!(of_all(125) > most);
        }
    }

    #[test]
    fn whoever_would_have_to_wait_finds_the_rate_exhausted(
        rate in 1..4_000_000_000u64, bytes in 0..=MIB, idle_ms in 0..2000u64
    ) {
        let start = Instant::now();
        let mut throttle = Throttle::new(rate, start);
        prop_assert!(!throttle.is_exhausted(start));
        let wait = throttle.take(bytes, start);
        let now = start + Duration::from_millis(idle_ms);
        prop_assert_eq!(throttle.is_exhausted(now), now < start + wait);
        prop_assert_eq!(throttle.is_exhausted(now), throttle.take(0, now) > Duration::ZERO);
    }

    #[test]
    fn more_bytes_never_mean_less_waiting(rate in 1..4_000_000_000u64, bytes in 0..=MIB, more in 0..=MIB) {
        let start = Instant::now();
        let wait = |bytes| Throttle::new(rate, start).take(bytes, start);
        prop_assert!(wait(bytes) <= wait(bytes + more));
    }
}
