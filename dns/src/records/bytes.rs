//! An answer as bytes: what stands behind the question, written into a buffer without allocating.
//!
//! Owners point to the question's name, to its zone, or to the target in an SRV record before; SRV targets themselves
//! are never compressed (RFC 2782). So every letter of the question comes back as it was asked.

use std::net::IpAddr;

use super::found::{Answer, Found, Full, Section, Sink, Times};
use super::rrset::{QUESTION, Rrset, head};
use crate::wire::Type;

/// Bytes in front of the question's name.
const HEADER: usize = 12;
/// Type and class, behind the question's name.
const BEHIND_NAME: usize = 4;
/// Targets whose places are known when their addresses are written; answers with more go the long way.
const TARGETS: usize = 128;
/// The farthest place that a pointer can lead to.
const REACH: usize = 0x3FFF;

/// The question, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its name in wire form, root label included, letter case kept.
    pub name: &'a [u8],
    /// How many bytes of it stand in front of the zone.
    pub front: usize,
}

/// What was written: where each section ends, and how many records it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Where the answer section ends; it begins at 0.
    pub answers_end: usize,
    /// Where the authority section ends.
    pub authorities_end: usize,
    /// Where the additional section ends: bytes of all three.
    pub bytes: usize,
    /// Records in the answer section.
    pub answers: u16,
    /// Records in the authority section.
    pub authorities: u16,
    /// Records in the additional section.
    pub additionals: u16,
}

impl Answer<'_> {
    /// Writes the sections into the start of `to`, which stands right behind a question's type and class. None where
    /// they do not fit, or the answer is not of this kind (a transfer, a name that stands for another): then the long
    /// way is right.
    pub fn write(&self, asked: Asked<'_>, to: &mut [u8]) -> Option<Written> {
        if matches!(self.found, Found::ServeError | Found::External(_)) {
            return None;
        }
        let mut bytes = Bytes { to, asked, at: 0, targets: [0; TARGETS], count: 0, written: Written::default() };
        if !self.walk(&mut bytes) {
            return None;
        }
        let Written { answers_end, authorities_end, .. } = bytes.written;
        // A section without records ends where the one before it does.
        let authorities_end = answers_end.max(authorities_end);
        Some(Written { authorities_end, bytes: bytes.at, ..bytes.written })
    }
}

struct Bytes<'a, 'b> {
    to: &'b mut [u8],
    asked: Asked<'a>,
    at: usize,
    /// Where in the message each target stands.
    targets: [u16; TARGETS],
    count: usize,
    written: Written,
}

impl Bytes<'_, '_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at.checked_add(bytes.len())?;
        self.to.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }

    /// Where in the message the next byte goes.
    fn place(&self) -> usize {
        HEADER + self.asked.name.len() + BEHIND_NAME + self.at
    }

    fn zone(&self) -> &[u8] {
        self.asked.name.get(self.asked.front..).unwrap_or(&[0])
    }

    fn full_length(&self, name: &Full<'_>) -> usize {
        name.host.len() + name.front.len() + name.zone.map_or(self.zone().len(), |zone| zone.as_wire().len())
    }

    fn full(&mut self, name: &Full<'_>) -> Option<()> {
        if self.full_length(name) > 255 {
            return None;
        }
        self.put(name.host)?;
        self.put(name.front)?;
        match name.zone {
            Some(zone) => self.put(zone.as_wire()),
            None => {
                let asked = self.asked;
                self.put(asked.name.get(asked.front..).unwrap_or(&[0]))
            }
        }
    }

    /// The question's zone: a pointer, or the root as it is.
    fn zone_pointer(&self) -> ([u8; 2], usize) {
        if self.zone().len() <= 1 { ([0, 0], 1) } else { (pointer(HEADER + self.asked.front), 2) }
    }

    /// Notes that a target's name begins here.
    fn note_target(&mut self, target: usize) -> Option<()> {
        if target == self.count {
            let place = self.place();
            *self.targets.get_mut(target)? = u16::try_from(place).ok().filter(|_| place <= REACH)?;
            self.count += 1;
        }
        Some(())
    }
}

