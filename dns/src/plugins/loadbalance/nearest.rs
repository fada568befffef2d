//! Where clients are, by their address: on the node that has it, or that has its range of Pods. Endpoints on a
//! client's own node come first, then those in its zone; among equals the order is random.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bowline_cluster::follow::{Follower, Told};
use bowline_cluster::object::Node;
use ipnet::IpNet;

use super::{part, place, round_robin};
use crate::feed::Feed;
use crate::records::{Found, Near, Records};
use crate::wire::{Message, Record, Type};

/// The label of a node that says in which zone it is.
const ZONE: &str = "topology.kubernetes.io/zone";

/// The nodes, as the state says now.
#[derive(Default)]
pub(super) struct Nearest(ArcSwap<Table>);

#[derive(Default)]
struct Table {
    /// By the nodes' own addresses: of their programs, and Pods in their network.
    hosts: HashMap<IpAddr, Arc<Node>>,
    /// By the ranges of their Pods.
    ranges: HashMap<IpNet, Arc<Node>>,
    /// The lengths of the ranges' prefixes, each once, the longest first.
    lengths: Vec<u8>,
}

impl Nearest {
    /// Follows the state.
    pub(super) fn follow(feed: &Feed) -> Arc<Nearest> {
        let nearest = Arc::new(Nearest::default());
        let follower: Arc<dyn Follower> = nearest.clone();
        feed.follow(&follower);
        nearest
    }

    /// Sorts the addresses of an answer for this client.
    pub(super) fn order(&self, message: &mut Message, client: IpAddr, records: Option<&Records>) {
        round_robin(&mut message.answers);
        let table = self.0.load();
        if let (Some(node), Some(records)) = (table.of(client.to_canonical()), records) {
            order(part(&mut message.answers, place(Type::A)), near(node), records);
        }
    }
}

impl Follower for Nearest {
    fn come(&self, told: &Told<'_>) {
        if told.changed.is_none_or(|changed| !changed.nodes.is_empty()) {
            self.0.store(Arc::new(Table::new(told.snapshot.nodes.values())));
        }
    }
}

impl Table {
    fn new<'a>(nodes: impl Iterator<Item = &'a Arc<Node>>) -> Table {
        let mut table = Table::default();
        for node in nodes {
            table.hosts.extend(node.internal_ips.iter().map(|ip| (*ip, node.clone())));
            table.ranges.extend(node.pod_cidrs.iter().map(|range| (range.trunc(), node.clone())));
        }
        table.lengths = table.ranges.keys().map(IpNet::prefix_len).collect();
        table.lengths.sort_unstable_by(|one, other| other.cmp(one));
        table.lengths.dedup();
        table
    }

    fn of(&self, client: IpAddr) -> Option<&Node> {
        let in_range = || {
            // A length that the address's family does not have is no range.
            let ranges = self.lengths.iter().filter_map(|length| IpNet::new(client, *length).ok());
            ranges.map(|range| range.trunc()).find_map(|range| self.ranges.get(&range))
        };
        self.hosts.get(&client).or_else(in_range).map(|node| &**node)
    }
}

fn near(node: &Node) -> Near<'_> {
    let zone = node.labels.iter().find(|(key, _)| key == ZONE).map_or("", |(_, zone)| zone.as_str());
    Near { node: &node.name.name, zone }
}

/// Sorts the addresses of one name; where it is no headless Service's they stay as they are.
fn order(addresses: &mut [Record], client: Near<'_>, records: &Records) {
    let Some(first) = addresses.first() else { return };
    let (owner, rtype) = (first.name.to_lower(), first.rtype);
    let options = records.shared_options();
    let Some((zone, front)) = options.find(owner.as_wire()) else { return };
    let answer = records.resolve(zone, owner.as_wire().get(..front).unwrap_or_default(), rtype);
    let Found::Rrset(rrset) = &answer.found else { return };
    let distances: HashMap<IpAddr, u8> = rrset.addresses().zip(rrset.distances(client)).collect();
    addresses.sort_by_key(|record| {
        let distance = record.data.to_ip(record.rtype).and_then(|ip| distances.get(&ip));
        distance.copied().unwrap_or(u8::MAX)
    });
}

#[cfg(test)]
mod tests;
