//! The records of the maps: one definition for the kernel and for the agent.
//!
//! ```text
//! frontends  HASH   FrontendKey ─> Frontend                     what is asked for
//! services   ARRAY  service id ─> Service {words, turn}         which slice holds now   (mapped)
//! slots      ARRAY  one arena of u32: slices                    the whole of a decision (mapped)
//! backends   ARRAY  backend id ─> Backend                       where it goes           (mapped)
//! affinity   LRU    AffinityKey ─> Affinity                     which client stays where
//! sockets    HASH   SocketKey ─> Translation                    what was translated, until the socket closes
//! names      HASH   service id ─> Name                          for people, and for an agent that restarts
//! layout     ARRAY  0 ─> Description                            where each field of all these stands
//! verdicts   PERCPU verdict ─> u64                              counts
//! alive      ARRAY  0 ─> u64                                    until when stand-ins take traffic (mapped)
//! life       SOCKMAP 0 ─> a socket of their process             gone as soon as the process is
//! ```
//!
//! Addresses are 16 bytes in network order, IPv4 as `::ffff:a.b.c.d`; ports are in network order;
//! everything else is in the machine's. Every byte of padding is named and zero, since hash maps compare
//! keys by their bytes.

use crate::record::records;

mod endpoint;
mod slice;
mod socket;

pub use endpoint::{Endpoint, MAPPED, nowhere};
pub use slice::{AFFINITY, BUCKETS_A_BACKEND, HEADER, Header, Pick, SLOTS, Word};
pub use socket::{CHAIN, FURTHER, ITSELF, PREVIOUS_ITSELF, SENT};

/// The version of this layout. A change of any record here takes the next number: it is part of the path under which
/// maps are pinned, and an agent that finds another one migrates. The twin for tests has numbers of its own.
pub const VERSION: u32 = if cfg!(feature = "layout-next") { 2_000_000 } else { 0 } + 3;

/// Bytes of text in a [`Name`]: two names of 63 bytes, a port name of 63, separators, room.
pub const NAME_BYTES: usize = 200;

