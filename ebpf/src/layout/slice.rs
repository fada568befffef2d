//! Slices of the arena `slots`, and the word by which a service points to its own.

/// Entries of the arena `slots`, a power of two. 4 MiB.
pub const SLOTS: u32 = 1 << 20;

/// Words of a slice before its choices.
pub const HEADER: u32 = 4;

/// Buckets of a hashing scheduler's slice for each backend, at the least.
pub const BUCKETS_A_BACKEND: u32 = 16;

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

// A word has 24 bits for the base of a slice.
const _: () = assert!(SLOTS.is_power_of_two() && SLOTS <= 1 << 24);
