//! The maps, and how the decisions see them. Where another layout is being migrated from, its `sockets` and `affinity`
//! are looked at behind this one's (`other.rs`).

#![allow(
    clippy::needless_borrows_for_generic_args,
    reason = "a key given by value is copied on the kernel's stack of 512 bytes"
)]

use crate::other::{Previous, bring_over, has_previous, other_affinity, other_is_for, other_is_of};
use aya_ebpf::{
    bindings::{BPF_ANY, BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_NOEXIST},
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, SockMap},
    helpers::{bpf_get_current_comm, bpf_get_prandom_u32, bpf_ktime_get_ns, bpf_map_lookup_elem, bpf_sk_release},
    macros::btf_map,
};
use bowline_ebpf::decide::{Sockets, Tables};
use bowline_ebpf::describe::Description;
use bowline_ebpf::layout::{
    Affinity, AffinityKey, Backend, Endpoint, Frontend, FrontendKey, Name, SLOTS, STAND_IN_THREADS, Service, SocketKey,
    Translation,
};
use bowline_ebpf::verdict::Verdict;
use core::intrinsics::{AtomicOrdering, atomic_and, atomic_or, atomic_xadd, atomic_xchg};

// The loader sets the sizes (max_entries) by its flags; these are only what a reader of the object sees.
#[btf_map(name = "frontends")]
static FRONTENDS: HashMap<FrontendKey, Frontend, 131072, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();
#[btf_map(name = "services")]
static SERVICES: Array<Service, 65536, { BPF_F_MMAPABLE as usize }> = Array::new();
#[btf_map(name = "slots")]
static SLOT_ARENA: Array<[u32; SLOTS as usize], 1, { BPF_F_MMAPABLE as usize }> = Array::new();
#[btf_map(name = "backends")]
static BACKENDS: Array<Backend, 262144, { BPF_F_MMAPABLE as usize }> = Array::new();
#[btf_map(name = "affinity")]
static AFFINITY: LruHashMap<AffinityKey, Affinity, 65536> = LruHashMap::new();
#[btf_map(name = "sockets")]
static SOCKETS: HashMap<SocketKey, Translation, 1048576, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();
#[btf_map(name = "names")]
static NAMES: HashMap<u32, Name, 65536, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();
#[btf_map(name = "layout")]
static LAYOUT: Array<Description, 1> = Array::new();
#[btf_map(name = "verdicts")]
static VERDICTS: PerCpuArray<u64, { Verdict::COUNTED.len() }> = PerCpuArray::new();
#[btf_map(name = "alive")]
static ALIVE: Array<u64, 1, { BPF_F_MMAPABLE as usize }> = Array::new();
/// A socket of the stand-ins' process: the kernel takes it out as the process ends, however that comes.
#[btf_map(name = "life")]
static LIFE: SockMap<1> = SockMap::new();

/// What this kernel has of [`bowline_ebpf::features`]. Written by the loader before the programs are loaded: the verifier removes what
/// asks for more.
#[unsafe(no_mangle)]
static FEATURES: u32 = bowline_ebpf::features::ALL;

/// The cookie of the node's network namespace (SO_NETNS_COOKIE). Written by the loader.
#[unsafe(no_mangle)]
static NODE_NETNS: u64 = 0;

/// The cookie of the node's network namespace.
#[inline(always)]
pub fn node_netns() -> u64 {
    // SAFETY: as in `has`.
    unsafe { (&raw const NODE_NETNS).read_volatile() }
}

/// Whether the kernel has this feature.
#[inline(always)]
pub fn has(feature: u32) -> bool {
    // SAFETY: a read of our own constant; volatile, since the loader changes it behind the compiler.
    unsafe { (&raw const FEATURES).read_volatile() & feature != 0 }
}

/// Counts a verdict.
#[inline(always)]
pub fn count(verdict: Verdict) {
    if let Some(counter) = VERDICTS.get_ptr_mut(verdict as u32) {
        // SAFETY: the element is this CPU's own, and programs of this kind don't interrupt one another
        // on one CPU often enough to matter for a count.
        unsafe { *counter += 1 }
    }
}

