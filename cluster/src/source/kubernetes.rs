//! The API of Kubernetes as a source: each kind is a collection that is listed and watched.
//!
//! ```text
//! resource    what is read, and by which paths
//! access      kubeconfig, service account, --apiserver: read from their files
//! connection  one HTTP/2 connection to one API server, made anew when it fails
//! follow      one collection: list, watch, list again where its watch can't go on
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

use futures_util::future::join_all;

use super::remote::Mirror;
use super::{Origin, Problem, Sink, Source, Stop};

mod access;
mod connection;
mod follow;
mod resource;
mod wire;

pub use access::{Access, apiservers};
use connection::Servers;
use follow::Follower;
use resource::Resource;

/// How late [`Stop`] is seen.
const NAP: Duration = Duration::from_millis(200);

/// A Kubernetes cluster.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    access: Access,
    node: Option<String>,
}

impl Kubernetes {
    /// The cluster that `access` leads to. Pods are read of this node alone; without one, none.
    pub fn new(access: Access, node: Option<String>) -> Kubernetes {
        Kubernetes { access, node }
    }

    async fn follow(&self, sink: &dyn Sink) {
        let servers = Servers::new(self.access.clone());
        let resources = Resource::all(self.node.as_deref());
        let names: Vec<_> = resources.iter().map(|resource| resource.kind.plural()).collect();
        let mirror = RefCell::new(Mirror::new(sink, &names));
        let followers = resources.into_iter().enumerate();
        let all = followers.map(|(c, resource)| Follower::new(&servers, &mirror, c, resource).run());
        let mut all = pin!(join_all(all));
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
            let stopped = async {
                while !stop.is_stopped() {
                    tokio::time::sleep(NAP).await;
                }
            };
            tokio::select! {
                () = self.follow(sink) => {}
                () = stopped => {}
            }
        });
        // A plugin may hang.
        runtime.shutdown_background();
        Ok(())
    }
}
