//! What an ExternalName stands for.
//!
//! As CoreDNS does it: a target in the zone is looked up at once, and if that has no address nothing is answered at
//! all; any other is asked of the whole server, and the alias is answered whatever comes of that.

use std::sync::Arc;

use super::{NAME, reply};
use crate::plugin::Query;
use crate::records::{Found, Records, Zone};
use crate::reply::{Outcome, Reply};
use crate::wire::{Data, Name, Record, Type};

/// As many aliases may lead to each other.
const ALIASES: usize = 11;

/// Answers a question for an address whose name stands for another one.
pub(super) async fn serve(records: Arc<Records>, zone: &Zone, query: &mut Query) -> Outcome {
    let (answers, is_truncated) = chase(&records, zone, query).await;
    if answers.is_empty() {
        let front = query.name().before(&zone.name).unwrap_or_default().to_ascii_lowercase();
        let mut answer = records.resolve(zone, &front, query.rtype());
        answer.found = Found::NoData;
        return Ok(Some(reply(query, &answer)));
    }
    let mut message = query.reply();
    message.flags.set_aa(true);
    message.flags.set_tc(is_truncated);
    message.answers = answers;
    Ok(Some(Reply::new(message, NAME).watched()))
}

/// The aliases and what they lead to; whether that was cut short.
async fn chase(records: &Records, zone: &Zone, query: &mut Query) -> (Vec<Record>, bool) {
    let (rtype, ttl) = (query.rtype(), records.options().ttl);
    let mut name = query.name().clone();
    let mut aliases: Vec<Record> = Vec::new();
    loop {
        let front = name.before(&zone.name).unwrap_or_default().to_ascii_lowercase();
        let answer = records.resolve(zone, &front, rtype);
        let target = match &answer.found {
            Found::External(target) => Name::clone(target),
            // The end of aliases within the zone.
            _ => {
                let found = answer.sections(&name).answers;
                if found.is_empty() {
                    return (found, false);
                }
                return (aliases.into_iter().chain(found).collect(), false);
            }
        };
        let data = Data::name(&target);
        let is_loop = target.is_within(&name) || aliases.iter().any(|alias| alias.data == data);
        if is_loop || aliases.len() >= ALIASES {
            return (Vec::new(), false);
        }
        aliases.push(Record::new(name, Type::CNAME, ttl, data));
        if target.is_within(&zone.name) {
            name = target;
            continue;
        }
        return match query.ask(target, rtype).await {
            // Nothing was said.
            Ok(None) => (Vec::new(), false),
            Ok(Some(mut reply)) => match reply.message() {
                Ok(message) => {
                    let is_truncated = message.flags.tc();
                    (aliases.into_iter().chain(std::mem::take(&mut message.answers)).collect(), is_truncated)
                }
                Err(_) => (aliases, false),
            },
            // The alias is true whatever became of its target.
            Err(_) => (aliases, false),
        };
    }
}
