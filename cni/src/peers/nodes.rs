//! What the cluster says of its nodes.

use std::net::IpAddr;

use bowline_cluster::object::{Flannel, FlannelEnd, Node};
use bowline_cluster::snapshot::Snapshot;
use bowline_net::Mac;
use ipnet::IpNet;

use super::tunnel::Tunnels;

/// What the cluster says of its nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes {
    /// This node's name.
    pub name: String,
    /// This node's networks for pods.
    pub own: Vec<IpNet>,
    /// This node's addresses.
    pub addresses: Vec<IpAddr>,
    /// What flannel says of this node.
    pub(super) flannel: Option<Box<Flannel>>,
    pub(super) peers: Vec<Peer>,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) networks: Vec<IpNet>,
    pub(super) flannel: Option<Box<Flannel>>,
}

impl Nodes {
    /// Of a snapshot, on the node of this name.
    pub fn of(snapshot: &Snapshot, name: &str) -> Nodes {
        let mut nodes = Nodes { name: name.to_owned(), ..Nodes::default() };
        for node in snapshot.nodes.values().map(AsRef::<Node>::as_ref) {
            if &*node.name.name == name {
                nodes.own.clone_from(&node.pod_cidrs);
                nodes.addresses.clone_from(&node.internal_ips);
                nodes.flannel.clone_from(&node.flannel);
            } else {
                nodes.peers.push(Peer {
                    name: node.name.name.to_string(),
                    addresses: node.internal_ips.clone(),
                    networks: node.pod_cidrs.iter().map(IpNet::trunc).collect(),
                    flannel: node.flannel.clone(),
                });
            }
        }
        nodes.peers.sort_by(|one, other| one.name.cmp(&other.name));
        nodes
    }
}

/// Flannel's end of a node for a family of pods; None where flannel is no matter.
pub(super) fn flannel_end(flannel: Option<&Flannel>, tunnels: Tunnels, is_v4: bool) -> Option<FlannelEnd> {
    let flannel = flannel.filter(|_| tunnels.flannel)?;
    if is_v4 { flannel.v4 } else { flannel.v6 }
}

/// Flannel's Ethernet address of a node in our tunnels, where it has one there.
pub(super) fn flannel_mac(flannel: Option<&Flannel>, tunnels: Tunnels, is_v4: bool) -> Option<Mac> {
    let (id, mac) = flannel_end(flannel, tunnels, is_v4)?.vxlan?;
    (id == 0 || id == tunnels.id).then_some(mac)
}

impl Peer {
    /// By which addresses it is looked for, the best first: what its flannel says the others use may be another than its
    /// InternalIP (flannel's `--iface`, `--public-ip`).
    pub(super) fn known_by(&self, tunnels: Tunnels) -> impl Iterator<Item = IpAddr> + '_ {
        let of = move |is_v4| flannel_end(self.flannel.as_deref(), tunnels, is_v4);
        let flannel = [of(true), of(false)].into_iter().flatten().map(|end| end.address);
        flannel.chain(self.addresses.iter().copied())
    }
}
