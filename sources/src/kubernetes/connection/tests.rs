//! Pauses, and what is told of errors.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use super::*;

#[test]
fn pauses_grow_and_have_an_end() {
    for (n, most) in [(1, 50), (2, 100), (3, 200), (10, 25_600), (11, 30_000), (u32::MAX, 30_000)] {
        let (pause, most) = (pause(n), Duration::from_millis(most));
        assert!(pause >= most / 2 && pause <= most, "{n}: {pause:?}");
    }
}

#[test]
fn other_servers_are_tried_at_once() {
    let mut state = State { urls: 3, ..State::default() };
    let pauses: Vec<bool> = (0..7)
        .map(|_| {
            let is_zero = state.pause().is_zero();
            state.fail();
            is_zero
        })
        .collect();
    assert_eq!(pauses, [true, true, true, false, true, true, false]);
}

#[test]
fn an_error_is_told_with_its_cause() {
    let inner = std::io::Error::other("connection refused");
    let error = kube_client::Error::Service(Box::new(inner));
    assert_eq!(explain(&error), "connection refused");
}
