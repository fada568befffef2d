//! What kind of answer a message is, as `log` prints it and HTTP's caches are told.

use std::fmt;

use crate::wire::{Message, Opcode, Rcode, Type};

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

impl Kind {
    /// The kind of a message; none was sent: an error.
    pub fn of(message: Option<&Message>) -> Kind {
        let Some(message) = message else { return Kind::OtherError };
        let rtype = message.questions.first().map(|question| question.rtype);
        match message.flags.opcode() {
            Opcode::UPDATE => return Kind::Update,
            Opcode::NOTIFY => return Kind::Meta,
            _ if matches!(rtype, Some(Type::AXFR | Type::IXFR)) => return Kind::Meta,
            _ => {}
        }
        let has = |wanted: Type| message.authorities.iter().any(|record| record.rtype == wanted);
        match (message.rcode(), message.answers.is_empty()) {
            (Rcode::NOERROR, false) => Kind::NoError,
            (Rcode::NXDOMAIN, false) => Kind::OtherError,
            (Rcode::NOERROR, true) if has(Type::SOA) => Kind::NoData,
            (Rcode::NOERROR, true) if has(Type::NS) => Kind::Delegation,
            (Rcode::NOERROR, true) => Kind::NoError,
            (Rcode::NXDOMAIN, true) => Kind::NameError,
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
/// that lasts.
pub fn lifetime(message: &Message) -> u32 {
    const LEAST: u32 = 5;
    const MOST: u32 = 3600;
    if !matches!(Kind::of(Some(message)), Kind::NoError | Kind::NameError | Kind::NoData) {
        return LEAST;
    }
    message.records().map(|record| record.ttl).min().map_or(LEAST, |least| least.min(MOST))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::wire::text::record_from_text;

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
            (Rcode::REFUSED, vec![], vec![], Kind::OtherError, Class::Error, 5),
        ] {
            let mut message = Message { answers, authorities, ..Message::default() };
            message.set_rcode(rcode);
            let found = Kind::of(Some(&message));
            assert_eq!((found, found.class(), lifetime(&message)), (kind, class, lasts), "{message:?}");
        }
        assert_eq!(Kind::of(None).class(), Class::Error);
    }
}
