//! Objects of every kind for tests: whatever the reader of manifests can make, the odd among it.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::{of, weighted};
use proptest::prelude::*;

use bowline_cluster::object::{
    Conditions, ContainerPort, Endpoint, EndpointPort, EndpointSlice, Endpoints, External, Family, FamilyPolicy,
    Flannel, FlannelEnd, Labels, LoadBalancer, Namespace, NetworkPolicy, Node, Object, ObjectName, Pod, PodAddresses,
    Protocol, Scheduler, Service, ServiceCidr, ServiceImport, ServicePort, ServiceType, Str, TargetPort,
};

/// An object of any kind.
pub(crate) fn object() -> impl Strategy<Value = Object> {
    prop_oneof![
        4 => service().prop_map(|service| Object::Service(Arc::new(service))),
        4 => slice().prop_map(|slice| Object::EndpointSlice(Arc::new(slice))),
        3 => pod().prop_map(|pod| Object::Pod(Arc::new(pod))),
        2 => node().prop_map(|node| Object::Node(Arc::new(node))),
        1 => (label(), labels()).prop_map(|(name, labels)| {
            Object::Namespace(Arc::new(Namespace { name: cluster_wide(name), labels }))
        }),
        1 => (label(), subdomain()).prop_map(|names| {
            Object::NetworkPolicy(Arc::new(NetworkPolicy { name: namespaced(names) }))
        }),
        1 => pod_addresses(),
        1 => service_import().prop_map(|import| Object::ServiceImport(Arc::new(import))),
        1 => (subdomain(), one_each(cidr)).prop_map(|(name, cidrs)| {
            Object::ServiceCidr(Arc::new(ServiceCidr { name: cluster_wide(name), cidrs }))
        }),
    ]
}

/// Boxed: what is generated of all kinds together would not fit on a thread's stack.
fn pod_addresses() -> BoxedStrategy<Object> {
    let ips = prop_oneof![Just(vec![]), Just(vec!["10.0.0.9"]), Just(vec!["fd00::9", "10.0.0.9"])];
    let told = ((label(), subdomain()), label(), ips).prop_map(|(names, node, ips)| {
        let ips = ips.into_iter().filter_map(|ip| ip.parse().ok()).collect();
        Object::PodAddresses(Arc::new(PodAddresses { name: namespaced(names), node: Some(Str::from(node)), ips }))
    });
    told.boxed()
}

fn namespaced((namespace, name): (String, String)) -> ObjectName {
    ObjectName { namespace: Str::from(namespace), name: Str::from(name) }
}

fn cluster_wide(name: String) -> ObjectName {
    ObjectName { namespace: Str::default(), name: Str::from(name) }
}

/// A DNS label, short or as long as can be.
fn label() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z0-9]([-a-z0-9]{0,6}[a-z0-9])?", 1 => "[a-z0-9][-a-z0-9]{61}[a-z0-9]"]
}

/// A DNS name of up to 253 bytes.
fn subdomain() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => vec(label(), 1..4).prop_map(|labels| labels.join(".")),
        1 => Just(["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".")),
    ]
}

/// Any text but the empty one, with what JSON has to escape.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z0-9./-]{1,12}",
        1 => "\\PC{1,8}",
        1 => "[\"\\\\\\x00-\\x1f\\x7f{}\\[\\],:#\u{2028}\u{feff}é𝄞]{1,6}",
    ]
}

fn string() -> impl Strategy<Value = Str> {
    text().prop_map(Str::from)
}

pub(crate) fn labels() -> impl Strategy<Value = Labels> {
    let value = prop_oneof![3 => text(), 1 => Just(String::new())];
    btree_map(prop_oneof![9 => text(), 1 => Just(String::new())], value, 0..4)
        .prop_map(|labels| labels.into_iter().map(|(key, value)| (Str::from(key), Str::from(value))).collect())
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)]
}

fn address(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::V4 => any::<Ipv4Addr>().prop_map(IpAddr::V4).boxed(),
        Family::V6 => prop_oneof![
            any::<Ipv6Addr>(),
            any::<u16>().prop_map(|n| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n)),
            any::<Ipv4Addr>().prop_map(|v4| v4.to_ipv6_mapped()),
        ]
        .prop_filter("is an IPv4 address", |address| address.to_ipv4_mapped().is_none())
        .prop_map(IpAddr::V6)
        .boxed(),
    }
}

