//! The records of the maps: one definition for the kernel and for the agent.
//!
//! ```text
//! frontends  HASH   FrontendKey ─> Frontend                     who is asked for
//! services   ARRAY  service id ─> Service {words, turn}         which slice holds now   (mapped)
//! slots      ARRAY  one arena of u32: slices                    the whole of a decision (mapped)
//! backends   ARRAY  backend id ─> Backend                       where it goes           (mapped)
//! affinity   LRU    AffinityKey ─> Affinity                     who stays where
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

use core::mem::size_of;

/// The version of this layout. A change of any record here takes a new number: it is part of the path
/// under which maps are pinned, and an agent that finds another one migrates.
#[cfg(not(feature = "layout-next"))]
pub const VERSION: u32 = 2;
/// The version of the layout that stands in for the next one in tests.
#[cfg(feature = "layout-next")]
pub const VERSION: u32 = 1_000_003;

/// Entries of the arena `slots`, a power of two. 4 MiB.
pub const SLOTS: u32 = 1 << 20;

/// Words of a slice before its choices.
pub const HEADER: u32 = 4;

/// Buckets of a hashing scheduler's slice for each backend, at the least.
pub const BUCKETS_A_BACKEND: u32 = 16;

/// An address and a port. The address is four words, so that the kernel programs copy and compare words
/// and not bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Endpoint {
    /// 16 bytes in network order, as they lie in memory; IPv4 mapped.
    pub address: [u32; 4],
    /// Network order.
    pub port: u16,
    /// Zero.
    pub pad: u16,
}

impl Endpoint {
    /// An endpoint of an address as it lies in memory and a port in network order.
    #[inline(always)]
    pub const fn new(address: [u32; 4], port: u16) -> Endpoint {
        Endpoint { address, port, pad: 0 }
    }

    /// An endpoint of address bytes and a port, both in network order.
    pub const fn from_bytes(a: [u8; 16], port: u16) -> Endpoint {
        let address = [
            u32::from_ne_bytes([a[0], a[1], a[2], a[3]]),
            u32::from_ne_bytes([a[4], a[5], a[6], a[7]]),
            u32::from_ne_bytes([a[8], a[9], a[10], a[11]]),
            u32::from_ne_bytes([a[12], a[13], a[14], a[15]]),
        ];
        Endpoint::new(address, port)
    }

    /// The address's bytes, in network order.
    pub fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        for (to, word) in bytes.chunks_exact_mut(4).zip(self.address) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// Whether it is an IPv4 address, mapped.
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        let [a, b, c, _] = self.address;
        a == 0 && b == 0 && c == MAPPED
    }
}

/// The third word of an IPv4 address that is mapped into IPv6.
pub const MAPPED: u32 = 0xffff_u32.to_be();

// In the order of addresses and ports as people know it; for the agent alone.
impl Ord for Endpoint {
    fn cmp(&self, other: &Endpoint) -> core::cmp::Ordering {
        (self.bytes(), u16::from_be(self.port)).cmp(&(other.bytes(), u16::from_be(other.port)))
    }
}
impl PartialOrd for Endpoint {
    fn partial_cmp(&self, other: &Endpoint) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Where the connected UDP sockets of a Service without endpoints are sent: port 1 of the loopback
/// address (tcpmux, which has no UDP server), so that the kernel itself answers "port unreachable" and
/// the socket's next call fails with ECONNREFUSED. Port 0 would do the same, but getpeername() takes it for
/// "not connected".
#[inline(always)]
pub const fn nowhere(like: &Endpoint) -> Endpoint {
    let port = 1_u16.to_be();
    if like.is_v4() {
        Endpoint::new([0, 0, MAPPED, 0x7f00_0001_u32.to_be()], port)
    } else {
        Endpoint::new([0, 0, 0, 1_u32.to_be()], port)
    }
}

/// Key of `frontends`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
#[cfg(not(feature = "layout-next"))]
pub struct FrontendKey {
    /// The address that clients use.
    pub address: [u32; 4],
    /// Network order.
    pub port: u16,
    /// `IPPROTO_*`.
    pub protocol: u8,
    /// Zero.
    pub pad: u8,
}

/// Key of `frontends`, laid out otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
#[cfg(feature = "layout-next")]
pub struct FrontendKey {
    /// `IPPROTO_*`.
    pub protocol: u8,
    /// Zero.
    pub pad: u8,
    /// Network order.
    pub port: u16,
    /// The address that clients use.
    pub address: [u32; 4],
}

impl FrontendKey {
    /// The key of an endpoint and a protocol.
    #[inline(always)]
    pub const fn new(at: &Endpoint, protocol: u8) -> FrontendKey {
        FrontendKey { address: at.address, port: at.port, protocol, pad: 0 }
    }
}

/// Value of `frontends`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Frontend {
    /// Index into `services`; never 0.
    pub service: u32,
    /// None yet.
    pub flags: u32,
}

