//! The records of one set of options, kept up to date while anybody uses them.

use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use bowline_cluster::follow::{Follower, Told};
use bowline_cluster::snapshot::Snapshot;
use bowline_cluster::source::Triggered;

use crate::feed::Feed;
use crate::records::{Keeper, Options, Records};
use bowline_observe::metrics::Registry;

/// Upper ends of buckets, in seconds: from 1 ms to 9 minutes, each twice the one before, as CoreDNS has them.
const BUCKETS: &[f64] = &[
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384, 32.768,
    65.536, 131.072, 262.144, 524.288,
];

/// Follows the state. Directives with the same options share one, over reloads too.
pub(super) struct Cluster {
    keeper: Mutex<Keeper>,
    published: Arc<ArcSwap<Records>>,
    begun: Once,
    metrics: Arc<Registry>,
}

impl Cluster {
    pub(super) fn new(options: Options, metrics: Arc<Registry>) -> Cluster {
        let keeper = Keeper::new(options);
        let published = keeper.published().clone();
        Cluster { keeper: Mutex::new(keeper), published, begun: Once::new(), metrics }
    }

    /// Begins to follow, unless it does already.
    pub(super) fn follow(cluster: &Arc<Cluster>, feed: &Feed) {
        cluster.begun.call_once(|| {
            let follower: Arc<dyn Follower> = cluster.clone();
            feed.follow(&follower);
        });
    }

    pub(super) fn published(&self) -> &Arc<ArcSwap<Records>> {
        &self.published
    }
}

impl Follower for Cluster {
    fn come(&self, told: &Told<'_>) {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner).update(told.snapshot, told.changed);
        if !told.triggered.is_empty() {
            self.programmed(told.snapshot, told.triggered);
        }
    }
}

impl Cluster {
    /// Kubernetes' DNS programming latency: from the change of a Pod or Service to the answer. Slices that the endpoint
    /// controller made, for Services that are there: the others say no time, or are nobody's.
    fn programmed(&self, snapshot: &Snapshot, changes: &[Triggered]) {
        let records = self.published.load();
        let now = SystemTime::now();
        for Triggered { slice, at } in changes {
            let Some(service) = records.options().service_of(slice, snapshot) else { continue };
            let kind = if service.headless { "headless_with_selector" } else { "cluster_ip" };
            let took = self.metrics.histogram(
                "coredns_kubernetes_dns_programming_duration_seconds",
                "Histogram of the time (in seconds) it took to program a dns instance.",
                BUCKETS,
                &[("service_kind", kind)],
            );
            // What they say is another machine's time of day, which may be ahead of ours.
            took.observe(now.duration_since(*at).unwrap_or_default().as_secs_f64());
        }
    }
}
