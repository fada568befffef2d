//! The names to ask: those of the objects, those that the specification makes of them, and their misspellings.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::case::Case;
use crate::ground::MULTICLUSTER_ONLY;
use crate::objects::{NAMESPACES, Object};
use crate::random::Random;

/// Names that are there, or nearly.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Those that the objects have.
    pub(crate) right: Vec<String>,
    /// Reverse names.
    pub(crate) reverse: Vec<String>,
    /// Parts of which wrong ones are put together.
    services: Vec<String>,
    namespaces: Vec<String>,
    fronts: Vec<String>,
    zones: Vec<String>,
}

/// Labels in front of a Service that nothing has, and some that only look like it.
const FRONTS: &[&str] = &[
    "_http._tcp",
    "_http._udp",
    "_https._tcp",
    "http._tcp",
    "_http.tcp",
    "http.tcp",
    "_tcp._http",
    "_nope._tcp",
    "_http._sctp",
    "_dns._udp",
    "_dns-tcp._tcp",
    "_m3ua._sctp",
    "_peer._tcp",
    "_pg._tcp",
    "_syslog._udp",
    "__http._tcp",
    "_._tcp",
    "_http._",
    "_tcp",
    "_http",
    "*",
    "any",
    "_*._tcp",
    "_http._tcp.alpha",
    "alpha",
    "beta",
    "gamma",
    "one",
    "db-0",
    "db-0.east",
    "db-0.west",
    "db-1.west",
    "east",
    "10-10-3-1",
    "10-10-3-3",
    "10-10-3-3.east",
    "headless-c",
    "headless-g",
    "twin",
    "a.b",
    "a.b.c",
    "us-west-2a.pin._zone",
    "us-west-2A.prefer._zone",
    "nowhere.pin._zone",
    "nowhere.prefer._zone",
    "corp.example.com.pin._zone",
    "us-west-2a.only._zone",
    "pin._zone",
    "_zone",
    "_http._tcp.us-west-2a.pin._zone",
    "\\000\\255",
    "1",
];

/// Names of nothing in a zone.
const ODD: &[&str] = &[
    "",
    "svc",
    "pod",
    "dns-version",
    "ns.dns",
    "dns",
    "a.ns.dns",
    "dns-version.svc",
    "x.dns-version",
    "nope",
    "nope.nope",
    "SVC",
    "svc.svc",
    "pod.svc",
    "svc.pod",
    "pod.pod",
    "shop",
    "web.shop",
    "shop.svc",
    "shop.pod",
    "web",
    "*.svc",
    "*",
    "web.shop.svc.svc",
    "web.shop.pod",
    "web.web.svc",
    "kube-dns.kube-system.svc",
    "kubernetes.default.svc",
    "_https._tcp.kubernetes.default.svc",
    "lost.prod.svc",
    "any.any.any",
    "node.type.svc",
    "hostmaster",
    "ns1.dns",
    "10-10-0-1.shop.pod",
    "10-10-0-1.prod.pod",
    "10-10-0-1.nope.pod",
    "10-10-0-8.shop.pod",
    "10-10-0-8.prod.pod",
    "10-10-0-9.shop.pod",
    "1-2-3-4.shop.pod",
    "1-2-3.shop.pod",
    "1-2-3-4-5.shop.pod",
    "1-2-3-256.shop.pod",
    "fd10--2.shop.pod",
    "fd10--7.shop.pod",
    "FD10--7.shop.pod",
    "--1.shop.pod",
    "fd10-0-0-0-0-0-0-7.shop.pod",
    "--.shop.pod",
    "fd10--7-.shop.pod",
    "a.10-10-0-1.shop.pod",
    "10.10.0.1.shop.pod",
    "192-0-2-77.prod.pod",
    "192-0-2-77.shop.pod",
    "01-2-3-4.shop.pod",
    "--ffff-10-10-0-1.shop.pod",
    "web-a.shop.pod",
    "1-2-3-4.pod",
    "127-0-0-1.web.pod",
    "127-0-0-2.web.pod",
];

