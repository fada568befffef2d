//! What kind of answer a message is, and how long it lives; read from its bytes.

use std::time::{SystemTime, UNIX_EPOCH};

use super::Asked;
use super::entry::Kind as Kept;
use crate::reply::classify::Kind;
use crate::wire::walk::{self, Outline, Section};
use crate::wire::{Class, Flags, Name, Opcode, Rcode, Type};

/// A message, looked at.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) kind: Kind,
    /// It has what was asked for.
    pub(super) is_answering: bool,
    has_soa: bool,
    is_cut: bool,
    /// The least TTL, in seconds; None: it has no record.
    pub(super) least_ttl: Option<u32>,
    pub(super) records: Vec<Outline>,
    /// Where the question ends.
    pub(super) body_start: usize,
    /// Where OPT begins and ends.
    pub(super) opt: Option<(usize, usize)>,
}

impl Judged {
    /// None if its records can't be read.
    pub(super) fn new(wire: &[u8]) -> Option<Judged> {
        let flags = Flags(u16::from_be_bytes([*wire.get(2)?, *wire.get(3)?]));
        let body_start = walk::questions_end(wire).ok()?;
        let records = walk::records(wire).collect::<Result<Vec<_>, _>>().ok()?;
        let opt = records.iter().find(|record| record.section == Section::Additional && record.rtype == Type::OPT);
        // OPT's TTL has the upper bits of the rcode, and DO.
        let high = opt.map_or(0, |opt| (opt.ttl >> 24) as u16);
        let has_dnssec = opt.is_some_and(|opt| opt.ttl & 0x8000 != 0);
        let opt = opt.map(|opt| (opt.name, opt.data.end));
        let rcode = Rcode(high << 4 | flags.rcode().0);
        let has =
            |rtype: Type| records.iter().any(|record| record.section == Section::Authority && record.rtype == rtype);
        let has_soa = has(Type::SOA);
        let is_answering = rcode == Rcode::NOERROR && answers(wire, &records).unwrap_or(false);
        let has_answers = records.iter().any(|record| record.section == Section::Answer);
        let mut kind = kind(wire, flags, rcode, has_answers, has_soa, has(Type::NS));
        if has_dnssec
            && !matches!(kind, Kind::Update | Kind::Meta)
            && records.iter().any(|record| is_expired(wire, record))
        {
            kind = Kind::OtherError;
        }
        // An alias that leads nowhere: RFC 2308 §2.2.
        if kind == Kind::NoError && has_answers && has_soa && !is_answering {
            kind = Kind::NoData;
        }
        let least_ttl = records.iter().filter(|record| record.rtype != Type::OPT).map(|record| record.ttl).min();
        Some(Judged { kind, is_answering, has_soa, is_cut: flags.tc(), least_ttl, records, body_start, opt })
    }

    /// As what it is kept, if it is at all.
    pub(super) fn kept_as(&self) -> Option<Kept> {
        if self.is_cut {
            return None;
        }
        let has_answers = self.records.iter().any(|record| record.section == Section::Answer);
        match self.kind {
            Kind::Meta | Kind::Update | Kind::OtherError => None,
            // RFC 2308 §5: how long it lives would not be known.
            Kind::NameError if !self.has_soa => None,
            Kind::NoError if has_answers && !self.is_answering => None,
            Kind::NoError | Kind::Delegation => Some(Kept::Success),
            Kind::NameError | Kind::NoData | Kind::ServerError => Some(Kept::Denial),
        }
    }

    /// Whether it may take the place of what is stale (RFC 8767 §4).
    pub(super) fn refreshes(&self, wire: &[u8], asked: &Asked) -> bool {
        let rcode = wire.get(3).map_or(0, |flags| flags & 15);
        !self.is_cut
            && !matches!(self.kind, Kind::OtherError | Kind::Meta | Kind::Update)
            && matches!(Rcode(u16::from(rcode)), Rcode::NOERROR | Rcode::NXDOMAIN)
            && self.is_for(wire, asked)
    }

    /// Whether it is whole, and has what was asked for.
    pub(super) fn is_usable(&self) -> bool {
        !self.is_cut && self.kind == Kind::NoError && self.is_answering
    }

    /// Whether it repeats the question.
    pub(super) fn is_for(&self, wire: &[u8], asked: &Asked) -> bool {
        let name = asked.name.as_wire();
        let end = 12 + name.len();
        let is_one = wire.get(4..6) == Some(&[0, 1]) && wire.get(2).is_some_and(|flags| flags & 0x80 != 0);
        let numbers = [asked.rtype.0.to_be_bytes(), asked.class.0.to_be_bytes()].concat();
        is_one
            && wire.get(12..end).is_some_and(|theirs| theirs.eq_ignore_ascii_case(name))
            && wire.get(end..end + 4) == Some(&numbers)
    }

