//! The kernel, brought up to what is planned.

use std::collections::{BTreeMap, BTreeSet};

use bowline_net::{BOWLINE, ENODEV, Forward, Neighbour, Net, NetError, Route};
use ipnet::IpNet;

use super::Links;
use super::plan::Plan;
use super::tunnel::Ends;
use crate::attachment::is_wire;

/// The errno of a route over an interface that is down, or about to go.
const ENETDOWN: i32 = 100;

/// Writes what is missing, and removes what is ours and not wanted. Says how much that was.
pub(super) fn write(
    net: &Net,
    plan: &Plan,
    ends: &Ends,
    pods: &[Route],
    links: &Links,
    problems: &mut Vec<String>,
) -> Result<usize, NetError> {
    let mut mended = 0;
    for end in ends.iter().flatten() {
        mended += write_end(net, plan, end.link.index, problems)?;
    }
    let there: BTreeMap<IpNet, Route> =
        net.routes()?.into_iter().filter(|route| route.protocol == BOWLINE).map(|route| (route.to, route)).collect();
    let is_wire = |device: &u32| links.get(device).is_none_or(is_wire);
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

/// The kernel says of some of it more than was asked for. What it has been told of a narrow way it forgets after ten minutes, and
/// would learn again by packets that are lost: a route keeps the least that it had.
pub(super) fn is_same(one: &Route, other: &Route) -> bool {
    (one.to, one.via, one.device) == (other.to, other.via, other.device)
        && (other.source.is_none() || one.source == other.source)
        && other.mtu.is_none_or(|mtu| one.mtu.is_some_and(|least| least <= mtu))
}

/// Who is at the other ends of the tunnels.
fn write_end(net: &Net, plan: &Plan, device: u32, problems: &mut Vec<String>) -> Result<usize, NetError> {
    let mut mended = 0;
    let forwards: BTreeSet<Forward> = net.forwards(device)?.into_iter().collect();
    let neighbours: BTreeSet<Neighbour> = net.neighbours(device)?.into_iter().collect();
    let wanted: BTreeSet<Forward> = plan.forwards.iter().filter(|one| one.device == device).copied().collect();
    let known: BTreeSet<Neighbour> = plan.neighbours.iter().filter(|one| one.device == device).copied().collect();
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
    Ok(mended)
}
