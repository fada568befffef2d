//! The Services in the kernel, as the node's own cluster has them, and what could not be done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bowline_cluster::follow::{Follower, Told};
use bowline_cluster::object::ObjectName;
use bowline_cluster::snapshot::Snapshot;
use bowline_cluster::source::Triggered;
use bowline_cluster::span::exact;
use bowline_dataplane::node::{Applied, Dataplane};
use bowline_dataplane::plan::PortPlan;
use tokio::sync::mpsc;

use crate::metrics::Metrics;

/// The kernel of this node.
pub(crate) struct Kernel {
    inner: Mutex<Inner>,
    metrics: Arc<Metrics>,
    ready: AtomicBool,
    started: Instant,
    /// Tells the main thread of an end that nothing can mend.
    fatal: mpsc::UnboundedSender<String>,
}

/// Gives the kernel's place back when dropped: what serves stays, what never came to serve goes.
pub(crate) struct End(pub(crate) Arc<Kernel>);

impl Drop for End {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.ended = true;
        inner.dataplane.end();
    }
}

struct Inner {
    dataplane: Dataplane,
    /// What has come, and is not done until what is gone has gone.
    coming: Option<Coming>,
    /// Where the kernel refused something: what it is made up for from, once there is room.
    unfinished: Option<Snapshot>,
    /// Nothing is programmed any more.
    ended: bool,
    /// Why the hooks are not attached, once they were.
    detached: Option<String>,
    /// What was said of each Service, so that it is said once.
    said: BTreeMap<ObjectName, BTreeSet<String>>,
}

/// A change on its way.
struct Coming {
    /// How long the kernel has taken so far.
    took: Duration,
    /// How long ago it was heard of, when the kernel was done with what comes.
    since_event: Option<Duration>,
}

impl Kernel {
    /// What serves by this dataplane.
    pub(crate) fn new(
        dataplane: Dataplane,
        metrics: Arc<Metrics>,
        started: Instant,
        fatal: mpsc::UnboundedSender<String>,
    ) -> Kernel {
        let inner =
            Inner { dataplane, coming: None, unfinished: None, ended: false, detached: None, said: BTreeMap::new() };
        Kernel { inner: Mutex::new(inner), metrics, ready: AtomicBool::new(false), started, fatal }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves the kernel consistent; going on is better than ending.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a whole state is in the kernel and the hooks are attached.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Why the hooks are not attached, where they once were.
    pub(crate) fn detached(&self) -> Option<String> {
        self.lock().detached.clone()
    }

    /// Whether an agent before this one left Services in the kernel: they are at least as new as any
    /// snapshot on disk.
    pub(crate) fn is_serving(&self) -> bool {
        self.lock().dataplane.usage().services.0 > 0
    }

    /// Leads the node's own calls to one of its ports to a pod; nowhere any more, where there are no ports.
    ///
    /// # Errors
    /// A map is full.
    pub(crate) fn set_host_port(&self, name: &ObjectName, ports: Vec<PortPlan>) -> Result<(), String> {
        let mut inner = self.lock();
        if inner.ended {
            return Ok(());
        }
        inner.dataplane.set_host_port(name, ports).map_err(|error| error.to_string())
    }

    /// Brings the metrics up to what the kernel says; returns how many remarks stand.
    pub(crate) fn measure(&self) -> usize {
        let inner = self.lock();
        self.metrics.read(&inner.dataplane);
        inner.said.values().map(BTreeSet::len).sum()
    }

    /// Looks after what no change brings about: refused changes for which there is room now, hooks that lost
    /// their cgroup.
    pub(crate) fn tend(&self) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        if inner.ended {
            return;
        }
        match inner.dataplane.tend() {
            // In the midst of a change: it tries again itself.
            Ok(true) if inner.coming.is_none() => {
                if let Some(snapshot) = inner.unfinished.take() {
                    let done = inner.dataplane.go(&snapshot);
                    self.note(inner, done, snapshot);
                }
            }
            Ok(_) => {}
            Err(error) => {
                if inner.detached.replace(error.to_string()).is_none() {
                    tracing::error!(%error, "not attached: no process is served until the cgroup is there again");
                }
                self.set_ready(false);
                return;
            }
        }
        if inner.detached.take().is_some() {
            self.set_ready(true);
        }
    }

