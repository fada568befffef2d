//! Shuffles a message's addresses in its bytes, so that what upstreams say is relayed without taking it apart.

use super::place;
use crate::wire::Type;
use crate::wire::walk::{Outline, records};

/// The addresses of a section: they follow each other and are equally long.
#[derive(Clone, Copy, Default)]
struct Run {
    /// Where the first one's data begins.
    start: usize,
    /// Bytes of the data of each.
    length: usize,
    /// Bytes from one to the next.
    stride: usize,
    count: usize,
}

/// Puts the addresses of each section in random order, without allocation. False, and nothing has changed, where the
/// message must be taken apart for that: its records are not in the order in which `loadbalance` has them, or addresses
/// differ in more than their address.
pub fn shuffle(message: &mut [u8], random: &mut fastrand::Rng) -> bool {
    let Some(runs) = runs(message) else { return false };
    for run in runs {
        for n in 1..run.count {
            let other = random.usize(..=n);
            if other < n {
                swap(message, run.start + other * run.stride, run.start + n * run.stride, run.length);
            }
        }
    }
    true
}

fn swap(message: &mut [u8], one: usize, other: usize, length: usize) {
    if one + length > other || other + length > message.len() {
        return;
    }
    let (front, back) = message.split_at_mut(other);
    front[one..one + length].swap_with_slice(&mut back[..length]);
}

fn is_address(rtype: Type) -> bool {
    matches!(rtype, Type::A | Type::AAAA)
}

/// The addresses of each section; None where they may not change places by their bytes alone.
fn runs(message: &[u8]) -> Option<[Run; 3]> {
    let mut runs = [Run::default(); 3];
    let mut last: Option<Outline> = None;
    for record in records(message) {
        let record = record.ok()?;
        let run = &mut runs[record.section as usize];
        // OPT may stand anywhere.
        if record.rtype == Type::OPT {
            continue;
        }
        if matches!(record.rtype, Type::AXFR | Type::IXFR | Type::MX) {
            return None;
        }
        let last = last.replace(record.clone()).filter(|last| last.section == record.section);
        if last.as_ref().is_some_and(|last| place(last.rtype) > place(record.rtype)) {
            return None;
        }
        if !is_address(record.rtype) {
            continue;
        }
        match last.filter(|last| is_address(last.rtype)) {
            Some(last) => {
                let head = |of: &Outline| message.get(of.name..of.ttl_at);
                let is_alike = head(&last) == head(&record)
                    && last.ttl == record.ttl
                    && last.data.len() == record.data.len()
                    && last.data.end == record.name;
                if !is_alike {
                    return None;
                }
                run.stride = record.data.start - last.data.start;
                run.count += 1;
            }
            None => *run = Run { start: record.data.start, length: record.data.len(), stride: 0, count: 1 },
        }
    }
    Some(runs)
}

#[cfg(test)]
mod tests;
