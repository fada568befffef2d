//! Small clusters, in which everything has to do with everything, and names to ask for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bowline_cluster::object::{
    Conditions, Endpoint, EndpointPort, EndpointSlice, Family, Labels, Namespace, Object, ObjectName, Pod, Protocol,
    Service, ServiceImport, ServicePort, ServiceType, Str, TargetPort,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use crate::records::{Options, PodMode};
use crate::wire::Name;

/// Objects; of two with one name the last counts.
#[derive(Clone, Debug)]
pub(super) struct World(Vec<Object>);

impl World {
    pub(super) fn objects(&self) -> Vec<Object> {
        self.0.iter().map(|object| (object.key(), object.clone())).collect::<BTreeMap<_, _>>().into_values().collect()
    }
}

pub(super) fn object_name(namespace: &str, name: &str) -> ObjectName {
    ObjectName { namespace: Str::from(namespace), name: Str::from(name) }
}

pub(super) fn labels(pairs: &[(&str, &str)]) -> Labels {
    let mut labels: Vec<_> = pairs.iter().map(|(key, value)| (Str::from(*key), Str::from(*value))).collect();
    labels.sort();
    labels.into()
}

pub(super) fn service(name: ObjectName, ips: &[&str], ports: &[(&str, Protocol, u16)]) -> Service {
    Service {
        name,
        created: None,
        labels: Box::default(),
        kind: ServiceType::ClusterIp,
        headless: false,
        cluster_ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
        families: Vec::new(),
        family_policy: None,
        ports: ports.iter().map(|(name, protocol, port)| service_port(name, *protocol, *port)).collect(),
        selector: None,
        affinity: None,
        publish_not_ready: false,
        external_name: None,
        scheduler: None,
        internal_local: false,
        prefers_near: false,
        external: None,
    }
}

fn service_port(name: &str, protocol: Protocol, port: u16) -> ServicePort {
    ServicePort { name: Str::from(name), protocol, port, target: TargetPort::Number(port), node_port: 0 }
}

const NAMESPACES: [&str; 3] = ["default", "shop", "dns"];
const SERVICES: [&str; 4] = ["web", "db", "svc", "10-0-0-1"];
const V4: [&str; 5] = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.96.0.1", "10.96.0.2"];
const V6: [&str; 4] = ["fd00::1", "fd00::", "fd00::96:1", "fd00:1:2:3:4:5:6:7"];
const HOSTS: [&str; 4] = ["a", "web-0", "10-0-0-1", "dns"];
const PODS: [&str; 4] =
    ["web-0", "web.0", "db-xyz", "a-pod-whose-name-has-more-than-sixty-three-characters-so-no-label-it-is"];
const ZONES: [&str; 3] = ["z1", "Z2", "corp.example.com"];
const PORTS: [(&str, Protocol, u16); 4] =
    [("http", Protocol::Tcp, 80), ("dns", Protocol::Udp, 53), ("dns-tcp", Protocol::Tcp, 53), ("", Protocol::Tcp, 443)];

fn ip(from: &'static [&'static str]) -> impl Strategy<Value = IpAddr> {
    select(from).prop_map(|ip| ip.parse().unwrap())
}

fn named(names: &'static [&'static str]) -> impl Strategy<Value = ObjectName> {
    (select(&NAMESPACES[..2]), select(names)).prop_map(|(namespace, name)| object_name(namespace, name))
}

fn some_labels() -> impl Strategy<Value = Labels> {
    prop_oneof![3 => Just(labels(&[("app", "x")])), 1 => Just(labels(&[]))]
}

fn any_service() -> impl Strategy<Value = Object> {
    let ips = prop_oneof![
        ip(&V4[3..]).prop_map(|ip| vec![ip]),
        ip(&V6[2..]).prop_map(|ip| vec![ip]),
        (ip(&V4[3..]), ip(&V6[2..])).prop_map(|(a, b)| vec![a, b]),
    ];
    let external = prop_oneof![Just("db.example.com"), Just("10.1.1.1"), Just("Web.shop.svc.Cluster.local.")];
    (named(&SERVICES), 0..7_u8, ips, vec(select(&PORTS[..]), 0..4), external, some_labels()).prop_map(
        |(name, kind, ips, ports, external, labels)| {
            let mut bare = service(name, &[], &ports);
            bare.labels = labels;
            match kind {
                0 => {
                    bare.kind = ServiceType::ExternalName;
                    bare.external_name = Some(Str::from(external));
                }
                1..4 => bare.headless = true,
                _ => bare.cluster_ips = ips,
            }
            Object::Service(Arc::new(bare))
        },
    )
}

/// What an endpoint is made of: address, ready, host, Pod, zone.
type Parts = (IpAddr, bool, Option<&'static str>, Option<&'static str>, Option<&'static str>);

fn endpoint(from: &'static [&'static str]) -> impl Strategy<Value = Parts> {
    (ip(from), prop::bool::weighted(0.7), of(select(&HOSTS[..])), of(select(&PODS[..])), of(select(&ZONES[..])))
}

