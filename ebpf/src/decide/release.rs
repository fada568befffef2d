//! The close of a socket: all that is remembered of it goes.

use super::back::forget_both_ways;
use super::{Sockets, UDP};
use crate::layout::{FURTHER, SocketKey, Translation};

/// Forgets a socket's first translation. Returns the head of its chain for [`release_step`]; 0: done.
#[inline(never)]
pub fn release<S: Sockets>(s: &S, cookie: u64, protocol: u8) -> u32 {
    let first = SocketKey::first(cookie);
    if protocol != UDP {
        s.remove(&first);
        return 0;
    }
    let mut had = Translation::default();
    if s.get(&first, &mut had) {
        s.remove(&first);
        if had.next & FURTHER != 0 {
            forget_both_ways(s, cookie, &had);
        }
    }
    let chain = SocketKey::chain(cookie);
    let mut head = Translation::default();
    if s.get(&chain, &mut head) {
        s.remove(&chain);
    }
    head.next
}

/// Forgets one further translation and returns the next of the chain; 0 ends it.
#[inline(always)]
pub fn release_step<S: Sockets>(s: &S, cookie: u64, service: u32) -> u32 {
    let key = SocketKey::further(cookie, service);
    let mut t = Translation::default();
    if !s.get(&key, &mut t) {
        return 0;
    }
    forget_both_ways(s, cookie, &t);
    s.remove(&key);
    t.next
}
