//! In which order upstreams are asked (`policy`).

use std::sync::atomic::{AtomicUsize, Ordering};

use smallvec::SmallVec;

/// The order of upstreams for one question, by their places.
pub(super) type Order = SmallVec<[usize; 16]>;

/// How upstreams are chosen.
#[derive(Debug)]
pub(super) enum Policy {
    /// In random order.
    Random,
    /// The next one first; then the others as they stand.
    RoundRobin(AtomicUsize),
    /// As they stand.
    Sequential,
}

impl Policy {
    pub(super) const NAMES: [&'static str; 3] = ["random", "round_robin", "sequential"];

    pub(super) fn named(name: &str) -> Option<Policy> {
        match name {
            "random" => Some(Policy::Random),
            "round_robin" => Some(Policy::RoundRobin(AtomicUsize::new(0))),
            "sequential" => Some(Policy::Sequential),
            _ => None,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Policy::Random => "random",
            Policy::RoundRobin(_) => "round_robin",
            Policy::Sequential => "sequential",
        }
    }

    /// The order for a question, of `count` upstreams.
    pub(super) fn order(&self, count: usize) -> Order {
        let mut order: Order = (0..count).collect();
        match self {
            Policy::Random => fastrand::shuffle(&mut order),
            Policy::RoundRobin(turn) => {
                // CoreDNS begins with the second.
                let first = turn.fetch_add(1, Ordering::Relaxed).wrapping_add(1).checked_rem(count).unwrap_or(0);
                if let Some(before) = order.get_mut(..=first) {
                    before.rotate_right(1);
                }
            }
            Policy::Sequential => {}
        }
        order
    }
}