/// Service tables of this layout, socket entries of this and of the other.
pub struct Kernel;
/// Socket entries of this layout alone.
pub struct Current;
impl Tables for Kernel {
    #[inline(always)]
    fn frontend(&self, key: &FrontendKey) -> Option<u32> {
        // SAFETY: the value is copied at once.
        unsafe { FRONTENDS.get(key) }.map(|f| f.service)
    }
    #[inline(always)]
    fn word(&self, service: u32) -> u64 {
        match SERVICES.get_ptr(service) {
            // SAFETY: a valid element; one 64-bit load, as the agent writes it by one store.
            Some(s) => unsafe { (&raw const (*s).cluster).read_volatile() },
            None => 0,
        }
    }
    #[inline(always)]
    fn turn(&self, service: u32) -> u64 {
        match SERVICES.get_ptr_mut(service) {
            // SAFETY: a valid element, aligned to 8.
            Some(s) => unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::AcqRel }>(&raw mut (*s).turn, 1) },
            None => 0,
        }
    }
    #[inline(always)]
    fn slot(&self, index: u32) -> u32 {
        match SLOT_ARENA.get_ptr(0) {
            // SAFETY: the index is masked to the arena.
            Some(arena) => unsafe {
                (&raw const (*arena)).cast::<u32>().add((index & (SLOTS - 1)) as usize).read_volatile()
            },
            None => 0,
        }
    }
    #[inline(always)]
    fn stand_in(&self, service: u32) -> u32 {
        match SERVICES.get_ptr(service) {
            // SAFETY: as in `word`.
            Some(s) => unsafe { (&raw const (*s).stand_in).read_volatile() as u32 },
            None => 0,
        }
    }
    #[inline(always)]
    fn alive_until(&self) -> u64 {
        let key = 0_u32;
        // SAFETY: map and key are valid; the reference to the socket is given back at once.
        unsafe {
            let socket = bpf_map_lookup_elem((&raw const LIFE).cast_mut().cast(), (&raw const key).cast());
            if socket.is_null() {
                return 0;
            }
            bpf_sk_release(socket);
        }
        // SAFETY: a valid element; one 64-bit load, as the agent writes it by one store.
        ALIVE.get_ptr(0).map_or(0, |until| unsafe { until.read_volatile() })
    }
    #[inline(always)]
    fn is_stand_in_calling(&self) -> bool {
        bpf_get_current_comm().is_ok_and(|name| name.starts_with(&STAND_IN_THREADS))
    }
    #[inline(always)]
    fn backend(&self, id: u32) -> Option<Backend> {
        // SAFETY: a valid element; `life` is read by one load.
        BACKENDS.get_ptr(id).map(|b| unsafe { b.read_volatile() })
    }
    #[inline(always)]
    fn affinity(&self, key: &AffinityKey) -> Option<Affinity> {
        // SAFETY: the value is copied at once; a recycled one fails the check of its backend's life.
        if let Some(a) = unsafe { AFFINITY.get(key) } {
            return Some(*a);
        }
        let mut found = Affinity { used: 0, backend: 0, life: 0 };
        if has_previous() && other_affinity(key, &mut found) != 0 { Some(found) } else { None }
    }
    #[inline(always)]
    fn set_affinity(&self, key: &AffinityKey, value: &Affinity) {
        // An LRU map makes room; what fails here costs one client its affinity, not its connection.
        let _ = AFFINITY.insert(key, value, BPF_ANY as u64);
    }
    #[inline(always)]
    fn touch_affinity(&self, key: &AffinityKey, now: u64) {
        match AFFINITY.get_ptr_mut(key) {
            // SAFETY: a valid element; one aligned store.
            Some(a) => unsafe { (&raw mut (*a).used).write_volatile(now) },
            None => {
                // It stood in the other layout.
                if let Some(mut a) = self.affinity(key) {
                    a.used = now;
                    self.set_affinity(key, &a);
                }
            }
        }
    }
    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_get_prandom_u32() as u32 }
    }
    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_ktime_get_ns() }
    }
}

