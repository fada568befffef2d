//! The way to the pods of other nodes, as the Node objects say where they are.
//!
//! ```text
//! Node: podCIDRs, InternalIP ─┬─ on a link of ours: a route, its address is the next hop
//!                             └─ behind a router:   a route into the tunnel (VXLAN), whose other end it is
//! ```
//! What is wanted follows from the nodes alone. What is there is compared with it when either changes, and the difference
//! is written: nothing is flushed, and what somebody took away is back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use bowline_cluster::object::Node;
use bowline_cluster::snapshot::Snapshot;
use bowline_net::{BOWLINE, EEXIST, Forward, Link, Mac, Neighbour, Net, NetError, Route, Vxlan};
use ipnet::IpNet;

use crate::attachment::PREFIX;
use crate::datapath::NodeLink;

/// The name of the tunnels' interface.
pub const TUNNEL: &str = "bowline-vxlan";

/// What VXLAN adds to a packet: Ethernet, VXLAN, UDP and the outer IP header.
const OVERHEAD_V4: u32 = 50;
const OVERHEAD_V6: u32 = 70;
/// No IPv6 below that (RFC 8200).
const LEAST_MTU: u32 = 1280;

/// How tunnels are made; the same on all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnels {
    /// The network's identifier, 24 bits.
    pub id: u32,
    /// The UDP port, in host byte order.
    pub port: u16,
    /// Whether peers on a link of ours are reached through them as well.
    pub always: bool,
}

impl Default for Tunnels {
    fn default() -> Tunnels {
        // Of IANA for VXLAN, so that it is not flannel's (8472).
        Tunnels { id: 4_242, port: 4789, always: false }
    }
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Peer {
    name: String,
    addresses: Vec<IpAddr>,
    networks: Vec<IpNet>,
}

/// What the cluster says of its nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes {
    /// This node's networks for pods.
    pub own: Vec<IpNet>,
    /// This node's addresses.
    pub addresses: Vec<IpAddr>,
    peers: Vec<Peer>,
}

impl Nodes {
    /// Of a snapshot, on the node of this name.
    pub fn of(snapshot: &Snapshot, name: &str) -> Nodes {
        let mut nodes = Nodes::default();
        for node in snapshot.nodes.values() {
            let node: &Node = node;
            if &*node.name.name == name {
                nodes.own.clone_from(&node.pod_cidrs);
                nodes.addresses.clone_from(&node.internal_ips);
            } else {
                nodes.peers.push(Peer {
                    name: node.name.name.to_string(),
                    addresses: node.internal_ips.clone(),
                    networks: node.pod_cidrs.iter().map(IpNet::trunc).collect(),
                });
            }
        }
        nodes.peers.sort_by(|one, other| one.name.cmp(&other.name));
        nodes
    }

    /// Where pods' packets go as they are: to pods, and to nodes.
    pub fn inside(&self, also: &[IpNet]) -> Vec<IpNet> {
        let networks = self.own.iter().chain(self.peers.iter().flat_map(|peer| &peer.networks)).map(IpNet::trunc);
        let nodes = self.addresses.iter().chain(self.peers.iter().flat_map(|peer| &peer.addresses));
        let all: BTreeSet<IpNet> =
            networks.chain(nodes.map(|address| (*address).into())).chain(also.iter().copied()).collect();
        all.into_iter().collect()
    }
}

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
struct Plan {
    routes: Vec<Route>,
    neighbours: Vec<Neighbour>,
    forwards: Vec<Forward>,
    reached: Vec<Reached>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// The longest packet that reaches all pods.
    pub mtu: u32,
    /// The node's addresses, from which its own packets come.
    pub sources: Vec<IpAddr>,
    /// Over which links packets come and go.
    pub links: Vec<NodeLink>,
    /// How each network of pods is reached.
    pub reached: Vec<Reached>,
    /// What could not be done.
    pub problems: Vec<String>,
    /// How much was not as it should be, and is now.
    pub mended: usize,
}

