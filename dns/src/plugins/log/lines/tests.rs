//! Lines: all in order, none lost unless there is no room, and nobody waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;

static WRITTEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
static HELD: AtomicBool = AtomicBool::new(true);

#[test]
fn what_was_put_is_written_in_order_before_the_end() {
    let lines = Lines::new(Arc::default(), |line| WRITTEN.lock().unwrap().push(line.to_owned()));
    (0..1000).for_each(|n| lines.put(n.to_string()));
    drop(lines);
    assert_eq!(*WRITTEN.lock().unwrap(), (0..1000).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn what_has_no_room_is_dropped_and_counted() {
    let lines = Lines::new(Arc::default(), |_| {
        while HELD.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    (0..WAITING + 100).for_each(|n| lines.put(n.to_string()));
    // One may be in the writer's hands.
    assert!((99..=100).contains(&lines.dropped.get()), "{}", lines.dropped.get());
    HELD.store(false, Ordering::Relaxed);
}
