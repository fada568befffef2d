//! How it ended with a packet of pods. Every packet that the programs decide on is counted under one of these.

/// The outcome; the number is its index in the map `packet_verdicts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PacketVerdict {
    /// Given to a pod of this node.
    ToPod = 0,
    /// Sent on to where the node's routes lead.
    ToLink = 1,
    /// A pod's, left to the node's own network stack: it is for the node, or the stack has to answer it.
    ToNode = 2,
    /// Dropped: a pod's whose source is not its own.
    Spoofed = 3,
    /// Dropped: from a device that no pod is known behind. It is being taken away.
    UnknownPod = 4,
    /// Dropped: a pod's that is neither IP nor ARP.
    NotIp = 5,
    /// Dropped: a pod's whose headers are not whole.
    Malformed = 6,
    /// A new flow of a pod leaves the cluster under the node's address.
    Masqueraded = 7,
    /// A new flow of the node itself gets another port, since a pod's flow has its own.
    Moved = 8,
    /// A new flow from the world to a pod's own address: what the pod answers is not masqueraded.
    Direct = 9,
    /// Dropped: no port is free for a flow with this peer.
    NoPort = 10,
    /// Dropped: a new flow, and the map `flows` is full.
    FlowsFull = 11,
    /// Dropped: a fragment that would be translated, whose first one did not come before it.
    FragmentLost = 12,
    /// Dropped: it would be translated, and its protocol can not be.
    Untranslatable = 13,
    /// A new flow to a pod by a port of the node.
    HostPort = 14,
}

impl PacketVerdict {
    /// All of them, in the order of their numbers.
    pub const ALL: [PacketVerdict; 15] = [
        PacketVerdict::ToPod,
        PacketVerdict::ToLink,
        PacketVerdict::ToNode,
        PacketVerdict::Spoofed,
        PacketVerdict::UnknownPod,
        PacketVerdict::NotIp,
        PacketVerdict::Malformed,
        PacketVerdict::Masqueraded,
        PacketVerdict::Moved,
        PacketVerdict::Direct,
        PacketVerdict::NoPort,
        PacketVerdict::FlowsFull,
        PacketVerdict::FragmentLost,
        PacketVerdict::Untranslatable,
        PacketVerdict::HostPort,
    ];

    /// The name in metrics and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            PacketVerdict::ToPod => "to_pod",
            PacketVerdict::ToLink => "to_link",
            PacketVerdict::ToNode => "to_node",
            PacketVerdict::Spoofed => "spoofed",
            PacketVerdict::UnknownPod => "unknown_pod",
            PacketVerdict::NotIp => "not_ip",
            PacketVerdict::Malformed => "malformed",
            PacketVerdict::Masqueraded => "masqueraded",
            PacketVerdict::Moved => "moved",
            PacketVerdict::Direct => "direct",
            PacketVerdict::NoPort => "no_port",
            PacketVerdict::FlowsFull => "flows_full",
            PacketVerdict::FragmentLost => "fragment_lost",
            PacketVerdict::Untranslatable => "untranslatable",
            PacketVerdict::HostPort => "host_port",
        }
    }

    /// Whether the packet is dropped.
    pub const fn drops(self) -> bool {
        !matches!(
            self,
            PacketVerdict::ToPod
                | PacketVerdict::ToLink
                | PacketVerdict::ToNode
                | PacketVerdict::Masqueraded
                | PacketVerdict::Moved
                | PacketVerdict::Direct
                | PacketVerdict::HostPort
        )
    }
}
