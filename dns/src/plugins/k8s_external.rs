//! `k8s_external`: names for the addresses that Services have outside of the cluster, in zones of their own. It needs
//! `kubernetes` in the same block, and follows its options.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use crate::address::Address;
use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::zones::{Fallthrough, Zones};
use crate::plugin::{Block, Building, Next, Plugin, Query, Transferable};
use crate::records::{At, Outside, Records, Target};
use crate::reply::{Outcome, QueryError, Reply, Serving, ready};
use crate::wire::{Data, Message, Name, Rcode, Record, Soa, Type};
use crate::zone::{WholeZone, WholeZoneError};

#[cfg(test)]
mod tests;

const NAME: &str = "k8s_external";

struct External {
    zones: Zones,
    fallthrough: Fallthrough,
    /// The label below which the name server is.
    apex: Name,
    ttl: u32,
    headless: bool,
    /// Set once the `kubernetes` of the block is set up.
    records: OnceLock<Arc<ArcSwap<Records>>>,
}

/// `k8s_external [ZONE...] { apex APEX; ttl TTL; headless; fallthrough [ZONE...] }`
///
/// # Errors
/// An option is wrong, or the block has no `kubernetes`.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let mut apex = "dns";
    let (mut ttl, mut headless) = (5, false);
    let (mut zones, mut fallthrough) = (Zones::default(), Fallthrough::default());
    for directive in directives {
        if !building.directives.iter().any(|name| name == "kubernetes") {
            return Err(directive.error("needs kubernetes in the same block"));
        }
        // As in CoreDNS: of several directives the last one's zones count.
        zones = Zones::read(directive, &directive.args, building)?;
        for option in directive.body() {
            match option.name.as_str() {
                "apex" => apex = option.one_arg()?,
                "ttl" => {
                    let wanted = "a number of seconds from 0 to 3600";
                    ttl = option.parse(0, wanted)?;
                    if ttl > 3600 {
                        return Err(option.error(format!("{ttl} is not {wanted}")));
                    }
                }
                "headless" => headless = true,
                "fallthrough" => fallthrough = Fallthrough::read(option)?,
                _ => return Err(option.unknown_option(&["apex", "ttl", "headless", "fallthrough"])),
            }
        }
    }
    let Some(directive) = directives.first() else { return Ok(None) };
    let apex = Name::parse(apex).map_err(|error| directive.error(format!("apex {apex}: {error}")))?;
    let external = External { zones, fallthrough, apex, ttl, headless, records: OnceLock::new() };
    Ok(Some(Arc::new(external)))
}

impl External {
    fn records(&self) -> Option<Arc<Records>> {
        self.records.get().map(|records| records.load_full()).filter(|records| records.is_synced())
    }

    /// A name below the zone's `dns`.
    fn below_apex(&self, label: &str, zone: &Name) -> Name {
        let front = self.apex.as_wire().split_last().map_or(&[][..], |(_, front)| front);
        let apex = Name::join(front, zone).and_then(|apex| apex.prepend(label.as_bytes()));
        // Zones that leave no room for it are none that anybody has.
        apex.unwrap_or_else(|_| zone.clone())
    }

    fn soa(&self, zone: &Name, records: &Records) -> Record {
        let (mname, rname) = (self.below_apex("ns1", zone), self.below_apex("hostmaster", zone));
        let (serial, minimum) = (records.external_serial(), self.ttl);
        let soa = Soa { mname, rname, serial, refresh: 7200, retry: 1800, expire: 86400, minimum };
        Record::new(zone.clone(), Type::SOA, self.ttl, Data::soa(&soa))
    }

    fn ns(&self, zone: &Name) -> Record {
        Record::new(zone.clone(), Type::NS, self.ttl, Data::name(&self.below_apex("ns1", zone)))
    }

    fn address(&self, owner: &Name, ip: IpAddr) -> Record {
        let rtype = if ip.is_ipv4() { Type::A } else { Type::AAAA };
        Record::new(owner.clone(), rtype, self.ttl, Data::address(ip))
    }

    /// The addresses of this server, owned by `owner`.
    fn servers(&self, owner: &Name, records: &Records) -> Vec<Record> {
        records.external_servers(self.headless).into_iter().map(|ip| self.address(owner, ip)).collect()
    }

