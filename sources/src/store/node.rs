//! Nodes: each registers itself, is given its pod ranges, and shows that it is alive by a lease.
//!
//! The Node object says what a node is, and stays when the node is gone. That it is alive says a key under
//! a lease of etcd, which goes when nobody renews it. The pod ranges are claimed by the Node object and
//! given back when that is deleted. A node that finds its object or its lease gone registers anew.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use etcd_client::{PutOptions, Txn, TxnOp};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::apply::{Applied, DryRun, Picker, Target, View};
use super::commit::{Got, values};
use super::{Refusal, Resource, Settings, Store, StoreError, time};
use bowline_cluster::address;
use bowline_cluster::object::Family;
use bowline_cluster::source::Stop;
use bowline_etcd::Location;

/// How long a node counts as alive after it was last heard of, where nothing else is said: Kubernetes' grace
/// period.
pub const TTL: Duration = Duration::from_secs(40);

/// How often the Node object is told that its node is there; it is what is known of one that has gone.
const REPORT: Duration = Duration::from_secs(300);

/// How long each request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pause after a registration that was refused or got no answer.
const PAUSE: Duration = Duration::from_secs(5);

/// What a node says of itself.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The cluster.
    pub location: Location,
    /// The node's name.
    pub name: String,
    /// Labels, besides kubernetes.io/hostname, kubernetes.io/os and kubernetes.io/arch.
    pub labels: BTreeMap<String, String>,
    /// Its own addresses (`InternalIP`), the one of the preferred family first.
    pub addresses: Vec<IpAddr>,
    /// The version of the agent.
    pub version: String,
    /// What is stored where the cluster has no settings yet.
    pub settings: Settings,
    /// How long it counts as alive after it was last heard of; at least 2 s. [`TTL`] as a rule.
    pub ttl: Duration,
}

/// What happens to a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is registered: the first time, or anew. The pod ranges are the node's.
    Registered {
        /// Its pod ranges; empty where the cluster has no pool and the Node names none.
        pod_cidrs: Vec<IpNet>,
    },
    /// A flag that does not count, as the cluster was set up otherwise.
    Ignored(String),
    /// It can't be registered as it is, or etcd refuses; it is tried again.
    Refused(String),
    /// etcd can't be reached; it is tried again. The node may count as gone by now.
    Away(String),
    /// The lease had run out: the node counted as gone. It registers anew.
    Lost,
    /// The Node object was deleted, and its pod ranges given back. It registers anew.
    Deleted,
    /// Another agent says that it is this node.
    Rival,
}

/// What a node says while it is alive; the value of its key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Alive {
    /// The version of the agent.
    pub version: String,
    /// When it registered, as Kubernetes writes times.
    pub since: String,
}

