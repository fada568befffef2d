//! A pod's wire: a pair of interfaces, one in the pod, one on the node, without a bridge.
//!
//! ```text
//!   pod                                     node
//!   eth0  ADDRESS/32                        bow…   (no address of its own network)
//!     default via 169.254.1.1, fe80::1        route ADDRESS dev bow…
//!     neighbours 169.254.1.1, fe80::1         neighbour ADDRESS
//!       = the node's end, for good              = the pod's end, for good
//! ```
//! Nobody asks for anybody (ARP, neighbour discovery), so the first packet goes at once, and nobody can answer in another's
//! place. The gateway's addresses are no node's: each wire has the same.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

use bowline_net::{EEXIST, Mac, Neighbour, Net, NetError, Route, Veth, inside};
use ipnet::IpNet;

use crate::attachment::Attachment;
use crate::datapath::PodWire;
use crate::sysctls;

/// The next hop of pods, on every wire.
pub const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));
/// The same for IPv6.
pub const GATEWAY6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));

/// How long the name of a link is waited for: the kernel takes a veth away some 50 ms after its namespace.
const LINGER: Duration = Duration::from_secs(2);

/// Why there is no wire.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The kernel refuses.
    #[error("{what}: {error}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// What it said.
        error: NetError,
    },
    /// The pod's namespace, or a setting, can't be reached.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        error: io::Error,
    },
    /// The container has an interface of this name, which is not of this attachment.
    #[error("the container has an interface {0} already")]
    Exists(String),
    /// The programs for its packets.
    #[error("the programs for its packets: {0}")]
    Datapath(String),
    /// What should be there is not, or is otherwise.
    #[error("{0}")]
    Differs(String),
}

fn kernel(what: &'static str) -> impl Fn(NetError) -> WireError {
    move |error| WireError::Kernel { what, error }
}

fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> WireError {
    let what = what.into();
    move |error| WireError::System { what, error }
}

/// The next hop of a family.
pub(crate) fn gateway(address: &IpAddr) -> IpAddr {
    if address.is_ipv4() { GATEWAY } else { GATEWAY6 }
}

/// Everything of a family.
pub(crate) fn everything(address: &IpAddr) -> IpNet {
    let nothing: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // A length of 0 is always right.
    IpNet::new_assert(nothing, 0)
}

/// Makes a wire. `attach` is called when the node's end is there, before the pod can send anything.
///
/// # Errors
/// Then what there is of it has to be removed (by its link).
pub(crate) fn make(
    net: &Net,
    netns: BorrowedFd<'_>,
    attachment: &Attachment,
    sources: &[IpAddr],
    attach: impl FnOnce(&PodWire) -> Result<(), String>,
) -> Result<PodWire, WireError> {
    let name = attachment.key.link();
    let ifname = attachment.key.ifname.as_str();
    let (host_mac, _) = attachment.key.macs();
    let alias = attachment.note();
    let veth = Veth {
        name: &name,
        mac: host_mac,
        alias: &alias,
        peer: ifname,
        peer_mac: attachment.mac,
        netns,
        mtu: attachment.mtu,
    };
    add(net, &veth)?;
    let host = net.link(&name).map_err(kernel("finding the wire"))?;
    let host = host.ok_or_else(|| WireError::Differs(format!("{name} was removed by somebody")))?;
    let wire = PodWire::of(attachment, host.index, is_shaped(attachment));
    let pod = inside(netns, || {
        // Where it has no address of that family, the runtime's word counts.
        if attachment.addresses.iter().any(IpAddr::is_ipv6) {
            let settings = [("disable_ipv6", "0"), ("accept_dad", "0"), ("accept_ra", "0")];
            set(&format!("net/ipv6/conf/{ifname}"), &settings)?;
        }
        Net::open()
    });
    let pod = pod.and_then(|pod| pod).map_err(system("entering the container's network namespace"))?;
    settle_host(net, attachment, wire.index, sources)?;
    attach(&wire).map_err(WireError::Datapath)?;
    // What the node's end sends is what the pod receives.
    let bandwidth = attachment.bandwidth.as_ref().map(|all| (all.ingress_rate, all.ingress_burst));
    shape(net, wire.index, bandwidth)?;
    settle_pod(&pod, attachment, host_mac)?;
    wait_until_it_carries(net, &name)?;
    Ok(wire)
}

