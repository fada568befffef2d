//! A zone's answer to a query: what the look-up has found, and the ends of aliases that lead out of it.

use crate::plugin::zones::Fallthrough;
use crate::plugin::{Next, Query};
use crate::reply::{Outcome, QueryError, Reply, Serving, ready};
use crate::wire::{Rcode, Type};
use crate::zone::{End, Held, Lookup, Zone};

/// Answers a query for a name within a zone, for plugin `by`; what is not there goes to `next` where `fallthrough`
/// lets it.
///
/// # Errors
/// The zone has nothing to serve, or an alias leads to a failure.
pub async fn answer(
    held: &Held,
    fallthrough: &Fallthrough,
    by: &'static str,
    query: &mut Query,
    next: Next<'_>,
) -> Outcome {
    let rtype = query.rtype();
    // `transfer` would have answered.
    if matches!(rtype, Type::AXFR | Type::IXFR) {
        return Err(QueryError::bare(by, Rcode::REFUSED));
    }
    let Some(zone) = held.get() else {
        return Err(QueryError::servfail(by, format!("zone {} was not read yet, or has expired", held.origin)));
    };
    let (name, dnssec) = (query.name().clone(), query.dnssec_ok());
    let mut found = zone.lookup(&name, rtype, dnssec);
    let is_absent = matches!(found.end, End::NameError | End::EmptyNonTerminal);
    if is_absent && fallthrough.lets(&name) {
        query.note(|| format!("not in zone {}: falls through", held.origin));
        return next.run(query).await;
    }
    if let Some(wildcard) = found.wildcard.take().filter(|_| query.block.config.metadata.is_some()) {
        query.metadata.insert("zone/wildcard".into(), wildcard.to_string());
    }
    let mut rcode = match &found.end {
        End::Elsewhere(target) => {
            let target = target.clone();
            query.note(|| format!("an alias leads to {target}"));
            let outcome = query.ask(target, rtype).await;
            join(&zone, &mut found, outcome, dnssec)
        }
        End::NameError => Rcode::NXDOMAIN,
        End::TooLong => Rcode::YXDOMAIN,
        End::Circle if found.answers.is_empty() => {
            return Err(QueryError::servfail(by, format!("{name}: a DNAME leads to the name itself")));
        }
        End::Circle => {
            query.note(|| "an alias of a wildcard leads back to itself".into());
            Rcode::SERVFAIL
        }
        End::Success | End::NoData | End::EmptyNonTerminal | End::Delegation => Rcode::NOERROR,
    };
    if found.answers.is_empty() && rcode == Rcode::SERVFAIL {
        return Err(QueryError::bare(by, rcode));
    }
    // EDNS alone could carry more.
    if rcode.0 > 15 {
        rcode = Rcode::SERVFAIL;
    }
    let mut message = query.reply();
    // A bare referral is no authoritative answer; an alias in front of one is.
    message.flags.set_aa(found.end != End::Delegation || !found.answers.is_empty());
    message.set_rcode(rcode);
    query.note(|| format!("zone {}: {:?}, {} records", held.origin, found.end, found.answers.len()));
    (message.answers, message.authorities, message.additionals) = (found.answers, found.authorities, found.additionals);
    Ok(Some(Reply::new(message, by)))
}

/// Adds what was found at the end of an alias; gives its rcode, which is the whole answer's (RFC 6604 §3).
fn join(zone: &Zone, found: &mut Lookup, outcome: Outcome, dnssec: bool) -> Rcode {
    let rcode = match outcome {
        Ok(Some(mut reply)) => match reply.message() {
            Ok(message) => {
                // Where the way leads in a circle, it comes by the same aliases again (RFC 2181 §5: no duplicates).
                let aliases = found.answers.len();
                for record in message.answers.drain(..) {
                    if !found.answers[..aliases].contains(&record) {
                        found.answers.push(record);
                    }
                }
                let rcode = message.rcode();
                if matches!(rcode, Rcode::NXDOMAIN | Rcode::NOERROR) {
                    // The SOA of the zone where the alias ends (RFC 2308 §2.1), with its proofs.
                    let is_negative = message.authorities.iter().any(|record| record.rtype == Type::SOA);
                    if is_negative {
                        found.authorities.append(&mut message.authorities);
                        return rcode;
                    }
                }
                rcode
            }
            Err(_) => Rcode::SERVFAIL,
        },
        Ok(None) => Rcode::NOERROR,
        Err(failure) => failure.rcode,
    };
    let is_negative = rcode == Rcode::NXDOMAIN;
    zone.put_apex(&mut found.authorities, if is_negative { Type::SOA } else { Type::NS }, dnssec);
    found.additionals = zone.additional(&found.answers, dnssec);
    match rcode {
        Rcode::NXDOMAIN | Rcode::SERVFAIL => rcode,
        // The alias itself is right, whatever nobody knows of its target.
        _ => Rcode::NOERROR,
    }
}

/// A name of no zone here: for the next plugin, or, as zones are all that is served, refused.
pub fn not_here<'a>(by: &'static str, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
    if next.plugins.is_empty() { ready(Err(QueryError::bare(by, Rcode::REFUSED))) } else { next.run(query) }
}
