//! The decisions: which backend, which translation, what to forget. Pure: they see the maps through
//! [`Tables`] and [`Sockets`], so that the kernel and the tests run the same code.
//!
//! ```text
//! choose  ─> the stand-in, while it is alive; otherwise as the slice says
//! connect ─> frontend? ─> choose ─> remember under the cookie ─> go to the backend
//! send    ─> frontend? ─> what the socket keeps, while it lives; otherwise choose and remember
//!         └─> no: a backend of a VIP that the socket asked? From now on it answers as itself
//! receive ─> who is this backend to the socket? ─> the VIP, or itself, as it was last asked
//! peer    ─> the same for getpeername
//! release ─> forget all of the socket
//! ```

use crate::layout::{
    AFFINITY, Affinity, AffinityKey, Backend, CHAIN, Endpoint, FURTHER, FrontendKey, HEADER, ITSELF, PREVIOUS_ITSELF,
    Pick, SENT, SocketKey, Translation, Word, is_alive, nowhere,
};
use crate::verdict::Verdict;

/// `IPPROTO_TCP`.
pub const TCP: u8 = 6;
/// `IPPROTO_UDP`.
pub const UDP: u8 = 17;

/// The maps that say what the Services are.
pub trait Tables {
    /// The service id of a front end.
    fn frontend(&self, key: &FrontendKey) -> Option<u32>;
    /// The word of a service's slice, read by one load; 0 where there is none.
    fn word(&self, service: u32) -> u64;
    /// Adds one to the service's turn and returns what it was.
    fn turn(&self, service: u32) -> u64;
    /// One entry of the arena.
    fn slot(&self, index: u32) -> u32;
    /// The backend id of a service's stand-in; 0: it has none.
    fn stand_in(&self, service: u32) -> u32;
    /// Until when stand-ins are alive, nanoseconds of the monotonic clock; 0: their process is gone.
    fn alive_until(&self) -> u64;
    /// Whether the caller is a stand-in itself ([`crate::layout::STAND_IN_THREADS`]).
    fn is_stand_in_calling(&self) -> bool;
    /// A backend.
    fn backend(&self, id: u32) -> Option<Backend>;
    /// An affinity.
    fn affinity(&self, key: &AffinityKey) -> Option<Affinity>;
    /// Remembers an affinity.
    fn set_affinity(&self, key: &AffinityKey, value: &Affinity);
    /// Says that an affinity was used now.
    fn touch_affinity(&self, key: &AffinityKey, now: u64);
    /// 32 random bits.
    fn random(&self) -> u32;
    /// Nanoseconds of the monotonic clock.
    fn now(&self) -> u64;
}

/// The map `sockets`.
pub trait Sockets {
    /// Copies an entry; false: it isn't there, and `into` stays. No Option: the verifier forbids even to
    /// copy what an empty one leaves unset.
    fn get(&self, key: &SocketKey, into: &mut Translation) -> bool;
    /// Whether there is an entry.
    fn has(&self, key: &SocketKey) -> bool;
    /// Writes an entry, whether it is there or not. False: the map is full.
    fn put(&self, key: &SocketKey, value: &Translation) -> bool;
    /// Writes an entry if it isn't there. False: it is there, or the map is full.
    fn put_new(&self, key: &SocketKey, value: &Translation) -> bool;
    /// Removes an entry. False: it wasn't there.
    fn remove(&self, key: &SocketKey) -> bool;
    /// Exchanges an entry's `next` atomically and returns the old one; None: the entry isn't there.
    fn swap_next(&self, key: &SocketKey, next: u32) -> Option<u32>;
    /// Sets flags in the `next` of a socket's first entry, atomically. False: it isn't where that can be done.
    fn set_flags(&self, first: &SocketKey, flags: u32) -> bool;
    /// Takes flags away there.
    fn clear_flags(&self, first: &SocketKey, flags: u32) -> bool;
    /// Brings an entry here that stands in another layout only.
    fn bring(&self, _key: &SocketKey) {}
    /// As [`Sockets::get`], of what was brought.
    fn get_brought(&self, key: &SocketKey, into: &mut Translation) -> bool {
        self.get(key, into)
    }
    /// As [`Sockets::put`], of what was brought.
    fn put_brought(&self, key: &SocketKey, value: &Translation) -> bool {
        self.put(key, value)
    }
    /// The flags of a socket's first entry, and which of them say of this peer that it answers itself; in place.
    fn flags(&self, first: &SocketKey, peer: &Endpoint) -> (u32, u32) {
        let mut there = Translation::default();
        if self.get(first, &mut there) { there.flags_of(peer) } else { (0, 0) }
    }
    /// Copies the backend of an entry, or the previous one, and returns its service; 0: it isn't there. In place, too.
    fn way(&self, key: &SocketKey, previous: bool, into: &mut Endpoint) -> u32 {
        let mut there = Translation::default();
        if !self.get(key, &mut there) {
            return 0;
        }
        *into = if previous { there.previous } else { there.backend };
        there.service
    }
    /// Whether the entry is there and of this service. In place, like the next: the kernel's stack is 512 bytes.
    fn is_of(&self, key: &SocketKey, service: u32) -> bool {
        let mut there = Translation::default();
        self.get(key, &mut there) && there.service == service
    }
    /// Whether the entry is there and of this service and VIP.
    fn is_for(&self, key: &SocketKey, service: u32, vip: &Endpoint) -> bool {
        let mut there = Translation::default();
        self.get(key, &mut there) && there.service == service && there.vip == *vip
    }
}

