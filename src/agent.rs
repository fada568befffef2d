//! The agent of a node: source ─> state ─> dataplane, and what people and monitoring see of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use bowline_cluster::object::ObjectName;
use bowline_cluster::source::files::Files;
use bowline_cluster::source::{Problem, Sink, Source, Stop, Update};
use bowline_cluster::state::{Options, State};
use bowline_dataplane::node::{Config, Dataplane};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::cli::{self, NodeArgs};
use crate::metrics::Metrics;
use crate::{http, log};

/// What changes under one lock: taken for one update at a time, and by a reader of metrics.
struct Inner {
    state: State,
    dataplane: Dataplane,
    away_since: Option<Instant>,
    /// Why the hooks are not attached, once they were.
    detached: Option<String>,
    /// What was said of each Service, so that it is said once.
    said: BTreeMap<ObjectName, BTreeSet<String>>,
}

/// The agent.
pub(crate) struct Agent {
    inner: Mutex<Inner>,
    metrics: Metrics,
    ready: AtomicBool,
    started: Instant,
    /// Tells the main thread of an end that nothing can mend.
    fatal: mpsc::UnboundedSender<String>,
}

/// Tells of the end of the source's thread, whatever ended it: an agent that follows nothing must not seem well.
struct SourceEnd(mpsc::UnboundedSender<String>);

impl Drop for SourceEnd {
    fn drop(&mut self) {
        let _ = self.0.send("the thread that reads the state has ended".to_owned());
    }
}

/// How often the agent looks after what no change brings about.
const TEND: Duration = Duration::from_secs(1);

/// As many files and connections as the system allows: the folder's watches must not want for any.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Runs until SIGTERM or SIGINT. What the kernel has stays.
pub(crate) fn run(args: NodeArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    bowline_dataplane::one_heap();
    log::start(args.log_format, args.v);
    raise_file_limit();
    let name = args
        .hostname_override
        .unwrap_or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned());
    let config = Config {
        bpf_root: args.place.bpf_root.clone(),
        cgroup_root: args.place.cgroup_root()?,
        sizes: args.sizes.into(),
    };
    let cli::State::Files(folder) = &args.state;
    let mut source = Files::new(folder.clone());
    tracing::info!(
        node = %name, state = %source.name(), cgroup_root = %config.cgroup_root.display(),
        bpf_root = %config.bpf_root.display(), version = env!("CARGO_PKG_VERSION"), "starting"
    );
    let dataplane = Dataplane::open(config)?;
    let state = State::new(Options { service_cidrs: args.service_cluster_ip_range, complete: true });
    let (fatal, mut fatals) = mpsc::unbounded_channel();
    let inner = Inner { state, dataplane, away_since: None, detached: None, said: BTreeMap::new() };
    let agent = Arc::new(Agent {
        inner: Mutex::new(inner),
        metrics: Metrics::new(),
        ready: AtomicBool::new(false),
        started,
        fatal,
    });
    agent.metrics.source_up.set(1);

    let stop = Stop::default();
    let watcher = {
        let (agent, stop) = (agent.clone(), stop.clone());
        thread::Builder::new().name("source".into()).spawn(move || {
            let end = SourceEnd(agent.fatal.clone());
            if let Err(problem) = source.run(&*agent, &stop) {
                // Nobody listens any more only when the end has come anyway.
                let _ = agent.fatal.send(problem.to_string());
            }
            drop(end);
        })?
    };

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let ended = runtime.block_on(async {
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        tokio::spawn(http::serve(args.metrics_bind_address, "metrics", http::metrics(agent.clone())));
        tokio::spawn(http::serve(args.healthz_bind_address, "health", http::health(agent.clone())));
        let tended = agent.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(TEND);
            loop {
                ticks.tick().await;
                let agent = tended.clone();
                // It waits for a lock, and the kernel: not on the thread that serves.
                let _ = tokio::task::spawn_blocking(move || agent.tend()).await;
            }
        });
        tokio::select! {
            _ = term.recv() => Ok(()),
            _ = int.recv() => Ok(()),
            Some(why) = fatals.recv() => Err(anyhow::anyhow!(why)),
        }
    });
    stop.stop();
    if watcher.join().is_err() {
        tracing::error!("the source's thread had ended by itself");
    }
    tracing::info!("ended; what the kernel has goes on (`bowline cleanup` takes it away)");
    ended
}