    /// Sets all TTLs.
    pub(super) fn set_ttls(&self, wire: &mut [u8], ttl: u32) {
        for record in self.records.iter().filter(|record| record.rtype != Type::OPT) {
            if let Some(place) = wire.get_mut(record.ttl_at..record.ttl_at + 4) {
                place.copy_from_slice(&ttl.to_be_bytes());
            }
        }
    }
}

fn kind(wire: &[u8], flags: Flags, rcode: Rcode, has_answers: bool, has_soa: bool, has_ns: bool) -> Kind {
    let rtype = walk::skip_name(wire, 12).ok().and_then(|end| wire.get(end..end + 2));
    let rtype = rtype.map(|rtype| Type(u16::from_be_bytes([rtype[0], rtype[1]])));
    match flags.opcode() {
        Opcode::UPDATE => return Kind::Update,
        Opcode::NOTIFY => return Kind::Meta,
        _ if matches!(rtype, Some(Type::AXFR | Type::IXFR)) => return Kind::Meta,
        _ => {}
    }
    match (rcode, has_answers) {
        (Rcode::NOERROR, true) => Kind::NoError,
        (Rcode::NXDOMAIN, true) => Kind::OtherError,
        (Rcode::NOERROR, false) if has_soa => Kind::NoData,
        (Rcode::NXDOMAIN, false) => Kind::NameError,
        (Rcode::SERVFAIL | Rcode::NOTIMP, _) => Kind::ServerError,
        (Rcode::NOERROR, false) if has_ns => Kind::Delegation,
        (Rcode::NOERROR, false) => Kind::NoError,
        _ => Kind::OtherError,
    }
}

/// Whether the time of a signature is over, or has not come (RFC 4034 §3.1.5).
fn is_expired(wire: &[u8], record: &Outline) -> bool {
    if record.rtype != Type::RRSIG {
        return false;
    }
    let Some(times) = wire.get(record.data.start + 8..record.data.start + 16) else { return true };
    let expires = u32::from_be_bytes([times[0], times[1], times[2], times[3]]);
    let begins = u32::from_be_bytes([times[4], times[5], times[6], times[7]]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32);
    // Serial numbers (RFC 1982): signed distances.
    (expires.wrapping_sub(now) as i32) < 0 || (now.wrapping_sub(begins) as i32) < 0
}

/// An alias: whose, and for what.
type Alias = (Name, Name);

/// Whether the answer section has what was asked for, at the end of the aliases that lead there (RFC 1034 §3.6.2).
fn answers(wire: &[u8], records: &[Outline]) -> Option<bool> {
    let (mut name, at) = Name::read(wire, 12).ok()?;
    let numbers = wire.get(at..at + 4)?;
    let rtype = Type(u16::from_be_bytes([numbers[0], numbers[1]]));
    let class = Class(u16::from_be_bytes([numbers[2], numbers[3]]));
    let mut owned: Vec<(Name, Type)> = Vec::new();
    let mut aliases: Vec<Alias> = Vec::new();
    for record in records.iter().filter(|record| record.section == Section::Answer) {
        if class != Class::ANY && record.class != class {
            continue;
        }
        let owner = Name::read(wire, record.name).ok()?.0;
        if record.rtype == Type::CNAME {
            aliases.push((owner.clone(), Name::read(wire, record.data.start).ok()?.0));
        }
        owned.push((owner, record.rtype));
    }
    let is_there = |name: &Name, rtype: Option<Type>| {
        owned.iter().any(|(owner, other)| owner == name && rtype.is_none_or(|rtype| rtype == *other))
    };
    if rtype == Type::ANY {
        return Some(is_there(&name, None));
    }
    if rtype == Type::CNAME {
        return Some(matches!(target(&aliases, &name), Ok(Some(_))));
    }
    // No chain is longer than there are aliases, unless it leads back to itself.
    for _ in 0..=aliases.len() {
        match target(&aliases, &name) {
            Ok(Some(next)) => name = next.clone(),
            Ok(None) => return Some(is_there(&name, Some(rtype))),
            Err(()) => return Some(false),
        }
    }
    Some(false)
}

/// What a name is an alias for; an error if that is two things.
fn target<'a>(aliases: &'a [Alias], name: &Name) -> Result<Option<&'a Name>, ()> {
    let mut found: Option<&Name> = None;
    for (_, target) in aliases.iter().filter(|(owner, _)| owner == name) {
        if found.is_some_and(|found| found != target) {
            return Err(());
        }
        found = Some(target);
    }
    Ok(found)
}
