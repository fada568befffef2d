//! What is on a node, for people: read beside the agent, whether it runs or not.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use bowline_cni_protocol::Mac;
use bowline_net::{BOWLINE, Net};
use ipnet::IpNet;
use serde::Serialize;

use crate::attachment::{PodName, is_wire};
use crate::log::{self, Stage};

/// An attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttachedView {
    /// CNI_CONTAINERID.
    pub container: String,
    /// CNI_IFNAME.
    pub interface: String,
    /// The Pod, where the runtime named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodName>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The node's end of its wire.
    pub link: String,
    /// Whether it is held, or going.
    pub stage: &'static str,
    /// Of the wire, in bytes.
    pub mtu: u32,
    /// The Ethernet address of the container's end.
    pub mac: String,
    /// Ports of the node that lead to it: "8080:80/tcp".
    pub ports: Vec<String>,
    /// CNI_NETNS, as the runtime said it.
    pub netns: String,
}

/// The way to the pods of another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WayView {
    /// Its pods.
    pub network: IpNet,
    /// Whether by VXLAN.
    pub tunnel: bool,
    /// The node's address.
    pub node: Option<IpAddr>,
    /// The interface.
    pub link: String,
}

/// What is attached, by the log in this folder.
///
/// # Errors
/// There is no log, or it can't be read.
pub fn attached(folder: &Path) -> io::Result<Vec<AttachedView>> {
    let attached = log::peek(&folder.join("attachments.log"))?;
    let view = attached.into_iter().map(|(key, (attachment, stage))| AttachedView {
        link: key.link(),
        container: key.container,
        interface: key.ifname,
        pod: attachment.pod,
        addresses: attachment.addresses,
        stage: match stage {
            Stage::Held => "held",
            Stage::Going => "going",
        },
        mtu: attachment.mtu,
        mac: Mac(attachment.mac).to_string(),
        ports: attachment
            .ports
            .iter()
            .map(|port| {
                let at = port.host_ip.map_or(String::new(), |ip| format!("{ip}:"));
                let protocol = format!("{:?}", port.protocol).to_lowercase();
                format!("{at}{}:{}/{protocol}", port.host_port, port.container_port)
            })
            .collect(),
        netns: attachment.netns,
    });
    Ok(view.collect())
}

/// The ways to other nodes' pods, as the kernel has them, in this thread's network namespace.
///
/// # Errors
/// The kernel can't be asked.
pub fn ways() -> io::Result<Vec<WayView>> {
    let net = Net::open()?;
    let links = net.links().map_err(io::Error::other)?;
    let name = |index: u32| links.iter().find(|link| link.index == index).map_or("", |link| link.name.as_str());
    let (mut forwards, mut neighbours) = (Vec::new(), Vec::new());
    let tunnels: Vec<u32> = links.iter().filter(|link| link.kind == "vxlan").map(|link| link.index).collect();
    for tunnel in &tunnels {
        forwards.extend(net.forwards(*tunnel).map_err(io::Error::other)?);
        neighbours.extend(net.neighbours(*tunnel).map_err(io::Error::other)?);
    }
    let routes = net.routes().map_err(io::Error::other)?;
    let to_wire = |index: u32| links.iter().any(|link| link.index == index && is_wire(link));
    let ours = routes.iter().filter(|route| route.protocol == BOWLINE && !to_wire(route.device));
    let mut ways: Vec<WayView> = ours
        .map(|route| {
            let (device, tunnel) = (route.device, tunnels.contains(&route.device));
            let mac = neighbours.iter().find(|one| one.device == device && Some(one.address) == route.via);
            let end = forwards.iter().find(|one| one.device == device && Some(one.mac) == mac.map(|one| one.mac));
            let node = if tunnel { end.map(|one| one.to) } else { route.via };
            WayView { network: route.to, tunnel, node, link: name(device).to_owned() }
        })
        .collect();
    ways.sort_by_key(|way| way.network);
    Ok(ways)
}
