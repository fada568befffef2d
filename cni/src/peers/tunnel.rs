//! The tunnels' interfaces (VXLAN), as long as a peer is only reached by them.
//!
//! In a cluster that comes from flannel they are flannel's own, by name, identifier, port and Ethernet address: where its
//! daemon has made them they are used as they are, where it comes back it finds them. So neither gets into the other's way,
//! and nodes that have not moved notice nothing.

use std::net::IpAddr;

use bowline_net::{EEXIST, Link, Mac, Net, NetError, Vxlan};
use ipnet::IpNet;

use super::nodes::{Nodes, flannel_end, flannel_mac};
use super::ways::{Hop, Ways};
use super::{Done, Links, family};

/// The name of the tunnels' interface.
pub const TUNNEL: &str = "bowline-vxlan";

/// How the note on one begins that was made here.
const NOTE: &str = "bowline tunnels ";
/// What VXLAN adds to a packet: Ethernet, VXLAN, UDP and the outer IP header.
pub(crate) const OVERHEAD_V4: u32 = 50;
/// The same for IPv6.
pub(crate) const OVERHEAD_V6: u32 = 70;
/// No IPv6 below that (RFC 8200).
pub(super) const LEAST_MTU: u32 = 1280;

/// How tunnels are made; the same on all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnels {
    /// The network's identifier, 24 bits.
    pub id: u32,
    /// The UDP port, in host byte order.
    pub port: u16,
    /// Which peers are reached through them.
    pub when: When,
    /// The longest packet between nodes, where that is less than their links say.
    pub mtu: Option<u32>,
    /// They are flannel's: an interface for each family, under its names, and nodes are where their annotations say.
    pub flannel: bool,
}

impl Default for Tunnels {
    fn default() -> Tunnels {
        // The port is IANA's for VXLAN, so that it is not flannel's (8472).
        Tunnels { id: 4_242, port: 4789, when: When::Auto, mtu: None, flannel: false }
    }
}

/// When a peer is reached through a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Where it is behind a router.
    #[default]
    Auto,
    /// On a link of ours as well.
    Always,
    /// Not at all: what is behind a router is not reached.
    Never,
}

/// This node's end of all tunnels of a family.
pub(super) struct End {
    pub(super) link: Link,
    /// From where they come.
    pub(super) local: IpAddr,
    /// The node's addresses inside: what it sends to pods by a tunnel is from there, so that the answers come back the same
    /// way.
    pub(super) addresses: Vec<IpAddr>,
}

/// By the family in which they go.
pub(super) type Ends = [Option<End>; 2];

impl End {
    pub(super) fn overhead(&self) -> u32 {
        overhead(&self.local)
    }
}

fn overhead(address: &IpAddr) -> u32 {
    if address.is_ipv4() { OVERHEAD_V4 } else { OVERHEAD_V6 }
}

fn name(tunnels: Tunnels, is_v4: bool) -> String {
    match (tunnels.flannel, is_v4) {
        (false, _) => TUNNEL.to_owned(),
        (true, true) => format!("flannel.{}", tunnels.id),
        (true, false) => format!("flannel-v6.{}", tunnels.id),
    }
}

/// Whether a link is one that was made here.
pub(crate) fn is_ours(link: &Link) -> bool {
    link.kind == "vxlan" && (link.name == TUNNEL || link.alias.starts_with(NOTE))
}

/// Whether a link is one of these tunnels', whoever made it.
pub(super) fn is_tunnel(link: &Link, tunnels: Tunnels) -> bool {
    is_ours(link) || [true, false].iter().any(|is_v4| link.name == name(tunnels, *is_v4))
}

fn note(tunnels: Tunnels, local: &IpAddr, device: u32) -> String {
    format!("{NOTE}{} {} {local} {device}", tunnels.id, tunnels.port)
}

/// The Ethernet address of a node's end of the tunnels: it follows from its name, so that nobody has to tell it.
pub(super) fn mac_of(name: &str) -> Mac {
    let [.., a, b, c, d, e] = crate::attachment::number(name.bytes()).to_be_bytes();
    [0xba, a, b, c, d, e]
}

/// The node's address inside a tunnel, which no pod has: the first of the network, and with flannel, which wants its
/// interface to have no other, the network's own.
fn inner(network: &IpNet, tunnels: Tunnels) -> Option<IpAddr> {
    let is_wide = network.max_prefix_len() - network.prefix_len() >= 2;
    let next = u8::from(!tunnels.flannel);
    match network.network() {
        _ if !is_wide => None,
        IpAddr::V4(address) => Some(IpAddr::V4(u32::from(address).checked_add(next.into())?.into())),
        IpAddr::V6(address) => Some(IpAddr::V6(u128::from(address).checked_add(next.into())?.into())),
    }
}

/// Makes the interfaces that are needed, and removes those of ours that are not.
pub(super) fn raise(
    net: &Net,
    tunnels: Tunnels,
    nodes: &Nodes,
    ways: &Ways,
    links: &Links,
    done: &mut Done,
) -> Result<Ends, NetError> {
    let hops = [true, false].map(|is_v4| ways.needs_tunnel(nodes, tunnels, is_v4));
    let is_needed = |link: &&Link| hops.iter().flatten().any(|hop| link.name == name(tunnels, hop.address.is_ipv4()));
    // flannel's daemon may have taken over one of its names by now, and makes it anew, empty: those stay.
    let is_flannels = |link: &&Link| tunnels.flannel && link.name != TUNNEL && is_tunnel(link, tunnels);
    for link in links.values().filter(|link| is_ours(link) && !is_needed(link) && !is_flannels(link)) {
        net.remove(link.index)?;
        done.mended += 1;
    }
    let mut ends = [None, None];
    for hop in hops.iter().flatten() {
        ends[family(hop.address.is_ipv4())] = raise_one(net, tunnels, nodes, ways, links, hop, done)?;
    }
    Ok(ends)
}

