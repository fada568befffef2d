//! The maps, and how the decisions see them. Beside this layout's `sockets` and `affinity` may stand
//! those of another layout, from which an agent is just migrating: they are read by that layout's
//! description (`PREVIOUS`, set by the loader). Where there is none, the verifier removes that code.

#![allow(
    clippy::needless_borrows_for_generic_args,
    reason = "a key given by value is copied on the kernel's stack of 512 bytes"
)]

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_NOEXIST},
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, SockMap},
    helpers::{bpf_get_current_comm, bpf_get_prandom_u32, bpf_ktime_get_ns, bpf_map_lookup_elem, bpf_sk_release},
    macros::btf_map,
};
use bowline_ebpf::decide::{Sockets, Tables};
use bowline_ebpf::describe::{Description, Field};
use bowline_ebpf::layout::{
    Affinity, AffinityKey, Backend, Endpoint, Frontend, FrontendKey, Name, SLOTS, STAND_IN_THREADS, Service, SocketKey,
    Translation,
};
use bowline_ebpf::record::{Reader, Record, Value, Writer};
use bowline_ebpf::verdict::Verdict;
use core::intrinsics::{AtomicOrdering, atomic_and, atomic_or, atomic_xadd, atomic_xchg};
use core::mem::MaybeUninit;

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

/// Keys of another layout are at most so long, in bytes.
const OTHER: usize = 64;
#[btf_map(name = "other_sockets")]
static OTHER_SOCKETS: HashMap<[u8; OTHER], u64, 1> = HashMap::new();
#[btf_map(name = "other_affinity")]
static OTHER_AFFINITY: HashMap<[u8; OTHER], u64, 1> = HashMap::new();

/// The other layout; version 0: there is none. The loader writes it before the programs are loaded.
#[unsafe(no_mangle)]
static PREVIOUS: Description = Description::NONE;

/// What this kernel has of [`bowline_ebpf::features`]. Written by the loader like `PREVIOUS`: the verifier removes what
/// asks for more.
#[unsafe(no_mangle)]
static FEATURES: u32 = bowline_ebpf::features::ALL;

/// Whether the kernel has this feature.
#[inline(always)]
pub fn has(feature: u32) -> bool {
    // SAFETY: as in `at`.
    unsafe { (&raw const FEATURES).read_volatile() & feature != 0 }
}

/// Where a field of the other layout stands. The verifier knows the value: the section is frozen.
#[inline(always)]
fn at(field: Field) -> usize {
    // SAFETY: a read of our own constant; volatile, since the loader changes it behind the compiler.
    unsafe { (&raw const PREVIOUS.fields[field as usize]).read_volatile() as usize }
}

