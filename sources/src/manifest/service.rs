//! core/v1 Service.

use std::net::IpAddr;

use serde::{Serialize, Serializer};

use super::{Annotations, Manifest, Metadata, Pairs, is_default, rfc3339, texts};
use bowline_cluster::object::{
    Family, FamilyPolicy, Kind, LoadBalancer, Protocol, Service, ServicePort, ServiceType, TargetPort,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(rename = "clusterIP", skip_serializing_if = "Option::is_none")]
    cluster_ip: Option<ClusterIp>,
    #[serde(rename = "clusterIPs", skip_serializing_if = "<[_]>::is_empty")]
    cluster_ips: &'a [IpAddr],
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "texts")]
    ip_families: &'a [Family],
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_family_policy: Option<&'static str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "ports")]
    ports: &'a [ServicePort],
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<Pairs<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_affinity: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_affinity_config: Option<AffinityConfig>,
    #[serde(skip_serializing_if = "is_default")]
    publish_not_ready_addresses: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    internal_traffic_policy: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic_distribution: Option<&'static str>,
    #[serde(rename = "externalIPs", skip_serializing_if = "<[_]>::is_empty")]
    external_ips: &'a [IpAddr],
    #[serde(skip_serializing_if = "Option::is_none")]
    external_traffic_policy: Option<&'static str>,
    #[serde(skip_serializing_if = "is_default")]
    health_check_node_port: u16,
}

/// `clusterIP`: an address, or the word None.
#[derive(Serialize)]
#[serde(untagged)]
enum ClusterIp {
    Headless(&'static str),
    First(IpAddr),
}

#[derive(Serialize)]
struct AffinityConfig {
    #[serde(rename = "clientIP")]
    client_ip: ClientIp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClientIp {
    timeout_seconds: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Port<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_port: Option<Target<'a>>,
    #[serde(skip_serializing_if = "is_default")]
    node_port: u16,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Target<'a> {
    Number(u16),
    Name(&'a str),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status<'a> {
    load_balancer: LoadBalancers<'a>,
}

#[derive(Serialize)]
struct LoadBalancers<'a> {
    #[serde(serialize_with = "ingress")]
    ingress: &'a [LoadBalancer],
}

/// One of `ingress`.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Ingress<'a> {
    Ip(IpAddr),
    Hostname(&'a str),
}

pub(super) fn manifest(service: &Service) -> Manifest<'_, Pairs<'_>, Spec<'_>, Status<'_>> {
    let mut metadata = Metadata::new(&service.name, Pairs::some(&service.labels));
    metadata.creation_timestamp = service.created.map(rfc3339);
    metadata.annotations = service.scheduler.map(|scheduler| Annotations::Service { scheduler: scheduler.as_str() });
    let external = service.external.as_deref();
    let cluster_ips = addresses(service);
    let spec = Spec {
        kind: match service.kind {
            ServiceType::ClusterIp => None,
            ServiceType::NodePort => Some("NodePort"),
            ServiceType::LoadBalancer => Some("LoadBalancer"),
            ServiceType::ExternalName => Some("ExternalName"),
        },
        cluster_ip: match service.headless {
            true => Some(ClusterIp::Headless("None")),
            false => cluster_ips.first().copied().map(ClusterIp::First),
        },
        cluster_ips,
        ip_families: &service.families,
        ip_family_policy: service.family_policy.map(|policy| match policy {
            FamilyPolicy::SingleStack => "SingleStack",
            FamilyPolicy::PreferDualStack => "PreferDualStack",
            FamilyPolicy::RequireDualStack => "RequireDualStack",
        }),
        ports: &service.ports,
        selector: service.selector.as_deref().and_then(Pairs::some),
        session_affinity: service.affinity.map(|_| "ClientIP"),
        session_affinity_config: service
            .affinity
            .map(|timeout_seconds| AffinityConfig { client_ip: ClientIp { timeout_seconds } }),
        publish_not_ready_addresses: service.publish_not_ready,
        external_name: service.external_name.as_deref(),
        internal_traffic_policy: service.internal_local.then_some("Local"),
        traffic_distribution: service.prefers_near.then_some("PreferClose"),
        external_ips: external.map_or(&[], |external| &external.ips),
        external_traffic_policy: external.is_some_and(|external| external.local).then_some("Local"),
        health_check_node_port: external.map_or(0, |external| external.health_check_node_port),
    };
    let ingress = external.map_or(&[][..], |external| &external.load_balancers);
    let status = (!ingress.is_empty()).then_some(Status { load_balancer: LoadBalancers { ingress } });
    Manifest::new(Kind::Service, metadata, Some(spec), status)
}

/// Its addresses, where a manifest can write them: each stands at its family's place. [`bowline_cluster::state`] makes
/// the one exception, a Service of two families that got an address of the second alone, as another Service
/// has the one picked for the first. None of it was written, and State does the same to it again.
fn addresses(service: &Service) -> &[IpAddr] {
    let differs = service.families.iter().zip(&service.cluster_ips).any(|(family, ip)| *family != Family::of(ip));
    if service.headless || differs { &[] } else { &service.cluster_ips }
}

fn ports<S: Serializer>(ports: &&[ServicePort], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ports.iter().map(|port| Port {
        name: &port.name,
        protocol: (port.protocol != Protocol::Tcp).then_some(port.protocol.as_str()),
        port: port.port,
        target_port: match &port.target {
            TargetPort::Number(number) if *number == port.port => None,
            TargetPort::Number(number) => Some(Target::Number(*number)),
            TargetPort::Name(name) => Some(Target::Name(name)),
        },
        node_port: port.node_port,
    }))
}

fn ingress<S: Serializer>(ingress: &&[LoadBalancer], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ingress.iter().map(|one| match one {
        LoadBalancer::Ip(ip) => Ingress::Ip(*ip),
        LoadBalancer::Name(name) => Ingress::Hostname(name),
    }))
}
