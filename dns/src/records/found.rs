//! What a question found, and how that becomes records: one walk, for the bytes of the fast way and the records of
//! the long way alike, so that they cannot differ.

use std::net::IpAddr;

use bowline_cluster::object::ObjectName;
use smallvec::SmallVec;

use super::Records;
use super::entry::Entry;
use super::host::Labels;
use super::nameservers::NameServer;
use super::options::Zone;
use super::rrset::Rrset;
use super::targets::{Filter, Targets};
use crate::wire::{Name, Rcode, Record, Type};

/// What there is under a name for a type.
#[derive(Debug)]
pub enum Found<'a> {
    /// Nothing was read yet, so nothing can be said: SERVFAIL.
    NotReady,
    /// The name does not exist: NXDOMAIN.
    NoName,
    /// It exists, without records of the type.
    NoData,
    /// Not to be asked here: a transfer.
    ServeError,
    /// Addresses, ready to be copied.
    Rrset(&'a Rrset),
    /// Addresses of the type that was asked for, none twice.
    Addresses(SmallVec<[IpAddr; 4]>),
    /// SRV records.
    Services(Services<'a>),
    /// A CNAME was asked for, and is this.
    Alias(&'a Name),
    /// An address was asked for and the name stands for this one, which is to be asked in its place.
    External(&'a Name),
    /// Names of an address.
    Pointers(SmallVec<[Pointer<'a>; 1]>),
    /// The zone's SOA record.
    Soa,
    /// The zone's name servers.
    NameServers(Vec<NameServer>),
    /// A text, with its own TTL.
    Text(&'static str),
}

/// Targets, and which of their ports are asked for.
#[derive(Debug)]
pub struct Services<'a> {
    pub(super) targets: Of<'a>,
    pub(super) filter: Filter<'a>,
    /// The labels of the Service in front of the zone.
    pub(super) front: &'a [u8],
}

/// Targets of a Service, or such as were sorted out for this answer.
#[derive(Debug)]
pub(super) enum Of<'a> {
    Entry(&'a Entry),
    Some(Box<Targets>),
}

/// A name of an address: that of a Service, or of one of its endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer<'a> {
    /// Labels of the endpoint; none for the Service itself.
    pub(super) host: Labels,
    pub(super) service: &'a ObjectName,
    /// The zone it is in.
    pub(super) zone: &'a Name,
}

/// What was found, with what an answer needs besides.
#[derive(Debug)]
pub struct Answer<'a> {
    /// What was found.
    pub found: Found<'a>,
    pub(super) records: &'a Records,
    pub(super) zone: &'a Zone,
}

/// The records of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sections {
    /// What was asked for.
    pub answers: Vec<Record>,
    /// The SOA of the zone, where that is nothing.
    pub authorities: Vec<Record>,
    /// Addresses of what is named.
    pub additionals: Vec<Record>,
}

/// A name in an answer.
pub(super) struct Full<'a> {
    /// Labels in front of the others.
    pub(super) host: &'a [u8],
    /// Labels in front of the zone.
    pub(super) front: &'a [u8],
    /// None for the zone of the question, in the letter case in which it was asked.
    pub(super) zone: Option<&'a Name>,
}

/// Where a SOA stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Section {
    Answer,
    Authority,
}

/// The numbers of a SOA, all but the serial in seconds.
pub(super) struct Times {
    pub(super) ttl: u32,
    pub(super) serial: u32,
    pub(super) refresh: u32,
    pub(super) retry: u32,
    pub(super) expire: u32,
    pub(super) minimum: u32,
}

