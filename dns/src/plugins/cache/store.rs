//! Where answers are kept: one table for the process, read without locks.
//!
//! A key's hash chooses a bucket of a few places. A place is a pointer that is swapped whole, so a reader sees one
//! entry or another and never waits. Writers of one bucket take turns. Memory has a bound: what is over it is evicted
//! at random, and so is what a directive keeps above its capacity.

use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwapOption, Guard};

use super::entry::{Entry, Key, Kind};

/// Bytes that all kept answers have together, at most.
pub(super) const LIMIT: usize = 64 << 20;
/// Places of a bucket.
const WAYS: usize = 4;
/// Buckets: 131,072 places, with half a kilobyte for each.
const BUCKETS: usize = 1 << 15;
/// Locks of writers.
const LOCKS: usize = 64;

/// A bucket in a cache line of its own: a miss touches no other memory.
#[repr(align(64))]
#[derive(Default)]
struct Bucket {
    /// Parts of the hashes, to pass over entries that can't be it; 0: nothing is there.
    tags: [AtomicU32; WAYS],
    places: [ArcSwapOption<Entry>; WAYS],
}

/// All that is kept.
pub(super) struct Store {
    buckets: Box<[Bucket]>,
    hasher: foldhash::fast::RandomState,
    locks: [Mutex<()>; LOCKS],
    bytes: AtomicUsize,
    limit: usize,
}

/// What one directive keeps.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) number: u32,
    counts: [AtomicUsize; 2],
    capacities: [usize; 2],
}

impl Share {
    /// With a capacity for each kind; in CoreDNS's steps: a multiple of 256, at least 1,024.
    pub(super) fn new(capacities: [usize; 2]) -> Share {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let rounded = |capacity: usize| (capacity / 256).max(4) * 256;
        Share {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            counts: Default::default(),
            capacities: capacities.map(rounded),
        }
    }

    pub(super) fn count(&self, kind: Kind) -> usize {
        self.counts[kind as usize].load(Ordering::Relaxed)
    }
}

type EntrySlot = Guard<Option<Arc<Entry>>>;

/// What is kept for a question, of each kind.
#[derive(Default)]
pub(super) struct Found([Option<EntrySlot>; 2]);

impl Found {
    fn of(&self, kind: Kind) -> Option<&Arc<Entry>> {
        self.0[kind as usize].as_ref().and_then(|place| place.as_ref())
    }
    pub(super) fn success(&self) -> Option<&Arc<Entry>> {
        self.of(Kind::Success)
    }
    pub(super) fn denial(&self) -> Option<&Arc<Entry>> {
        self.of(Kind::Denial)
    }
}

impl Store {
    pub(super) fn new(limit: usize) -> Store {
        Store {
            buckets: (0..BUCKETS).map(|_| Bucket::default()).collect(),
            hasher: foldhash::fast::RandomState::default(),
            locks: std::array::from_fn(|_| Mutex::default()),
            bytes: AtomicUsize::new(0),
            limit,
        }
    }

    /// The number of a key's bucket, and its tag.
    fn place(&self, key: &Key<'_>) -> (usize, u32) {
        let hash = self.hasher.hash_one(key);
        (hash as usize % BUCKETS, (hash >> 32) as u32 | 1)
    }

    fn lock(&self, bucket: usize) -> MutexGuard<'_, ()> {
        self.locks[bucket % LOCKS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept under a key.
    pub(super) fn find(&self, key: &Key<'_>) -> Found {
        let (bucket, tag) = self.place(key);
        let bucket = &self.buckets[bucket];
        let mut found = Found::default();
        for (other, place) in bucket.tags.iter().zip(&bucket.places) {
            if other.load(Ordering::Acquire) != tag {
                continue;
            }
            let entry = place.load();
            let kind = entry.as_ref().filter(|entry| entry.is(key)).map(|entry| entry.kind);
            if let Some(kind) = kind {
                found.0[kind as usize] = Some(entry);
            }
        }
        found
    }

    /// Keeps an entry in place of the one of its key and kind; how many others had to go.
    pub(super) fn put(&self, entry: Arc<Entry>) -> u32 {
        let (number, tag) = self.place(&entry.key());
        let (share, kind) = (entry.share.clone(), entry.kind);
        let mut evicted = 0;
        {
            let _turn = self.lock(number);
            let bucket = &self.buckets[number];
            let now = std::time::Instant::now();
            let is_same = |other: &Entry| other.kind == kind && other.is(&entry.key());
            let at = |wanted: &dyn Fn(Option<&Entry>) -> bool| {
                bucket.places.iter().position(|place| wanted(place.load().as_deref()))
            };
            let same = at(&|other| other.is_some_and(is_same));
            let free = || at(&|other| other.is_none());
            let stale = || at(&|other| other.is_some_and(|other| other.left(now) <= 0));
            let chosen = same.or_else(free).or_else(stale).unwrap_or_else(|| fastrand::usize(..WAYS));
            let is_other = same.is_none() && bucket.places[chosen].load().is_some();
            evicted += u32::from(is_other);
            share.counts[kind as usize].fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(entry.size(), Ordering::Relaxed);
            self.forget(bucket.places[chosen].swap(Some(entry)));
            bucket.tags[chosen].store(tag, Ordering::Release);
        }
        if share.count(kind) > share.capacities[kind as usize] {
            evicted += self.evict(|other| other.kind == kind && other.share.number == share.number);
        }
        while self.bytes.load(Ordering::Relaxed) > self.limit {
            let one = self.evict(|_| true);
            evicted += one;
            if one == 0 {
                break;
            }
        }
        evicted
    }

    /// Accounts for an entry that is no longer there.
    fn forget(&self, entry: Option<Arc<Entry>>) {
        if let Some(entry) = entry {
            self.bytes.fetch_sub(entry.size(), Ordering::Relaxed);
            entry.share.counts[entry.kind as usize].fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn clear(&self, number: usize, is_it: &dyn Fn(&Entry) -> bool) -> u32 {
        let bucket = &self.buckets[number];
        for (tag, place) in bucket.tags.iter().zip(&bucket.places) {
            if tag.load(Ordering::Relaxed) != 0 && place.load().as_deref().is_some_and(is_it) {
                tag.store(0, Ordering::Release);
                self.forget(place.swap(None));
                return 1;
            }
        }
        0
    }

    /// Takes one such entry away, the first behind a random place; how many: 1, or 0 if there is none.
    fn evict(&self, is_it: impl Fn(&Entry) -> bool) -> u32 {
        let start = fastrand::usize(..BUCKETS);
        for number in (start..BUCKETS).chain(0..start) {
            if self.buckets[number].tags.iter().all(|tag| tag.load(Ordering::Relaxed) == 0) {
                continue;
            }
            let _turn = self.lock(number);
            if self.clear(number, &is_it) > 0 {
                return 1;
            }
        }
        0
    }

    /// Takes the entry of a key and kind away.
    pub(super) fn remove(&self, key: &Key<'_>, kind: Kind) {
        let (number, _) = self.place(key);
        let _turn = self.lock(number);
        self.clear(number, &|entry| entry.kind == kind && entry.is(key));
    }

    /// Takes away all that a directive has kept.
    pub(super) fn sweep(&self, share: &Share) {
        for number in 0..BUCKETS {
            let _turn = self.lock(number);
            while self.clear(number, &|entry| entry.share.number == share.number) > 0 {}
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}
