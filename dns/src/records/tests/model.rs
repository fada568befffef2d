//! The model: as the specification and CoreDNS say it, with texts and lists, and no thought of cost.
//!
//! A name is taken apart at its dots; then all pairs of an address and a port that are asked for are listed, and the
//! records of each type are made of that list.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use bowline_cluster::object::{EndpointSlice, Service, ServiceType};
use bowline_cluster::snapshot::Snapshot;

use super::{Said, object_name};
use crate::records::{Options, PodMode};
use crate::wire::{Name, Rcode, Type};

pub(super) struct Model<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) options: &'a Options,
}

/// One of the list: an address, a port (None where there is none to tell), and the name under which the two are.
#[derive(Clone, Debug)]
struct Item {
    ip: IpAddr,
    port: Option<u16>,
    target: String,
}

/// What a name stands for.
enum Thing {
    None,
    /// It is there, and has these.
    Items(Vec<Item>),
    /// A topology zone, which is there even if it has none.
    Zone(Vec<Item>),
    Alias(String),
}

impl Model<'_> {
    pub(super) fn say(&self, name: &Name, rtype: Type) -> Said {
        let asked = name.to_string();
        let lower = asked.to_lowercase();
        let zones = self.options.zones.iter().map(|zone| (zone, zone.name.to_string()));
        let (zone, zone_text) = zones
            .filter(|(_, z)| lower == *z || lower.ends_with(&format!(".{z}")))
            .max_by_key(|(_, z)| z.len())
            .unwrap();
        let asked_zone = &asked[asked.len() - zone_text.len()..];
        let front = lower.strip_suffix(&zone_text).unwrap().trim_end_matches('.');
        let ttl = self.options.ttl;
        let soa = format!(
            "{asked_zone} {} SOA ns.dns.{asked_zone} hostmaster.{asked_zone} 7 {:?}",
            ttl.min(300),
            (7200, 1800, 86400, ttl)
        );
        let mut said = Said::default();
        let negative = |rcode: Rcode| Said { rcode: rcode.0, authorities: [soa.clone()].into(), ..Said::default() };
        let none = Ok::<Thing, ()>(Thing::None);
        if matches!(rtype, Type::AXFR | Type::IXFR) {
            return Said { rcode: Rcode::REFUSED.0, ..said };
        }
        if rtype == Type::SOA {
            if front.is_empty() {
                return Said { answers: [soa].into(), ..said };
            }
            return negative(Rcode::NOERROR);
        }
        if rtype == Type::NS && front.is_empty() {
            for (host, ip) in self.name_servers(asked_zone) {
                said.answers.insert(format!("{asked_zone} {ttl} NS {host}"));
                said.additionals.insert(format!("{host} {ttl} {} {ip}", type_of(ip)));
            }
            return if said.answers.is_empty() { negative(Rcode::NOERROR) } else { said };
        }
        if rtype == Type::PTR
            && let Some(ip) = reverse(&lower)
        {
            let names = self.names_of(ip);
            if names.is_empty() {
                return negative(Rcode::NXDOMAIN);
            }
            said.answers = names.iter().map(|target| format!("{asked} {ttl} PTR {target}")).collect();
            return said;
        }
        if front == "dns-version" {
            if rtype != Type::TXT {
                return negative(Rcode::NXDOMAIN);
            }
            let version = if zone.is_multicluster { "1.0.0" } else { "1.1.0" };
            return Said { answers: [format!("{asked} 28800 TXT {version}")].into(), ..said };
        }
        let thing = if front == "ns.dns" {
            if matches!(rtype, Type::TXT | Type::PTR) {
                none
            } else {
                let servers = self.name_servers(asked_zone).into_iter();
                Ok(Thing::Items(servers.map(|(target, ip)| Item { ip, port: None, target }).collect()))
            }
        } else {
            Ok(self.thing(front, asked_zone, zone.is_multicluster, zone.is_reverse))
        };
        let items = match thing.unwrap() {
            Thing::None => return negative(Rcode::NXDOMAIN),
            Thing::Alias(target) => {
                match rtype {
                    Type::CNAME => said.answers = [format!("{asked} {ttl} CNAME {target}")].into(),
                    Type::A | Type::AAAA => said.external = Some(target),
                    _ => return negative(Rcode::NOERROR),
                }
                return said;
            }
            // CoreDNS: no text where there is nothing else.
            Thing::Items(items) if items.is_empty() && rtype == Type::TXT => return negative(Rcode::NXDOMAIN),
            Thing::Items(items) | Thing::Zone(items) => items,
        };
        match rtype {
            Type::A | Type::AAAA => {
                let of_type = items.iter().filter(|item| type_of(item.ip) == rtype);
                said.answers = of_type.map(|item| format!("{asked} {ttl} {rtype} {}", item.ip)).collect();
            }
            Type::SRV => {
                let weight = (100 / items.len().max(1)).max(1);
                for item in &items {
                    if let Some(port) = item.port {
                        said.answers.insert(format!("{asked} {ttl} SRV 0 {weight} {port} {}", item.target));
                        let glue = format!("{} {ttl} {} {}", item.target, type_of(item.ip), item.ip);
                        said.additionals.insert(glue);
                    }
                }
            }
            _ => {}
        }
        if said.answers.is_empty() { negative(Rcode::NOERROR) } else { said }
    }

    fn is_exposed(&self, namespace: &str) -> bool {
        let fits = |labels: &_| self.options.namespace_labels.as_ref().is_none_or(|s| s.fits_labels(labels));
        (self.options.namespaces.is_empty() || self.options.namespaces.contains(namespace))
            && self.snapshot.namespaces.get(&object_name("", namespace)).is_some_and(|n| fits(&n.labels))
    }

    /// Slices of a Service or of a ServiceImport.
    fn slices(&self, namespace: &str, name: &str, imported: bool) -> Vec<&EndpointSlice> {
        let all = self.snapshot.slices.values().chain(self.snapshot.imported.values());
        let label = if imported { "multicluster.kubernetes.io/service-name" } else { "kubernetes.io/service-name" };
        let mut slices: Vec<&EndpointSlice> = all
            .map(|slice| &**slice)
            .filter(|slice| &*slice.name.namespace == namespace)
            .filter(|slice| slice.labels.iter().any(|(key, value)| key == label && value == name))
            .filter(|slice| self.options.labels.as_ref().is_none_or(|s| s.fits_labels(&slice.labels)))
            .collect();
        slices.sort_by(|a, b| a.name.cmp(&b.name));
        slices.dedup_by(|a, b| a.name == b.name);
        if self.options.no_endpoints { Vec::new() } else { slices }
    }

    fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        let service = self.snapshot.services.get(&object_name(namespace, name))?;
        let fits = self.options.labels.as_ref().is_none_or(|s| s.fits_labels(&service.labels));
        fits.then_some(service)
    }

    fn thing(&self, front: &str, zone: &str, imported: bool, is_reverse: bool) -> Thing {
        let labels: Vec<&str> = front.split('.').collect();
        let nothing = || Thing::Items(Vec::new());
        match labels[..] {
            [""] | ["svc"] | ["pod"] => nothing(),
            _ if is_reverse => Thing::None,
            [.., namespace, "svc" | "pod"] if !self.is_exposed(namespace) => Thing::None,
            [_, "svc"] => nothing(),
            [.., "pod"] if self.options.pods == PodMode::Disabled || labels.len() > 5 => Thing::None,
            [_, "pod"] => nothing(),
            [.., pod, namespace, "pod"] => self.pod(pod, namespace, zone),
            [.., service, namespace, "svc"] => {
                let before = &labels[..labels.len() - 3];
                if imported {
                    self.import(before, service, namespace, zone)
                } else {
                    self.below(before, service, namespace, zone)
                }
            }
            _ => Thing::None,
        }
    }

    fn pod(&self, pod: &str, namespace: &str, zone: &str) -> Thing {
        let is_v4 = pod.matches('-').count() == 3 && !pod.contains("--");
        let text = pod.replace('-', if is_v4 { "." } else { ":" });
        let Ok(ip) = text.parse::<IpAddr>() else { return Thing::None };
        let item = Item { ip: ip.to_canonical(), port: Some(0), target: format!("{pod}.{namespace}.pod.{zone}") };
        let count = match self.options.pods {
            PodMode::Insecure => 1,
            _ => {
                let pods = self.snapshot.pods.values();
                pods.filter(|pod| &*pod.name.namespace == namespace && !pod.finished)
                    .filter(|pod| self.options.labels.as_ref().is_none_or(|s| s.fits_labels(&pod.labels)))
                    .filter(|pod| pod.ips.first().is_some_and(|ip| ip.to_string() == text))
                    .count()
            }
        };
        if count == 0 { Thing::None } else { Thing::Items(vec![item; count]) }
    }

    fn below(&self, before: &[&str], name: &str, namespace: &str, zone: &str) -> Thing {
        let Some(service) = self.service(namespace, name) else { return Thing::None };
        let slices = self.slices(namespace, name, false);
        let base = format!("{name}.{namespace}.svc.{zone}");
        if service.kind == ServiceType::ExternalName {
            let target = service.external_name.as_deref().unwrap();
            let is_itself = before.is_empty() || matches!(before, ["_", "_"]);
            if !is_itself || target.parse::<IpAddr>().is_ok() {
                return Thing::None;
            }
            return Thing::Alias(format!("{}.", target.trim_end_matches('.')));
        }
        let ready = slices.iter().flat_map(|slice| slice.endpoints.iter()).filter(|e| e.conditions.ready).count();
        if !service.headless && self.options.ignore_empty_service && ready == 0 {
            return Thing::None;
        }
        let mut ports: Vec<(&str, &str, Option<u16>)> =
            service.ports.iter().map(|port| (&*port.name, port.protocol.as_str(), Some(port.port))).collect();
        if ports.is_empty() {
            ports.push(("", "", None));
        }
        let own = |port: &str, protocol: &str| {
            let ports = ports.iter().filter(|(p, t, _)| fits(port, p) && fits(protocol, t));
            let items: Vec<Item> = ports
                .flat_map(|(.., port)| service.cluster_ips.iter().map(|ip| (*port, *ip)))
                .map(|(port, ip)| Item { ip, port, target: base.clone() })
                .collect();
            if items.is_empty() { Thing::None } else { Thing::Items(items) }
        };
        let endpoints = |keep: &dyn Fn(&str, &str) -> bool, port: &str, protocol: &str| {
            self.endpoints(&slices, &base, false, &|host, _, zone| keep(host, zone), port, protocol)
        };
        let some = |items: Vec<Item>| if items.is_empty() { Thing::None } else { Thing::Items(items) };
        let strip = |label: &str| label.strip_prefix('_').unwrap_or(label).to_owned();
        match before {
            [] if service.headless => some(endpoints(&|_, _| true, "", "")),
            [] => own("", ""),
            [host] => some(endpoints(&|h, _| h == *host, "", "")),
            [port, protocol] if service.headless => some(endpoints(&|_, _| true, &strip(port), &strip(protocol))),
            [port, protocol] => own(&strip(port), &strip(protocol)),
            [zone @ .., directive, "_zone"] if self.options.zonal && service.headless => {
                let zone = zone.join(".");
                let in_zone = endpoints(&|_, z| z == zone, "", "");
                match *directive {
                    "pin" => Thing::Zone(in_zone),
                    "prefer" if in_zone.is_empty() => Thing::Zone(endpoints(&|_, _| true, "", "")),
                    "prefer" => Thing::Zone(in_zone),
                    _ => Thing::None,
                }
            }
            _ => Thing::None,
        }
    }

    fn import(&self, before: &[&str], name: &str, namespace: &str, zone: &str) -> Thing {
        let Some(import) = self.snapshot.service_imports.get(&object_name(namespace, name)) else { return Thing::None };
        let slices = self.slices(namespace, name, true);
        let base = format!("{name}.{namespace}.svc.{zone}");
        let ready = slices.iter().flat_map(|slice| slice.endpoints.iter()).filter(|e| e.conditions.ready).count();
        if !import.headless && self.options.ignore_empty_service && ready == 0 {
            return Thing::None;
        }
        let strip = |label: &str| label.strip_prefix('_').unwrap_or(label).to_owned();
        let of_ports = |port: &str, protocol: &str| {
            if import.headless {
                return self.endpoints(&slices, &base, true, &|_, _, _| true, port, protocol);
            }
            let ports = import.ports.iter().filter(|p| fits(port, &p.name) && fits(protocol, p.protocol.as_str()));
            ports
                .flat_map(|p| import.ips.iter().map(|ip| Item { ip: *ip, port: p.port, target: base.clone() }))
                .collect()
        };
        let of_host = |host: &str, cluster: &str| {
            self.endpoints(&slices, &base, true, &|h, c, _| h == host && c == cluster, "", "")
        };
        // A name with a port, and without an address, is there.
        let there = !import.headless && import.ips.is_empty();
        let port_fits = |port: &str, protocol: &str| {
            import.ports.iter().any(|p| fits(port, &p.name) && fits(protocol, p.protocol.as_str()))
        };
        match before {
            [] if there && port_fits("", "") => Thing::Zone(Vec::new()),
            [] => some(of_ports("", "")),
            [host] => some(of_host(host, "")),
            [host, cluster] if !host.starts_with('_') && !cluster.starts_with('_') => some(of_host(host, cluster)),
            [port, protocol] if there && port_fits(&strip(port), &strip(protocol)) => Thing::Zone(Vec::new()),
            [port, protocol] => some(of_ports(&strip(port), &strip(protocol))),
            _ => Thing::None,
        }
    }

    /// All pairs of ready endpoints and their ports; `keep` is asked with host, cluster and topology zone.
    fn endpoints(
        &self,
        slices: &[&EndpointSlice],
        base: &str,
        clustered: bool,
        keep: &dyn Fn(&str, &str, &str) -> bool,
        port: &str,
        protocol: &str,
    ) -> Vec<Item> {
        let mut items = Vec::new();
        for slice in slices {
            let mut ports: Vec<(&str, &str, Option<u16>)> =
                slice.ports.iter().map(|port| (&*port.name, port.protocol.as_str(), port.port)).collect();
            if ports.is_empty() {
                ports.push(("", "", None));
            }
            for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.conditions.ready) {
                let host = self.host(endpoint.hostname, endpoint.pod, endpoint.address);
                let zone = endpoint.zone.map_or(String::new(), |zone| zone.to_lowercase());
                // A host with a dot is no label that can be asked for.
                let label = if host.contains('.') { "" } else { &host };
                if !keep(label, slice.cluster(), &zone) {
                    continue;
                }
                let target = match slice.cluster() {
                    cluster if clustered && !cluster.is_empty() => format!("{host}.{cluster}.{base}"),
                    _ => format!("{host}.{base}"),
                };
                for (_, _, port) in ports.iter().filter(|(p, t, _)| fits(port, p) && fits(protocol, t)) {
                    items.push(Item { ip: endpoint.address, port: *port, target: target.clone() });
                }
            }
        }
        items
    }

    fn host(&self, hostname: Option<&str>, pod: Option<&str>, ip: IpAddr) -> String {
        let pod = pod.filter(|pod| self.options.endpoint_pod_names && pod.len() < 64);
        let dashed = ip.to_string().replace(['.', ':'], "-");
        let dashed = if dashed.ends_with('-') { dashed + "0" } else { dashed };
        hostname.or(pod).map_or(dashed, str::to_owned)
    }

    fn names_of(&self, ip: IpAddr) -> BTreeSet<String> {
        let is_seen = |namespace: &str| self.options.namespaces.is_empty() || self.is_exposed(namespace);
        for service in self.snapshot.services.values().filter(|service| is_seen(&service.name.namespace)) {
            let (namespace, name) = (&service.name.namespace, &service.name.name);
            if service.cluster_ips.contains(&ip) && self.service(namespace, name).is_some() {
                return [format!("{name}.{namespace}.svc.cluster.local.")].into();
            }
        }
        let mut names = BTreeSet::new();
        for slice in self.snapshot.slices.values().filter(|slice| is_seen(&slice.name.namespace)) {
            let (namespace, service) = (&slice.name.namespace, slice.service.as_ref().unwrap());
            if !self.slices(namespace, service, false).iter().any(|taken| taken.name == slice.name) {
                continue;
            }
            for endpoint in slice.endpoints.iter().filter(|e| e.conditions.ready && e.address == ip) {
                let host = self.host(endpoint.hostname, endpoint.pod, ip);
                names.insert(format!("{host}.{service}.{namespace}.svc.cluster.local."));
            }
        }
        if names.is_empty() {
            let imports = self.snapshot.service_imports.values();
            let import = imports.filter(|i| i.ips.contains(&ip)).find(|i| self.is_exposed(&i.name.namespace));
            names.extend(import.map(|i| format!("{}.{}.svc.clusterset.local.", i.name.name, i.name.namespace)));
        }
        names
    }

    fn name_servers(&self, zone: &str) -> BTreeSet<(String, IpAddr)> {
        let mut servers = BTreeSet::new();
        let mut found = false;
        for local in &self.options.local_ips {
            for slice in self.snapshot.slices.values() {
                let (namespace, name) = (&slice.name.namespace, slice.service.as_ref().unwrap());
                let slices = self.slices(namespace, name, false);
                let Some(slice) = slices.into_iter().find(|taken| taken.name == slice.name) else { continue };
                if !slice.endpoints.iter().any(|e| e.conditions.ready && e.address == *local) {
                    continue;
                }
                found = true;
                let Some(service) = self.service(namespace, name) else { continue };
                let base = format!("{name}.{namespace}.svc.{zone}");
                if service.headless {
                    for endpoint in slice.endpoints.iter().filter(|e| e.conditions.ready) {
                        let host = self.host(endpoint.hostname, endpoint.pod, endpoint.address);
                        servers.insert((format!("{host}.{base}"), endpoint.address));
                    }
                } else {
                    servers.extend(service.cluster_ips.iter().map(|ip| (base.clone(), *ip)));
                }
            }
        }
        if !found {
            servers.extend(self.options.local_ips.iter().map(|ip| (format!("ns.dns.{zone}"), *ip)));
        }
        servers
    }
}

fn some(items: Vec<Item>) -> Thing {
    if items.is_empty() { Thing::None } else { Thing::Items(items) }
}

/// Whether a part that is asked for, which may be empty for any, fits.
fn fits(asked: &str, has: &str) -> bool {
    asked.is_empty() || asked.eq_ignore_ascii_case(has)
}

fn type_of(ip: IpAddr) -> Type {
    if ip.is_ipv4() { Type::A } else { Type::AAAA }
}

/// The address whose PTR records a name has.
fn reverse(name: &str) -> Option<IpAddr> {
    if let Some(front) = name.strip_suffix(".in-addr.arpa.") {
        let labels: Vec<&str> = front.split('.').rev().collect();
        return labels.join(".").parse::<std::net::Ipv4Addr>().ok().map(IpAddr::from);
    }
    let labels: Vec<&str> = name.strip_suffix(".ip6.arpa.")?.split('.').rev().collect();
    // CoreDNS takes four at a time, and drops what is left over.
    let groups: Vec<String> = labels.chunks_exact(4).map(<[&str]>::concat).collect();
    groups.join(":").parse::<Ipv6Addr>().ok().map(|ip| IpAddr::V6(ip).to_canonical())
}
