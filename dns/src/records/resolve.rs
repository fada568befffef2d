//! From a name and a type to what is there.
//!
//! ```text
//! SERVICE.NAMESPACE.svc                       a Service
//! HOST.SERVICE.NAMESPACE.svc                  an endpoint; in multi-cluster zones HOST.CLUSTER.…
//! _PORT._PROTOCOL.SERVICE.NAMESPACE.svc       a port
//! ZONE.pin|prefer._zone.SERVICE.NAMESPACE.svc endpoints of a topology zone
//! ADDRESS.NAMESPACE.pod                       a Pod
//! ns.dns, dns-version                         name server, version of this schema
//! ```
//!
//! All else does not exist, but for what these hang from: the zone itself, `svc`, `pod` and each namespace.

use std::net::{IpAddr, Ipv6Addr};

use bowline_cluster::object::{Endpoint, EndpointSlice, ObjectName, Str};
use smallvec::SmallVec;

use super::entry::{Entry, Kind, host_labels, ready};
use super::found::{Answer, Found, Of, Pointer, Services};
use super::host::{self, Host, Labels};
use super::nameservers::NS_DNS;
use super::options::{PodMode, Zone};
use super::split::{Split, stripped};
use super::targets::{Builder, Filter};
use super::{Entries, Records};
use crate::wire::Type;

/// The schema's version: of Services, and of multi-cluster Services (KEP-1645).
const VERSION: &str = "1.1.0";
const MULTICLUSTER_VERSION: &str = "1.0.0";

/// What a name is.
enum Meaning<'a> {
    /// It does not exist.
    Nowhere,
    /// It exists for the sake of names below it.
    Empty,
    Version,
    NameServer,
    Service(&'a Entry, Filter<'a>),
    Endpoints(&'a Entry, Pick<'a>),
    Pod(Pod<'a>),
}

/// Which endpoints of a Service.
#[derive(Clone, Copy)]
enum Pick<'a> {
    /// Those of this name; `address` is the one that it may be written for.
    Named {
        label: &'a [u8],
        address: Option<IpAddr>,
        cluster: &'a [u8],
    },
    /// Those in the topology zone that these labels, in wire form, spell.
    Zone(&'a [u8]),
    All,
}

struct Pod<'a> {
    ip: IpAddr,
    /// How many Pods have it.
    count: usize,
    /// Its labels in front of the zone.
    front: &'a [u8],
}

