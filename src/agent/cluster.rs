//! One cluster that the agent follows: its source, what is known of it, and how old that is.
//!
//! Each has its own thread and its own locks, so that one that is dead or slow holds up no other. The
//! node's own cluster is the one that the kernel serves. The kernel takes a cluster's lock while it holds its
//! own, so nothing here asks the kernel anything while it holds the cluster's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bowline_cluster::object::ObjectName;
use bowline_cluster::snapshot::Snapshot;
use bowline_cluster::source::{Asked, Drift, Problem, Sink, Update};
use bowline_cluster::span;
use bowline_cluster::state::{Applied, Options, State};
use bowline_dns::feed::Feed;
use bowline_sources::saved;

use super::kernel::{Heard, Kernel};
use crate::metrics::{Metrics, OfCluster};

/// How often a state that keeps changing is written to disk.
const SAVE: Duration = Duration::from_secs(60);

/// Where the last known state is kept on disk.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    /// The file.
    pub(crate) path: PathBuf,
    /// Older than that it is not served.
    pub(crate) max_age: Duration,
}

/// Who serves a cluster.
#[derive(Clone, Default)]
pub(crate) struct Served {
    /// The kernel.
    pub(crate) kernel: Option<Arc<Kernel>>,
    /// The DNS server; [`Cluster::serve`] may name it later.
    pub(crate) feed: Option<Arc<Feed>>,
}

/// A cluster.
pub(crate) struct Cluster {
    name: String,
    /// As `--state` wrote it, without secrets.
    source: String,
    inner: Mutex<Inner>,
    disk: Option<Disk>,
    kernel: Option<Arc<Kernel>>,
    feed: OnceLock<Arc<Feed>>,
    metrics: Arc<Metrics>,
    counts: OfCluster,
}

struct Inner {
    state: State,
    /// Since when what is known may be out of date; None while the source can be read.
    stale_since: Option<Instant>,
    /// How old it was when it came from disk; None when it came from the source.
    from_disk: Option<Duration>,
    /// Whether the disk was asked for what it has.
    looked_on_disk: bool,
    /// Whether the source has told the whole.
    told: bool,
    /// NetworkPolicies that were said not to be enforced.
    policies: BTreeSet<ObjectName>,
    saved: Option<Saved>,
}

/// The last attempt to write to disk.
#[derive(Clone, Copy, Debug)]
struct Saved {
    /// Which revision of the snapshot the disk has; None where it could not be written.
    revision: Option<u64>,
    at: Instant,
}

impl Cluster {
    /// A cluster of which nothing is known yet.
    pub(crate) fn new(
        name: &str,
        source: String,
        options: Options,
        disk: Option<Disk>,
        served: Served,
        metrics: Arc<Metrics>,
    ) -> Cluster {
        let inner = Inner {
            state: State::new(options),
            stale_since: None,
            from_disk: None,
            looked_on_disk: false,
            told: false,
            policies: BTreeSet::new(),
            saved: None,
        };
        let counts = metrics.of_cluster(name);
        let Served { kernel, feed } = served;
        let feed = feed.map_or_else(OnceLock::new, OnceLock::from);
        Cluster { name: name.to_owned(), source, inner: Mutex::new(inner), disk, kernel, feed, metrics, counts }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves the state whole; going on is better than ending.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the source has told the whole.
    pub(crate) fn is_told(&self) -> bool {
        self.lock().told
    }

    /// From now on this DNS server is told: of what is known now, and of every change. For a cluster that was made
    /// without one, once the source has told the whole.
    pub(crate) fn serve(&self, feed: &Arc<Feed>) {
        // Under the lock: changes to come are published after this.
        let inner = self.lock();
        if inner.told && self.feed.set(feed.clone()).is_ok() {
            inner.tell_age(feed);
            feed.publish(inner.state.snapshot(), None);
        }
    }

    /// What it is called here.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The cluster now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.lock().state.snapshot()
    }

    /// Brings the metrics up to now.
    pub(crate) fn measure(&self) {
        // Before the lock: the kernel's comes first.
        let remarks = self.kernel.as_ref().map_or(0, |kernel| kernel.measure());
        let inner = self.lock();
        let s = inner.state.snapshot();
        let counts = [
            ("Service", s.services.len()),
            ("EndpointSlice", s.slices.len()),
            ("Pod", s.pods.len()),
            ("Node", s.nodes.len()),
            ("Namespace", s.namespaces.len()),
            ("NetworkPolicy", s.network_policies.len()),
            ("ServiceImport", s.service_imports.len()),
            ("ServiceCIDR", s.service_cidrs.len()),
        ];
        for (kind, count) in counts {
            self.metrics.set_objects(&self.name, kind, count);
        }
        self.counts.problems.set((inner.state.problems().len() + remarks) as i64);
        self.counts.policies.set(s.network_policies.len() as i64);
        self.counts.away.set(inner.age().as_secs_f64());
    }