// The list. `record as ENTRY = NUMBER`, `field: TYPE as ENTRY = NUMBER`: what it is called in a description, and its
// number there, which is never given to another. `_: TYPE | TYPE` is padding at the end, which is zero: of this layout,
// and of its twin. What is made of the list is told in record.rs.
records! {
    /// Key of `frontends`.
    FrontendKey as FrontendKeySize = 0 {
        /// The address that clients use.
        address: [u32; 4] as FrontendKeyAddress = 1,
        /// Network order.
        port: u16 as FrontendKeyPort = 2,
        /// `IPPROTO_*`.
        protocol: u8 as FrontendKeyProtocol = 3,
        _: u8 | u8
    }

    /// Value of `frontends`.
    Frontend as FrontendSize = 4 {
        /// Index into `services`; never 0.
        service: u32 as FrontendService = 5,
    }

    /// Element of `services`: one port of one Service in one family. 32 bytes, so that none straddles a
    /// cache line.
    Service as ServiceSize = 6 {
        /// The [`Word`] for traffic that may go to any endpoint of the cluster.
        cluster: u64 as ServiceCluster = 7,
        /// The [`Word`] for traffic that stays on the node. Nothing reads it yet: the policies `Local` will.
        local: u64 as ServiceLocal = 36,
        /// Counts the choices of round robin.
        turn: u64 as ServiceTurn = 8,
        /// Index into `backends` of the stand-in, which takes all traffic while it is alive (map `alive`); 0: none.
        stand_in: u64 as ServiceStandIn = 35,
        _: [u64; 0] | [u64; 4]
    }

    /// Element of `backends`: one endpoint of one Service port. It belongs to one service id only, so that
    /// membership is one comparison. 32 bytes, to which the kernel would round it up
    /// itself.
    Backend as BackendSize = 9 {
        /// Where it is.
        endpoint: Endpoint as BackendEndpoint = 10,
        /// The service it belongs to; an index into `services`.
        service: u32 as BackendService = 11,
        /// Odd while it is a member of its Service's set; each life of an id has another number.
        life: u32 as BackendLife = 12,
        _: [u32; 1] | [u32; 4]
    }

    /// Key of `affinity`.
    AffinityKey as AffinityKeySize = 13 {
        /// Cookie of the client's network namespace: a socket mostly has no source address yet.
        client: u64 as AffinityKeyClient = 14,
        /// Index into `services`.
        service: u32 as AffinityKeyService = 15,
        _: u32 | u32
    }

    /// Value of `affinity`.
    Affinity as AffinitySize = 16 {
        /// When it was last used; nanoseconds of the monotonic clock.
        used: u64 as AffinityUsed = 17,
        /// Index into `backends`.
        backend: u32 as AffinityBackend = 18,
        /// The life of that backend.
        life: u32 as AffinityLife = 19,
    }

    /// Key of `sockets`. A socket's entries:
    ///
    /// ```text
    /// cookie                     its first translation: a connection, or the first VIP it sent to;
    ///                            `next` is flags: [`FURTHER`], [`ITSELF`], [`PREVIOUS_ITSELF`], [`SENT`]
    /// cookie, CHAIN              only if it sent to further VIPs: `next` is the last of them
    /// cookie, service id         one of those: the backend it keeps, and the `next` of the chain
    /// cookie, backend endpoint   the way back: what answers from there are of; the backend is its own VIP
    ///                            where the socket last asked it directly
    /// ```
    ///
    /// The twin's is no longer: both stand on the stack of a program that brings over what the other has, which
    /// kernels before 6.8 fill up (docs/decisions/0012-kernels-are-tried.md).
    SocketKey as SocketKeySize = 20 {
        /// The kernel's cookie of the socket; unique until reboot.
        cookie: u64 as SocketKeyCookie = 21,
        /// A backend, or zero.
        peer: Endpoint as SocketKeyPeer = 22,
        /// A service id, [`CHAIN`], or zero.
        service: u32 as SocketKeyService = 23,
    }

    /// Value of `sockets`: what was asked for and where it went.
    #[derive(Default)]
    Translation as TranslationSize = 24 {
        /// What the application asked for.
        vip: Endpoint as TranslationVip = 25,
        /// Where it went.
        backend: Endpoint as TranslationBackend = 26,
        /// Where it went before that, so that an answer on its way is still recognised; or zero.
        previous: Endpoint as TranslationPrevious = 27,
        /// Index into `services`.
        service: u32 as TranslationService = 28,
        /// Index into `backends`; 0 where there was none.
        backend_id: u32 as TranslationBackendId = 29,
        /// The life of that backend.
        life: u32 as TranslationLife = 30,
        /// Service id of the next further translation, 0 ends the chain; of the first translation, flags.
        next: u32 as TranslationNext = 31,
    }

    /// Value of `names`.
    Name as NameSize = 32 {
        /// Bytes of `text` that count.
        length: u32 as NameLength = 33,
        /// `namespace/name/port name/protocol/family`, UTF-8.
        text: [u8; NAME_BYTES] as NameText = 34,
    }
}

impl FrontendKey {
    /// The key of an endpoint and a protocol.
    #[inline(always)]
    pub const fn of(at: &Endpoint, protocol: u8) -> FrontendKey {
        FrontendKey::new(at.address, at.port, protocol)
    }
}

/// Whether a backend's life says that it is a member.
#[inline(always)]
pub const fn is_alive(life: u32) -> bool {
    life & 1 == 1
}

/// How the names of the threads of stand-ins begin, the first 8 bytes of `comm`. Their own calls to a Service that they
/// stand in for go to its endpoints: a DNS server that forwards to the cluster's would else ask itself. Any other
/// thread with such a name is led as if there were no stand-in.
pub const STAND_IN_THREADS: [u8; 8] = *b"bowline-";

#[cfg(test)]
mod tests;
