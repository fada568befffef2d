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
use bowline_net::{BOWLINE, EEXIST, ENODEV, Forward, Link, Mac, Neighbour, Net, NetError, Route, Vxlan};
use ipnet::IpNet;

use crate::attachment::PREFIX;
use crate::datapath::NodeLink;

/// The name of the tunnels' interface.
pub const TUNNEL: &str = "bowline-vxlan";

/// What VXLAN adds to a packet: Ethernet, VXLAN, UDP and the outer IP header.
const OVERHEAD_V4: u32 = 50;
const OVERHEAD_V6: u32 = 70;
/// The errno of a route over an interface that is down, or about to go.
const ENETDOWN: i32 = 100;
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
    /// This node's name.
    pub name: String,
    /// This node's networks for pods.
    pub own: Vec<IpNet>,
    /// This node's addresses.
    pub addresses: Vec<IpAddr>,
    peers: Vec<Peer>,
}

impl Nodes {
    /// Of a snapshot, on the node of this name.
    pub fn of(snapshot: &Snapshot, name: &str) -> Nodes {
        let mut nodes = Nodes { name: name.to_owned(), ..Nodes::default() };
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
    /// All of the node's addresses that others may know.
    pub addresses: Vec<IpAddr>,
    /// Where pods' packets go as they are: to pods, and to nodes on our links. A node behind a router sees our address, as
    /// the routers between know no pods.
    pub inside: Vec<IpNet>,
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
    let plan = ways.plan(nodes, tunnel.as_ref(), &links, &mut done.problems);
    done.mended += write(net, &plan, tunnel.as_ref(), pods, &links, &mut done.problems)?;
    done.reached = plan.reached;
    done.mtu = ways.mtu(tunnel.as_ref().map(|(_, local)| local), &links);
    done.inside = ways.inside(nodes);
    if let Some((link, _)) = &tunnel {
        done.links.push(NodeLink { index: link.index, is_tunnel: true, masquerade: [None, None] });
        done.addresses.extend(tunnel_addresses(nodes));
    }
    Ok(done)
}

/// The node's addresses inside the tunnels: the first of each of its networks, which no pod has. What it sends to pods by a
/// tunnel is from there, so that the answers come back the same way.
fn tunnel_addresses(nodes: &Nodes) -> Vec<IpAddr> {
    let first = |network: &IpNet| match network.network() {
        IpAddr::V4(address) => Some(IpAddr::V4(u32::from(address).checked_add(1)?.into())),
        IpAddr::V6(address) => Some(IpAddr::V6(u128::from(address).checked_add(1)?.into())),
    };
    let is_wide = |network: &&IpNet| network.max_prefix_len() - network.prefix_len() >= 2;
    nodes.own.iter().filter(is_wide).filter_map(first).collect()
}

/// How an address of a peer's is reached.
#[derive(Clone, Copy, Debug)]
struct Hop {
    address: IpAddr,
    device: u32,
    /// Behind a router.
    is_far: bool,
}

/// How the peers are reached.
struct Ways {
    /// For each peer, by its place: by IPv4, by IPv6.
    peers: Vec<[Option<Hop>; 2]>,
    /// Over which interface the world is reached.
    out: Option<u32>,
}

fn family(is_v4: bool) -> usize {
    usize::from(!is_v4)
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
            let mut hops = [None, None];
            for address in &peer.addresses {
                let hop = &mut hops[family(address.is_ipv4())];
                match net.way_to(*address) {
                    Ok(Some(way)) if !way.is_local && hop.is_none() => {
                        uplinks.insert(way.device);
                        let is_far = way.via.is_some() || tunnels.always;
                        *hop = Some(Hop { address: *address, device: way.device, is_far });
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
        let is_tunnel = |index: &u32| links.get(index).is_some_and(|link| link.name == TUNNEL);
        let own: Vec<(u32, IpAddr)> = net
            .all_addresses()?
            .into_iter()
            .filter(|(index, address)| !is_wire(index) && !address.is_loopback())
            .collect();
        for (index, address) in &own {
            let is_lo = links.get(index).is_some_and(|link| link.name == "lo");
            if nodes.addresses.contains(address) && !is_lo {
                uplinks.insert(*index);
            }
        }
        for index in uplinks.into_iter().filter(|index| !is_wire(index) && !is_tunnel(index)) {
            let of = |is_v4: bool| {
                let on = own.iter().filter(|(other, address)| *other == index && address.is_ipv4() == is_v4);
                let mut on = on.map(|(_, address)| *address);
                // The one that the cluster knows the node by, if it is here.
                let known = on.clone().find(|address| nodes.addresses.contains(address));
                known.or_else(|| on.next())
            };
            done.links.push(NodeLink { index, is_tunnel: false, masquerade: [of(true), of(false)] });
        }
        for is_v4 in [true, false] {
            // What the node doesn't have is refused as a source.
            let has = |address: &&IpAddr| address.is_ipv4() == is_v4 && own.iter().any(|(_, one)| one == *address);
            let known = nodes.addresses.iter().find(has).copied();
            let source = known.or_else(|| done.links.iter().find_map(|link| link.masquerade[family(is_v4)]));
            done.sources.extend(source);
        }
        done.addresses = own.into_iter().map(|(_, address)| address).collect();
        Ok(Ways { peers, out })
    }

    /// The first address by which a peer is reached, of any family.
    fn hops(&self) -> impl Iterator<Item = &Hop> {
        self.peers.iter().flatten().flatten()
    }

    fn inside(&self, nodes: &Nodes) -> Vec<IpNet> {
        let networks = nodes.own.iter().chain(nodes.peers.iter().flat_map(|peer| &peer.networks)).map(IpNet::trunc);
        let near = self.hops().filter(|hop| !hop.is_far).map(|hop| hop.address);
        let nodes = nodes.addresses.iter().copied().chain(near).map(IpNet::from);
        networks.chain(nodes).collect::<BTreeSet<IpNet>>().into_iter().collect()
    }

    /// The tunnels' interface, where it is needed.
    fn tunnel(
        &self,
        net: &Net,
        tunnels: Tunnels,
        links: &BTreeMap<u32, Link>,
        nodes: &Nodes,
        done: &mut Done,
    ) -> Result<Option<(Link, IpAddr)>, NetError> {
        let there = links.values().find(|link| link.name == TUNNEL).cloned();
        let is_needed = self.peers.iter().zip(&nodes.peers).any(|(hops, peer)| peer.needs_tunnel(hops));
        // All tunnels are of one family: the first in which a peer is reached.
        let hop = [true, false].into_iter().find_map(|is_v4| self.peers.iter().find_map(|hops| hops[family(is_v4)]));
        let Some(hop) = hop.filter(|_| is_needed) else {
            if let Some(link) = there {
                net.remove(link.index)?;
                done.mended += 1;
            }
            return Ok(None);
        };
        // From the address by which the others know the node, wherever it stands; over the device of the first way.
        let local = done.sources.iter().find(|address| address.is_ipv4() == hop.address.is_ipv4()).copied();
        let device = self.out.unwrap_or(hop.device);
        let (Some(local), Some(uplink)) = (local, links.get(&device)) else {
            done.problems.push(format!("tunnels: the node has no address from which {} is reached", hop.address));
            return Ok(None);
        };
        let mtu = uplink.mtu.saturating_sub(overhead(&local)).max(LEAST_MTU);
        let mac = mac_of(&nodes.name);
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
        net.add_addresses(link.index, &tunnel_addresses(nodes))?;
        Ok(Some((link, local)))
    }

    fn plan(
        &self,
        nodes: &Nodes,
        tunnel: Option<&(Link, IpAddr)>,
        links: &BTreeMap<u32, Link>,
        problems: &mut Vec<String>,
    ) -> Plan {
        let mut plan = Plan::default();
        let inner = tunnel_addresses(nodes);
        for (hops, peer) in self.peers.iter().zip(&nodes.peers) {
            for network in &peer.networks {
                let is_v4 = network.addr().is_ipv4();
                let node = peer.name.clone();
                if let Some(hop) = hops[family(is_v4)].filter(|hop| !hop.is_far) {
                    plan.routes.push(Route::on(hop.device, *network).via(hop.address));
                    let link = links.get(&hop.device).map(|link| link.name.clone()).unwrap_or_default();
                    plan.reached.push(Reached { node, network: *network, link, via: hop.address, tunnel: false });
                    continue;
                }
                let Some((tunnel, local)) = tunnel else { continue };
                let Some(end) = hops[family(local.is_ipv4())] else {
                    let said = format!(
                        "node {node}: it has no address of the tunnels' family ({local}): {network} is not reached"
                    );
                    problems.push(said);
                    continue;
                };
                let (device, mac) = (tunnel.index, mac_of(&peer.name));
                // The network's own address is no pod's.
                let hop = network.network();
                let source = inner.iter().find(|address| address.is_ipv4() == is_v4).copied();
                plan.routes.push(Route { source, ..Route::on(device, *network).via(hop) });
                plan.neighbours.push(Neighbour { device, address: hop, mac });
                plan.forwards.push(Forward { device, mac, to: end.address });
                let link = tunnel.name.clone();
                plan.reached.push(Reached { node, network: *network, link, via: end.address, tunnel: true });
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
    fn mtu(&self, tunnel: Option<&IpAddr>, links: &BTreeMap<u32, Link>) -> u32 {
        let of = |index: &u32| links.get(index).map(|link| link.mtu);
        let less = tunnel.map_or(0, overhead);
        let to_peers = self.hops().filter_map(|hop| Some(of(&hop.device)?.saturating_sub(less)));
        to_peers.chain(self.out.iter().filter_map(of)).min().unwrap_or(1500).max(LEAST_MTU)
    }
}

impl Peer {
    /// Whether a network of its is not behind an address of its family on a link of ours.
    fn needs_tunnel(&self, hops: &[Option<Hop>; 2]) -> bool {
        let is_near = |network: &IpNet| hops[family(network.addr().is_ipv4())].is_some_and(|hop| !hop.is_far);
        hops.iter().any(Option::is_some) && self.networks.iter().any(|network| !is_near(network))
    }
}

fn overhead(address: &IpAddr) -> u32 {
    if address.is_ipv4() { OVERHEAD_V4 } else { OVERHEAD_V6 }
}

fn note(tunnels: Tunnels, local: &IpAddr, device: u32) -> String {
    format!("bowline tunnels {} {} {local} {device}", tunnels.id, tunnels.port)
}

/// The Ethernet address of a node's end of the tunnels: it follows from its name, so that nobody has to tell it.
fn mac_of(name: &str) -> Mac {
    let [.., a, b, c, d, e] = crate::attachment::number(name.bytes()).to_be_bytes();
    [0xba, a, b, c, d, e]
}

/// Writes what is missing, and removes what is ours and not wanted. Says how much that was.
fn write(
    net: &Net,
    plan: &Plan,
    tunnel: Option<&(Link, IpAddr)>,
    pods: &[Route],
    links: &BTreeMap<u32, Link>,
    problems: &mut Vec<String>,
) -> Result<usize, NetError> {
    let mut mended = 0;
    if let Some((tunnel, _)) = tunnel {
        let forwards: BTreeSet<Forward> = net.forwards(tunnel.index)?.into_iter().collect();
        let neighbours: BTreeSet<Neighbour> = net.neighbours(tunnel.index)?.into_iter().collect();
        let (wanted, known): (BTreeSet<_>, BTreeSet<_>) =
            (plan.forwards.iter().copied().collect(), plan.neighbours.iter().copied().collect());
        // One Ethernet address in two places would be sent to both.
        for stale in forwards.difference(&wanted) {
            mended += usize::from(net.remove_forward(stale)?);
        }
        for one in wanted.difference(&forwards) {
            match net.put_forwards(&[*one]) {
                Ok(()) => mended += 1,
                Err(error) => problems.push(format!("tunnels: the end {} was refused: {error}", one.to)),
            }
        }
        for one in known.difference(&neighbours) {
            match net.put_neighbours(&[*one]) {
                Ok(()) => mended += 1,
                Err(error) => problems.push(format!("tunnels: the neighbour {} was refused: {error}", one.address)),
            }
        }
        for stale in neighbours.difference(&known) {
            mended += usize::from(net.remove_neighbour(stale)?);
        }
    }
    let there: BTreeMap<IpNet, Route> =
        net.routes()?.into_iter().filter(|route| route.protocol == BOWLINE).map(|route| (route.to, route)).collect();
    let is_wire = |device: &u32| links.get(device).is_none_or(|link| link.name.starts_with(PREFIX));
    for route in plan.routes.iter().chain(pods) {
        if there.get(&route.to).is_some_and(|one| is_same(one, route)) {
            continue;
        }
        match net.put_routes(std::slice::from_ref(route)) {
            Ok(()) => mended += 1,
            // A pod that went meanwhile: its link is gone.
            Err(error) if is_wire(&route.device) && matches!(error.errno(), Some(ENODEV | ENETDOWN)) => {}
            Err(error) => problems.push(format!("a route to {} was refused: {error}", route.to)),
        }
    }
    let wanted: BTreeSet<IpNet> = plan.routes.iter().chain(pods).map(|route| route.to).collect();
    // Those to pods go with their links; one that is not wanted here is of a pod that has just come.
    for stale in there.values().filter(|route| !wanted.contains(&route.to) && !is_wire(&route.device)) {
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