    /// Whether what is known of it is what the disk had.
    pub(crate) fn is_from_disk(&self) -> bool {
        self.lock().from_disk.is_some()
    }

    /// What there is to say of its age; None where it is read as it changes.
    pub(crate) fn staleness(&self) -> Option<String> {
        let inner = self.lock();
        let why = inner.state.away().unwrap_or("it has not been read yet");
        let age = span::human(inner.age());
        match (inner.from_disk, inner.stale_since) {
            (Some(_), _) => {
                Some(format!("served from the snapshot on disk, {age} old, since the state cannot be read: {why}"))
            }
            (None, Some(_)) if inner.told => {
                Some(format!("served as last known, since the state cannot be read for {age}: {why}"))
            }
            (None, Some(_)) => Some(format!("the state cannot be read: {why}")),
            (None, None) if inner.told => None,
            (None, None) => Some("the state has not been read whole yet".to_owned()),
        }
    }

    /// Looks after what no change brings about.
    pub(crate) fn tend(&self) {
        if let Some(kernel) = &self.kernel {
            kernel.tend(&|| self.snapshot());
        }
        self.save(false);
    }

    /// Writes what is known to disk if that is due, or `now`.
    pub(crate) fn save(&self, now: bool) {
        let Some(Disk { path, .. }) = &self.disk else { return };
        let (snapshot, before) = {
            let inner = self.lock();
            if !inner.told || inner.stale_since.is_some() {
                return; // What the disk has is no older.
            }
            (inner.state.snapshot(), inner.saved)
        };
        if !now && before.is_some_and(|saved| saved.at.elapsed() < SAVE) {
            return;
        }
        // The file is younger only by what it says: after a write that failed it is not touched.
        let done = match before {
            Some(Saved { revision: Some(revision), .. }) if revision == snapshot.revision => saved::touch(path),
            // On a host that no package has prepared the folder is not there yet.
            _ => path
                .parent()
                .map_or(Ok(()), std::fs::create_dir_all)
                .and_then(|()| saved::write(path, &self.source, &snapshot).map(|_| ())),
        };
        match &done {
            Ok(()) => tracing::debug!(cluster = %self.name, path = %path.display(), "the state is on disk"),
            Err(error) => tracing::warn!(
                cluster = %self.name, path = %path.display(), %error,
                "the state can't be kept on disk; make room, or give another folder by --state-dir"
            ),
        }
        self.lock().saved = Some(Saved { revision: done.is_ok().then_some(snapshot.revision), at: Instant::now() });
    }

    /// What the disk has is taken in when the source can't be read at the start. A kernel that serves
    /// already is left as it is: what the agent before programmed is no older.
    fn load(&self, inner: &mut Inner) -> bool {
        let Some(Disk { path, max_age }) = &self.disk else { return false };
        match saved::read(path, &self.source, *max_age) {
            Ok(None) => {
                tracing::info!(cluster = %self.name, path = %path.display(), "no snapshot on disk; waiting for the state");
                false
            }
            Ok(Some(loaded)) => {
                let age = loaded.age;
                self.note(&inner.state.apply(Update::All(loaded.changes)), inner);
                inner.from_disk = Some(age);
                // Never older than the machine's clock can say.
                inner.stale_since = Instant::now().checked_sub(age).or(inner.stale_since);
                tracing::warn!(
                    cluster = %self.name, path = %path.display(), age = span::human(age),
                    services = inner.state.snapshot().services.len(),
                    "the state cannot be read: serving the snapshot on disk"
                );
                true
            }
            Err(problem) => {
                self.report(&problem);
                false
            }
        }
    }

    fn report(&self, problem: &Problem) {
        self.metrics.reported.inc();
        tracing::warn!(
            cluster = %self.name,
            origin = %problem.origin,
            object = problem.object.as_deref(),
            field = problem.field.as_deref(),
            "refused: {}", problem.message
        );
    }

