//! Answers from what etcd has, by type. Names that services lead to are looked up as well: below the zone in etcd,
//! others by a question to the whole server.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;

use super::Etcd;
use super::service::{self, Host, Service, ServiceError};
use crate::plugin::Query;
use crate::wire::{Data, Name, Record, Type};

/// Aliases that are followed.
const CHAIN: usize = 10;

/// Of so many keys it is remembered what was told of them.
pub(super) const MAX_TOLD: usize = 1000;

/// Why there are no records.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LookupError {
    /// There is no such key.
    Nothing,
    /// etcd can't tell, or tells what nobody understands.
    Failed(String),
}

/// Answers and additionals.
type Found = Result<(Vec<Record>, Vec<Record>), LookupError>;

impl Etcd {
    /// The services at a name: all below it, or (`exact`) its own.
    async fn services(&self, name: &Name, rtype: Type, exact: bool) -> Result<Vec<Service>, LookupError> {
        let (path, parts) = service::path(name, &self.prefix);
        let failed = |error: bowline_etcd::EtcdError| LookupError::Failed(error.to_string());
        let mut entries = Vec::new();
        if !exact {
            entries = self.reader.list(&format!("{}/", path.trim_end_matches('/'))).await.map_err(failed)?;
        }
        if entries.is_empty() {
            entries = self.reader.get(path.trim_end_matches('/')).await.map_err(failed)?;
        }
        if entries.is_empty() {
            return Err(LookupError::Nothing);
        }
        let (mut services, mut is_any_read, mut wrong) = (Vec::new(), false, None);
        for entry in entries.iter().filter(|entry| parts.as_ref().is_none_or(|parts| service::fits(&entry.key, parts)))
        {
            match Service::read(entry, self.leases) {
                Ok(service) => {
                    is_any_read = true;
                    if service.is_for(rtype) {
                        services.push(service);
                    }
                }
                Err(reason) => {
                    self.tell(&entry.key, &reason.to_string());
                    wrong.get_or_insert(format!("{}: {reason}", entry.key));
                }
            }
        }
        // One that can't be read spoils no other; where there is no other, nobody knows what was meant.
        match wrong {
            Some(reason) if !is_any_read => Err(LookupError::Failed(reason)),
            _ => Ok(service::group(services)),
        }
    }

    /// What a key says; None, and told, where that is nothing that DNS can tell.
    fn told<T>(&self, service: &Service, says: Result<T, ServiceError>) -> Option<T> {
        says.map_err(|error| self.tell(&service.key, &error.to_string())).ok()
    }

