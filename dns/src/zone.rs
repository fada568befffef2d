//! A zone: the records of a name and of all names below it that are not delegated, as a zone file or a transfer gives
//! them, and what it answers (`lookup`).
//!
//! Names are kept in canonical order (RFC 4034 §6.1), so a name's descendants follow it, and the NSEC record that
//! proves a name's absence stands at the nearest name in front of it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

use crate::wire::text::zone::{Records, ZoneError};
use crate::wire::{Data, Name, Record, Soa, Type};

mod held;
mod lookup;
#[cfg(test)]
mod tests;

pub use held::{Held, Slot};
pub use lookup::{End, Lookup};

/// Why a zone can't be given whole.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WholeZoneError {
    /// It is not here, yet or any more.
    #[error("{0} was not read yet, or has expired")]
    Away(Name),
    /// It is the cluster's.
    #[error("the cluster's state has not been read whole yet")]
    Cluster,
}

/// The records of a zone.
pub struct WholeZone {
    /// Its SOA.
    pub soa: Record,
    /// All others.
    pub records: Box<dyn Iterator<Item = Record> + Send>,
}

/// A zone that is whole: it has an SOA record.
#[derive(Debug)]
pub struct Zone {
    origin: Name,
    soa: Soa,
    nodes: BTreeMap<Name, Node>,
}

/// The records of one name, by type.
#[derive(Debug, Default)]
struct Node(Vec<Set>);

/// The records of one name and type: the TTL and data of each.
#[derive(Debug)]
struct Set {
    rtype: Type,
    records: Vec<(u32, Data)>,
}

impl Node {
    /// The records of a type; none where there are none.
    fn of(&self, rtype: Type) -> &[(u32, Data)] {
        self.0.iter().find(|set| set.rtype == rtype).map_or(&[], |set| &set.records)
    }

    fn has(&self, rtype: Type) -> bool {
        !self.of(rtype).is_empty()
    }

    /// The signatures of the records of a type (RFC 4034 §3.1: the type that they cover stands first).
    fn signatures(&self, rtype: Type) -> impl Iterator<Item = &(u32, Data)> {
        let covered = rtype.0.to_be_bytes();
        self.of(Type::RRSIG).iter().filter(move |(_, data)| data.as_bytes().starts_with(&covered))
    }

    /// Adds a record; one that is there already does not stand twice (RFC 2181 §5).
    fn insert(&mut self, rtype: Type, ttl: u32, data: Data) {
        let at = self.0.iter().position(|set| set.rtype == rtype).unwrap_or_else(|| {
            self.0.push(Set { rtype, records: Vec::new() });
            self.0.len() - 1
        });
        let Some(set) = self.0.get_mut(at) else { return };
        // Of an SOA the last one counts, as CoreDNS has it.
        if rtype == Type::SOA {
            set.records.clear();
        }
        if !set.records.iter().any(|(_, known)| *known == data) {
            set.records.push((ttl, data));
        }
    }
}

/// Records on their way to become a zone.
#[derive(Debug)]
pub struct Gathering {
    origin: Name,
    nodes: BTreeMap<Name, Node>,
    /// Records that belong to no name of the zone.
    strays: usize,
}

/// Why records are no zone that can be served.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GatherError {
    /// A record of NSEC3.
    #[error("{0} has {1}: zones with NSEC3 are not served; sign with NSEC")]
    Nsec3(Name, Type),
    /// There is no SOA record for the zone.
    #[error("there is no SOA record for {0}")]
    NoSoa(Name),
}

impl Gathering {
    /// A zone of this name, without records.
    pub fn new(origin: &Name) -> Gathering {
        Gathering { origin: origin.clone(), nodes: BTreeMap::new(), strays: 0 }
    }

    /// Adds a record. What lies outside of the zone is left out; an SOA is the zone's whatever its owner, so that one
    /// file may serve several zones.
    ///
    /// # Errors
    /// It belongs to NSEC3, of which nothing is answered here.
    pub fn insert(&mut self, record: Record) -> Result<(), GatherError> {
        let Record { name, rtype, ttl, data, .. } = record;
        if matches!(rtype, Type::NSEC3 | Type::NSEC3PARAM) {
            return Err(GatherError::Nsec3(name, rtype));
        }
        let owner = if rtype == Type::SOA { self.origin.clone() } else { name };
        if !owner.is_within(&self.origin) {
            self.strays += 1;
            return Ok(());
        }
        self.nodes.entry(owner).or_default().insert(rtype, ttl, data);
        Ok(())
    }