impl Records {
    /// What there is under a name of a zone. `front` are the labels in front of the zone, in wire form without a root
    /// label and in lower case.
    pub fn resolve<'a>(&'a self, zone: &'a Zone, front: &'a [u8], rtype: Type) -> Answer<'a> {
        let found = if self.synced { self.find(zone, front, rtype) } else { Found::NotReady };
        Answer { found, records: self, zone }
    }

    fn find<'a>(&'a self, zone: &'a Zone, front: &'a [u8], rtype: Type) -> Found<'a> {
        match rtype {
            Type::AXFR | Type::IXFR => return Found::ServeError,
            Type::SOA if front.is_empty() => return Found::Soa,
            // CoreDNS does not look whether the name exists.
            Type::SOA => return Found::NoData,
            Type::NS if front.is_empty() => {
                let servers = self.name_servers();
                return if servers.is_empty() { Found::NoData } else { Found::NameServers(servers) };
            }
            Type::PTR => {
                if let Some(ip) = address_of(front, zone) {
                    return self.pointers_of(ip);
                }
            }
            _ => {}
        }
        match self.place(zone, front) {
            Meaning::Nowhere => Found::NoName,
            // CoreDNS finds no text where there is no record of another type.
            Meaning::Empty if rtype == Type::TXT => Found::NoName,
            Meaning::Empty => Found::NoData,
            Meaning::Version if rtype == Type::TXT => {
                Found::Text(if zone.is_multicluster { MULTICLUSTER_VERSION } else { VERSION })
            }
            Meaning::Version => Found::NoName,
            Meaning::NameServer if matches!(rtype, Type::TXT | Type::PTR) => Found::NoName,
            Meaning::NameServer => addresses(rtype, self.name_servers().into_iter().map(|server| server.ip)),
            Meaning::Service(entry, filter) => service(entry, filter, rtype),
            Meaning::Endpoints(entry, pick) => self.endpoints(entry, pick, rtype),
            Meaning::Pod(pod) => found_pod(&pod, rtype),
        }
    }

    fn place<'a>(&'a self, zone: &'a Zone, front: &'a [u8]) -> Meaning<'a> {
        let entries = if zone.is_multicluster { &self.imports } else { &self.services };
        let labels = Split::new(front);
        let is_pod = match labels.label(0) {
            _ if labels.count == 0 => return Meaning::Empty,
            b"svc" => false,
            b"pod" => true,
            b"dns-version" if labels.count == 1 => return Meaning::Version,
            _ if front == NS_DNS => return Meaning::NameServer,
            _ => return Meaning::Nowhere,
        };
        let namespace = || std::str::from_utf8(labels.label(1)).unwrap_or_default();
        match labels.count {
            1 => Meaning::Empty,
            // In a reverse zone there are names of addresses, and of the zone's own.
            _ if zone.is_reverse => Meaning::Nowhere,
            2 if is_pod && self.options.pods == PodMode::Disabled => Meaning::Nowhere,
            2 if self.is_exposed(namespace()) => Meaning::Empty,
            2 => Meaning::Nowhere,
            // As CoreDNS, what stands in front of a Pod does not count.
            3..=5 if is_pod && self.is_exposed(namespace()) => self.pod(&labels, namespace()),
            _ if is_pod => Meaning::Nowhere,
            // Entries are those of exposed namespaces.
            3 => get(entries, front).map_or(Meaning::Nowhere, |entry| known(entry, Filter::default())),
            // Most names of a search path, known without a look at any memory but their own.
            6.. if !self.options.zonal || zone.is_multicluster => Meaning::Nowhere,
            _ => get(entries, labels.from(2)).map_or(Meaning::Nowhere, |entry| self.below(entry, &labels, zone)),
        }
    }

    /// A name below a Service.
    fn below<'a>(&'a self, entry: &'a Entry, labels: &Split<'a>, zone: &Zone) -> Meaning<'a> {
        match labels.count {
            ..=3 => Meaning::Nowhere,
            4 => named(entry, labels.label(3), &[]),
            5 => {
                let (first, second) = (labels.label(4), labels.label(3));
                if zone.is_multicluster && !first.starts_with(b"_") && !second.starts_with(b"_") {
                    return named(entry, first, second);
                }
                known(entry, Filter { port: stripped(first), protocol: stripped(second) })
            }
            _ if labels.label(3) != b"_zone" || entry.kind != Kind::Headless => Meaning::Nowhere,
            _ => {
                let pick = Pick::Zone(labels.before(4));
                match labels.label(4) {
                    b"pin" => Meaning::Endpoints(entry, pick),
                    b"prefer" if !entry.endpoints().any(|(_, endpoint)| is_in(&endpoint, labels.before(4))) => {
                        Meaning::Endpoints(entry, Pick::All)
                    }
                    b"prefer" => Meaning::Endpoints(entry, pick),
                    _ => Meaning::Nowhere,
                }
            }
        }
    }

    fn pod<'a>(&'a self, labels: &Split<'a>, namespace: &str) -> Meaning<'a> {
        let (label, front) = (labels.label(2), labels.from(2));
        let (ip, count) = match self.options.pods {
            PodMode::Disabled => return Meaning::Nowhere,
            PodMode::Insecure => (host::any_address(label), 1),
            PodMode::Verified => {
                let ip = host::pod_address(label);
                (ip, ip.map_or(0, |ip| self.pods_with(ip, namespace)))
            }
        };
        match ip {
            Some(ip) if count > 0 => Meaning::Pod(Pod { ip: ip.to_canonical(), count, front }),
            _ => Meaning::Nowhere,
        }
    }

    /// How many Pods of a namespace have this address.
    fn pods_with(&self, ip: IpAddr, namespace: &str) -> usize {
        let from = (ip, ObjectName { namespace: Str::from(namespace), name: Str::default() });
        self.pods.range(from..).take_while(|(at, name)| *at == ip && name.namespace == namespace).count()
    }

    /// What the names below a Service answer that its endpoints have.
    fn endpoints<'a>(&'a self, entry: &'a Entry, pick: Pick<'a>, rtype: Type) -> Found<'a> {
        let picked = || {
            let fits = move |(slice, endpoint): &(&EndpointSlice, Endpoint<'_>)| match pick {
                Pick::All => true,
                Pick::Zone(zone) => is_in(endpoint, zone),
                Pick::Named { label, address, cluster } => {
                    Host::of(endpoint, self.options.endpoint_pod_names).is(label, address)
                        && (!entry.is_import() || slice.cluster().as_bytes().eq_ignore_ascii_case(cluster))
                }
            };
            entry.endpoints().filter(fits)
        };
        if picked().next().is_none() {
            // A topology zone is there when its Service is: that no endpoint is in it, is an answer.
            return if matches!(pick, Pick::Named { .. }) { Found::NoName } else { Found::NoData };
        }
        match rtype {
            Type::SRV => {
                let mut builder = Builder::default();
                for (slice, endpoint) in picked() {
                    let set = builder.slice_ports(&slice.ports);
                    let host = host_labels(&endpoint, slice, &self.options, entry.is_import());
                    builder.add(&host, endpoint.address, set);
                }
                services(Of::Some(Box::new(builder.build())), Filter::default(), entry.front())
            }
            rtype => addresses(rtype, picked().map(|(_, endpoint)| endpoint.address)),
        }
    }

    fn pointers_of(&self, ip: IpAddr) -> Found<'_> {
        // As CoreDNS: only the option `namespaces` hides names of addresses.
        let is_seen = |name: &&ObjectName| self.options.namespaces.is_empty() || self.is_exposed(&name.namespace);
        let mut pointers = SmallVec::new();
        let Some(zone) = self.options.primary() else { return Found::NoName };
        if let Some(service) = self.pointers.services(ip).find(is_seen) {
            pointers.push(Pointer { host: Labels::new(), service, zone: &zone.name });
            return Found::Pointers(pointers);
        }
        for service in self.pointers.endpoints(ip).filter(is_seen) {
            for slice in self.snapshot.slices_of(service).filter(|slice| self.options.takes(slice)) {
                for endpoint in ready(slice).filter(|endpoint| endpoint.address == ip) {
                    let host = host_labels(&endpoint, slice, &self.options, false);
                    let pointer = Pointer { host, service, zone: &zone.name };
                    if !pointers.contains(&pointer) {
                        pointers.push(pointer);
                    }
                }
            }
        }
        // KEP-1645: the address of a ServiceImport has a name where it has no other.
        let imported = self.options.zones.iter().find(|zone| zone.is_multicluster && !zone.is_reverse);
        if let (true, Some(zone), Some(service)) =
            (pointers.is_empty(), imported, self.pointers.imports(ip).find(|name| self.is_exposed(&name.namespace)))
        {
            pointers.push(Pointer { host: Labels::new(), service, zone: &zone.name });
        }
        if pointers.is_empty() { Found::NoName } else { Found::Pointers(pointers) }
    }
}

