//! Makes signatures, and keeps as many as it may.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest;

use super::canonical;
use super::key::Key;
use crate::address::Address;
use crate::plugins::shared::by_server::ByServer;
use crate::wire::{Class, Data, Name, Record, Type};
use bowline_observe::metrics::Registry;

/// A signature holds for so many seconds from now, and began so long ago: clocks differ.
const LIFE: u64 = 8 * 86_400;
const PAST: u64 = 3 * 3600;
/// One that has less left is made anew.
const LEFT: u64 = 2 * 86_400;
/// The TTL that signatures tell for what they sign: the true one is not known here.
const TTL: u32 = 3600;
/// Parts of the cache, each with a lock of its own.
const PARTS: usize = 16;

/// The keys, and the signatures that they made.
pub(super) struct Signer {
    pub(super) keys: Vec<Key>,
    /// Some keys sign the keys alone, the others all else.
    is_split: bool,
    /// By the digest of what is signed and for whom.
    parts: [Mutex<Part>; PARTS],
    /// Of each part.
    capacity: usize,
    registry: Arc<Registry>,
    hits: ByServer,
    misses: ByServer,
}

type Part = HashMap<[u8; 32], Kept>;

/// The signatures of an RRset, and until when they hold.
#[derive(Clone)]
struct Kept {
    signatures: Vec<Data>,
    until: u64,
}

impl Signer {
    /// Signs with these keys, and keeps about `capacity` signatures.
    pub(super) fn new(keys: Vec<Key>, capacity: usize, registry: Arc<Registry>) -> Signer {
        let is_split = keys.iter().any(|key| key.is_entry) && keys.iter().any(|key| !key.is_entry);
        let parts = std::array::from_fn(|_| Mutex::default());
        let hits = ByServer::without_view("coredns_dnssec_cache_hits_total", "The count of cache hits.");
        let misses = ByServer::without_view("coredns_dnssec_cache_misses_total", "The count of cache misses.");
        Signer { keys, is_split, parts, capacity: capacity.div_ceil(PARTS), registry, hits, misses }
    }

    /// The DNSKEY records of a zone.
    pub(super) fn records(&self, zone: &Name) -> Vec<Record> {
        let record = |key: &Key| Record::new(zone.clone(), Type::DNSKEY, TTL, key.data.clone());
        self.keys.iter().map(record).collect()
    }

    /// The signatures of an RRset for a zone, with this TTL, at `now`; `at` counts it.
    pub(super) fn sign(&self, set: &[Record], zone: &Name, ttl: u32, now: u64, at: &Address) -> Vec<Record> {
        let Some(first) = set.first() else { return Vec::new() };
        let form = canonical::form(set, TTL);
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(zone.to_lower().as_wire());
        context.update(&form);
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        let kept = self.kept(&key, now);
        let count = if kept.is_some() { &self.hits } else { &self.misses };
        count.of(&self.registry, at, "").inc();
        let kept = kept.unwrap_or_else(|| {
            let made = self.make(first, &form, zone, now);
            self.keep(key, &made, at);
            made
        });
        let record = |data: Data| Record { name: first.name.clone(), rtype: Type::RRSIG, class: Class::IN, ttl, data };
        kept.signatures.into_iter().map(record).collect()
    }

    fn part(&self, key: &[u8; 32]) -> &Mutex<Part> {
        &self.parts[usize::from(key[0]) % PARTS]
    }

    fn kept(&self, key: &[u8; 32], now: u64) -> Option<Kept> {
        let part = self.part(key).lock().unwrap_or_else(PoisonError::into_inner);
        part.get(key).filter(|kept| kept.until > now + LEFT).cloned()
    }

    fn keep(&self, key: [u8; 32], made: &Kept, at: &Address) {
        if made.signatures.is_empty() || self.capacity == 0 {
            return;
        }
        let mut part = self.part(&key).lock().unwrap_or_else(PoisonError::into_inner);
        if part.len() >= self.capacity && !part.contains_key(&key) {
            // Any: the map's order is random.
            if let Some(other) = part.keys().next().copied() {
                part.remove(&other);
            }
        }
        part.insert(key, made.clone());
        drop(part);
        let count: usize =
            self.parts.iter().map(|part| part.lock().unwrap_or_else(PoisonError::into_inner).len()).sum();
        let labels = [("server", &*at.to_string()), ("type", "signature")];
        let help = "The number of elements in the dnssec cache.";
        self.registry.gauge("coredns_dnssec_cache_entries", help, &labels).set(count as f64);
    }

    /// Signs with each key that signs records of this type (RFC 4034 §3.1.8.1).
    fn make(&self, first: &Record, form: &[u8], zone: &Name, now: u64) -> Kept {
        let is_keys = first.rtype == Type::DNSKEY;
        let mut signatures = Vec::new();
        for key in self.keys.iter().filter(|key| !self.is_split || key.is_entry == is_keys) {
            let mut data = first.rtype.0.to_be_bytes().to_vec();
            data.extend([key.algorithm, canonical::labels(&first.name)]);
            data.extend(TTL.to_be_bytes());
            // Times wrap in 2106 (RFC 4034 §3.1.5).
            data.extend(((now + LIFE) as u32).to_be_bytes());
            data.extend((now.saturating_sub(PAST) as u32).to_be_bytes());
            data.extend(key.tag.to_be_bytes());
            data.extend_from_slice(zone.to_lower().as_wire());
            let Some(signature) = key.sign(&[&data, form].concat()) else { continue };
            data.extend(signature);
            signatures.push(Data::from_bytes(&data));
        }
        Kept { signatures, until: now + LIFE }
    }
}
