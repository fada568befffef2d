//! What stands at a key of etcd, in SkyDNS's layout: `/skydns/local/skydns/web` for `web.skydns.local`.

use std::fmt;
use std::net::IpAddr;

use bowline_etcd::Entry;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::wire::{Data, Name, Record, Type};

/// What of a key is nothing that DNS can tell.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct ServiceError(String);

impl From<String> for ServiceError {
    fn from(message: String) -> ServiceError {
        ServiceError(message)
    }
}

impl From<&str> for ServiceError {
    fn from(message: &str) -> ServiceError {
        ServiceError(message.to_owned())
    }
}

/// What a record has where it says nothing of it.
const PRIORITY: i64 = 10;
const TTL: u32 = 300;

/// What a key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) key: String,
    host: String,
    pub(super) text: String,
    /// Those that no record has are told, and hinder only the records that would need them.
    port: i64,
    priority: i64,
    /// 0: its share is as large as that of others.
    pub(super) weight: i64,
    /// It is a mail server, `priority` its preference.
    pub(super) is_mail: bool,
    pub(super) ttl: u32,
    /// How many labels of the key's name its target has less.
    strip: usize,
    group: String,
}

/// The fields of a JSON object in their order; `null` has none, as CoreDNS reads it.
#[derive(Default)]
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Fields, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Fields;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a JSON object")
            }

            fn visit_unit<E>(self) -> Result<Fields, E> {
                Ok(Fields::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some(field) = map.next_entry()? {
                    fields.0.push(field);
                }
                Ok(fields)
            }
        }
        from.deserialize_any(Reader)
    }
}

impl Fields {
    /// A field by its name in letters of any case: of several the last counts, and `null` says nothing.
    fn get(&self, name: &str) -> Option<&Value> {
        let named = |(known, value): &&(String, Value)| known.eq_ignore_ascii_case(name) && !value.is_null();
        self.0.iter().rev().find(named).map(|(_, value)| value)
    }
}

/// What a service's host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Address(IpAddr),
    Name(Name),
    /// It has a text and no address.
    Text,
}

