//! What is caught, and what is not.
#![allow(clippy::panic, clippy::unwrap_used, reason = "panics are what is tested")]

use std::pin::pin;
use std::sync::{Arc, Mutex};

use super::*;

/// A runtime on this thread.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

#[test]
fn what_is_caught_is_known_while_it_runs_and_no_longer() {
    assert!(!is_awaited());
    assert_eq!(catch(|| (is_awaited(), catch(is_awaited))), Some((true, Some(true))));
    assert_eq!(catch(|| -> u8 { panic!("a fault") }), None);
    assert!(!is_awaited());
}

#[test]
fn a_task_that_waits_is_caught_whenever_it_goes_on() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let see = |seen: &Arc<Mutex<Vec<bool>>>| seen.lock().unwrap().push(is_awaited());
    let inner = seen.clone();
    let work = async move {
        see(&inner);
        tokio::task::yield_now().await;
        see(&inner);
        panic!("a fault");
    };
    block_on(async {
        let mut work = pin!(work);
        let mut caught = pin!(catch_all::<dyn Future<Output = u8>>(work.as_mut()));
        // Others have their turn in between, on the same thread.
        let other = async {
            tokio::task::yield_now().await;
            is_awaited()
        };
        let (caught, other) = tokio::join!(&mut caught, other);
        assert_eq!((caught, other), (None, false));
        assert_eq!(catch_all(pin!(async { 7 })).await, Some(7));
    });
    assert_eq!(*seen.lock().unwrap(), [true, true]);
}