    /// Answers a name of the zone itself or below its `dns`; None for others.
    fn at_apex(&self, query: &Query, zone: &Name, records: &Records) -> Option<Message> {
        let mut message = query.reply();
        let name = query.name();
        let server = self.below_apex("ns1", zone);
        let below = server.parent()?;
        if name == zone {
            match query.rtype() {
                Type::SOA => message.answers.push(self.soa(zone, records)),
                Type::NS => {
                    message.answers.push(self.ns(zone));
                    message.additionals = self.servers(&server, records);
                }
                _ => {}
            }
        } else if *name == server {
            message.answers = self.servers(name, records);
            message.answers.retain(|record| record.rtype == query.rtype());
        } else if name.is_within(&below) {
            if *name != below {
                message.set_rcode(Rcode::NXDOMAIN);
            }
        } else {
            return None;
        }
        Some(message)
    }

    /// The answer that targets make.
    fn answer(&self, query: &Query, zone: &Name, records: &Records, targets: &[Target]) -> Message {
        let mut message = query.reply();
        match query.rtype() {
            Type::A | Type::AAAA => message.answers = self.addresses(query.name(), query.rtype(), records, targets),
            Type::SRV => {
                (message.answers, message.additionals) = self.services(query.name(), zone, records, targets);
            }
            _ => {}
        }
        message
    }

    /// The addresses of one family, and aliases to the names. Each once, however many ports there are.
    fn addresses(&self, owner: &Name, rtype: Type, records: &Records, targets: &[Target]) -> Vec<Record> {
        let mut answers: Vec<Record> = Vec::new();
        for target in targets {
            let record = match &target.at {
                At::Ip(ip) => self.address(owner, *ip),
                At::Name(name) => Record::new(owner.clone(), Type::CNAME, records.options().ttl, Data::name(name)),
            };
            if [rtype, Type::CNAME].contains(&record.rtype) && !answers.contains(&record) {
                answers.push(record);
            }
        }
        answers
    }

    fn services(&self, owner: &Name, zone: &Name, records: &Records, targets: &[Target]) -> (Vec<Record>, Vec<Record>) {
        // A share of 100 each, and 1 at least.
        let weight = (100 / targets.len().max(1)).max(1) as u16;
        let (mut answers, mut additionals) = (Vec::new(), Vec::new());
        for target in targets {
            let name = match &target.at {
                At::Ip(_) => Name::join(&target.front, zone).ok(),
                At::Name(name) => Some(name.clone()),
            };
            let (Some(port), Some(name)) = (target.port, name) else { continue };
            let data = Data::srv(0, weight, port, &name);
            let record = Record::new(owner.clone(), Type::SRV, records.options().ttl, data);
            if !answers.contains(&record) {
                answers.push(record);
            }
            if let At::Ip(ip) = target.at {
                let address = self.address(&name, ip);
                if !additionals.contains(&address) {
                    additionals.push(address);
                }
            }
        }
        (answers, additionals)
    }

    /// Adds what the names among the targets lead to, as the whole server answers it.
    async fn follow(query: &mut Query, mut message: Message, targets: &[Target]) -> Outcome {
        let mut names: Vec<&Name> = Vec::new();
        for target in targets {
            match &target.at {
                At::Name(name) if !names.contains(&name) => names.push(name),
                _ => {}
            }
        }
        match query.rtype() {
            rtype @ (Type::A | Type::AAAA) => {
                for name in names {
                    let (found, is_truncated) = outside(query, name, rtype).await;
                    let alias = Data::name(name);
                    let is_alias = |record: &Record| record.rtype == Type::CNAME && record.data == alias;
                    let after = message.answers.iter().position(is_alias).map_or(message.answers.len(), |at| at + 1);
                    message.answers.splice(after..after, found);
                    message.flags.set_tc(message.flags.tc() || is_truncated);
                }
            }
            Type::SRV => {
                for name in names {
                    for rtype in [Type::A, Type::AAAA] {
                        message.additionals.extend(outside(query, name, rtype).await.0);
                    }
                }
            }
            _ => {}
        }
        Ok(Some(Reply::new(message, NAME).watched()))
    }

    /// The names of an address, in the first zone.
    fn pointers(&self, query: &Query, ip: IpAddr, records: &Records) -> Vec<Record> {
        let Some(zone) = self.zones.names().first() else { return Vec::new() };
        let names = records.external_names(ip).into_iter().filter_map(|front| Name::join(&front, zone).ok());
        names.map(|name| Record::new(query.name().clone(), Type::PTR, self.ttl, Data::name(&name))).collect()
    }
}

/// What the whole server answers for a name, and whether that was cut; nothing where it fails.
async fn outside(query: &mut Query, name: &Name, rtype: Type) -> (Vec<Record>, bool) {
    let Ok(Some(mut reply)) = query.ask(name.clone(), rtype).await else { return (Vec::new(), false) };
    let Ok(message) = reply.message() else { return (Vec::new(), false) };
    (std::mem::take(&mut message.answers), message.flags.tc())
}

