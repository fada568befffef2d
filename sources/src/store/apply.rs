//! Putting objects, as `kubectl apply` does.

mod pick;

use std::collections::{BTreeMap, BTreeSet};

use etcd_client::{GetOptions, Txn, TxnOp};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::ServiceSpec;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::claims::{self, Holder};
use super::commit::{Abandoned, Change, Done, lists};
use super::{Claim, Refusal, Resource, Settings, Store, StoreError, check, merge, node, service, settings, time};
use crate::parse::document;
use bowline_cluster::address;
use bowline_cluster::object::Family;
pub(super) use pick::Picker;

/// Whether anything is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DryRun {
    /// It is.
    #[default]
    No,
    /// Nothing is stored, and nothing given: what would be sent.
    Client,
    /// Nothing is stored: what would be.
    Server,
}

/// What was done with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is new.
    Created,
    /// It is changed.
    Configured,
    /// It was so already.
    Unchanged,
}

impl Outcome {
    /// As kubectl says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Created => "created",
            Outcome::Configured => "configured",
            Outcome::Unchanged => "unchanged",
        }
    }
}

/// An object after it was put.
#[derive(Clone, Debug)]
pub struct Applied {
    /// What was done.
    pub outcome: Outcome,
    /// The object as it is stored, with its `metadata.resourceVersion`.
    pub object: Value,
    /// The object before, where there was one.
    pub before: Option<Value>,
}

/// How often a write starts over before it gives up: for a defect, not for a crowd.
const MAX_TRIES: u32 = 100;

/// From which try on all claims are read before one is chosen.
const LIST_FROM: u32 = 2;

/// Where an object is, and what it is.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) resource: Resource,
    pub(super) holder: Holder,
    key: String,
}

impl Target {
    /// Of an object; `default` is the namespace of one that names none.
    fn of(store: &Store, object: &Value) -> Target {
        let resource = Resource::of(object);
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_string();
        let namespace = if resource.namespaced { text("namespace") } else { String::new() };
        Target::named(store, resource, &namespace, &text("name"))
    }

    pub(super) fn named(store: &Store, resource: Resource, namespace: &str, name: &str) -> Target {
        let holder = Holder { kind: resource.kind.to_string(), namespace: namespace.into(), name: name.into() };
        let key = store.keys().any_object(&resource.folder(), namespace, name);
        Target { resource, holder, key }
    }
}

/// What a write looks at before it decides.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The object, and its revision; 0 where there is none.
    pub(super) live: Option<Value>,
    pub(super) revision: i64,
    settings: Option<Settings>,
    /// Ranges of the ServiceCIDR objects.
    ranges: Vec<IpNet>,
    /// The pod ranges that are claimed, when this was read.
    pub(super) pod_cidrs: Vec<IpNet>,
    /// The revision at which it was read.
    at: i64,
}

/// Makes the object that is to be, from the one that is.
pub(super) type Make<'a> = &'a (dyn Fn(&View) -> Result<Value, StoreError> + Sync);

impl Store {
    /// Applies a manifest: creates the object, or merges what the manifest says into what is stored. A
    /// `metadata.resourceVersion` in it must be that of what is stored, if anything is. `settings` are stored where the
    /// cluster has none yet.
    ///
    /// # Errors
    /// The object is refused, somebody else was faster, or etcd can't be reached. Nothing is stored then.
    pub async fn apply(&self, manifest: &Value, dry_run: DryRun, settings: &Settings) -> Result<Applied, StoreError> {
        let mut manifest = manifest.clone();
        let resource = Resource::of(&manifest);
        if let Some(metadata) = manifest["metadata"].as_object_mut()
            && resource.namespaced
            && metadata.get("namespace").and_then(Value::as_str).unwrap_or_default().is_empty()
        {
            metadata.insert("namespace".into(), "default".into());
        }
        refuse(check::shape(&resource, &manifest))?;
        let target = Target::of(self, &manifest);
        let cleaned = merge::clean(&manifest);
        let wanted = |field: &str| manifest["metadata"][field].as_str().filter(|text| !text.is_empty());
        let make = |view: &View| {
            let stored = view.live.as_ref().map_or(Value::Null, |live| live["metadata"]["uid"].clone());
            // Onto nothing there is nothing to overwrite: a dump of another cluster is made anew here.
            if let Some(version) = wanted("resourceVersion").filter(|_| view.live.is_some())
                && version != view.revision.to_string()
            {
                return Err(StoreError::Conflict(format!(
                    "was changed since you read it: you have version {version}, stored is {}; read it again, or leave \
                     out metadata.resourceVersion to merge",
                    view.revision
                )));
            }
            if let Some(uid) = wanted("uid").filter(|uid| view.live.is_some() && stored != *uid) {
                let message = format!("is another object of the same name now: you have uid {uid}, stored is {stored}");
                return Err(StoreError::Conflict(message));
            }
            let last = view.live.as_ref().and_then(merge::last_applied);
            let mut object = merge::merge(last.as_ref(), &cleaned, view.live.as_ref());
            merge::set_last_applied(&mut object, &cleaned);
            Ok(object)
        };
        self.write(&target, dry_run, settings, &make).await
    }

