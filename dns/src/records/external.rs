//! Services by the addresses that they have outside of the cluster: what `k8s_external` answers with.
//!
//! Names are `SERVICE.NAMESPACE`, with an endpoint or `_PORT._PROTOCOL` in front.

use std::net::IpAddr;
use std::sync::Arc;

use bowline_cluster::object::{LoadBalancer, ObjectName, Service};

use super::Records;
use super::entry::{host_labels, ready};
use crate::wire::Name;

/// What there is under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outside {
    /// Nothing was read yet: SERVFAIL.
    NotReady,
    /// No such name.
    NoName,
    /// The name of a namespace: it has no records.
    NoData,
    /// These.
    Targets(Vec<Target>),
}

/// Where a Service is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// At an address.
    Ip(IpAddr),
    /// Where this name leads: that of a load balancer.
    Name(Name),
}

/// Where a Service is reached, with a port that is served there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The address, or a name that leads to it.
    pub at: At,
    /// The port; None where none is declared.
    pub port: Option<u16>,
    /// Labels in front of the zone: where its SRV records lead if it is an address.
    pub front: Vec<u8>,
    /// `_PORT._PROTOCOL` of a port with a name, as labels.
    pub service: Vec<u8>,
}

/// What of a Service is asked for; empty: any.
#[derive(Default)]
struct Wanted<'a> {
    endpoint: &'a [u8],
    port: &'a [u8],
    protocol: &'a [u8],
}

impl Wanted<'_> {
    fn takes(&self, port: &str, protocol: &str) -> bool {
        let fits = |wanted: &[u8], is: &str| wanted.is_empty() || wanted.eq_ignore_ascii_case(is.as_bytes());
        fits(self.port, port) && fits(self.protocol, protocol)
    }
}

impl Records {
    /// Looks a name up: `front` are its labels in front of the zone, in lower case. `headless`: Services without an
    /// address of their own answer with their endpoints.
    pub fn external(&self, front: &[u8], headless: bool) -> Outside {
        if !self.synced {
            return Outside::NotReady;
        }
        let mut labels: Vec<&[u8]> = Vec::new();
        let mut rest = front;
        while let Some((length, after)) = rest.split_first() {
            let Some((label, after)) = after.split_at_checked(usize::from(*length)) else { return Outside::NoName };
            labels.push(label);
            rest = after;
        }
        labels.reverse();
        let bare = |label: &'_ [u8]| -> usize { usize::from(label.first() == Some(&b'_')) };
        let (namespace, service, wanted) = match labels.as_slice() {
            [namespace] => (namespace, None, Wanted::default()),
            [namespace, service] => (namespace, Some(service), Wanted::default()),
            [namespace, service, endpoint] => {
                let endpoint = &endpoint[bare(endpoint)..];
                (namespace, Some(service), Wanted { endpoint, ..Wanted::default() })
            }
            [namespace, service, protocol, port] => {
                let (port, protocol) = (&port[bare(port)..], &protocol[bare(protocol)..]);
                (namespace, Some(service), Wanted { endpoint: &[], port, protocol })
            }
            _ => return Outside::NoName,
        };
        let Some(namespace) = text(namespace).filter(|name| self.is_exposed(name)) else { return Outside::NoName };
        let Some(service) = service else { return Outside::NoData };
        let Some(service) = text(service) else { return Outside::NoName };
        let name = ObjectName { namespace: namespace.into(), name: service.into() };
        let service = self.snapshot.services.get(&name).filter(|service| self.is_counted(service));
        let targets = service.map(|service| self.external_targets(service, headless, &wanted)).unwrap_or_default();
        if targets.is_empty() { Outside::NoName } else { Outside::Targets(targets) }
    }

    fn is_counted(&self, service: &Service) -> bool {
        self.options.labels.as_ref().is_none_or(|selector| selector.fits_labels(&service.labels))
    }

    fn external_targets(&self, service: &Service, headless: bool, wanted: &Wanted<'_>) -> Vec<Target> {
        let Some(front) = front(&service.name) else { return Vec::new() };
        let mut places = places(service).peekable();
        let by_endpoints = headless && places.peek().is_none() && (service.headless || !wanted.endpoint.is_empty());
        if by_endpoints {
            return self.external_endpoints(&service.name, &front, wanted);
        }
        let mut targets = Vec::new();
        for at in places {
            for port in service.ports.iter().filter(|port| wanted.takes(&port.name, port.protocol.as_str())) {
                let service = named(&port.name, port.protocol.as_str());
                targets.push(Target { at: at.clone(), port: Some(port.port), front: front.clone(), service });
            }
        }
        targets
    }

