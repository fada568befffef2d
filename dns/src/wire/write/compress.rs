//! Compression of names (RFC 1035 §4.1.4): a table from the ends of names to where they were written. Letter case
//! counts, as in CoreDNS's library, so that each name comes out in the case it went in.
use smallvec::SmallVec;

use crate::wire::Name;

/// Where no pointer leads: pointers have 14 bits.
const OUT_OF_REACH: usize = 1 << 14;

/// Slots of an empty table; a power of two.
const SLOTS: usize = 64;

/// An open table of hashes and offsets. Offset 0 means free: a header lies there, never a name.
pub(super) struct Compressor {
    slots: SmallVec<[(u32, u16); SLOTS]>,
    used: usize,
}

impl Default for Compressor {
    fn default() -> Compressor {
        Compressor { slots: SmallVec::from_elem((0, 0), SLOTS), used: 0 }
    }
}

impl Compressor {
    /// Appends a name to the message that begins at `start` of `to`, and remembers its ends. With `compress`, the
    /// longest end written before becomes a pointer.
    pub(super) fn write(&mut self, to: &mut Vec<u8>, start: usize, name: &Name, compress: bool) {
        let wire = name.as_wire();
        let base = to.len() - start;
        let mut hashes = [0; MAX_LABELS];
        let mut at = 0;
        for &hash in hash_ends(name, &mut hashes) {
            let end = &wire[at..];
            match self.find(to.get(start..).unwrap_or_default(), hash, end) {
                Some(offset) if compress => {
                    to.extend_from_slice(&(0xC000 | offset).to_be_bytes());
                    return;
                }
                None if base + at < OUT_OF_REACH => self.insert(hash, (base + at) as u16),
                _ => {}
            }
            let length = 1 + usize::from(end[0]);
            to.extend_from_slice(&end[..length]);
            at += length;
        }
        to.push(0);
    }

    /// The offset where this end of a name was written.
    fn find(&self, message: &[u8], hash: u32, end: &[u8]) -> Option<u16> {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            match self.slots[slot] {
                (_, 0) => return None,
                (found, offset) if found == hash && is_written(message, offset.into(), end) => return Some(offset),
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    fn insert(&mut self, hash: u32, offset: u16) {
        if self.used >= self.slots.len() / 2 {
            let old = std::mem::take(&mut self.slots);
            self.slots = SmallVec::from_elem((0, 0), old.len() * 2);
            for (hash, offset) in old.into_iter().filter(|slot| slot.1 != 0) {
                self.put(hash, offset);
            }
        }
        self.used += 1;
        self.put(hash, offset);
    }

    /// Takes the first free slot; the table is never full.
    fn put(&mut self, hash: u32, offset: u16) {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while self.slots[slot].1 != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = (hash, offset);
    }
}

/// The most labels of a name: each takes at least 2 bytes, the root 1.
const MAX_LABELS: usize = 127;

/// Hashes of a name from each of its labels to its end (FNV-1a, over the bytes from the right).
fn hash_ends<'a>(name: &Name, hashes: &'a mut [u32; MAX_LABELS]) -> &'a [u32] {
    let mut count = 0;
    for (slot, label) in hashes.iter_mut().zip(name.labels()) {
        *slot = label.iter().fold(0x811C_9DC5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
        count += 1;
    }
    let mut end = 0_u32;
    for slot in hashes[..count].iter_mut().rev() {
        // Mixed, so that the low bits depend on all.
        end = (end.rotate_left(5) ^ *slot).wrapping_mul(0x9E37_79B1);
        end ^= end >> 15;
        *slot = end;
    }
    &hashes[..count]
}

/// Whether the name at `at`, which was written here, is this one, letter by letter.
fn is_written(message: &[u8], mut at: usize, mut end: &[u8]) -> bool {
    loop {
        match message.get(at) {
            Some(&high @ 0xC0..) => {
                let Some(&low) = message.get(at + 1) else { return false };
                at = usize::from(high & 0x3F) << 8 | usize::from(low);
            }
            Some(&length) => {
                let label = 1 + usize::from(length);
                let (Some(ours), Some(theirs)) = (message.get(at..at + label), end.get(..label)) else { return false };
                if ours != theirs {
                    return false;
                }
                if length == 0 {
                    return true;
                }
                at += label;
                end = &end[label..];
            }
            None => return false,
        }
    }
}