impl Agent {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves the kernel consistent; going on is better than ending.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The page of metrics, with what the kernel says now.
    ///
    /// # Errors
    /// Never in practice.
    pub(crate) fn metrics_page(&self) -> Result<String, std::fmt::Error> {
        {
            let inner = self.lock();
            self.metrics.read(&inner.dataplane);
            let s = inner.state.snapshot();
            self.metrics.set_objects("Service", s.services.len());
            self.metrics.set_objects("EndpointSlice", s.slices.len());
            self.metrics.set_objects("Pod", s.pods.len());
            self.metrics.set_objects("Node", s.nodes.len());
            self.metrics.set_objects("Namespace", s.namespaces.len());
            self.metrics.source_away.set(inner.away_since.map_or(0.0, |since| since.elapsed().as_secs_f64()));
        }
        self.metrics.page()
    }

    /// Whether the node is ready, and what there is to say of it: why not, or how old what it serves is.
    pub(crate) fn readiness(&self) -> (bool, String) {
        let inner = self.lock();
        let away = inner.away_since.map_or(0, |since| since.elapsed().as_secs());
        let ready = self.ready.load(Ordering::Acquire);
        let text = match (&inner.detached, inner.state.away(), ready) {
            (Some(why), _, _) => format!("not attached: {why}"),
            (None, Some(why), true) => {
                format!("ok; served as last known, since the state cannot be read for {away} s: {why}")
            }
            (None, Some(why), false) => format!("the state cannot be read: {why}"),
            (None, None, true) => "ok".to_owned(),
            (None, None, false) => "the first whole read is not in the kernel yet".to_owned(),
        };
        (ready, text)
    }

    /// Looks after what no change brings about: refused changes for which there is room now, hooks that lost
    /// their cgroup.
    fn tend(&self) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        match inner.dataplane.tend() {
            Ok(true) => self.program(inner, &BTreeSet::new(), None),
            Ok(false) => {}
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

    fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
        self.metrics.ready.set(i64::from(ready));
    }

    fn report(&self, problem: &Problem) {
        self.metrics.reported.inc();
        tracing::warn!(
            origin = %problem.origin,
            object = problem.object.as_deref(),
            field = problem.field.as_deref(),
            "refused: {}", problem.message
        );
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
}

impl Sink for Agent {
    fn update(&self, update: Update) {
        let read_at = match &update {
            Update::Some { read_at, .. } => Some(*read_at),
            _ => None,
        };
        let is_whole = matches!(update, Update::All(_));
        let mut inner = self.lock();
        let inner = &mut *inner;
        match &update {
            Update::Away(why) => {
                tracing::warn!(%why, "the state cannot be read; all that is known stays in force");
                inner.away_since.get_or_insert_with(Instant::now);
                self.metrics.source_up.set(0);
            }
            Update::Back => {
                tracing::info!("the state can be read again");
                inner.away_since = None;
                self.metrics.source_up.set(1);
            }
            _ => {}
        }
        let applied = inner.state.apply(update);
        applied.reported.iter().for_each(|p| self.report(p));
        for problem in &applied.mended {
            tracing::info!(origin = %problem.origin, object = problem.object.as_deref(), "mended: {}", problem.message);
        }
        if inner.state.synced() && (is_whole || !applied.services.is_empty()) {
            self.program(inner, &applied.services, read_at);
        }
        let said: usize = inner.said.values().map(BTreeSet::len).sum();
        self.metrics.problems.set((inner.state.problems().len() + said) as i64);
    }
}

impl Agent {
    fn program(&self, inner: &mut Inner, changed: &BTreeSet<ObjectName>, read_at: Option<Instant>) {
        let snapshot = inner.state.snapshot();
        let begun = Instant::now();
        let done = inner.dataplane.apply(&snapshot, changed);
        self.metrics.apply.observe(begun.elapsed().as_secs_f64());
        let since_event = read_at.map(|read_at| read_at.elapsed());
        if let Some(since_event) = since_event {
            self.metrics.programming.observe(since_event.as_secs_f64());
        }
        self.metrics.changes.inc_by(changed.len() as u64);
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
        tracing::debug!(
            services = changed.len(),
            microseconds = begun.elapsed().as_micros() as u64,
            since_event_us = since_event.map(|t| t.as_micros() as u64),
            "programmed"
        );
        if inner.dataplane.is_attached() {
            return;
        }
        let programmed = begun.elapsed();
        match inner.dataplane.attach() {
            Ok(()) => {
                let usage = inner.dataplane.usage();
                self.set_ready(true);
                tracing::info!(
                    services = snapshot.services.len(),
                    ports = usage.services.0,
                    backends = usage.backends.0,
                    programming_ms = programmed.as_millis() as u64,
                    since_start_ms = self.started.elapsed().as_millis() as u64,
                    "ready: the first whole read is in the kernel"
                );
            }
            Err(error) => {
                let _ = self.fatal.send(error.to_string());
            }
        }
    }
}