/// What a call asks for.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// The address that the application gave.
    pub vip: Endpoint,
    /// Cookie of the socket.
    pub cookie: u64,
    /// Cookie of its network namespace: who the client is.
    pub client: u64,
    /// `IPPROTO_*`.
    pub protocol: u8,
    /// Nobody will be told when the socket closes, so nothing of it may be remembered.
    pub untold: bool,
    /// It may be a send without an address: of an IPv6 socket that is connected to an IPv4 address the kernel tells
    /// them as sends to that.
    pub may_be_connection: bool,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How it ended.
    pub verdict: Verdict,
    /// Whether the call goes to `to`; if not, it goes where it asked, or fails if the verdict refuses. A
    /// flag and no Option: the verifier forbids even to copy what an empty Option leaves unset.
    pub redirected: bool,
    /// Where the call goes instead.
    pub to: Endpoint,
}

impl Decision {
    #[inline(always)]
    fn pass(verdict: Verdict) -> Decision {
        Decision { verdict, redirected: false, to: Endpoint::default() }
    }

    #[inline(always)]
    fn redirect(verdict: Verdict, to: Endpoint) -> Decision {
        Decision { verdict, redirected: true, to }
    }

    /// Whether the call fails. A connect() of UDP goes on even where its Service has no endpoint.
    #[inline(always)]
    pub fn is_refused(&self) -> bool {
        self.verdict.refuses() && !self.redirected
    }
}

struct Chosen {
    id: u32,
    life: u32,
    endpoint: Endpoint,
    verdict: Verdict,
}

/// Spreads the bits of a client's cookie (the finaliser of splitmix64).
#[inline(always)]
pub const fn hash(client: u64) -> u32 {
    let mut x = client.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) as u32
}

/// A number below `length` from 32 even bits.
#[inline(always)]
const fn scale(bits: u32, length: u32) -> u32 {
    ((bits as u64 * length as u64) >> 32) as u32
}

#[inline(always)]
fn member<T: Tables>(t: &T, service: u32, id: u32, life: u32) -> Option<Endpoint> {
    if !is_alive(life) {
        return None;
    }
    match t.backend(id) {
        Some(b) if b.life == life && b.service == service => Some(b.endpoint),
        _ => None,
    }
}

/// Whether a service's stand-in takes calls now. He must be well, which he says ever anew: once he is dead or hangs,
/// nobody need notice.
#[inline(always)]
fn takes<T: Tables>(t: &T, stand_in: u32) -> bool {
    stand_in != 0 && t.now() < t.alive_until() && !t.is_stand_in_calling()
}

