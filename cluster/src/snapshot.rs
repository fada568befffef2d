//! One immutable picture of the cluster. Cheap to clone (it shares its parts), never half updated.

use std::sync::Arc;

use imbl::OrdMap;

use crate::object::{EndpointSlice, Namespace, Node, ObjectName, Pod, Service, Str};

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

/// The cluster at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Counts the changes since start; grows.
    pub revision: u64,
    /// Services, with every address they will get.
    pub services: OrdMap<ObjectName, Arc<Service>>,
    /// Slices that belong to a Service, those made from Pods among them.
    pub slices: OrdMap<SliceKey, Arc<EndpointSlice>>,
    /// Pods.
    pub pods: OrdMap<ObjectName, Arc<Pod>>,
    /// Nodes.
    pub nodes: OrdMap<ObjectName, Arc<Node>>,
    /// Namespaces.
    pub namespaces: OrdMap<ObjectName, Arc<Namespace>>,
}

impl Snapshot {
    /// The slices of one Service, in the order of their names.
    pub fn slices_of<'a>(&'a self, service: &'a ObjectName) -> impl Iterator<Item = &'a Arc<EndpointSlice>> {
        let from = SliceKey { namespace: service.namespace.clone(), service: service.name.clone(), name: Str::from("") };
        self.slices
            .range(from..)
            .take_while(move |(key, _)| key.namespace == service.namespace && key.service == service.name)
            .map(|(_, slice)| slice)
    }
}