    /// The ready endpoints of a Service, once for each of their ports.
    fn external_endpoints(&self, service: &ObjectName, front: &[u8], wanted: &Wanted<'_>) -> Vec<Target> {
        let mut targets = Vec::new();
        for slice in self.snapshot.slices_of(service).filter(|slice| self.options.takes(slice)) {
            for endpoint in ready(slice) {
                let mut labels = host_labels(&endpoint, slice, &self.options, false).to_vec();
                let host = labels.split_first().map_or(&[][..], |(_, host)| host);
                if !wanted.endpoint.is_empty() && !host.eq_ignore_ascii_case(wanted.endpoint) {
                    continue;
                }
                labels.extend_from_slice(front);
                let mut push = |port: Option<u16>, service: Vec<u8>| {
                    targets.push(Target { at: At::Ip(endpoint.address), port, front: labels.clone(), service });
                };
                if slice.ports.is_empty() && wanted.takes("", "") {
                    push(None, Vec::new());
                }
                for port in slice.ports.iter().filter(|port| wanted.takes(&port.name, port.protocol.as_str())) {
                    push(port.port, named(&port.name, port.protocol.as_str()));
                }
            }
        }
        targets
    }

    /// The Services with this address, as labels in front of the zone. It goes through all of them: few are asked so.
    pub fn external_names(&self, ip: IpAddr) -> Vec<Vec<u8>> {
        let has = |service: &&Arc<Service>| {
            self.is_exposed(&service.name.namespace)
                && self.is_counted(service)
                && addresses(service).any(|at| at == ip)
        };
        self.snapshot.services.values().filter(has).filter_map(|service| front(&service.name)).collect()
    }

    /// The addresses of this server outside of the cluster: those of the Services that have it for an endpoint, or
    /// its own.
    pub fn external_servers(&self, headless: bool) -> Vec<IpAddr> {
        let mut servers: Vec<IpAddr> = Vec::new();
        let mut found = false;
        for local in &self.options.local_ips {
            for name in self.pointers.endpoints(*local) {
                found = true;
                let Some(service) = self.snapshot.services.get(name).filter(|service| self.is_counted(service)) else {
                    continue;
                };
                if headless && service.headless {
                    let slices = self.snapshot.slices_of(name);
                    servers.extend(slices.flat_map(|slice| ready(slice).map(|endpoint| endpoint.address)));
                } else {
                    servers.extend(addresses(service));
                }
            }
        }
        if !found {
            servers.clone_from(&self.options.local_ips);
        }
        let mut seen = std::collections::HashSet::new();
        servers.retain(|ip| seen.insert(*ip));
        servers
    }

    /// All Services with their targets, for a transfer.
    pub fn external_services(&self, headless: bool) -> impl Iterator<Item = (Vec<u8>, Vec<Target>)> {
        let services = self.snapshot.services.values();
        let seen = services.filter(|service| self.is_exposed(&service.name.namespace) && self.is_counted(service));
        seen.filter_map(move |service| {
            Some((front(&service.name)?, self.external_targets(service, headless, &Wanted::default())))
        })
    }

    /// The serial number of the SOA of such a zone.
    pub fn external_serial(&self) -> u32 {
        self.serial
    }
}

/// How it is reached from outside.
fn places(service: &Service) -> impl Iterator<Item = At> {
    let balancer = |balancer: &LoadBalancer| match balancer {
        LoadBalancer::Ip(ip) => Some(At::Ip(*ip)),
        LoadBalancer::Name(name) => Name::parse(name).ok().map(At::Name),
    };
    service.external.as_deref().into_iter().flat_map(move |external| {
        external.ips.iter().copied().map(At::Ip).chain(external.load_balancers.iter().filter_map(balancer))
    })
}

/// The addresses among these.
fn addresses(service: &Service) -> impl Iterator<Item = IpAddr> {
    places(service).filter_map(|at| match at {
        At::Ip(ip) => Some(ip),
        At::Name(_) => None,
    })
}

/// `SERVICE.NAMESPACE` as labels.
fn front(name: &ObjectName) -> Option<Vec<u8>> {
    let mut front = Vec::new();
    for label in [&*name.name, &*name.namespace] {
        push(&mut front, &[label.as_bytes()])?;
    }
    Some(front)
}

/// `_PORT._PROTOCOL` as labels; nothing where the port has no name.
fn named(port: &str, protocol: &str) -> Vec<u8> {
    let mut labels = Vec::new();
    let is_named = !port.is_empty()
        && push(&mut labels, &[b"_", port.as_bytes()]).is_some()
        && push(&mut labels, &[b"_", protocol.as_bytes()]).is_some();
    if is_named { labels.to_ascii_lowercase() } else { Vec::new() }
}

/// Appends a label.
fn push(to: &mut Vec<u8>, parts: &[&[u8]]) -> Option<()> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    to.push(u8::try_from(length).ok().filter(|length| (1..64).contains(length))?);
    parts.iter().for_each(|part| to.extend_from_slice(part));
    Some(())
}

fn text(label: &[u8]) -> Option<&str> {
    std::str::from_utf8(label).ok()
}
