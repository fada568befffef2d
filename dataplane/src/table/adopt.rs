//! What stands in the kernel when an agent starts: read from the maps of its own layout, or, field by
//! field, from those of another.

use std::collections::{BTreeMap, HashMap};
use std::io;

use bowline_cluster::object::{Family, ObjectName, Protocol};
use bowline_ebpf::describe::Field;
use bowline_ebpf::layout::{Backend, Endpoint, Frontend, FrontendKey, HEADER, SLOTS, Service, Word};

use super::{Arena, Port, PortKey, Table, TableError};
use crate::records::Records;
use bowline_sys::{Map, Mapped};

/// One port as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundPort {
    /// Its Service.
    pub(crate) name: ObjectName,
    /// Which port of it.
    pub(crate) key: PortKey,
    /// Its service id.
    pub(crate) id: u32,
    /// Its front ends.
    pub(crate) frontends: Vec<FrontendKey>,
    /// Its slice; zero where none was published.
    pub(crate) word: Word,
    /// The first word of the slice: scheduler and flags.
    pub(crate) how: u32,
    /// Seconds of affinity.
    pub(crate) affinity: u32,
    /// Its round robin's turn.
    pub(crate) turn: u64,
    /// Its stand-in: id, life, endpoint.
    pub(crate) stand_in: Option<(u32, u32, Endpoint)>,
    /// Its backends: id, life, endpoint; in the order of their endpoints, none twice.
    pub(crate) backends: Vec<(u32, u32, Endpoint)>,
}

/// All that was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// The ports, by id.
    pub(crate) ports: Vec<FoundPort>,
    /// Whether it stands in the table's own maps already.
    pub(crate) in_place: bool,
}

/// The text in `names`.
pub(super) fn name_text(name: &ObjectName, key: &PortKey) -> String {
    format!("{}/{}/{}/{}/{}", name.namespace, name.name, key.port, key.protocol, key.family)
}

fn parse_name(text: &str) -> Option<(ObjectName, PortKey)> {
    let mut parts = text.split('/');
    let (namespace, name, port) = (parts.next()?, parts.next()?, parts.next()?);
    let protocol = match parts.next()? {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        "SCTP" => Protocol::Sctp,
        _ => return None,
    };
    let family = match parts.next()? {
        "IPv4" => Family::V4,
        "IPv6" => Family::V6,
        _ => return None,
    };
    let name = ObjectName { namespace: namespace.into(), name: name.into() };
    Some((name, PortKey { port: port.into(), protocol, family }))
}

/// The maps of any layout, to be read.
#[derive(Debug)]
pub(crate) struct Readable {
    /// Their layout.
    pub(crate) records: Records,
    /// `frontends`.
    pub(crate) frontends: Map,
    /// `names`.
    pub(crate) names: Map,
    /// `services`.
    pub(crate) services: Map,
    /// `slots`.
    pub(crate) slots: Map,
    /// `backends`.
    pub(crate) backends: Map,
}

impl Readable {
    /// A life that none of the backends has had, whether their ids are in use or free.
    ///
    /// # Errors
    /// What mmap(2) says.
    pub(crate) fn life_after_all(&self) -> io::Result<u32> {
        let size = self.records.at(Field::BackendSize).next_multiple_of(8);
        let count = self.backends.max_entries() as usize;
        let mut backends = Mapped::new(self.backends.again()?);
        backends.reach(0, size * count)?;
        let lives = (0..count).map(|id| backends.load32(id * size + self.records.at(Field::BackendLife)));
        Ok(lives.max().unwrap_or(0).saturating_add(1) | 1)
    }

