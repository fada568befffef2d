//! Makes the next records from the last ones and a new snapshot.
//!
//! What changed is told with the snapshot, by name. Where it isn't (the records are new) the two snapshots are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bowline_cluster::follow::Changed;
use bowline_cluster::object::{EndpointSlice, Namespace, ObjectName, Service, ServiceImport, Str};
use bowline_cluster::snapshot::{SliceKey, Snapshot};
use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use super::entry::{self, Entry, Keyed, ready};
use super::options::{Options, PodMode};
use super::pointers::Owner;
use super::{Entries, Records};

/// Keeps published records up to date.
#[derive(Debug)]
pub struct Keeper {
    options: Arc<Options>,
    published: Arc<ArcSwap<Records>>,
}

impl Keeper {
    /// Nothing is known until the first [`Keeper::update`].
    pub fn new(options: Options) -> Keeper {
        let options = Arc::new(options);
        let published = Arc::new(ArcSwap::from_pointee(Records::new(options.clone())));
        Keeper { options, published }
    }

    /// Where the records are always the newest.
    pub fn published(&self) -> &Arc<ArcSwap<Records>> {
        &self.published
    }

    /// Publishes what a snapshot says, which must come from a state that has been read whole. `changed`: what differs
    /// from the one before; None where all of it may. Costs about as much as what changed.
    pub fn update(&mut self, snapshot: &Snapshot, changed: Option<&Changed>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // Serial numbers go round (RFC 1982).
        self.update_at(snapshot, changed, now as u32);
    }

    pub(super) fn update_at(&mut self, snapshot: &Snapshot, told: Option<&Changed>, now: u32) {
        let last = self.published.load_full();
        let mut next = Records::clone(&last);
        let before = std::mem::replace(&mut next.snapshot, snapshot.clone());
        let mut step = Step { options: &self.options, before: &before, next, changed: false, imports_changed: false };
        match told.filter(|_| last.synced) {
            Some(told) => step.run(told),
            None => step.run(&differing(&before, snapshot)),
        }
        let Step { mut next, changed, imports_changed, .. } = step;
        if changed || !next.synced {
            next.serial = now;
        }
        if imports_changed || !next.synced {
            next.import_serial = now;
        }
        next.synced = true;
        self.published.store(Arc::new(next));
    }
}

/// One update on its way.
struct Step<'a> {
    options: &'a Options,
    before: &'a Snapshot,
    next: Records,
    changed: bool,
    imports_changed: bool,
}