/// An address that Services and endpoints may have.
fn usable(family: Family) -> impl Strategy<Value = IpAddr> {
    address(family).prop_map(|ip| match ip {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(0x0a00_0000 | (v4.to_bits() >> 8)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits((0xfd << 120) | (v6.to_bits() >> 8)).into(),
    })
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![address(Family::V4), address(Family::V6)]
}

fn cidr(family: Family) -> BoxedStrategy<IpNet> {
    let bits: u8 = if family == Family::V4 { 32 } else { 128 };
    (address(family), 0..=bits).prop_map(|(address, bits)| IpNet::new(address, bits).unwrap().trunc()).boxed()
}

/// One for a family, or for both, in either order.
fn one_each<T: Clone + std::fmt::Debug + 'static>(of: fn(Family) -> BoxedStrategy<T>) -> impl Strategy<Value = Vec<T>> {
    (of(Family::V4), of(Family::V6), 0..4_u8).prop_map(|(v4, v6, which)| match which {
        0 => vec![v4],
        1 => vec![v6],
        2 => vec![v4, v6],
        _ => vec![v6, v4],
    })
}

/// Families, and addresses of the first of them; or addresses alone, as a manifest may have them.
fn families_and_ips() -> impl Strategy<Value = (Vec<Family>, Vec<IpAddr>)> {
    (one_each(|family| usable(family).boxed()), 0..4_u8).prop_map(|(ips, which)| {
        let families: Vec<Family> = ips.iter().map(Family::of).collect();
        match which {
            0 => (Vec::new(), ips),
            1 => (families, Vec::new()),
            2 => (families, ips[..1].to_vec()),
            _ => (families, ips),
        }
    })
}

fn service_port() -> impl Strategy<Value = ServicePort> {
    let target = prop_oneof![
        (1..=u16::MAX).prop_map(TargetPort::Number),
        "[0-9]{0,3}[a-z](-?[a-z0-9]){0,5}".prop_map(|name| TargetPort::Name(Str::from(name))),
    ];
    (protocol(), 1..=u16::MAX, of(target), prop_oneof![Just(0), any::<u16>()]).prop_map(
        |(protocol, port, target, node_port)| {
            let target = target.unwrap_or(TargetPort::Number(port));
            ServicePort { name: Str::default(), protocol, port, target, node_port }
        },
    )
}

/// Ports with a name each, unless there is but one.
fn service_ports() -> impl Strategy<Value = Box<[ServicePort]>> {
    let many = (btree_set(label(), 4), vec(service_port(), 1..4)).prop_map(|(names, mut ports)| {
        ports.iter_mut().zip(names).for_each(|(port, name)| port.name = Str::from(name));
        ports.sort_by_key(|port| (port.port, port.protocol));
        ports.dedup_by_key(|port| (port.port, port.protocol));
        ports.into()
    });
    prop_oneof![service_port().prop_map(|port| [port].into()), many]
}

fn external() -> impl Strategy<Value = Option<Box<External>>> {
    let ips = || vec(any_address(), 0..3);
    let load_balancer = prop_oneof![
        any_address().prop_map(LoadBalancer::Ip),
        subdomain().prop_map(|name| LoadBalancer::Name(Str::from(name))),
    ];
    let some = (ips(), vec(load_balancer, 0..3), any::<bool>(), prop_oneof![Just(0), any::<u16>()]).prop_map(
        |(ips, load_balancers, local, health_check_node_port)| {
            let external = External { ips, load_balancers, local, health_check_node_port };
            (external != External::default()).then(|| Box::new(external))
        },
    );
    prop_oneof![Just(None), some]
}

fn policy() -> impl Strategy<Value = Option<FamilyPolicy>> {
    use FamilyPolicy::{PreferDualStack, RequireDualStack, SingleStack};
    prop_oneof![Just(None), Just(Some(SingleStack)), Just(Some(PreferDualStack)), Just(Some(RequireDualStack))]
}

pub(crate) fn service() -> impl Strategy<Value = Service> {
    let kind = prop_oneof![
        Just((ServiceType::ClusterIp, false)),
        Just((ServiceType::ClusterIp, true)),
        Just((ServiceType::NodePort, false)),
        Just((ServiceType::LoadBalancer, false)),
        Just((ServiceType::ExternalName, false)),
    ];
    let name = (label(), label()).prop_map(namespaced);
    // The years 0000 to 9999, and as far beyond as an offset from UTC takes them.
    let created = of(prop_oneof![0..4_000_000_000_i64, -62_167_219_200 - 86_340..=253_402_300_799_i64 + 86_340]);
    let affinity = of(prop_oneof![Just(10_800), 1..=86_400_u32]);
    let scheduler = of(proptest::sample::select(&Scheduler::ALL[..]));
    let selector = of(labels().prop_filter("an empty one is none", |labels| !labels.is_empty()));
    let head = (name, created, labels(), kind, families_and_ips(), policy());
    let body = (service_ports(), selector, affinity, any::<(bool, bool, bool)>(), subdomain(), scheduler, external());
    (head, body).prop_map(|(head, body)| {
        let (name, created, labels, (kind, headless), (families, cluster_ips), family_policy) = head;
        let (ports, selector, affinity, (publish_not_ready, internal_local, prefers_near), other, scheduler, external) =
            body;
        let is_name = kind == ServiceType::ExternalName;
        Service {
            name,
            created,
            labels,
            kind,
            headless,
            cluster_ips: if headless || is_name { Vec::new() } else { cluster_ips },
            families: if is_name { Vec::new() } else { families },
            family_policy,
            ports,
            selector,
            affinity,
            publish_not_ready,
            external_name: is_name.then(|| Str::from(other)),
            scheduler,
            internal_local,
            prefers_near,
            external,
        }
    })
}

