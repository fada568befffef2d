//! connect(): where the socket is led, and what is remembered of it.

use super::back::{back_is_itself, bring_back, forget_back};
use super::choose::{Chosen, choose};
use super::{Ask, Decision, Sockets, Tables, UDP};
use crate::layout::{Endpoint, FURTHER, FrontendKey, SocketKey, Translation, nowhere};
use crate::verdict::Verdict;

/// Decides a connect().
#[inline(always)]
pub fn connect<M: Tables + Sockets>(m: &M, ask: &Ask) -> Decision {
    // One function after the other and none in another: the kernel's stack is 512 bytes.
    if has_chain(m, ask) {
        forget_first_way(m, ask.cookie, false);
        forget_first_way(m, ask.cookie, true);
    }
    let Some(service) = m.frontend(&FrontendKey::of(&ask.vip, ask.looked_up)) else {
        let has_chain = has_chain(m, ask);
        forget_connection(m, ask, has_chain);
        if has_chain {
            bring_back(m, ask.cookie, &ask.vip);
            back_is_itself(m, ask.cookie, &ask.vip);
        }
        return Decision::pass(Verdict::NotService);
    };
    let (chosen, verdict) = match choose(m, service, ask.client) {
        Ok(chosen) => {
            let verdict = chosen.verdict;
            (chosen, verdict)
        }
        // Resolvers connect() UDP sockets to learn their source address: that must succeed.
        Err(Verdict::NoEndpoint) if ask.protocol == UDP => {
            (Chosen { id: 0, life: 0, endpoint: nowhere(&ask.vip), verdict: Verdict::NoEndpoint }, Verdict::NoEndpoint)
        }
        Err(verdict) => {
            forget_connection(m, ask, has_chain(m, ask));
            return Decision::pass(verdict);
        }
    };
    let mut t = Translation {
        vip: ask.vip,
        backend: chosen.endpoint,
        previous: Endpoint::default(),
        service,
        backend_id: chosen.id,
        life: chosen.life,
        next: 0,
    };
    if has_chain(m, ask) {
        t.next = FURTHER;
    }
    let kept = !ask.untold && keep_connection(m, ask, &t);
    Decision::redirect(if kept { verdict } else { Verdict::Untracked }, chosen.endpoint)
}

/// Remembers a connection; what an unconnected socket had for its datagrams stays. False: the map is full.
#[inline(never)]
fn keep_connection<S: Sockets>(s: &S, ask: &Ask, t: &Translation) -> bool {
    let mut key = SocketKey::back(ask.cookie, &t.backend);
    // Another VIP has the same backend: what the socket is connected to answers now.
    if t.next & FURTHER != 0 && s.has(&key) {
        s.put(&key, t);
    }
    key.peer = Endpoint::default();
    s.put(&key, t)
}

/// The socket is connected elsewhere, so an earlier connection to a VIP is over; what it has for its
/// datagrams to further VIPs stays.
#[inline(never)]
fn forget_connection<S: Sockets>(s: &S, ask: &Ask, has_chain: bool) {
    let first = SocketKey::first(ask.cookie);
    if has_chain {
        s.put(&first, &Translation { next: FURTHER, ..Translation::default() });
    } else {
        s.remove(&first);
    }
}

/// Whether a socket that asks has further translations. Asked anew wherever it counts, not kept: kernels before 6.8 count
/// a frame in steps of 32 bytes, and `connect`'s, which stands below all others, has none to spare.
#[inline(always)]
fn has_chain<S: Sockets>(s: &S, ask: &Ask) -> bool {
    ask.protocol == UDP && is_chained(s, ask.cookie) != 0
}

#[inline(never)]
fn is_chained<S: Sockets>(s: &S, cookie: u64) -> u32 {
    s.has(&SocketKey::chain(cookie)) as u32
}

/// Forgets a way back of a first translation that is about to be written over.
#[inline(never)]
fn forget_first_way<S: Sockets>(s: &S, cookie: u64, previous: bool) {
    let mut peer = Endpoint::default();
    let service = s.way(&SocketKey::first(cookie), previous, &mut peer);
    if service != 0 && peer.port != 0 {
        forget_back(s, cookie, &peer, service);
    }
}
