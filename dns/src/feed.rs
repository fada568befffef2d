//! The cluster as it comes to the DNS server: the newest snapshot, and the plugins that follow it.
//!
//! The feed is a [`Follower`] of the cluster itself, and tells its own followers, on the thread that tells it. They turn a
//! change into answers then and there, so it is answered as soon as [`Feed::come`] returns.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bowline_cluster::follow::{Away, Follower, Told};
use bowline_cluster::snapshot::Snapshot;
use bowline_cluster::source::{Asked, Drift};
use tokio::sync::watch;

use bowline_observe::metrics::{Registry, SECONDS};

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
    away: Away,
}

impl Feed {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Adds a follower, and tells it what is known. It is forgotten when it is dropped.
    pub fn follow(&self, follower: &Arc<dyn Follower>) {
        let mut inner = self.lock();
        if let Some(snapshot) = &inner.snapshot {
            follower.come(&Told::whole(snapshot));
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

    /// Brings the series of the state's age up to now.
    pub fn show_age(&self) {
        let help =
            "Seconds since which the cluster's state can't be read and answers are as last known; 0 while it can.";
        let away = self.away_since().map_or(0.0, |(since, _)| since.elapsed().as_secs_f64());
        self.metrics.gauge("bowline_dns_state_away_seconds", help, &[]).set(away);
    }

    /// Since when and why the state can't be read; None where it can.
    pub fn away_since(&self) -> Away {
        self.lock().away.clone()
    }
}

impl Follower for Feed {
    /// Not to be called before the first whole read.
    fn come(&self, told: &Told<'_>) {
        let mut inner = self.lock();
        // Whoever follows for the first time needs all of it.
        let told = Told { changed: told.changed.filter(|_| inner.snapshot.is_some()), ..*told };
        inner.followers.retain(|follower| match follower.upgrade() {
            Some(follower) => {
                follower.come(&told);
                true
            }
            None => false,
        });
        inner.snapshot = Some(told.snapshot.clone());
        drop(inner);
        self.synced.send_if_modified(|synced| !std::mem::replace(synced, true));
    }

    fn away(&self, away: &Away) {
        self.lock().away.clone_from(away);
    }

    fn asked(&self, request: &Asked<'_>) {
        let code = request.status.map_or("<error>".to_owned(), |status| status.to_string());
        let help = "Number of HTTP requests, partitioned by status code, method, and host.";
        let labels = [("code", code.as_str()), ("method", "GET"), ("host", request.host)];
        self.metrics.counter("coredns_kubernetes_rest_client_requests_total", help, &labels).inc();
        let name = "coredns_kubernetes_rest_client_request_duration_seconds";
        let help = "Request latency in seconds. Broken down by verb and host.";
        let took = self.metrics.histogram(name, help, SECONDS, &[("verb", "GET"), ("host", request.host)]);
        took.observe(request.took.as_secs_f64());
    }

    fn drifted(&self, drift: &Drift) {
        let help = "Objects that were known otherwise than the server has them, found by comparing, by kind; they were \
                    read again.";
        self.metrics.counter("bowline_dns_state_drift_total", help, &[("kind", drift.kind)]).add(drift.objects as u64);
    }
}
