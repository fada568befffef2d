//! `dnssec`: signs answers as they go out. What is not there is proved by NSEC records made for the question ("black
//! lies": the name is said to be there, without the type), so every denial is NOERROR.
//!
//! ```text
//! answer ─> RRsets ─> signature: cached, or made (`sign`) with each key (`key`) over the canonical form (`canonical`)
//! ```

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use self::key::Key;
use self::sign::Signer;
use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::zones::Zones;
use crate::plugin::{Building, Next, Plugin, Query};
use crate::reply::{Outcome, Reply, Serving, ready};
use crate::wire::{Message, Name, Rcode, Record, Type};

mod canonical;
mod denial;
mod key;
mod sign;
#[cfg(test)]
mod tests;

const NAME: &str = "dnssec";

/// Signatures that are kept unless `cache_capacity` says otherwise.
const CAPACITY: usize = 10_000;

struct Dnssec {
    zones: Zones,
    signer: Signer,
}

/// `dnssec [ZONES...] { key file KEY...; cache_capacity CAPACITY }`
///
/// # Errors
/// An option is wrong, or a key can't be read or used.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let [directive] = directives else {
        let again = directives.get(1).map(|again| again.error("stands twice in this block; join the two"));
        return again.map_or(Ok(None), Err);
    };
    let zones = Zones::read(directive, &directive.args, building)?;
    let mut keys = Vec::new();
    let mut capacity = CAPACITY;
    for option in directive.body() {
        match option.name.as_str() {
            "key" => match option.args_between(2, usize::MAX)? {
                [kind, files @ ..] if kind == "file" => {
                    for file in files {
                        let key = Key::read(&building.path(file)).map_err(|reason| option.error(reason))?;
                        if !zones.names().iter().any(|zone| zone.is_within(&key.owner)) {
                            let message = format!("{file} is a key of {}, which has none of the zones", key.owner);
                            return Err(option.error(message));
                        }
                        keys.push(key);
                    }
                }
                [kind, ..] if kind == "aws_secretsmanager" => {
                    let advice = "keys in a cloud's store are known, but not supported here: use `key file`";
                    return Err(option.error(advice));
                }
                _ => return Err(option.error("takes `file KEY...`")),
            },
            "cache_capacity" => capacity = option.parse(0, "a number of signatures")?,
            _ => return Err(option.unknown_option(&["key", "cache_capacity"])),
        }
    }
    if keys.is_empty() {
        tracing::warn!(place = %directive.place, "dnssec has no key: nothing is signed");
    }
    let signer = Signer::new(keys, capacity, building.services.metrics.clone());
    Ok(Some(Arc::new(Dnssec { zones, signer })))
}

/// The time, in seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

impl Plugin for Dnssec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        let Some(zone) = self.zones.of(query.name()) else { return next.run(query) };
        if query.rtype() == Type::DNSKEY && query.name() == zone {
            return ready(Ok(Some(self.keys(query, zone))));
        }
        if !query.dnssec_ok() {
            return next.run(query);
        }
        Box::pin(self.signed(query, next, zone))
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        let is_plain = fast.plain.edns().is_none_or(|(_, dnssec_ok)| !dnssec_ok) && fast.plain.rtype() != Type::DNSKEY;
        if is_plain || !self.zones.take(fast) { Step::Pass } else { Step::Slow }
    }

    fn describe(&self) -> String {
        let zones: Vec<_> = self.zones.names().iter().map(Name::to_string).collect();
        format!("{} with {} keys", zones.join(" "), self.signer.keys.len())
    }
}

impl Dnssec {
    /// The keys, signed.
    fn keys(&self, query: &Query, zone: &Name) -> Reply {
        let mut message = query.reply();
        message.flags.set_aa(true);
        message.answers = self.signer.records(query.name());
        if query.dnssec_ok() && !message.answers.is_empty() {
            let signatures = self.signer.sign(&message.answers, zone, 3600, now(), query.server.address());
            message.answers.extend(signatures);
        }
        Reply::new(message, NAME)
    }

    async fn signed(&self, query: &mut Query, next: Next<'_>, zone: &Name) -> Outcome {
        let mut reply = match next.run(&mut *query).await? {
            Some(reply) => reply,
            None => return Ok(None),
        };
        // What can't be read is no answer to the client either; the server says so.
        if let Ok(message) = reply.message() {
            let signed = message.answers.len() + message.authorities.len();
            self.sign_message(message, query, zone);
            query.note(|| {
                format!("{} signatures and proofs", message.answers.len() + message.authorities.len() - signed)
            });
        }
        Ok(Some(reply))
    }