impl Registration {
    /// Registers, and keeps the registration alive until told to stop. Each thing that happens is told once.
    /// Returns within a second of the stop; the lease is left to run out, as an agent that is restarted does
    /// not end its node.
    ///
    /// # Errors
    /// No runtime could be made.
    pub fn run(&self, stop: &Stop, mut report: impl FnMut(Event)) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            tokio::select! {
                () = stopped(stop) => {}
                () = self.keep(&mut report) => {}
            }
        });
        // A name that is being looked up holds a thread, for as long as the resolver takes.
        runtime.shutdown_background();
        Ok(())
    }

    async fn keep(&self, report: &mut impl FnMut(Event)) {
        let mut last = None;
        let mut tell = |event: Event| {
            if last.as_ref() != Some(&event) {
                last = Some(event.clone());
                report(event);
            }
        };
        let store = Store::new(self.location.clone(), PATIENCE, std::sync::Arc::new(|_| {}));
        loop {
            if let Err(error) = self.register_and_renew(&store, &mut tell).await {
                tell(match error {
                    StoreError::Deadline { .. } => Event::Away(error.to_string()),
                    error => Event::Refused(error.to_string()),
                });
                tokio::time::sleep(PAUSE.min(self.ttl)).await;
            }
        }
    }

    /// Until the lease is lost or the object deleted.
    async fn register_and_renew(&self, store: &Store, tell: &mut impl FnMut(Event)) -> Result<(), StoreError> {
        for difference in self.settings.differences(&store.settings(&self.settings).await?) {
            tell(Event::Ignored(difference));
        }
        let applied = self.register(store).await?;
        let mut reported = Instant::now();
        let lease = store.alive(self).await?;
        tell(Event::Registered { pod_cidrs: pod_cidrs(&applied.object) });
        loop {
            tokio::time::sleep(self.ttl / 3).await;
            if !store.renew(lease).await? {
                tell(Event::Lost);
                return Ok(());
            }
            let (node, alive) = store.look_at_node(&self.name).await?;
            if node.is_none() {
                tell(Event::Deleted);
                return Ok(());
            }
            match alive {
                None => return Ok(()),
                Some(other) if other != lease => tell(Event::Rival),
                Some(_) => {}
            }
            if reported.elapsed() >= REPORT {
                self.register(store).await?;
                reported = Instant::now();
            }
        }
    }

    /// Creates the Node object or brings it up to date.
    async fn register(&self, store: &Store) -> Result<Applied, StoreError> {
        let target = Target::named(store, Resource::named("v1", "Node"), "", &self.name);
        let make = |view: &View| Ok(self.object(view.live.as_ref()));
        store.write(&target, DryRun::No, &self.settings, &make).await
    }

    /// The Node object as it is to be. What others have said of the node stays.
    fn object(&self, live: Option<&Value>) -> Value {
        let new = || json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name}});
        let mut node = live.cloned().unwrap_or_else(new);
        // What somebody put past us may be anything there.
        if !node["metadata"]["labels"].is_object() {
            node["metadata"]["labels"] = json!({});
        }
        if !node["status"].is_object() {
            node["status"] = json!({});
        }
        for (key, value) in
            [("kubernetes.io/hostname", &*self.name), ("kubernetes.io/os", "linux"), ("kubernetes.io/arch", arch())]
        {
            node["metadata"]["labels"][key] = value.into();
        }
        for (key, value) in &self.labels {
            node["metadata"]["labels"][key] = value.clone().into();
        }
        let of = |list: &Value| list.as_array().cloned().unwrap_or_default();
        let mut addresses: Vec<Value> =
            self.addresses.iter().map(|ip| json!({"type": "InternalIP", "address": ip.to_string()})).collect();
        addresses.push(json!({"type": "Hostname", "address": self.name}));
        let others = of(&node["status"]["addresses"]);
        addresses.extend(others.into_iter().filter(|a| a["type"] != "InternalIP" && a["type"] != "Hostname"));
        node["status"]["addresses"] = addresses.into();
        let mut conditions = of(&node["status"]["conditions"]);
        let before =
            conditions.iter().position(|condition| condition["type"] == "Ready").map(|at| conditions.remove(at));
        let now = time::now();
        let since =
            before.filter(|ready| ready["status"] == "True").map_or(Value::Null, |r| r["lastTransitionTime"].clone());
        conditions.push(json!({
            "type": "Ready", "status": "True", "reason": "AgentReady", "message": "the agent has registered",
            "lastHeartbeatTime": now, "lastTransitionTime": if since.is_null() { now.clone().into() } else { since },
        }));
        node["status"]["conditions"] = conditions.into();
        node
    }
}

