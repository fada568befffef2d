//! What rules do to answers.

use std::sync::Arc;

use super::matcher::Matcher;
use crate::plugin::Query;
use crate::reply::Reply;
use crate::wire::{Data, Edns, Name, Rcode, Record, Type};

/// How a name in an answer is changed.
#[derive(Debug)]
pub(super) enum Change {
    /// This name, and those below it.
    Remap { from: Name, to: Name },
    /// The end of its text, wherever labels begin.
    Suffix { from: String, to: String },
    /// What a pattern matches.
    Pattern { matcher: Matcher, to: String },
}

impl Change {
    /// The name in place of this one; None if it stays. What would be no name stays too.
    fn of(&self, name: &Name) -> Option<Name> {
        match self {
            Change::Remap { from, to } => name.before(from).and_then(|front| Name::join(front, to).ok()),
            Change::Suffix { from, to } => {
                let text = name.to_string();
                let (front, end) = text.split_at_checked(text.len().checked_sub(from.len())?)?;
                end.eq_ignore_ascii_case(from).then(|| Name::parse(&format!("{front}{to}")).ok()).flatten()
            }
            Change::Pattern { matcher, to } => {
                matcher.replaced(&name.to_string(), to).and_then(|text| Name::parse(&text).ok())
            }
        }
    }
}

/// One thing that is done to an answer.
#[derive(Clone, Debug)]
pub(super) enum Response {
    /// Owners are renamed.
    Name(Arc<Change>),
    /// Names in data are.
    Value(Arc<Change>),
    /// TTLs are brought between these.
    Ttl {
        least: u32,
        most: u32,
    },
    Rcode {
        from: Rcode,
        to: Rcode,
    },
    /// Aliases lead elsewhere.
    Alias(Arc<Alias>),
    /// An EDNS option was set, and must not show.
    Remove(u16),
    /// An EDNS option was replaced.
    Restore(u16, Vec<u8>),
}

impl Response {
    pub(super) fn change_record(&self, record: &mut Record) {
        match self {
            Response::Name(change) => {
                if let Some(name) = change.of(&record.name) {
                    record.name = name;
                }
            }
            Response::Value(change) => change_value(record, change),
            Response::Ttl { least, most } => record.ttl = record.ttl.max(*least).min(*most),
            _ => {}
        }
    }

    pub(super) fn change_rcode(&self, rcode: &mut Rcode) {
        if let Response::Rcode { from, to } = self
            && rcode == from
        {
            *rcode = *to;
        }
    }

    pub(super) fn change_options(&self, edns: &mut Edns) {
        let (Response::Remove(code) | Response::Restore(code, _)) = self else { return };
        let Some(place) = edns.options.iter().position(|(known, _)| known == code) else { return };
        match self {
            Response::Restore(_, old) => edns.options[place].1.clone_from(old),
            _ => drop(edns.options.remove(place)),
        }
    }
}

/// Where the name stands in the data of a type whose name may be changed.
fn name_in(rtype: Type, data: &[u8]) -> Option<usize> {
    match rtype {
        Type::CNAME | Type::NS | Type::DNAME | Type::PTR | Type::SOA => Some(0),
        Type::MX => Some(2),
        Type::SRV => Some(6),
        // Order, preference and three texts stand in front (RFC 3403 §4.1).
        Type::NAPTR => (0..3).try_fold(4, |at, _| data.get(at).map(|length| at + 1 + usize::from(*length))),
        _ => None,
    }
}

fn change_value(record: &mut Record, change: &Change) {
    let data = record.data.as_bytes();
    let Some(at) = name_in(record.rtype, data) else { return };
    let Ok((name, after)) = Name::read(data, at) else { return };
    let Some(new) = change.of(&name) else { return };
    let (Some(front), Some(rest)) = (data.get(..at), data.get(after..)) else { return };
    record.data = Data::from_bytes(&[front, new.as_wire(), rest].concat());
}

/// `rewrite cname`: an alias that leads to one name leads to another, and so does the answer.
#[derive(Debug)]
pub(super) struct Alias {
    pub(super) matcher: Matcher,
    pub(super) to: String,
}

impl Alias {
    /// Follows the first alias that the rule is for; gives how many of the answers are the old ones. None: there is none.
    pub(super) async fn redirect(&self, query: &mut Query, reply: &mut Reply, asked: Type) -> Option<usize> {
        let message = reply.message().ok()?;
        let target = |record: &Record| {
            let name = record.data.to_name().filter(|_| record.rtype == Type::CNAME)?;
            let text = self.matcher.replaced(&name.to_string().to_ascii_lowercase(), &self.to)?;
            Name::parse(&text).ok()
        };
        let (place, new) = message.answers.iter().enumerate().find_map(|(n, record)| Some((n, target(record)?)))?;
        let mut found = match query.ask(new.clone(), asked).await {
            // Nothing is said about the new name: the answer stays.
            Ok(None) => return None,
            Ok(found) => found,
            // The alias leads to a name without records.
            Err(_) => None,
        };
        let message = reply.message().ok()?;
        message.answers.truncate(place + 1);
        message.answers.retain(|record| record.rtype == Type::CNAME);
        if let Some(alias) = message.answers.last_mut() {
            alias.data = Data::name(&new);
        }
        let own = message.answers.len();
        message.flags.set_tc(false);
        let mut is_watched = false;
        if let Some(found) = &mut found {
            is_watched = found.is_watched;
            let found = found.message().ok()?;
            message.flags.set_tc(found.flags.tc());
            message.answers.append(&mut found.answers);
        }
        reply.is_watched |= is_watched;
        query.note(|| format!("follows the alias to {new}"));
        Some(own)
    }
}
