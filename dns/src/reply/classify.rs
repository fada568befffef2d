//! What kind of answer a message is, as `log` prints it and HTTP's caches are told.

use std::fmt;

use crate::wire::message::HEADER;
use crate::wire::{Flags, Message, Opcode, Rcode, Type, WireError, u16_at, walk};

/// A kind of answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Records, or none without a word why.
    NoError,
    /// The name is not there.
    NameError,
    /// The name is there, the type is not: SOA in the authority section (RFC 2308 §2.2).
    NoData,
    /// Other servers know: NS in the authority section.
    Delegation,
    /// SERVFAIL or NOTIMP.
    ServerError,
    /// NOTIFY, or a transfer.
    Meta,
    /// UPDATE.
    Update,
    /// All else.
    OtherError,
}

/// How an answer went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// There is an answer.
    Success,
    /// There is none, and that is sure.
    Denial,
    /// The question could not be answered.
    Error,
}

/// What of a message says which kind it is.
#[derive(Clone, Copy)]
struct Traits {
    opcode: Opcode,
    /// The type that was asked for.
    rtype: Option<Type>,
    rcode: Rcode,
    has_answers: bool,
    /// SOA and NS in the authority section.
    has_soa: bool,
    has_ns: bool,
}

impl Kind {
    /// The kind of a message; none was sent: an error.
    pub fn of(message: Option<&Message>) -> Kind {
        let Some(message) = message else { return Kind::OtherError };
        let has = |wanted: Type| message.authorities.iter().any(|record| record.rtype == wanted);
        Kind::by(Traits {
            opcode: message.flags.opcode(),
            rtype: message.questions.first().map(|question| question.rtype),
            rcode: message.rcode(),
            has_answers: !message.answers.is_empty(),
            has_soa: has(Type::SOA),
            has_ns: has(Type::NS),
        })
    }

    fn by(traits: Traits) -> Kind {
        match traits.opcode {
            Opcode::UPDATE => return Kind::Update,
            Opcode::NOTIFY => return Kind::Meta,
            _ if matches!(traits.rtype, Some(Type::AXFR | Type::IXFR)) => return Kind::Meta,
            _ => {}
        }
        match (traits.rcode, traits.has_answers) {
            (Rcode::NOERROR, true) => Kind::NoError,
            (Rcode::NXDOMAIN, true) => Kind::OtherError,
            (Rcode::NOERROR, false) if traits.has_soa => Kind::NoData,
            (Rcode::NOERROR, false) if traits.has_ns => Kind::Delegation,
            (Rcode::NOERROR, false) => Kind::NoError,
            (Rcode::NXDOMAIN, false) => Kind::NameError,
            (Rcode::SERVFAIL | Rcode::NOTIMP, _) => Kind::ServerError,
            _ => Kind::OtherError,
        }
    }

    /// The class of the kind.
    pub fn class(self) -> Class {
        match self {
            Kind::NoError | Kind::Delegation => Class::Success,
            Kind::NameError | Kind::NoData => Class::Denial,
            _ => Class::Error,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::NoError => "NOERROR",
            Kind::NameError => "NXDOMAIN",
            Kind::NoData => "NODATA",
            Kind::Delegation => "DELEGATION",
            Kind::ServerError => "SERVERERROR",
            Kind::Meta => "META",
            Kind::Update => "UPDATE",
            Kind::OtherError => "OTHERERROR",
        })
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Class::Success => "success",
            Class::Denial => "denial",
            Class::Error => "error",
        })
    }
}

/// How long an answer may be kept, in seconds: as its shortest-lived record, at most an hour; 5 for what says nothing
/// that lasts, 0 for bytes that are no message. Nothing of it is decoded that is not looked at.
pub fn lifetime(message: &[u8]) -> u32 {
    read_lifetime(message).unwrap_or(0)
}

fn read_lifetime(message: &[u8]) -> Result<u32, WireError> {
    const LEAST: u32 = 5;
    const MOST: u32 = 3600;
    let flags = Flags(u16_at(message, 2)?);
    let rtype = match u16_at(message, 4)? {
        0 => None,
        _ => Some(Type(u16_at(message, walk::skip_name(message, HEADER)?)?)),
    };
    let mut traits = Traits {
        opcode: flags.opcode(),
        rtype,
        rcode: flags.rcode(),
        has_answers: false,
        has_soa: false,
        has_ns: false,
    };
    let mut least = None;
    for record in walk::records(message) {
        let record = record?;
        if record.rtype == Type::OPT {
            // The upper bits of the rcode (RFC 6891 §6.1.3).
            traits.rcode.0 |= (record.ttl >> 24 << 4) as u16;
            continue;
        }
        traits.has_answers |= record.section == walk::Section::Answer;
        traits.has_soa |= record.section == walk::Section::Authority && record.rtype == Type::SOA;
        traits.has_ns |= record.section == walk::Section::Authority && record.rtype == Type::NS;
        least = Some(least.map_or(record.ttl, |least: u32| least.min(record.ttl)));
    }
    if !matches!(Kind::by(traits), Kind::NoError | Kind::NameError | Kind::NoData) {
        return Ok(LEAST);
    }
    Ok(least.map_or(LEAST, |least| least.min(MOST)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::wire::text::record_from_text;
    use crate::wire::{Edns, Name, Question};

    #[test]
    fn kinds_and_how_long_they_last() {
        let record = |text: &str| vec![record_from_text(text, None).unwrap()];
        let a = || record("a. 7200 IN A 10.0.0.1");
        let soa = || record("a. 60 IN SOA ns. host. 1 2 3 4 5");
        let ns = || record("a. 60 IN NS ns.");
        for (rcode, answers, authorities, kind, class, lasts) in [
            (Rcode::NOERROR, a(), vec![], Kind::NoError, Class::Success, 3600),
            (Rcode::NOERROR, a(), ns(), Kind::NoError, Class::Success, 60),
            (Rcode::NOERROR, vec![], soa(), Kind::NoData, Class::Denial, 60),
            (Rcode::NOERROR, vec![], ns(), Kind::Delegation, Class::Success, 5),
            (Rcode::NOERROR, vec![], vec![], Kind::NoError, Class::Success, 5),
            (Rcode::NXDOMAIN, vec![], soa(), Kind::NameError, Class::Denial, 60),
            (Rcode::NXDOMAIN, a(), soa(), Kind::OtherError, Class::Error, 5),
            (Rcode::SERVFAIL, vec![], vec![], Kind::ServerError, Class::Error, 5),
            (Rcode::BADVERS, a(), vec![], Kind::OtherError, Class::Error, 5),
            (Rcode::REFUSED, vec![], vec![], Kind::OtherError, Class::Error, 5),
        ] {
            for edns in [None, Some(Edns::new(1232, true))] {
                if rcode.0 > 15 && edns.is_none() {
                    continue; // It has no room.
                }
                let (answers, authorities) = (answers.clone(), authorities.clone());
                let mut message = Message { answers, authorities, edns, ..Message::default() };
                message.questions.push(Question::new(Name::root(), Type::A));
                message.set_rcode(rcode);
                let found = Kind::of(Some(&message));
                let mut bytes = Vec::new();
                message.write(&mut bytes);
                assert_eq!((found, found.class(), lifetime(&bytes)), (kind, class, lasts), "{message:?}");
                assert_eq!(lifetime(&bytes[..bytes.len() - 1]), 0);
            }
        }
        assert_eq!(Kind::of(None).class(), Class::Error);
    }
}
