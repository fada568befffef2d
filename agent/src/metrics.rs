//! The metrics, with Prometheus's conventions: base units, `_total` for counters.

use std::sync::atomic::{AtomicU64, Ordering};

use bowline_dataplane::Usage;
use bowline_dataplane::node::Dataplane;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// A label with one of our own names as value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Label {
    /// The map's name.
    map: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByVerdict {
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCluster {
    cluster: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    cluster: String,
    kind: &'static str,
}

/// What is counted of one cluster.
#[derive(Debug)]
pub(crate) struct OfCluster {
    /// 1 while its source can be read.
    pub(crate) up: Gauge,
    /// How many seconds ago what is known was last known to be so; 0 while it can be read.
    pub(crate) away: Gauge<f64, AtomicU64>,
    /// What stands refused now.
    pub(crate) problems: Gauge,
    /// NetworkPolicies that nothing enforces.
    pub(crate) policies: Gauge,
}

/// All metrics of the agent.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Seconds from the moment a change was heard of until the kernel had it.
    pub(crate) programming: Histogram,
    /// Seconds of applying one update.
    pub(crate) apply: Histogram,
    /// Service changes applied.
    pub(crate) changes: Counter,
    /// Objects, files and changes that were refused.
    pub(crate) reported: Counter,
    /// What stands refused now.
    problems: Family<ByCluster, Gauge>,
    policies: Family<ByCluster, Gauge>,
    /// Seconds from the change that made an EndpointSlice what it is until the kernel had it.
    pub(crate) latency: Histogram,
    /// Changes refused because a map was full.
    full: Family<Label, Counter>,
    entries: Family<Label, Gauge>,
    capacity: Family<Label, Gauge>,
    mapped: Gauge,
    verdicts: Family<ByVerdict, Counter>,
    objects: Family<ByKind, Gauge>,
    drift: Family<ByKind, Counter>,
    source_up: Family<ByCluster, Gauge>,
    source_away: Family<ByCluster, Gauge<f64, AtomicU64>>,
    /// 1 once the first whole read is in the kernel.
    pub(crate) ready: Gauge,
    /// 1 while the DNS server here takes the Service's traffic.
    pub(crate) dns_takes: Gauge,
    /// Lines of the log that could not be written.
    log_lost: Counter,
}

/// 10 microseconds to 10 seconds.
fn seconds() -> Histogram {
    Histogram::new([
        10e-6, 25e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1.0, 2.5,
        5.0, 10.0,
    ])
}

/// 1 millisecond to 5 minutes.
fn latencies() -> Histogram {
    Histogram::new([
        1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 30.0, 60.0,
        120.0, 300.0,
    ])
}

