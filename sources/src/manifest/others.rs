//! The smaller kinds: Pod, Node, ServiceImport, ServiceCIDR.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::slice::ports;
use super::{Annotations, Manifest, Metadata, Nothing, Pairs, rfc3339, texts};
use bowline_cluster::object::{
    ContainerPort, EndpointPort, Flannel, FlannelEnd, Kind, Node, Pod, PodAddresses, Protocol, ServiceCidr,
    ServiceImport,
};

/// An address in a map of its own, as `podIPs` has it.
#[derive(Serialize)]
struct Ip {
    ip: IpAddr,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSpec<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    node_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subdomain: Option<&'a str>,
    /// One that has the ports of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    containers: Option<[Container<'a>; 1]>,
}

#[derive(Serialize)]
struct Container<'a> {
    #[serde(serialize_with = "container_ports")]
    ports: &'a [ContainerPort],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Port<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    container_port: u16,
}

#[derive(Serialize)]
pub(super) struct PodStatus<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<&'static str>,
    #[serde(rename = "podIPs", skip_serializing_if = "<[_]>::is_empty", serialize_with = "ips")]
    pod_ips: &'a [IpAddr],
    conditions: [Condition; 1],
}

#[derive(Serialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: &'static str,
    status: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AddressesSpec<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    node_name: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct AddressesStatus<'a> {
    #[serde(rename = "podIPs", serialize_with = "ips")]
    pod_ips: &'a [IpAddr],
}

pub(super) fn pod_addresses(told: &PodAddresses) -> Manifest<'_, Nothing, AddressesSpec<'_>, AddressesStatus<'_>> {
    let spec = AddressesSpec { node_name: told.node.as_deref() };
    let status = AddressesStatus { pod_ips: &told.ips };
    Manifest::new(Kind::PodAddresses, Metadata::new(&told.name, None), Some(spec), Some(status))
}

pub(super) fn pod(pod: &Pod) -> Manifest<'_, Pairs<'_>, PodSpec<'_>, PodStatus<'_>> {
    let mut metadata = Metadata::new(&pod.name, Pairs::some(&pod.labels));
    metadata.deletion_timestamp = pod.terminating.then(|| rfc3339(0));
    let spec = PodSpec {
        node_name: pod.node.as_deref(),
        hostname: pod.hostname.as_deref(),
        subdomain: pod.subdomain.as_deref(),
        containers: (!pod.ports.is_empty()).then_some([Container { ports: &pod.ports }]),
    };
    let status = PodStatus {
        phase: pod.finished.then_some("Succeeded"),
        pod_ips: &pod.ips,
        conditions: [Condition { kind: "Ready", status: if pod.ready { "True" } else { "False" } }],
    };
    Manifest::new(Kind::Pod, metadata, Some(spec), Some(status))
}

fn container_ports<S: Serializer>(ports: &&[ContainerPort], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ports.iter().map(|port| Port {
        name: &port.name,
        protocol: (port.protocol != Protocol::Tcp).then_some(port.protocol.as_str()),
        container_port: port.port,
    }))
}

fn ips<S: Serializer>(ips: &&[IpAddr], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ips.iter().map(|ip| Ip { ip: *ip }))
}

#[derive(Serialize)]
pub(super) struct NodeSpec<'a> {
    #[serde(rename = "podCIDRs", serialize_with = "texts")]
    pod_cidrs: &'a [IpNet],
}

#[derive(Serialize)]
pub(super) struct NodeStatus<'a> {
    #[serde(serialize_with = "internal_ips")]
    addresses: &'a [IpAddr],
}

#[derive(Serialize)]
struct NodeAddress {
    #[serde(rename = "type")]
    kind: &'static str,
    address: IpAddr,
}

pub(super) fn node(node: &Node) -> Manifest<'_, Pairs<'_>, NodeSpec<'_>, NodeStatus<'_>> {
    let mut metadata = Metadata::new(&node.name, Pairs::some(&node.labels));
    metadata.annotations = node.flannel.as_deref().map(|flannel| Annotations::Node(flannel.into()));
    let spec = (!node.pod_cidrs.is_empty()).then_some(NodeSpec { pod_cidrs: &node.pod_cidrs });
    let status = (!node.internal_ips.is_empty()).then_some(NodeStatus { addresses: &node.internal_ips });
    Manifest::new(Kind::Node, metadata, spec, status)
}

/// As flannel writes them.
#[derive(Serialize)]
pub(super) struct FlannelAnnotations<'a> {
    #[serde(rename = "flannel.alpha.coreos.com/backend-type")]
    backend: &'a str,
    #[serde(rename = "flannel.alpha.coreos.com/public-ip", skip_serializing_if = "Option::is_none")]
    v4: Option<IpAddr>,
    #[serde(rename = "flannel.alpha.coreos.com/backend-data", skip_serializing_if = "Option::is_none")]
    v4_data: Option<String>,
    #[serde(rename = "flannel.alpha.coreos.com/public-ipv6", skip_serializing_if = "Option::is_none")]
    v6: Option<IpAddr>,
    #[serde(rename = "flannel.alpha.coreos.com/backend-v6-data", skip_serializing_if = "Option::is_none")]
    v6_data: Option<String>,
}

impl<'a> From<&'a Flannel> for FlannelAnnotations<'a> {
    fn from(flannel: &'a Flannel) -> FlannelAnnotations<'a> {
        let data = |end: &FlannelEnd| {
            let (vni, [a, b, c, d, e, f]) = end.vxlan?;
            Some(format!(r#"{{"VNI":{vni},"VtepMAC":"{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"}}"#))
        };
        FlannelAnnotations {
            backend: &flannel.backend,
            v4: flannel.v4.map(|end| end.address),
            v4_data: flannel.v4.as_ref().and_then(data),
            v6: flannel.v6.map(|end| end.address),
            v6_data: flannel.v6.as_ref().and_then(data),
        }
    }
}

fn internal_ips<S: Serializer>(ips: &&[IpAddr], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ips.iter().map(|ip| NodeAddress { kind: "InternalIP", address: *ip }))
}

#[derive(Serialize)]
pub(super) struct ImportSpec<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ips: &'a [IpAddr],
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "ports")]
    ports: &'a [EndpointPort],
}

pub(super) fn service_import(import: &ServiceImport) -> Manifest<'_, Nothing, ImportSpec<'_>> {
    let kind = if import.headless { "Headless" } else { "ClusterSetIP" };
    let spec = ImportSpec { kind, ips: &import.ips, ports: &import.ports };
    Manifest::new(Kind::ServiceImport, Metadata::new(&import.name, None), Some(spec), None)
}

#[derive(Serialize)]
pub(super) struct CidrSpec<'a> {
    #[serde(serialize_with = "texts")]
    cidrs: &'a [IpNet],
}

pub(super) fn service_cidr(cidr: &ServiceCidr) -> Manifest<'_, Nothing, CidrSpec<'_>> {
    let metadata = Metadata::new(&cidr.name, None);
    Manifest::new(Kind::ServiceCidr, metadata, Some(CidrSpec { cidrs: &cidr.cidrs }), None)
}
