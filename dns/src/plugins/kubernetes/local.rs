//! Where this server can be reached: by these addresses it finds the Service it belongs to.

use std::net::IpAddr;

use crate::plugin::Building;

/// The addresses that the block listens on, loopback left out; all of the host where it says none. The node agent's
/// own are no Service's.
pub(super) fn addresses(building: &Building<'_>) -> Vec<IpAddr> {
    let bound = &building.block.bind;
    let bound = if bound.is_empty() { &building.services.node_local } else { bound };
    let mut all = if bound.is_empty() { of_host() } else { bound.clone() };
    all.retain(|ip| !ip.is_loopback());
    all
}

fn of_host() -> Vec<IpAddr> {
    let interfaces = bowline_sys::interfaces::all().unwrap_or_else(|error| {
        tracing::warn!(%error, "this host's addresses can't be read: name servers of the cluster's zones have none");
        Vec::new()
    });
    interfaces.into_iter().filter_map(|interface| interface.address).collect()
}
