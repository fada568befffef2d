//! The API of Kubernetes as a source: each kind is a collection that is listed and watched.
//!
//! ```text
//! resource    what is read, and by which paths
//! access      kubeconfig, service account, --apiserver: read from their files
//! connection  one HTTP/2 connection to one API server, made anew when it fails
//! follow      one collection: list, watch, list again where its watch can't go on
//! compare     what is held, compared with what the server has, from time to time
//! network     the one thing that is told: the condition NetworkUnavailable of a Node
//! wire        events, pages and errors as bytes
//! ```
//!
//! All collections are followed on the thread that calls `run`; another one does the sockets and TLS, so that
//! pings are answered while a big change is taken in. What may be in memory between them are the windows of
//! the connection. Objects are read one by one as they come; when nothing more is there to read, what they
//! changed is told.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{join, join_all};

use crate::remote::Mirror;
use bowline_cluster::source::{Origin, Problem, Sink, Source, Stop};

mod access;
mod compare;
mod connection;
mod follow;
mod network;
mod resource;
mod wire;

pub use access::{Access, apiservers};
use compare::{Comparer, Progress};
use connection::Servers;
use follow::Follower;
pub use network::NodeNetwork;
use resource::Resource;

/// How late [`Stop`] is seen.
const NAP: Duration = Duration::from_millis(200);

/// Which Pods are read: they are many, and change all the time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pods {
    /// None.
    #[default]
    None,
    /// Those of this node.
    OfNode(String),
    /// All, for DNS that verifies the names of Pods.
    All,
}

/// What of a cluster is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Which Pods.
    pub pods: Pods,
    /// Only what DNS answers by: no Nodes, NetworkPolicies and ServiceCIDRs, which it may not be allowed to read.
    pub names_only: bool,
}

impl Wanted {
    /// What a node needs: all, with its own Pods. Without a name: no Pods.
    pub fn of_node(node: &str) -> Wanted {
        let pods = if node.is_empty() { Pods::None } else { Pods::OfNode(node.to_owned()) };
        Wanted { pods, names_only: false }
    }
}

/// A Kubernetes cluster.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    access: Access,
    wanted: Wanted,
    sync_period: Duration,
}

impl Kubernetes {
    /// The cluster that `access` leads to.
    pub fn new(access: Access, wanted: Wanted) -> Kubernetes {
        Kubernetes { access, wanted, sync_period: bowline_cluster::source::SYNC_PERIOD }
    }

    /// Compares what is held with what the server has at least this often, but not more often than once a second.
    #[must_use]
    pub fn compared_every(mut self, period: Duration) -> Kubernetes {
        self.sync_period = period;
        self
    }

    async fn follow(&self, sink: &dyn Sink) {
        let resources = Resource::all(&self.wanted);
        let names: Vec<_> = resources.iter().map(|resource| resource.kind.plural()).collect();
        let mirror = RefCell::new(Mirror::new(sink, &names));
        let servers = Servers::new(self.access.clone(), sink, &mirror, &resources);
        let progress: Vec<_> = resources.iter().map(|_| Progress::default()).collect();
        let followers = resources.iter().zip(&progress).enumerate();
        let followed = followers.map(|(c, (resource, progress))| {
            let (servers, mirror, period) = (&servers, &mirror, self.sync_period);
            let comparer = Comparer { servers, mirror, c, resource, progress, period, known: Vec::new() };
            join(Follower::new(servers, mirror, c, resource, progress).run(), comparer.run())
        });
        let mut all = pin!(join_all(followed));
        std::future::poll_fn(|context| {
            let polled = all.as_mut().poll(context).map(drop);
            // Nothing more is there at the moment.
            mirror.borrow_mut().flush();
            polled
        })
        .await;
    }
}

impl Source for Kubernetes {
    fn name(&self) -> String {
        self.access.to_string()
    }

    fn run(&mut self, sink: &dyn Sink, stop: &Stop) -> Result<(), Problem> {
        let problem =
            |message: String| Problem { origin: Origin::from(self.name()), object: None, field: None, message };
        self.access.check(&|name| std::env::var_os(name)).map_err(|error| problem(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("kubernetes")
            .enable_all()
            .build()
            .map_err(|error| problem(format!("can't start a thread: {error}")))?;
        runtime.block_on(async {
            tokio::select! {
                () = self.follow(sink) => {}
                () = stopped(stop) => {}
            }
        });
        // A plugin may hang.
        runtime.shutdown_background();
        Ok(())
    }
}

async fn stopped(stop: &Stop) {
    while !stop.is_stopped() {
        tokio::time::sleep(NAP).await;
    }
}
