//! The agent of a node: states ─> clusters ─> kernel, and what people and monitoring see of it.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use bowline_cluster::source::Stop;
use bowline_dataplane::node::{Config, Dataplane};
use bowline_sources::kubernetes::Wanted;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::cli::NodeArgs;
use crate::metrics::Metrics;
use crate::states::{Place, State};
use crate::{daemon, http, root};

pub(crate) mod cluster;
mod kernel;
mod node_local;
mod register;

use bowline_cluster::follow::Row;
use cluster::Cluster;
use kernel::Kernel;
pub(crate) use node_local::NodeLocalArgs;
pub(crate) use node_local::Template;
pub(crate) use node_local::interface::remove as remove_interface;
use node_local::{NodeLocal, RunningNodeLocal};
pub(crate) use register::NodeObjectArgs;

/// The agent.
pub(crate) struct Agent {
    kernel: Arc<Kernel>,
    /// The node's own first.
    clusters: Vec<Arc<Cluster>>,
    metrics: Arc<Metrics>,
    /// The DNS server here.
    dns: Option<node_local::Handle>,
}

/// Tells of the end of a source's thread, whatever ended it: an agent that follows nothing must not seem well.
struct SourceEnd {
    cluster: String,
    fatal: mpsc::UnboundedSender<String>,
}

impl Drop for SourceEnd {
    fn drop(&mut self) {
        // Nobody listens any more only when the end has come anyway.
        let _ = self.fatal.send(format!("the thread that reads the state of {} has ended", self.cluster));
    }
}

/// How often the agent looks after what no change brings about.
const TEND: Duration = Duration::from_secs(1);

/// Runs until SIGTERM or SIGINT. What the kernel has stays.
pub(crate) fn run(args: NodeArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    bowline_dataplane::one_heap();
    daemon::start(args.log_format, args.v);
    if args.require_network_policy {
        anyhow::bail!(
            "--require-network-policy: this version enforces no NetworkPolicy; leave the flag out to run without, or \
             leave policies to another program (`bowline check --state ...` lists those there are)"
        );
    }
    let states = args.states.states()?;
    if states.is_empty() {
        anyhow::bail!("--state is missing: say where the objects come from (`bowline node --help` shows how)");
    }
    root::need("node", "loads programs into the kernel")?;
    // As the kubelet writes it, and kube-proxy.
    let node = match &args.hostname_override {
        Some(name) => name.clone(),
        None => std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default(),
    };
    let node = node.trim().to_lowercase();
    let dns = NodeLocal::new(&args.node_local);
    let mut wanted = Wanted::of_node(&node);
    if let Some(dns) = &dns {
        dns.widen(&states[0], &mut wanted)?;
    }
    let config = Config {
        bpf_root: args.place.bpf_root(),
        cgroup_root: args.place.cgroup_root()?,
        sizes: args.sizes.into(),
        stand_ins: dns.is_some().then(|| args.node_local.stand_in()).into_iter().collect(),
    };
    let sources = states.iter().map(|state| state.source(wanted.clone())).collect::<Vec<_>>();
    for (state, source) in states.iter().zip(&sources) {
        tracing::info!(
            %node, cluster = %state.name, state = %source.name(), cgroup_root = %config.cgroup_root.display(),
            bpf_root = %config.bpf_root.display(), version = env!("CARGO_PKG_VERSION"), "starting"
        );
    }
    let registration = match &states[0].place {
        Place::Etcd(location) => {
            args.node_object.registration(location, &node, &args.states.service_cluster_ip_range)?
        }
        Place::Files(_) | Place::Kubernetes(_) => None,
    };
    let metrics_place = http::Place::listen("--metrics-bind-address", &args.metrics_bind_address)?;
    let healthz_place = http::Place::listen("--healthz-bind-address", &args.healthz_bind_address)?;
    healthz_place.check_beside(&metrics_place)?;
    let dataplane = Dataplane::open(config)?;
    let (fatal, mut fatals) = mpsc::unbounded_channel();
    let metrics = Arc::new(Metrics::new());
    let feed = dns.as_ref().map(|dns| dns.feed.clone());
    // It listens before anything is read: until then nobody is led to it.
    let dns = match dns {
        Some(dns) => Some(dns.start(args.place.bpf_root(), dataplane.pulse()?, metrics.dns_takes.clone())?),
        None => None,
    };
    let kernel = Arc::new(Kernel::new(dataplane, metrics.clone(), started, fatal.clone()));
    // However this ends, also while threads still have it.
    let _end = kernel::End(kernel.clone());
    let handle = dns.as_ref().map(RunningNodeLocal::handle);
    let mut agent = Agent { kernel: kernel.clone(), clusters: Vec::new(), metrics, dns: handle };
    let stop = Stop::default();
    let mut watchers = Vec::new();
    for (index, (state, mut source)) in states.iter().zip(sources).enumerate() {
        let own = index == 0;
        let mut row = Row::default();
        if own {
            row.push(kernel.clone());
            feed.iter().for_each(|feed| row.push(feed.clone()));
        }
        let cluster = Arc::new(follow(state, source.name(), &args, row, agent.metrics.clone()));
        agent.clusters.push(cluster.clone());
        let (stop, fatal) = (stop.clone(), fatal.clone());
        let watch = move || {
            let end = SourceEnd { cluster: cluster.name().to_owned(), fatal: fatal.clone() };
            if let Err(problem) = source.run(&*cluster, &stop) {
                let _ = fatal.send(problem.to_string());
            }
            drop(end);
        };
        watchers.push(thread::Builder::new().name(format!("state-{}", state.name)).spawn(watch)?);
    }
    let agent = Arc::new(agent);
    if let Some(registration) = registration {
        let stop = stop.clone();
        let keep = move || register::keep(&registration, &stop);
        watchers.push(thread::Builder::new().name("register".into()).spawn(keep)?);
    }

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let ended = runtime.block_on(async {
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let mut reload = signal(SignalKind::user_defined1())?;
        tokio::spawn(http::serve(metrics_place, "metrics", http::metrics(agent.clone())));
        tokio::spawn(http::serve(healthz_place, "health", http::health(agent.clone())));
        // They wait for locks, the disk and the kernel: not on the thread that serves, and not for each other.
        let kernel = agent.kernel.clone();
        tokio::spawn(often(move || kernel.tend()));
        for cluster in agent.clusters.clone() {
            tokio::spawn(often(move || cluster.save(false)));
        }
        loop {
            tokio::select! {
                _ = term.recv() => return Ok(()),
                _ = int.recv() => return Ok(()),
                _ = reload.recv() => if let Some(dns) = agent.dns.clone() {
                    // What comes of it is logged where it happens.
                    drop(tokio::task::spawn_blocking(move || dns.reload()));
                },
                Some(why) = fatals.recv() => return Err(anyhow::anyhow!(why)),
            }
        }
    });
    // While the state is still followed: what it has taken it answers by the newest.
    if let Some(dns) = dns {
        dns.end();
    }
    stop.stop();
    for watcher in watchers {
        if watcher.join().is_err() {
            tracing::error!("a source's thread had ended by itself");
        }
    }
    // Waits for what still writes to disk: two at once would get into each other's way.
    drop(runtime);
    agent.clusters.iter().for_each(|cluster| cluster.save(true));
    tracing::info!("ended; what the kernel has goes on (`bowline cleanup` takes it away)");
    ended
}