/// Of the family of `hop`, which is the way to the first peer.
fn raise_one(
    net: &Net,
    tunnels: Tunnels,
    nodes: &Nodes,
    ways: &Ways,
    links: &Links,
    hop: &Hop,
    done: &mut Done,
) -> Result<Option<End>, NetError> {
    let is_v4 = hop.address.is_ipv4();
    // From the address by which the others know the node, wherever it stands; over the device of the first way.
    let known = flannel_end(nodes.flannel.as_deref(), tunnels, is_v4).map(|end| end.address);
    let known = known.filter(|address| done.addresses.contains(address));
    let local = known.or_else(|| done.sources.iter().find(|address| address.is_ipv4() == is_v4).copied());
    let device = ways.out.filter(|_| !tunnels.flannel).unwrap_or(hop.device);
    let (Some(local), Some(uplink)) = (local, links.get(&device)) else {
        done.problems.push(format!("tunnels: the node has no address from which {} is reached", hop.address));
        return Ok(None);
    };
    let name = name(tunnels, is_v4);
    let told = flannel_mac(nodes.flannel.as_deref(), tunnels, is_v4);
    let there = links.values().find(|link| link.name == name);
    let link = match there {
        Some(link) if tunnels.flannel && !is_ours(link) => take_over(net, tunnels, link, told, nodes, done)?,
        _ => {
            let outer = tunnels.mtu.map_or(uplink.mtu, |mtu| mtu.min(uplink.mtu));
            let mtu = outer.saturating_sub(overhead(&local)).max(LEAST_MTU);
            let mac = told.unwrap_or_else(|| mac_of(&nodes.name));
            let alias = note(tunnels, &local, device);
            let (id, port) = (tunnels.id, tunnels.port);
            make(net, &Vxlan { name: &name, mac, alias: &alias, id, port, device, local, mtu }, there, done)?
        }
    };
    let Some(link) = link else { return Ok(None) };
    if !link.is_up
        && let Err(error) = net.set_up(link.index, "")
    {
        let port = tunnels.port;
        let todo = if tunnels.flannel { "see who has it" } else { "give --vxlan-port another" };
        done.problems.push(format!("tunnels: UDP port {port} can't be had ({error}); {todo}"));
        return Ok(None);
    }
    let through = |network: &&IpNet| ways.outer(tunnels, network.addr().is_ipv4()) == Some(is_v4);
    let addresses: Vec<IpAddr> =
        nodes.own.iter().filter(through).filter_map(|network| inner(network, tunnels)).collect();
    // Only what is missing: each that is written is news, for which it is looked at anew.
    let there = net.addresses(link.index)?;
    let missing: Vec<IpAddr> =
        addresses.iter().filter(|one| !there.iter().any(|(address, _)| address == *one)).copied().collect();
    if !missing.is_empty() {
        net.add_addresses(link.index, &missing)?;
        done.mended += missing.len();
    }
    Ok(Some(End { link, local, addresses }))
}

/// The interface, in the place of `there` if that is another. None: it can't be had, which is said.
fn make(net: &Net, vxlan: &Vxlan<'_>, there: Option<&Link>, done: &mut Done) -> Result<Option<Link>, NetError> {
    if let Some(link) = there {
        if link.mac == Some(vxlan.mac) && link.alias == vxlan.alias {
            if link.mtu != vxlan.mtu {
                net.set_mtu(link.index, vxlan.mtu)?;
                done.mended += 1;
            }
            return Ok(Some(link.clone()));
        }
        net.remove(link.index)?;
    }
    done.mended += 1;
    match net.add_vxlan(vxlan) {
        Ok(()) => net.link(vxlan.name),
        Err(error) if error.errno() == Some(EEXIST) => {
            done.problems.push(format!(
                "tunnels: another VXLAN interface has the identifier {}; give --vxlan-id another, or, if it is flannel's, \
                 --flannel-net-conf",
                vxlan.id
            ));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// An interface of flannel's is used as it is, if it is what all think that it is.
fn take_over(
    net: &Net,
    tunnels: Tunnels,
    link: &Link,
    told: Option<Mac>,
    nodes: &Nodes,
    done: &mut Done,
) -> Result<Option<Link>, NetError> {
    let (id, port) = (tunnels.id, tunnels.port);
    let name = &link.name;
    if link.vxlan != Some((id, port)) {
        done.problems.push(format!(
            "tunnels: {name} is there, and not the VXLAN {id} at port {port} that flannel's net-conf.json names: restart \
             flannel, or remove the interface"
        ));
        return Ok(None);
    }
    match told {
        Some(mac) if link.mac != Some(mac) => {
            net.set_mac(link.index, mac)?;
            done.mended += 1;
        }
        None if link.mac != Some(mac_of(&nodes.name)) => done.problems.push(format!(
            "tunnels: {name} is there, and this node's Node object has no annotations of flannel's: other nodes don't \
             find it until flannel has written them, or {name} is removed"
        )),
        _ => {}
    }
    Ok(Some(link.clone()))
}