impl Names {
    /// The names for a Corefile.
    pub(crate) fn new(case: &Case, objects: &[Object]) -> Names {
        let mut names = Names { zones: case.zones.clone(), ..Names::default() };
        let mut hosts: BTreeSet<(String, String)> = BTreeSet::new();
        let mut addresses: BTreeSet<IpAddr> = BTreeSet::new();
        for object in objects {
            let own = (object.name().to_owned(), object.namespace().to_owned());
            match object.kind() {
                "Service" | "ServiceImport" => {
                    hosts.insert(own.clone());
                    addresses.extend(addresses_of(object, &["/spec/clusterIPs", "/spec/externalIPs", "/spec/ips"]));
                    for port in object.list("/spec/ports") {
                        let protocol = port["protocol"].as_str().unwrap().to_ascii_lowercase();
                        let front = format!("_{}._{protocol}", port["name"].as_str().unwrap_or("unnamed"));
                        hosts.insert((format!("{front}.{}", own.0), own.1.clone()));
                    }
                }
                "EndpointSlice" => names.of_slice(object, &own.1, &mut hosts, &mut addresses),
                "Pod" => {
                    let ips =
                        object.list("/status/podIPs").iter().filter_map(|ip| ip["ip"].as_str()?.parse::<IpAddr>().ok());
                    addresses.extend(ips);
                }
                _ => {}
            }
        }
        names.namespaces = NAMESPACES.iter().map(|(name, ..)| (*name).to_owned()).collect();
        names.namespaces.extend(["default", "kube-system", "nope", "sho"].map(str::to_owned));
        names.services = hosts.iter().filter(|(host, _)| !host.contains('.')).map(|(host, _)| host.clone()).collect();
        names.services.extend(["nope", "webb", "we", "*"].map(str::to_owned));
        names.fronts.extend(FRONTS.iter().map(|front| (*front).to_owned()));
        for zone in &case.zones {
            let below = |name: &str| format!("{name}.{zone}").trim_start_matches('.').to_owned();
            names.right.extend(ODD.iter().map(|odd| below(odd)));
            names.right.extend(hosts.iter().map(|(host, namespace)| below(&format!("{host}.{namespace}.svc"))));
        }
        for zone in &case.external {
            let below = |name: &str| format!("{name}.{zone}").trim_start_matches('.').to_owned();
            let odd = ["", "dns", "ns1.dns", "nope", "shop", "a.b.c.d", "x.dns", "ns2.dns"];
            names.right.extend(odd.iter().map(|odd| below(odd)));
            names.right.extend(hosts.iter().map(|(host, namespace)| below(&format!("{host}.{namespace}"))));
        }
        names.right.extend(case.names.iter().cloned());
        let others = ["10.99.0.1", "198.51.100.200", "fd96::dead", "0.0.0.0", "::"];
        addresses.extend(others.iter().map(|ip| ip.parse::<IpAddr>().unwrap()));
        // CoreDNS never answers for some, and each costs a while.
        if !["plain", "multicluster"].contains(&case.name.as_str()) {
            addresses.retain(|ip| !MULTICLUSTER_ONLY.contains(&ip.to_string().as_str()));
        }
        names.reverse = addresses.iter().map(|ip| reverse(*ip)).collect();
        names
    }

    fn of_slice(
        &self,
        slice: &Object,
        namespace: &str,
        hosts: &mut BTreeSet<(String, String)>,
        addresses: &mut BTreeSet<IpAddr>,
    ) {
        let label = |key: &str| slice.value["metadata"]["labels"][key].as_str().map(str::to_owned);
        let service = label("kubernetes.io/service-name").or(label("multicluster.kubernetes.io/service-name"));
        let service = service.unwrap();
        let cluster = label("multicluster.kubernetes.io/source-cluster").map(|name| format!(".{name}"));
        let cluster = cluster.unwrap_or_default();
        for endpoint in slice.list("/endpoints") {
            let Some(ip) = endpoint["addresses"][0].as_str() else { continue };
            addresses.insert(ip.parse().unwrap());
            let dashed = ip.replace(['.', ':'], "-");
            let ends_empty = dashed.ends_with('-');
            for host in [endpoint["hostname"].as_str(), endpoint["targetRef"]["name"].as_str(), Some(dashed.as_str())] {
                let Some(host) = host.filter(|host| host.len() < 64) else { continue };
                hosts.insert((format!("{host}{cluster}.{service}"), namespace.to_owned()));
            }
            if ends_empty {
                hosts.insert((format!("{dashed}0.{service}"), namespace.to_owned()));
            }
        }
    }

    /// One of all, perhaps with a mistake.
    pub(crate) fn any(&self, random: &mut Random) -> String {
        let name = match random.below(10) {
            0 | 1 => random.of(&self.reverse).clone(),
            2..=4 if !self.zones.is_empty() => {
                let kind = if random.once_in(12) { "pod" } else { "svc" };
                let (service, namespace) = (random.of(&self.services), random.of(&self.namespaces));
                format!("{}.{service}.{namespace}.{kind}.{}", random.of(&self.fronts), random.of(&self.zones))
            }
            5 if !self.zones.is_empty() => {
                let (service, namespace) = (random.of(&self.services), random.of(&self.namespaces));
                format!("{service}.{namespace}.svc.{}", random.of(&self.zones))
            }
            _ => random.of(&self.right).clone(),
        };
        if random.once_in(4) { misspelt(&name, random) } else { name }
    }
}

fn addresses_of(object: &Object, pointers: &[&str]) -> Vec<IpAddr> {
    pointers.iter().flat_map(|pointer| object.texts(pointer)).filter_map(|text| text.parse().ok()).collect()
}

/// The reverse name of an address, without the final dot.
pub(crate) fn reverse(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    }
}

/// The name with one mistake in it.
fn misspelt(name: &str, random: &mut Random) -> String {
    let mut labels: Vec<String> = name.split('.').map(str::to_owned).collect();
    let at = random.below(labels.len());
    match random.below(9) {
        0 => {
            labels.remove(at);
        }
        1 => labels.insert(at, (*random.of(&["x", "*", "_tcp", "svc", "pod", "0", "\\000", "a\\.b", "-"])).to_owned()),
        2 => labels[at].push('x'),
        3 => {
            labels[at].pop();
        }
        4 => {
            let next = (at + 1) % labels.len();
            labels.swap(at, next);
        }
        5 => labels[at].insert(0, '_'),
        6 => labels.truncate(at),
        7 => labels.insert(0, "a".repeat(63)),
        _ => labels[at] = "z".to_owned(),
    }
    labels.retain(|label| !label.is_empty());
    labels.join(".")
}
