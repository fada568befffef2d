//! A send without connect(): the backend that the socket keeps for a VIP, or one that is chosen for it.

use super::back::{answers_itself, forget_back, point_back};
use super::choose::{choose, may_stay, member};
use super::{Ask, Decision, Sockets, Tables};
use crate::layout::{CHAIN, FURTHER, FrontendKey, ITSELF, PREVIOUS_ITSELF, SENT, SocketKey, Translation};
use crate::verdict::Verdict;

/// Decides a send to an address without connect(): the socket keeps the backend it has for this VIP as
/// long as that is a member of the set.
#[inline(always)]
pub fn send<M: Tables + Sockets>(m: &M, ask: &Ask) -> Decision {
    let Some(service) = m.frontend(&FrontendKey::of(&ask.vip, ask.looked_up)) else {
        answers_itself(m, ask);
        return Decision::pass(Verdict::NotService);
    };
    let mut have = Translation::default();
    let mut entry = Entry::First;
    let mut key = SocketKey::first(ask.cookie);
    let mut had = m.get(&key, &mut have);
    if had && (have.service != service || have.vip != ask.vip) {
        have = Translation::default();
        key.service = service;
        had = m.get(&key, &mut have);
        entry = if had { Entry::Further } else { Entry::New };
    }
    if had
        && have.vip == ask.vip
        && let Some(endpoint) = member(m, service, have.backend_id, have.life)
        && may_stay(m, service, have.backend_id)
    {
        // Two Services may have one backend: its answers belong to what the socket asked last.
        if (entry != Entry::First || have.next & FURTHER != 0) && !point_back(m, ask.cookie, &have) {
            return Decision::pass(Verdict::SocketsFull);
        }
        if entry == Entry::First && have.next & ITSELF != 0 {
            key.service = 0;
            if !m.clear_flags(&key, ITSELF) {
                have.next &= !ITSELF;
                m.put(&key, &have);
            }
        }
        return Decision::redirect(Verdict::Kept, endpoint);
    }
    // Further ones have ways back, and the first has, once there are further ones.
    if (entry == Entry::Further || (entry == Entry::First && have.next & FURTHER != 0)) && have.previous.port != 0 {
        forget_back(m, ask.cookie, &have.previous, service);
    }
    if entry == Entry::First {
        // Asked of what is there, not of `had`, which the stack of older kernels has no room to keep.
        have.next = first_flags(have.service != 0 || have.next != 0, have.next);
    }
    have.vip = ask.vip;
    have.service = service;
    let verdict = choose_again(m, ask.client, &mut have);
    if !matches!(verdict, Verdict::Scheduled | Verdict::Affinity | Verdict::StandIn) {
        return Decision::pass(verdict);
    }
    if !keep(m, ask.cookie, &mut have, entry) {
        return Decision::pass(Verdict::SocketsFull);
    }
    Decision::redirect(verdict, have.backend)
}

/// The flags of a first translation that gets a backend: what was so of the one that it has is so of the previous.
#[inline(always)]
const fn first_flags(had: bool, flags: u32) -> u32 {
    match (had, flags & ITSELF != 0) {
        (false, _) => SENT,
        (true, true) => (flags & !ITSELF) | PREVIOUS_ITSELF,
        (true, false) => flags & !PREVIOUS_ITSELF,
    }
}

/// Which entry of a socket the translation for a VIP is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// It is the socket's first.
    First,
    /// It is a further one that is there.
    Further,
    /// It is a further one that isn't there yet.
    New,
}

// The two halves of a send that must choose are functions of their own, and sparing with copies, since
// the kernel's stack is 512 bytes.

/// Chooses a backend for what a socket had, `t`, and writes it there.
#[inline(never)]
fn choose_again<T: Tables>(t: &T, client: u64, have: &mut Translation) -> Verdict {
    match choose(t, have.service, client) {
        Ok(chosen) => {
            have.previous = have.backend;
            have.backend = chosen.endpoint;
            have.backend_id = chosen.id;
            have.life = chosen.life;
            chosen.verdict
        }
        Err(verdict) => verdict,
    }
}

/// Remembers what an unconnected socket has now. False: the map is full.
#[inline(never)]
fn keep<S: Sockets>(s: &S, cookie: u64, t: &mut Translation, entry: Entry) -> bool {
    // One key after the other in one place, since the kernel's stack is 512 bytes.
    let mut key = SocketKey::first(cookie);
    if entry == Entry::First {
        key.service = CHAIN;
        if t.next & FURTHER == 0 && s.has(&key) {
            t.next |= FURTHER;
        }
        key.service = 0;
        return (t.next & FURTHER == 0 || point_back(s, cookie, t)) && s.put(&key, t);
    }
    // The way back first: what is kept without one would be sent, and its answer not be recognised.
    if !point_back(s, cookie, t) {
        return false;
    }
    key.service = t.service;
    let kept = match entry {
        Entry::New => link(s, &mut key, t),
        _ => s.put(&key, t),
    };
    if !kept {
        forget_back(s, cookie, &t.backend, t.service);
    }
    kept
}

/// Puts a further translation, whose key this is, and links it into its socket's chain. Another thread that
/// does the same at the same time links its own; both stand in the chain.
#[inline(always)]
fn link<S: Sockets>(s: &S, key: &mut SocketKey, new: &Translation) -> bool {
    if !s.put_new(key, new) {
        // Another thread was first and has linked it; or the map is full, and then it isn't there.
        return s.has(key);
    }
    key.service = CHAIN;
    let before = match s.swap_next(key, new.service) {
        Some(before) => Some(before),
        None => {
            // Of the chain's head only `next` counts, which is 0 in a new translation.
            s.put_new(key, new);
            s.swap_next(key, new.service)
        }
    };
    match before {
        Some(before) => {
            key.service = new.service;
            s.swap_next(key, before);
            key.service = 0;
            if !s.set_flags(key, FURTHER)
                && let Some(flags) = s.swap_next(key, FURTHER)
            {
                s.set_flags(key, flags);
            }
            true
        }
        None => {
            key.service = new.service;
            s.remove(key);
            false
        }
    }
}