    /// Tells, once, what is wrong with a key.
    fn tell(&self, key: &str, reason: &str) {
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if told.get(key).is_some_and(|known| known == reason) {
            return;
        }
        if told.len() >= MAX_TOLD {
            told.clear();
        }
        told.insert(key.to_owned(), reason.to_owned());
        tracing::warn!(plugin = "etcd", key, "left out: {reason}; put a value of SkyDNS's there");
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
            let mut known = HashSet::new();
            for service in self.at(name, rtype, zone).await? {
                let record = match self.told(&service, service.host()) {
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
                            // The alias is right whatever is known of its end; the client may find it elsewhere.
                            Some(asked(query, &target, rtype).await)
                        };
                        if let Some(found) = found {
                            records.push(alias);
                            records.extend(found);
                        }
                        continue;
                    }
                    _ => continue,
                };
                if record.rtype == rtype && known.insert(record.data.as_bytes().to_vec()) {
                    records.push(record);
                }
            }
            Ok((records, Vec::new()))
        })
    }

    /// The services at a name; those of the zone's own name may stand at `apex.dns` below it.
    async fn at(&self, name: &Name, rtype: Type, zone: &Name) -> Result<Vec<Service>, LookupError> {
        if name == zone
            && rtype != Type::TXT
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
        let first = services.first().and_then(|service| {
            let target = self.told(service, service.alias())??;
            Some(service.record(name, Type::CNAME, Data::name(&target)))
        });
        Ok((first.into_iter().collect(), Vec::new()))
    }

    /// PTR: the same, and every key's once.
    pub(super) async fn pointers(&self, name: &Name) -> Found {
        let mut records: Vec<Record> = Vec::new();
        for service in self.services(name, Type::PTR, true).await? {
            if let Some(target) = self.told(&service, service.alias()).flatten() {
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
        // What can't be told takes no part of the weights.
        let read = |service| {
            let target = self.told(service, service.target(&self.prefix))?;
            Some((service, target, self.told(service, service.place())?))
        };
        let services: Vec<_> = services.iter().filter_map(read).collect();
        let mut sums: HashMap<i64, f64> = HashMap::new();
        for (service, ..) in &services {
            *sums.entry(service.priority()).or_default() += service.weight_for_sum() as f64;
        }
        let mut all = Targets::default();
        for (service, target, place) in services {
            let (Some(target), Some((port, priority))) = (target, place) else { continue };
            let sum = sums.get(&service.priority()).copied().unwrap_or(100.0);
            let share = (100.0 / sum * service.weight_for_sum() as f64).floor().max(1.0) as u16;
            let record = service.record(name, Type::SRV, Data::srv(priority, share, port, &target));
            if matches!(service.host(), Ok(Host::Address(_))) {
                all.push_once(record, (target.clone(), port));
            } else {
                all.push(record);
            }
            self.glue(query, service, &target, zone, &mut all).await;
        }
        Ok((all.records, all.additionals))
    }

    /// MX.
    pub(super) async fn mail(&self, query: &mut Query, name: &Name, zone: &Name) -> Found {
        let mut all = Targets::default();
        for service in self.services(name, Type::MX, false).await?.iter().filter(|service| service.is_mail) {
            let Some(target) = self.told(service, service.target(&self.prefix)).flatten() else { continue };
            let Some(preference) = self.told(service, service.preference()) else { continue };
            all.push(service.record(name, Type::MX, Data::mx(preference, &target)));
            self.glue(query, service, &target, zone, &mut all).await;
        }
        Ok((all.records, all.additionals))
    }

    /// NS: they stand at `ns.dns` below the zone.
    pub(super) async fn name_servers(&self, name: &Name, zone: &Name) -> Found {
        let Ok(at) = zone.prepend(b"dns").and_then(|dns| dns.prepend(b"ns")) else { return Err(LookupError::Nothing) };
        let mut all = Targets::default();
        for service in self.services(&at, Type::NS, false).await? {
            let ip = match self.told(&service, service.host()) {
                Some(Host::Address(ip)) => ip,
                Some(Host::Name(_)) => {
                    return Err(LookupError::Failed(format!(
                        "{}: a name server's host must be an address",
                        service.key
                    )));
                }
                Some(Host::Text) | None => continue,
            };
            let Some(target) = self.told(&service, service.target(&self.prefix)).flatten() else { continue };
            all.push(service.record(name, Type::NS, Data::name(&target)));
            all.add(service.address(&target, ip));
        }
        Ok((all.records, all.additionals))
    }

    /// The addresses of a target.
    async fn glue(&self, query: &mut Query, service: &Service, target: &Name, zone: &Name, all: &mut Targets) {
        if let Ok(Host::Address(ip)) = service.host() {
            all.add(service.address(target, ip));
            return;
        }
        if all.asked.contains(target) {
            return;
        }
        all.asked.push(target.clone());
        for rtype in [Type::A, Type::AAAA] {
            let found = if target.is_within(zone) {
                self.direct(query, target, rtype, zone, Vec::new())
                    .await
                    .map(|(records, _)| records)
                    .unwrap_or_default()
            } else {
                asked(query, target, rtype).await
            };
            found.into_iter().for_each(|record| all.add(record));
        }
    }
}

/// Records with names, and the addresses of these; none twice.
#[derive(Default)]
struct Targets {
    records: Vec<Record>,
    additionals: Vec<Record>,
    asked: Vec<Name>,
    /// Targets that are keys' own names, with the port.
    known: Vec<(Name, u16)>,
}

impl Targets {
    fn push(&mut self, record: Record) {
        if !self.records.iter().any(|known| known.data == record.data) {
            self.records.push(record);
        }
    }

    /// The same for a record whose target is a key's own name: one a port.
    fn push_once(&mut self, record: Record, at: (Name, u16)) {
        if !self.known.contains(&at) {
            self.known.push(at);
            self.push(record);
        }
    }

    fn add(&mut self, record: Record) {
        if !self.additionals.contains(&record) {
            self.additionals.push(record);
        }
    }
}

/// What the whole server answers; nothing where it can't.
async fn asked(query: &mut Query, name: &Name, rtype: Type) -> Vec<Record> {
    match query.ask(name.clone(), rtype).await {
        Ok(Some(mut reply)) => reply.message().map(|message| std::mem::take(&mut message.answers)).unwrap_or_default(),
        Ok(None) | Err(_) => Vec::new(),
    }
}