    /// Writes what `make` makes of the object, with all that comes with it.
    pub(super) async fn write(
        &self,
        target: &Target,
        dry_run: DryRun,
        wanted: &Settings,
        make: Make<'_>,
    ) -> Result<Applied, StoreError> {
        let (uid, created) = (uuid(), time::now());
        let (mut taken, mut abandoned) = (BTreeSet::new(), BTreeMap::new());
        // What was written by a try that got no answer.
        let mut unsure: Option<(Outcome, Value)> = None;
        for attempt in 0..MAX_TRIES {
            if attempt > 2 {
                let pause = super::random() % (10 << attempt.min(5));
                tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
            }
            let mut view = self.view(target).await?;
            if view.settings.is_none() && claims_something(&target.resource) && dry_run == DryRun::No {
                view.settings = Some(self.settings(wanted).await?);
            }
            let settings = view.settings.clone().unwrap_or_else(|| wanted.clone());
            if let Some((outcome, written)) = &unsure
                && view.live.as_ref() == Some(written)
            {
                let (outcome, object) = (*outcome, versioned(written.clone(), view.revision));
                return Ok(Applied { outcome, object, before: None });
            }
            let mut object = make(&view)?;
            stamp(&mut object, view.live.as_ref(), &uid, &created);
            refuse(check::shape(&target.resource, &object))?;
            let held = view.live.as_ref().map_or_else(BTreeSet::new, |live| claims::of(&target.resource, live));
            let mut list = attempt >= LIST_FROM;
            let chosen = loop {
                if list {
                    taken.extend(self.all_claims(&target.resource).await?);
                }
                let mut filled = object.clone();
                let mut picker = Picker::new(&settings, &view.ranges, &held, &taken);
                match complete(target, &mut filled, &view, &mut picker, dry_run, attempt) {
                    Ok(()) => {
                        object = filled;
                        break picker.chosen();
                    }
                    // Only now is it worth to read all.
                    Err(_) if picker.is_exhausted() && !list => list = true,
                    Err(refusals) => return Err(StoreError::Refused(refusals)),
                }
            };
            count_generation(&mut object, view.live.as_ref());
            refuse(check::check(&target.resource, &object))?;
            let outcome = match &view.live {
                None => Outcome::Created,
                Some(live) if *live == object => Outcome::Unchanged,
                Some(_) => Outcome::Configured,
            };
            if outcome == Outcome::Unchanged || dry_run == DryRun::Client {
                let object = versioned(object, view.revision);
                return Ok(Applied { outcome, object, before: view.live });
            }
            let wanted = claims::of(&target.resource, &object);
            let guard = self.guard(target, &settings, &held, &wanted, &view)?;
            let change = Change {
                key: &target.key,
                revision: view.revision,
                value: Some(object.to_string()),
                holder: &target.holder,
                held: &held,
                wanted: &wanted,
                abandoned: &abandoned,
                dry: dry_run != DryRun::No,
                guard,
            };
            let (done, again) = self.commit(&change).await?;
            if again && !matches!(done, Done::Yes(_)) {
                unsure = Some((outcome, object.clone()));
            }
            match done {
                Done::Yes(_) if dry_run != DryRun::No => {
                    return Ok(Applied { outcome, object: versioned(object, view.revision), before: view.live });
                }
                Done::Yes(revision) => {
                    return Ok(Applied { outcome, object: versioned(object, revision), before: view.live });
                }
                // `make` looks at what it is now; who compares versions is told there.
                Done::Changed => {}
                Done::Taken(found) => {
                    for (claim, holder, revision) in found {
                        match self.look_at(target, claim, &holder, revision).await? {
                            Some(left) => {
                                abandoned.insert(claim, left);
                            }
                            None if chosen.contains(&claim) || claim.rival().is_some_and(|c| chosen.contains(&c)) => {
                                taken.insert(claim);
                            }
                            None => {
                                let (field, instead) = claim.field();
                                let message = format!("{claim} belongs to {holder}; {instead}");
                                return Err(StoreError::Refused(vec![Refusal::new(field, message)]));
                            }
                        }
                    }
                }
            }
        }
        let message = format!("was changed by others {MAX_TRIES} times while it was written; try again");
        Err(StoreError::Conflict(message))
    }

