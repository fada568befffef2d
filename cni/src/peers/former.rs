//! The bridge of the network before this one (flannel's cni0, or that of the reference plugin), as long as pods run behind it.
//!
//! They take all of the node's network for one link, and ask there for the addresses of pods that have come since, which are
//! not on it: the node answers for those (proxy ARP, and its like of IPv6).

use std::collections::BTreeSet;
use std::net::IpAddr;

use bowline_net::{Net, NetError, Proxy, Route};

use super::Links;
use super::nodes::Nodes;

/// Such a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
}

/// A bridge that has an address of the node's networks for pods. `own` are the addresses of all links.
pub(super) fn find(nodes: &Nodes, links: &Links, own: &[(u32, IpAddr)]) -> Vec<Bridge> {
    let is_inside = |address: &IpAddr| nodes.own.iter().any(|network| network.contains(address));
    let has = |index: u32| own.iter().any(|(other, address)| *other == index && is_inside(address));
    let bridges = links.values().filter(|link| link.kind == "bridge" && has(link.index));
    bridges.map(|link| Bridge { index: link.index, name: link.name.clone() }).collect()
}

/// Has the node answer there for its pods, to which `pods` are the routes. What it answers for beside its own networks is
/// somebody else's. Says how much had to be changed.
pub(super) fn answer_for(
    net: &Net,
    bridge: &Bridge,
    nodes: &Nodes,
    pods: &[Route],
    problems: &mut Vec<String>,
) -> Result<usize, NetError> {
    let device = bridge.index;
    let there: BTreeSet<Proxy> = net.proxies(device)?.into_iter().collect();
    let wanted: BTreeSet<Proxy> = pods.iter().map(|route| Proxy { device, address: route.to.addr() }).collect();
    let mut mended = 0;
    let is_own = |proxy: &&Proxy| nodes.own.iter().any(|network| network.contains(&proxy.address));
    for stale in there.difference(&wanted).filter(is_own) {
        mended += usize::from(net.remove_proxy(stale)?);
    }
    for one in wanted.difference(&there) {
        match net.put_proxy(one) {
            Ok(()) => mended += 1,
            Err(error) => problems.push(format!("{}: it can't answer for {}: {error}", bridge.name, one.address)),
        }
    }
    Ok(mended)
}
