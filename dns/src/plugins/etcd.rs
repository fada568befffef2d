//! `etcd`: names from an etcd, in the layout of SkyDNS. A name answers with all keys below its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bowline_etcd::{Access, Reader};

use self::lookup::LookupError;
use crate::corefile::{CorefileError, Directive, duration};
use crate::fast::{Fast, Step};
use crate::plugin::zones::{Fallthrough, Zones};
use crate::plugin::{Building, Next, Plugin, Query};
use crate::reply::{Outcome, QueryError, Reply, Serving};
use crate::wire::{Data, Name, Rcode, Record, Soa, Type};

mod lookup;
mod service;
#[cfg(test)]
mod tests;

const NAME: &str = "etcd";

/// The TTL of negative answers, in seconds.
const NEGATIVE: u32 = 30;

/// Between which the TTL that a lease gives lies, in seconds, unless the Corefile says otherwise.
const MIN_LEASE: u32 = 30;
const MAX_LEASE: u32 = 86_400;

struct Etcd {
    zones: Zones,
    fallthrough: Fallthrough,
    /// `/skydns`: in front of all keys, without a slash at the end.
    prefix: String,
    /// Between which the TTL that a lease gives must lie.
    leases: (u32, u32),
    reader: Reader,
    endpoints: String,
    /// What was told to be wrong, by key.
    told: Mutex<HashMap<String, String>>,
}

/// `etcd [ZONES...] { path; endpoint; credentials; tls; min-lease-ttl; max-lease-ttl; fallthrough }`
///
/// # Errors
/// An option is wrong.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let [directive] = directives else {
        let again = directives.get(1).map(|again| again.error("stands twice in this block; join the two"));
        return again.map_or(Ok(None), Err);
    };
    let zones = Zones::read(directive, &directive.args, building)?;
    let mut access = Access { endpoints: vec!["http://localhost:2379".into()], ..Access::default() };
    let mut fallthrough = Fallthrough::default();
    let mut prefix = String::from("/skydns");
    let mut leases = (MIN_LEASE, MAX_LEASE);
    for option in directive.body() {
        match option.name.as_str() {
            "path" => prefix = format!("/{}", option.one_arg()?.trim_matches('/')),
            "endpoint" => {
                let urls = option.args_between(1, usize::MAX)?;
                access.endpoints = urls.iter().map(|url| endpoint(option, url)).collect::<Result<_, _>>()?;
            }
            "credentials" => match option.args_between(2, 2)? {
                [name, password] => access.user = Some((name.clone(), password.clone())),
                _ => return Err(option.error("takes USERNAME PASSWORD")),
            },
            "tls" => {
                let files: Vec<_> = option.args_between(0, 3)?.iter().map(|file| building.path(file)).collect();
                (access.identity, access.cacert) = match files.as_slice() {
                    [ca] => (None, Some(ca.clone())),
                    [cert, key] => (Some((cert.clone(), key.clone())), None),
                    [cert, key, ca] => (Some((cert.clone(), key.clone())), Some(ca.clone())),
                    _ => (None, None),
                };
                // What is wrong with the files is told at their line. They are read again for each connection.
                access.files().load().map_err(|reason| option.error(reason))?;
                for doubt in access.files().doubts() {
                    tracing::warn!("{}: plugin/etcd: {doubt}", option.place);
                }
            }
            "min-lease-ttl" => leases.0 = seconds(option)?,
            "max-lease-ttl" => leases.1 = seconds(option)?,
            "fallthrough" => fallthrough = Fallthrough::read(option)?,
            // What CoreDNS once had, and still takes.
            "stubzones" | "debug" | "upstream" => {}
            _ => {
                let known = ["path", "endpoint", "credentials", "tls", "min-lease-ttl", "max-lease-ttl", "fallthrough"];
                return Err(option.unknown_option(&known));
            }
        }
    }
    // As with CoreDNS, 0 is what it is without the option.
    leases.0 = if leases.0 == 0 { MIN_LEASE } else { leases.0 };
    leases.1 = if leases.1 == 0 { MAX_LEASE } else { leases.1 };
    let endpoints = access.endpoints.join(", ");
    let (reader, told) = (Reader::new(access), Mutex::default());
    Ok(Some(Arc::new(Etcd { zones, fallthrough, prefix, leases, reader, endpoints, told })))
}