/// Brings routes and tunnels up to what the nodes say. `pods` are the routes to this node's pods.
///
/// # Errors
/// The kernel can't be asked; what it refuses of the rest is in [`Done::problems`].
pub fn settle(net: &Net, nodes: &Nodes, tunnels: Tunnels, pods: &[Route]) -> Result<Done, NetError> {
    let links: BTreeMap<u32, Link> = net.links()?.into_iter().map(|link| (link.index, link)).collect();
    let mut done = Done::default();
    let ways = Ways::look(net, nodes, tunnels, &links, &mut done)?;
    let tunnel = ways.tunnel(net, tunnels, &links, nodes, &mut done)?;
    let plan = ways.plan(nodes, tunnel.as_ref(), &links);
    done.mended += write(net, &plan, tunnel.as_ref(), pods, &links, &mut done.problems)?;
    done.reached = plan.reached;
    done.mtu = ways.mtu(tunnel.is_some(), &links);
    done.links.extend(tunnel.map(|link| NodeLink { index: link.index, is_tunnel: true, masquerade: [None, None] }));
    Ok(done)
}

/// How the peers are reached.
struct Ways {
    /// For each peer, by its place: the address, the interface, and whether it is behind a router.
    peers: Vec<Option<(IpAddr, u32, bool)>>,
    /// Over which interface the world is reached.
    out: Option<u32>,
}

impl Ways {
    fn look(
        net: &Net,
        nodes: &Nodes,
        tunnels: Tunnels,
        links: &BTreeMap<u32, Link>,
        done: &mut Done,
    ) -> Result<Ways, NetError> {
        let mut uplinks = BTreeSet::new();
        let mut peers = Vec::new();
        for peer in &nodes.peers {
            let mut found = None;
            for address in &peer.addresses {
                match net.way_to(*address)? {
                    Some(way) if !way.is_local => {
                        uplinks.insert(way.device);
                        found = Some((*address, way.device, way.via.is_some() || tunnels.always));
                        break;
                    }
                    // Two nodes of one address: told once, below.
                    _ => {}
                }
            }
            if found.is_none() && !peer.networks.is_empty() {
                done.problems.push(match peer.addresses.as_slice() {
                    [] => format!("node {}: it has no InternalIP: its pods are not reached", peer.name),
                    some => format!("node {}: there is no way to {some:?}: its pods are not reached", peer.name),
                });
            }
            peers.push(found);
        }
        let mut out = None;
        // Addresses of documentation, which nobody has a route of its own to.
        for beyond in ["192.0.2.1", "2001:db8::1"] {
            let Ok(beyond) = beyond.parse::<IpAddr>() else { continue };
            if let Some(way) = net.way_to(beyond)?.filter(|way| !way.is_local) {
                uplinks.insert(way.device);
                out.get_or_insert(way.device);
            }
        }
        let others = links.values().filter(|link| !link.name.starts_with(PREFIX) && link.name != "lo");
        for link in others.filter(|_| !nodes.addresses.is_empty()) {
            let addresses = net.addresses(link.index)?;
            if addresses.iter().any(|(address, _)| nodes.addresses.contains(address)) {
                uplinks.insert(link.index);
            }
        }
        for index in uplinks {
            if links.get(&index).is_none_or(|link| link.name == TUNNEL) {
                continue;
            }
            let addresses: Vec<IpAddr> = net.addresses(index)?.into_iter().map(|(address, _)| address).collect();
            let of = |is_v4: bool| {
                let mut own = addresses.iter().filter(|address| address.is_ipv4() == is_v4);
                // The one that the cluster knows the node by, if it is here.
                let known = own.clone().find(|address| nodes.addresses.contains(address));
                known.or_else(|| own.next()).copied()
            };
            done.links.push(NodeLink { index, is_tunnel: false, masquerade: [of(true), of(false)] });
        }
        for is_v4 in [true, false] {
            let known = nodes.addresses.iter().find(|address| address.is_ipv4() == is_v4).copied();
            let place = usize::from(!is_v4);
            let source = known.or_else(|| done.links.iter().find_map(|link| link.masquerade[place]));
            done.sources.extend(source);
        }
        Ok(Ways { peers, out })
    }

