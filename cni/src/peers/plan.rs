//! What is to be in the kernel for every network of pods to be reached.

use std::net::IpAddr;

use bowline_net::{Forward, Neighbour, Route};
use ipnet::IpNet;

use super::nodes::{Nodes, flannel_end, flannel_mac};
use super::tunnel::{Ends, LEAST_MTU, Tunnels, When, mac_of};
use super::ways::Ways;
use super::{Links, family};

/// No route of IPv4 is taken for narrower (`ip_rt_min_pmtu`).
const LEAST_MTU_V4: u32 = 552;

/// How a peer is reached: for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Its name.
    pub node: String,
    /// Its pods.
    pub network: IpNet,
    /// Over this interface.
    pub link: String,
    /// To this address of its.
    pub via: IpAddr,
    /// Whether by a tunnel.
    pub tunnel: bool,
}

/// What is to be in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) routes: Vec<Route>,
    pub(super) neighbours: Vec<Neighbour>,
    pub(super) forwards: Vec<Forward>,
    pub(super) reached: Vec<Reached>,
}

/// From what is known. What can't be reached is said.
pub(super) fn plan(
    nodes: &Nodes,
    tunnels: Tunnels,
    ways: &Ways,
    ends: &Ends,
    links: &Links,
    problems: &mut Vec<String>,
) -> Plan {
    let mut plan = Plan::default();
    for (hops, peer) in ways.peers.iter().zip(&nodes.peers) {
        for network in &peer.networks {
            let is_v4 = network.addr().is_ipv4();
            let node = peer.name.clone();
            let direct = hops[family(is_v4)];
            if let Some(hop) = direct.filter(|hop| !hop.is_far) {
                let mtu = narrower(hop.mtu, 0, links.get(&hop.device).map_or(0, |link| link.mtu), is_v4);
                plan.routes.push(Route { mtu, ..Route::on(hop.device, *network).via(hop.address) });
                let link = links.get(&hop.device).map(|link| link.name.clone()).unwrap_or_default();
                plan.reached.push(Reached { node, network: *network, link, via: hop.address, tunnel: false });
                continue;
            }
            if tunnels.when == When::Never {
                let way = direct.map_or("it has no address of that family".to_owned(), |hop| {
                    format!("{} is behind a router, and there are to be no tunnels", hop.address)
                });
                problems.push(format!("node {node}: {way}: {network} is not reached"));
                continue;
            }
            let Some(outer) = ways.outer(tunnels, is_v4) else { continue };
            let Some(end) = &ends[family(outer)] else { continue };
            let Some(hop) = hops[family(outer)] else {
                let said = format!(
                    "node {node}: it has no address of the tunnels' family ({}): {network} is not reached",
                    end.local
                );
                problems.push(said);
                continue;
            };
            let told = flannel_mac(peer.flannel.as_deref(), tunnels, outer);
            if tunnels.flannel && told.is_none() && peer.flannel.is_some() {
                let end = flannel_end(peer.flannel.as_deref(), tunnels, outer).and_then(|end| end.vxlan);
                let why = end.map_or("its annotations of flannel's name no end of a VXLAN".to_owned(), |(id, _)| {
                    format!("its flannel has the VXLAN {id}, not {}", tunnels.id)
                });
                problems.push(format!("node {node}: {why}: {network} is not reached"));
                continue;
            }
            let (device, mac) = (end.link.index, told.unwrap_or_else(|| mac_of(&peer.name)));
            // The network's own address is no pod's.
            let next = network.network();
            let source = end.addresses.iter().find(|address| address.is_ipv4() == is_v4).copied();
            // No router cuts a tunnel's packets that go by IPv6, nor does this node; so pods are told what still fits.
            let mtu = narrower(hop.mtu, end.overhead(), end.link.mtu, is_v4);
            plan.routes.push(Route { source, mtu, ..Route::on(device, *network).via(next) });
            plan.neighbours.push(Neighbour { device, address: next, mac });
            plan.forwards.push(Forward { device, mac, to: hop.address });
            let link = end.link.name.clone();
            plan.reached.push(Reached { node, network: *network, link, via: hop.address, tunnel: true });
        }
    }
    plan.routes.sort();
    plan.routes.dedup_by(|one, other| one.to == other.to);
    plan.neighbours.sort();
    plan.neighbours.dedup();
    plan.forwards.sort();
    plan.forwards.dedup();
    plan
}

/// The longest packet of a pod on a way that takes `way` bytes, of which `less` are the tunnel's; None: as the link has it,
/// whose own is `link`.
pub(super) fn narrower(way: Option<u32>, less: u32, link: u32, is_v4: bool) -> Option<u32> {
    let least = if is_v4 { LEAST_MTU_V4 } else { LEAST_MTU };
    way.map(|way| way.saturating_sub(less).max(least)).filter(|mtu| *mtu < link)
}
