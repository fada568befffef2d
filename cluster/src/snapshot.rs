//! One immutable picture of the cluster. Cheap to clone (it shares its parts), never half updated.

use std::net::IpAddr;
use std::sync::Arc;

use imbl::OrdMap;

use crate::object::{
    EndpointSlice, Mirror, Namespace, NetworkPolicy, Node, ObjectName, Pod, PodAddresses, Protocol, Service,
    ServiceCidr, ServiceImport, Str,
};

/// Orders slices by the Service they belong to, so that those of one Service are neighbours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SliceKey {
    /// Namespace of the slice and of its Service.
    pub namespace: Str,
    /// Name of the Service.
    pub service: Str,
    /// Name of the slice.
    pub name: Str,
}

/// What a Service listens on: one address, one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frontend {
    /// The address.
    pub ip: IpAddr,
    /// The port, host byte order.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// The cluster at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Counts the changes since start; grows.
    pub revision: u64,
    /// Services, with every address they will get.
    pub services: OrdMap<ObjectName, Arc<Service>>,
    /// Front ends that a Service claims and an older one has; few Services are here. See [`Snapshot::owns`].
    pub lost: OrdMap<ObjectName, Arc<[Frontend]>>,
    /// Slices that belong to a Service, those made from Pods and Endpoints among them.
    pub slices: OrdMap<SliceKey, Arc<EndpointSlice>>,
    /// Slices that belong to a ServiceImport: endpoints of other clusters. `service` is the import's name; a
    /// slice may be in `slices` too.
    pub imported: OrdMap<SliceKey, Arc<EndpointSlice>>,
    /// Endpoints, where their slices are made here.
    pub endpoints: OrdMap<ObjectName, Arc<Mirror>>,
    /// Pods, those that have addresses from their node among them.
    pub pods: OrdMap<ObjectName, Arc<Pod>>,
    /// What nodes say of Pods, and what manifests say of the same.
    pub told_pods: OrdMap<ObjectName, (Arc<PodAddresses>, Option<Arc<Pod>>)>,
    /// Nodes.
    pub nodes: OrdMap<ObjectName, Arc<Node>>,
    /// Namespaces.
    pub namespaces: OrdMap<ObjectName, Arc<Namespace>>,
    /// NetworkPolicies.
    pub network_policies: OrdMap<ObjectName, Arc<NetworkPolicy>>,
    /// ServiceImports.
    pub service_imports: OrdMap<ObjectName, Arc<ServiceImport>>,
    /// Ranges of Service addresses.
    pub service_cidrs: OrdMap<ObjectName, Arc<ServiceCidr>>,
}

impl Snapshot {
    /// Whether `service` is the one that serves this address and port. Ask it for every pair of
    /// `service.cluster_ips` and `service.ports`: an older Service may have the same one, and keeps it.
    pub fn owns(&self, service: &ObjectName, ip: IpAddr, port: u16, protocol: Protocol) -> bool {
        let frontend = Frontend { ip, port, protocol };
        !self.lost.get(service).is_some_and(|lost| lost.contains(&frontend))
    }

    /// The slices of one Service, in the order of their names.
    pub fn slices_of<'a>(&'a self, service: &'a ObjectName) -> impl Iterator<Item = &'a Arc<EndpointSlice>> {
        of(&self.slices, service)
    }

    /// The slices of one ServiceImport, in the order of their names.
    pub fn imported_of<'a>(&'a self, import: &'a ObjectName) -> impl Iterator<Item = &'a Arc<EndpointSlice>> {
        of(&self.imported, import)
    }
}

fn of<'a>(
    slices: &'a OrdMap<SliceKey, Arc<EndpointSlice>>,
    owner: &'a ObjectName,
) -> impl Iterator<Item = &'a Arc<EndpointSlice>> {
    let from = SliceKey { namespace: owner.namespace.clone(), service: owner.name.clone(), name: Str::default() };
    slices
        .range(from..)
        .take_while(move |(key, _)| key.namespace == owner.namespace && key.service == owner.name)
        .map(|(_, slice)| slice)
}