    /// The tunnels' interface, where it is needed.
    fn tunnel(
        &self,
        net: &Net,
        tunnels: Tunnels,
        links: &BTreeMap<u32, Link>,
        nodes: &Nodes,
        done: &mut Done,
    ) -> Result<Option<Link>, NetError> {
        let there = links.values().find(|link| link.name == TUNNEL).cloned();
        let needed = self.peers.iter().zip(&nodes.peers).find_map(|(way, peer)| {
            let (address, device, is_far) = (*way)?;
            (is_far || peer.needs_tunnel()).then_some((address, device))
        });
        let Some((to, device)) = needed else {
            if let Some(link) = there {
                net.remove(link.index)?;
                done.mended += 1;
            }
            return Ok(None);
        };
        let local = net.way_to(to)?.and_then(|way| way.source).or_else(|| done.sources.first().copied());
        let (Some(local), Some(uplink)) = (local, links.get(&device)) else {
            done.problems.push(format!("tunnels: the node has no address from which {to} is reached"));
            return Ok(None);
        };
        let mtu = uplink.mtu.saturating_sub(overhead(&local)).max(LEAST_MTU);
        let mac = mac_of(local);
        let link = match there {
            Some(link) if link.mac == Some(mac) && link.alias == note(tunnels, &local, device) => {
                if link.mtu != mtu {
                    net.set_mtu(link.index, mtu)?;
                    done.mended += 1;
                }
                link
            }
            other => {
                if let Some(link) = other {
                    net.remove(link.index)?;
                }
                let alias = note(tunnels, &local, device);
                let vxlan =
                    Vxlan { name: TUNNEL, mac, alias: &alias, id: tunnels.id, port: tunnels.port, device, local, mtu };
                match net.add_vxlan(&vxlan) {
                    Err(error) if error.errno() != Some(EEXIST) => return Err(error),
                    Err(_) => {
                        let said = format!(
                            "tunnels: another VXLAN interface has the identifier {}; give --vxlan-id another",
                            tunnels.id
                        );
                        done.problems.push(said);
                        return Ok(None);
                    }
                    Ok(()) => {}
                }
                done.mended += 1;
                match net.link(TUNNEL)? {
                    Some(link) => link,
                    None => return Ok(None),
                }
            }
        };
        if !link.is_up
            && let Err(error) = net.set_up(link.index, "")
        {
            let port = tunnels.port;
            done.problems.push(format!("tunnels: UDP port {port} can't be had ({error}); give --vxlan-port another"));
            return Ok(None);
        }
        Ok(Some(link))
    }