fn pointer(place: usize) -> [u8; 2] {
    (0xC000 | (place & REACH) as u16).to_be_bytes()
}

impl Sink for Bytes<'_, '_> {
    fn rrset(&mut self, rrset: &Rrset) -> Option<()> {
        self.put(rrset.bytes())?;
        self.answered(u16::try_from(rrset.len()).ok()?)
    }

    fn address(&mut self, ip: IpAddr, ttl: u32) -> Option<()> {
        self.put(&QUESTION)?;
        self.put_address(ip, ttl)?;
        self.answered(1)
    }

    fn name(&mut self, rtype: Type, ttl: u32, name: &Full<'_>) -> Option<()> {
        self.put(&QUESTION)?;
        let length = u16::try_from(self.full_length(name)).ok()?;
        self.put(&head(rtype, ttl, length))?;
        if rtype == Type::NS {
            self.note_target(usize::from(self.written.answers))?;
        }
        self.full(name)?;
        self.answered(1)
    }

    fn srv(&mut self, ttl: u32, weight: u16, port: u16, target: usize, name: &Full<'_>) -> Option<()> {
        self.put(&QUESTION)?;
        let length = u16::try_from(6 + self.full_length(name)).ok()?;
        self.put(&head(Type::SRV, ttl, length))?;
        let [w, p] = [weight.to_be_bytes(), port.to_be_bytes()];
        self.put(&[0, 0, w[0], w[1], p[0], p[1]])?;
        self.note_target(target)?;
        self.full(name)?;
        self.answered(1)
    }

    fn text(&mut self, ttl: u32, text: &str) -> Option<()> {
        let length = u8::try_from(text.len()).ok()?;
        self.put(&QUESTION)?;
        self.put(&head(Type::TXT, ttl, u16::from(length) + 1))?;
        self.put(&[length])?;
        self.put(text.as_bytes())?;
        self.answered(1)
    }

    fn soa(&mut self, section: Section, times: &Times) -> Option<()> {
        let (pointer, length) = self.zone_pointer();
        let zone = pointer.get(..length)?;
        self.put(zone)?;
        let names = NS_DNS.len() + HOSTMASTER.len() + 2 * length;
        self.put(&head(Type::SOA, times.ttl, (names + 20) as u16))?;
        for label in [NS_DNS, HOSTMASTER] {
            self.put(label)?;
            self.put(zone)?;
        }
        let numbers = [times.serial, times.refresh, times.retry, times.expire, times.minimum];
        numbers.iter().try_for_each(|number| self.put(&number.to_be_bytes()))?;
        match section {
            Section::Answer => self.answered(1)?,
            Section::Authority => {
                self.written.authorities += 1;
                self.written.authorities_end = self.at;
            }
        }
        Some(())
    }

    fn glue(&mut self, ttl: u32, target: usize, _: &Full<'_>, ip: IpAddr) -> Option<()> {
        self.written.additionals += 1;
        let place = *self.targets.get(target).filter(|_| target < self.count)?;
        self.put(&pointer(usize::from(place)))?;
        self.put_address(ip, ttl)
    }
}

impl Bytes<'_, '_> {
    /// So many records of the answer section are written.
    fn answered(&mut self, count: u16) -> Option<()> {
        self.written.answers = self.written.answers.checked_add(count)?;
        self.written.answers_end = self.at;
        Some(())
    }

    fn put_address(&mut self, ip: IpAddr, ttl: u32) -> Option<()> {
        match ip {
            IpAddr::V4(ip) => {
                self.put(&head(Type::A, ttl, 4))?;
                self.put(&ip.octets())
            }
            IpAddr::V6(ip) => {
                self.put(&head(Type::AAAA, ttl, 16))?;
                self.put(&ip.octets())
            }
        }
    }
}

/// First labels of the names that a SOA tells.
pub(super) const NS_DNS: &[u8] = super::nameservers::NS_DNS;
pub(super) const HOSTMASTER: &[u8] = b"\x0ahostmaster";
