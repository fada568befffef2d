//! `dns64`: gives clients that have IPv6 alone an address for hosts that have IPv4 alone (RFC 6147): AAAA records made
//! of A records, under a prefix that a translator carries (RFC 6052).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::Ipv6Net;

use crate::corefile::{CorefileError, Directive};
use crate::fast::{Fast, Step};
use crate::plugin::{Building, Next, Plugin, Query, Services};
use crate::reply::{Outcome, QueryError, Reply, Serving};
use crate::wire::{Class, Data, Message, Rcode, Record, Type};

#[cfg(test)]
mod tests;

/// The well-known prefix (RFC 6052 §2.1).
const WELL_KNOWN: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);
/// The most seconds that a record is kept where no SOA says how long its absence is (RFC 6147 §5.1.7).
const TTL: u32 = 600;

struct Dns64 {
    prefix: Ipv6Net,
    /// Also where there are AAAA records.
    translate_all: bool,
    /// Also for clients that come by IPv4.
    allow_ipv4: bool,
    services: Arc<Services>,
}

/// `dns64 [PREFIX] { [prefix PREFIX] [translate_all] [allow_ipv4] }`
///
/// # Errors
/// The prefix is none, or an option unknown.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let mut dns64 = Dns64 {
        prefix: Ipv6Net::new_assert(WELL_KNOWN, 96),
        translate_all: false,
        allow_ipv4: false,
        services: building.services.clone(),
    };
    for directive in directives {
        if let Some(text) = directive.args_between(0, 1)?.first() {
            dns64.prefix = prefix(directive, text)?;
        }
        for option in directive.body() {
            option.no_body()?;
            match option.name.as_str() {
                "prefix" => dns64.prefix = prefix(option, option.one_arg()?)?,
                "translate_all" => dns64.translate_all = option.no_args().map(|()| true)?,
                "allow_ipv4" => dns64.allow_ipv4 = option.no_args().map(|()| true)?,
                _ => return Err(option.unknown_option(&["prefix", "translate_all", "allow_ipv4"])),
            }
        }
    }
    Ok(Some(Arc::new(dns64)))
}

fn prefix(directive: &Directive, text: &str) -> Result<Ipv6Net, CorefileError> {
    let wrong = |why| directive.error(format!("{text:?} is no prefix: {why}"));
    let net: Ipv6Net = text.parse().map_err(|_| wrong("write an IPv6 network, such as 64:ff9b::/96"))?;
    // RFC 6052 §2.2 has no others.
    if ![32, 40, 48, 56, 64, 96].contains(&net.prefix_len()) {
        return Err(wrong("its length must be 32, 40, 48, 56, 64 or 96"));
    }
    Ok(net.trunc())
}

/// An address under a prefix (RFC 6052 §2.2): byte 8 is left out.
fn embed(prefix: Ipv6Net, address: Ipv4Addr) -> Ipv6Addr {
    let mut bytes = prefix.network().octets();
    let mut at = usize::from(prefix.prefix_len() / 8);
    for byte in address.octets() {
        if at == 8 {
            at += 1;
        }
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        at += 1;
    }
    bytes.into()
}

/// An AAAA record that means a host of IPv6 (RFC 6147 §5.1.4).
fn is_usable(record: &Record) -> bool {
    record.rtype == Type::AAAA && !is_mapped(record)
}

/// An AAAA record whose address is an IPv4 address in IPv6 form: of no use where there is no IPv4.
fn is_mapped(record: &Record) -> bool {
    match record.data.to_ip(record.rtype) {
        Some(IpAddr::V6(ip)) => ip.to_ipv4_mapped().is_some(),
        _ => false,
    }
}

impl Dns64 {
    /// Whether the answer for AAAA leaves a client without an address (RFC 6147 §5.1.1 and §5.1.2).
    fn needs_translation(&self, message: &Message) -> bool {
        match message.rcode() {
            // What is missing may be AAAA records: the client comes back by TCP.
            Rcode::NOERROR if message.flags.tc() => false,
            Rcode::NXDOMAIN => false,
            Rcode::NOERROR => self.translate_all || !message.answers.iter().any(is_usable),
            // As if there were no AAAA: servers that don't know the type say many things.
            _ => true,
        }
    }

    /// The answer to the question for A, with AAAA in its place; its error where it is one (RFC 6147 §5.1.6).
    async fn translate(&self, query: &mut Query, asked: &Message) -> Outcome {
        let soa = asked.authorities.iter().rfind(|record| record.rtype == Type::SOA);
        let most = soa.map_or(TTL, |soa| soa.ttl);
        let name = query.name().clone();
        let Some(mut reply) = query.ask(name, Type::A).await? else {
            return Err(QueryError::servfail("dns64", "the question for A was given no answer"));
        };
        let reason = |error| QueryError::servfail("dns64", format!("the answer for A: {error}"));
        let found = reply.message().map_err(reason)?;
        let mut message = query.reply();
        message.flags.set_tc(found.flags.tc());
        let rcode = found.rcode();
        message.edns = found.edns.take();
        message.set_rcode(rcode);
        message.answers = std::mem::take(&mut found.answers);
        message.authorities = std::mem::take(&mut found.authorities);
        message.additionals = std::mem::take(&mut found.additionals);
        let mut count = 0;
        for record in &mut message.answers {
            if record.rtype != Type::A {
                continue;
            }
            let Ok(address) = <[u8; 4]>::try_from(record.data.as_bytes()) else { continue };
            record.rtype = Type::AAAA;
            record.data = Data::aaaa(embed(self.prefix, address.into()));
            record.ttl = record.ttl.min(most);
            count += 1;
        }
        query.note(|| format!("makes {count} AAAA of A under {}", self.prefix));
        let help = "Counter of DNS requests translated by dns64.";
        let server = query.server.address().to_string();
        let name = "coredns_dns64_requests_translated_total";
        self.services.metrics.counter(name, help, &[("server", &server)]).inc();
        let is_watched = reply.is_watched;
        let reply = Reply::new(message, "dns64");
        Ok(Some(if is_watched { reply.watched() } else { reply }))
    }
}

impl Plugin for Dns64 {
    fn name(&self) -> &'static str {
        "dns64"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        let is_ipv4 = query.request.from.ip().to_canonical().is_ipv4();
        if query.rtype() != Type::AAAA || query.class() != Class::IN || (is_ipv4 && !self.allow_ipv4) {
            return next.run(query);
        }
        Box::pin(async move {
            let mut outcome = next.run(&mut *query).await;
            let asked = match &mut outcome {
                Ok(Some(reply)) => match reply.message() {
                    Ok(message) if self.needs_translation(message) => std::mem::take(message),
                    Ok(message) => {
                        message.answers.retain(|record| !is_mapped(record));
                        return outcome;
                    }
                    Err(_) => return outcome,
                },
                // No answer in time is as SERVFAIL, and that as if there were no AAAA (RFC 6147 §5.1.2 and §5.1.3).
                Err(failure) if failure.rcode != Rcode::NXDOMAIN => Message::default(),
                _ => return outcome,
            };
            self.translate(query, &asked).await
        })
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        let is_ipv4 = fast.from.ip().to_canonical().is_ipv4();
        if fast.plain.rtype() != Type::AAAA || (is_ipv4 && !self.allow_ipv4) { Step::Pass } else { Step::Slow }
    }

    fn describe(&self) -> String {
        format!("makes AAAA of A under {}", self.prefix)
    }
}
