//! The condition NetworkUnavailable of this node's Node object, in Kubernetes: set to False once pods get their network here.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use bowline_cluster::follow::Told;
use bowline_cluster::object::ObjectName;
use bowline_cluster::source::Stop;
use bowline_sources::kubernetes::NodeNetwork;
use bowline_sources::state_ref::{StateKind, StateRef};
use tokio::sync::Notify;

/// What is known of the condition, and of whether it is to be False.
pub(crate) struct NodeCondition {
    node: ObjectName,
    wanted: Arc<Notify>,
    /// The Node object is there, and says something else.
    is_wrong: AtomicBool,
    /// Pods get their network.
    is_up: AtomicBool,
}

impl NodeCondition {
    /// What the cluster says of it now.
    pub(crate) fn told(&self, told: &Told<'_>) {
        if told.changed.is_some_and(|changed| !changed.nodes.contains(&self.node)) {
            return;
        }
        let node = told.snapshot.nodes.get(&self.node);
        self.is_wrong.store(node.is_some_and(|node| node.network_unavailable != Some(false)), Ordering::SeqCst);
        self.settle();
    }

    /// From now on pods get their network. At the agent's end they keep it, and nothing is taken back.
    pub(crate) fn is_up(&self) {
        self.is_up.store(true, Ordering::SeqCst);
        self.settle();
    }

    fn settle(&self) {
        if self.is_up.load(Ordering::SeqCst) && self.is_wrong.load(Ordering::SeqCst) {
            self.wanted.notify_one();
        }
    }
}

/// Sets it until dropped.
pub(crate) struct SetCondition {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl SetCondition {
    /// None where there is no Kubernetes.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn start(state: &StateRef, node: &str) -> io::Result<Option<(SetCondition, NodeCondition)>> {
        let StateKind::Kubernetes(access) = &state.kind else { return Ok(None) };
        let network = NodeNetwork::new(access.clone(), node.to_owned());
        let (wanted, stop) = (Arc::new(Notify::new()), Stop::default());
        let (notified, stopping) = (wanted.clone(), stop.clone());
        let set = move || {
            let kept = network.run(&stopping, &notified, |failed| match failed {
                None => tracing::info!("the Node's condition NetworkUnavailable is set to False"),
                Some(why) => tracing::warn!(why, "the Node's condition NetworkUnavailable can't be set; trying again"),
            });
            if let Err(error) = kept {
                tracing::error!(%error, "the Node's condition NetworkUnavailable is not set");
            }
        };
        let thread = Some(thread::Builder::new().name("node-condition".into()).spawn(set)?);
        let node = ObjectName { namespace: "".into(), name: node.into() };
        let (is_wrong, is_up) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Some((SetCondition { stop, thread }, NodeCondition { node, wanted, is_wrong, is_up })))
    }
}

impl Drop for SetCondition {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