/// Looks after something every [`TEND`].
async fn often(look: impl Fn() + Clone + Send + 'static) {
    let mut ticks = tokio::time::interval(TEND);
    loop {
        ticks.tick().await;
        // It ends badly only with the process.
        let _ = tokio::task::spawn_blocking(look.clone()).await;
    }
}

/// What follows a state; its source is not started here.
fn follow(state: &State, source: String, args: &NodeArgs, row: Row, metrics: Arc<Metrics>) -> Cluster {
    let options = state.options(&args.states.service_cluster_ip_range);
    // A folder is on a disk already.
    let is_kept = state.is_remote() && !args.state_dir.is_empty();
    let max_age = args.state_max_age;
    let disk = is_kept.then(|| cluster::disk(Path::new(&args.state_dir), &state.name, max_age));
    Cluster::new(&state.name, source, options, disk, row, metrics)
}

impl Agent {
    /// The page of metrics, with what the kernel says now.
    ///
    /// # Errors
    /// Never in practice.
    pub(crate) fn metrics_page(&self) -> Result<String, std::fmt::Error> {
        let remarks = self.kernel.measure();
        for (index, cluster) in self.clusters.iter().enumerate() {
            cluster.measure(if index == 0 { remarks } else { 0 });
        }
        self.metrics.page()
    }

    /// Whether the node is ready, and what there is to say of it: why not, or how old what it serves is.
    pub(crate) fn readiness(&self) -> (bool, String) {
        let mut said: Vec<String> = Vec::new();
        let mut ready = self.kernel.is_ready();
        for (index, cluster) in self.clusters.iter().enumerate() {
            // What an agent before this one left in the kernel counts as served, until this one has read more.
            ready |= index == 0 && cluster.is_from_disk() && self.kernel.is_serving();
            if let Some(stale) = cluster.staleness() {
                let whose = if self.clusters.len() > 1 { format!("{}: ", cluster.name()) } else { String::new() };
                said.push(format!("{whose}{stale}"));
            }
        }
        if let Some(why) = self.dns.as_ref().and_then(node_local::Handle::why_not) {
            said.push(format!("its DNS server takes no questions: {why}"));
        }
        if let Some(why) = self.kernel.detached() {
            return (false, format!("not attached: {why}"));
        }
        match (ready, said.is_empty()) {
            (true, true) => (true, "ok".to_owned()),
            (true, false) => (true, format!("ok; {}", said.join("; "))),
            (false, true) => (false, "the first whole read is not in the kernel yet".to_owned()),
            (false, false) => (false, said.join("; ")),
        }
    }
}
