//! This node in a cluster that has etcd alone: there the agent registers it, as a kubelet does elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use bowline_cluster::source::Stop;
use bowline_sources::store::node::{Event, Registration};

/// The address of each family from which this host reaches the world. Nothing is sent.
pub fn own_addresses() -> Vec<IpAddr> {
    let documentation: [(SocketAddr, SocketAddr); 2] = [
        ((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::new(192, 0, 2, 1), 9).into()),
        ((Ipv6Addr::UNSPECIFIED, 0).into(), (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into()),
    ];
    let own = documentation.into_iter().filter_map(|(any, there)| {
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(there).ok()?;
        Some(socket.local_addr().ok()?.ip())
    });
    own.filter(|address| !address.is_loopback() && !address.is_unspecified()).collect()
}

/// Keeps the node registered until told to stop.
pub fn keep(registration: &Registration, stop: &Stop) {
    let node = &registration.name;
    let kept = registration.run(stop, |event| match event {
        Event::Registered { pod_cidrs } => {
            let ranges: Vec<String> = pod_cidrs.iter().map(ToString::to_string).collect();
            tracing::info!(%node, pod_cidrs = %ranges.join(","), "the node is registered");
        }
        // The flags may be defaults that nobody wrote.
        Event::Ignored(what) => tracing::info!(%node, "{what}"),
        Event::Refused(why) => tracing::error!(%node, "the node can't be registered; trying again: {why}"),
        Event::Away(why) => tracing::warn!(%node, "the node can't be shown as alive; trying again: {why}"),
        Event::Lost => tracing::warn!(%node, "the node's lease had run out: it counted as gone; registering anew"),
        Event::Deleted => tracing::warn!(%node, "the Node object was deleted; registering anew"),
        Event::Rival => tracing::error!(
            %node,
            "another agent says that it is this node; give one of them another name by --hostname-override"
        ),
    });
    if let Err(error) = kept {
        tracing::error!(%node, %error, "the node is not registered");
    }
}
