//! How long to wait before trying again: longer each time, and never the same for all nodes of a cluster.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The first wait, at most; and the longest.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Counts failures in a row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait now: between nothing and 100 ms, then twice that each time, up to 5 s; of the later
    /// waits half is by chance.
    pub(crate) fn next(&mut self) -> Duration {
        let most = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        let least = if self.failures == 0 { Duration::ZERO } else { most / 2 };
        self.failures += 1;
        least + (most - least).mul_f64(chance())
    }

    /// It has worked: the next wait is a first one again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A number from 0 to 1, by chance.
pub(crate) fn chance() -> f64 {
    (RandomState::new().hash_one(()) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests;
