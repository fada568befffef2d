//! The maps of this layout, record by record.

use std::io;

use bowline_cluster::object::ObjectName;
use bowline_ebpf::describe::Field;
use bowline_ebpf::layout::{Backend, Endpoint, Frontend, FrontendKey, HEADER, Header, Word, is_alive};

use super::{PortKey, TableError};
use crate::records::OURS;
use bowline_sys::{Map, Mapped};

/// The maps that the table writes.
#[derive(Debug)]
pub(crate) struct Store {
    /// `frontends`.
    pub(crate) frontends: Map,
    /// `names`.
    pub(crate) names: Map,
    /// `services`.
    pub(crate) services: Mapped,
    /// `slots`.
    pub(crate) slots: Mapped,
    /// `backends`.
    pub(crate) backends: Mapped,
    /// How many words of `slots` may be used.
    pub(crate) slot_limit: u32,
    /// Lives begin here: above all that another layout's backends had, free ids too, since what remembers
    /// them is carried over.
    pub(crate) first_life: u32,
}

fn io_error(map: &'static str) -> impl Fn(io::Error) -> TableError {
    move |error| TableError::Io { map, error }
}

fn element(size: Field, id: u32) -> usize {
    OURS.at(size).next_multiple_of(8) * id as usize
}

impl Store {
    pub(super) fn mapped_bytes(&self) -> usize {
        self.services.mapped_bytes() + self.slots.mapped_bytes() + self.backends.mapped_bytes()
    }

    pub(super) fn reach_service(&mut self, id: u32) -> Result<(), TableError> {
        let size = OURS.at(Field::ServiceSize);
        self.services.reach(element(Field::ServiceSize, id), size).map_err(io_error("services"))
    }

    pub(super) fn word(&self, service: u32) -> u64 {
        self.services.load64(element(Field::ServiceSize, service) + OURS.at(Field::ServiceCluster))
    }

    pub(super) fn publish(&self, service: u32, word: Word) {
        self.services.publish64(element(Field::ServiceSize, service) + OURS.at(Field::ServiceCluster), word.0);
    }

    /// Makes a backend the service's stand-in; 0: it has none.
    pub(super) fn set_stand_in(&self, service: u32, backend: u32) {
        let at = element(Field::ServiceSize, service) + OURS.at(Field::ServiceStandIn);
        self.services.publish64(at, u64::from(backend));
    }

    pub(super) fn set_turn(&self, service: u32, turn: u64) {
        self.services.publish64(element(Field::ServiceSize, service) + OURS.at(Field::ServiceTurn), turn);
    }

    /// The header of a slice whose place is mapped.
    pub(super) fn header(&self, word: Word) -> Header {
        let at = word.base() as usize * 4;
        Header { how: self.slots.load32(at), affinity: self.slots.load32(at + 4), backends: self.slots.load32(at + 8) }
    }

    pub(super) fn reach_slice(&mut self, base: u32, choices: u32) -> Result<(), TableError> {
        let length = (HEADER + choices) as usize * 4;
        self.slots.reach(base as usize * 4, length).map_err(io_error("slots"))
    }

    pub(super) fn put_slice(&mut self, base: u32, header: &Header, choices: &[u32]) -> Result<(), TableError> {
        self.reach_slice(base, choices.len() as u32)?;
        let at = base as usize * 4;
        for (i, word) in [header.how, header.affinity, header.backends, 0].iter().chain(choices).enumerate() {
            self.slots.store32(at + i * 4, *word);
        }
        Ok(())
    }

    pub(super) fn reach_backend(&mut self, id: u32) -> Result<(), TableError> {
        let size = OURS.at(Field::BackendSize);
        self.backends.reach(element(Field::BackendSize, id), size).map_err(io_error("backends"))
    }

    pub(super) fn backend(&self, id: u32) -> Backend {
        let mut record = vec![0; OURS.at(Field::BackendSize)];
        self.backends.load(element(Field::BackendSize, id), &mut record);
        OURS.read(&record)
    }

    fn life_at(id: u32) -> usize {
        element(Field::BackendSize, id) + OURS.at(Field::BackendLife)
    }

    /// Writes a backend under an id that is not read yet, in a life that the id never had.
    pub(super) fn put_backend(&mut self, id: u32, service: u32, endpoint: &Endpoint) -> Result<(), TableError> {
        self.reach_backend(id)?;
        let life = self.backends.load32(Self::life_at(id)).wrapping_add(1).max(self.first_life) | 1;
        self.carry_backend(id, service, endpoint, life);
        Ok(())
    }

    /// Writes a backend with the life that it has in another layout; its place is mapped.
    pub(super) fn carry_backend(&self, id: u32, service: u32, endpoint: &Endpoint, life: u32) {
        let record = OURS.bytes(&Backend::new(*endpoint, service, life));
        self.backends.store(element(Field::BackendSize, id), &record);
    }

    /// Ends a backend's life: it is no member from now on.
    pub(super) fn end(&self, id: u32) {
        let life = self.backends.load32(Self::life_at(id));
        if is_alive(life) {
            self.backends.store32(Self::life_at(id), life.wrapping_add(1));
        }
    }

    /// Makes a backend a member again whose life an agent had ended just before it was killed.
    pub(super) fn revive(&self, id: u32) {
        let life = self.backends.load32(Self::life_at(id));
        self.backends.store32(Self::life_at(id), life.wrapping_add(1) | 1);
    }

    pub(super) fn put_frontend(&self, key: &FrontendKey, service: u32) -> Result<(), TableError> {
        self.frontends.put(&OURS.bytes(key), &OURS.bytes(&Frontend::new(service))).map_err(|error| {
            if error.raw_os_error() == Some(libc::E2BIG) {
                let capacity = self.frontends.max_entries();
                TableError::Full { map: "frontends", capacity, flag: "--max-frontends" }
            } else {
                TableError::Io { map: "frontends", error }
            }
        })
    }

    pub(super) fn remove_frontend(&self, key: &FrontendKey) -> Result<(), TableError> {
        self.frontends.remove(&OURS.bytes(key)).map(|_| ()).map_err(io_error("frontends"))
    }

    pub(super) fn put_name(&self, id: u32, name: &ObjectName, key: &PortKey) -> Result<(), TableError> {
        let text = super::adopt::name_text(name, key);
        let record = OURS.name(&text).ok_or(TableError::NameTooLong)?;
        self.names.put(&id.to_ne_bytes(), &record).map_err(io_error("names"))
    }

    pub(super) fn remove_name(&self, id: u32) -> Result<(), TableError> {
        self.names.remove(&id.to_ne_bytes()).map(|_| ()).map_err(io_error("names"))
    }
}
