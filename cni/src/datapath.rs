//! What pods' network needs of the kernel's programs. It is a trait, since the crates of the kernel and of CNI don't know
//! each other: the agent puts them together.

use std::net::IpAddr;

use bowline_cni_protocol::PortMapping;
use bowline_net::Mac;
use ipnet::IpNet;

use crate::attachment::Attachment;

/// A pod's wire, as its packets are known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodWire {
    /// The number of the node's end.
    pub index: u32,
    /// The address of the node's end.
    pub host_mac: Mac,
    /// The address of the pod's end.
    pub pod_mac: Mac,
    /// The pod's addresses, at most one a family.
    pub addresses: Vec<IpAddr>,
    /// The longest packet, in bytes.
    pub mtu: u32,
    /// Whether the node's end has a queue, which all that is for the pod has to pass.
    pub has_queue: bool,
}

impl PodWire {
    /// That of an attachment, whose node's end has this number.
    pub(crate) fn of(attachment: &Attachment, index: u32, has_queue: bool) -> PodWire {
        PodWire {
            index,
            host_mac: attachment.key.macs().0,
            pod_mac: attachment.mac,
            addresses: attachment.addresses.clone(),
            mtu: attachment.mtu,
            has_queue,
        }
    }
}

/// A link over which packets come and go that are not of this node's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeLink {
    /// Its number.
    pub index: u32,
    /// Whether it leads to pods alone: those of other nodes (VXLAN), or of the network before this one (its bridge).
    pub to_pods: bool,
    /// The node's addresses on it, which pods' packets to the outside get: IPv4, IPv6.
    pub masquerade: [Option<IpAddr>; 2],
}

/// Where the packets of pods meet the kernel's programs.
pub trait Datapath: Send + Sync {
    /// Lets packets of a pod pass; again, if it is there.
    ///
    /// # Errors
    /// Why the kernel refuses, in words for people. Nothing is left of it.
    fn put_pod(&self, wire: &PodWire) -> Result<(), String>;

    /// Forgets pods, by their numbers and addresses, with the flows that were translated for them.
    fn remove_pods(&self, pods: &[(u32, Vec<IpAddr>)]);

    /// Forgets all pods but those at these numbers: what an agent before this one has left.
    fn keep_pods(&self, indices: &[u32]);

    /// Leads a port of the node to a pod, to its addresses of the port's family.
    ///
    /// # Errors
    /// As of [`Datapath::put_pod`].
    fn put_port(&self, port: &PortMapping, addresses: &[IpAddr]) -> Result<(), String>;

    /// Takes that back, unless the port leads elsewhere by now.
    fn remove_port(&self, port: &PortMapping, addresses: &[IpAddr]);

    /// The links over which packets come and go, and all of the node's own addresses; others that were told are forgotten.
    /// False: not all of it could be done.
    fn set_links(&self, links: &[NodeLink], addresses: &[IpAddr]) -> bool;

    /// Where pods' packets go to as they are: other packets get the node's address.
    fn set_inside(&self, networks: &[IpNet]);
}
