//! The Services as the kernel has them: gives numbers to ports and backends, writes slices, publishes
//! them, and takes back what nothing refers to any more.
//!
//! One change of one port, in this order, so that a look in between finds the old set or the new:
//!
//! ```text
//! backends that come    written under free ids, alive
//! a fresh slice         header and choices
//! backends that go      life made even: none stays with them by affinity or by what a socket keeps
//! the word              one store: new connections see the new slice
//! front ends            put, and those that are gone removed
//! old slice, old ids    free again after a grace period
//! ```
//! The cost depends on the backends of that port alone.

mod adopt;
mod slice;
mod store;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;

use bowline_cluster::object::{Family, ObjectName, Protocol, Str};
use bowline_ebpf::layout::{Endpoint, FrontendKey, SLOTS, Word};

use crate::arena::Arena;
use crate::grace::Grace;
use crate::ids::Ids;
use crate::plan::PortPlan;

pub(crate) use adopt::{Found, FoundPort, Readable};
pub(crate) use store::Store;

/// Why a port can't be programmed.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// A map has no room; the port stays as it was.
    #[error("the map {map} is full ({capacity} entries): the change is refused; raise {flag}, or remove Services")]
    Full {
        /// The map's name.
        map: &'static str,
        /// What fits in.
        capacity: u32,
        /// The flag that sets its size.
        flag: &'static str,
    },
    /// The names are too long to be kept.
    #[error("namespace, name and port name together are longer than a map's entry holds")]
    NameTooLong,
    /// A system call failed.
    #[error("map {map}: {error}")]
    Io {
        /// The map's name.
        map: &'static str,
        /// What it said.
        error: io::Error,
    },
}

/// What identifies a port of a Service over restarts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PortKey {
    /// The port's name; empty where there is but one.
    pub(crate) port: Str,
    /// TCP or UDP.
    pub(crate) protocol: Protocol,
    /// The family of its addresses.
    pub(crate) family: Family,
}

impl PortKey {
    fn of(plan: &PortPlan) -> PortKey {
        PortKey { port: plan.port.clone(), protocol: plan.protocol, family: plan.family }
    }
}

#[derive(Debug)]
struct Port {
    key: PortKey,
    id: u32,
    frontends: Vec<FrontendKey>,
    /// In the order of their endpoints.
    backends: Box<[u32]>,
    /// Its stand-in; 0: none.
    stand_in: u32,
}

#[derive(Debug)]
enum Retired {
    Slice { base: u32, order: u32 },
    Backends(Box<[u32]>),
    Service(u32),
}

/// How full the tables are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Front ends in the kernel, and room for them.
    pub frontends: (u32, u32),
    /// Service ports.
    pub services: (u32, u32),
    /// Backends.
    pub backends: (u32, u32),
    /// Words of the arena.
    pub slots: (u32, u32),
    /// Bytes of arrays mapped into this process.
    pub mapped_bytes: usize,
}

/// The Services in the kernel.
#[derive(Debug)]
pub(crate) struct Table {
    store: Store,
    services: HashMap<ObjectName, Vec<Port>>,
    /// Which service id has a front end.
    owners: HashMap<FrontendKey, u32>,
    service_ids: Ids,
    backend_ids: Ids,
    arena: Arena,
    grace: Grace,
    retired: VecDeque<(u64, Retired)>,
    /// Services whose last change was refused; tried again when something became free.
    refused: BTreeSet<ObjectName>,
    /// Whether anything was taken away since they were tried last.
    freed: bool,
}

impl Table {
    /// A table over the maps of `store`, with what was `found` in them or in those of another layout.
    ///
    /// # Errors
    /// No thread can be started, or a map can't be read.
    pub(crate) fn new(store: Store, found: Found) -> Result<Table, TableError> {
        let grace = Grace::start().map_err(|error| TableError::Io { map: "grace periods", error })?;
        let mut table = Table {
            service_ids: Ids::new(store.services.map().max_entries()),
            backend_ids: Ids::new(store.backends.map().max_entries()),
            arena: Arena::new(SLOTS, store.slot_limit),
            store,
            services: HashMap::new(),
            owners: HashMap::new(),
            grace,
            retired: VecDeque::new(),
            refused: BTreeSet::new(),
            freed: false,
        };
        table.take_over(found)?;
        Ok(table)
    }