fn any_slice() -> impl Strategy<Value = Object> {
    let endpoints = prop_oneof![
        vec(endpoint(&V4), 0..5).prop_map(|endpoints| (Family::V4, endpoints)),
        vec(endpoint(&V6), 0..4).prop_map(|endpoints| (Family::V6, endpoints)),
    ];
    let ports = vec((select(&PORTS[..]), prop::bool::weighted(0.9)), 0..3);
    let owners = (of(select(&SERVICES[..])), of((select(&SERVICES[..]), select(&["east", "west", ""][..]))));
    (named(&["e1", "e2", "e3", "e4", "e5"]), owners, endpoints, ports, some_labels()).prop_map(
        |(name, (service, import), (family, endpoints), ports, labels)| {
            let mut all: BTreeMap<Str, Str> = labels.into_iter().collect();
            let mut label = |key: &str, value: &str| drop(all.insert(Str::from(key), Str::from(value)));
            if let Some(service) = service {
                label("kubernetes.io/service-name", service);
            }
            if let Some((import, cluster)) = import {
                label("multicluster.kubernetes.io/service-name", import);
                label("multicluster.kubernetes.io/source-cluster", cluster);
            }
            let zones: Vec<Option<Str>> = endpoints.iter().map(|parts| parts.4.map(Str::from)).collect();
            let endpoints = endpoints.iter().zip(&zones).map(|((address, ready, hostname, pod, _), zone)| Endpoint {
                address: *address,
                conditions: Conditions { ready: *ready, ..Conditions::default() },
                hostname: *hostname,
                node: None,
                zone: zone.as_ref(),
                pod: *pod,
            });
            let ports: BTreeMap<&str, EndpointPort> = ports
                .into_iter()
                .map(|((name, protocol, port), numbered)| {
                    (name, EndpointPort { name: Str::from(name), protocol, port: numbered.then_some(port) })
                })
                .collect();
            Object::EndpointSlice(Arc::new(EndpointSlice {
                name,
                labels: all.into_iter().collect(),
                service: service.map(Str::from),
                family: Some(family),
                ports: ports.into_values().collect(),
                endpoints: endpoints.collect(),
                hidden: false,
            }))
        },
    )
}

fn any_import() -> impl Strategy<Value = Object> {
    let ports = vec(select(&PORTS[..3]), 0..3);
    (named(&SERVICES), any::<bool>(), vec(ip(&V4[3..]), 0..2), ports).prop_map(|(name, headless, ips, ports)| {
        let port = |(name, protocol, port): &(&str, Protocol, u16)| EndpointPort {
            name: Str::from(*name),
            protocol: *protocol,
            port: Some(*port),
        };
        let ips = if headless { Vec::new() } else { ips };
        Object::ServiceImport(Arc::new(ServiceImport { name, headless, ips, ports: ports.iter().map(port).collect() }))
    })
}

fn any_pod() -> impl Strategy<Value = Object> {
    let ips =
        prop_oneof![Just(vec![]), ip(&V4).prop_map(|ip| vec![ip]), (ip(&V4), ip(&V6)).prop_map(|(a, b)| vec![b, a])];
    (named(&["p1", "p2", "p3", "p4"]), ips, some_labels(), prop::bool::weighted(0.1), prop::bool::weighted(0.1))
        .prop_map(|(name, ips, labels, terminating, finished)| {
            Object::Pod(Arc::new(Pod {
                name,
                labels,
                ips,
                node: None,
                hostname: None,
                subdomain: None,
                ready: true,
                terminating,
                finished,
                ports: Box::default(),
            }))
        })
}

fn any_namespace() -> impl Strategy<Value = Object> {
    (select(&NAMESPACES[..]), some_labels())
        .prop_map(|(name, labels)| Object::Namespace(Arc::new(Namespace { name: object_name("", name), labels })))
}

pub(super) fn world() -> impl Strategy<Value = World> {
    let object = prop_oneof![
        4 => any_service(),
        6 => any_slice(),
        2 => any_import(),
        2 => any_pod(),
        3 => any_namespace(),
    ];
    vec(object, 0..25).prop_map(World)
}

