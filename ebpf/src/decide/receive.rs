//! What the application sees: where an answer comes from, and what the socket is connected to.

use super::Sockets;
use crate::layout::{Endpoint, FURTHER, ITSELF, PREVIOUS_ITSELF, SENT, SocketKey, Translation};

/// Where an answer from `from` comes from, as the socket knows it: the VIP, or None for itself.
#[inline(always)]
pub fn receive<S: Sockets>(s: &S, cookie: u64, from: &Endpoint) -> Option<Endpoint> {
    let mut first = Translation::default();
    if !s.get(&SocketKey::first(cookie), &mut first) {
        return None;
    }
    let mut back = Translation::default();
    if first.next & FURTHER != 0 && s.get(&SocketKey::back(cookie, from), &mut back) {
        return Some(back.vip);
    }
    let is_itself = match () {
        () if first.backend == *from => first.next & ITSELF != 0,
        () if first.previous == *from => first.next & PREVIOUS_ITSELF != 0,
        () => true,
    };
    if is_itself { None } else { Some(first.vip) }
}

/// What getpeername shows instead of `peer`.
#[inline(always)]
pub fn peer<S: Sockets>(s: &S, cookie: u64, peer: &Endpoint) -> Option<Endpoint> {
    let mut first = Translation::default();
    // What it only sent to says nothing of what it is connected to.
    let is_translated = s.get(&SocketKey::first(cookie), &mut first) && first.next & SENT == 0;
    if is_translated && (first.backend == *peer || first.previous == *peer) { Some(first.vip) } else { None }
}