impl Metrics {
    /// All of them, at zero.
    #[allow(clippy::new_without_default, reason = "it registers")]
    pub fn new() -> Metrics {
        let mut registry = Registry::default();
        let m = Metrics {
            programming: seconds(),
            apply: seconds(),
            changes: Counter::default(),
            reported: Counter::default(),
            problems: Family::default(),
            policies: Family::default(),
            latency: latencies(),
            full: Family::default(),
            entries: Family::default(),
            capacity: Family::default(),
            mapped: Gauge::default(),
            verdicts: Family::default(),
            objects: Family::default(),
            drift: Family::default(),
            source_up: Family::default(),
            source_away: Family::default(),
            ready: Gauge::default(),
            dns_takes: Gauge::default(),
            log_lost: Counter::default(),
            registry: Registry::default(),
        };
        // The name and the meaning are kube-proxy's: boards and alerts that have it go on.
        registry.register(
            "kubeproxy_network_programming_duration_seconds",
            "From the change that made an EndpointSlice what it is (endpoints.kubernetes.io/last-change-trigger-time) \
             until the kernel had it",
            m.latency.clone(),
        );
        let r = registry.sub_registry_with_prefix("bowline");
        r.register("build", "Version of the agent", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
        r.register(
            "network_programming_duration_seconds",
            "From the moment a change was heard of until the kernel had it",
            m.programming.clone(),
        );
        r.register("apply_duration_seconds", "Time to apply one update to the kernel", m.apply.clone());
        r.register("service_changes", "Changes of Services applied", m.changes.clone());
        r.register(
            "problems_reported",
            "Files, objects and changes that were refused, each time one came up",
            m.reported.clone(),
        );
        r.register("problems", "Files, objects and changes that stand refused now", m.problems.clone());
        r.register("changes_refused_full", "Changes refused because a map was full", m.full.clone());
        r.register("map_entries", "Entries in use", m.entries.clone());
        r.register("map_capacity", "Entries that there is room for", m.capacity.clone());
        r.register("mapped_bytes", "Bytes of the kernel's arrays mapped into the agent", m.mapped.clone());
        r.register("verdicts", "Decisions about calls to Service addresses, by how they ended", m.verdicts.clone());
        r.register("objects", "Objects known", m.objects.clone());
        r.register(
            "source_drift",
            "Objects that were not as the server has them, when that was compared; they were read again",
            m.drift.clone(),
        );
        r.register("source_up", "1 while the state's source can be read", m.source_up.clone());
        r.register(
            "source_away_seconds",
            "How long ago what is served was last known to be so; 0 while the source can be read",
            m.source_away.clone(),
        );
        r.register("network_policies_not_enforced", "NetworkPolicies that nothing enforces", m.policies.clone());
        r.register("ready", "1 once the first whole read is in the kernel", m.ready.clone());
        r.register(
            "dns_takes_service",
            "1 while the DNS server in the agent takes this node's traffic for the cluster's DNS Service",
            m.dns_takes.clone(),
        );
        r.register("log_lines_lost", "Lines of the log that could not be written", m.log_lost.clone());
        Metrics { registry, ..m }
    }

    /// Counts changes that were refused because a map was full.
    pub(crate) fn count_full(&self, map: &'static str, count: u64) {
        self.full.get_or_create(&Label { map }).inc_by(count);
    }

    /// The counts of one cluster, kept so that they need not be looked up.
    pub(crate) fn of_cluster(&self, name: &str) -> OfCluster {
        let label = ByCluster { cluster: name.to_owned() };
        OfCluster {
            up: self.source_up.get_or_create(&label).clone(),
            away: self.source_away.get_or_create(&label).clone(),
            problems: self.problems.get_or_create(&label).clone(),
            policies: self.policies.get_or_create(&label).clone(),
        }
    }

    /// Sets how many objects of a kind are known.
    pub(crate) fn set_objects(&self, cluster: &str, kind: &'static str, count: usize) {
        self.objects.get_or_create(&ByKind { cluster: cluster.to_owned(), kind }).set(count as i64);
    }

    /// Counts objects that were known otherwise than the server has them.
    pub(crate) fn count_drift(&self, cluster: &str, kind: &'static str, count: usize) {
        self.drift.get_or_create(&ByKind { cluster: cluster.to_owned(), kind }).inc_by(count as u64);
    }

    /// Takes what the kernel says now.
    pub(crate) fn read(&self, dataplane: &Dataplane) {
        let Usage { frontends, services, backends, slots, mapped_bytes } = dataplane.usage();
        for (map, (used, room)) in
            [("frontends", frontends), ("services", services), ("backends", backends), ("slots", slots)]
        {
            self.entries.get_or_create(&Label { map }).set(i64::from(used));
            self.capacity.get_or_create(&Label { map }).set(i64::from(room));
        }
        self.capacity.get_or_create(&Label { map: "sockets" }).set(i64::from(dataplane.socket_capacity()));
        self.mapped.set(mapped_bytes as i64);
        for (verdict, count) in dataplane.verdicts() {
            let counter = self.verdicts.get_or_create(&ByVerdict { verdict: verdict.as_str() });
            counter.inner().store(count, Ordering::Relaxed);
        }
    }

    /// The page.
    ///
    /// # Errors
    /// Never in practice: writing to a string.
    pub(crate) fn page(&self) -> Result<String, std::fmt::Error> {
        self.log_lost.inner().store(crate::log::lost(), Ordering::Relaxed);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