    /// Reads in one transaction all that a write decides by.
    async fn view(&self, target: &Target) -> Result<View, StoreError> {
        let keys = self.keys();
        let below = || Some(GetOptions::new().with_prefix());
        let mut reads = vec![TxnOp::get(target.key.clone(), None)];
        if claims_something(&target.resource) {
            reads.push(TxnOp::get(keys.cluster(), None));
        }
        if target.resource.is("Service") {
            reads.push(TxnOp::get(keys.resource("servicecidrs", None), below()));
        }
        if target.resource.is("Node") {
            reads.push(TxnOp::get(keys.pod_cidrs(), below()));
        }
        let txn = Txn::new().and_then(reads);
        let (answer, _) = self
            .call(|client| {
                let txn = txn.clone();
                async move { super::kv(&client).txn(txn).await }
            })
            .await?;
        let at = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
        let mut found = lists(&answer).into_iter();
        let mut view = View { at, ..View::default() };
        if let Some(got) = found.next().and_then(|list| list.into_iter().next()) {
            view.revision = got.mod_revision;
            view.live = Some(stored(&got.key, &got.value)?);
        }
        if let Some(got) = found.next().and_then(|list| list.into_iter().next()) {
            view.settings = Some(settings::read(&got.key, &got.value)?);
        }
        for got in found.next().into_iter().flatten() {
            if target.resource.is("Node") {
                let cidr = got.key.strip_prefix(&keys.pod_cidrs()).and_then(|text| text.parse::<IpNet>().ok());
                view.pod_cidrs.extend(cidr);
            } else if let Ok(object) = stored(&got.key, &got.value) {
                let cidrs = object["spec"]["cidrs"].as_array().cloned().unwrap_or_default();
                view.ranges.extend(cidrs.iter().filter_map(Value::as_str).filter_map(address::parse_range));
            }
        }
        Ok(view)
    }

    /// Every claim of the kinds that an object of this resource has.
    async fn all_claims(&self, resource: &Resource) -> Result<Vec<Claim>, StoreError> {
        let keys = self.keys();
        let mut claims = Vec::new();
        if !resource.is("Service") {
            return Ok(claims);
        }
        for prefix in [keys.addresses(), keys.node_ports(), keys.health_check_ports()] {
            for got in self.below(&prefix, true).await?.0 {
                claims.extend(Claim::parse(&got.key, keys));
            }
        }
        Ok(claims)
    }

    /// Whether the holder of a claim really has it; if not, what to compare to take it over.
    async fn look_at(
        &self,
        target: &Target,
        claim: Claim,
        holder: &Holder,
        revision: i64,
    ) -> Result<Option<Abandoned>, StoreError> {
        if *holder == target.holder {
            return Ok(Some(Abandoned { revision, holder: None }));
        }
        let Some((resource, key)) = holder.key(self.keys()) else {
            return Ok(Some(Abandoned { revision, holder: None }));
        };
        let (mut answer, _) = self
            .call(|client| {
                let key = key.clone();
                async move { super::kv(&client).get(key, None).await }
            })
            .await?;
        let Some(kv) = answer.take_kvs().into_iter().next() else {
            return Ok(Some(Abandoned { revision, holder: Some((key, 0)) }));
        };
        let has = stored(&key, kv.value()).map_or(true, |object| claims::of(&resource, &object).contains(&claim));
        Ok((!has).then(|| Abandoned { revision, holder: Some((key, kv.mod_revision())) }))
    }

