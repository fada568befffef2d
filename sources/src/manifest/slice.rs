//! discovery.k8s.io/v1 EndpointSlice, and ports like its own.

use std::net::IpAddr;

use serde::{Serialize, Serializer};

use super::{Metadata, Pairs, api_version};
use bowline_cluster::object::{Conditions, Endpoint, EndpointPort, EndpointSlice, Endpoints, Kind, Protocol};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a, Pairs<'a>>,
    address_type: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "ports")]
    ports: &'a [EndpointPort],
    #[serde(serialize_with = "endpoints")]
    endpoints: &'a Endpoints,
}

#[derive(Serialize)]
struct Port<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    addresses: [IpAddr; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    conditions: Option<Flags>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_ref: Option<Target<'a>>,
}

#[derive(Serialize)]
struct Flags {
    ready: bool,
    serving: bool,
    terminating: bool,
}

/// Whose address it is.
#[derive(Serialize)]
pub(super) struct Target<'a> {
    kind: &'static str,
    name: &'a str,
}

impl<'a> Target<'a> {
    pub(super) fn pod(name: &'a str) -> Target<'a> {
        Target { kind: Kind::Pod.as_str(), name }
    }
}

pub(super) fn manifest(slice: &EndpointSlice) -> Manifest<'_> {
    Manifest {
        api_version: api_version(Kind::EndpointSlice),
        kind: Kind::EndpointSlice.as_str(),
        metadata: Metadata::new(&slice.name, Pairs::some(&slice.labels)),
        address_type: slice.family.map_or("FQDN", |family| family.as_str()),
        ports: &slice.ports,
        endpoints: &slice.endpoints,
    }
}

pub(super) fn ports<S: Serializer>(ports: &&[EndpointPort], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ports.iter().map(|port| Port {
        name: &port.name,
        protocol: (port.protocol != Protocol::Tcp).then_some(port.protocol.as_str()),
        port: port.port,
    }))
}

fn endpoints<S: Serializer>(endpoints: &&Endpoints, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(endpoints.iter().map(item))
}

fn item(endpoint: Endpoint<'_>) -> Item<'_> {
    let Conditions { ready, serving, terminating } = endpoint.conditions;
    let is_usual = endpoint.conditions == Conditions::default();
    Item {
        addresses: [endpoint.address],
        conditions: (!is_usual).then_some(Flags { ready, serving, terminating }),
        hostname: endpoint.hostname,
        node_name: endpoint.node.map(|node| &**node),
        zone: endpoint.zone.map(|zone| &**zone),
        target_ref: endpoint.pod.map(Target::pod),
    }
}