impl Plugin for External {
    fn name(&self) -> &'static str {
        NAME
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        let lower = query.name().to_lower();
        let Some(zone) = self.zones.of(&lower) else { return next.run(query) };
        let Some(records) = self.records() else {
            let feed = query.server.services().feed.clone();
            if self.records.get().is_some() && feed.is_awaited() && !query.is_dry() {
                return Box::pin(async move {
                    feed.wait().await;
                    // It is read, or the time is over.
                    self.serve(query, next).await
                });
            }
            return ready(Err(QueryError::servfail(NAME, "the cluster's state has not been read whole yet")));
        };
        let mut targets = Vec::new();
        let mut message = match self.at_apex(query, zone, &records) {
            Some(message) => message,
            None => match lower.to_ip().filter(|_| query.rtype() == Type::PTR) {
                Some(ip) => {
                    let answers = self.pointers(query, ip, &records);
                    let mut message = query.reply();
                    message.set_rcode(if answers.is_empty() { Rcode::NXDOMAIN } else { Rcode::NOERROR });
                    message.answers = answers;
                    message
                }
                None => match records.external(lower.before(zone).unwrap_or_default(), self.headless) {
                    Outside::Targets(found) => {
                        targets = found;
                        self.answer(query, zone, &records, &targets)
                    }
                    Outside::NoData => query.reply(),
                    Outside::NoName | Outside::NotReady => {
                        let mut message = query.reply();
                        message.set_rcode(Rcode::NXDOMAIN);
                        message
                    }
                },
            },
        };
        let is_at_apex = lower == *zone || lower.is_within(&self.below_apex("ns1", zone).parent().unwrap_or_default());
        if message.rcode() == Rcode::NXDOMAIN && !is_at_apex && self.fallthrough.lets(&lower) {
            query.note(|| "falls through".into());
            return next.run(query);
        }
        message.flags.set_aa(true);
        if message.answers.is_empty() {
            message.authorities.push(self.soa(zone, &records));
        }
        if targets.iter().any(|target| matches!(target.at, At::Name(_))) {
            return Box::pin(async move { External::follow(query, message, &targets).await });
        }
        ready(Ok(Some(Reply::new(message, NAME).watched())))
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        if self.zones.take(fast) { Step::Slow } else { Step::Pass }
    }

    fn serves(&self, block: &Block, _: &[(Address, Name)]) {
        if let Some(cluster) = block.plugins.iter().find_map(|plugin| plugin.cluster()) {
            // Told once; a second time it would be the same.
            let _ = self.records.set(cluster.clone());
        }
    }

    fn transferable(&self) -> Option<&dyn Transferable> {
        Some(self)
    }

    fn describe(&self) -> String {
        let zones: Vec<_> = self.zones.names().iter().map(Name::to_string).collect();
        format!("{}; ttl {}{}", zones.join(" "), self.ttl, if self.headless { ", headless" } else { "" })
    }
}

impl Transferable for External {
    fn zone(&self, name: &Name) -> Option<Result<WholeZone, WholeZoneError>> {
        let zone = self.zones.names().iter().find(|zone| *zone == name)?;
        let Some(records) = self.records() else {
            return Some(Err(WholeZoneError::Cluster));
        };
        let server = self.below_apex("ns1", zone);
        let mut all = vec![self.ns(zone)];
        all.extend(self.servers(&server, &records));
        for (front, targets) in records.external_services(self.headless) {
            let Ok(owner) = Name::join(&front, zone) else { continue };
            let mut addresses = self.addresses(&owner, Type::A, &records, &targets);
            let six = self.addresses(&owner, Type::AAAA, &records, &targets);
            // Both families have the aliases.
            addresses.extend(six.into_iter().filter(|record| record.rtype == Type::AAAA));
            all.extend(addresses);
            let (services, hosts) = self.services(&owner, zone, &records, &targets);
            all.extend(services);
            all.extend(hosts.into_iter().filter(|host| host.name != owner));
            for target in targets.iter().filter(|target| !target.service.is_empty()) {
                let owner = Name::join(&target.service, &owner);
                let same: Vec<_> = targets.iter().filter(|other| other.service == target.service).cloned().collect();
                let is_first = same.first() == Some(target);
                if let (Ok(owner), true) = (owner, is_first) {
                    all.extend(self.services(&owner, zone, &records, &same).0);
                }
            }
        }
        Some(Ok(WholeZone { soa: self.soa(zone, &records), records: Box::new(all.into_iter()) }))
    }
}
