//! Applies what sources tell and gives out snapshots.
//!
//! Where there is none (a folder, etcd) it also does the part of the API server (`addresses`) and of
//! the EndpointSlice controller (`endpoints`). What comes out depends on the set of objects alone,
//! never on the order in which they came: nodes that read the same objects agree without talking.
//!
//! One apply has two steps. The changes are taken in, which marks the Services they concern; then each
//! marked Service is completed anew from the objects and the indexes, and what differs from the snapshot
//! is what changed. A Service is cheap to complete, so marking one too many costs little.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::follow::Changed;
use crate::object::{
    EndpointSlice, Family, Kind, Mirror, Node, Object, ObjectKey, ObjectName, Pod, PodAddresses, Service, ServiceType,
    Str,
};
use crate::snapshot::{SliceKey, Snapshot};
use crate::source::{Change, Origin, Problem, Update};

mod addresses;
mod claims;
mod endpoints;
mod namespaces;
#[cfg(test)]
mod tests;

use claims::{Age, Claims};
use endpoints::Labelled;
pub use endpoints::is_made;
use namespaces::Implied;

/// What a [`State`] does besides keeping objects.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The ranges of `clusterIP`s, at most one of each family (of more, the first counts). The family of
    /// the first one is the default family of Services.
    pub service_cidrs: Vec<ipnet::IpNet>,
    /// Do the API server's and the endpoint controller's part (folder, etcd).
    pub complete: bool,
}

/// What one update brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// What differs from before.
    pub changed: Changed,
    /// Problems that did not stand before.
    pub reported: Vec<Problem>,
    /// Problems that stood before and no longer do.
    pub mended: Vec<Problem>,
}

/// The cluster as it is known now.
#[derive(Debug, Default)]
pub struct State {
    options: Options,
    snapshot: Snapshot,
    services: HashMap<ObjectName, Given>,
    /// To which Service each slice of the snapshot belongs.
    slices: HashMap<ObjectName, Str>,
    /// To which ServiceImport; few slices are here.
    imported: HashMap<ObjectName, Str>,
    claims: Claims,
    /// Where each Endpoints stands.
    mirrors: HashMap<ObjectName, Origin>,
    /// Pods by label, and Services by one pair of their selector; empty unless `complete`.
    pods: Labelled,
    selectors: Labelled,
    /// Empty unless `complete`.
    implied: Implied,
    /// What State itself refuses, by Service.
    refused: BTreeMap<ObjectName, Vec<Problem>>,
    /// What the source says it refuses.
    told: BTreeSet<Problem>,
    away: Option<String>,
    synced: bool,
}

/// A Service of the source.
#[derive(Debug)]
struct Given {
    /// Once settled, the one of the snapshot: only what was added to it tells it from what was written.
    service: Arc<Service>,
    /// How many of its addresses and families were written; those that were added follow them.
    written: (usize, usize),
    origin: Origin,
    /// Which pair of its selector stands in `State::selectors`.
    indexed: usize,
}

impl Given {
    /// The Service as its source has it.
    fn written(&self) -> Arc<Service> {
        let (addresses, families) = self.written;
        if (self.service.cluster_ips.len(), self.service.families.len()) == self.written {
            return self.service.clone();
        }
        let mut service = Service::clone(&self.service);
        service.cluster_ips.truncate(addresses);
        service.families.truncate(families);
        Arc::new(service)
    }
}

/// What must be looked at again before an apply ends.
#[derive(Default)]
struct Marks {
    services: BTreeSet<ObjectName>,
    addresses: BTreeSet<IpAddr>,
}

impl State {
    /// An empty cluster.
    pub fn new(options: Options) -> State {
        State { options, ..State::default() }
    }