/// Element of `services`: one port of one Service in one family. 32 bytes, so that none straddles a
/// cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg(not(feature = "layout-next"))]
pub struct Service {
    /// The [`Word`] for traffic that may go to any endpoint of the cluster.
    pub cluster: u64,
    /// The [`Word`] for traffic that stays on the node; unused yet.
    pub local: u64,
    /// Counts the choices of round robin.
    pub turn: u64,
    /// Index into `backends` of the stand-in, who takes all traffic while he is alive (map `alive`); 0: none.
    pub stand_in: u64,
}

/// Element of `services`, laid out otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg(feature = "layout-next")]
pub struct Service {
    /// Zero.
    pub pad: [u64; 4],
    /// Index into `backends` of the stand-in; 0: none.
    pub stand_in: u64,
    /// Counts the choices of round robin.
    pub turn: u64,
    /// The [`Word`] for traffic that stays on the node; unused yet.
    pub local: u64,
    /// The [`Word`] for traffic that may go to any endpoint of the cluster.
    pub cluster: u64,
}

/// What one aligned store publishes: which slice of `slots` a Service now has.
///
/// ```text
/// 63        44 43        24 23         0
/// [ generation | length     | base      ]
/// ```
/// Zero: nothing is published. A published slice without backends has length 0 and a base.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Word(pub u64);

impl Word {
    /// The largest length of a slice.
    pub const MAX_LENGTH: u32 = (1 << 20) - 1;

    /// A word; generation wraps at 20 bits.
    #[inline(always)]
    pub const fn new(base: u32, length: u32, generation: u32) -> Word {
        Word((base as u64 & 0xff_ffff) | ((length as u64 & 0xf_ffff) << 24) | ((generation as u64 & 0xf_ffff) << 44))
    }
    /// Index of the slice's header in `slots`.
    #[inline(always)]
    pub const fn base(self) -> u32 {
        (self.0 & 0xff_ffff) as u32
    }
    /// How many choices follow the header.
    #[inline(always)]
    pub const fn length(self) -> u32 {
        ((self.0 >> 24) & 0xf_ffff) as u32
    }
    /// Grows with every change, 20 bits.
    #[inline(always)]
    pub const fn generation(self) -> u32 {
        (self.0 >> 44) as u32
    }
    /// Whether anything was published.
    #[inline(always)]
    pub const fn is_published(self) -> bool {
        self.0 != 0
    }
}

/// How the names of the threads of stand-ins begin, the first 8 bytes of `comm`. Their own calls to a Service that they
/// stand in for go to its endpoints: a DNS server that forwards to the cluster's would else ask itself. Whoever else
/// takes such a name is led as if there were no stand-in.
pub const STAND_IN_THREADS: [u8; 8] = *b"bowline-";

/// Flag of a slice's first word: the Service has affinity by client.
pub const AFFINITY: u32 = 1 << 8;

/// The first two words of a slice: {scheduler | flags, affinity seconds, backends, 0}, then choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Number of the scheduler in the low 8 bits, [`AFFINITY`] above.
    pub how: u32,
    /// Seconds that an affinity holds after its last use.
    pub affinity: u32,
    /// Distinct backends of the slice.
    pub backends: u32,
}