fn get<'a>(entries: &'a Entries, front: &[u8]) -> Option<&'a Entry> {
    entries.get_key_value(front).map(|(key, ())| &*key.0)
}

/// A Service, or some of its ports; nowhere if it is none that DNS tells of.
fn known<'a>(entry: &'a Entry, filter: Filter<'a>) -> Meaning<'a> {
    let exists = match entry.kind {
        Kind::External(_) => filter.is_any(),
        Kind::Virtual | Kind::Headless => entry.targets.has(filter),
    };
    if exists { Meaning::Service(entry, filter) } else { Meaning::Nowhere }
}

fn named<'a>(entry: &'a Entry, label: &'a [u8], cluster: &'a [u8]) -> Meaning<'a> {
    Meaning::Endpoints(entry, Pick::Named { label, address: host::endpoint_address(label), cluster })
}

fn service<'a>(entry: &'a Entry, filter: Filter<'a>, rtype: Type) -> Found<'a> {
    if let Kind::External(target) = &entry.kind {
        return match rtype {
            Type::A | Type::AAAA => Found::External(target),
            Type::CNAME => Found::Alias(target),
            _ => Found::NoData,
        };
    }
    let all = match rtype {
        Type::A => &entry.a,
        Type::AAAA => &entry.aaaa,
        Type::SRV => return services(Of::Entry(entry), filter, entry.front()),
        _ => return Found::NoData,
    };
    if all.is_empty() {
        Found::NoData
    } else if entry.targets.is_whole(filter) {
        Found::Rrset(all)
    } else {
        addresses(rtype, entry.targets.addresses(filter))
    }
}

