//! CoreDNS's series of the cache, for one server.

use std::sync::Arc;

use super::entry::Kind;
use crate::address::Address;
use bowline_observe::metrics::{Counter, Gauge, Registry};

pub(super) struct Series {
    pub(super) requests: Arc<Counter>,
    pub(super) misses: Arc<Counter>,
    pub(super) prefetches: Arc<Counter>,
    pub(super) drops: Arc<Counter>,
    pub(super) served_stale: Arc<Counter>,
    hits: [Arc<Counter>; 2],
    evictions: [Arc<Counter>; 2],
    entries: [Arc<Gauge>; 2],
}

impl Series {
    pub(super) fn new(metrics: &Registry, server: &Address, zones: &str, view: &str) -> Series {
        let server = server.to_string();
        let labels = [("server", &*server), ("zones", zones), ("view", view)];
        let counter = |name, help| metrics.counter(name, help, &labels);
        let with_type = |kind: Kind| [labels[0], labels[1], labels[2], ("type", kind.name())];
        let by_type = |name, help| Kind::ALL.map(|kind| metrics.counter(name, help, &with_type(kind)));
        Series {
            requests: counter("coredns_cache_requests_total", "The count of cache requests."),
            misses: counter(
                "coredns_cache_misses_total",
                "The count of cache misses. Deprecated, derive misses from cache hits/requests counters.",
            ),
            prefetches: counter(
                "coredns_cache_prefetch_total",
                "The number of times the cache has prefetched a cached item.",
            ),
            drops: counter(
                "coredns_cache_drops_total",
                "The number responses that are not cached, because the reply is malformed.",
            ),
            served_stale: counter(
                "coredns_cache_served_stale_total",
                "The number of requests served from stale cache entries.",
            ),
            hits: by_type("coredns_cache_hits_total", "The count of cache hits."),
            evictions: by_type("coredns_cache_evictions_total", "The count of cache evictions."),
            entries: Kind::ALL.map(|kind| {
                metrics.gauge("coredns_cache_entries", "The number of elements in the cache.", &with_type(kind))
            }),
        }
    }

    pub(super) fn hits(&self, kind: Kind) -> &Counter {
        &self.hits[kind as usize]
    }
    pub(super) fn evictions(&self, kind: Kind) -> &Counter {
        &self.evictions[kind as usize]
    }
    pub(super) fn entries(&self, kind: Kind) -> &Gauge {
        &self.entries[kind as usize]
    }
}
