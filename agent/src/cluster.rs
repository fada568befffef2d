//! One cluster that the agent follows: its source, what is known of it, and how old that is.
//!
//! Each has its own thread and its own locks, so that one that is dead or slow holds up no other. The node's own cluster
//! is the one that is served: whoever serves it follows it ([`Row`]). Changes are told in their order, under the row's lock;
//! what is known has a lock of its own inside of that, so that whoever only looks waits for no follower.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bowline_cluster::follow::{Away, Follower, Row, Told};
use bowline_cluster::object::ObjectName;
use bowline_cluster::source::{Asked, Drift, Problem, Sink, Update};
use bowline_cluster::span;
use bowline_cluster::state::{Applied, Options, State};
use bowline_sources::saved;

use crate::metrics::{Metrics, OfCluster};

/// How often a state that keeps changing is written to disk.
const SAVE: Duration = Duration::from_secs(60);

/// Where the last known state is kept on disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// The file.
    pub path: PathBuf,
    /// Older than that it is not served.
    pub max_age: Duration,
}

/// A cluster.
pub struct Cluster {
    name: String,
    /// As `--state` wrote it, without secrets.
    source: String,
    /// To be locked before `inner`.
    row: Mutex<Row>,
    inner: Mutex<Inner>,
    disk: Option<Disk>,
    metrics: Arc<Metrics>,
    counts: OfCluster,
}

struct Inner {
    state: State,
    known: Known,
    /// Since when what is known may be out of date; None while the source can be read.
    stale_since: Option<Instant>,
    /// NetworkPolicies that were said not to be enforced.
    policies: BTreeSet<ObjectName>,
    saved: Option<Saved>,
}