/// How a slice is read: by turn, by hash, at random. Schedulers that precompute (wrr, maglev, dh, sh)
/// differ in the slice and not in the way it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Pick {
    /// The next choice in turn.
    Turn = 0,
    /// Any choice, uniformly.
    Random = 1,
    /// The choice that the client hashes to.
    Client = 2,
}

/// Element of `backends`: one endpoint of one Service port. It belongs to one service id only, so that
/// membership is one comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg(not(feature = "layout-next"))]
pub struct Backend {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Whose it is; an index into `services`.
    pub service: u32,
    /// Odd while it is a member of its Service's set; each life of an id has another number.
    pub life: u32,
    /// The zone's number; unused yet.
    pub zone: u32,
}

/// Element of `backends`, laid out otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg(feature = "layout-next")]
pub struct Backend {
    /// Odd while it is a member of its Service's set; each life of an id has another number.
    pub life: u32,
    /// The zone's number; unused yet.
    pub zone: u32,
    /// Whose it is; an index into `services`.
    pub service: u32,
    /// Zero.
    pub pad: [u32; 2],
    /// Where it is.
    pub endpoint: Endpoint,
}

/// Whether a backend's life says that it is a member.
#[inline(always)]
pub const fn is_alive(life: u32) -> bool {
    life & 1 == 1
}

/// Key of `affinity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
#[cfg(not(feature = "layout-next"))]
pub struct AffinityKey {
    /// Cookie of the client's network namespace: a socket mostly has no source address yet.
    pub client: u64,
    /// Index into `services`.
    pub service: u32,
    /// Zero.
    pub pad: u32,
}

/// Key of `affinity`, laid out otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
#[cfg(feature = "layout-next")]
pub struct AffinityKey {
    /// Zero.
    pub pad: u32,
    /// Index into `services`.
    pub service: u32,
    /// Cookie of the client's network namespace.
    pub client: u64,
}

impl AffinityKey {
    /// The key of a client at a service.
    #[inline(always)]
    pub const fn new(client: u64, service: u32) -> AffinityKey {
        AffinityKey { client, service, pad: 0 }
    }
}

/// Value of `affinity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg(not(feature = "layout-next"))]
pub struct Affinity {
    /// When it was last used; nanoseconds of the monotonic clock.
    pub used: u64,
    /// Index into `backends`.
    pub backend: u32,
    /// The life of that backend.
    pub life: u32,
}

/// Value of `affinity`, laid out otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg(feature = "layout-next")]
pub struct Affinity {
    /// The life of that backend.
    pub life: u32,
    /// Index into `backends`.
    pub backend: u32,
    /// When it was last used; nanoseconds of the monotonic clock.
    pub used: u64,
}

/// Key of `sockets`. A socket's entries:
///
/// ```text
/// cookie                     its first translation: a connection, or the first VIP it sent to;
///                            `next` is flags: [`FURTHER`], [`ITSELF`], [`PREVIOUS_ITSELF`], [`SENT`]
/// cookie, CHAIN              only if it sent to further VIPs: `next` is the last of them
/// cookie, service id         one of those: the backend it keeps, and the `next` of the chain
/// cookie, backend endpoint   the way back: whose answers come from there; the backend is its own VIP
///                            where the socket last asked it directly
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
#[cfg(not(feature = "layout-next"))]
pub struct SocketKey {
    /// The kernel's cookie of the socket; unique until reboot.
    pub cookie: u64,
    /// A backend, or zero.
    pub peer: Endpoint,
    /// A service id, [`CHAIN`], or zero.
    pub service: u32,
}

/// Key of `sockets`, laid out otherwise. No longer than the other: both stand on the stack of a program that brings over
/// what the other has, which kernels before 6.8 fill up (docs/decisions/0012-kernels-are-tried.md).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
#[cfg(feature = "layout-next")]
pub struct SocketKey {
    /// A service id, [`CHAIN`], or zero.
    pub service: u32,
    /// A backend, or zero.
    pub peer: Endpoint,
    /// The kernel's cookie of the socket; unique until reboot.
    pub cookie: u64,
}

/// The service id that is none and marks the head of a socket's chain.
pub const CHAIN: u32 = u32::MAX;