    /// The zone.
    ///
    /// # Errors
    /// It has no SOA record.
    pub fn finish(self) -> Result<Zone, GatherError> {
        let Gathering { origin, nodes, strays } = self;
        if strays > 0 {
            tracing::warn!(zone = %origin, strays, "records outside of the zone are left out");
        }
        let soa = nodes.get(&origin).and_then(|apex| apex.of(Type::SOA).first());
        let Some(soa) = soa.and_then(|(_, data)| data.to_soa()) else { return Err(GatherError::NoSoa(origin)) };
        Ok(Zone { origin, soa, nodes })
    }
}

impl Zone {
    /// Reads a zone file. None: its serial is `unless`, so nothing has changed.
    ///
    /// # Errors
    /// What is wrong in the file, and in which line.
    pub fn load(path: &Path, origin: &Name, unless: Option<u32>) -> Result<Option<Zone>, ZoneError> {
        let mut gathering = Gathering::new(origin);
        let wrong =
            |error: GatherError| ZoneError { file: path.to_string_lossy().into(), line: 0, message: error.to_string() };
        let mut is_first_soa = true;
        let mut records = Records::open(path, origin)?;
        while let Some(record) = records.next() {
            let record = record?;
            if record.rtype == Type::SOA && std::mem::take(&mut is_first_soa) && unless.is_some() {
                let serial = record.data.to_soa().map(|soa| soa.serial);
                if serial == unless {
                    return Ok(None);
                }
            }
            gathering.insert(record).map_err(|error| records.wrong(error.to_string()))?;
        }
        gathering.finish().map(Some).map_err(wrong)
    }

    /// Its name.
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// What its SOA record says.
    pub fn soa(&self) -> &Soa {
        &self.soa
    }

    /// Its SOA record.
    pub fn soa_record(&self) -> Record {
        let mut records = Vec::new();
        if let Some(apex) = self.nodes.get(&self.origin) {
            self.put(&mut records, &self.origin, apex, Type::SOA, false);
        }
        let soa = || Record::new(self.origin.clone(), Type::SOA, self.soa.minimum, Data::soa(&self.soa));
        records.pop().unwrap_or_else(soa)
    }

    /// How many names have records.
    pub fn names(&self) -> usize {
        self.nodes.len()
    }

    /// Appends the records of a type, with their signatures where `dnssec` asks for them.
    fn put(&self, to: &mut Vec<Record>, owner: &Name, node: &Node, rtype: Type, dnssec: bool) {
        let record = |rtype, (ttl, data): &(u32, Data)| Record::new(owner.clone(), rtype, *ttl, data.clone());
        to.extend(node.of(rtype).iter().map(|one| record(rtype, one)));
        if dnssec && rtype != Type::RRSIG {
            to.extend(node.signatures(rtype).map(|one| record(Type::RRSIG, one)));
        }
    }

    /// Whether there are names below this one.
    fn has_below(&self, name: &Name) -> bool {
        let mut behind = self.nodes.range::<Name, _>((Bound::Excluded(name), Bound::Unbounded));
        behind.next().is_some_and(|(next, _)| next.is_within(name))
    }

    /// The nearest name at or in front of this one that has an NSEC record.
    fn nsec_before(&self, name: &Name) -> Option<(&Name, &Node)> {
        self.nodes.range::<Name, _>(..=name).rev().find(|(_, node)| node.has(Type::NSEC))
    }
}

/// The records of a name but for the SOA.
fn node_records<'a>(name: &'a Name, node: &'a Node) -> impl Iterator<Item = Record> + 'a {
    let sets = node.0.iter().filter(|set| set.rtype != Type::SOA);
    sets.flat_map(move |set| {
        let record = |(ttl, data): &(u32, Data)| Record::new(name.clone(), set.rtype, *ttl, data.clone());
        set.records.iter().map(record)
    })
}

/// The records of a zone but for its SOA, one name at a time, while others read it too.
pub struct Copying {
    zone: std::sync::Arc<Zone>,
    /// The name whose records were given last.
    last: Option<Name>,
    ready: std::vec::IntoIter<Record>,
}

impl Copying {
    /// Copies a zone.
    pub fn new(zone: std::sync::Arc<Zone>) -> Copying {
        Copying { zone, last: None, ready: Vec::new().into_iter() }
    }
}

impl Iterator for Copying {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            if let Some(record) = self.ready.next() {
                return Some(record);
            }
            let start = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let (name, node) = self.zone.nodes.range::<Name, _>((start, Bound::Unbounded)).next()?;
            let records: Vec<_> = node_records(name, node).collect();
            (self.last, self.ready) = (Some(name.clone()), records.into_iter());
        }
    }
}
