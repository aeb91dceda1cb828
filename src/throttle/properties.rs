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
    fn more_bytes_never_mean_less_waiting(rate in 1..4_000_000_000u64, bytes in 0..=MIB, more in 0..=MIB) {
        let start = Instant::now();
        let wait = |bytes| Throttle::new(rate, start).take(bytes, start);
        prop_assert!(wait(bytes) <= wait(bytes + more));
    }
}
