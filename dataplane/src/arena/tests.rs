//! The allocator against a model: a set of taken ranges.
#![allow(clippy::unwrap_used, reason = "a test ends where its ground is missing")]

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn slices_never_overlap_and_all_comes_back(steps in prop::collection::vec((0u32..60, any::<bool>(), any::<prop::sample::Index>()), 1..200)) {
        let mut arena = Arena::new(1 << 10, 1 << 10);
        let mut taken: Vec<(u32, u32)> = Vec::new();
        for (choices, give, which) in steps {
            if give && !taken.is_empty() {
                let (base, order) = taken.swap_remove(which.index(taken.len()));
                arena.give(base, order);
            } else if let Some(base) = arena.take(Arena::order(choices)) {
                let order = Arena::order(choices);
                prop_assert!(base + (1 << order) <= arena.capacity());
                for (b, o) in &taken {
                    prop_assert!(base + (1 << order) <= *b || b + (1 << o) <= base, "{base} overlaps {b}");
                }
                taken.push((base, order));
            }
            prop_assert_eq!(arena.used(), taken.iter().map(|(_, o)| 1u32 << o).sum::<u32>());
        }
        // What is found in the kernel at start gives the same arena.
        let mut found = Arena::new(1 << 10, 1 << 10);
        for (base, order) in &taken {
            prop_assert!(found.reserve(*base, *order));
            prop_assert!(!found.reserve(*base, *order), "twice");
        }
        prop_assert_eq!(&found.free, &arena.free);
        for (base, order) in taken {
            arena.give(base, order);
        }
        prop_assert_eq!(arena.used(), 0);
        prop_assert_eq!(arena.take(10), Some(0), "all merged again");
    }
}

#[test]
fn a_slice_that_does_not_fit_is_refused() {
    let mut arena = Arena::new(64, 64);
    assert_eq!(arena.take(7), None);
    assert!(!arena.reserve(4, 3), "not aligned");
    assert!(!arena.reserve(64, 3), "outside");
    let mut limited = Arena::new(64, 20);
    assert!(limited.take(4).is_some() && limited.take(3).is_none(), "16 of 20 words are taken");
    assert!(limited.reserve(32, 4), "what is found stays, whatever the limit is now");
    assert_eq!(Arena::order(0), 3);
    assert_eq!(Arena::order(4), 3);
    assert_eq!(Arena::order(5), 4);
}
