//! The agent of a node: clusters that are read, what serves them (the Services in the kernel, DNS), and what people and
//! monitoring see of it.
//!
//! ```text
//! Config ─ start ─> Running ─┬─ Reading ─> Cluster ─> Row: Kernel, DNS      one a state; the first is the node's own
//!                            ├─ /metrics, /healthz, /readyz
//!                            └─ register: the Node object, where the state is in etcd
//! ```
//!
//! [`start`] gives what runs, and returns as soon as it does; dropped, it ends. What it shares with a DNS server that runs
//! alone (`bowline dns`) is public, too.

pub mod address;
pub mod cluster;
mod http;
mod kernel;
pub mod log;
pub mod metrics;
pub mod needs;
mod node_condition;
pub mod node_local;
pub mod panic;
pub mod pod_network;
pub mod process;
pub mod reading;
pub mod register;
mod tell_pods;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use bowline_cluster::follow::Row;
use bowline_cluster::source::Stop;
use bowline_dataplane::node::Dataplane;
use bowline_sources::kubernetes::Wanted;
use bowline_sources::state_ref::StateRef;
use bowline_sources::store::node::Registration;
use ipnet::IpNet;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use address::Bind;
use cluster::Cluster;
use kernel::Kernel;
use metrics::Metrics;
use node_local::{NodeLocal, NodeLocalConfig, RunningNodeLocal};
use pod_network::{PodNetwork, PodNetworkConfig, PodNetworkHandle};
use reading::Reading;

/// How often the agent looks after what no change brings about.
const TEND: Duration = Duration::from_secs(1);

/// What an agent is to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's name, as its Node object has it.
    pub node: String,
    /// The clusters that are read; the first is the node's own, and is served.
    pub states: Vec<StateRef>,
    /// Ranges for Service addresses that manifests leave out, one a family; the first gives the default family.
    pub service_cluster_ip_range: Vec<IpNet>,
    /// Folder in which the last known state of each server is kept; None: nowhere.
    pub state_dir: Option<PathBuf>,
    /// How old a state from there may be to be served.
    pub state_max_age: Duration,
    /// Where programs are attached and pinned, and how large the maps are. Its stand-ins are the DNS server's.
    pub dataplane: bowline_dataplane::node::Config,
    /// Where /metrics is served.
    pub metrics_bind_address: Bind,
    /// Where /healthz and /readyz are served.
    pub healthz_bind_address: Bind,
    /// The DNS server; None: there is none.
    pub node_local: Option<NodeLocalConfig>,
    /// Pods' network; None: it is another program's.
    pub pod_network: Option<PodNetworkConfig>,
    /// What is told of this node, where its state is in etcd.
    pub registration: Option<Registration>,
}

/// What can be asked of an agent while it runs.
struct Agent {
    kernel: Arc<Kernel>,
    /// The node's own first.
    clusters: Vec<Arc<Cluster>>,
    metrics: Arc<Metrics>,
    /// The DNS server here.
    dns: Option<node_local::Handle>,
    pods: Option<PodNetworkHandle>,
}

/// An agent that runs. Dropped, it ends; what the kernel has goes on.
pub struct Running {
    agent: Arc<Agent>,
    dns: Option<RunningNodeLocal>,
    readings: Vec<Reading>,
    stop: Stop,
    register: Option<thread::JoinHandle<()>>,
    runtime: Option<Runtime>,
    pods: Option<PodNetwork>,
    failures: mpsc::UnboundedReceiver<String>,
    /// The last: the kernel's place is given back.
    _end: kernel::End,
}