fn services<'a>(targets: Of<'a>, filter: Filter<'a>, front: &'a [u8]) -> Found<'a> {
    let services = Services { targets, filter, front };
    if services.is_empty() { Found::NoData } else { Found::Services(services) }
}

fn found_pod<'a>(pod: &Pod<'a>, rtype: Type) -> Found<'a> {
    match rtype {
        Type::SRV => {
            // CoreDNS has one of port 0, whose weight counts every Pod with this address.
            let mut builder = Builder::default();
            let set = builder.pod_port();
            (0..pod.count).for_each(|_| builder.add(&Labels::new(), pod.ip, set));
            services(Of::Some(Box::new(builder.build())), Filter::default(), pod.front)
        }
        rtype => addresses(rtype, [pod.ip]),
    }
}

/// Those of the type's family, none twice.
fn addresses<'a>(rtype: Type, ips: impl IntoIterator<Item = IpAddr>) -> Found<'a> {
    let mut seen = std::collections::HashSet::<IpAddr, foldhash::fast::RandomState>::default();
    let mut found = SmallVec::<[IpAddr; 4]>::new();
    for ip in ips {
        let is_asked = match rtype {
            Type::A => ip.is_ipv4(),
            Type::AAAA => ip.is_ipv6(),
            _ => false,
        };
        // Few are looked through; a set is made only for many.
        let is_new = || if found.len() < found.inline_size() { !found.contains(&ip) } else { true };
        if is_asked && is_new() {
            found.push(ip);
        }
    }
    if found.spilled() {
        found.retain(|ip| seen.insert(*ip));
    }
    if found.is_empty() { Found::NoData } else { Found::Addresses(found) }
}

/// Whether an endpoint is in the topology zone that labels in wire form and lower case spell.
fn is_in(endpoint: &Endpoint<'_>, labels: &[u8]) -> bool {
    let Some(zone) = endpoint.zone else { return false };
    let mut parts = zone.split('.');
    let mut rest = labels;
    while let Some((length, tail)) = rest.split_first() {
        let (label, tail) = tail.split_at_checked(usize::from(*length)).unwrap_or_default();
        if !parts.next().is_some_and(|part| part.as_bytes().eq_ignore_ascii_case(label)) {
            return false;
        }
        rest = tail;
    }
    parts.next().is_none()
}

/// The address of a name in in-addr.arpa or ip6.arpa. As CoreDNS, it may have up to three labels more in front of the
/// 32 nibbles, and an IPv4 address in IPv6 form is one.
fn address_of(front: &[u8], zone: &Zone) -> Option<IpAddr> {
    let mut labels: SmallVec<[&[u8]; 40]> = SmallVec::new();
    for name in [front, zone.name.as_wire()] {
        let mut rest = name;
        while let Some((length, tail)) = rest.split_first().filter(|(length, _)| **length > 0) {
            let (label, tail) = tail.split_at_checked(usize::from(*length))?;
            labels.push(label);
            rest = tail;
        }
    }
    if labels.pop()? != b"arpa" {
        return None;
    }
    match labels.pop()? {
        b"in-addr" if labels.len() == 4 => {
            let mut octets = [0; 4];
            for (octet, label) in octets.iter_mut().rev().zip(&labels) {
                let is_number =
                    label.iter().all(u8::is_ascii_digit) && (label.len() == 1 || label.first() != Some(&b'0'));
                *octet = std::str::from_utf8(label).ok()?.parse().ok().filter(|_| is_number)?;
            }
            Some(IpAddr::from(octets))
        }
        b"ip6" if (32..36).contains(&labels.len()) => {
            let nibbles = labels.iter().rev().take(32).map(|label| match label {
                [nibble] => char::from(*nibble).to_digit(16),
                _ => None,
            });
            let mut bits = 0;
            for nibble in nibbles {
                bits = bits << 4 | u128::from(nibble?);
            }
            Some(IpAddr::from(Ipv6Addr::from_bits(bits)).to_canonical())
        }
        _ => None,
    }
}