/// The node's end was up before the pod's: the kernel lets it send some time after that ("linkwatch"), which is long where
/// many links come and go, and drops what it is given until then. From 6.8 on a question about the link brings it about.
fn wait_until_it_carries(net: &Net, name: &str) -> Result<(), WireError> {
    let until = Instant::now() + LINGER;
    loop {
        match net.link(name).map_err(kernel("finding the wire"))? {
            Some(link) if link.is_running => return Ok(()),
            Some(_) if Instant::now() < until => thread::sleep(Duration::from_micros(200)),
            Some(_) => return Err(WireError::Differs(format!("{name} carries nothing, though both its ends are up"))),
            None => return Err(WireError::Differs(format!("{name} was removed by somebody"))),
        }
    }
}

fn add(net: &Net, veth: &Veth<'_>) -> Result<(), WireError> {
    let until = Instant::now() + LINGER;
    loop {
        let error = match net.add_veth(veth) {
            Ok(()) => return Ok(()),
            Err(error) if error.errno() == Some(EEXIST) => error,
            Err(error) => return Err(kernel("making the wire")(error)),
        };
        // One of the two names is taken: a left-over of ours goes; the container's stays.
        match net.link(veth.name).map_err(kernel("finding a wire of this name"))? {
            Some(link) => drop(net.remove(link.index)),
            None => {
                let pod = Net::open_in(veth.netns).map_err(system("entering the container's network namespace"))?;
                if pod.link(veth.peer).map_err(kernel("finding the container's interface"))?.is_some() {
                    return Err(WireError::Exists(veth.peer.to_owned()));
                }
            }
        }
        if Instant::now() > until {
            return Err(kernel("making the wire")(error));
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// The node's end: the way to the pod.
pub(crate) fn settle_host(net: &Net, attachment: &Attachment, index: u32, sources: &[IpAddr]) -> Result<(), WireError> {
    let name = attachment.key.link();
    // A pod's packets come from where the node sends to: nothing else has to be proved, and "loose" would drop where the
    // interface has no address. What a pod may send as its own is the programs' to check.
    set(&format!("net/ipv4/conf/{name}"), &[("rp_filter", "0")]).map_err(system(format!("settings of {name}")))?;
    let _ = set(&format!("net/ipv6/conf/{name}"), &[("accept_ra", "0"), ("accept_dad", "0")]);
    let neighbours: Vec<Neighbour> = attachment
        .addresses
        .iter()
        .map(|address| Neighbour { device: index, address: *address, mac: attachment.mac })
        .collect();
    net.put_neighbours(&neighbours).map_err(kernel("the node's neighbour entries"))?;
    net.put_routes(&routes_to(attachment, index, sources)).map_err(kernel("the node's routes to the container"))
}

/// The node's routes to a pod. `sources` are the addresses that the node's own packets are from.
pub(crate) fn routes_to(attachment: &Attachment, index: u32, sources: &[IpAddr]) -> Vec<Route> {
    let route = |address: &IpAddr| Route {
        source: sources.iter().find(|source| source.is_ipv4() == address.is_ipv4()).copied(),
        ..Route::on(index, (*address).into())
    };
    attachment.addresses.iter().map(route).collect()
}

/// Whether what the pod receives waits at the node's end.
pub(crate) fn is_shaped(attachment: &Attachment) -> bool {
    attachment.bandwidth.is_some_and(|all| all.ingress_rate > 0)
}

/// A rate of 0 is none.
fn shape(net: &Net, device: u32, bandwidth: Option<(u64, u64)>) -> Result<(), WireError> {
    match bandwidth.filter(|(rate, _)| *rate > 0) {
        Some((rate, burst)) => net.put_shaper(device, rate, burst).map_err(kernel("limiting the bandwidth")),
        None => Ok(()),
    }
}

/// The pod's end.
fn settle_pod(pod: &Net, attachment: &Attachment, host_mac: Mac) -> Result<(), WireError> {
    let link = pod.link(&attachment.key.ifname).map_err(kernel("finding the container's interface"))?;
    let device = link.ok_or_else(|| WireError::Differs("the container's interface was removed".into()))?.index;
    pod.add_addresses(device, &attachment.addresses).map_err(kernel("the container's addresses"))?;
    let bandwidth = attachment.bandwidth.as_ref().map(|all| (all.egress_rate, all.egress_burst));
    shape(pod, device, bandwidth)?;
    pod.set_up(device, "").map_err(kernel("taking the container's interface up"))?;
    let (neighbours, routes) = of_pod(attachment, device, host_mac);
    pod.put_neighbours(&neighbours).map_err(kernel("the container's neighbour entries"))?;
    pod.put_routes(&routes).map_err(kernel("the container's routes"))
}

/// What the pod's end has of neighbours and routes.
fn of_pod(attachment: &Attachment, device: u32, host_mac: Mac) -> (Vec<Neighbour>, Vec<Route>) {
    let (mut neighbours, mut routes) = (Vec::new(), Vec::new());
    for address in &attachment.addresses {
        let hop = gateway(address);
        neighbours.push(Neighbour { device, address: hop, mac: host_mac });
        if hop.is_ipv4() {
            routes.push(Route::on(device, hop.into()));
        }
        routes.push(Route::on(device, everything(address)).via(hop));
    }
    (neighbours, routes)
}

/// Whether all of a wire is there, as it was made. What others have added is no matter.
///
/// # Errors
/// What is missing or otherwise.
pub(crate) fn check(net: &Net, netns: BorrowedFd<'_>, attachment: &Attachment) -> Result<(), WireError> {
    let differs = |what: String| Err(WireError::Differs(what));
    let name = attachment.key.link();
    let Some(host) = net.link(&name).map_err(kernel("finding the wire"))? else {
        return differs(format!("the node's end of the wire, {name}, is gone"));
    };
    if !host.is_up {
        return differs(format!("the node's end of the wire, {name}, is down"));
    }
    let there = net.routes().map_err(kernel("listing the node's routes"))?;
    for wanted in routes_to(attachment, host.index, &[]) {
        if !there.iter().any(|route| route.to == wanted.to && route.device == host.index) {
            return differs(format!("the node has no route to {}", wanted.to.addr()));
        }
    }
    let pod = Net::open_in(netns).map_err(system("entering the container's network namespace"))?;
    let ifname = &attachment.key.ifname;
    let Some(link) = pod.link(ifname).map_err(kernel("finding the container's interface"))? else {
        return differs(format!("the container has no interface {ifname}"));
    };
    if link.mac != Some(attachment.mac) {
        return differs(format!("{ifname} has another Ethernet address than it was given"));
    }
    if !link.is_up {
        return differs(format!("{ifname} is down"));
    }
    let addresses = pod.addresses(link.index).map_err(kernel("listing the container's addresses"))?;
    for wanted in &attachment.addresses {
        if !addresses.iter().any(|(address, _)| address == wanted) {
            return differs(format!("{ifname} has lost the address {wanted}"));
        }
    }
    let (_, wanted) = of_pod(attachment, link.index, attachment.key.macs().0);
    let there = pod.routes().map_err(kernel("listing the container's routes"))?;
    for route in wanted {
        if !there.iter().any(|one| (one.to, one.via, one.device) == (route.to, route.via, route.device)) {
            return differs(format!("the container has lost its route to {}", route.to));
        }
    }
    Ok(())
}

/// Writes settings of the network namespace of this thread. A kernel without IPv6 has none of its.
fn set(folder: &str, settings: &[(&str, &str)]) -> io::Result<()> {
    for (name, value) in settings {
        let path = format!("{}/{folder}/{name}", sysctls::folder());
        match fs::write(&path, value) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder.contains("ipv6") => {}
            Err(error) => return Err(io::Error::new(error.kind(), format!("{path}: {error}"))),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Whether a namespace is the node's own: pods are never wired there.
pub(crate) fn is_own(netns: BorrowedFd<'_>) -> io::Result<bool> {
    bowline_net::is_same(netns, bowline_net::own()?.as_fd())
}