impl Step<'_> {
    fn run(&mut self, told: &Changed) {
        let after = self.next.snapshot.clone();
        let (mut services, mut imports) = (told.services.clone(), told.imports.clone());
        for (name, exposed) in self.namespaces(&told.namespaces, &after) {
            if exposed {
                self.next.namespaces.insert(name.clone());
            } else {
                self.next.namespaces.remove(&name);
            }
            services.extend(names_in(&after.services, &name));
            imports.extend(names_in(&after.service_imports, &name));
        }
        if !self.options.no_endpoints {
            told.services.iter().for_each(|name| self.point_to_endpoints(name, &after));
        }
        services.iter().for_each(|name| self.service(name, &after));
        imports.iter().for_each(|name| self.import(name, &after));
        if self.options.pods == PodMode::Verified {
            told.pods.iter().for_each(|name| self.pod(name, &after));
        }
    }

    /// Namespaces that come into sight or go out of it, or are again what they were.
    fn namespaces(&self, told: &BTreeSet<ObjectName>, after: &Snapshot) -> BTreeMap<Str, bool> {
        let exposed = |namespace: Option<&Arc<Namespace>>| namespace.is_some_and(|n| self.options.exposes(n));
        let states = told.iter().map(|name| {
            let (was, is) = (exposed(self.before.namespaces.get(name)), exposed(after.namespaces.get(name)));
            (name.name.clone(), was, is)
        });
        states.filter(|(_, was, is)| was != is).map(|(name, _, is)| (name, is)).collect()
    }

    /// Compiles one Service anew, or forgets it.
    fn service(&mut self, name: &ObjectName, after: &Snapshot) {
        let taken = |snapshot: &Snapshot| {
            snapshot.services.get(name).filter(|service| self.options.takes_service(service)).cloned()
        };
        let (was, is) = (taken(self.before), taken(after));
        let ips = |service: Option<&Arc<Service>>| {
            sorted(service.map(|service| service.cluster_ips.clone()).unwrap_or_default())
        };
        let (before, ips) = (ips(was.as_ref()), ips(is.as_ref()));
        if before != ips {
            self.next.pointers.set_service(&Owner::new(name.clone()), &before, &ips);
        }
        let exposed = is.filter(|_| self.next.is_exposed(&name.namespace));
        let entry = exposed.and_then(|service| {
            Entry::of_service(&service, taken_slices(self.options, after.slices_of(name)), self.options)
        });
        replace(&mut self.next.services, name, entry);
        self.changed = true;
    }

    /// Compiles one ServiceImport anew, or forgets it.
    fn import(&mut self, name: &ObjectName, after: &Snapshot) {
        if !self.options.zones.iter().any(|zone| zone.is_multicluster) {
            return;
        }
        let (was, is) = (self.before.service_imports.get(name), after.service_imports.get(name));
        let ips =
            |import: Option<&Arc<ServiceImport>>| sorted(import.map(|import| import.ips.clone()).unwrap_or_default());
        self.next.pointers.set_import(&Owner::new(name.clone()), &ips(was), &ips(is));
        let exposed = is.filter(|_| self.next.is_exposed(&name.namespace));
        let entry = exposed.and_then(|import| {
            Entry::of_import(import, taken_slices(self.options, after.imported_of(name)), self.options)
        });
        replace(&mut self.next.imports, name, entry);
        self.imports_changed = true;
    }

    fn point_to_endpoints(&mut self, name: &ObjectName, after: &Snapshot) {
        let ips = |snapshot: &Snapshot| {
            let slices = snapshot.slices_of(name).filter(|slice| self.options.takes(slice));
            sorted(slices.flat_map(|slice| ready(slice).map(|endpoint| endpoint.address)).collect())
        };
        let (before, ips) = (ips(self.before), ips(after));
        if before != ips {
            self.next.pointers.set_endpoints(&Owner::new(name.clone()), &before, &ips);
        }
    }

    fn pod(&mut self, name: &ObjectName, after: &Snapshot) {
        let key = |snapshot: &Snapshot| {
            let pod = snapshot.pods.get(name).filter(|pod| self.options.takes_pod(pod))?;
            Some((*pod.ips.first()?, pod.name.clone()))
        };
        let (was, is) = (key(self.before), key(after));
        if was != is {
            if let Some(was) = was {
                self.next.pods.remove(&was);
            }
            if let Some(is) = is {
                self.next.pods.insert(is);
            }
            self.changed = true;
        }
    }
}

/// What differs between two snapshots; they share all that did not change, and the comparison steps over that.
fn differing(before: &Snapshot, after: &Snapshot) -> Changed {
    let mut changed = Changed::default();
    changed.services.extend(keys(&before.services, &after.services));
    changed.services.extend(keys(&before.slices, &after.slices).map(|key| owner_of(&key)));
    changed.imports.extend(keys(&before.service_imports, &after.service_imports));
    changed.imports.extend(keys(&before.imported, &after.imported).map(|key| owner_of(&key)));
    changed.pods.extend(keys(&before.pods, &after.pods));
    changed.namespaces.extend(keys(&before.namespaces, &after.namespaces));
    changed
}

fn keys<'a, K: Ord + Clone, T: PartialEq>(
    before: &'a OrdMap<K, Arc<T>>,
    after: &'a OrdMap<K, Arc<T>>,
) -> impl Iterator<Item = K> + 'a {
    before.diff(after).map(|item| match item {
        DiffItem::Add(key, _) | DiffItem::Remove(key, _) | DiffItem::Update { new: (key, _), .. } => key.clone(),
    })
}

fn taken_slices<'a>(
    options: &Options,
    slices: impl Iterator<Item = &'a Arc<EndpointSlice>>,
) -> Vec<Arc<EndpointSlice>> {
    slices.filter(|slice| options.takes(slice)).cloned().collect()
}

fn replace(entries: &mut Entries, name: &ObjectName, entry: Option<Entry>) {
    match (entry, entry::front(name)) {
        (Some(entry), _) => {
            // The old key would stay: it holds the old entry.
            entries.remove(entry.front());
            entries.insert(Keyed(Arc::new(entry)), ());
        }
        (None, Some(front)) => drop(entries.remove(&front[..])),
        (None, None) => {}
    }
}

fn sorted(mut ips: Vec<IpAddr>) -> Vec<IpAddr> {
    ips.sort_unstable();
    ips.dedup();
    ips
}

fn owner_of(key: &SliceKey) -> ObjectName {
    ObjectName { namespace: key.namespace.clone(), name: key.service.clone() }
}

fn names_in<T>(of: &OrdMap<ObjectName, Arc<T>>, namespace: &Str) -> Vec<ObjectName> {
    let from = ObjectName { namespace: namespace.clone(), name: Str::default() };
    of.range(from..).take_while(|(name, _)| name.namespace == *namespace).map(|(name, _)| name.clone()).collect()
}
