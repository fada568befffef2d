//! `transfer`: gives whole zones of other plugins to their secondaries (AXFR, RFC 5936; IXFR, RFC 1995, answered by the
//! whole zone), and tells them of changes (NOTIFY, RFC 1996).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::address::Transport;
use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::zones::Zones;
use crate::plugin::{Building, Next, Plugin, Query};
use crate::reply::{Further, Outcome, QueryError, Reply, Serving, ready};
use crate::wire::{Message, Name, Rcode, Record, Type};
use crate::zone::{WholeZone, WholeZoneError};

mod notify;
#[cfg(test)]
mod tests;

const NAME: &str = "transfer";

/// Bytes of records that a message takes, without compression: header and question stay below 64 KiB with them.
const BATCH: usize = 63_000;

/// One directive.
#[derive(Clone, Debug)]
struct Rule {
    zones: Zones,
    /// Anybody may take the zones.
    is_open: bool,
    /// Who may, and who is told of changes.
    to: Vec<SocketAddr>,
    /// The address that NOTIFY comes from.
    source: Option<IpAddr>,
}

struct Transfer {
    rules: Arc<[Rule]>,
}

/// `transfer [ZONE...] { to ADDRESS...; source ADDRESS }`
///
/// # Errors
/// An option is wrong, or nobody is named.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let mut rules = Vec::new();
    for directive in directives {
        let zones = Zones::read(directive, &directive.args, building)?;
        let mut rule = Rule { zones, is_open: false, to: Vec::new(), source: None };
        for option in directive.body() {
            match option.name.as_str() {
                "to" => {
                    for word in option.args_between(1, usize::MAX)? {
                        match word.as_str() {
                            "*" => rule.is_open = true,
                            word => rule.to.push(address(option, word)?),
                        }
                    }
                }
                "source" if rule.source.is_some() => return Err(option.error("stands twice; keep one")),
                "source" => {
                    option.one_arg()?;
                    rule.source = Some(option.parse(0, "an IP address")?);
                }
                _ => return Err(option.unknown_option(&["to", "source"])),
            }
        }
        if !rule.is_open && rule.to.is_empty() {
            return Err(directive.error("names nobody who may take the zones; add `to ADDRESS...` or `to *`"));
        }
        rules.push(rule);
    }
    let rules: Arc<[Rule]> = rules.into();
    let (changed, inbox) = tokio::sync::mpsc::unbounded_channel();
    building.block.changed_zones = Some(changed);
    building.spawn(NAME, notify::run(rules.clone(), inbox));
    Ok(Some(Arc::new(Transfer { rules })))
}

/// An address of a server: `10.0.0.1`, `10.0.0.1:53`, `2001:db8::1`, `[2001:db8::1]:53`.
///
/// # Errors
/// It is none.
pub(super) fn address(option: &Directive, word: &str) -> Result<SocketAddr, CorefileError> {
    let host = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word);
    let host = host.parse().map(|ip: IpAddr| SocketAddr::new(ip, 53));
    let read = word.parse().or(host);
    read.map_err(|_| option.error(format!("{word:?} is no address; write 10.0.0.1, 10.0.0.1:53 or [2001:db8::1]:53")))
}

/// The rule whose zone is the longest that a name is within.
fn longest<'a>(rules: &'a [Rule], name: &Name) -> Option<&'a Rule> {
    let matching = rules.iter().filter_map(|rule| Some((rule.zones.of(name)?.label_count(), rule)));
    // The first of several.
    let longest = matching.reduce(|best, other| if other.0 > best.0 { other } else { best });
    longest.map(|(_, rule)| rule)
}

impl Rule {
    fn allows(&self, from: IpAddr) -> bool {
        self.is_open || self.to.iter().any(|to| to.ip().to_canonical() == from)
    }
}