/// An endpoint, with the scheme that CoreDNS lets people leave out.
fn endpoint(option: &Directive, url: &str) -> Result<String, CorefileError> {
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let is_web = url.starts_with("http://") || url.starts_with("https://");
    is_web
        .then_some(url.clone())
        .ok_or_else(|| option.error(format!("{url} is no endpoint; write http://HOST:PORT or https://HOST:PORT")))
}

/// A span of time; a bare number is seconds.
fn seconds(option: &Directive) -> Result<u32, CorefileError> {
    let text = option.one_arg()?;
    let read = text.parse().ok().or_else(|| u32::try_from(duration::parse(text)?.as_secs()).ok());
    read.ok_or_else(|| option.error(format!("{text:?} is no time; write it as 30, 30s, 5m or 2h30m")))
}

impl Plugin for Etcd {
    fn name(&self) -> &'static str {
        NAME
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        match self.zones.of(query.name()) {
            Some(zone) => Box::pin(self.answer(query, next, zone)),
            None => next.run(query),
        }
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        if self.zones.take(fast) { Step::Slow } else { Step::Pass }
    }

    fn describe(&self) -> String {
        let zones: Vec<_> = self.zones.names().iter().map(Name::to_string).collect();
        format!("{} at {} below {}", zones.join(" "), self.endpoints, self.prefix)
    }
}

impl Etcd {
    async fn answer(&self, query: &mut Query, next: Next<'_>, zone: &Name) -> Outcome {
        let name = query.name().clone();
        let found = match query.rtype() {
            rtype @ (Type::A | Type::AAAA | Type::TXT) => self.direct(query, &name, rtype, zone, Vec::new()).await,
            Type::CNAME => self.alias(&name).await,
            Type::PTR => self.pointers(&name).await,
            Type::MX => self.mail(query, &name, zone).await,
            Type::SRV => self.servers(query, &name, zone).await,
            Type::SOA => Ok((vec![self.soa(zone)], Vec::new())),
            Type::NS if name == *zone => self.name_servers(&name, zone).await,
            // Whether the name is there.
            _ => self.direct(query, &name, Type::A, zone, Vec::new()).await.map(|_| Default::default()),
        };
        let mut message = query.reply();
        message.flags.set_aa(true);
        match found {
            Ok((answers, additionals)) => (message.answers, message.additionals) = (answers, additionals),
            Err(LookupError::Failed(reason)) => return Err(QueryError::servfail(NAME, reason)),
            Err(LookupError::Nothing) if self.fallthrough.lets(&name) => {
                query.note(|| "no such key: falls through".into());
                return next.run(query).await;
            }
            Err(LookupError::Nothing) => message.set_rcode(Rcode::NXDOMAIN),
        }
        if message.answers.is_empty() {
            message.authorities.push(self.soa(zone));
        }
        Ok(Some(Reply::new(message, NAME)))
    }

    fn soa(&self, zone: &Name) -> Record {
        let below = |labels: &[&str]| {
            let mut name = zone.clone();
            for label in labels {
                name = name.prepend(label.as_bytes()).unwrap_or(name);
            }
            name
        };
        let serial = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as u32);
        let (mname, rname) = (below(&["dns", "ns"]), below(&["hostmaster"]));
        let soa = Soa { mname, rname, serial, refresh: 7200, retry: 1800, expire: 86400, minimum: NEGATIVE };
        Record::new(zone.clone(), Type::SOA, NEGATIVE, Data::soa(&soa))
    }
}
