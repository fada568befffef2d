//! A Node's condition NetworkUnavailable, set to False: pods have a network there.
//!
//! A cloud provider may register its nodes with this condition set to True; the node controller then keeps pods away by the
//! taint `node.kubernetes.io/network-unavailable` until whoever gives them their network says that it is there.

use std::time::Duration;

use bowline_cluster::source::Stop;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::access::Access;
use super::connection::{Failure, patch};
use super::resource::escape;
use super::stopped;
use crate::backoff::Backoff;

/// Who else sets the condition to True, again and again, is answered no more often than that.
const REST: Duration = Duration::from_secs(10);

/// Says of a Node that its network is available.
#[derive(Clone, Debug)]
pub struct NodeNetwork {
    access: Access,
    node: String,
}

impl NodeNetwork {
    /// Of the node of this name.
    pub fn new(access: Access, node: String) -> NodeNetwork {
        NodeNetwork { access, node }
    }

    /// Says it each time that `wanted` is notified, until told to stop. What fails is tried again, and each other reason told to
    /// `report` once; None: it is said.
    ///
    /// # Errors
    /// No runtime could be made.
    pub fn run(&self, stop: &Stop, wanted: &Notify, mut report: impl FnMut(Option<String>)) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            tokio::select! {
                () = stopped(stop) => {}
                () = self.keep(wanted, &mut report) => {}
            }
        });
        runtime.shutdown_background();
        Ok(())
    }

    async fn keep(&self, wanted: &Notify, report: &mut impl FnMut(Option<String>)) {
        let mut backoff = Backoff::default();
        loop {
            wanted.notified().await;
            let mut said = None;
            loop {
                match self.set().await {
                    Ok(()) => break report(None),
                    // When it is there again it is told.
                    Err(Failure::Refused(status)) if status.code == 404 => break,
                    Err(failure) => {
                        let why = self.explain(&failure);
                        if said.as_ref() != Some(&why) {
                            said = Some(why.clone());
                            report(Some(why));
                        }
                    }
                }
                sleep(backoff.next()).await;
            }
            backoff.reset();
            sleep(REST).await;
        }
    }

    async fn set(&self) -> Result<(), Failure> {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        // Of the list of conditions this alone is changed: their type is the key of a merge.
        let change = json!({"status": {"conditions": [{
            "type": "NetworkUnavailable", "status": "False",
            "reason": "BowlineIsUp", "message": "Bowline gives pods their network on this node",
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        }]}});
        let path = format!("/api/v1/nodes/{}/status", escape(&self.node));
        patch(&self.access, &path, change.to_string().as_bytes()).await
    }

    fn explain(&self, failure: &Failure) -> String {
        match failure {
            Failure::Refused(status) if status.code == 403 => {
                format!("{status}; allow its user the verb patch on nodes/status (deploy/components/pod-network)")
            }
            failure => failure.to_string(),
        }
    }
}
