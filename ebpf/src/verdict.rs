//! How a decision ended. Every decision ends in one of these, is counted under it, and is shown to
//! people by its name.

/// The outcome of one decision; the number is its index in the map `verdicts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Verdict {
    /// The scheduler chose a backend.
    Scheduled = 0,
    /// The client's affinity chose it.
    Affinity = 1,
    /// The unconnected socket keeps the backend it has.
    Kept = 2,
    /// Refused: the Service has no endpoint.
    NoEndpoint = 3,
    /// Scheduled and not remembered, since the map `sockets` is full or the socket's close will not be told
    /// (MPTCP): the peer shows as the backend, not as the VIP.
    Untracked = 4,
    /// Refused: the map `sockets` is full and the answer could not be told from a stranger's.
    SocketsFull = 5,
    /// Passed on: the Service was being taken away at that moment.
    Withdrawn = 6,
    /// Refused: a map contradicts another; never seen unless something else wrote the maps.
    Inconsistent = 7,
    /// The Service's stand-in on this node takes it.
    StandIn = 8,
    /// Passed on: not a Service's address. Not counted: it is every other connection of the node.
    NotService = 9,
}

impl Verdict {
    /// Those that are counted, in the order of their numbers.
    pub const COUNTED: [Verdict; 9] = [
        Verdict::Scheduled,
        Verdict::Affinity,
        Verdict::Kept,
        Verdict::NoEndpoint,
        Verdict::Untracked,
        Verdict::SocketsFull,
        Verdict::Withdrawn,
        Verdict::Inconsistent,
        Verdict::StandIn,
    ];

    /// The name in metrics and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Scheduled => "scheduled",
            Verdict::Affinity => "affinity",
            Verdict::Kept => "kept",
            Verdict::NoEndpoint => "no_endpoint",
            Verdict::Untracked => "untracked",
            Verdict::SocketsFull => "sockets_full",
            Verdict::Withdrawn => "withdrawn",
            Verdict::Inconsistent => "inconsistent",
            Verdict::StandIn => "stand_in",
            Verdict::NotService => "not_service",
        }
    }

    /// Whether the call that asked fails.
    pub const fn refuses(self) -> bool {
        matches!(self, Verdict::NoEndpoint | Verdict::SocketsFull | Verdict::Inconsistent)
    }
}
