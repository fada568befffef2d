//! The same text stored once.
//!
//! Namespaces, label keys, node and port names repeat thousands of times in a cluster. Names that occur
//! once or twice (of Pods, of slices) are not worth an entry here.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::object::Str;

#[cfg(test)]
mod tests;

/// Power of two. Parsers on all cores share the table; they seldom meet in one part of it.
const PARTS: usize = 16;

/// A part is swept when it has grown to twice what the last sweep left, and not before this many entries.
const SWEEP_FROM: usize = 256;

/// A table of strings. Strings that nobody else holds are dropped from it as it grows.
#[derive(Debug, Default)]
pub struct Strings {
    parts: [Mutex<Part>; PARTS],
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Part {
    entries: HashSet<Str>,
    sweep_at: usize,
}

impl Strings {
    /// The shared string of this text.
    pub fn get(&self, text: &str) -> Str {
        if text.is_empty() {
            return Str::default();
        }
        let index = self.hasher.hash_one(text) as usize % PARTS;
        let mut part = lock(&self.parts[index]);
        if let Some(found) = part.entries.get(text) {
            return found.clone();
        }
        if part.entries.len() >= part.sweep_at.max(SWEEP_FROM) {
            part.sweep();
        }
        let new = Str::from(text);
        part.entries.insert(new.clone());
        new
    }

    /// Drops every string that nobody else holds.
    pub fn sweep(&self) {
        for part in &self.parts {
            lock(part).sweep();
        }
    }

    /// How many strings the table holds.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| lock(part).entries.len()).sum()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Part {
    fn sweep(&mut self) {
        self.entries.retain(|entry| Str::strong_count(entry).is_none_or(|holders| holders > 1));
        self.entries.shrink_to(self.entries.len() * 2);
        self.sweep_at = self.entries.len() * 2;
    }
}

/// A part is whole after every statement above, so a panic elsewhere while it was held does no harm.
fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}
