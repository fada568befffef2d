//! Ways back: which VIP the answers of a backend show, once a socket has asked several, or a backend itself.

use super::{Ask, Sockets};
use crate::layout::{Endpoint, FURTHER, SENT, SocketKey, Translation};

/// The socket asks an address that is no Service's. If that is a backend which it asked by a VIP, its answers are its
/// own from now on, until the socket asks the VIP again: where an answer comes from says nothing of which question it
/// answers, so the last one counts.
#[inline(always)]
pub(super) fn answers_itself<S: Sockets>(s: &S, ask: &Ask) {
    // One look for those that never asked a Service, as most.
    if s.has(&SocketKey::first(ask.cookie)) && first_is_itself(s, ask) & FURTHER != 0 {
        bring_back(s, ask.cookie, &ask.vip);
        back_is_itself(s, ask.cookie, &ask.vip);
    }
}

/// The same in the first translation alone. Returns its flags; none where it is the connection that is used.
#[inline(never)]
fn first_is_itself<S: Sockets>(s: &S, ask: &Ask) -> u32 {
    let first = SocketKey::first(ask.cookie);
    s.bring(&first);
    let (flags, flag) = s.flags(&first, &ask.vip);
    if ask.may_be_connection && flag != 0 && flags & SENT == 0 {
        return 0;
    }
    if flag & !flags != 0 {
        s.set_flags(&first, flag);
    }
    flags
}

#[inline(never)]
pub(super) fn bring_back<S: Sockets>(s: &S, cookie: u64, peer: &Endpoint) {
    s.bring(&SocketKey::back(cookie, peer));
}

/// Makes answers from a backend its own, where they were a VIP's. What it writes was brought into this layout.
#[inline(never)]
pub(super) fn back_is_itself<S: Sockets>(s: &S, cookie: u64, peer: &Endpoint) {
    let mut t = Translation::default();
    let back = SocketKey::back(cookie, peer);
    if s.get_brought(&back, &mut t) && t.vip != *peer {
        // Its service stays, so that it goes with that.
        t.vip = *peer;
        s.put_brought(&back, &t);
    }
}

/// Makes answers from a translation's backend its VIP's. False: the map is full.
#[inline(never)]
pub(super) fn point_back<S: Sockets>(s: &S, cookie: u64, t: &Translation) -> bool {
    let key = SocketKey::back(cookie, &t.backend);
    s.is_for(&key, t.service, &t.vip) || s.put(&key, t)
}

/// Forgets that answers from a backend are a service's, if they are. Another service that has the same
/// backend points back again when the socket next asks it.
#[inline(never)]
pub(super) fn forget_back<S: Sockets>(s: &S, cookie: u64, peer: &Endpoint, service: u32) {
    let key = SocketKey::back(cookie, peer);
    if s.is_of(&key, service) {
        s.remove(&key);
    }
}

/// Forgets the ways back from a translation's backends, of whichever service: the socket is closed.
#[inline(never)]
pub(super) fn forget_both_ways<S: Sockets>(s: &S, cookie: u64, t: &Translation) {
    s.remove(&SocketKey::back(cookie, &t.backend));
    if t.previous.port != 0 {
        s.remove(&SocketKey::back(cookie, &t.previous));
    }
}