    /// The cluster now. Costs nothing, and what is given out never changes.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.clone()
    }

    /// Everything that is refused now, by the source or by State.
    pub fn problems(&self) -> Vec<Problem> {
        self.told.iter().chain(self.refused.values().flatten()).cloned().collect()
    }

    /// Whether a whole read of the source has been applied.
    pub fn synced(&self) -> bool {
        self.synced
    }

    /// Why the source can't be read now, if it can't; what it said last stays meanwhile.
    pub fn away(&self) -> Option<&str> {
        self.away.as_deref()
    }

    /// Applies one update. The cost of [`Update::Some`] grows with what it changes (and with the Pods
    /// of the Services concerned), not with the cluster.
    pub fn apply(&mut self, update: Update) -> Applied {
        let mut applied = Applied::default();
        let mut marks = Marks::default();
        match update {
            Update::All(changes) => {
                self.reserve(&changes);
                for key in self.missing_from(&changes) {
                    self.delete(&key, &mut marks, &mut applied);
                }
                self.take(changes, &mut marks, &mut applied);
                self.synced = true;
            }
            Update::Some { changes, .. } => self.take(changes, &mut marks, &mut applied),
            Update::Problems(problems) => {
                let told = problems.into_iter().collect();
                let before = std::mem::replace(&mut self.told, told);
                applied.reported = self.told.difference(&before).cloned().collect();
                applied.mended = before.difference(&self.told).cloned().collect();
            }
            Update::Away(reason) => self.away = Some(reason),
            Update::Back => self.away = None,
        }
        for address in &marks.addresses {
            marks.services.extend(self.claims.of(*address).map(|claim| claim.service.clone()));
        }
        // The older first: what a younger one gets depends on them, never the other way round.
        let mut left: BTreeSet<Age> = marks.services.into_iter().map(|name| self.age(name)).collect();
        while let Some((_, name)) = left.pop_first() {
            let disturbed = self.settle(name, &mut applied);
            left.extend(disturbed.into_iter().map(|name| self.age(name)));
        }
        applied
    }

    /// The age of a Service; one that is gone comes before all.
    fn age(&self, name: ObjectName) -> Age {
        self.services.get(&name).map_or((i64::MIN, name), |given| claims::age(&given.service))
    }

    /// The objects that are here and not among `changes`.
    fn missing_from(&self, changes: &[Change]) -> Vec<ObjectKey> {
        if self.snapshot.revision == 0 {
            return Vec::new();
        }
        let mut stay: HashSet<ObjectKey> = HashSet::with_capacity(changes.len());
        stay.extend(changes.iter().filter_map(|change| match change {
            Change::Put(object, _) => Some(object.key()),
            Change::Delete(_) => None,
        }));
        let snapshot = &self.snapshot;
        let written = |name: &&ObjectName| !self.options.complete || self.implied.is_written(&name.name);
        let is_written =
            |name: &&ObjectName| snapshot.told_pods.get(*name).is_none_or(|(_, written)| written.is_some());
        let names = (self.services.keys().map(|name| (Kind::Service, name)))
            .chain(self.slices.keys().map(|name| (Kind::EndpointSlice, name)))
            .chain(self.imported.keys().map(|name| (Kind::EndpointSlice, name)))
            .chain(snapshot.endpoints.keys().map(|name| (Kind::Endpoints, name)))
            .chain(snapshot.pods.keys().filter(is_written).map(|name| (Kind::Pod, name)))
            .chain(snapshot.told_pods.keys().map(|name| (Kind::PodAddresses, name)))
            .chain(snapshot.nodes.keys().map(|name| (Kind::Node, name)))
            .chain(snapshot.namespaces.keys().filter(written).map(|name| (Kind::Namespace, name)))
            .chain(snapshot.network_policies.keys().map(|name| (Kind::NetworkPolicy, name)))
            .chain(snapshot.service_imports.keys().map(|name| (Kind::ServiceImport, name)))
            .chain(snapshot.service_cidrs.keys().map(|name| (Kind::ServiceCidr, name)));
        names.map(|(kind, name)| ObjectKey { kind, name: name.clone() }).filter(|key| !stay.contains(key)).collect()
    }

    /// Makes room at once: tables that grow step by step leave holes in the heap.
    fn reserve(&mut self, changes: &[Change]) {
        let count = |wanted: fn(&Object) -> bool| {
            changes.iter().filter(|change| matches!(change, Change::Put(object, _) if wanted(object))).count()
        };
        let services = count(|object| matches!(object, Object::Service(_)));
        let slices = count(|object| matches!(object, Object::EndpointSlice(_)));
        self.services.reserve(services.saturating_sub(self.services.len()));
        self.slices.reserve(slices.saturating_sub(self.slices.len()));
    }

    fn take(&mut self, changes: Vec<Change>, marks: &mut Marks, applied: &mut Applied) {
        for change in changes {
            match change {
                Change::Put(object, origin) => self.put(object, origin, marks, applied),
                Change::Delete(key) => self.delete(&key, marks, applied),
            }
        }
    }

    fn put(&mut self, object: Object, origin: Origin, marks: &mut Marks, applied: &mut Applied) {
        match object {
            Object::Service(service) => self.put_service(service, origin, marks, applied),
            Object::EndpointSlice(slice) => self.put_slice(slice, marks, applied),
            Object::Endpoints(mirror) => {
                marks.services.insert(mirror.name.clone());
                self.mirrors.insert(mirror.name.clone(), origin);
                self.keep(|s| &mut s.endpoints, mirror.name.clone(), mirror, None);
            }
            Object::Pod(pod) => self.write_pod(&pod.name.clone(), Some(pod), marks, applied),
            Object::PodAddresses(told) => self.tell_pod(&told.name.clone(), Some(told), marks, applied),
            Object::Node(node) => self.put_node(node, applied),
            Object::Namespace(o) if self.options.complete => {
                let namespaces = &mut applied.changed.namespaces;
                self.implied.write(&o.name.name.clone(), Some(o), &mut self.snapshot, namespaces);
            }
            Object::Namespace(o) => {
                self.keep(|s| &mut s.namespaces, o.name.clone(), o, Some(&mut applied.changed.namespaces));
            }
            Object::ServiceImport(o) => {
                self.keep(|s| &mut s.service_imports, o.name.clone(), o, Some(&mut applied.changed.imports));
            }
            Object::ServiceCidr(o) => self.keep(|s| &mut s.service_cidrs, o.name.clone(), o, None),
            Object::NetworkPolicy(o) => {
                self.keep(|s| &mut s.network_policies, o.name.clone(), o, Some(&mut applied.changed.policies));
            }
        }
    }

    fn delete(&mut self, key: &ObjectKey, marks: &mut Marks, applied: &mut Applied) {
        let name = &key.name;
        match key.kind {
            Kind::Service => {
                if let Some(old) = self.services.remove(name) {
                    self.forget_service(&old, marks);
                    self.left(&name.namespace, applied);
                    marks.services.insert(name.clone());
                }
            }
            Kind::EndpointSlice => {
                self.import_slice(name, None, applied);
                if let Some(service) = self.slices.remove(name) {
                    self.drop_slice(name, service, marks, applied);
                }
            }
            Kind::Endpoints => {
                marks.services.insert(name.clone());
                self.mirrors.remove(name);
                self.drop_kept(|s| &mut s.endpoints, name, None);
            }
            Kind::Pod => self.write_pod(name, None, marks, applied),
            Kind::PodAddresses => self.tell_pod(name, None, marks, applied),
            Kind::Node => {
                if self.snapshot.nodes.remove(name).is_some() {
                    self.snapshot.revision += 1;
                    applied.changed.nodes.insert(name.clone());
                }
            }
            Kind::Namespace if self.options.complete => {
                self.implied.write(&name.name, None, &mut self.snapshot, &mut applied.changed.namespaces);
            }
            Kind::Namespace => {
                self.drop_kept(|s| &mut s.namespaces, name, Some(&mut applied.changed.namespaces));
            }
            Kind::ServiceImport => {
                self.drop_kept(|s| &mut s.service_imports, name, Some(&mut applied.changed.imports));
            }
            Kind::ServiceCidr => self.drop_kept(|s| &mut s.service_cidrs, name, None),
            Kind::NetworkPolicy => {
                self.drop_kept(|s| &mut s.network_policies, name, Some(&mut applied.changed.policies));
            }
        }
    }

    /// Puts an object into the snapshot from which nothing else is made.
    fn keep<T: PartialEq>(&mut self, of: Kept<T>, name: ObjectName, object: Arc<T>, changed: Names<'_>) {
        let kept = of(&mut self.snapshot);
        if kept.get(&name) != Some(&object) {
            kept.insert(name.clone(), object);
            self.snapshot.revision += 1;
            changed.map(|changed| changed.insert(name));
        }
    }

    fn drop_kept<T>(&mut self, of: Kept<T>, name: &ObjectName, changed: Names<'_>) {
        if of(&mut self.snapshot).remove(name).is_some() {
            self.snapshot.revision += 1;
            changed.map(|changed| changed.insert(name.clone()));
        }
    }

    fn put_service(&mut self, service: Arc<Service>, origin: Origin, marks: &mut Marks, applied: &mut Applied) {
        let name = service.name.clone();
        if let Some(old) = self.services.get(&name)
            && old.origin == origin
            && old.written() == service
        {
            return;
        }
        match self.services.remove(&name) {
            Some(old) => self.forget_service(&old, marks),
            None => self.entered(&name.namespace, applied),
        }
        for address in addresses::plan(&service, &self.options).written() {
            self.claims.write(address, &service);
            marks.addresses.insert(address);
        }
        let mut indexed = 0;
        if let Some(selector) = self.selector_of(&service) {
            indexed = self.selectors.rarest(&name.namespace, selector);
            self.selectors.insert(&name.namespace, &selector[indexed..=indexed], &name.name);
        }
        let written = (service.cluster_ips.len(), service.families.len());
        self.services.insert(name.clone(), Given { service, written, origin, indexed });
        marks.services.insert(name);
    }

    fn forget_service(&mut self, old: &Given, marks: &mut Marks) {
        let service = old.written();
        let plan = addresses::plan(&service, &self.options);
        for address in plan.written() {
            self.claims.unwrite(address, &service);
            marks.addresses.insert(address);
            marks.services.extend(self.claims.waiting(Family::of(&address)).cloned());
        }
        for range in plan.ranges() {
            marks.services.extend(self.claims.leave(range, &service));
        }
        if let Some(selector) = self.selector_of(&service) {
            let pair = &selector[old.indexed..=old.indexed];
            self.selectors.remove(&service.name.namespace, pair, &service.name.name);
        }
    }

    /// The selector by which State looks for the Service's Pods, if it does. `{}` is none, as the API
    /// server drops it.
    fn selector_of<'a>(&self, service: &'a Service) -> Option<&'a [(Str, Str)]> {
        if !self.options.complete || service.kind == ServiceType::ExternalName {
            return None;
        }
        service.selector.as_deref().filter(|selector| !selector.is_empty())
    }

    fn put_slice(&mut self, slice: Arc<EndpointSlice>, marks: &mut Marks, applied: &mut Applied) {
        let name = slice.name.clone();
        let service = slice.service.clone();
        self.import_slice(&name, Some(&slice), applied);
        if let Some(before) = self.slices.get(&name)
            && Some(before) != service.as_ref()
        {
            let before = before.clone();
            self.slices.remove(&name);
            self.drop_slice(&name, before, marks, applied);
        }
        let Some(service) = service else { return };
        let key = slice_key(&name, service.clone());
        if self.snapshot.slices.get(&key) == Some(&slice) {
            return;
        }
        if !self.slices.contains_key(&name) {
            // The first slice of its own takes the place of those made from Pods.
            marks.services.insert(ObjectName { namespace: name.namespace.clone(), name: service.clone() });
            self.slices.insert(name.clone(), service.clone());
        }
        self.snapshot.slices.insert(key, slice);
        self.snapshot.revision += 1;
        applied.changed.services.insert(ObjectName { namespace: name.namespace, name: service });
    }

    /// Puts a slice where its ServiceImport finds it, if it is one of another cluster, and takes away the old one.
    fn import_slice(&mut self, name: &ObjectName, slice: Option<&Arc<EndpointSlice>>, applied: &mut Applied) {
        let imports = &mut applied.changed.imports;
        let import = slice.and_then(|slice| slice.import());
        if let Some(before) = self.imported.get(name)
            && Some(before) != import
        {
            imports.insert(ObjectName { namespace: name.namespace.clone(), name: before.clone() });
            self.snapshot.imported.remove(&slice_key(name, before.clone()));
            self.snapshot.revision += 1;
            self.imported.remove(name);
        }
        let (Some(slice), Some(import)) = (slice, import) else { return };
        let key = slice_key(name, import.clone());
        if self.snapshot.imported.get(&key) != Some(slice) {
            imports.insert(ObjectName { namespace: name.namespace.clone(), name: import.clone() });
            self.imported.insert(name.clone(), import.clone());
            self.snapshot.imported.insert(key, slice.clone());
            self.snapshot.revision += 1;
        }
    }

    fn drop_slice(&mut self, name: &ObjectName, service: Str, marks: &mut Marks, applied: &mut Applied) {
        self.snapshot.slices.remove(&slice_key(name, service.clone()));
        self.snapshot.revision += 1;
        let service = ObjectName { namespace: name.namespace.clone(), name: service };
        marks.services.insert(service.clone());
        applied.changed.services.insert(service);
    }

    /// What a manifest says of a Pod; None: it is gone.
    fn write_pod(&mut self, name: &ObjectName, pod: Option<Arc<Pod>>, marks: &mut Marks, applied: &mut Applied) {
        if let Some((told, written)) = self.snapshot.told_pods.get_mut(name) {
            let with_addresses = told.give_to(pod.as_deref());
            *written = pod;
            return self.put_pod(Arc::new(with_addresses), marks, applied);
        }
        match pod {
            Some(pod) => self.put_pod(pod, marks, applied),
            None => self.drop_pod(name, marks, applied),
        }
    }

    /// What a node says of a Pod; None: it is gone from there.
    fn tell_pod(
        &mut self,
        name: &ObjectName,
        told: Option<Arc<PodAddresses>>,
        marks: &mut Marks,
        applied: &mut Applied,
    ) {
        let before = self.snapshot.told_pods.remove(name);
        let written = match &before {
            Some((_, written)) => written.clone(),
            None => self.snapshot.pods.get(name).cloned(),
        };
        match (told, written) {
            (Some(told), written) => {
                let with_addresses = told.give_to(written.as_deref());
                self.snapshot.told_pods.insert(name.clone(), (told, written));
                self.put_pod(Arc::new(with_addresses), marks, applied);
            }
            (None, _) if before.is_none() => {}
            (None, Some(written)) => self.put_pod(written, marks, applied),
            (None, None) => self.drop_pod(name, marks, applied),
        }
    }

    fn drop_pod(&mut self, name: &ObjectName, marks: &mut Marks, applied: &mut Applied) {
        if let Some(old) = self.snapshot.pods.remove(name) {
            self.snapshot.revision += 1;
            self.mark_selecting(&old, marks);
            self.pods.remove(&name.namespace, &old.labels, &name.name);
            self.left(&name.namespace, applied);
            applied.changed.pods.insert(name.clone());
        }
    }

    fn put_pod(&mut self, pod: Arc<Pod>, marks: &mut Marks, applied: &mut Applied) {
        if let Some(old) = self.snapshot.pods.get(&pod.name).cloned() {
            if old == pod {
                return;
            }
            self.mark_selecting(&old, marks);
            self.pods.remove(&old.name.namespace, &old.labels, &old.name.name);
        } else {
            self.entered(&pod.name.namespace, applied);
        }
        applied.changed.pods.insert(pod.name.clone());
        if self.options.complete {
            self.mark_selecting(&pod, marks);
            self.pods.insert(&pod.name.namespace, &pod.labels, &pod.name.name);
        }
        self.snapshot.pods.insert(pod.name.clone(), pod);
        self.snapshot.revision += 1;
    }

    /// Marks the Services that select this Pod.
    fn mark_selecting(&self, pod: &Pod, marks: &mut Marks) {
        for pair in &pod.labels {
            for service in self.selectors.with(&pod.name.namespace, pair) {
                let name = ObjectName { namespace: pod.name.namespace.clone(), name: service.clone() };
                let selector = self.services.get(&name).and_then(|given| given.service.selector.as_deref());
                if selector.is_some_and(|selector| endpoints::selects(selector, &pod.labels)) {
                    marks.services.insert(name);
                }
            }
        }
    }

    fn put_node(&mut self, node: Arc<Node>, applied: &mut Applied) {
        if self.snapshot.nodes.get(&node.name) != Some(&node) {
            applied.changed.nodes.insert(node.name.clone());
            self.snapshot.nodes.insert(node.name.clone(), node);
            self.snapshot.revision += 1;
        }
    }

    /// Completes one Service anew and puts into the snapshot what differs; tells which younger ones that concerns.
    fn settle(&mut self, name: ObjectName, applied: &mut Applied) -> Vec<ObjectName> {
        let mut changed = false;
        let (service, lost, mut problems, disturbed) = match self.services.get(&name) {
            Some(given) => {
                let find = |other: &ObjectName| self.services.get(other).map(|given| &*given.service);
                let written = given.written();
                let settled = addresses::settle(&written, &given.origin, &self.options, &mut self.claims, find);
                (Some(settled.service), settled.lost, settled.problems, settled.disturbed)
            }
            None => (None, Vec::new(), Vec::new(), Vec::new()),
        };
        changed |= self.replace_made(&name, service.as_deref());
        problems.extend(service.as_deref().and_then(|service| self.left_out(service)));
        if self.snapshot.services.get(&name) != service.as_ref() {
            match service {
                Some(service) => self.snapshot.services.insert(name.clone(), service),
                None => self.snapshot.services.remove(&name),
            };
            changed = true;
        }
        if let (Some(given), Some(service)) = (self.services.get_mut(&name), self.snapshot.services.get(&name)) {
            given.service = service.clone();
        }
        if self.snapshot.lost.get(&name).map_or(&[][..], |lost| lost) != lost {
            if lost.is_empty() {
                self.snapshot.lost.remove(&name);
            } else {
                self.snapshot.lost.insert(name.clone(), lost.into());
            }
            changed = true;
        }
        self.refuse(&name, problems, applied);
        if changed {
            self.snapshot.revision += 1;
            applied.changed.services.insert(name);
        }
        disturbed
    }

    /// Makes the slices that come from Pods what they must be; tells whether any changed.
    fn replace_made(&mut self, name: &ObjectName, service: Option<&Service>) -> bool {
        if !self.options.complete {
            return false;
        }
        let made_before: Vec<Arc<EndpointSlice>> =
            self.snapshot.slices_of(name).filter(|slice| endpoints::is_made(slice)).cloned().collect();
        let has_own = self.snapshot.slices_of(name).any(|slice| !endpoints::is_made(slice));
        let made: Vec<Arc<EndpointSlice>> = match service.map(|service| (service, self.selector_of(service))) {
            Some((service, Some(selector))) if !has_own => {
                let pods = self.pods.matching(&name.namespace, selector, &self.snapshot.pods);
                endpoints::slices(service, &pods).into_iter().map(Arc::new).collect()
            }
            Some((service, None)) => self.mirror_of(service).map_or_else(Vec::new, |mirror| mirror.slices.to_vec()),
            _ => Vec::new(),
        };
        if made.len() == made_before.len() && made.iter().zip(&made_before).all(|(new, old)| new == old) {
            return false;
        }
        for slice in made_before {
            self.snapshot.slices.remove(&slice_key(&slice.name, name.name.clone()));
        }
        for slice in made {
            self.snapshot.slices.insert(slice_key(&slice.name, name.name.clone()), slice);
        }
        true
    }

    /// The Endpoints beside a Service without a selector, unless somebody has mirrored it already.
    fn mirror_of(&self, service: &Service) -> Option<&Arc<Mirror>> {
        let mirror = self.snapshot.endpoints.get(&service.name)?;
        let is_one = |slice: &EndpointSlice| !endpoints::is_made(slice) && endpoints::is_mirrored(slice);
        let selects = service.kind == ServiceType::ExternalName || self.selector_of(service).is_some();
        (!selects && !self.snapshot.slices_of(&service.name).any(|slice| is_one(slice))).then_some(mirror)
    }

    /// What of its Endpoints is not mirrored.
    fn left_out(&self, service: &Service) -> Option<Problem> {
        let mirror = self.mirror_of(service).filter(|mirror| self.options.complete && mirror.left_out > 0)?;
        Some(Problem {
            origin: self.mirrors.get(&service.name)?.clone(),
            object: Some(format!("Endpoints {}", service.name)),
            field: Some("subsets".to_owned()),
            message: format!(
                "{} addresses are left out, as at most {} of a subset are mirrored; write them as EndpointSlices",
                mirror.left_out,
                Mirror::MAX
            ),
        })
    }

    /// Notes what is refused of one Service now.
    fn refuse(&mut self, name: &ObjectName, problems: Vec<Problem>, applied: &mut Applied) {
        let before = self.refused.remove(name).unwrap_or_default();
        applied.reported.extend(problems.iter().filter(|problem| !before.contains(problem)).cloned());
        applied.mended.extend(before.into_iter().filter(|problem| !problems.contains(problem)));
        if !problems.is_empty() {
            self.refused.insert(name.clone(), problems);
        }
    }
}

/// Where the snapshot keeps a kind from which nothing else is made.
type Kept<T> = fn(&mut Snapshot) -> &mut imbl::OrdMap<ObjectName, Arc<T>>;

/// Where the name of what changed is noted; None where nobody needs to know.
type Names<'a> = Option<&'a mut BTreeSet<ObjectName>>;

fn slice_key(name: &ObjectName, service: Str) -> SliceKey {
    SliceKey { namespace: name.namespace.clone(), service, name: name.name.clone() }
}