    /// Says what an update brought that people should know.
    fn note(&self, applied: &Applied, inner: &mut Inner) {
        applied.reported.iter().for_each(|p| self.report(p));
        for problem in &applied.mended {
            tracing::info!(
                cluster = %self.name, origin = %problem.origin, object = problem.object.as_deref(),
                "mended: {}", problem.message
            );
        }
        let snapshot = inner.state.snapshot();
        for policy in &applied.policies {
            if !snapshot.network_policies.contains_key(policy) {
                inner.policies.remove(policy);
            } else if inner.policies.insert(policy.clone()) {
                self.metrics.reported.inc();
                tracing::warn!(
                    cluster = %self.name, %policy,
                    "NetworkPolicy is not enforced: Bowline has no policies yet; leave them to another program, or start \
                     with --require-network-policy to have none of this node's traffic without them"
                );
            }
        }
    }
}

impl Inner {
    fn age(&self) -> Duration {
        self.stale_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn tell_age(&self, feed: &Feed) {
        let why = self.state.away().unwrap_or("it has not been read yet");
        feed.set_away(self.stale_since.map(|since| (since, why.to_owned())));
    }
}

impl Sink for Cluster {
    fn asked(&self, request: &Asked<'_>) {
        if let Some(feed) = self.feed.get() {
            feed.asked(request);
        }
    }

    fn drifted(&self, drift: &Drift) {
        self.metrics.count_drift(&self.name, drift.kind, drift.objects);
        if let Some(feed) = self.feed.get() {
            feed.drifted(drift);
        }
        tracing::warn!(
            cluster = %self.name, kind = drift.kind, objects = drift.objects, some = drift.names.join(", "),
            "what is known is not what the server has: its watch has lost changes; reading them again"
        );
    }

    fn update(&self, update: Update) {
        let is_away = matches!(update, Update::Away(_));
        // Before the lock: the kernel's comes first.
        let serving = is_away && self.kernel.as_ref().is_some_and(|kernel| kernel.is_serving());
        if is_away {
            // What came since the disk was written last must not be lost with this process.
            self.save(true);
        }
        let mut inner = self.lock();
        let mut heard = Heard::default();
        let mut whole = false;
        match &update {
            Update::All(_) => {
                whole = true;
                inner.told = true;
                inner.from_disk = None;
                self.counts.up.set(i64::from(inner.state.away().is_none()));
            }
            Update::Some { read_at, triggered, .. } => {
                heard = Heard { read_at: Some(*read_at), triggered: triggered.clone() };
            }
            Update::Away(why) => {
                tracing::warn!(cluster = %self.name, %why, "the state cannot be read; all that is known stays in force");
                inner.stale_since.get_or_insert_with(Instant::now);
                self.counts.up.set(0);
            }
            Update::Back => {
                tracing::info!(cluster = %self.name, "the state can be read again");
                self.counts.up.set(1);
            }
            Update::Problems(_) => {}
        }
        let before = inner.state.snapshot().revision;
        let applied = inner.state.apply(update);
        if inner.told && inner.state.away().is_none() {
            inner.stale_since = None;
        }
        self.note(&applied, &mut inner);
        // Once: each reason for being away is told by itself.
        let mut loaded = false;
        if is_away && !inner.told && !std::mem::replace(&mut inner.looked_on_disk, true) {
            loaded = self.load(&mut inner);
            whole = loaded && !serving;
        }
        // Before the first whole read, what comes is not served; from disk, only what was read there.
        let ready = inner.told || whole;
        let told = self.feed.get().map(|feed| {
            inner.tell_age(feed);
            let snapshot = (inner.told || loaded).then(|| inner.state.snapshot());
            // `applied` doesn't tell of Pods, namespaces and what other clusters have.
            (feed, snapshot.filter(|snapshot| whole || loaded || snapshot.revision != before))
        });
        drop(inner);
        if let Some((feed, snapshot)) = told {
            if let Some(snapshot) = snapshot {
                feed.publish(snapshot, if loaded { None } else { Some(&applied) });
            }
            feed.programmed(&heard.triggered);
        }
        if let Some(kernel) = &self.kernel
            && ready
            && (whole || !applied.services.is_empty())
        {
            kernel.program(&|| self.snapshot(), &applied.services, heard);
        }
    }
}

/// The file of a cluster below the folder of `--state-dir`.
pub(crate) fn disk(folder: &Path, name: &str, max_age: Duration) -> Disk {
    Disk { path: folder.join(format!("{name}.snapshot")), max_age }
}