    /// Says what could not be done, each time it is new.
    fn note(&self, inner: &mut Inner, done: Applied, snapshot: Snapshot) {
        inner.unfinished = inner.dataplane.is_unfinished().then_some(snapshot);
        for (map, count) in &done.full {
            self.metrics.count_full(map, *count);
        }
        let mut remarks: BTreeMap<ObjectName, BTreeSet<String>> =
            done.tried.into_iter().map(|name| (name, BTreeSet::new())).collect();
        for (name, remark) in done.remarks.into_iter().chain(done.refused) {
            remarks.entry(name).or_default().insert(remark);
        }
        for (name, remarks) in remarks {
            self.remark(inner, &name, remarks);
        }
    }

    /// The first time: what is in the maps is served from here on.
    fn attach(&self, inner: &mut Inner, snapshot: &Snapshot, programmed: Duration) {
        match inner.dataplane.attach() {
            Ok(()) => {
                let usage = inner.dataplane.usage();
                self.set_ready(true);
                tracing::info!(
                    services = snapshot.services.len(),
                    ports = usage.services.0,
                    backends = usage.backends.0,
                    took = exact(programmed),
                    since_start = exact(self.started.elapsed()),
                    "ready: the first whole read is in the kernel"
                );
            }
            Err(error) => {
                let _ = self.fatal.send(error.to_string());
            }
        }
    }

    /// Says what could not be done for a Service, once.
    fn remark(&self, inner: &mut Inner, service: &ObjectName, remarks: BTreeSet<String>) {
        let before = inner.said.remove(service).unwrap_or_default();
        for remark in remarks.difference(&before) {
            self.metrics.reported.inc();
            tracing::warn!(%service, "{remark}");
        }
        if !remarks.is_empty() {
            inner.said.insert(service.clone(), remarks);
        }
    }

    fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
        self.metrics.ready.set(f64::from(u8::from(ready)));
    }
}

impl Follower for Kernel {
    fn come(&self, told: &Told<'_>) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        // What an agent before this one left in the kernel is at least as new as the disk. A change that is of no Service
        // needs no look, once a whole state is there.
        let is_of_none = told.changed.is_some_and(|changed| changed.services.is_empty());
        if inner.ended
            || told.is_from_disk && inner.dataplane.usage().services.0 > 0
            || is_of_none && inner.dataplane.is_attached()
        {
            return;
        }
        let begun = Instant::now();
        inner.dataplane.come(told.snapshot, told.changed.map(|changed| &changed.services));
        let took = begun.elapsed();
        inner.coming = Some(Coming { took, since_event: told.read_at.map(|read_at| read_at.elapsed()) });
        if !inner.dataplane.is_attached() {
            // Nothing was served yet, so nothing has to go in its time.
            self.finish(inner, told);
        }
    }

    fn go(&self, told: &Told<'_>) {
        self.finish(&mut self.lock(), told);
    }
}

impl Kernel {
    /// What is gone goes, and the change is done.
    fn finish(&self, inner: &mut Inner, told: &Told<'_>) {
        let Some(Coming { took, since_event }) = inner.coming.take() else { return };
        if inner.ended {
            return;
        }
        let begun = Instant::now();
        let done = inner.dataplane.go(told.snapshot);
        let rest = begun.elapsed();
        self.metrics.apply.observe((took + rest).as_secs_f64());
        // What others did between does not count: the kernel had what came, and waited for what goes.
        let since_event = since_event.map(|since_event| since_event + rest);
        if let Some(since_event) = since_event {
            self.metrics.programming.observe(since_event.as_secs_f64());
        }
        // What they say is another machine's time of day, which may be ahead of ours.
        let now = SystemTime::now();
        for Triggered { at, .. } in told.triggered {
            self.metrics.latency.observe(now.duration_since(*at).unwrap_or_default().as_secs_f64());
        }
        let services = told.changed.map_or(0, |changed| changed.services.len());
        self.metrics.changes.add(services as u64);
        self.note(inner, done, told.snapshot.clone());
        tracing::debug!(
            services,
            microseconds = (took + rest).as_micros() as u64,
            since_event_us = since_event.map(|t| t.as_micros() as u64),
            "programmed"
        );
        if !inner.dataplane.is_attached() {
            self.attach(inner, told.snapshot, took + rest);
        }
    }
}