pub(super) fn options() -> impl Strategy<Value = Options> {
    let flags = (any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.3), any::<bool>());
    let pods = select(&[PodMode::Disabled, PodMode::Insecure, PodMode::Verified][..]);
    let selects = (prop::bool::weighted(0.2), prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    let local = vec(prop_oneof![ip(&V4), ip(&V6)], 0..3);
    (flags, pods, selects, local, select(&[0, 5, 30, 3600][..])).prop_map(
        |((pod_names, no_endpoints, empty, zonal), pods, (some, labelled, by_labels), local_ips, ttl)| {
            let zone = |text: &str| Name::parse(text).unwrap();
            let zones =
                ["in-addr.arpa", "cluster.local", "ip6.arpa", "clusterset.local", "sub.cluster.local"].map(zone);
            let mut options = Options::new(&zones, &[zone("clusterset.local")]);
            options.ttl = ttl;
            options.pods = pods;
            options.endpoint_pod_names = pod_names;
            options.no_endpoints = no_endpoints;
            options.ignore_empty_service = empty;
            options.zonal = zonal && !no_endpoints;
            if some {
                options.namespaces.insert("shop".to_owned());
            } else if labelled {
                options.namespace_labels = Some("app".parse().unwrap());
            }
            options.labels = by_labels.then(|| "app=x".parse().unwrap());
            options.local_ips = local_ips;
            options
        },
    )
}

/// Names, mostly such as exist in some world, in any letter case.
pub(super) fn asked() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        select(&HOSTS[..]),
        select(&["10-0-0-2", "10-0-0-3", "fd00--1", "fd00--0", "fd00--", "fd00-1-2-3-4-5-6-7", "db-xyz", "web"][..]),
    ];
    let port = prop_oneof![
        select(&["_http._tcp.", "_HTTP._TCP.", "http.tcp.", "_dns._udp.", "_dns-tcp._tcp.", "_dns._tcp."][..]),
        select(&["_._.", "_._tcp.", "_http._.", "_none._tcp.", "_._udp."][..]),
    ];
    let zonal = (select(&["z1", "z2", "corp.example.com", "nowhere"][..]), select(&["pin", "prefer", "other"][..]))
        .prop_map(|(zone, directive)| format!("{zone}.{directive}._zone."));
    let clustered = (host.clone(), select(&["east.", "west.", "_east.", "none."][..]))
        .prop_map(|(host, cluster)| format!("{host}.{cluster}"));
    let before = prop_oneof![
        4 => Just(String::new()),
        3 => host.prop_map(|host| format!("{host}.")),
        3 => port.prop_map(str::to_owned),
        1 => zonal,
        1 => clustered,
        1 => Just("x.y.z.a.b.".to_owned()),
    ];
    let owner = prop_oneof![
        6 => (select(&SERVICES[..]), select(&NAMESPACES[..])).prop_map(|(s, n)| format!("{s}.{n}.svc")),
        2 => (select(&["10-0-0-1", "10-96-0-1", "fd00--1", "fd00-0--1", "10-0-0-01", "1-2-3", "--ffff-10.0.0.1", "--ffff-a00-1"][..]),
              select(&NAMESPACES[..])).prop_map(|(p, n)| format!("{p}.{n}.pod")),
    ];
    let zone = prop_oneof![5 => Just("cluster.local."), 2 => Just("clusterset.local."), 1 => Just("sub.cluster.local."), 1 => Just("in-addr.arpa.")];
    let fixed = select(
        &[
            "",
            "svc.",
            "pod.",
            "default.svc.",
            "shop.pod.",
            "dns.svc.",
            "none.svc.",
            "ns.dns.",
            "dns.",
            "dns-version.",
            "x.dns-version.",
            "x.ns.dns.",
            "com.",
            "www.example.com.",
            "web.svc.",
            "svc.svc.svc.",
        ][..],
    );
    let reverse = prop_oneof![
            select(
                &[
                    "1.0.0.10",
                    "3.0.0.10",
                    "1.0.96.10",
                    "2.0.96.10",
                    "01.0.96.10",
                    "0.96.10",
                    "1.1.0.96.10",
                    "300.0.0.10"
                ][..]
            )
            .prop_map(|front| format!("{front}.in-addr.arpa.")),
            ip(&V6).prop_map(|ip| Name::reverse_of(ip).to_string()),
            ip(&V6).prop_map(|ip| format!("x.{}", Name::reverse_of(ip))),
            ip(&V6).prop_map(|ip| format!("1.2.3.4.{}", Name::reverse_of(ip))),
            ip(&V4).prop_map(|ip| match ip {
                IpAddr::V4(ip) => Name::reverse_of(IpAddr::V6(ip.to_ipv6_mapped())).to_string(),
                other => other.to_string(),
            }),
        ];
    let name = prop_oneof![
        8 => (before, owner, zone.clone()).prop_map(|(before, owner, zone)| format!("{before}{owner}.{zone}")),
        2 => (fixed, zone).prop_map(|(fixed, zone)| format!("{fixed}{zone}")),
        2 => reverse,
    ];
    (name, any::<u64>()).prop_map(|(name, cases)| {
        let flip = |(n, c): (usize, char)| if cases >> (n % 64) & 1 == 1 { c.to_ascii_uppercase() } else { c };
        if cases % 2 == 0 { name } else { name.chars().enumerate().map(flip).collect() }
    })
}
