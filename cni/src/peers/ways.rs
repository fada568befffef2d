//! How the other nodes are reached from here: over which links, and which of them only by a tunnel.

use std::collections::BTreeSet;
use std::net::IpAddr;

use bowline_net::{Net, NetError};
use ipnet::IpNet;

use super::nodes::{Nodes, Peer};
use super::tunnel::{End, Ends, LEAST_MTU, Tunnels, When, is_tunnel};
use super::{Done, Links, family};
use crate::attachment::PREFIX;
use crate::datapath::NodeLink;

/// How an address of a peer's is reached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hop {
    pub(super) address: IpAddr,
    pub(super) device: u32,
    /// Behind a router, or to be taken for it.
    pub(super) is_far: bool,
    /// The longest packet that gets there, where a route says so, or a router has told.
    pub(super) mtu: Option<u32>,
}

/// How the peers are reached.
pub(super) struct Ways {
    /// For each peer, by its place: by IPv4, by IPv6.
    pub(super) peers: Vec<[Option<Hop>; 2]>,
    /// Over which interface the world is reached.
    pub(super) out: Option<u32>,
}

impl Ways {
    /// `own` are the addresses of all links.
    pub(super) fn look(
        net: &Net,
        nodes: &Nodes,
        tunnels: Tunnels,
        links: &Links,
        own: &[(u32, IpAddr)],
        done: &mut Done,
    ) -> Result<Ways, NetError> {
        let mut uplinks = BTreeSet::new();
        let mut peers = Vec::new();
        for peer in &nodes.peers {
            let mut hops = [None, None];
            for address in peer.known_by(tunnels) {
                let hop = &mut hops[family(address.is_ipv4())];
                match net.way_to(address) {
                    Ok(Some(way)) if !way.is_local && hop.is_none() => {
                        uplinks.insert(way.device);
                        let is_far = way.via.is_some() || tunnels.when == When::Always;
                        *hop = Some(Hop { address, device: way.device, is_far, mtu: way.mtu });
                    }
                    Ok(_) => {}
                    Err(error) => done.problems.push(format!("node {}: the way to {address}: {error}", peer.name)),
                }
            }
            if hops.iter().all(Option::is_none) && !peer.networks.is_empty() {
                done.problems.push(match peer.addresses.as_slice() {
                    [] => format!("node {}: it has no InternalIP: its pods are not reached", peer.name),
                    some => format!("node {}: there is no way to {some:?}: its pods are not reached", peer.name),
                });
            }
            peers.push(hops);
        }
        let mut out = None;
        // Addresses of documentation, which nobody has a route of its own to.
        for beyond in ["192.0.2.1", "2001:db8::1"] {
            let Ok(beyond) = beyond.parse::<IpAddr>() else { continue };
            if let Some(way) = net.way_to(beyond).ok().flatten().filter(|way| !way.is_local) {
                uplinks.insert(way.device);
                out.get_or_insert(way.device);
            }
        }
        let is_wire = |index: &u32| links.get(index).is_none_or(|link| link.name.starts_with(PREFIX));
        let is_tunnel = |index: &u32| links.get(index).is_some_and(|link| is_tunnel(link, tunnels));
        let own = || own.iter().filter(|(index, address)| !is_wire(index) && !address.is_loopback());
        for (index, address) in own() {
            let is_lo = links.get(index).is_some_and(|link| link.name == "lo");
            if nodes.addresses.contains(address) && !is_lo {
                uplinks.insert(*index);
            }
        }
        for index in uplinks.into_iter().filter(|index| !is_wire(index) && !is_tunnel(index)) {
            let of = |is_v4: bool| {
                let on = own().filter(|(other, address)| *other == index && address.is_ipv4() == is_v4);
                let mut on = on.map(|(_, address)| *address);
                // The one that the cluster knows the node by, if it is here.
                let known = on.clone().find(|address| nodes.addresses.contains(address));
                known.or_else(|| on.next())
            };
            done.links.push(NodeLink { index, to_pods: false, masquerade: [of(true), of(false)] });
        }
        for is_v4 in [true, false] {
            // What the node doesn't have is refused as a source.
            let has = |address: &&IpAddr| address.is_ipv4() == is_v4 && own().any(|(_, one)| one == *address);
            let known = nodes.addresses.iter().find(has).copied();
            let source = known.or_else(|| done.links.iter().find_map(|link| link.masquerade[family(is_v4)]));
            done.sources.extend(source);
        }
        done.addresses = own().map(|(_, address)| *address).collect();
        Ok(Ways { peers, out })
    }

    /// The first address by which a peer is reached, of any family.
    fn hops(&self) -> impl Iterator<Item = &Hop> {
        self.peers.iter().flatten().flatten()
    }

    /// The family in which tunnels go that carry this one: flannel's have one for each, ours one for both, the first in which
    /// a peer is reached.
    pub(super) fn outer(&self, tunnels: Tunnels, is_v4: bool) -> Option<bool> {
        if tunnels.flannel {
            return Some(is_v4);
        }
        [true, false].into_iter().find(|is_v4| self.peers.iter().any(|hops| hops[family(*is_v4)].is_some()))
    }

    /// Whether some peer's pods are only reached by a tunnel of this family; if so, how the first peer's end is.
    pub(super) fn needs_tunnel(&self, nodes: &Nodes, tunnels: Tunnels, is_v4: bool) -> Option<Hop> {
        if tunnels.when == When::Never {
            return None;
        }
        let is_through = |network: &IpNet| self.outer(tunnels, network.addr().is_ipv4()) == Some(is_v4);
        let needs = |hops: &[Option<Hop>; 2], peer: &Peer| peer.is_far(hops).any(is_through);
        let is_needed = self.peers.iter().zip(&nodes.peers).any(|(hops, peer)| needs(hops, peer));
        let first = self.peers.iter().find_map(|hops| hops[family(is_v4)]);
        first.filter(|_| is_needed)
    }

    pub(super) fn inside(&self, nodes: &Nodes) -> Vec<IpNet> {
        let networks = nodes.own.iter().chain(nodes.peers.iter().flat_map(|peer| &peer.networks)).map(IpNet::trunc);
        let near = self.hops().filter(|hop| !hop.is_far).map(|hop| hop.address);
        let nodes = nodes.addresses.iter().copied().chain(near).map(IpNet::from);
        networks.chain(nodes).collect::<BTreeSet<IpNet>>().into_iter().collect()
    }

    /// The longest packet that passes on all ways.
    pub(super) fn mtu(&self, ends: &Ends, links: &Links) -> u32 {
        let of = |index: &u32| links.get(index).map(|link| link.mtu);
        let less = ends.iter().flatten().map(End::overhead).max().unwrap_or(0);
        let to_peers = self.hops().filter_map(|hop| Some(of(&hop.device)?.saturating_sub(less)));
        let tunnels = ends.iter().flatten().map(|end| end.link.mtu);
        to_peers.chain(tunnels).chain(self.out.iter().filter_map(of)).min().unwrap_or(1500).max(LEAST_MTU)
    }
}

impl Peer {
    /// The networks of its that are not behind an address of their family on a link of ours.
    fn is_far<'a>(&'a self, hops: &'a [Option<Hop>; 2]) -> impl Iterator<Item = &'a IpNet> {
        let is_near = |network: &IpNet| hops[family(network.addr().is_ipv4())].is_some_and(|hop| !hop.is_far);
        let is_reached = hops.iter().any(Option::is_some);
        self.networks.iter().filter(move |network| is_reached && !is_near(network))
    }
}
