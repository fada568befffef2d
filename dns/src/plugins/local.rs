//! `local`: answers for `localhost` and the reverse zones of loopback and the like (RFC 6303 §4, RFC 6761 §6.3), so
//! that such questions leave nobody's host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::{Building, Next, Plugin, Query};
use crate::reply::{Reply, Serving, ready};
use crate::wire::{Data, Message, Name, Rcode, Record, Soa, Type};
use bowline_observe::metrics::{Counter, Registry};

/// A week, in seconds.
const TTL: u32 = 604_800;

const LOCALHOST: &[u8] = b"\x09localhost\x00";
const LOOPBACK: &[u8] = b"\x011\x010\x010\x03127\x07in-addr\x04arpa\x00";
/// The zones, in wire form.
const ZONES: [&[u8]; 4] =
    [LOCALHOST, b"\x010\x07in-addr\x04arpa\x00", b"\x03127\x07in-addr\x04arpa\x00", b"\x03255\x07in-addr\x04arpa\x00"];

struct Local {
    /// Names that begin with `localhost.` are answered: search paths make such.
    takes_prefix: bool,
    count: Arc<Counter>,
}

/// `local { [localhost_prefix on|off] }`
///
/// # Errors
/// It has arguments, or an unknown option.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let mut takes_prefix = true;
    for directive in directives {
        directive.no_args()?;
        for option in directive.body() {
            option.no_body()?;
            if option.name != "localhost_prefix" {
                return Err(option.unknown_option(&["localhost_prefix"]));
            }
            takes_prefix = match option.one_arg()? {
                "on" => true,
                "off" => false,
                other => return Err(option.error(format!("{other:?} is neither on nor off"))),
            };
        }
    }
    Ok(Some(Arc::new(Local { takes_prefix, count: counter(&building.services.metrics) })))
}

/// What it counts; CoreDNS shows it where the plugin isn't in use, too.
pub(super) fn counter(metrics: &Registry) -> Arc<Counter> {
    let help = "Counter of special localhost subdomain requests.";
    metrics.counter("coredns_local_localhost_requests_total", help, &[])
}

/// What is asked.
#[derive(PartialEq, Eq)]
enum Asked {
    /// A name below or, in a search path, in front of `localhost.`
    Host,
    /// A name in a zone that has as many labels.
    Zone(usize),
}

impl Local {
    fn asked(&self, lower: &[u8]) -> Option<Asked> {
        let is_prefix = self.takes_prefix && lower.starts_with(&LOCALHOST[..10]);
        let name = Name::from_wire(lower).ok()?;
        let within = |zone: &[u8]| Name::from_wire(zone).is_ok_and(|zone| name.is_within(&zone));
        if lower != LOCALHOST && (is_prefix || within(LOCALHOST)) {
            return Some(Asked::Host);
        }
        let zone = ZONES.into_iter().find(|zone| within(zone))?;
        Some(Asked::Zone(if zone == LOCALHOST { 1 } else { 3 }))
    }

    fn answer(&self, query: &Query, asked: Asked) -> Message {
        let mut message = query.reply();
        let name = query.name();
        let record = |rtype, data| Record::new(name.clone(), rtype, TTL, data);
        let address = match query.rtype() {
            Type::A => Some(IpAddr::from(Ipv4Addr::LOCALHOST)),
            Type::AAAA => Some(IpAddr::from(Ipv6Addr::LOCALHOST)),
            _ => None,
        };
        let labels = match asked {
            Asked::Host => {
                self.count.inc();
                match address {
                    Some(address) => message.answers.push(record(query.rtype(), Data::address(address))),
                    None => message.authorities.push(soa(name)),
                }
                return message;
            }
            Asked::Zone(labels) => labels,
        };
        let is_loopback = name.as_wire().eq_ignore_ascii_case(LOOPBACK);
        if name.label_count() == labels {
            match (query.rtype(), address) {
                (_, Some(address)) if labels == 1 => {
                    message.answers.push(record(query.rtype(), Data::address(address)));
                }
                (Type::SOA, _) => message.answers.push(soa(name)),
                (Type::NS, _) => message.answers.push(record(Type::NS, Data::from_bytes(LOCALHOST))),
                _ => message.authorities.push(soa(name)),
            }
        } else if is_loopback && query.rtype() == Type::PTR {
            message.answers.push(record(Type::PTR, Data::from_bytes(LOCALHOST)));
        } else {
            message.authorities.push(soa(&name.suffix(labels)));
            if !is_loopback {
                message.set_rcode(Rcode::NXDOMAIN);
            }
        }
        message
    }
}

fn soa(zone: &Name) -> Record {
    let localhost = Name::from_wire(LOCALHOST).unwrap_or_default();
    let rname = localhost.prepend(b"root").unwrap_or_default();
    let soa = Soa { mname: localhost, rname, serial: 1, refresh: 0, retry: 0, expire: 0, minimum: TTL };
    Record::new(zone.clone(), Type::SOA, TTL, Data::soa(&soa))
}

impl Plugin for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        let Some(asked) = self.asked(query.name().to_lower().as_wire()) else { return next.run(query) };
        let message = self.answer(query, asked);
        query.note(|| "answers a name of the host's own".to_owned());
        ready(Ok(Some(Reply::new(message, self.name()))))
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        let is_prefix = self.takes_prefix && fast.plain.name().starts_with(&LOCALHOST[..10]);
        if is_prefix || ZONES.iter().any(|zone| fast.before(zone).is_some()) { Step::Slow } else { Step::Pass }
    }
}