/// What is known of a cluster, and so what is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Nothing whole yet.
    Nothing,
    /// Nor has the disk anything that could be served.
    NothingOnDisk,
    /// What the disk had.
    FromDisk,
    /// The whole, as the source told it.
    Whole,
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
    pub fn new(
        name: &str,
        source: String,
        options: Options,
        disk: Option<Disk>,
        row: Row,
        metrics: Arc<Metrics>,
    ) -> Cluster {
        let inner = Inner {
            state: State::new(options),
            known: Known::Nothing,
            stale_since: None,
            policies: BTreeSet::new(),
            saved: None,
        };
        let (row, inner, counts) = (Mutex::new(row), Mutex::new(inner), metrics.of_cluster(name));
        Cluster { name: name.to_owned(), source, row, inner, disk, metrics, counts }
    }

    fn row(&self) -> MutexGuard<'_, Row> {
        self.row.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves the state whole; going on is better than ending.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the source has told the whole.
    pub fn is_told(&self) -> bool {
        self.lock().known == Known::Whole
    }

    /// From now on this follower is told: of what is known now, and of every change. The last of the row.
    pub fn follow(&self, follower: Arc<dyn Follower>) {
        let mut row = self.row();
        let (known, snapshot, away) = {
            let inner = self.lock();
            (inner.known, inner.state.snapshot(), inner.away())
        };
        follower.away(&away);
        if matches!(known, Known::Whole | Known::FromDisk) {
            let told = Told { is_from_disk: known == Known::FromDisk, ..Told::whole(&snapshot) };
            follower.come(&told);
            follower.go(&told);
        }
        row.push(follower);
    }

    /// What it is called here.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Brings the metrics up to now. `remarks`: how many stand of what serves it.
    pub fn measure(&self, remarks: usize) {
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
        self.counts.problems.set((inner.state.problems().len() + remarks) as f64);
        self.counts.policies.set(s.network_policies.len() as f64);
        self.counts.away.set(inner.age().as_secs_f64());
    }

    /// Whether what is known of it is what the disk had.
    pub fn is_from_disk(&self) -> bool {
        self.lock().known == Known::FromDisk
    }

    /// What there is to say of its age; None where it is read as it changes.
    pub fn staleness(&self) -> Option<String> {
        let inner = self.lock();
        let why = inner.state.away().unwrap_or("it has not been read yet");
        let age = span::human(inner.age());
        match (inner.known, inner.stale_since) {
            (Known::FromDisk, _) => {
                Some(format!("served from the snapshot on disk, {age} old, since the state cannot be read: {why}"))
            }
            (Known::Whole, Some(_)) => {
                Some(format!("served as last known, since the state cannot be read for {age}: {why}"))
            }
            (Known::Whole, None) => None,
            (_, Some(_)) => Some(format!("the state cannot be read: {why}")),
            (_, None) => Some("the state has not been read whole yet".to_owned()),
        }
    }

    /// Writes what is known to disk if that is due, or `now`.
    pub fn save(&self, now: bool) {
        let Some(Disk { path, .. }) = &self.disk else { return };
        let (snapshot, before) = {
            let inner = self.lock();
            if inner.known != Known::Whole || inner.stale_since.is_some() {
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

    /// What the disk has is taken in when the source can't be read at the start.
    fn load(&self, inner: &mut Inner) -> Known {
        let Some(Disk { path, max_age }) = &self.disk else { return Known::NothingOnDisk };
        match saved::read(path, &self.source, *max_age) {
            Ok(None) => {
                tracing::info!(cluster = %self.name, path = %path.display(), "no snapshot on disk; waiting for the state");
                Known::NothingOnDisk
            }
            Ok(Some(loaded)) => {
                let age = loaded.age;
                self.note(&inner.state.apply(Update::All(loaded.changes)), inner);
                // Never older than the machine's clock can say.
                inner.stale_since = Instant::now().checked_sub(age).or(inner.stale_since);
                tracing::warn!(
                    cluster = %self.name, path = %path.display(), age = span::human(age),
                    services = inner.state.snapshot().services.len(),
                    "the state cannot be read: serving the snapshot on disk"
                );
                Known::FromDisk
            }
            Err(problem) => {
                self.report(&problem);
                Known::NothingOnDisk
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
        for policy in &applied.changed.policies {
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

    fn away(&self) -> Away {
        let why = self.state.away().unwrap_or("it has not been read yet");
        self.stale_since.map(|since| (since, why.to_owned()))
    }
}

impl Sink for Cluster {
    fn asked(&self, request: &Asked<'_>) {
        self.row().iter().for_each(|follower| follower.asked(request));
    }

    fn drifted(&self, drift: &Drift) {
        self.metrics.count_drift(&self.name, drift.kind, drift.objects);
        self.row().iter().for_each(|follower| follower.drifted(drift));
        tracing::warn!(
            cluster = %self.name, kind = drift.kind, objects = drift.objects, some = drift.names.join(", "),
            "what is known is not what the server has: its watch has lost changes; reading them again"
        );
    }

    fn update(&self, update: Update) {
        let is_away = matches!(update, Update::Away(_));
        if is_away {
            // What came since the disk was written last must not be lost with this process.
            self.save(true);
        }
        let row = self.row();
        let mut inner = self.lock();
        let (mut is_whole, mut read_at, mut triggered) = (false, None, Vec::new());
        match &update {
            Update::All(_) => {
                is_whole = true;
                inner.known = Known::Whole;
                self.counts.up.set(f64::from(u8::from(inner.state.away().is_none())));
            }
            Update::Some { read_at: at, triggered: slices, .. } => {
                read_at = Some(*at);
                triggered.clone_from(slices);
            }
            Update::Away(why) => {
                tracing::warn!(cluster = %self.name, %why, "the state cannot be read; all that is known stays in force");
                inner.stale_since.get_or_insert_with(Instant::now);
                self.counts.up.set(0.0);
            }
            Update::Back => {
                tracing::info!(cluster = %self.name, "the state can be read again");
                self.counts.up.set(1.0);
            }
            Update::Problems(_) => {}
        }
        let before = inner.state.snapshot().revision;
        let applied = inner.state.apply(update);
        if inner.known == Known::Whole && inner.state.away().is_none() {
            inner.stale_since = None;
        }
        self.note(&applied, &mut inner);
        // Once: each reason for being away is told by itself.
        let mut is_from_disk = false;
        if is_away && inner.known == Known::Nothing {
            inner.known = self.load(&mut inner);
            is_from_disk = inner.known == Known::FromDisk;
        }
        let (known, snapshot, away) = (inner.known, inner.state.snapshot(), inner.away());
        drop(inner);
        row.iter().for_each(|follower| follower.away(&away));
        // Before the first whole read, what comes is not served; from disk, only what was read there.
        let is_news = is_whole || snapshot.revision != before || !triggered.is_empty();
        if is_from_disk || known == Known::Whole && is_news {
            let changed = (!is_from_disk).then_some(&applied.changed);
            row.tell(&Told { snapshot: &snapshot, changed, is_from_disk, read_at, triggered: &triggered });
        }
    }
}

/// The file of a cluster below the folder of `--state-dir`.
pub fn disk(folder: &Path, name: &str, max_age: Duration) -> Disk {
    Disk { path: folder.join(format!("{name}.snapshot")), max_age }
}