    /// Puts what Services' plans say; what they no longer say stays until [`Table::go`]. What is refused is returned,
    /// with the old state of that port kept; all else is done. For all, before anything goes: a front end that moves
    /// between Services is never without one.
    pub(crate) fn come(
        &mut self,
        names: &BTreeSet<ObjectName>,
        plan: &mut dyn FnMut(&ObjectName) -> Vec<PortPlan>,
    ) -> Vec<(ObjectName, TableError)> {
        self.reclaim();
        let mut refused = Vec::new();
        for name in names {
            self.refused.remove(name);
            for port in plan(name) {
                if let Err(error) = self.set(name, &port) {
                    self.refused.insert(name.clone());
                    refused.push((name.clone(), error));
                }
            }
        }
        refused
    }

    /// Takes away what the plans of Services no longer say; an empty plan takes a Service away. It is asked again, so
    /// that not all plans are held at once.
    pub(crate) fn go(
        &mut self,
        names: &BTreeSet<ObjectName>,
        plan: &mut dyn FnMut(&ObjectName) -> Vec<PortPlan>,
    ) -> Vec<(ObjectName, TableError)> {
        let mut refused = Vec::new();
        for name in names {
            if self.refused.contains(name) {
                // What it had stays, until the whole of the new fits.
                continue;
            }
            if let Err(error) = self.keep_only(name, &plan(name)) {
                refused.push((name.clone(), error));
            }
        }
        refused
    }

    /// Whether changes were refused, and wait for room.
    pub(crate) fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Whether [`Table::retry`] has something to say.
    pub(crate) fn has_room_for_refused(&self) -> bool {
        self.freed && !self.refused.is_empty()
    }

    /// Services to be planned again because something became free since their last change was refused.
    pub(crate) fn retry(&mut self) -> BTreeSet<ObjectName> {
        if !std::mem::take(&mut self.freed) || self.refused.is_empty() {
            return BTreeSet::new();
        }
        // A change that waits for room is worth a grace period.
        let _ = self.settle();
        self.refused.clone()
    }

    /// The Services that the kernel has.
    pub(crate) fn names(&self) -> impl Iterator<Item = &ObjectName> {
        self.services.keys()
    }