/// Whether there is another layout to read.
#[inline(always)]
pub fn has_previous() -> bool {
    // SAFETY: as in `at`.
    unsafe { (&raw const PREVIOUS.version).read_volatile() != 0 }
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
/// Socket entries of the other layout alone; never written.
pub struct Previous;

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

impl Sockets for Previous {
    #[inline(always)]
    fn get(&self, key: &SocketKey, into: &mut Translation) -> bool {
        other_socket(key, into) != 0
    }
    fn has(&self, key: &SocketKey) -> bool {
        has_other_socket(key) != 0
    }
    fn put(&self, _key: &SocketKey, _value: &Translation) -> bool {
        false
    }
    fn put_new(&self, _key: &SocketKey, _value: &Translation) -> bool {
        false
    }
    #[inline(always)]
    fn remove(&self, key: &SocketKey) -> bool {
        forget_other_socket(key) != 0
    }
    fn swap_next(&self, _key: &SocketKey, _next: u32) -> Option<u32> {
        None
    }
    fn set_flags(&self, _first: &SocketKey, _flags: u32) -> bool {
        false
    }
    fn clear_flags(&self, _first: &SocketKey, _flags: u32) -> bool {
        false
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

// The readers of the other layout are functions of their own, since each needs room on the stack.

/// A key of the other layout.
#[repr(align(8))]
struct Key([u8; OTHER]);

/// Zeroes a key in place, by words and volatile. Otherwise it would be a call, which takes one more frame of a stack that
/// is full on kernels before 6.8: they count each frame in steps of 32 bytes, at least one.
#[inline(always)]
fn zeroed(key: &mut MaybeUninit<Key>) -> &mut Key {
    let words = key.as_mut_ptr().cast::<u64>();
    let mut word = 0;
    while word < OTHER / 8 {
        // SAFETY: within the key, and aligned as it is.
        unsafe { words.add(word).write_volatile(0) };
        word += 1;
    }
    // SAFETY: each of its bytes is written.
    unsafe { key.assume_init_mut() }
}

impl Writer for Key {
    #[inline(always)]
    fn put<T: Value>(&mut self, field: Field, value: T) {
        let offset = at(field);
        if offset <= OTHER - size_of::<T>() {
            // SAFETY: just checked.
            unsafe { self.0.as_mut_ptr().add(offset).cast::<T>().write_unaligned(value) }
        }
    }
}

/// A value in a map of the other layout.
struct OtherValue(*const u8);

impl Reader for OtherValue {
    #[inline(always)]
    fn get<T: Value>(&self, field: Field) -> T {
        // SAFETY: the offset of the other layout's field in its own value; the verifier checks it. Any bytes are a value.
        unsafe { self.0.add(at(field)).cast::<T>().read() }
    }
}

#[inline(never)]
fn other_affinity(key: &AffinityKey, found: &mut Affinity) -> u32 {
    let mut raw = MaybeUninit::uninit();
    let raw = zeroed(&mut raw);
    key.write(raw);
    let Some(value) = OTHER_AFFINITY.get_ptr(&raw.0) else { return 0 };
    *found = Affinity::read(&OtherValue(value.cast()));
    1
}

#[inline(never)]
fn other_socket(key: &SocketKey, found: &mut Translation) -> u32 {
    read_other_socket(key, found)
}

#[inline(always)]
fn read_other_socket(key: &SocketKey, found: &mut Translation) -> u32 {
    let Some(value) = other_value(key) else { return 0 };
    *found = Translation::read(&value);
    1
}

/// An entry of the other layout's sockets. Its key is gone from the stack when this returns.
#[inline(always)]
fn other_value(key: &SocketKey) -> Option<OtherValue> {
    let mut raw = MaybeUninit::uninit();
    let raw = zeroed(&mut raw);
    key.write(raw);
    OTHER_SOCKETS.get_ptr(&raw.0).map(|value| OtherValue(value.cast()))
}

#[inline(never)]
fn other_is_of(key: &SocketKey, service: u32) -> u32 {
    let Some(value) = other_value(key) else { return 0 };
    (value.get::<u32>(Field::TranslationService) == service) as u32
}

#[inline(never)]
fn other_is_for(key: &SocketKey, service: u32, vip: &Endpoint) -> u32 {
    let Some(value) = other_value(key) else { return 0 };
    (value.get::<u32>(Field::TranslationService) == service && value.get::<Endpoint>(Field::TranslationVip) == *vip)
        as u32
}

#[inline(never)]
fn has_other_socket(key: &SocketKey) -> u32 {
    other_value(key).is_some() as u32
}

#[inline(never)]
fn bring_over(key: &SocketKey) -> u32 {
    // The key first, and alone, so that the two don't stand on the stack together.
    let Some(value) = other_value(key) else { return 0 };
    Current.put_new(key, &Translation::read(&value));
    1
}

#[inline(never)]
fn forget_other_socket(key: &SocketKey) -> u32 {
    let mut raw = MaybeUninit::uninit();
    let raw = zeroed(&mut raw);
    key.write(raw);
    OTHER_SOCKETS.remove(&raw.0).is_ok() as u32
}
