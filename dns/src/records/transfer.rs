//! The whole of a zone, for AXFR.

use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;

use bowline_cluster::object::{EndpointPort, EndpointSlice, ObjectName, ServiceImport, ServiceType};

use super::entry::{front, host_labels, ready};
use super::found::weight;
use super::messages::{soa, type_of};
use super::{Records, Zone};
use crate::wire::{Data, Name, Record, Type};

/// The records of a zone, Service by Service.
pub struct Transfer {
    records: Arc<Records>,
    zone: Zone,
    /// Whose records were made last.
    last: Option<ObjectName>,
    made: std::vec::IntoIter<Record>,
}

impl Iterator for Transfer {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            if let Some(record) = self.made.next() {
                return Some(record);
            }
            let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let snapshot = &self.records.snapshot;
            let (name, made) = if self.zone.is_multicluster {
                let (name, import) =
                    snapshot.service_imports.range::<_, ObjectName>((after, Bound::Unbounded)).next()?;
                (name, self.records.transfer_import(&self.zone, import))
            } else {
                let (name, _) = snapshot.services.range::<_, ObjectName>((after, Bound::Unbounded)).next()?;
                (name, self.records.transfer_service(&self.zone, name))
            };
            self.last = Some(name.clone());
            self.made = made.into_iter();
        }
    }
}

impl Records {
    /// The SOA of a zone, and every other record of it, made as they are taken. None before the state was read: there
    /// is no zone then. As CoreDNS has it, without endpoints of Services that have a ClusterIP, names of topology
    /// zones, Pods, and names of addresses.
    pub fn transfer(self: &Arc<Records>, zone: &Zone) -> Option<(Record, Transfer)> {
        let soa = soa(&zone.name, &self.times(zone)).filter(|_| self.synced)?;
        let servers = self.transfer_servers(zone).into_iter();
        Some((soa, Transfer { records: self.clone(), zone: zone.clone(), last: None, made: servers }))
    }

    fn transfer_servers(&self, zone: &Zone) -> Vec<Record> {
        let (mut names, mut addresses): (Vec<Record>, Vec<Record>) = (Vec::new(), Vec::new());
        for server in self.name_servers() {
            let Ok(name) = Name::join(&server.front, &zone.name) else { continue };
            let record = Record::new(zone.name.clone(), Type::NS, self.options.ttl, Data::name(&name));
            if !names.contains(&record) {
                names.push(record);
            }
            // CoreDNS gives these no TTL.
            addresses.push(Record::new(name, type_of(server.ip), 0, Data::address(server.ip)));
        }
        names.append(&mut addresses);
        names
    }

    fn transfer_service(&self, zone: &Zone, name: &ObjectName) -> Vec<Record> {
        let mut to = Zoned { records: Vec::new(), ttl: self.options.ttl, zone: &zone.name };
        let fits = |labels: &_| self.options.labels.as_ref().is_none_or(|selector| selector.fits_labels(labels));
        let service = self.snapshot.services.get(name).filter(|service| fits(&service.labels));
        let Some(service) = service.filter(|_| self.is_exposed(&name.namespace)) else { return to.records };
        let Some(front) = front(name) else { return to.records };
        if service.kind == ServiceType::ExternalName {
            let target = service.external_name.as_deref().filter(|target| target.parse::<IpAddr>().is_err());
            if let Some(target) = target.and_then(|target| Name::parse(target).ok()) {
                to.push(&front, Type::CNAME, Data::name(&target));
            }
        } else if service.headless {
            self.snapshot.slices_of(name).for_each(|slice| self.transfer_slice(&mut to, &front, slice, false));
        } else {
            service.cluster_ips.iter().for_each(|ip| to.push(&front, type_of(*ip), Data::address(*ip)));
            let ports = service.ports.iter().map(|port| (&*port.name, port.protocol.as_str(), port.port));
            if !service.cluster_ips.is_empty() {
                to.ports(&front, ports);
            }
        }
        to.records
    }

    fn transfer_import(&self, zone: &Zone, import: &ServiceImport) -> Vec<Record> {
        let mut to = Zoned { records: Vec::new(), ttl: self.options.ttl, zone: &zone.name };
        let Some(front) = front(&import.name).filter(|_| self.is_exposed(&import.name.namespace)) else {
            return to.records;
        };
        if import.ips.is_empty() {
            self.snapshot.imported_of(&import.name).for_each(|slice| self.transfer_slice(&mut to, &front, slice, true));
        } else {
            import.ips.iter().for_each(|ip| to.push(&front, type_of(*ip), Data::address(*ip)));
            let numbered = |port: &EndpointPort| Some((port.name.clone(), port.protocol.as_str(), port.port?));
            let ports: Vec<_> = import.ports.iter().filter_map(numbered).collect();
            to.ports(&front, ports.iter().map(|(name, protocol, number)| (&**name, *protocol, *number)));
        }
        to.records
    }

    /// Address records of the Service and of each endpoint, and the SRV records of named ports.
    fn transfer_slice(&self, to: &mut Zoned<'_>, front: &[u8], slice: &EndpointSlice, is_import: bool) {
        if !self.options.takes(slice) {
            return;
        }
        let weight = weight(ready(slice).count() as u64);
        for endpoint in ready(slice) {
            let (rtype, data) = (type_of(endpoint.address), Data::address(endpoint.address));
            to.push(front, rtype, data.clone());
            let mut host = host_labels(&endpoint, slice, &self.options, is_import);
            host.extend_from_slice(front);
            to.push(&host, rtype, data);
            let Ok(target) = Name::join(&host, to.zone) else { continue };
            for port in slice.ports.iter().filter(|port| !port.name.is_empty()) {
                if let Some(number) = port.port {
                    let data = Data::srv(0, weight, number, &target);
                    to.push(&port_front(&port.name, port.protocol.as_str(), front), Type::SRV, data);
                }
            }
        }
    }
}

/// Records of one zone.
struct Zoned<'a> {
    records: Vec<Record>,
    ttl: u32,
    zone: &'a Name,
}

impl Zoned<'_> {
    fn push(&mut self, front: &[u8], rtype: Type, data: Data) {
        if let Ok(name) = Name::join(front, self.zone) {
            self.records.push(Record::new(name, rtype, self.ttl, data));
        }
    }

    /// SRV records of a Service with an address: at its own name, and at those of its named ports.
    fn ports<'p>(&mut self, front: &[u8], ports: impl Iterator<Item = (&'p str, &'p str, u16)>) {
        let Ok(target) = Name::join(front, self.zone) else { return };
        for (name, protocol, number) in ports {
            let data = Data::srv(0, 100, number, &target);
            if !name.is_empty() {
                self.push(&port_front(name, protocol, front), Type::SRV, data.clone());
            }
            self.push(front, Type::SRV, data);
        }
    }
}

/// `_PORT._PROTOCOL` in front of a Service.
fn port_front(port: &str, protocol: &str, front: &[u8]) -> Vec<u8> {
    let mut labels = Vec::new();
    for label in [port, protocol] {
        labels.push((label.len() + 1).min(63) as u8);
        labels.push(b'_');
        labels.extend(label.bytes().take(62).map(|byte| byte.to_ascii_lowercase()));
    }
    labels.extend_from_slice(front);
    labels
}
