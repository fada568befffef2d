//! The maps of another layout, from which an agent is just migrating: its `sockets` and `affinity` are read by that
//! layout's description (`PREVIOUS`, set by the loader). Where there is none, the verifier removes all of this.

#![allow(
    clippy::needless_borrows_for_generic_args,
    reason = "a key given by value is copied on the kernel's stack of 512 bytes"
)]

use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use bowline_ebpf::decide::Sockets;
use bowline_ebpf::describe::{Description, Field};
use bowline_ebpf::layout::{Affinity, AffinityKey, Endpoint, SocketKey, Translation};
use bowline_ebpf::record::{Reader, Record, Value, Writer};
use core::mem::MaybeUninit;

use crate::maps::Current;

/// Keys of another layout are at most so long, in bytes.
const OTHER: usize = 64;
#[btf_map(name = "other_sockets")]
static OTHER_SOCKETS: HashMap<[u8; OTHER], u64, 1> = HashMap::new();
#[btf_map(name = "other_affinity")]
static OTHER_AFFINITY: HashMap<[u8; OTHER], u64, 1> = HashMap::new();

/// The other layout; version 0: there is none. The loader writes it before the programs are loaded.
#[unsafe(no_mangle)]
static PREVIOUS: Description = Description::NONE;

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

/// Socket entries of the other layout alone; never written.
pub struct Previous;

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
pub fn other_affinity(key: &AffinityKey, found: &mut Affinity) -> u32 {
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
pub fn other_is_of(key: &SocketKey, service: u32) -> u32 {
    let Some(value) = other_value(key) else { return 0 };
    (value.get::<u32>(Field::TranslationService) == service) as u32
}

#[inline(never)]
pub fn other_is_for(key: &SocketKey, service: u32, vip: &Endpoint) -> u32 {
    let Some(value) = other_value(key) else { return 0 };
    (value.get::<u32>(Field::TranslationService) == service && value.get::<Endpoint>(Field::TranslationVip) == *vip)
        as u32
}

#[inline(never)]
fn has_other_socket(key: &SocketKey) -> u32 {
    other_value(key).is_some() as u32
}

#[inline(never)]
pub fn bring_over(key: &SocketKey) -> u32 {
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