#[inline(always)]
fn choose<T: Tables>(t: &T, service: u32, client: u64) -> Result<Chosen, Verdict> {
    let word = Word(t.word(service));
    if !word.is_published() {
        return Err(Verdict::Withdrawn);
    }
    let stand_in = t.stand_in(service);
    if takes(t, stand_in)
        && let Some(b) = t.backend(stand_in)
        && b.service == service
        && is_alive(b.life)
    {
        return Ok(Chosen { id: stand_in, life: b.life, endpoint: b.endpoint, verdict: Verdict::StandIn });
    }
    if word.length() == 0 {
        return Err(Verdict::NoEndpoint);
    }
    let how = t.slot(word.base());
    let sticky = how & AFFINITY != 0;
    let key = AffinityKey::new(client, service);
    if sticky {
        let seconds = t.slot(word.base() + 1);
        let now = t.now();
        if let Some(a) = t.affinity(&key)
            // Another CPU may have used it after we read the clock.
            && now.saturating_sub(a.used) <= seconds as u64 * 1_000_000_000
            && let Some(endpoint) = member(t, service, a.backend, a.life)
        {
            t.touch_affinity(&key, now);
            return Ok(Chosen { id: a.backend, life: a.life, endpoint, verdict: Verdict::Affinity });
        }
    }
    let index = match how & 0xff {
        x if x == Pick::Random as u32 => scale(t.random(), word.length()),
        x if x == Pick::Client as u32 => scale(hash(client), word.length()),
        _ => (t.turn(service) % word.length() as u64) as u32,
    };
    let id = t.slot(word.base() + HEADER + index);
    let Some(backend) = t.backend(id) else { return Err(Verdict::Inconsistent) };
    if sticky {
        t.set_affinity(&key, &Affinity { used: t.now(), backend: id, life: backend.life });
    }
    Ok(Chosen { id, life: backend.life, endpoint: backend.endpoint, verdict: Verdict::Scheduled })
}