/// Starts an agent.
///
/// # Errors
/// What is wrong with the config, or why the kernel refuses. Then nothing is left of the start.
pub fn start(config: Config) -> anyhow::Result<Running> {
    let started = Instant::now();
    let Config { node, states, registration, .. } = &config;
    let mut dataplane = config.dataplane.clone();
    let own = states.first().context("no state is named")?;
    let dns = config.node_local.clone().map(NodeLocal::new);
    let mut wanted = Wanted::of_node(node);
    if let Some(dns) = &dns {
        dns.widen(own, &mut wanted)?;
        dataplane.stand_ins = vec![dns.stand_in()];
    }
    let sources = states.iter().map(|state| state.source(wanted.clone())).collect::<Vec<_>>();
    for (state, source) in states.iter().zip(&sources) {
        tracing::info!(
            %node, cluster = %state.name, state = %source.name(), cgroup_root = %dataplane.cgroup_root.display(),
            bpf_root = %dataplane.bpf_root.display(), version = env!("CARGO_PKG_VERSION"), "starting"
        );
    }
    let metrics_at = http::Listening::open("--metrics-bind-address", &config.metrics_bind_address)?;
    let healthz_at = http::Listening::open("--healthz-bind-address", &config.healthz_bind_address)?;
    healthz_at.check_beside(&metrics_at)?;
    let bpf_root = dataplane.bpf_root.clone();
    let dataplane = Dataplane::open(dataplane)?;
    let (failed, failures) = mpsc::unbounded_channel();
    let metrics = Arc::new(Metrics::new());
    let feed = dns.as_ref().map(|dns| dns.feed.clone());
    // It listens before anything is read: until then nobody is led to it.
    let dns = match dns {
        Some(dns) => Some(dns.start(bpf_root, dataplane.pulse()?, metrics.dns_takes.clone())?),
        None => None,
    };
    let kernel = Arc::new(Kernel::new(dataplane, metrics.clone(), started, failed.clone()));
    // However this ends, also while threads still have it.
    let end = kernel::End(kernel.clone());
    let pods = match config.pod_network.clone() {
        Some(pods) => Some(PodNetwork::start(pods, own, &config.dataplane.bpf_root, kernel.clone())?),
        None => None,
    };
    let pods_handle = pods.as_ref().map(PodNetwork::handle);
    let mut followed = Vec::new();
    for (index, (state, source)) in states.iter().zip(&sources).enumerate() {
        let mut row = Row::default();
        if index == 0 {
            // The ways to pods first: front ends lead to them.
            pods_handle.iter().for_each(|pods| row.push(Arc::new(pods.clone())));
            row.push(kernel.clone());
            feed.iter().for_each(|feed| row.push(feed.clone()));
        }
        followed.push(Arc::new(config.follow(state, source.name(), row, metrics.clone())));
    }
    let mut readings = Vec::new();
    for (cluster, source) in followed.iter().zip(sources) {
        let failed = failed.clone();
        // Nobody listens any more only when the end has come anyway.
        let ended = move |why| drop(failed.send(why));
        readings.push(Reading::start(cluster.name(), source, cluster.clone(), ended)?);
    }
    let stop = Stop::default();
    let register = match registration.clone() {
        Some(registration) => {
            let stop = stop.clone();
            let keep = move || register::keep(&registration, &stop);
            Some(thread::Builder::new().name("register".into()).spawn(keep)?)
        }
        None => None,
    };
    let handle = dns.as_ref().map(RunningNodeLocal::handle);
    let agent = Arc::new(Agent { kernel, clusters: followed, metrics, dns: handle, pods: pods_handle });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("agent")
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let asked = agent.clone();
    runtime.spawn(http::serve(metrics_at, "metrics", move |path| http::metrics(asked.clone(), path)));
    let asked = agent.clone();
    runtime.spawn(http::serve(healthz_at, "health", move |path| http::health(asked.clone(), path)));
    // They wait for locks, the disk and the kernel: not on the thread that serves, and not for each other.
    let kernel = agent.kernel.clone();
    runtime.spawn(often(move || kernel.tend()));
    if let Some(pods) = agent.pods.clone() {
        runtime.spawn(often(move || pods.tend()));
    }
    for cluster in agent.clusters.clone() {
        runtime.spawn(often(move || cluster.save(false)));
    }
    Ok(Running { agent, dns, readings, stop, register, runtime: Some(runtime), pods, failures, _end: end })
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

impl Config {
    /// What follows a state; its source is not started here.
    fn follow(&self, state: &StateRef, source: String, row: Row, metrics: Arc<Metrics>) -> Cluster {
        let options = state.options(&self.service_cluster_ip_range);
        // A folder is on a disk already.
        let folder = self.state_dir.as_deref().filter(|_| state.is_remote());
        let disk = folder.map(|folder: &Path| cluster::disk(folder, &state.name, self.state_max_age));
        Cluster::new(&state.name, source, options, disk, row, metrics)
    }
}

impl Running {
    /// Whether the node is ready, and what there is to say of it, as /readyz has it.
    pub fn readiness(&self) -> (bool, String) {
        self.agent.readiness()
    }

    /// The page of /metrics.
    pub fn metrics_page(&self) -> String {
        self.agent.metrics_page()
    }

    /// Has the DNS server read its Corefile again; what comes of it is logged. Doesn't wait for it.
    pub fn reload(&self) {
        if let (Some(dns), Some(runtime)) = (self.agent.dns.clone(), &self.runtime) {
            drop(runtime.spawn_blocking(move || dns.reload()));
        }
    }

    /// Waits for what nothing can mend, and says what it is. Where it comes, the agent is to be ended.
    pub async fn failure(&mut self) -> String {
        // The senders are here as long as it runs.
        self.failures.recv().await.unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // While the state is still followed: what it has taken it answers by the newest.
        drop(self.dns.take());
        // The plugin is told that nobody is here, and does by itself what it can.
        drop(self.pods.take());
        self.stop.stop();
        self.readings.iter().for_each(Reading::stop);
        self.readings.clear();
        if self.register.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that registers the node had ended by itself");
        }
        // Waits for what still writes to disk: two at once would get into each other's way.
        drop(self.runtime.take());
        self.agent.clusters.iter().for_each(|cluster| cluster.save(true));
        tracing::info!("ended; what the kernel has goes on (`bowline cleanup` takes it away)");
    }
}

impl Agent {
    /// The page of metrics, with what the kernel says now.
    fn metrics_page(&self) -> String {
        let remarks = self.kernel.measure();
        for (index, cluster) in self.clusters.iter().enumerate() {
            cluster.measure(if index == 0 { remarks } else { 0 });
        }
        if let Some(pods) = &self.pods {
            self.metrics.read_pods(pods.usage(), &pods.verdicts());
        }
        self.metrics.page()
    }

    /// Whether the node is ready, and what there is to say of it: why not, or how old what it serves is.
    fn readiness(&self) -> (bool, String) {
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
        if let Some(why) = self.pods.as_ref().and_then(PodNetworkHandle::why_not)
            && ready
        {
            ready = false;
            said.push(why.to_owned());
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
