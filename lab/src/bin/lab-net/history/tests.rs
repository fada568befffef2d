//! When a server was gone, and when it may have left.

use super::History;
use std::time::{Duration, Instant};

#[test]
fn absences() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut history = History::default();
    assert!(!history.was_gone("a-1", at(0), at(1)));
    assert!(!history.may_have_left("a-1", at(0), at(1)));

    assert!(history.tell("removing a-1", at(10)));
    assert!(!history.was_gone("a-1", at(12), at(13)));
    assert!(history.may_have_left("a-1", at(12), at(13)));
    assert!(!history.may_have_left("a-1", at(1), at(2)), "it left later");

    assert!(history.tell("removed a-1", at(20)));
    assert!(history.was_gone("a-1", at(21), at(22)));
    assert!(!history.was_gone("a-1", at(19), at(22)), "the connect began before");

    assert!(history.tell("added a-1", at(30)));
    assert!(history.was_gone("a-1", at(21), at(29)));
    assert!(!history.was_gone("a-1", at(21), at(31)));
    assert!(!history.may_have_left("a-1", at(31), at(32)));
    assert!(!history.was_gone("a-2", at(21), at(22)));

    assert!(!history.tell("hello", at(40)));
    assert!(!history.tell("hello a-1", at(40)));
}