/// Decides a connect().
#[inline(always)]
pub fn connect<M: Tables + Sockets>(m: &M, ask: &Ask) -> Decision {
    // One function after the other and none in another: the kernel's stack is 512 bytes.
    if has_chain(m, ask) {
        forget_first_way(m, ask.cookie, false);
        forget_first_way(m, ask.cookie, true);
    }
    let Some(service) = m.frontend(&FrontendKey::of(&ask.vip, ask.protocol)) else {
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
    // Another VIP has the same backend: whom the socket is connected to answers now.
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

/// The socket asks an address that is no Service's. If that is a backend which it asked by a VIP, its answers are its
/// own from now on, until the socket asks the VIP again: from whom an answer comes says nothing of which question it
/// answers, so the last one counts.
#[inline(always)]
fn answers_itself<S: Sockets>(s: &S, ask: &Ask) {
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
fn bring_back<S: Sockets>(s: &S, cookie: u64, peer: &Endpoint) {
    s.bring(&SocketKey::back(cookie, peer));
}

/// Makes answers from a backend its own, where they were a VIP's. What it writes was brought into this layout.
#[inline(never)]
fn back_is_itself<S: Sockets>(s: &S, cookie: u64, peer: &Endpoint) {
    let mut t = Translation::default();
    let back = SocketKey::back(cookie, peer);
    if s.get_brought(&back, &mut t) && t.vip != *peer {
        // Whose it is stays, so that it goes with that.
        t.vip = *peer;
        s.put_brought(&back, &t);
    }
}

/// Whether a socket may stay with a backend as far as the service's stand-in goes: with him while he takes calls, and
/// with any other while he doesn't.
#[inline(always)]
fn may_stay<T: Tables>(t: &T, service: u32, backend: u32) -> bool {
    let stand_in = t.stand_in(service);
    stand_in == 0 || (backend == stand_in) == takes(t, stand_in)
}

/// Decides a send to an address without connect(): the socket keeps the backend it has for this VIP as
/// long as that is a member of the set.
#[inline(always)]
pub fn send<M: Tables + Sockets>(m: &M, ask: &Ask) -> Decision {
    let Some(service) = m.frontend(&FrontendKey::of(&ask.vip, ask.protocol)) else {
        answers_itself(m, ask);
        return Decision::pass(Verdict::NotService);
    };
    let mut have = Translation::default();
    let mut place = Place::First;
    let mut key = SocketKey::first(ask.cookie);
    let mut had = m.get(&key, &mut have);
    if had && (have.service != service || have.vip != ask.vip) {
        have = Translation::default();
        key.service = service;
        had = m.get(&key, &mut have);
        place = if had { Place::Further } else { Place::New };
    }
    if had
        && have.vip == ask.vip
        && let Some(endpoint) = member(m, service, have.backend_id, have.life)
        && may_stay(m, service, have.backend_id)
    {
        // Two Services may have one backend: its answers belong to whom the socket asked last.
        if (place != Place::First || have.next & FURTHER != 0) && !point_back(m, ask.cookie, &have) {
            return Decision::pass(Verdict::SocketsFull);
        }
        if place == Place::First && have.next & ITSELF != 0 {
            key.service = 0;
            if !m.clear_flags(&key, ITSELF) {
                have.next &= !ITSELF;
                m.put(&key, &have);
            }
        }
        return Decision::redirect(Verdict::Kept, endpoint);
    }
    // Further ones have ways back, and the first has, once there are further ones.
    if (place == Place::Further || (place == Place::First && have.next & FURTHER != 0)) && have.previous.port != 0 {
        forget_back(m, ask.cookie, &have.previous, service);
    }
    if place == Place::First {
        // Asked of what is there, not of `had`, which the stack of older kernels has no room to keep.
        have.next = first_flags(have.service != 0 || have.next != 0, have.next);
    }
    have.vip = ask.vip;
    have.service = service;
    let verdict = choose_again(m, ask.client, &mut have);
    if !matches!(verdict, Verdict::Scheduled | Verdict::Affinity | Verdict::StandIn) {
        return Decision::pass(verdict);
    }
    if !keep(m, ask.cookie, &mut have, place) {
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

/// Where a socket's translation for a VIP stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
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
fn keep<S: Sockets>(s: &S, cookie: u64, t: &mut Translation, place: Place) -> bool {
    // One key after the other in one place, since the kernel's stack is 512 bytes.
    let mut key = SocketKey::first(cookie);
    if place == Place::First {
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
    let kept = match place {
        Place::New => link(s, &mut key, t),
        _ => s.put(&key, t),
    };
    if !kept {
        forget_back(s, cookie, &t.backend, t.service);
    }
    kept
}

/// Makes answers from a translation's backend its VIP's. False: the map is full.
#[inline(never)]
fn point_back<S: Sockets>(s: &S, cookie: u64, t: &Translation) -> bool {
    let key = SocketKey::back(cookie, &t.backend);
    s.is_for(&key, t.service, &t.vip) || s.put(&key, t)
}

/// Forgets that answers from a backend are a service's, if they are. Another service that has the same
/// backend points back again when the socket next asks it.
#[inline(never)]
fn forget_back<S: Sockets>(s: &S, cookie: u64, peer: &Endpoint, service: u32) {
    let key = SocketKey::back(cookie, peer);
    if s.is_of(&key, service) {
        s.remove(&key);
    }
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

/// Whom an answer from `from` comes from, as the socket knows it: the VIP, or None for itself.
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

/// Whom getpeername shows instead of `peer`.
#[inline(always)]
pub fn peer<S: Sockets>(s: &S, cookie: u64, peer: &Endpoint) -> Option<Endpoint> {
    let mut first = Translation::default();
    // What it only sent to says nothing of whom it is connected to.
    let is_translated = s.get(&SocketKey::first(cookie), &mut first) && first.next & SENT == 0;
    if is_translated && (first.backend == *peer || first.previous == *peer) { Some(first.vip) } else { None }
}

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

/// Forgets the ways back from a translation's backends, whosever they are: the socket is closed.
#[inline(never)]
fn forget_both_ways<S: Sockets>(s: &S, cookie: u64, t: &Translation) {
    s.remove(&SocketKey::back(cookie, &t.backend));
    if t.previous.port != 0 {
        s.remove(&SocketKey::back(cookie, &t.previous));
    }
}

#[cfg(test)]
mod tests;
