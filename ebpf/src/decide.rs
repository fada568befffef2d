//! The decisions: which backend, which translation, what to forget. Pure: they see the maps through
//! [`Tables`] and [`Sockets`], so that the kernel and the tests run the same code.
//!
//! ```text
//! choose  ─> the stand-in, while it is alive; otherwise as the slice says
//! connect ─> frontend? ─> choose ─> remember under the cookie ─> go to the backend
//! send    ─> frontend? ─> what the socket keeps, while it lives; otherwise choose and remember
//!         └─> no: a backend of a VIP that the socket asked? From now on it answers as itself
//! receive ─> what is this backend to the socket? ─> the VIP, or itself, as it was last asked
//! peer    ─> the same for getpeername
//! release ─> forget all of the socket
//! ```

use crate::layout::{Affinity, AffinityKey, Backend, Endpoint, FrontendKey, SocketKey, Translation};
use crate::verdict::Verdict;

mod back;
mod choose;
mod connect;
mod receive;
mod release;
mod send;

pub use choose::hash;
pub use connect::connect;
pub use receive::{peer, receive};
pub use release::{release, release_step};
pub use send::send;

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
    /// Cookie of its network namespace: which client it is.
    pub client: u64,
    /// `IPPROTO_*`.
    pub protocol: u8,
    /// Under which protocol front ends are looked up: the same, or 0, which none has, where the address is the loopback of
    /// a network namespace that is not the node's: a port of the node is no port of a pod.
    pub looked_up: u8,
    /// The socket's close will not be told, so nothing of it may be remembered.
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

#[cfg(test)]
mod tests;
