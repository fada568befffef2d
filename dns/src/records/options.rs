//! What a `kubernetes` directive says of the answers.

use std::collections::BTreeSet;
use std::net::IpAddr;

use bowline_cluster::object::{EndpointSlice, Namespace, ObjectName, Pod, Service};
use bowline_cluster::selector::Selector;
use bowline_cluster::snapshot::Snapshot;

use crate::wire::Name;

/// What is answered to `1-2-3-4.NAMESPACE.pod.ZONE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PodMode {
    /// There are no such names.
    #[default]
    Disabled,
    /// The address in the name, whatever it is.
    Insecure,
    /// That address if a Pod of the namespace has it.
    Verified,
}

/// A zone of the directive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Zone {
    /// Its name, in lower case.
    pub name: Name,
    /// It lies below in-addr.arpa or ip6.arpa (or is one of them).
    pub is_reverse: bool,
    /// Its names are those of ServiceImports.
    pub is_multicluster: bool,
}

/// A directive's options, but for where the state comes from and what falls through.
#[derive(Clone, Debug)]
pub struct Options {
    /// All the zones; [`Options::primary`] is where PTR records point to.
    pub zones: Vec<Zone>,
    /// Of every answer, in seconds; 0 to 3600.
    pub ttl: u32,
    /// `pods`.
    pub pods: PodMode,
    /// `endpoint_pod_names`: endpoints without a hostname go by the name of their Pod.
    pub endpoint_pod_names: bool,
    /// `namespaces`: only these; empty for all.
    pub namespaces: BTreeSet<String>,
    /// `namespace_labels`: only namespaces that fit.
    pub namespace_labels: Option<Selector>,
    /// `labels`: only Services, EndpointSlices and Pods that fit.
    pub labels: Option<Selector>,
    /// `noendpoints`.
    pub no_endpoints: bool,
    /// `ignore empty_service`.
    pub ignore_empty_service: bool,
    /// `zonal`: names of one topology zone's endpoints.
    pub zonal: bool,
    /// Where the server listens, loopback left out: by these it finds its own Service, for NS records.
    pub local_ips: Vec<IpAddr>,
}

/// The TTL where the directive says none, in seconds.
pub const DEFAULT_TTL: u32 = 5;

impl Options {
    /// The options of a directive that says no more than its zones; `multicluster` are those of ServiceImports, with
    /// all zones below them.
    pub fn new(zones: &[Name], multicluster: &[Name]) -> Options {
        let zones = zones.iter().map(|name| Zone {
            name: name.to_lower(),
            is_reverse: is_reverse(name),
            is_multicluster: multicluster.iter().any(|parent| name.is_within(parent)),
        });
        Options {
            zones: zones.collect(),
            ttl: DEFAULT_TTL,
            pods: PodMode::default(),
            endpoint_pod_names: false,
            namespaces: BTreeSet::new(),
            namespace_labels: None,
            labels: None,
            no_endpoints: false,
            ignore_empty_service: false,
            zonal: false,
            local_ips: Vec::new(),
        }
    }

    /// The first zone that is no reverse zone.
    pub fn primary(&self) -> Option<&Zone> {
        self.zones.iter().find(|zone| !zone.is_reverse)
    }

    /// The longest zone that a name is in, and how many bytes of the name stand in front of it. The name is in wire
    /// form and in lower case.
    pub fn find(&self, name: &[u8]) -> Option<(&Zone, usize)> {
        let mut best: Option<(&Zone, usize)> = None;
        for zone in &self.zones {
            let Some(front) = name.len().checked_sub(zone.name.as_wire().len()) else { continue };
            if best.is_none_or(|(_, other)| front < other)
                && name.get(front..) == Some(zone.name.as_wire())
                && starts_label(name, front)
            {
                best = Some((zone, front));
            }
        }
        best
    }

    /// Whether a slice counts.
    pub(super) fn takes(&self, slice: &EndpointSlice) -> bool {
        !self.no_endpoints && self.labels.as_ref().is_none_or(|selector| selector.fits_labels(&slice.labels))
    }

    /// Whether a Service counts.
    pub(super) fn takes_service(&self, service: &Service) -> bool {
        self.labels.as_ref().is_none_or(|selector| selector.fits_labels(&service.labels))
    }

    /// The Service whose answers a slice is in; None where it or the slice doesn't count.
    pub(crate) fn service_of<'a>(&self, slice: &EndpointSlice, snapshot: &'a Snapshot) -> Option<&'a Service> {
        let name = ObjectName { namespace: slice.name.namespace.clone(), name: slice.service.clone()? };
        let service = snapshot.services.get(&name).filter(|_| self.takes(slice))?;
        self.takes_service(service).then_some(service)
    }

    /// Whether a Pod counts: until it has finished. One on its way out is still there, and finishes what it began.
    pub(super) fn takes_pod(&self, pod: &Pod) -> bool {
        !pod.finished && self.labels.as_ref().is_none_or(|selector| selector.fits_labels(&pod.labels))
    }

    /// Whether names of this namespace are to be seen, if it exists.
    pub(super) fn exposes(&self, namespace: &Namespace) -> bool {
        (self.namespaces.is_empty() || self.namespaces.contains(&*namespace.name.name))
            && self.namespace_labels.as_ref().is_none_or(|selector| selector.fits_labels(&namespace.labels))
    }
}

/// Whether a label of the name begins at `at`.
fn starts_label(name: &[u8], at: usize) -> bool {
    let mut here = 0;
    while here < at {
        let Some(length) = name.get(here) else { return false };
        here += 1 + usize::from(*length);
    }
    here == at
}

fn is_reverse(zone: &Name) -> bool {
    ["in-addr.arpa", "ip6.arpa"].iter().any(|parent| Name::parse(parent).is_ok_and(|parent| zone.is_within(&parent)))
}