    fn sign_message(&self, message: &mut Message, query: &Query, zone: &Name) {
        // A transfer is the zone as it is.
        if matches!(query.rtype(), Type::AXFR | Type::IXFR) {
            return;
        }
        let rcode = message.rcode();
        let has = |rtype| message.authorities.iter().any(|record: &Record| record.rtype == rtype);
        let is_negative = rcode == Rcode::NXDOMAIN || (rcode == Rcode::NOERROR && has(Type::SOA));
        let is_delegation = rcode == Rcode::NOERROR && message.answers.is_empty() && has(Type::NS) && !has(Type::SOA);
        let is_signed = has(Type::NSEC) || has(Type::NSEC3);
        if is_delegation {
            self.sign_delegation(message, query, zone, is_signed);
            return;
        }
        if is_negative && has(Type::SOA) && !is_signed {
            self.deny(message, query);
        }
        for section in [&mut message.answers, &mut message.authorities, &mut message.additionals] {
            self.sign_section(section, query);
        }
        // A client that asks for NSEC gets what proves it.
        if query.rtype() == Type::NSEC && is_negative && message.answers.is_empty() && !is_signed {
            let is_proof = |record: &Record| {
                record.rtype == Type::NSEC
                    || (record.rtype == Type::RRSIG && record.data.as_bytes().starts_with(&Type::NSEC.0.to_be_bytes()))
            };
            message.answers = message.authorities.iter().filter(|record| is_proof(record)).cloned().collect();
            message.authorities.clear();
        }
    }

    /// Adds the record that denies what was asked for at the name where its aliases end, if that is a zone's here.
    fn deny(&self, message: &mut Message, query: &Query) {
        let last = message.answers.iter().rfind(|record| record.rtype == Type::CNAME);
        let last = last.and_then(|alias| alias.data.to_name());
        let name = last.unwrap_or_else(|| query.name().clone());
        let Some(zone) = self.zones.of(&name) else { return };
        let soa = message.authorities.iter().find(|record| record.rtype == Type::SOA && record.name == *zone);
        let Some(ttl) = soa.map(|soa| soa.ttl) else { return };
        if let Some(nsec) = denial::nsec(&name, zone, query.rtype(), ttl) {
            message.authorities.push(nsec);
            message.set_rcode(Rcode::NOERROR);
        }
    }

    /// Signs the DS records of a delegation, or that there are none.
    fn sign_delegation(&self, message: &mut Message, query: &Query, zone: &Name, is_signed: bool) {
        let Some(first) = message.authorities.iter().find(|record| record.rtype == Type::NS).cloned() else { return };
        let (address, now) = (query.server.address(), now());
        let ds: Vec<Record> = message.authorities.iter().filter(|record| record.rtype == Type::DS).cloned().collect();
        if !ds.is_empty() {
            if !is_covered(&message.authorities, &ds[0]) {
                message.authorities.extend(self.signer.sign(&ds, zone, first.ttl, now, address));
            }
        } else if let Some(nsec) = denial::no_ds(&first.name, first.ttl).filter(|_| !is_signed) {
            let signatures = self.signer.sign(std::slice::from_ref(&nsec), zone, first.ttl, now, address);
            message.authorities.push(nsec);
            message.authorities.extend(signatures);
        }
    }

    /// Adds signatures of the RRsets of our zones.
    fn sign_section(&self, section: &mut Vec<Record>, query: &Query) {
        let mut sets: Vec<Vec<Record>> = Vec::new();
        for record in section.iter().filter(|record| !matches!(record.rtype, Type::RRSIG | Type::OPT)) {
            let is_of = |set: &&mut Vec<Record>| {
                set.first().is_some_and(|first| first.rtype == record.rtype && first.name == record.name)
            };
            match sets.iter_mut().find(is_of) {
                Some(set) => set.push(record.clone()),
                None => sets.push(vec![record.clone()]),
            }
        }
        for set in sets {
            let Some(first) = set.first() else { continue };
            let Some(zone) = self.zones.of(&first.name) else { continue };
            if !is_covered(section, first) {
                section.extend(self.signer.sign(&set, zone, first.ttl, now(), query.server.address()));
            }
        }
    }
}

/// Whether records bring a signature along for the RRset of this one.
fn is_covered(records: &[Record], one: &Record) -> bool {
    let covered = one.rtype.0.to_be_bytes();
    records.iter().any(|record| {
        record.rtype == Type::RRSIG && record.name == one.name && record.data.as_bytes().starts_with(&covered)
    })
}