impl Sockets for Current {
    #[inline(always)]
    fn get(&self, key: &SocketKey, into: &mut Translation) -> bool {
        // SAFETY: the value is copied at once; it changes only by this socket's own calls.
        match unsafe { SOCKETS.get(key) } {
            Some(found) => {
                *into = *found;
                true
            }
            None => false,
        }
    }
    #[inline(always)]
    fn has(&self, key: &SocketKey) -> bool {
        SOCKETS.get_ptr(key).is_some()
    }
    #[inline(always)]
    fn put(&self, key: &SocketKey, value: &Translation) -> bool {
        SOCKETS.insert(key, value, BPF_ANY as u64).is_ok()
    }
    #[inline(always)]
    fn put_new(&self, key: &SocketKey, value: &Translation) -> bool {
        SOCKETS.insert(key, value, BPF_NOEXIST as u64).is_ok()
    }
    #[inline(always)]
    fn remove(&self, key: &SocketKey) -> bool {
        SOCKETS.remove(key).is_ok()
    }
    #[inline(always)]
    fn swap_next(&self, key: &SocketKey, next: u32) -> Option<u32> {
        // SAFETY: a valid element, aligned to 4.
        SOCKETS
            .get_ptr_mut(key)
            .map(|t| unsafe { atomic_xchg::<u32, { AtomicOrdering::AcqRel }>(&raw mut (*t).next, next) })
    }
    #[inline(always)]
    fn set_flags(&self, first: &SocketKey, flags: u32) -> bool {
        let Some(t) = SOCKETS.get_ptr_mut(first) else { return false };
        // SAFETY: as in `swap_next`.
        unsafe { atomic_or::<u32, u32, { AtomicOrdering::AcqRel }>(&raw mut (*t).next, flags) };
        true
    }
    #[inline(always)]
    fn clear_flags(&self, first: &SocketKey, flags: u32) -> bool {
        let Some(t) = SOCKETS.get_ptr_mut(first) else { return false };
        // SAFETY: as in `swap_next`.
        unsafe { atomic_and::<u32, u32, { AtomicOrdering::AcqRel }>(&raw mut (*t).next, !flags) };
        true
    }
    #[inline(always)]
    fn flags(&self, first: &SocketKey, peer: &Endpoint) -> (u32, u32) {
        // SAFETY: looked at in place; it changes only by this socket's own calls.
        unsafe { SOCKETS.get(first) }.map_or((0, 0), |t| t.flags_of(peer))
    }
    #[inline(always)]
    fn way(&self, key: &SocketKey, previous: bool, into: &mut Endpoint) -> u32 {
        // SAFETY: looked at in place; it changes only by this socket's own calls.
        let Some(found) = (unsafe { SOCKETS.get(key) }) else { return 0 };
        *into = if previous { found.previous } else { found.backend };
        found.service
    }
}

impl Sockets for Kernel {
    #[inline(always)]
    fn get(&self, key: &SocketKey, into: &mut Translation) -> bool {
        Current.get(key, into) || (has_previous() && Previous.get(key, into))
    }
    #[inline(always)]
    fn is_of(&self, key: &SocketKey, service: u32) -> bool {
        // SAFETY: as in `is_for`.
        match unsafe { SOCKETS.get(key) } {
            Some(found) => found.service == service,
            None => has_previous() && other_is_of(key, service) != 0,
        }
    }
    #[inline(always)]
    fn is_for(&self, key: &SocketKey, service: u32, vip: &Endpoint) -> bool {
        // SAFETY: looked at in place; it changes only by this socket's own calls.
        match unsafe { SOCKETS.get(key) } {
            Some(found) => found.service == service && found.vip == *vip,
            None => has_previous() && other_is_for(key, service, vip) != 0,
        }
    }
    #[inline(always)]
    fn has(&self, key: &SocketKey) -> bool {
        Current.has(key) || (has_previous() && Previous.has(key))
    }
    #[inline(always)]
    fn put(&self, key: &SocketKey, value: &Translation) -> bool {
        let done = Current.put(key, value);
        if done && has_previous() {
            // Should that layout's agent come back, it must not find what is no longer true.
            Previous.remove(key);
        }
        done
    }
    #[inline(always)]
    fn put_new(&self, key: &SocketKey, value: &Translation) -> bool {
        Current.put_new(key, value)
    }
    #[inline(always)]
    fn remove(&self, key: &SocketKey) -> bool {
        let other = has_previous() && Previous.remove(key);
        Current.remove(key) || other
    }
    #[inline(always)]
    fn swap_next(&self, key: &SocketKey, next: u32) -> Option<u32> {
        match Current.swap_next(key, next) {
            // What stands in the other layout comes over, so that there is one chain and not two.
            None if has_previous() && bring_over(key) != 0 => Current.swap_next(key, next),
            found => found,
        }
    }
    #[inline(always)]
    fn bring(&self, key: &SocketKey) {
        if has_previous() && !Current.has(key) {
            bring_over(key);
        }
    }
    #[inline(always)]
    fn get_brought(&self, key: &SocketKey, into: &mut Translation) -> bool {
        Current.get(key, into)
    }
    #[inline(always)]
    fn put_brought(&self, key: &SocketKey, value: &Translation) -> bool {
        Current.put(key, value)
    }
    #[inline(always)]
    fn flags(&self, first: &SocketKey, peer: &Endpoint) -> (u32, u32) {
        Current.flags(first, peer)
    }
    #[inline(always)]
    fn set_flags(&self, first: &SocketKey, flags: u32) -> bool {
        Current.set_flags(first, flags)
    }
    #[inline(always)]
    fn clear_flags(&self, first: &SocketKey, flags: u32) -> bool {
        Current.clear_flags(first, flags)
    }
    #[inline(always)]
    fn way(&self, key: &SocketKey, previous: bool, into: &mut Endpoint) -> u32 {
        Current.way(key, previous, into)
    }
}
