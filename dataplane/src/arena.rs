//! Which parts of the arena `slots` are in use: a buddy allocator over slices of powers of two. Takes the
//! lowest place that fits, so that the mapped part stays small; neighbours that are both free merge.

use std::collections::BTreeSet;

use bowline_ebpf::layout::{HEADER, SLOTS};

/// The smallest slice: 2^3 words, a header and four choices.
const SMALLEST: u32 = 3;

/// Free slices by order (a slice of order n has 2^n words).
#[derive(Debug)]
pub(crate) struct Arena {
    orders: u32,
    /// How many words may be taken; what is found in the kernel may be more.
    limit: u32,
    free: Vec<BTreeSet<u32>>,
    used: u32,
}

impl Arena {
    /// An arena of `words` words (a power of two, at most [`SLOTS`]), all free, of which `limit` may be
    /// taken.
    pub(crate) fn new(words: u32, limit: u32) -> Arena {
        let orders = words.clamp(1 << SMALLEST, SLOTS).ilog2();
        let mut free = vec![BTreeSet::new(); orders as usize + 1];
        free[orders as usize].insert(0);
        Arena { orders, limit: limit.min(1 << orders), free, used: 0 }
    }

    /// The order of a slice that holds a header and `choices`.
    pub(crate) fn order(choices: u32) -> u32 {
        (HEADER + choices).next_power_of_two().ilog2().max(SMALLEST)
    }

    /// Words in use.
    pub(crate) fn used(&self) -> u32 {
        self.used
    }

    /// Words that may be used.
    pub(crate) fn capacity(&self) -> u32 {
        self.limit
    }

    /// Takes a slice of an order; None: there is no room for one.
    pub(crate) fn take(&mut self, order: u32) -> Option<u32> {
        if order > self.orders || self.used + (1 << order) > self.limit {
            return None;
        }
        let from = (order..=self.orders)
            .filter_map(|o| self.free[o as usize].first().map(|base| (*base, o)))
            .min_by_key(|(base, _)| *base)?;
        self.carve(from, from.0, order);
        Some(from.0)
    }

    /// Marks a slice as used, as found in the kernel at start. False: it overlaps another or lies outside.
    pub(crate) fn reserve(&mut self, base: u32, order: u32) -> bool {
        if order > self.orders || !base.is_multiple_of(1 << order) || base >= 1 << self.orders {
            return false;
        }
        let holder = (order..=self.orders).map(|o| (base & !((1 << o) - 1), o));
        let Some(from) = holder.into_iter().find(|(b, o)| self.free[*o as usize].contains(b)) else { return false };
        self.carve(from, base, order);
        true
    }

    /// Splits the free slice `from` until the one at `base` has `order`, and takes that.
    fn carve(&mut self, from: (u32, u32), base: u32, order: u32) {
        let (mut at, mut o) = from;
        self.free[o as usize].remove(&at);
        while o > order {
            o -= 1;
            let half = at + (1 << o);
            if base >= half {
                self.free[o as usize].insert(at);
                at = half;
            } else {
                self.free[o as usize].insert(half);
            }
        }
        self.used += 1 << order;
    }

    /// Gives a slice back that was taken with this base and order.
    pub(crate) fn give(&mut self, base: u32, order: u32) {
        self.used -= 1 << order;
        let (mut base, mut order) = (base, order);
        while order < self.orders && self.free[order as usize].remove(&(base ^ (1 << order))) {
            base &= !(1 << order);
            order += 1;
        }
        self.free[order as usize].insert(base);
    }
}

#[cfg(test)]
mod tests;
