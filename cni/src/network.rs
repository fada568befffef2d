//! Pods' network as a whole: it follows the nodes, keeps the ways to them, and answers the plugin.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bowline_cluster::follow::{Follower, Told};
use bowline_net::{Net, Waker, Watch};
use ipnet::IpNet;

use crate::datapath::Datapath;
use crate::peers::{self, Done, Nodes, Tunnels};
use crate::pods::{Listener, Pods};
use crate::ready::Ready;
use crate::server::Server;

/// How long a change waits for the kernel.
const LONG: Duration = Duration::from_secs(10);
/// How often is looked after what nobody says; what the kernel tells is looked at when it does.
const TEND: Duration = Duration::from_secs(5);
/// How soon it is tried again when the kernel could not be asked.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the kernel's news wait after a look: to look goes through all links and routes, and each pod that comes or goes
/// is news.
const PAUSE: Duration = Duration::from_millis(500);

/// How pods' network is made.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's name.
    pub node: String,
    /// The folder of what is attached.
    pub folder: PathBuf,
    /// Where the plugin finds the agent.
    pub socket: PathBuf,
    /// The folder in which the plugin leaves what was deleted while no agent was there.
    pub tombstones: PathBuf,
    /// Where the network before this one has its addresses.
    pub host_local: PathBuf,
    /// Tunnels to nodes that are behind a router.
    pub tunnels: Tunnels,
    /// Networks beside those of nodes and pods to which pods' packets go as they are.
    pub non_masquerade_cidrs: Vec<IpNet>,
    /// This node's networks for pods, where its Node object names none.
    pub pod_cidrs: Vec<IpNet>,
    /// An MTU in the place of the one that is found.
    pub mtu: Option<u32>,
}

/// The network, as long as it lives. Dropped, it answers no more; what is there stays.
pub struct Network {
    shared: Arc<Shared>,
    server: Option<Server>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    config: Config,
    pods: Arc<Pods>,
    datapath: Arc<dyn Datapath>,
    nodes: Mutex<Known>,
    /// The kernel was brought up to what is known.
    brought_up: Condvar,
    settled: Mutex<Done>,
    waker: Waker,
    stop: AtomicBool,
}

/// What is known of the nodes.
#[derive(Default)]
struct Known {
    nodes: Option<Nodes>,
    /// How often that was told, and which of those the kernel has.
    told: u64,
    done: u64,
}