impl Service {
    /// Reads a key. The smaller of its own TTL and that of its lease counts, the latter within `bounds`.
    ///
    /// # Errors
    /// The value is none of SkyDNS's.
    pub(super) fn read(entry: &Entry, bounds: (u32, u32)) -> Result<Service, ServiceError> {
        let fields: Fields =
            serde_json::from_str(&String::from_utf8_lossy(&entry.value)).map_err(|error| error.to_string())?;
        let text = |field: &str| match fields.get(field) {
            None => Ok::<_, ServiceError>(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(format!("{field} is no string: {other}").into()),
        };
        let number = |field: &str| match fields.get(field) {
            None => Ok(0),
            Some(value) => value.as_i64().ok_or_else(|| format!("{field} is no whole number: {value}")),
        };
        let is_mail = match fields.get("mail") {
            None => false,
            Some(value) => value.as_bool().ok_or_else(|| format!("mail is neither true nor false: {value}"))?,
        };
        let own = u32::try_from(number("ttl")?).map_err(|_| format!("ttl is not from 0 to {}", u32::MAX))?;
        let lease = entry.lease.map(|left| u32::try_from(left).unwrap_or(u32::MAX).max(bounds.0).min(bounds.1));
        let ttl = match (lease, own) {
            (None | Some(0), 0) => TTL,
            (None | Some(0), own) => own,
            (Some(lease), 0) => lease,
            (Some(lease), own) => lease.min(own),
        };
        let priority = number("priority")?;
        Ok(Service {
            key: entry.key.clone(),
            host: text("host")?,
            text: text("text")?,
            port: number("port")?,
            priority: if priority == 0 { PRIORITY } else { priority },
            weight: number("weight")?,
            is_mail,
            ttl,
            strip: usize::try_from(number("targetstrip")?).unwrap_or(0),
            group: text("group")?,
        })
    }

    /// Its port and priority, for SRV; None where CoreDNS too tells it by none: it has port -1.
    ///
    /// # Errors
    /// A number is one that no such record has.
    pub(super) fn place(&self) -> Result<Option<(u16, u16)>, ServiceError> {
        if self.port == -1 {
            return Ok(None);
        }
        let port = u16::try_from(self.port).map_err(|_| format!("port {} is not from 0 to 65535", self.port))?;
        if self.weight < 0 {
            return Err(format!("weight {} is below 0", self.weight).into());
        }
        Ok(Some((port, self.preference()?)))
    }

    /// Its priority, which is a mail server's preference.
    ///
    /// # Errors
    /// It is one that no record has.
    pub(super) fn preference(&self) -> Result<u16, ServiceError> {
        Ok(u16::try_from(self.priority).map_err(|_| format!("priority {} is not from 0 to 65535", self.priority))?)
    }

    /// Its part of the weights of its priority, whose sum that is.
    pub(super) fn weight_for_sum(&self) -> i64 {
        if self.weight == 0 { 100 } else { self.weight }
    }

    /// Its priority, as it stands there.
    pub(super) fn priority(&self) -> i64 {
        self.priority
    }

    /// Whether it can answer questions of this type at all.
    pub(super) fn is_for(&self, rtype: Type) -> bool {
        !self.host.is_empty() || (rtype == Type::TXT && !self.text.is_empty())
    }

    /// What its host is. One that has a text, and a host which is no address, is its text, as with CoreDNS:
    /// ExternalDNS's registry stands beside what it registers.
    ///
    /// # Errors
    /// The host is nothing that DNS can tell.
    pub(super) fn host(&self) -> Result<Host, ServiceError> {
        match self.host.parse::<IpAddr>() {
            Ok(ip) => Ok(Host::Address(ip.to_canonical())),
            Err(_) if !self.text.is_empty() => Ok(Host::Text),
            Err(_) => self.name().map(Host::Name),
        }
    }

    /// The name that is its host, for CNAME and PTR, also where it has a text; None where that is an address.
    ///
    /// # Errors
    /// It is nothing that DNS can tell.
    pub(super) fn alias(&self) -> Result<Option<Name>, ServiceError> {
        if self.host.parse::<IpAddr>().is_ok() { Ok(None) } else { self.name().map(Some) }
    }

    fn name(&self) -> Result<Name, ServiceError> {
        let wrong = |error| format!("host {:?} is neither an address nor a name: {error}", self.host);
        Ok(Name::parse(&self.host).map_err(wrong)?)
    }

    /// Where a record with a name for data leads: the host, or the name of its key where that is an address. None
    /// where it is no such record.
    ///
    /// # Errors
    /// The host is nothing that DNS can tell.
    pub(super) fn target(&self, prefix: &str) -> Result<Option<Name>, ServiceError> {
        let full = match self.host()? {
            Host::Name(name) => name,
            Host::Text => return Ok(None),
            Host::Address(_) => domain(&self.key, prefix).ok_or("the key is no name")?,
        };
        let labels = full.label_count();
        Ok(Some(if self.strip < labels { full.suffix(labels - self.strip) } else { full }))
    }

    /// A record of it.
    pub(super) fn record(&self, owner: &Name, rtype: Type, data: Data) -> Record {
        Record::new(owner.clone(), rtype, self.ttl, data)
    }

    /// Its address, owned by `owner`.
    pub(super) fn address(&self, owner: &Name, ip: IpAddr) -> Record {
        self.record(owner, if ip.is_ipv4() { Type::A } else { Type::AAAA }, Data::address(ip))
    }
}

/// Of services that belong to groups only those of the group that the shortest key tells; all, where two of the same
/// length don't agree.
pub(super) fn group(services: Vec<Service>) -> Vec<Service> {
    let depth = |service: &Service| service.key.matches('/').count();
    let Some(first) = services.first() else { return services };
    let (mut shortest, mut chosen) = (depth(first), first.group.clone());
    for service in &services {
        if depth(service) < shortest {
            if service.group.is_empty() {
                break;
            }
            (shortest, chosen) = (depth(service), service.group.clone());
        }
    }
    let disagree =
        |service: &Service| !service.group.is_empty() && depth(service) == shortest && service.group != chosen;
    if chosen.is_empty() || services.iter().any(disagree) {
        return services;
    }
    services.into_iter().filter(|service| service.group.is_empty() || service.group == chosen).collect()
}

/// The key of a name, and, where one of its labels is `*` or `any`, only the part in front of that and all parts to
/// compare keys with.
pub(super) fn path(name: &Name, prefix: &str) -> (String, Option<Vec<String>>) {
    let labels: Vec<String> = name.to_lower().labels().rev().map(label).collect();
    let join = |labels: &[String]| format!("{}/{}", prefix, labels.join("/"));
    match labels.iter().position(|label| is_any(label)) {
        Some(at) => {
            let parts = join(&labels).split('/').map(str::to_owned).collect();
            (join(&labels[..at]), Some(parts))
        }
        None => (join(&labels), None),
    }
}

fn is_any(part: &str) -> bool {
    matches!(part, "*" | "any")
}

/// Whether a key fits a name with `*` in it.
pub(super) fn fits(key: &str, parts: &[String]) -> bool {
    let mut of_key = key.split('/');
    parts.iter().all(|part| of_key.next().is_some_and(|here| is_any(part) || here == part))
}

/// A label as text, what has a meaning in names escaped.
fn label(label: &[u8]) -> String {
    let shown = Name::root().prepend(label).map(|name| name.to_string()).unwrap_or_default();
    shown.strip_suffix('.').unwrap_or_default().to_owned()
}

/// The name of a key.
pub(super) fn domain(key: &str, prefix: &str) -> Option<Name> {
    let labels = key.strip_prefix(prefix)?.split('/').filter(|part| !part.is_empty());
    Name::parse(&labels.rev().collect::<Vec<_>>().join(".")).ok()
}