    /// Reads all ports. Costs one call a front end, a name, a service and a backend, and one for the
    /// whole arena.
    ///
    /// # Errors
    /// What bpf(2) says.
    pub(crate) fn read(&self) -> io::Result<Vec<FoundPort>> {
        let r = &self.records;
        let mut frontends: HashMap<u32, Vec<FrontendKey>> = HashMap::new();
        for (key, value) in self.frontends.entries()? {
            frontends.entry(r.read::<Frontend>(&value).service).or_default().push(r.read(&key));
        }
        let arena = self.slots.get(&0u32.to_ne_bytes())?.unwrap_or_default();
        let slot = |index: u32| {
            let at = (index & (SLOTS - 1)) as usize * 4;
            arena.get(at..at + 4).map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
        };
        let mut ports = Vec::new();
        for (key, value) in self.names.entries()? {
            let Ok(id) = key.as_slice().try_into().map(u32::from_ne_bytes) else { continue };
            let Some((name, port)) = r.read_name(&value).as_deref().and_then(parse_name) else { continue };
            let Some(service) = self.services.get(&key)? else { continue };
            let service: Service = r.read(&service);
            let word = Word(service.cluster);
            let backend = |number: u32| -> io::Result<Option<Backend>> {
                let record = self.backends.get(&number.to_ne_bytes())?;
                Ok(record.map(|record| r.read::<Backend>(&record)).filter(|b| b.service == id))
            };
            let stand_in = match service.stand_in as u32 {
                0 => None,
                number => backend(number)?.map(|b| (number, b.life, b.endpoint)),
            };
            let mut backends: BTreeMap<Endpoint, (u32, u32)> = BTreeMap::new();
            if word.is_published() {
                let mut ids: Vec<u32> = (0..word.length()).map(|i| slot(word.base() + HEADER + i)).collect();
                ids.sort_unstable();
                ids.dedup();
                for number in ids {
                    if let Some(b) = backend(number)? {
                        backends.insert(b.endpoint, (number, b.life));
                    }
                }
            }
            let mut mine = frontends.remove(&id).unwrap_or_default();
            mine.sort_by_key(|f| Endpoint::new(f.address, f.port));
            ports.push(FoundPort {
                name,
                key: port,
                id,
                frontends: mine,
                word,
                how: if word.is_published() { slot(word.base()) } else { 0 },
                affinity: if word.is_published() { slot(word.base() + 1) } else { 0 },
                turn: service.turn,
                stand_in,
                backends: backends.into_iter().map(|(e, (id, life))| (id, life, e)).collect(),
            });
        }
        ports.sort_by_key(|p| p.id);
        Ok(ports)
    }
}

impl Table {
    /// Takes over what was found: ids, lives and turns stay, so that what sockets and clients remember
    /// stays true.
    pub(crate) fn take_over(&mut self, found: Found) -> Result<(), TableError> {
        for port in found.ports {
            if !found.in_place && port.frontends.is_empty() {
                continue;
            }
            if !self.service_ids.reserve(port.id) {
                // Only where another layout's table was larger; its clients choose anew.
                tracing::warn!(service = %port.name, id = port.id, map = "services", "no such id here; left out");
                continue;
            }
            self.store.reach_service(port.id)?;
            let mut backends = Vec::with_capacity(port.backends.len());
            for (id, life, endpoint) in &port.backends {
                if !self.backend_ids.reserve(*id) {
                    continue;
                }
                self.store.reach_backend(*id)?;
                if !found.in_place {
                    self.store.carry_backend(*id, port.id, endpoint, *life);
                }
                backends.push(*id);
            }
            let mut frontends = Vec::new();
            let mut stand_in = 0;
            if found.in_place {
                match port.stand_in {
                    Some((id, _, _)) if self.backend_ids.reserve(id) => {
                        self.store.reach_backend(id)?;
                        stand_in = id;
                    }
                    _ => self.store.set_stand_in(port.id, 0),
                }
                if port.word.is_published() {
                    self.store.reach_slice(port.word.base(), port.word.length())?;
                    if !self.arena.reserve(port.word.base(), Arena::order(port.word.length())) {
                        tracing::warn!(service = %port.name, "its slice overlaps another; written anew");
                        self.store.publish(port.id, Word(0));
                    }
                }
                for key in &port.frontends {
                    self.owners.insert(*key, port.id);
                }
                frontends = port.frontends;
            } else {
                self.store.put_name(port.id, &port.name, &port.key)?;
                self.store.set_turn(port.id, port.turn);
            }
            // An agent was killed before it had made it free, or before it could be seen.
            let on_its_way_out = found.in_place && frontends.is_empty();
            let entry = Port { key: port.key, id: port.id, frontends, backends: backends.into(), stand_in };
            let ports = self.services.entry(port.name.clone()).or_default();
            ports.push(entry);
            let index = ports.len() - 1;
            if on_its_way_out {
                self.drop_port(&port.name, index)?;
            }
        }
        Ok(())
    }
}
