//! The EndpointSlice controller's part: slices made from the Pods that a Service selects.
//!
//! The rules are those of Kubernetes' controller: a Pod counts once it has an address and until it has
//! finished; it is ready when it is Ready and not being deleted, or when the Service publishes Pods that
//! are not ready. Pods whose named ports have the same numbers share a slice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;

use crate::object::endpoints::{Builder, Conditions, Endpoint};
use crate::object::{
    ContainerPort, EndpointPort, EndpointSlice, Family, Labels, Mirror, ObjectName, Pod, Service, Str, TargetPort,
};

/// Names by namespace and label: one ordered set, so that a label costs one entry and nothing else.
#[derive(Debug, Default)]
pub(super) struct Labelled(BTreeSet<Entry>);

type Entry = (Str, Str, Str, Str);

impl Labelled {
    pub(super) fn insert(&mut self, namespace: &Str, labels: &[(Str, Str)], name: &Str) {
        self.0.extend(labels.iter().map(|pair| entry(namespace, pair, name)));
    }

    pub(super) fn remove(&mut self, namespace: &Str, labels: &[(Str, Str)], name: &Str) {
        for pair in labels {
            self.0.remove(&entry(namespace, pair, name));
        }
    }

    /// The names under one label, sorted.
    pub(super) fn with<'a>(&'a self, namespace: &'a Str, pair: &'a (Str, Str)) -> impl Iterator<Item = &'a Str> {
        self.0
            .range(entry(namespace, pair, &Str::default())..)
            .take_while(move |(n, key, value, _)| n == namespace && (key, value) == (&pair.0, &pair.1))
            .map(|(.., name)| name)
    }

    /// The index of the pair with the fewest names. Costs as much as that pair has names, times the pairs.
    pub(super) fn rarest(&self, namespace: &Str, pairs: &[(Str, Str)]) -> usize {
        if pairs.len() < 2 {
            return 0;
        }
        let mut limit = 8;
        loop {
            let counts = pairs.iter().map(|pair| self.with(namespace, pair).take(limit).count());
            if let Some((index, _)) = counts.enumerate().filter(|(_, n)| *n < limit).min_by_key(|(_, n)| *n) {
                return index;
            }
            limit *= 4;
        }
    }

    /// The Pods that a selector selects, by name.
    pub(super) fn matching(
        &self,
        namespace: &Str,
        selector: &[(Str, Str)],
        pods: &OrdMap<ObjectName, Arc<Pod>>,
    ) -> Vec<Arc<Pod>> {
        let Some(pair) = selector.get(self.rarest(namespace, selector)) else { return Vec::new() };
        self.with(namespace, pair)
            .filter_map(|name| pods.get(&ObjectName { namespace: namespace.clone(), name: name.clone() }))
            .filter(|pod| selects(selector, &pod.labels))
            .cloned()
            .collect()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn entry(namespace: &Str, pair: &(Str, Str), name: &Str) -> Entry {
    (namespace.clone(), pair.0.clone(), pair.1.clone(), name.clone())
}

/// Whether labels have every pair of a selector. Both are sorted by key.
pub(super) fn selects(selector: &[(Str, Str)], labels: &[(Str, Str)]) -> bool {
    selector
        .iter()
        .all(|(key, value)| labels.binary_search_by(|(k, _)| k.cmp(key)).is_ok_and(|at| labels[at].1 == *value))
}

/// Whether a slice was made here. No object can have such a name: Kubernetes allows no colon in it.
pub fn is_made(slice: &EndpointSlice) -> bool {
    slice.name.name.contains(':')
}

/// Whether a slice is what Kubernetes' mirroring controller made of an Endpoints.
pub(super) fn is_mirrored(slice: &EndpointSlice) -> bool {
    slice.labels.iter().any(|(key, value)| (&**key, &**value) == Mirror::MANAGED_BY)
}

/// The slices of a Service from the Pods it selects (sorted by name): in the order of their names,
/// `SERVICE:ipv4:000001` and so on, one for each family and set of port numbers.
pub(super) fn slices(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSlice> {
    let mut slices = Vec::new();
    for (family, tag) in [(Family::V4, "ipv4"), (Family::V6, "ipv6")] {
        if !service.families.contains(&family) {
            continue;
        }
        let mut groups: BTreeMap<Vec<Option<u16>>, Builder> = BTreeMap::new();
        for pod in pods.iter().filter(|pod| !pod.finished) {
            let Some(address) = pod.ips.iter().find(|ip| Family::of(ip) == family) else { continue };
            let numbers = service.ports.iter().map(|port| match &port.target {
                TargetPort::Number(number) => Some(*number),
                TargetPort::Name(name) => find_port(&pod.ports, name, port.protocol),
            });
            groups.entry(numbers.collect()).or_default().push(&Endpoint {
                address: *address,
                conditions: Conditions {
                    ready: service.publish_not_ready || (pod.ready && !pod.terminating),
                    serving: pod.ready,
                    terminating: pod.terminating,
                },
                hostname: pod.hostname.as_deref().filter(|_| pod.subdomain.as_ref() == Some(&service.name.name)),
                node: pod.node.as_ref(),
                zone: None,
                pod: Some(&pod.name.name),
            });
        }
        for (index, (numbers, endpoints)) in groups.into_iter().enumerate() {
            let name = Str::from(format!("{}:{tag}:{:06}", service.name.name, index + 1));
            // A port that these Pods don't have is left out; they stay, for DNS and for their other ports.
            let ports = service.ports.iter().zip(numbers).filter_map(|(port, number)| {
                Some(EndpointPort { name: port.name.clone(), protocol: port.protocol, port: Some(number?) })
            });
            slices.push(EndpointSlice {
                name: ObjectName { namespace: service.name.namespace.clone(), name },
                labels: labels(service),
                service: Some(service.name.name.clone()),
                family: Some(family),
                ports: ports.collect(),
                endpoints: endpoints.build(),
                hidden: false,
            });
        }
    }
    slices
}

/// The Service's own, and the one that says whose slice it is.
fn labels(service: &Service) -> Labels {
    let owner = (arcstr::literal!("kubernetes.io/service-name"), service.name.name.clone());
    let mut labels: Vec<_> = service.labels.iter().filter(|(key, _)| *key != owner.0).cloned().collect();
    labels.push(owner);
    labels.sort_by(|a, b| a.0.cmp(&b.0));
    labels.into()
}

fn find_port(ports: &[ContainerPort], name: &str, protocol: crate::object::Protocol) -> Option<u16> {
    ports.iter().find(|port| &*port.name == name && port.protocol == protocol).map(|port| port.port)
}
