//! The metrics, with Prometheus's conventions: base units, `_total` for counters.

use std::sync::Arc;

use bowline_dataplane::Usage;
use bowline_dataplane::node::Dataplane;
use bowline_dataplane::packets::PacketVerdict;
use bowline_observe::metrics::{Counter, Gauge, Histogram, Registry};

/// Upper ends of buckets, in seconds: 10 microseconds to 10 seconds.
const SECONDS: &[f64] = &[
    10e-6, 25e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
/// 1 millisecond to 5 minutes.
const LATENCIES: &[f64] = &[
    1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0,
    300.0,
];

/// What is counted of one cluster.
#[derive(Debug)]
pub(crate) struct OfCluster {
    /// 1 while its source can be read.
    pub(crate) up: Arc<Gauge>,
    /// How many seconds ago what is known was last known to be so; 0 while it can be read.
    pub(crate) away: Arc<Gauge>,
    /// What stands refused now.
    pub(crate) problems: Arc<Gauge>,
    /// NetworkPolicies that nothing enforces.
    pub(crate) policies: Arc<Gauge>,
}

/// All metrics of the agent.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Seconds from the moment a change was heard of until the kernel had it.
    pub(crate) programming: Arc<Histogram>,
    /// Seconds of applying one update.
    pub(crate) apply: Arc<Histogram>,
    /// Service changes applied.
    pub(crate) changes: Arc<Counter>,
    /// Objects, files and changes that were refused.
    pub(crate) reported: Arc<Counter>,
    /// Seconds from the change that made an EndpointSlice what it is until the kernel had it.
    pub(crate) latency: Arc<Histogram>,
    mapped: Arc<Gauge>,
    /// 1 once the first whole read is in the kernel.
    pub(crate) ready: Arc<Gauge>,
    /// 1 while the DNS server here takes the Service's traffic.
    pub(crate) dns_takes: Arc<Gauge>,
    /// Lines of the log that could not be written.
    log_lost: Arc<Counter>,
}

impl Metrics {
    /// All of them, at zero.
    #[allow(clippy::new_without_default, reason = "it registers")]
    pub fn new() -> Metrics {
        let r = Registry::default();
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        r.gauge("bowline_build_info", "Version of the agent", &version).set(1.0);
        Metrics {
            programming: r.histogram(
                "bowline_network_programming_duration_seconds",
                "From the moment a change was heard of until the kernel had it",
                SECONDS,
                &[],
            ),
            apply: r.histogram("bowline_apply_duration_seconds", "Time to apply one update to the kernel", SECONDS, &[]),
            changes: r.counter("bowline_service_changes_total", "Changes of Services applied", &[]),
            reported: r.counter(
                "bowline_problems_reported_total",
                "Files, objects and changes that were refused, each time one came up",
                &[],
            ),
            // The name and the meaning are kube-proxy's: boards and alerts that have it go on.
            latency: r.histogram(
                "kubeproxy_network_programming_duration_seconds",
                "From the change that made an EndpointSlice what it is (endpoints.kubernetes.io/last-change-trigger-time) \
                 until the kernel had it",
                LATENCIES,
                &[],
            ),
            mapped: r.gauge("bowline_mapped_bytes", "Bytes of the kernel's arrays mapped into the agent", &[]),
            ready: r.gauge("bowline_ready", "1 once the first whole read is in the kernel", &[]),
            dns_takes: r.gauge(
                "bowline_dns_takes_service",
                "1 while the DNS server in the agent takes this node's traffic for the cluster's DNS Service",
                &[],
            ),
            log_lost: r.counter("bowline_log_lines_lost_total", "Lines of the log that could not be written", &[]),
            registry: r,
        }
    }

    /// Counts changes that were refused because a map was full.
    pub(crate) fn count_full(&self, map: &'static str, count: u64) {
        let help = "Changes refused because a map was full";
        self.registry.counter("bowline_changes_refused_full_total", help, &[("map", map)]).add(count);
    }

    /// The counts of one cluster, kept so that they need not be looked up.
    pub(crate) fn of_cluster(&self, name: &str) -> OfCluster {
        let of = |series, help| self.registry.gauge(series, help, &[("cluster", name)]);
        OfCluster {
            up: of("bowline_source_up", "1 while the state's source can be read"),
            away: of(
                "bowline_source_away_seconds",
                "How long ago what is served was last known to be so; 0 while the source can be read",
            ),
            problems: of("bowline_problems", "Files, objects and changes that stand refused now"),
            policies: of("bowline_network_policies_not_enforced", "NetworkPolicies that nothing enforces"),
        }
    }

    /// Sets how many objects of a kind are known.
    pub(crate) fn set_objects(&self, cluster: &str, kind: &'static str, count: usize) {
        let labels = [("cluster", cluster), ("kind", kind)];
        self.registry.gauge("bowline_objects", "Objects known", &labels).set(count as f64);
    }

    /// Counts objects that were known otherwise than the server has them.
    pub(crate) fn count_drift(&self, cluster: &str, kind: &'static str, count: usize) {
        let help = "Objects that were not as the server has them, when that was compared; they were read again";
        let labels = [("cluster", cluster), ("kind", kind)];
        self.registry.counter("bowline_source_drift_total", help, &labels).add(count as u64);
    }

    /// Takes what the kernel says now.
    pub(crate) fn read(&self, dataplane: &Dataplane) {
        let Usage { frontends, services, backends, slots, mapped_bytes } = dataplane.usage();
        let capacity = |map, room: u32| {
            let help = "Entries that there is room for";
            self.registry.gauge("bowline_map_capacity", help, &[("map", map)]).set(f64::from(room));
        };
        for (map, (used, room)) in
            [("frontends", frontends), ("services", services), ("backends", backends), ("slots", slots)]
        {
            let labels = [("map", map)];
            self.registry.gauge("bowline_map_entries", "Entries in use", &labels).set(f64::from(used));
            capacity(map, room);
        }
        capacity("sockets", dataplane.socket_capacity());
        self.mapped.set(mapped_bytes as f64);
        for (verdict, count) in dataplane.verdicts() {
            let help = "Decisions about calls to Service addresses, by how they ended";
            self.registry.counter("bowline_verdicts_total", help, &[("verdict", verdict.as_str())]).raise_to(count);
        }
    }

    /// Takes what pods' network says now.
    pub(crate) fn read_pods(&self, (pods, addresses): (usize, usize), verdicts: &[(PacketVerdict, u64)]) {
        let gauge = |series, help, value: usize| self.registry.gauge(series, help, &[]).set(value as f64);
        gauge("bowline_pods_attached", "Interfaces of containers that are attached to pods' network", pods);
        gauge("bowline_pod_addresses_held", "Addresses of pods that are held", addresses);
        for (verdict, count) in verdicts {
            let help = "Packets of pods, by what became of them";
            self.registry
                .counter("bowline_packet_verdicts_total", help, &[("verdict", verdict.as_str())])
                .raise_to(*count);
        }
    }

    /// The page.
    pub(crate) fn page(&self) -> String {
        self.log_lost.raise_to(crate::log::lost());
        self.registry.page()
    }
}
