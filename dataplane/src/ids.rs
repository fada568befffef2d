//! Numbers for services and backends: the lowest free one, so that the mapped part of an array stays
//! small. 0 is never given.

use std::collections::BTreeSet;

/// Which numbers below a limit are free.
#[derive(Debug)]
pub(crate) struct Ids {
    limit: u32,
    /// Every number from here on is free.
    fresh: u32,
    /// Free numbers below `fresh`.
    free: BTreeSet<u32>,
}

impl Ids {
    /// The numbers 1 to `limit` - 1.
    pub(crate) fn new(limit: u32) -> Ids {
        Ids { limit, fresh: 1, free: BTreeSet::new() }
    }

    /// Takes a number; None: all are taken.
    pub(crate) fn take(&mut self) -> Option<u32> {
        if let Some(id) = self.free.pop_first() {
            return Some(id);
        }
        (self.fresh < self.limit).then(|| {
            self.fresh += 1;
            self.fresh - 1
        })
    }

    /// Takes this number; false: it is taken already, or there is no such.
    pub(crate) fn reserve(&mut self, id: u32) -> bool {
        if id == 0 || id >= self.limit {
            return false;
        }
        if id >= self.fresh {
            self.free.extend(self.fresh..id);
            self.fresh = id + 1;
            return true;
        }
        self.free.remove(&id)
    }

    /// Gives a number back.
    pub(crate) fn give(&mut self, id: u32) {
        self.free.insert(id);
        while self.fresh > 1 && self.free.remove(&(self.fresh - 1)) {
            self.fresh -= 1;
        }
    }

    /// How many are taken.
    pub(crate) fn used(&self) -> u32 {
        self.fresh - 1 - self.free.len() as u32
    }

    /// How many there are.
    pub(crate) fn capacity(&self) -> u32 {
        self.limit.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests;