    /// How full it is.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            frontends: (self.owners.len() as u32, self.store.frontends.max_entries()),
            services: (self.service_ids.used(), self.service_ids.capacity()),
            backends: (self.backend_ids.used(), self.backend_ids.capacity()),
            slots: (self.arena.used(), self.arena.capacity()),
            mapped_bytes: self.store.mapped_bytes(),
        }
    }

    /// Waits until all that was taken away is free again.
    ///
    /// # Errors
    /// The kernel gave no grace period.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        if let Some((period, _)) = self.retired.back() {
            let period = *period;
            self.grace.wait(period)?;
        }
        self.reclaim();
        Ok(())
    }

    fn retire(&mut self, what: Retired) {
        self.freed = true;
        let period = self.grace.after_now();
        self.retired.push_back((period, what));
    }

    /// Makes free what no program can be reading any more; says how much.
    pub(crate) fn reclaim(&mut self) -> usize {
        if self.retired.is_empty() {
            return 0;
        }
        let done = self.grace.done();
        let mut count = 0;
        while self.retired.front().is_some_and(|(period, _)| *period <= done) {
            count += 1;
            match self.retired.pop_front() {
                Some((_, Retired::Slice { base, order })) => self.arena.give(base, order),
                Some((_, Retired::Backends(ids))) => ids.iter().for_each(|id| self.backend_ids.give(*id)),
                Some((_, Retired::Service(id))) => {
                    // Only now: a program that had read the front end still found the slice.
                    self.store.publish(id, Word(0));
                    self.store.set_stand_in(id, 0);
                    if let Err(error) = self.store.remove_name(id) {
                        tracing::warn!(id, %error, "the name of a Service that went stays; its id is not used again");
                        continue;
                    }
                    self.service_ids.give(id);
                }
                None => break,
            }
        }
        count
    }

    /// Takes something, and where there is none waits once for what is on its way back.
    fn take<T>(&mut self, full: TableError, mut take: impl FnMut(&mut Table) -> Option<T>) -> Result<T, TableError> {
        if let Some(taken) = take(self) {
            return Ok(taken);
        }
        // Without a grace period nothing comes back, and "full" is the truth.
        let _ = self.settle();
        take(self).ok_or(full)
    }

    fn set(&mut self, name: &ObjectName, plan: &PortPlan) -> Result<(), TableError> {
        let key = PortKey::of(plan);
        let known = self.services.get(name).and_then(|ports| ports.iter().position(|p| p.key == key));
        let index = match known {
            Some(index) => index,
            None => self.add(name, key)?,
        };
        let result = self
            .set_backends(name, index, plan)
            .and_then(|()| self.set_stand_in(name, index, plan))
            .and_then(|()| self.put_frontends(name, index, plan));
        if result.is_err() && known.is_none() {
            // Nothing has seen it: it goes as if it had never come.
            let freed = self.freed;
            self.drop_port(name, index)?;
            self.freed = freed;
        }
        result
    }

    fn add(&mut self, name: &ObjectName, key: PortKey) -> Result<usize, TableError> {
        let full = TableError::Full { map: "services", capacity: self.service_ids.capacity(), flag: "--max-services" };
        let id = self.take(full, |t| t.service_ids.take())?;
        if let Err(error) = self.store.put_name(id, name, &key) {
            self.service_ids.give(id);
            return Err(error);
        }
        if let Err(error) = self.store.reach_service(id) {
            self.service_ids.give(id);
            return Err(error);
        }
        let ports = self.services.entry(name.clone()).or_default();
        // Most Services have one port; a Vec would make room for four.
        ports.reserve_exact(1);
        ports.push(Port { key, id, frontends: Vec::new(), backends: Box::default(), stand_in: 0 });
        Ok(ports.len() - 1)
    }

    fn port(&self, name: &ObjectName, index: usize) -> Option<&Port> {
        self.services.get(name).and_then(|ports| ports.get(index))
    }

    fn port_mut(&mut self, name: &ObjectName, index: usize) -> Option<&mut Port> {
        self.services.get_mut(name).and_then(|ports| ports.get_mut(index))
    }

    fn set_backends(&mut self, name: &ObjectName, index: usize, plan: &PortPlan) -> Result<(), TableError> {
        let Some(port) = self.port(name, index) else { return Ok(()) };
        let id = port.id;
        let word = Word(self.store.word(id));
        let have: Vec<(u32, Endpoint, bool)> = port
            .backends
            .iter()
            .map(|id| {
                let b = self.store.backend(*id);
                (*id, b.endpoint, bowline_ebpf::layout::is_alive(b.life))
            })
            .collect();
        let how = slice::header(plan);
        let same_set =
            have.len() == plan.backends.len() && have.iter().zip(&plan.backends).all(|(h, want)| h.1 == *want && h.2);
        if same_set && word.is_published() && self.store.header(word) == how {
            return Ok(());
        }

        // Both lists are in the order of their endpoints.
        let mut ids = Vec::with_capacity(plan.backends.len());
        let (mut fresh, mut gone, mut old) = (Vec::new(), Vec::new(), have.iter().peekable());
        for want in &plan.backends {
            while let Some(h) = old.next_if(|h| h.1 < *want) {
                gone.push(h.0);
            }
            match old.next_if(|h| h.1 == *want) {
                Some(h) => {
                    ids.push(h.0);
                    if !h.2 {
                        self.store.revive(h.0);
                    }
                }
                None => match self.new_backend(id, want) {
                    Ok(backend) => {
                        fresh.push(backend);
                        ids.push(backend);
                    }
                    Err(error) => {
                        self.never_seen(&fresh);
                        return Err(error);
                    }
                },
            }
        }
        gone.extend(old.map(|h| h.0));

        let choices = slice::choices(plan, &ids);
        let order = Arena::order(choices.len() as u32);
        let full = TableError::Full { map: "slots", capacity: self.arena.capacity(), flag: "--max-slots" };
        let base = match self.take(full, |t| t.arena.take(order)) {
            Ok(base) => base,
            Err(error) => {
                self.never_seen(&fresh);
                return Err(error);
            }
        };
        if let Err(error) = self.store.put_slice(base, &how, &choices) {
            self.arena.give(base, order);
            self.never_seen(&fresh);
            return Err(error);
        }
        for backend in &gone {
            self.store.end(*backend);
        }
        self.store.publish(id, Word::new(base, choices.len() as u32, word.generation().wrapping_add(1).max(1)));
        if word.is_published() {
            self.retire(Retired::Slice { base: word.base(), order: Arena::order(word.length()) });
        }
        if !gone.is_empty() {
            self.retire(Retired::Backends(gone.into()));
        }
        if let Some(port) = self.port_mut(name, index) {
            port.backends = ids.into();
        }
        Ok(())
    }

    /// Writes a backend under a free id, alive.
    fn new_backend(&mut self, service: u32, endpoint: &Endpoint) -> Result<u32, TableError> {
        let full = TableError::Full { map: "backends", capacity: self.backend_ids.capacity(), flag: "--max-backends" };
        let backend = self.take(full, |t| t.backend_ids.take())?;
        let written = self.store.put_backend(backend, service, endpoint);
        if written.is_err() {
            self.backend_ids.give(backend);
        }
        written.map(|()| backend)
    }

    fn set_stand_in(&mut self, name: &ObjectName, index: usize, plan: &PortPlan) -> Result<(), TableError> {
        let Some(port) = self.port(name, index) else { return Ok(()) };
        let (id, old) = (port.id, port.stand_in);
        let have = (old != 0).then(|| self.store.backend(old));
        if have.filter(|b| bowline_ebpf::layout::is_alive(b.life)).map(|b| b.endpoint) == plan.stand_in {
            return Ok(());
        }
        let new = plan.stand_in.map_or(Ok(0), |endpoint| self.new_backend(id, &endpoint))?;
        self.store.set_stand_in(id, new);
        if old != 0 {
            self.store.end(old);
            self.retire(Retired::Backends(Box::new([old])));
        }
        if let Some(port) = self.port_mut(name, index) {
            port.stand_in = new;
        }
        Ok(())
    }

    /// Gives back ids that were written and never published.
    fn never_seen(&mut self, backends: &[u32]) {
        for id in backends {
            self.store.end(*id);
            self.backend_ids.give(*id);
        }
    }

    fn put_frontends(&mut self, name: &ObjectName, index: usize, plan: &PortPlan) -> Result<(), TableError> {
        let Some(port) = self.port(name, index) else { return Ok(()) };
        let id = port.id;
        let wanted: Vec<FrontendKey> =
            plan.frontends.iter().map(|e| FrontendKey::of(e, plan.protocol.number())).collect();
        for key in &wanted {
            if self.owners.get(key) == Some(&id) {
                continue;
            }
            self.store.put_frontend(key, id)?;
            self.owners.insert(*key, id);
            if let Some(port) = self.port_mut(name, index)
                && !port.frontends.contains(key)
            {
                port.frontends.reserve_exact(1);
                port.frontends.push(*key);
            }
        }
        Ok(())
    }

    /// Removes a port's front ends that are not wanted, unless another port has taken them meanwhile.
    fn remove_frontends(
        &mut self,
        name: &ObjectName,
        index: usize,
        wanted: impl Fn(&FrontendKey) -> bool,
    ) -> Result<(), TableError> {
        let Some(port) = self.port_mut(name, index) else { return Ok(()) };
        let id = port.id;
        let (keep, gone): (Vec<_>, Vec<_>) = port.frontends.drain(..).partition(&wanted);
        port.frontends = keep;
        for key in gone {
            if self.owners.get(&key) == Some(&id) {
                self.owners.remove(&key);
                self.freed = true;
                self.store.remove_frontend(&key)?;
            }
        }
        Ok(())
    }

    /// Removes the ports and front ends of a Service that its plan doesn't have.
    fn keep_only(&mut self, name: &ObjectName, plans: &[PortPlan]) -> Result<(), TableError> {
        let mut index = 0;
        while let Some(port) = self.port(name, index) {
            match plans.iter().find(|plan| PortKey::of(plan) == port.key) {
                Some(plan) => {
                    let protocol = plan.protocol.number();
                    self.remove_frontends(name, index, |key| {
                        plan.frontends.iter().any(|e| FrontendKey::of(e, protocol) == *key)
                    })?;
                    index += 1;
                }
                None => self.drop_port(name, index)?,
            }
        }
        Ok(())
    }

    fn drop_port(&mut self, name: &ObjectName, index: usize) -> Result<(), TableError> {
        self.remove_frontends(name, index, |_| false)?;
        let Some(ports) = self.services.get_mut(name) else { return Ok(()) };
        let port = ports.swap_remove(index);
        if ports.is_empty() {
            self.services.remove(name);
        }
        let word = Word(self.store.word(port.id));
        for backend in port.backends.iter().chain((port.stand_in != 0).then_some(&port.stand_in)) {
            self.store.end(*backend);
        }
        // Before its slice is: what stands in a map must never lead to what may be used again.
        self.retire(Retired::Service(port.id));
        if word.is_published() {
            self.retire(Retired::Slice { base: word.base(), order: Arena::order(word.length()) });
        }
        if !port.backends.is_empty() {
            self.retire(Retired::Backends(port.backends));
        }
        if port.stand_in != 0 {
            self.retire(Retired::Backends(Box::new([port.stand_in])));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