/// Flag of a socket's first translation: there are further ones.
pub const FURTHER: u32 = 1;
/// Flag of a socket's first translation: the backend was last asked directly, so its answers are its own.
pub const ITSELF: u32 = 1 << 1;
/// The same of the previous backend.
pub const PREVIOUS_ITSELF: u32 = 1 << 2;
/// Flag of a socket's first translation: it was sent to; whom the socket is connected to, if to anybody, is another
/// thing.
pub const SENT: u32 = 1 << 3;

const NO_PEER: Endpoint = Endpoint::new([0; 4], 0);

impl SocketKey {
    #[inline(always)]
    #[cfg(not(feature = "layout-next"))]
    const fn make(cookie: u64, peer: Endpoint, service: u32) -> SocketKey {
        SocketKey { cookie, peer, service }
    }
    #[inline(always)]
    #[cfg(feature = "layout-next")]
    const fn make(cookie: u64, peer: Endpoint, service: u32) -> SocketKey {
        SocketKey { service, peer, cookie }
    }
    /// The key of a socket's first translation.
    #[inline(always)]
    pub const fn first(cookie: u64) -> SocketKey {
        Self::make(cookie, NO_PEER, 0)
    }
    /// The key of the head of a socket's chain.
    #[inline(always)]
    pub const fn chain(cookie: u64) -> SocketKey {
        Self::make(cookie, NO_PEER, CHAIN)
    }
    /// The key of a further translation.
    #[inline(always)]
    pub const fn further(cookie: u64, service: u32) -> SocketKey {
        Self::make(cookie, NO_PEER, service)
    }
    /// The key of the way back from a backend.
    #[inline(always)]
    pub const fn back(cookie: u64, peer: &Endpoint) -> SocketKey {
        Self::make(cookie, *peer, 0)
    }
}

/// Value of `sockets`: what was asked for and where it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg(not(feature = "layout-next"))]
pub struct Translation {
    /// What the application asked for.
    pub vip: Endpoint,
    /// Where it went.
    pub backend: Endpoint,
    /// Where it went before that, so that an answer on its way is still recognised; or zero.
    pub previous: Endpoint,
    /// Index into `services`.
    pub service: u32,
    /// Index into `backends`; 0 where there was none.
    pub backend_id: u32,
    /// The life of that backend.
    pub life: u32,
    /// Service id of the next further translation, 0 ends the chain; of the first translation, flags.
    pub next: u32,
}

/// Value of `sockets`, laid out otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg(feature = "layout-next")]
pub struct Translation {
    /// Service id of the next further translation, 0 ends the chain; of the first translation, flags.
    pub next: u32,
    /// The life of that backend.
    pub life: u32,
    /// Index into `backends`; 0 where there was none.
    pub backend_id: u32,
    /// Where it went before that, or zero.
    pub previous: Endpoint,
    /// Where it went.
    pub backend: Endpoint,
    /// What the application asked for.
    pub vip: Endpoint,
    /// Index into `services`.
    pub service: u32,
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

/// Bytes of text in a [`Name`]: two names of 63 bytes, a port name of 63, separators, room.
pub const NAME_BYTES: usize = 200;

/// Value of `names`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Name {
    /// Bytes of `text` that count.
    pub length: u32,
    /// `namespace/name/port name/protocol/family`, UTF-8.
    pub text: [u8; NAME_BYTES],
}

const _: () = {
    assert!(size_of::<Endpoint>() == 20);
    assert!(size_of::<FrontendKey>() == 20);
    assert!(size_of::<Frontend>() == 8);
    assert!(size_of::<AffinityKey>() == 16);
    assert!(size_of::<Affinity>() == 16);
    assert!(size_of::<Translation>() == 76);
    assert!(size_of::<SocketKey>() == 32);
    assert!(size_of::<Name>() == 204);
    assert!(SLOTS.is_power_of_two() && SLOTS <= 1 << 24);
};
#[cfg(not(feature = "layout-next"))]
const _: () = {
    assert!(size_of::<Service>() == 32);
    assert!(size_of::<Backend>() == 32);
};
#[cfg(feature = "layout-next")]
const _: () = {
    assert!(size_of::<Service>() == 64);
    assert!(size_of::<Backend>() == 40);
};
