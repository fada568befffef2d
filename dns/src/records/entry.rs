//! One Service (or ServiceImport), compiled.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use bowline_cluster::object::{Endpoint, EndpointSlice, ObjectName, Service, ServiceImport, ServiceType};
use smallvec::SmallVec;

use super::host::{Host, Labels};
use super::options::Options;
use super::rrset::{Rrset, Topology};
use super::targets::{Builder, Targets};
use crate::wire::{Name, Type};

/// What a Service answers with.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its labels in front of the zone, in lower case: `\3web\7default\3svc`. In here, as they are compared for each
    /// question.
    front: KeptFront,
    pub(super) kind: Kind,
    /// Its addresses: the ClusterIPs, or those of the ready endpoints; none twice.
    pub(super) a: Rrset,
    pub(super) aaaa: Rrset,
    /// The targets of SRV records.
    pub(super) targets: Targets,
    /// Its slices, for the names of endpoints; none where the options say `noendpoints`.
    slices: Box<[Arc<EndpointSlice>]>,
    /// It is a ServiceImport: its endpoints are named with their cluster.
    is_import: bool,
}

/// What a Service is, to DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It has addresses of its own.
    Virtual,
    /// It answers with its endpoints.
    Headless,
    /// Another name.
    External(Box<Name>),
}

/// An entry in the table that is looked up by its labels.
#[derive(Clone, Debug)]
pub(super) struct Keyed(pub(super) Arc<Entry>);

impl Borrow<[u8]> for Keyed {
    fn borrow(&self) -> &[u8] {
        &self.0.front
    }
}

impl Hash for Keyed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.front.hash(state);
    }
}

impl PartialEq for Keyed {
    fn eq(&self, other: &Keyed) -> bool {
        self.0.front == other.0.front
    }
}

impl Eq for Keyed {}

/// The labels of an object in front of its zone, in lower case; None where its names are too long for labels.
pub(super) fn front(name: &ObjectName) -> Option<Front> {
    let mut front = Front::new();
    for label in [&*name.name, &*name.namespace, "svc"] {
        if label.is_empty() || label.len() > 63 {
            return None;
        }
        front.push(label.len() as u8);
        front.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    Some(front)
}

/// Most are shorter.
type KeptFront = SmallVec<[u8; 40]>;

/// Room for two labels of 63 bytes and the "svc" behind them.
pub(super) type Front = SmallVec<[u8; 132]>;

/// The ready endpoints of a slice.
pub(super) fn ready(slice: &EndpointSlice) -> impl Iterator<Item = Endpoint<'_>> {
    slice.endpoints.iter().filter(|endpoint| endpoint.conditions.ready)
}

impl Entry {
    /// Compiles a Service with those of its slices that the options let through. None where no name of it exists.
    pub(super) fn of_service(service: &Service, slices: Vec<Arc<EndpointSlice>>, options: &Options) -> Option<Entry> {
        let front = KeptFront::from_slice(&front(&service.name)?);
        if service.kind == ServiceType::ExternalName {
            // As CoreDNS: an address is no name.
            let target = service.external_name.as_deref().filter(|name| name.parse::<IpAddr>().is_err())?;
            let kind = Kind::External(Box::new(Name::parse(target).ok()?));
            return Some(Entry::new(front, kind, Vec::new(), Targets::default(), options));
        }
        if service.headless {
            return Some(Entry::headless(front, slices, options, false));
        }
        if options.ignore_empty_service && slices.iter().all(|slice| ready(slice).next().is_none()) {
            return None;
        }
        let mut builder = Builder::default();
        let set = builder.service_ports(&service.ports);
        let entry = Entry::with_addresses(front, &service.cluster_ips, builder, set, options);
        Some(Entry { slices: slices.into(), ..entry })
    }

    /// Compiles a ServiceImport with those of its slices that the options let through.
    pub(super) fn of_import(
        import: &ServiceImport,
        slices: Vec<Arc<EndpointSlice>>,
        options: &Options,
    ) -> Option<Entry> {
        let front = KeptFront::from_slice(&front(&import.name)?);
        if import.headless {
            return Some(Entry::headless(front, slices, options, true));
        }
        if options.ignore_empty_service && slices.iter().all(|slice| ready(slice).next().is_none()) {
            return None;
        }
        let mut builder = Builder::default();
        let set = builder.import_ports(&import.ports);
        let entry = Entry::with_addresses(front, &import.ips, builder, set, options);
        Some(Entry { slices: slices.into(), is_import: true, ..entry })
    }

    fn with_addresses(front: KeptFront, ips: &[IpAddr], mut builder: Builder, set: u16, options: &Options) -> Entry {
        ips.iter().for_each(|ip| builder.add(&Labels::new(), *ip, set));
        let addresses = ips.iter().map(|ip| (*ip, None)).collect();
        Entry::new(front, Kind::Virtual, addresses, builder.build(), options)
    }

    fn headless(front: KeptFront, slices: Vec<Arc<EndpointSlice>>, options: &Options, is_import: bool) -> Entry {
        let mut builder = Builder::default();
        let mut addresses = Vec::new();
        for slice in &slices {
            let mut endpoints = ready(slice).peekable();
            if endpoints.peek().is_none() {
                continue;
            }
            let set = builder.slice_ports(&slice.ports);
            for endpoint in endpoints {
                builder.add(&host_labels(&endpoint, slice, options, is_import), endpoint.address, set);
                let place = Topology { node: endpoint.node.cloned(), zone: endpoint.zone.cloned() };
                addresses.push((endpoint.address, Some(place)));
            }
        }
        let entry = Entry::new(front, Kind::Headless, addresses, builder.build(), options);
        Entry { slices: slices.into(), is_import, ..entry }
    }

    fn new(
        front: KeptFront,
        kind: Kind,
        mut addresses: Vec<(IpAddr, Option<Topology>)>,
        targets: Targets,
        options: &Options,
    ) -> Entry {
        let mut seen: HashSet<IpAddr, foldhash::fast::RandomState> = HashSet::default();
        addresses.retain(|(ip, _)| seen.insert(*ip));
        let a = Rrset::new(Type::A, options.ttl, addresses.iter().cloned());
        let aaaa = Rrset::new(Type::AAAA, options.ttl, addresses);
        Entry { front, kind, a, aaaa, targets, slices: Box::default(), is_import: false }
    }

    /// Its labels in front of the zone.
    pub(super) fn front(&self) -> &[u8] {
        &self.front
    }

    /// Whether it is a ServiceImport.
    pub(super) fn is_import(&self) -> bool {
        self.is_import
    }

    /// Its ready endpoints, each with its slice.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = (&EndpointSlice, Endpoint<'_>)> {
        self.slices.iter().flat_map(|slice| ready(slice).map(move |endpoint| (&**slice, endpoint)))
    }
}

/// The labels of an endpoint in front of its Service's: those of its host, and of its cluster if it is another's.
pub(super) fn host_labels(
    endpoint: &Endpoint<'_>,
    slice: &EndpointSlice,
    options: &Options,
    is_import: bool,
) -> Labels {
    let mut labels = Labels::new();
    Host::of(endpoint, options.endpoint_pod_names).push(&mut labels);
    let cluster = if is_import { slice.cluster() } else { "" };
    if (1..64).contains(&cluster.len()) {
        labels.push(cluster.len() as u8);
        labels.extend_from_slice(cluster.as_bytes());
    }
    labels
}
