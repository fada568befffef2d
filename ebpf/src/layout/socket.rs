//! What `sockets` remembers of a socket: under which keys, with which flags.

use super::{Endpoint, SocketKey, Translation};

/// The service id that is none and marks the head of a socket's chain.
pub const CHAIN: u32 = u32::MAX;

/// Flag of a socket's first translation: there are further ones.
pub const FURTHER: u32 = 1;
/// Flag of a socket's first translation: the backend was last asked directly, so its answers are its own.
pub const ITSELF: u32 = 1 << 1;
/// The same of the previous backend.
pub const PREVIOUS_ITSELF: u32 = 1 << 2;
/// Flag of a socket's first translation: it was sent to; what the socket is connected to, if to anything, is another
/// thing.
pub const SENT: u32 = 1 << 3;

const NO_PEER: Endpoint = Endpoint::new([0; 4], 0);

impl SocketKey {
    /// The key of a socket's first translation.
    #[inline(always)]
    pub const fn first(cookie: u64) -> SocketKey {
        SocketKey::new(cookie, NO_PEER, 0)
    }
    /// The key of the head of a socket's chain.
    #[inline(always)]
    pub const fn chain(cookie: u64) -> SocketKey {
        SocketKey::new(cookie, NO_PEER, CHAIN)
    }
    /// The key of a further translation.
    #[inline(always)]
    pub const fn further(cookie: u64, service: u32) -> SocketKey {
        SocketKey::new(cookie, NO_PEER, service)
    }
    /// The key of the way back from a backend.
    #[inline(always)]
    pub const fn back(cookie: u64, peer: &Endpoint) -> SocketKey {
        SocketKey::new(cookie, *peer, 0)
    }
}

impl Translation {
    /// The flags, as a socket's first translation has them, and which of them say of this peer that it answers itself.
    #[inline(always)]
    pub fn flags_of(&self, peer: &Endpoint) -> (u32, u32) {
        if self.backend == *peer {
            (self.next, ITSELF)
        } else if self.previous == *peer {
            (self.next, PREVIOUS_ITSELF)
        } else {
            (self.next, 0)
        }
    }
}
