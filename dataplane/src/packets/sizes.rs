//! How many entries the maps of packets have.

use bowline_ebpf::packet::layout::VERSION;

use crate::kernel::{PACKETS, name_of};

/// How many entries the maps have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketSizes {
    /// Pods of this node.
    pub pods: u32,
    /// Addresses of this node and of its pods.
    pub local: u32,
    /// Networks in which pods are seen with their own addresses.
    pub inside: u32,
    /// Ports of the node that pods have.
    pub host_ports: u32,
    /// Flows that are translated or remembered, twice each: there and back.
    pub flows: u32,
    /// Datagrams in pieces on their way at the same time; the oldest are forgotten.
    pub fragments: u32,
}

impl Default for PacketSizes {
    fn default() -> PacketSizes {
        PacketSizes { pods: 1024, local: 4096, inside: 65_536, host_ports: 4096, flows: 262_144, fragments: 8192 }
    }
}

impl PacketSizes {
    /// By map.
    pub(super) fn entries(&self) -> [(&'static str, u32); 6] {
        [
            ("veths", self.pods),
            ("local", self.local),
            ("inside", self.inside),
            ("host_ports", self.host_ports),
            ("flows", self.flows),
            ("fragments", self.fragments),
        ]
    }

    /// The name of the folder in which maps of this version and these sizes are pinned.
    pub(super) fn folder(&self) -> String {
        name_of(PACKETS, VERSION, &self.entries())
    }
}
