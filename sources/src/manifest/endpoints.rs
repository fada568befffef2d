//! core/v1 Endpoints: a subset for each slice that is made of it.

use std::net::IpAddr;

use serde::{Serialize, Serializer};

use super::slice::{Target, ports};
use super::{Metadata, api_version};
use bowline_cluster::object::{EndpointPort, EndpointSlice, Endpoints, Kind, Mirror, Str};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a, Own<'a>>,
    subsets: Vec<Subset<'a>>,
}

/// The labels of the slices without those that say what they are.
struct Own<'a>(&'a [(Str, Str)]);

impl Serialize for Own<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().filter(is_own).map(|(key, value)| (&**key, &**value)))
    }
}

fn is_own((key, _): &&(Str, Str)) -> bool {
    key != Mirror::MANAGED_BY.0 && key != "kubernetes.io/service-name"
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Subset<'a> {
    #[serde(serialize_with = "ready")]
    addresses: &'a Endpoints,
    #[serde(serialize_with = "not_ready")]
    not_ready_addresses: &'a Endpoints,
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "ports")]
    ports: &'a [EndpointPort],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Address<'a> {
    ip: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_ref: Option<Target<'a>>,
}

pub(super) fn manifest(mirror: &Mirror) -> Manifest<'_> {
    let labels = mirror.slices.first().map_or(&[][..], |slice| &slice.labels);
    let own = labels.iter().any(|pair| is_own(&pair)).then_some(Own(labels));
    Manifest {
        api_version: api_version(Kind::Endpoints),
        kind: Kind::Endpoints.as_str(),
        metadata: Metadata::new(&mirror.name, own),
        subsets: mirror.slices.iter().map(|slice| subset(slice)).collect(),
    }
}

fn subset(slice: &EndpointSlice) -> Subset<'_> {
    Subset { addresses: &slice.endpoints, not_ready_addresses: &slice.endpoints, ports: &slice.ports }
}

fn ready<S: Serializer>(endpoints: &&Endpoints, serializer: S) -> Result<S::Ok, S::Error> {
    addresses(endpoints, true, serializer)
}

fn not_ready<S: Serializer>(endpoints: &&Endpoints, serializer: S) -> Result<S::Ok, S::Error> {
    addresses(endpoints, false, serializer)
}

fn addresses<S: Serializer>(endpoints: &Endpoints, ready: bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(endpoints.iter().filter(|endpoint| endpoint.conditions.ready == ready).map(|endpoint| {
        Address {
            ip: endpoint.address,
            hostname: endpoint.hostname,
            node_name: endpoint.node.map(|node| &**node),
            target_ref: endpoint.pod.map(Target::pod),
        }
    }))
}
