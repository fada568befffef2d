//! The cluster's state as it comes to the DNS server: one snapshot, and who wants to know of its changes.
//!
//! Whoever reads the state (the node agent, `bowline dns`) publishes here, on its own thread, every snapshot with what
//! changed. Followers turn it into answers then and there, so a change is answered as soon as `publish` returns.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bowline_cluster::snapshot::Snapshot;
use bowline_cluster::source::{Asked, Drift, Triggered};
use bowline_cluster::state::Applied;
use tokio::sync::watch;

use crate::metrics::{Registry, SECONDS};

/// Somebody who wants to know of changes.
pub trait Follower: Send + Sync {
    /// The state is now `snapshot`. `changed`: what differs from the one before; None where all of it may.
    fn changed(&self, snapshot: &Snapshot, changed: Option<&Applied>);

    /// What these changes brought is in the answers now.
    fn programmed(&self, _snapshot: &Snapshot, _changes: &[Triggered]) {}
}

/// How long questions wait for the first whole read, from the start on, where no `startup_timeout` says otherwise.
const STARTUP: Duration = Duration::from_secs(5);
/// Nothing was said.
const UNSAID: u64 = u64::MAX;

/// The state and those who follow it.
pub struct Feed {
    inner: Mutex<Inner>,
    /// All series of the server: those of whoever reads the state among them.
    pub metrics: Arc<Registry>,
    began: Instant,
    /// Milliseconds from then on for which questions wait.
    startup: AtomicU64,
    /// Whether the state was read whole and its followers know it.
    synced: watch::Sender<bool>,
}

impl Default for Feed {
    fn default() -> Feed {
        Feed {
            inner: Mutex::default(),
            metrics: Arc::default(),
            began: Instant::now(),
            startup: AtomicU64::new(UNSAID),
            synced: watch::Sender::new(false),
        }
    }
}

#[derive(Default)]
struct Inner {
    /// None before the first whole read.
    snapshot: Option<Snapshot>,
    followers: Vec<Weak<dyn Follower>>,
    away: Option<(Instant, String)>,
}

impl Feed {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state is now this; call it in the order of the changes, and not before the first whole read.
    pub fn publish(&self, snapshot: Snapshot, changed: Option<&Applied>) {
        let mut inner = self.lock();
        // Who follows for the first time needs all of it.
        let changed = changed.filter(|_| inner.snapshot.is_some());
        inner.followers.retain(|follower| match follower.upgrade() {
            Some(follower) => {
                follower.changed(&snapshot, changed);
                true
            }
            None => false,
        });
        inner.snapshot = Some(snapshot);
        drop(inner);
        self.synced.send_if_modified(|synced| !std::mem::replace(synced, true));
    }

    /// Questions wait so long for the first whole read, from the start on; the longest time that is said counts.
    pub fn wait_at_start(&self, time: Duration) {
        let time = u64::try_from(time.as_millis()).unwrap_or(UNSAID - 1).min(UNSAID - 1);
        let longest = |said| Some(if said == UNSAID { time } else { time.max(said) });
        // It never refuses.
        let _ = self.startup.fetch_update(Ordering::Relaxed, Ordering::Relaxed, longest);
    }

    /// What is left of that time; none where the state was read whole.
    fn patience(&self) -> Option<Duration> {
        if *self.synced.borrow() {
            return None;
        }
        let time = match self.startup.load(Ordering::Relaxed) {
            UNSAID => STARTUP,
            said => Duration::from_millis(said),
        };
        time.checked_sub(self.began.elapsed()).filter(|left| !left.is_zero())
    }

    /// Whether a question that needs the state is to wait for it: it has just started to be read.
    pub fn is_awaited(&self) -> bool {
        self.patience().is_some()
    }

    /// Waits for the first whole read, for what is left of the first seconds. A client that is told SERVFAIL then may
    /// take the next name of its search path, and in the end a name that is there for one that isn't.
    pub async fn wait(&self) {
        let Some(left) = self.patience() else { return };
        let mut synced = self.synced.subscribe();
        // In vain: the answer says so.
        let _ = tokio::time::timeout(left, synced.wait_for(|synced| *synced)).await;
    }

    /// These changes are published, as far as they changed anything. Nothing is said of them before the first whole read.
    pub fn programmed(&self, changes: &[Triggered]) {
        let inner = self.lock();
        if let (Some(snapshot), false) = (&inner.snapshot, changes.is_empty()) {
            let followers = inner.followers.iter().filter_map(Weak::upgrade);
            followers.for_each(|follower| follower.programmed(snapshot, changes));
        }
    }

    /// Counts a request to an API server.
    pub fn asked(&self, request: &Asked<'_>) {
        let code = request.status.map_or("<error>".to_owned(), |status| status.to_string());
        let help = "Number of HTTP requests, partitioned by status code, method, and host.";
        let labels = [("code", code.as_str()), ("method", "GET"), ("host", request.host)];
        self.metrics.counter("coredns_kubernetes_rest_client_requests_total", help, &labels).inc();
        let name = "coredns_kubernetes_rest_client_request_duration_seconds";
        let help = "Request latency in seconds. Broken down by verb and host.";
        let took = self.metrics.histogram(name, help, SECONDS, &[("verb", "GET"), ("host", request.host)]);
        took.observe(request.took.as_secs_f64());
    }

    /// Counts objects that were found otherwise than the server has them.
    pub fn drifted(&self, drift: &Drift) {
        let help = "Objects that were known otherwise than the server has them, found by comparing, by kind; they were \
                    read again.";
        self.metrics.counter("bowline_dns_state_drift_total", help, &[("kind", drift.kind)]).add(drift.objects as u64);
    }

    /// Adds a follower, and tells it what is known. It is forgotten when it is dropped.
    pub fn follow(&self, follower: &Arc<dyn Follower>) {
        let mut inner = self.lock();
        if let Some(snapshot) = &inner.snapshot {
            follower.changed(snapshot, None);
        }
        inner.followers.push(Arc::downgrade(follower));
    }

    /// The state, once it was read whole.
    pub fn snapshot(&self) -> Option<Snapshot> {
        self.lock().snapshot.clone()
    }

    /// Whether the state was read whole.
    pub fn is_synced(&self) -> bool {
        self.lock().snapshot.is_some()
    }

    /// The state can't be read since `since`, for this reason; None: it can.
    pub fn set_away(&self, away: Option<(Instant, String)>) {
        self.lock().away = away;
    }

    /// Brings the series of the state's age up to now.
    pub fn show_age(&self) {
        let help =
            "Seconds since which the cluster's state can't be read and answers are as last known; 0 while it can.";
        let away = self.away().map_or(0.0, |(since, _)| since.elapsed().as_secs_f64());
        self.metrics.gauge("bowline_dns_state_away_seconds", help, &[]).set(away);
    }

    /// Since when and why the state can't be read; None where it can.
    pub fn away(&self) -> Option<(Instant, String)> {
        self.lock().away.clone()
    }
}
