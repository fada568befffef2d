//! An answer as records, for the long way.

use std::net::IpAddr;

use super::bytes::{HOSTMASTER, NS_DNS};
use super::found::{Answer, Full, Section, Sections, Sink, Times};
use super::rrset::Rrset;
use crate::wire::{Data, Name, Record, Soa, Type};

impl Answer<'_> {
    /// The records of the answer to a question of this name, which is in the zone that was resolved in. Empty for a
    /// refusal, and for a name that stands for another.
    pub fn sections(&self, name: &Name) -> Sections {
        let zone = name.suffix(self.zone.name.label_count());
        let mut to = Messages { owner: name, zone, sections: Sections::default() };
        // There is always room; what has no right name (none is longer than its Service's) is left out.
        self.walk(&mut to);
        to.sections
    }
}

struct Messages<'a> {
    owner: &'a Name,
    /// As it was asked.
    zone: Name,
    sections: Sections,
}

impl Messages<'_> {
    fn answer(&mut self, rtype: Type, ttl: u32, data: Data) -> Option<()> {
        self.sections.answers.push(Record::new(self.owner.clone(), rtype, ttl, data));
        Some(())
    }

    fn full(&self, name: &Full<'_>) -> Option<Name> {
        let front = [name.host, name.front].concat();
        Name::join(&front, name.zone.unwrap_or(&self.zone)).ok()
    }
}

/// The SOA of a zone, in the zone's letter case.
pub(super) fn soa(zone: &Name, times: &Times) -> Option<Record> {
    let soa = Soa {
        mname: Name::join(NS_DNS, zone).ok()?,
        rname: Name::join(HOSTMASTER, zone).ok()?,
        serial: times.serial,
        refresh: times.refresh,
        retry: times.retry,
        expire: times.expire,
        minimum: times.minimum,
    };
    Some(Record::new(zone.clone(), Type::SOA, times.ttl, Data::soa(&soa)))
}

/// A or AAAA.
pub(super) fn type_of(ip: IpAddr) -> Type {
    if ip.is_ipv4() { Type::A } else { Type::AAAA }
}

impl Sink for Messages<'_> {
    fn rrset(&mut self, rrset: &Rrset) -> Option<()> {
        let ttl = rrset.ttl();
        rrset.addresses().try_for_each(|ip| self.address(ip, ttl))
    }

    fn address(&mut self, ip: IpAddr, ttl: u32) -> Option<()> {
        self.answer(type_of(ip), ttl, Data::address(ip))
    }

    fn name(&mut self, rtype: Type, ttl: u32, name: &Full<'_>) -> Option<()> {
        let name = self.full(name)?;
        self.answer(rtype, ttl, Data::name(&name))
    }

    fn srv(&mut self, ttl: u32, weight: u16, port: u16, _: usize, name: &Full<'_>) -> Option<()> {
        let target = self.full(name)?;
        self.answer(Type::SRV, ttl, Data::srv(0, weight, port, &target))
    }

    fn text(&mut self, ttl: u32, text: &str) -> Option<()> {
        self.answer(Type::TXT, ttl, Data::txt(&[text.as_bytes()]))
    }

    fn soa(&mut self, section: Section, times: &Times) -> Option<()> {
        let record = soa(&self.zone, times)?;
        match section {
            Section::Answer => self.sections.answers.push(record),
            Section::Authority => self.sections.authorities.push(record),
        }
        Some(())
    }

    fn glue(&mut self, ttl: u32, _: usize, name: &Full<'_>, ip: IpAddr) -> Option<()> {
        let owner = self.full(name)?;
        self.sections.additionals.push(Record::new(owner, type_of(ip), ttl, Data::address(ip)));
        Some(())
    }
}