    /// A pod range that somebody wrote by hand must not overlap any other; one of the pool can't.
    fn guard(
        &self,
        target: &Target,
        settings: &Settings,
        held: &BTreeSet<Claim>,
        wanted: &BTreeSet<Claim>,
        view: &View,
    ) -> Result<Option<(String, i64)>, StoreError> {
        if !target.resource.is("Node") {
            return Ok(None);
        }
        let mut guard = None;
        for claim in wanted.difference(held) {
            let Claim::PodCidr(range) = claim else { continue };
            if node::is_of_pool(range, settings).map_err(|refusal| StoreError::Refused(vec![refusal]))? {
                continue;
            }
            let overlaps = |other: &&IpNet| {
                let others = !held.contains(&Claim::PodCidr(**other)) && *other != range;
                others && (other.contains(range) || range.contains(*other))
            };
            if let Some(other) = view.pod_cidrs.iter().find(overlaps) {
                let message = format!("{range} overlaps {other}, which another Node has; write another range");
                return Err(StoreError::Refused(vec![Refusal::new("spec.podCIDRs", message)]));
            }
            guard = Some((self.keys().pod_cidrs(), view.at));
        }
        Ok(guard)
    }
}

fn claims_something(resource: &Resource) -> bool {
    resource.is("Service") || resource.is("Node")
}

fn refuse(refusals: Vec<Refusal>) -> Result<(), StoreError> {
    if refusals.is_empty() { Ok(()) } else { Err(StoreError::Refused(refusals)) }
}

/// An object as it stands at a key.
pub(super) fn stored(key: &str, value: &[u8]) -> Result<Value, StoreError> {
    document::one(value).map_err(|reason| StoreError::Stored { key: key.to_string(), reason })
}

/// With the version that people compare.
pub(super) fn versioned(mut object: Value, revision: i64) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
        && revision > 0
    {
        metadata.insert("resourceVersion".into(), revision.to_string().into());
    }
    object
}

/// The fields that are the store's.
fn stamp(object: &mut Value, live: Option<&Value>, uid: &str, created: &str) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    for field in merge::OURS {
        metadata.remove(field);
    }
    let before = live.and_then(|live| live["metadata"].as_object()).cloned().unwrap_or_default();
    let keep = |field: &str, new: Value| before.get(field).filter(|value| !value.is_null()).cloned().unwrap_or(new);
    metadata.insert("uid".into(), keep("uid", uid.into()));
    metadata.insert("creationTimestamp".into(), keep("creationTimestamp", created.into()));
    metadata.insert("generation".into(), keep("generation", json!(1)));
}

/// One more where anything but metadata and status has changed.
fn count_generation(object: &mut Value, live: Option<&Value>) {
    let Some(live) = live.and_then(Value::as_object) else { return };
    let spec = |object: &Map<String, Value>| {
        let mut object = object.clone();
        object.remove("metadata");
        object.remove("status");
        object
    };
    let changed = object.as_object().is_some_and(|object| spec(object) != spec(live));
    if let (true, Some(generation)) = (changed, object["metadata"]["generation"].as_u64()) {
        object["metadata"]["generation"] = json!(generation + 1);
    }
}

/// Defaults, checks against the object before, and what is given.
fn complete(
    target: &Target,
    object: &mut Value,
    view: &View,
    picker: &mut Picker<'_>,
    dry_run: DryRun,
    attempt: u32,
) -> Result<(), Vec<Refusal>> {
    if target.resource.is("Node") {
        return node::complete(object, view, Some(picker).filter(|_| dry_run != DryRun::Client), attempt);
    }
    if !target.resource.is("Service") || !object["spec"].is_object() {
        return Ok(());
    }
    let unreadable = |error: serde_json::Error| vec![Refusal::new("spec", format!("can't be read: {error}"))];
    let mut spec = ServiceSpec::deserialize(&object["spec"]).map_err(unreadable)?;
    let old = view.live.as_ref().and_then(|live| ServiceSpec::deserialize(&live["spec"]).ok());
    let families: Vec<Family> = picker.families();
    service::complete(&mut spec, old.as_ref(), &families)?;
    if dry_run != DryRun::Client {
        service::fill(&mut spec, picker).map_err(|refusal| vec![refusal])?;
    }
    object["spec"] = serde_json::to_value(spec).map_err(unreadable)?;
    Ok(())
}

/// A random UUID (version 4).
fn uuid() -> String {
    let (high, low) = (super::random(), super::random());
    let (high, low) = ((high & !0xf000) | 0x4000, (low >> 2) | (1 << 63));
    let hex = format!("{high:016x}{low:016x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