pub(super) async fn stopped(stop: &Stop) {
    while !stop.is_stopped() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

impl Store {
    /// Writes that the node is alive, under a lease of its own.
    async fn alive(&self, registration: &Registration) -> Result<i64, StoreError> {
        let lease = self.lease(registration.ttl).await?;
        let alive = Alive { version: registration.version.clone(), since: time::now() };
        let (key, value) = (self.keys().alive(&registration.name), json!(alive).to_string());
        self.call(|client| {
            let (key, value) = (key.clone(), value.clone());
            let options = PutOptions::new().with_lease(lease);
            async move { super::kv(&client).put(key, value, Some(options)).await }
        })
        .await?;
        Ok(lease)
    }

    /// A new lease.
    pub(super) async fn lease(&self, ttl: Duration) -> Result<i64, StoreError> {
        // etcd rounds to seconds, and may have more than one as its least.
        let ttl = i64::try_from(ttl.as_secs().max(2)).unwrap_or(i64::MAX);
        let (granted, _) = self.call(|client| async move { client.lease_client().grant(ttl, None).await }).await?;
        Ok(granted.id())
    }

    /// Renews a lease; whether it is still there.
    pub(super) async fn renew(&self, lease: i64) -> Result<bool, StoreError> {
        let (there, _) = self
            .call(|client| async move {
                match client.lease_client().keep_alive(lease).await {
                    Ok(_) => Ok(true),
                    Err(etcd_client::Error::LeaseKeepAliveError(_)) => Ok(false),
                    Err(error) => Err(error),
                }
            })
            .await?;
        Ok(there)
    }

    /// The Node object, and the lease under which the node is alive.
    async fn look_at_node(&self, name: &str) -> Result<(Option<Got>, Option<i64>), StoreError> {
        let node = self.keys().any_object("nodes", "", name);
        let reads = [TxnOp::get(node, None), TxnOp::get(self.keys().alive(name), None)];
        let txn = Txn::new().and_then(reads);
        let (answer, _) = self
            .call(|client| {
                let txn = txn.clone();
                async move { super::kv(&client).txn(txn).await }
            })
            .await?;
        let found = values(&answer);
        let node = found.first().cloned().flatten();
        let alive = found.get(1).cloned().flatten().map(|got| got.lease);
        Ok((node, alive))
    }

    /// The nodes that are alive, with what they say of themselves.
    ///
    /// # Errors
    /// etcd can't be reached.
    pub async fn alive_nodes(&self) -> Result<BTreeMap<String, Alive>, StoreError> {
        let prefix = self.keys().all_alive();
        let (found, _) = self.below(&prefix, false).await?;
        let name = |got: &Got| got.key.strip_prefix(&*prefix).unwrap_or_default().to_string();
        Ok(found.iter().map(|got| (name(got), serde_json::from_slice(&got.value).unwrap_or_default())).collect())
    }
}

/// Seconds since 1970 of a time as Kubernetes writes it. None where it is none.
pub fn seconds(time: &str) -> Option<i64> {
    time.parse::<k8s_openapi::jiff::Timestamp>().ok().map(k8s_openapi::jiff::Timestamp::as_second)
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The pod ranges of a Node object.
fn pod_cidrs(node: &Value) -> Vec<IpNet> {
    let list = node["spec"]["podCIDRs"].as_array().into_iter().flatten();
    list.filter_map(Value::as_str).filter_map(address::parse_range).collect()
}

/// The pod ranges: as written, as they were, or from the pools.
pub(super) fn complete(
    node: &mut Value,
    view: &View,
    picker: Option<&mut Picker<'_>>,
    attempt: u32,
) -> Result<(), Vec<Refusal>> {
    let texts = |node: &Value| -> Vec<String> {
        let list = node["spec"]["podCIDRs"].as_array().into_iter().flatten();
        let mut texts: Vec<String> = list.filter_map(Value::as_str).map(ToString::to_string).collect();
        if texts.is_empty() {
            texts.extend(node["spec"]["podCIDR"].as_str().filter(|text| !text.is_empty()).map(ToString::to_string));
        }
        texts
    };
    let before = view.live.as_ref().map_or_else(Vec::new, texts);
    let mut ranges = texts(node);
    if ranges.is_empty() {
        ranges.clone_from(&before);
    }
    let refuse = |message: String| Err(vec![Refusal::new("spec.podCIDRs", message)]);
    if !before.is_empty() && ranges != before {
        let was = before.join(", ");
        return refuse(format!("was {was} and can't change; delete the Node to make it anew"));
    }
    for text in &ranges {
        // What was stored once stays as it is.
        match address::parse_range(text) {
            Some(_) if !before.is_empty() => {}
            Some(range) if text.parse() == Ok(range) => {}
            Some(range) => return refuse(format!("{text} is not how that range is written; write {range}")),
            None => return refuse(format!("{text:?} is no range of addresses; write one like 10.244.0.0/24")),
        }
    }
    if let Some(picker) = picker.filter(|_| ranges.is_empty()) {
        for pool in picker.settings().cluster_cidr.clone() {
            let range = picker.pod_cidr(&pool.trunc(), &view.pod_cidrs, attempt).map_err(|refusal| vec![refusal])?;
            ranges.push(range.to_string());
        }
    }
    if ranges.is_empty() {
        return Ok(());
    }
    node["spec"]["podCIDR"] = ranges[0].clone().into();
    node["spec"]["podCIDRs"] = ranges.into();
    Ok(())
}

/// Whether a range is one that the pools could give; refused where it is only in the way of those.
pub(super) fn is_of_pool(range: &IpNet, settings: &Settings) -> Result<bool, Refusal> {
    for pool in settings.cluster_cidr.iter().map(IpNet::trunc) {
        let mask = settings.mask_size(Family::of(&pool.addr()));
        if pool.contains(range) && range.prefix_len() == mask {
            return Ok(true);
        }
        if pool.contains(range) || range.contains(&pool) {
            let message = format!(
                "{range} overlaps the cluster's pool {pool} but is no /{mask} of it; write one that is, or a range \
                 outside of the pool"
            );
            return Err(Refusal::new("spec.podCIDRs", message));
        }
    }
    Ok(false)
}