/// Takes the records of an answer: first the answer section, then the authority, then the additionals. Where it says
/// nothing else, the owner is the name of the question. None: there is no more room.
pub(super) trait Sink {
    /// Addresses as they are encoded.
    fn rrset(&mut self, rrset: &Rrset) -> Option<()>;
    /// An address.
    fn address(&mut self, ip: IpAddr, ttl: u32) -> Option<()>;
    /// A record whose data is a name.
    fn name(&mut self, rtype: Type, ttl: u32, name: &Full<'_>) -> Option<()>;
    /// An SRV record of priority 0. `target` counts the targets from 0, in order.
    fn srv(&mut self, ttl: u32, weight: u16, port: u16, target: usize, name: &Full<'_>) -> Option<()>;
    /// A TXT record.
    fn text(&mut self, ttl: u32, text: &str) -> Option<()>;
    /// The SOA of the question's zone.
    fn soa(&mut self, section: Section, times: &Times) -> Option<()>;
    /// In the additional section: an address of the target or name server of this number.
    fn glue(&mut self, ttl: u32, target: usize, name: &Full<'_>, ip: IpAddr) -> Option<()>;
}

impl<'a> Of<'a> {
    pub(super) fn targets(&self) -> &Targets {
        match self {
            Of::Entry(entry) => &entry.targets,
            Of::Some(targets) => targets,
        }
    }
}

impl Answer<'_> {
    /// The response code. An [`Found::External`] is none yet: its target has to be asked first.
    pub fn rcode(&self) -> Rcode {
        match self.found {
            Found::NotReady => Rcode::SERVFAIL,
            Found::NoName => Rcode::NXDOMAIN,
            Found::ServeError => Rcode::REFUSED,
            _ => Rcode::NOERROR,
        }
    }

    /// The zone that the name is in.
    pub fn zone(&self) -> &Zone {
        self.zone
    }

    /// The TTL of the cluster's records, in seconds.
    pub fn ttl(&self) -> u32 {
        self.records.options.ttl
    }

    /// The number of the SOA and its times.
    pub(super) fn times(&self) -> Times {
        self.records.times(self.zone)
    }

    /// Gives every record to a sink. False if it had no room for all.
    pub(super) fn walk(&self, to: &mut impl Sink) -> bool {
        self.walk_all(to).is_some()
    }

    fn walk_all(&self, to: &mut impl Sink) -> Option<()> {
        let ttl = self.ttl();
        match &self.found {
            // A refusal is the server's, and an External is no answer: neither says anything of the zone.
            Found::ServeError | Found::External(_) => Some(()),
            Found::NotReady | Found::NoName | Found::NoData => to.soa(Section::Authority, &self.times()),
            Found::Rrset(rrset) => to.rrset(rrset),
            Found::Addresses(addresses) => addresses.iter().try_for_each(|ip| to.address(*ip, ttl)),
            Found::Services(services) => self.walk_services(services, to),
            Found::Alias(name) => {
                let front = name.as_wire().strip_suffix(&[0]).unwrap_or_default();
                to.name(Type::CNAME, ttl, &Full { host: &[], front, zone: Some(&Name::root()) })
            }
            Found::Pointers(pointers) => pointers.iter().try_for_each(|pointer| {
                let Some(front) = super::entry::front(pointer.service) else { return Some(()) };
                to.name(Type::PTR, ttl, &Full { host: &pointer.host, front: &front, zone: Some(pointer.zone) })
            }),
            Found::Soa => to.soa(Section::Answer, &self.times()),
            Found::NameServers(servers) => walk_name_servers(servers, ttl, to),
            Found::Text(text) => to.text(VERSION_TTL, text),
        }
    }

    fn walk_services(&self, services: &Services<'_>, to: &mut impl Sink) -> Option<()> {
        let (ttl, filter, targets) = (self.ttl(), services.filter, services.targets.targets());
        let weight = weight(targets.count(filter));
        let mut at = 0;
        for target in targets.iter() {
            let name = Full { host: &target.host, front: services.front, zone: None };
            let mut any = false;
            for port in target.ports(filter) {
                to.srv(ttl, weight, port, at, &name)?;
                any = true;
            }
            at += usize::from(any);
        }
        let mut at = 0;
        for target in targets.iter() {
            let name = Full { host: &target.host, front: services.front, zone: None };
            let mut any = false;
            for ip in target.addresses(filter) {
                to.glue(ttl, at, &name, ip)?;
                any = true;
            }
            at += usize::from(any);
        }
        Some(())
    }
}

fn walk_name_servers(servers: &[NameServer], ttl: u32, to: &mut impl Sink) -> Option<()> {
    let mut names: Vec<&[u8]> = Vec::new();
    for server in servers {
        if !names.contains(&&*server.front) {
            to.name(Type::NS, ttl, &Full { host: &[], front: &server.front, zone: None })?;
            names.push(&server.front);
        }
    }
    servers.iter().try_for_each(|server| {
        let target = names.iter().position(|front| *front == &*server.front).unwrap_or_default();
        to.glue(ttl, target, &Full { host: &[], front: &server.front, zone: None }, server.ip)
    })
}

impl Services<'_> {
    /// Whether there is an SRV record at all: a Service without ports has none.
    pub(super) fn is_empty(&self) -> bool {
        self.targets.targets().iter().all(|target| target.ports(self.filter).next().is_none())
    }
}

/// The TTL of `dns-version`, in seconds, as CoreDNS has it.
const VERSION_TTL: u32 = 28800;

/// The weight of one of so many SRV records: their share of 100, at least 1. CoreDNS computes it in these steps.
pub(super) fn weight(count: u64) -> u16 {
    let weight = 100.0 / (100.0 * count as f64) * 100.0;
    (weight.floor() as u16).max(1)
}

impl Records {
    /// What the SOA of a zone says.
    pub(super) fn times(&self, zone: &Zone) -> Times {
        let ttl = self.options.ttl;
        let serial = self.serial(zone);
        Times { ttl: ttl.min(300), serial, refresh: 7200, retry: 1800, expire: 86400, minimum: ttl }
    }
}