    fn plan(&self, nodes: &Nodes, tunnel: Option<&Link>, links: &BTreeMap<u32, Link>) -> Plan {
        let mut plan = Plan::default();
        for (way, peer) in self.peers.iter().zip(&nodes.peers) {
            let Some((address, device, is_far)) = *way else { continue };
            for network in &peer.networks {
                let same = |one: &&IpAddr| one.is_ipv4() == network.addr().is_ipv4();
                let hop = peer.addresses.iter().find(same).copied();
                match (hop, tunnel) {
                    (Some(hop), _) if !is_far => {
                        plan.routes.push(Route::on(device, *network).via(hop));
                        let link = links.get(&device).map(|link| link.name.clone()).unwrap_or_default();
                        let node = peer.name.clone();
                        plan.reached.push(Reached { node, network: *network, link, via: hop, tunnel: false });
                    }
                    (_, Some(tunnel)) => {
                        let (device, mac) = (tunnel.index, mac_of(address));
                        // The network's own address is no pod's.
                        let hop = network.network();
                        plan.routes.push(Route::on(device, *network).via(hop));
                        plan.neighbours.push(Neighbour { device, address: hop, mac });
                        plan.forwards.push(Forward { device, mac, to: address });
                        let (node, link) = (peer.name.clone(), tunnel.name.clone());
                        plan.reached.push(Reached { node, network: *network, link, via: address, tunnel: true });
                    }
                    _ => {}
                }
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

    /// The longest packet that passes on all ways.
    fn mtu(&self, has_tunnel: bool, links: &BTreeMap<u32, Link>) -> u32 {
        let of = |index: &u32| links.get(index).map(|link| link.mtu);
        let devices = self.peers.iter().flatten().map(|(address, device, _)| (Some(address), device));
        let devices = devices.chain(self.out.iter().map(|device| (None, device)));
        let through = devices.filter_map(|(address, device)| {
            let less = if has_tunnel { address.map_or(0, overhead) } else { 0 };
            Some(of(device)?.saturating_sub(less))
        });
        through.min().unwrap_or(1500).max(LEAST_MTU)
    }
}

impl Peer {
    /// Whether a network of its has no next hop of its family.
    fn needs_tunnel(&self) -> bool {
        let has = |is_v4: bool| self.addresses.iter().any(|address| address.is_ipv4() == is_v4);
        self.networks.iter().any(|network| !has(network.addr().is_ipv4()))
    }
}

fn overhead(address: &IpAddr) -> u32 {
    if address.is_ipv4() { OVERHEAD_V4 } else { OVERHEAD_V6 }
}

fn note(tunnels: Tunnels, local: &IpAddr, device: u32) -> String {
    format!("bowline tunnels {} {} {local} {device}", tunnels.id, tunnels.port)
}

/// The address of a node's end inside of the tunnels: it follows from its address outside, so that nobody has to tell it.
fn mac_of(address: IpAddr) -> Mac {
    let bytes = match address {
        IpAddr::V4(address) => u64::from(u32::from(address)).to_be_bytes(),
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            ((bits >> 64) as u64 ^ bits as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
        }
    };
    [0xb2, 0x76, bytes[4], bytes[5], bytes[6], bytes[7]]
}

/// Writes what is missing, and removes what is ours and not wanted. Says how much that was.
fn write(
    net: &Net,
    plan: &Plan,
    tunnel: Option<&Link>,
    pods: &[Route],
    links: &BTreeMap<u32, Link>,
    problems: &mut Vec<String>,
) -> Result<usize, NetError> {
    let mut mended = 0;
    if let Some(tunnel) = tunnel {
        let forwards = net.forwards(tunnel.index)?;
        let neighbours = net.neighbours(tunnel.index)?;
        let missing: Vec<Forward> = plan.forwards.iter().filter(|one| !forwards.contains(one)).copied().collect();
        // One Ethernet address in two places would be sent to both.
        for stale in forwards.iter().filter(|one| !plan.forwards.contains(one)) {
            mended += usize::from(net.remove_forward(stale)?);
        }
        net.put_forwards(&missing)?;
        let absent: Vec<Neighbour> = plan.neighbours.iter().filter(|one| !neighbours.contains(one)).copied().collect();
        net.put_neighbours(&absent)?;
        mended += missing.len() + absent.len();
        for stale in neighbours.iter().filter(|one| !plan.neighbours.contains(one)) {
            mended += usize::from(net.remove_neighbour(stale)?);
        }
    }
    let there: Vec<Route> = net.routes()?.into_iter().filter(|route| route.protocol == BOWLINE).collect();
    for route in plan.routes.iter().chain(pods) {
        if there.iter().any(|one| is_same(one, route)) {
            continue;
        }
        match net.put_routes(std::slice::from_ref(route)) {
            Ok(()) => mended += 1,
            // A pod that went meanwhile.
            Err(_) if pods.contains(route) => {}
            Err(error) => problems.push(format!("a route to {} was refused: {error}", route.to)),
        }
    }
    let wanted: BTreeSet<IpNet> = plan.routes.iter().chain(pods).map(|route| route.to).collect();
    // Those to pods go with their links; one that is not wanted here is of a pod that has just come.
    let is_to_pod = |route: &&Route| links.get(&route.device).is_none_or(|link| link.name.starts_with(PREFIX));
    for stale in there.iter().filter(|route| !wanted.contains(&route.to) && !is_to_pod(route)) {
        mended += usize::from(net.remove_route(stale)?);
    }
    Ok(mended)
}

/// The kernel says of some of it more than was asked for.
fn is_same(one: &Route, other: &Route) -> bool {
    (one.to, one.via, one.device) == (other.to, other.via, other.device)
        && (other.source.is_none() || one.source == other.source)
}

#[cfg(test)]
mod tests;
