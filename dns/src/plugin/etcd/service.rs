//! What stands at a key of etcd, in SkyDNS's layout: `/skydns/local/skydns/web` for `web.skydns.local`.

use std::net::IpAddr;

use bowline_cluster::etcd::Entry;
use serde_json::Value;

use crate::wire::{Data, Name, Record, Type};

/// What a record has where it says nothing of it.
const PRIORITY: u16 = 10;
const TTL: u32 = 300;

/// What a key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) key: String,
    host: String,
    pub(super) text: String,
    pub(super) port: u16,
    pub(super) priority: u16,
    /// 0: its share is as large as that of others.
    pub(super) weight: u16,
    /// It is a mail server, `priority` its preference.
    pub(super) is_mail: bool,
    pub(super) ttl: u32,
    /// How many labels of the key's name its target has less.
    strip: usize,
    group: String,
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
    pub(super) fn read(entry: &Entry, bounds: (u32, u32)) -> Result<Service, String> {
        let wrong = |reason: String| format!("{}: {reason}", entry.key);
        let value: Value = serde_json::from_slice(&entry.value).map_err(|error| wrong(error.to_string()))?;
        if !value.is_object() {
            return Err(wrong("the value is no JSON object".into()));
        }
        let text = |field: &str| match value.get(field) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(wrong(format!("{field} is no string"))),
        };
        let number = |field: &str, most: u64| match value.get(field) {
            None | Some(Value::Null) => Ok(0),
            Some(value) => value
                .as_u64()
                .filter(|number| *number <= most)
                .ok_or_else(|| wrong(format!("{field} is no number from 0 to {most}"))),
        };
        let own = number("ttl", u64::from(u32::MAX))? as u32;
        let lease = entry.lease.map(|left| u32::try_from(left).unwrap_or(u32::MAX).max(bounds.0).min(bounds.1));
        let ttl = match (lease, own) {
            (None | Some(0), 0) => TTL,
            (None | Some(0), own) => own,
            (Some(lease), 0) => lease,
            (Some(lease), own) => lease.min(own),
        };
        let priority = number("priority", 65535)? as u16;
        Ok(Service {
            key: entry.key.clone(),
            host: text("host")?,
            text: text("text")?,
            port: number("port", 65535)? as u16,
            priority: if priority == 0 { PRIORITY } else { priority },
            weight: number("weight", 65535)? as u16,
            is_mail: value.get("mail").and_then(Value::as_bool).unwrap_or(false),
            ttl,
            strip: number("targetstrip", 127)? as usize,
            group: text("group")?,
        })
    }

    /// Whether it can answer questions of this type at all.
    pub(super) fn is_for(&self, rtype: Type) -> bool {
        !self.host.is_empty() || (rtype == Type::TXT && !self.text.is_empty())
    }

    /// What its host is; None where it is nothing that DNS can tell.
    pub(super) fn host(&self) -> Option<Host> {
        match self.host.parse::<IpAddr>() {
            Ok(ip) => Some(Host::Address(ip.to_canonical())),
            Err(_) if !self.text.is_empty() => Some(Host::Text),
            Err(_) => Name::parse(&self.host).ok().map(Host::Name),
        }
    }

    /// Where a record with a name for data leads: the host, or the name of its key where that is an address.
    pub(super) fn target(&self, prefix: &str) -> Option<Name> {
        let full = match self.host()? {
            Host::Name(name) => name,
            _ => domain(&self.key, prefix)?,
        };
        let labels = full.label_count();
        Some(if self.strip < labels { full.suffix(labels - self.strip) } else { full })
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