fn endpoint_ports() -> impl Strategy<Value = Box<[EndpointPort]>> {
    let name = prop_oneof![Just(String::new()), label()];
    btree_map(name, (protocol(), of(1..=u16::MAX)), 0..4).prop_map(|ports| {
        let port = |(name, (protocol, port))| EndpointPort { name: Str::from(name), protocol, port };
        ports.into_iter().map(port).collect()
    })
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let any = any::<(bool, bool, bool)>();
    prop_oneof![
        Just(Conditions::default()),
        any.prop_map(|(ready, serving, terminating)| Conditions { ready, serving, terminating }),
    ]
}

fn endpoints(family: Family) -> impl Strategy<Value = Endpoints> {
    let endpoint = (usable(family), conditions(), of(label()), of(string()), of(string()), of(subdomain()));
    vec(endpoint, 0..4).prop_map(|endpoints| {
        let endpoints = endpoints.iter().map(|(address, conditions, hostname, node, zone, pod)| Endpoint {
            address: *address,
            conditions: *conditions,
            hostname: hostname.as_deref(),
            node: node.as_ref(),
            zone: zone.as_ref(),
            pod: pod.as_deref(),
        });
        endpoints.collect()
    })
}

pub(crate) fn slice() -> impl Strategy<Value = EndpointSlice> {
    let of_family = prop_oneof![
        3 => endpoints(Family::V4).prop_map(|endpoints| (Some(Family::V4), endpoints)),
        3 => endpoints(Family::V6).prop_map(|endpoints| (Some(Family::V6), endpoints)),
        1 => Just((None, Endpoints::default())),
    ];
    let name = (label(), subdomain()).prop_map(namespaced);
    (name, labels(), weighted(0.9, string()), of_family, endpoint_ports(), any::<bool>()).prop_map(
        |(name, labels, service, (family, endpoints), ports, hidden)| {
            let owner = service.as_ref().map(|service| (Str::from("kubernetes.io/service-name"), service.clone()));
            let hiding = hidden.then(|| (Str::from("service.kubernetes.io/headless"), Str::default()));
            let labels: BTreeMap<Str, Str> = labels.into_iter().chain(owner).chain(hiding).collect();
            EndpointSlice { name, labels: labels.into_iter().collect(), service, family, ports, endpoints, hidden }
        },
    )
}

pub(crate) fn pod() -> impl Strategy<Value = Pod> {
    let name = (label(), subdomain()).prop_map(namespaced);
    let ips = prop_oneof![Just(Vec::new()), one_each(address)];
    let ports = vec((string(), protocol(), 1..=u16::MAX), 0..3).prop_map(|ports| {
        ports.into_iter().map(|(name, protocol, port)| ContainerPort { name, protocol, port }).collect()
    });
    (name, labels(), ips, of(string()), of(string()), of(string()), any::<(bool, bool, bool)>(), ports).prop_map(
        |(name, labels, ips, node, hostname, subdomain, (ready, terminating, finished), ports)| Pod {
            name,
            labels,
            ips,
            node,
            hostname,
            subdomain,
            ready,
            terminating,
            finished,
            ports,
        },
    )
}

fn node() -> impl Strategy<Value = Node> {
    let cidrs = vec(prop_oneof![cidr(Family::V4), cidr(Family::V6)], 0..3);
    (subdomain(), labels(), vec(any_address(), 0..3), cidrs, of(flannel())).prop_map(
        |(name, labels, internal_ips, pod_cidrs, flannel)| Node {
            name: cluster_wide(name),
            labels,
            internal_ips,
            pod_cidrs,
            flannel: flannel.map(Box::new),
        },
    )
}

fn flannel() -> impl Strategy<Value = Flannel> {
    let vxlan = any::<(u32, [u8; 6])>();
    (any::<bool>(), of(any::<std::net::Ipv4Addr>()), of(any::<std::net::Ipv6Addr>()), vxlan).prop_map(
        |(is_vxlan, v4, v6, vxlan)| {
            let end = |address| FlannelEnd { address, vxlan: is_vxlan.then_some(vxlan) };
            Flannel {
                backend: Str::from(if is_vxlan { "vxlan" } else { "host-gw" }),
                v4: v4.map(|ip| end(ip.into())),
                v6: v6.map(|ip| end(ip.into())),
            }
        },
    )
}

fn service_import() -> impl Strategy<Value = ServiceImport> {
    ((label(), subdomain()), any::<bool>(), vec(any_address(), 0..3), endpoint_ports())
        .prop_map(|(names, headless, ips, ports)| ServiceImport { name: namespaced(names), headless, ips, ports })
}