/// Follows the cluster for a [`Network`].
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl Network {
    /// Takes over what there is, and listens. Runs in the node's network namespace. Pods start when `ready` says so.
    ///
    /// # Errors
    /// The folder, the socket or the kernel can't be used.
    pub fn start(
        config: Config,
        datapath: Arc<dyn Datapath>,
        ready: Arc<Ready>,
        listener: Listener,
    ) -> io::Result<Network> {
        crate::sysctls::set(&config.folder)?;
        let pods = Arc::new(Pods::open(&config.folder, &config.host_local, datapath.clone(), ready, listener)?);
        pods.set_networks(&config.pod_cidrs);
        let mut watch = Watch::open()?;
        let net = Net::open()?;
        let shared = Arc::new(Shared {
            pods: pods.clone(),
            datapath,
            nodes: Mutex::default(),
            brought_up: Condvar::new(),
            waker: watch.waker(),
            settled: Mutex::new(Done::default()),
            stop: AtomicBool::new(false),
            config,
        });
        let mut threads = Vec::new();
        let reaped = pods.clone();
        threads.push(thread::Builder::new().name("cni-reap".into()).spawn(move || reaped.reap())?);
        let tended = shared.clone();
        threads.push(thread::Builder::new().name("cni-ways".into()).spawn(move || tended.tend(&net, &mut watch))?);
        let server = Some(Server::start(&shared.config.socket, &shared.config.tombstones, pods)?);
        Ok(Network { shared, server, threads })
    }

    /// How many calls of the plugin are at work.
    pub fn calls(&self) -> usize {
        self.server.as_ref().map_or(0, Server::calls)
    }

    /// What follows the cluster for it.
    pub fn handle(&self) -> Handle {
        Handle(self.shared.clone())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.shared.pods.end_waits();
        drop(self.server.take());
        self.shared.stop.store(true, Ordering::Release);
        self.shared.waker.wake();
        self.shared.pods.end();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Handle {
    /// The pods.
    pub fn pods(&self) -> &Arc<Pods> {
        &self.0.pods
    }

    /// Whether there are addresses for pods.
    pub fn has_networks(&self) -> bool {
        !self.0.pods.usage().1.is_empty()
    }

    /// How things stood when it was last looked.
    pub fn settled(&self) -> Done {
        self.0.settled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Follower for Handle {
    fn come(&self, told: &Told<'_>) {
        if told.changed.is_some_and(|changed| changed.nodes.is_empty()) {
            return;
        }
        let mut nodes = Nodes::of(told.snapshot, &self.0.config.node);
        if nodes.own.is_empty() {
            nodes.own.clone_from(&self.0.config.pod_cidrs);
        }
        // Much of a Node object changes that is no matter here.
        if self.0.known().nodes.as_ref() == Some(&nodes) {
            return;
        }
        self.0.pods.set_networks(&nodes.own);
        self.0.bring_up(nodes);
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the kernel brought up to this, and waits for it: who stands later in the row builds on it.
    fn bring_up(&self, nodes: Nodes) {
        let mut known = self.known();
        known.nodes = Some(nodes);
        known.told += 1;
        let told = known.told;
        self.waker.wake();
        let is_open = |known: &mut Known| known.done < told && !self.stop.load(Ordering::Acquire);
        // A kernel that doesn't answer holds nobody up.
        drop(self.brought_up.wait_timeout_while(known, LONG, is_open));
    }

    /// Looks after it until the end: whenever somebody or the kernel tells of a change, and from time to time.
    fn tend(&self, net: &Net, watch: &mut Watch) {
        let mut tended = Instant::now();
        let (mut is_settled, mut is_woken) = (true, false);
        while !self.stop.load(Ordering::Acquire) {
            let left = if is_settled { TEND.saturating_sub(tended.elapsed()) } else { AGAIN };
            let is_told = is_woken || watch.wait(left);
            is_woken = false;
            let is_time = tended.elapsed() >= TEND;
            if is_time {
                tended = Instant::now();
                self.pods.tend();
            }
            if is_told || is_time || !is_settled {
                is_settled = self.settle(net);
                // All that the kernel has told is on the heap for a moment: some 10 KB a link, of which nothing is kept.
                bowline_sys::trim_heap();
                // What the cluster tells is looked at at once.
                is_woken = watch.pause(PAUSE);
            }
        }
    }

    /// Brings the kernel up to what the nodes say; nothing before they are known. False: it has to be tried again.
    fn settle(&self, net: &Net) -> bool {
        let (nodes, told) = {
            let known = self.known();
            (known.nodes.clone(), known.told)
        };
        match net.queued_links() {
            Ok(queued) => self.pods.set_queued(queued),
            Err(error) => tracing::warn!(%error, "which pods have a queue"),
        }
        let Some(nodes) = nodes else { return true };
        match peers::settle(net, &nodes, self.config.tunnels, &self.pods.routes()) {
            Ok(done) => {
                let is_whole = self.take(done);
                self.known().done = told;
                self.brought_up.notify_all();
                is_whole
            }
            Err(error) => {
                tracing::warn!(%error, "the ways to other nodes can't be looked after; tried again");
                false
            }
        }
    }

    /// Says what came of it, and hands it on. False: not all of it could be done.
    fn take(&self, done: Done) -> bool {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        for problem in done.problems.iter().filter(|problem| !settled.problems.contains(problem)) {
            tracing::warn!("{problem}");
        }
        if done.mended > 0 {
            tracing::info!(changed = done.mended, networks = done.reached.len(), mtu = done.mtu, "ways to pods");
        }
        let mut done = done;
        done.inside.extend(self.config.non_masquerade_cidrs.iter().copied());
        if done.inside != settled.inside {
            self.datapath.set_inside(&done.inside);
        }
        let is_same = (&done.links, &done.addresses) == (&settled.links, &settled.addresses);
        let is_whole = is_same || self.datapath.set_links(&done.links, &done.addresses);
        if !is_whole {
            done.links.clear();
        }
        let found = done.bridges.len();
        done.bridges.retain(|bridge| {
            if settled.bridges.contains(bridge) {
                return true;
            }
            tracing::info!(
                bridge = bridge.name,
                "pods of the network before this one are behind it: they are looked after"
            );
            let set = crate::sysctls::set_proxy(&self.config.folder, &bridge.name);
            if let Err(error) = &set {
                tracing::warn!(%error, "pods of the network before this one don't reach all new ones; tried again");
            }
            set.is_ok()
        });
        let is_whole = is_whole && done.bridges.len() == found;
        let (mtu, sources) = (self.config.mtu.unwrap_or(done.mtu), done.sources.clone());
        *settled = done;
        // Nobody who asks how things stand waits for the pods.
        drop(settled);
        self.pods.set_shape(mtu, &sources) && is_whole
    }
}
