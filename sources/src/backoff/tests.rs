//! Waits and their bounds.

use super::*;

#[test]
fn waits_grow_up_to_a_bound_and_begin_anew() {
    let mut backoff = Backoff::default();
    for most in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
        let wait = backoff.next().as_millis();
        assert!(wait <= most && (most == 100 || wait >= most / 2), "{wait} ms of {most}");
    }
    (0..100).for_each(|_| assert!(backoff.next() <= LONGEST));
    backoff.reset();
    assert!(backoff.next() <= FIRST);
}

#[test]
fn no_two_wait_alike() {
    let waits: std::collections::BTreeSet<_> = (0..100).map(|_| Backoff { failures: 9 }.next()).collect();
    assert!(waits.len() > 90, "{waits:?}");
}
