//! Answers from what etcd has, by type. Names that services lead to are looked up as well: below the zone in etcd,
//! others by a question to the whole server.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;

use super::Etcd;
use super::service::{self, Host, Service};
use crate::query::Query;
use crate::wire::{Data, Name, Record, Type};

/// Aliases that are followed.
const CHAIN: usize = 10;

/// Why there are no records.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// There is no such key.
    Nothing,
    /// etcd can't tell, or tells what nobody understands.
    Failed(String),
}

/// Answers and additionals.
type Found = Result<(Vec<Record>, Vec<Record>), Missing>;

impl Etcd {
    /// The services at a name: all below it, or (`exact`) its own.
    async fn services(&self, name: &Name, rtype: Type, exact: bool) -> Result<Vec<Service>, Missing> {
        let (path, parts) = service::path(name, &self.prefix);
        let failed = |error: bowline_cluster::etcd::Error| Missing::Failed(error.to_string());
        let mut entries = Vec::new();
        if !exact {
            entries = self.reader.list(&format!("{}/", path.trim_end_matches('/'))).await.map_err(failed)?;
        }
        if entries.is_empty() {
            entries = self.reader.get(path.trim_end_matches('/')).await.map_err(failed)?;
        }
        if entries.is_empty() {
            return Err(Missing::Nothing);
        }
        let mut services = Vec::new();
        for entry in entries.iter().filter(|entry| parts.as_ref().is_none_or(|parts| service::fits(&entry.key, parts)))
        {
            let service = Service::read(entry, self.leases).map_err(Missing::Failed)?;
            if service.is_for(rtype) {
                services.push(service);
            }
        }
        Ok(service::group(services))
    }