impl Plugin for Transfer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        if !matches!(query.rtype(), Type::AXFR | Type::IXFR) {
            return next.run(query);
        }
        let transport = query.request.transport;
        if matches!(transport, Transport::Udp | Transport::Https) {
            query.note(|| "zones go by TCP, TLS and QUIC only".into());
            return ready(Err(QueryError::bare(NAME, Rcode::REFUSED)));
        }
        let Some(rule) = longest(&self.rules, query.name()) else { return next.run(query) };
        if !rule.allows(query.request.from.ip()) {
            query.note(|| "the client is none of those named by `to`".into());
            return ready(Err(QueryError::bare(NAME, Rcode::REFUSED)));
        }
        // The version that the client has (RFC 1995 §3).
        let mut known = None;
        if query.rtype() == Type::IXFR {
            let soa = match query.request.message.authorities.as_slice() {
                [record] if record.rtype == Type::SOA => record.data.to_soa(),
                _ => None,
            };
            let Some(soa) = soa else { return ready(Err(QueryError::bare(NAME, Rcode::SERVFAIL))) };
            known = Some(soa.serial);
        }
        let find = |query: &Query| next.plugins.iter().find_map(|plugin| plugin.transferable()?.zone(query.name()));
        match find(query) {
            None => next.run(query),
            // The cluster's, which has just started to be read.
            Some(Err(_)) if query.server.services().feed.is_awaited() => Box::pin(async move {
                query.server.services().feed.wait().await;
                match find(query) {
                    None => next.run(query).await,
                    Some(zone) => give(query, zone, known),
                }
            }),
            Some(zone) => ready(give(query, zone, known)),
        }
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        if matches!(fast.plain.rtype(), Type::AXFR | Type::IXFR) { Step::Slow } else { Step::Pass }
    }

    fn describe(&self) -> String {
        let rule = |rule: &Rule| {
            let zones: Vec<_> = rule.zones.names().iter().map(Name::to_string).collect();
            let mut to: Vec<_> = rule.to.iter().map(SocketAddr::to_string).collect();
            to.extend(rule.is_open.then(|| "*".to_owned()));
            format!("{} to {}", zones.join(" "), to.join(" "))
        };
        self.rules.iter().map(rule).collect::<Vec<_>>().join("; ")
    }
}

/// The answer that carries a zone.
fn give(query: &mut Query, zone: Result<WholeZone, WholeZoneError>, known: Option<u32>) -> Outcome {
    let zone = zone.map_err(|error| QueryError::servfail(NAME, error.to_string()))?;
    let mut message = query.reply();
    message.flags.set_aa(true);
    let serial = zone.soa.data.to_soa().map_or(0, |soa| soa.serial);
    let (name, client) = (query.name().clone(), query.request.from);
    if known.is_some_and(|known| !is_newer(serial, known)) {
        tracing::info!(zone = %name, %client, serial, "the secondary has the zone already");
        message.answers.push(zone.soa);
        return Ok(Some(Reply::new(message, NAME)));
    }
    tracing::info!(zone = %name, %client, serial, "giving the zone");
    let last = std::iter::once(zone.soa.clone());
    let records = std::iter::once(zone.soa).chain(zone.records).chain(last);
    let mut messages = Messages { frame: message, records: Box::new(records), ahead: None };
    // There are two records at least.
    let Some(first) = messages.next() else { return Err(QueryError::bare(NAME, Rcode::SERVFAIL)) };
    Ok(Some(Reply::new(first, NAME).with_further(Further::new(messages))))
}

/// Whether a serial is newer than another (RFC 1982 §3.2).
pub(super) fn is_newer(serial: u32, than: u32) -> bool {
    serial != than && serial.wrapping_sub(than) < 1 << 31
}

/// The messages of a transfer, made as they are taken.
struct Messages {
    /// What all have.
    frame: Message,
    records: Box<dyn Iterator<Item = Record> + Send>,
    /// The record that did not fit into the last one.
    ahead: Option<Record>,
}

impl Iterator for Messages {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        let mut message = self.frame.clone();
        let mut length = 0;
        while let Some(record) = self.ahead.take().or_else(|| self.records.next()) {
            length += record.name.as_wire().len() + 10 + record.data.as_bytes().len();
            if length > BATCH && !message.answers.is_empty() {
                self.ahead = Some(record);
                break;
            }
            message.answers.push(record);
        }
        (!message.answers.is_empty()).then_some(message)
    }
}
