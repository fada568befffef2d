//! The way to the pods of other nodes, as the Node objects say where they are.
//!
//! ```text
//! Node: podCIDRs, InternalIP ─┬─ on a link of ours: a route, its address is the next hop
//!                             └─ behind a router:   a route into the tunnel (VXLAN), whose other end it is
//!
//! nodes    what the cluster says                      tunnel   the tunnels' interfaces
//! ways     how each node is reached from here         former   the bridge of the network before this one
//! plan     which routes and neighbours that takes     write    the kernel brought up to it
//! ```
//! What is wanted follows from the nodes alone. What is there is compared with it when either changes, and the difference
//! is written: nothing is flushed, and what somebody took away is back.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bowline_net::{Link, Net, NetError, Route};
use ipnet::IpNet;

use crate::datapath::NodeLink;

mod former;
mod nodes;
mod plan;
mod tunnel;
mod ways;
mod write;

pub use former::Bridge;
pub use nodes::Nodes;
pub use plan::Reached;
pub(crate) use tunnel::{OVERHEAD_V4, OVERHEAD_V6, is_ours};
pub use tunnel::{TUNNEL, Tunnels, When};

/// The links of the node, by their numbers.
type Links = BTreeMap<u32, Link>;

/// The place of a family in a pair.
fn family(is_v4: bool) -> usize {
    usize::from(!is_v4)
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
    /// Bridges of the network before this one.
    pub bridges: Vec<Bridge>,
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
    let links: Links = net.links()?.into_iter().map(|link| (link.index, link)).collect();
    let own = net.all_addresses()?;
    let mut done = Done::default();
    let ways = ways::Ways::look(net, nodes, tunnels, &links, &own, &mut done)?;
    let ends = tunnel::raise(net, tunnels, nodes, &ways, &links, &mut done)?;
    let plan = plan::plan(nodes, tunnels, &ways, &ends, &links, &mut done.problems);
    done.mended += write::write(net, &plan, &ends, pods, &links, &mut done.problems)?;
    done.reached = plan.reached;
    done.mtu = ways.mtu(&ends, &links);
    done.inside = ways.inside(nodes);
    for end in ends.iter().flatten() {
        done.links.push(NodeLink { index: end.link.index, to_pods: true, masquerade: [None, None] });
        done.addresses.extend(&end.addresses);
    }
    done.bridges = former::find(nodes, &links, &own);
    for bridge in &done.bridges {
        done.links.push(NodeLink { index: bridge.index, to_pods: true, masquerade: [None, None] });
        done.mended += former::answer_for(net, bridge, nodes, pods, &mut done.problems)?;
    }
    Ok(done)
}

#[cfg(test)]
mod tests;