    /// A, AAAA and TXT. `before`: the aliases that led here.
    pub(super) fn direct<'a>(
        &'a self,
        query: &'a mut Query,
        name: &'a Name,
        rtype: Type,
        zone: &'a Name,
        before: Vec<Record>,
    ) -> Pin<Box<dyn Future<Output = Found> + 'a>> {
        Box::pin(async move {
            let mut records: Vec<Record> = Vec::new();
            for service in self.at(name, rtype, zone).await? {
                let record = match service.host() {
                    Some(Host::Address(ip)) if rtype != Type::TXT => service.address(name, ip),
                    Some(Host::Text) if rtype == Type::TXT => {
                        service.record(name, Type::TXT, Data::txt(&[service.text.as_bytes()]))
                    }
                    Some(Host::Name(target)) => {
                        // What lies below the name itself would come back here.
                        let is_loop = target.is_within(name) || before.iter().any(|alias| alias.name == target);
                        if is_loop || before.len() > CHAIN {
                            continue;
                        }
                        let alias = service.record(name, Type::CNAME, Data::name(&target));
                        let found = if target.is_within(zone) {
                            let before = before.iter().cloned().chain([alias.clone()]).collect();
                            let found = self.direct(query, &target, rtype, zone, before).await;
                            found.map(|(records, _)| records).ok().filter(|records| !records.is_empty())
                        } else {
                            asked(query, &target, rtype).await
                        };
                        if let Some(found) = found {
                            records.push(alias);
                            records.extend(found);
                        }
                        continue;
                    }
                    _ => continue,
                };
                let is_known = records.iter().any(|known| known.name == record.name && known.data == record.data);
                if record.rtype == rtype && !is_known {
                    records.push(record);
                }
            }
            Ok((records, Vec::new()))
        })
    }

    /// The services at a name; those of the zone's own name may stand at `apex.dns` below it.
    async fn at(&self, name: &Name, rtype: Type, zone: &Name) -> Result<Vec<Service>, Missing> {
        if name == zone
            && let Ok(apex) = zone.prepend(b"dns").and_then(|dns| dns.prepend(b"apex"))
            && let Ok(services) = self.services(&apex, rtype, false).await
        {
            return Ok(services);
        }
        self.services(name, rtype, false).await
    }

    /// CNAME: what the key itself says.
    pub(super) async fn alias(&self, name: &Name) -> Found {
        let services = self.services(name, Type::CNAME, true).await?;
        let first = services.first().and_then(|service| match service.host()? {
            Host::Name(target) => Some(service.record(name, Type::CNAME, Data::name(&target))),
            _ => None,
        });
        Ok((first.into_iter().collect(), Vec::new()))
    }

    /// PTR: the same, and every key's once.
    pub(super) async fn pointers(&self, name: &Name) -> Found {
        let mut records: Vec<Record> = Vec::new();
        for service in self.services(name, Type::PTR, true).await? {
            if let Some(Host::Name(target)) = service.host() {
                let record = service.record(name, Type::PTR, Data::name(&target));
                if !records.iter().any(|known| known.data == record.data) {
                    records.push(record);
                }
            }
        }
        Ok((records, Vec::new()))
    }

    /// SRV.
    pub(super) async fn servers(&self, query: &mut Query, name: &Name, zone: &Name) -> Found {
        let services = self.services(name, Type::SRV, false).await?;
        let mut sums: HashMap<u16, f64> = HashMap::new();
        for service in &services {
            let weight = if service.weight == 0 { 100 } else { service.weight };
            *sums.entry(service.priority).or_default() += f64::from(weight);
        }
        let mut all = Targets::default();
        for service in &services {
            let Some(target) = service.target(&self.prefix) else { continue };
            let weight = if service.weight == 0 { 100 } else { service.weight };
            let sum = sums.get(&service.priority).copied().unwrap_or(100.0);
            let share = (100.0 / sum * f64::from(weight)).floor().max(1.0) as u16;
            let data = Data::srv(service.priority, share, service.port, &target);
            all.push(service.record(name, Type::SRV, data));
            self.glue(query, service, &target, zone, &mut all).await;
        }
        Ok((all.records, all.additionals))
    }

    /// MX.
    pub(super) async fn mail(&self, query: &mut Query, name: &Name, zone: &Name) -> Found {
        let mut all = Targets::default();
        for service in self.services(name, Type::MX, false).await?.iter().filter(|service| service.is_mail) {
            let Some(target) = service.target(&self.prefix) else { continue };
            all.push(service.record(name, Type::MX, Data::mx(service.priority, &target)));
            self.glue(query, service, &target, zone, &mut all).await;
        }
        Ok((all.records, all.additionals))
    }

    /// NS: they stand at `ns.dns` below the zone.
    pub(super) async fn name_servers(&self, name: &Name, zone: &Name) -> Found {
        let Ok(at) = zone.prepend(b"dns").and_then(|dns| dns.prepend(b"ns")) else { return Err(Missing::Nothing) };
        let mut all = Targets::default();
        for service in self.services(&at, Type::NS, false).await? {
            let (Some(Host::Address(ip)), Some(target)) = (service.host(), service.target(&self.prefix)) else {
                return Err(Missing::Failed(format!("{}: a name server's host must be an address", service.key)));
            };
            all.push(service.record(name, Type::NS, Data::name(&target)));
            all.add(service.address(&target, ip));
        }
        Ok((all.records, all.additionals))
    }

    /// The addresses of a target.
    async fn glue(&self, query: &mut Query, service: &Service, target: &Name, zone: &Name, all: &mut Targets) {
        if let Some(Host::Address(ip)) = service.host() {
            all.add(service.address(target, ip));
            return;
        }
        if all.asked.contains(target) {
            return;
        }
        all.asked.push(target.clone());
        for rtype in [Type::A, Type::AAAA] {
            let found = if target.is_within(zone) {
                self.direct(query, target, rtype, zone, Vec::new()).await.ok().map(|(records, _)| records)
            } else {
                asked(query, target, rtype).await
            };
            found.into_iter().flatten().for_each(|record| all.add(record));
        }
    }
}

/// Records with names, and the addresses of these; none twice.
#[derive(Default)]
struct Targets {
    records: Vec<Record>,
    additionals: Vec<Record>,
    asked: Vec<Name>,
}

impl Targets {
    fn push(&mut self, record: Record) {
        if !self.records.iter().any(|known| known.data == record.data) {
            self.records.push(record);
        }
    }

    fn add(&mut self, record: Record) {
        if !self.additionals.contains(&record) {
            self.additionals.push(record);
        }
    }
}

/// What the whole server answers; None where it can't.
async fn asked(query: &mut Query, name: &Name, rtype: Type) -> Option<Vec<Record>> {
    let mut reply = query.ask(name.clone(), rtype).await.ok()??;
    Some(std::mem::take(&mut reply.message().ok()?.answers))
}
