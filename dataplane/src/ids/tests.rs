//! Numbers come back, none is given twice.
#![allow(clippy::unwrap_used, reason = "a test ends where its ground is missing")]

use super::*;

#[test]
fn the_lowest_free_number_and_never_zero() {
    let mut ids = Ids::new(5);
    assert_eq!((ids.take(), ids.take(), ids.take()), (Some(1), Some(2), Some(3)));
    ids.give(2);
    assert_eq!((ids.take(), ids.take(), ids.take()), (Some(2), Some(4), None));
    for id in 1..5 {
        ids.give(id);
    }
    assert_eq!(ids.used(), 0);
    assert!(ids.free.is_empty(), "nothing is kept of numbers that came back");
}

#[test]
fn a_reserved_number_is_taken() {
    let mut ids = Ids::new(10);
    assert!(ids.reserve(4) && !ids.reserve(4) && !ids.reserve(0) && !ids.reserve(10));
    assert_eq!(ids.used(), 1);
    assert_eq!((0..4).map(|_| ids.take().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 5]);
    assert!(ids.reserve(9));
    assert_eq!(ids.used(), 6);
}
