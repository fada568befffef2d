//! Pods of a node, told to the cluster where no kubelet does: each has a PodAddresses object, under a lease of the node's.
//! When the node is gone for longer than that lasts, so are they.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bowline_cluster::object::{Kind, Object, ObjectKey, ObjectName, PodAddresses, Str};
use bowline_cluster::source::Stop;
use bowline_etcd::Location;
use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp};
use tokio::sync::watch;

use super::node::{TTL, stopped};
use super::{Store, StoreError};
use crate::manifest;

/// Pods, and their addresses.
pub type PodIps = BTreeMap<ObjectName, Vec<IpAddr>>;

/// How long each request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause after one that was refused or got no answer.
const PAUSE: Duration = Duration::from_secs(2);

/// The object that says it.
pub fn object(node: &str, name: &ObjectName, ips: &[IpAddr]) -> Object {
    let (name, node) = (name.clone(), Some(Str::from(node)));
    Object::PodAddresses(Arc::new(PodAddresses { name, node, ips: ips.to_vec() }))
}

/// Tells an etcd which pods a node has, from now on.
#[derive(Clone, Debug)]
pub struct Teller {
    /// The cluster.
    pub location: Location,
    /// The node's name.
    pub node: String,
    /// How long they count after the node was last heard of.
    pub ttl: Duration,
}

impl Teller {
    /// For a node that counts for as long as nodes do.
    pub fn new(location: Location, node: String) -> Teller {
        Teller { location, node, ttl: TTL }
    }

    /// Tells the pods whenever they change, and keeps them told, until told to stop. What can't be told is tried again, and
    /// said to `report` once; None: it is told.
    ///
    /// # Errors
    /// No runtime could be made.
    pub fn run(
        &self,
        stop: &Stop,
        pods: watch::Receiver<PodIps>,
        mut report: impl FnMut(Option<StoreError>),
    ) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            tokio::select! {
                () = stopped(stop) => {}
                () = self.keep(pods, &mut report) => {}
            }
        });
        runtime.shutdown_background();
        Ok(())
    }

    async fn keep(&self, mut pods: watch::Receiver<PodIps>, report: &mut impl FnMut(Option<StoreError>)) {
        let store = Store::new(self.location.clone(), PATIENCE, Arc::new(|_| {}));
        let mut said = None;
        let mut report = |error: Option<StoreError>| {
            let text = error.as_ref().map(ToString::to_string);
            if said.as_ref() != Some(&text) {
                said = Some(text);
                report(error);
            }
        };
        loop {
            if let Err(error) = self.under_one_lease(&store, &mut pods, &mut report).await {
                report(Some(error));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Until the lease is lost.
    async fn under_one_lease(
        &self,
        store: &Store,
        pods: &mut watch::Receiver<PodIps>,
        report: &mut impl FnMut(Option<StoreError>),
    ) -> Result<(), StoreError> {
        let lease = store.lease(self.ttl).await?;
        let mut told = PodIps::new();
        let mut renew = tokio::time::interval(self.ttl / 3);
        renew.tick().await;
        loop {
            let wanted = pods.borrow_and_update().clone();
            for (name, ips) in wanted.iter().filter(|(name, ips)| told.get(*name) != Some(*ips)) {
                self.put(store, lease, name, ips).await?;
            }
            for name in told.keys().filter(|name| !wanted.contains_key(*name)) {
                self.delete(store, lease, name).await?;
            }
            told = wanted;
            report(None);
            tokio::select! {
                changed = pods.changed() => if changed.is_err() {
                    // Nobody tells any more: the end comes by the stop.
                    std::future::pending::<()>().await;
                },
                _ = renew.tick() => if !store.renew(lease).await? {
                    return Ok(());
                },
            }
        }
    }

    fn key(&self, store: &Store, name: &ObjectName) -> String {
        store.keys().object(&ObjectKey { kind: Kind::PodAddresses, name: name.clone() })
    }

    async fn put(&self, store: &Store, lease: i64, name: &ObjectName, ips: &[IpAddr]) -> Result<(), StoreError> {
        let key = self.key(store, name);
        let mut value = Vec::new();
        // Memory takes what it is given.
        let _ = manifest::write(&object(&self.node, name, ips), &mut value);
        store
            .call(|client| {
                let (key, value) = (key.clone(), value.clone());
                let options = PutOptions::new().with_lease(lease);
                async move { super::kv(&client).put(key, value, Some(options)).await }
            })
            .await?;
        Ok(())
    }

    /// Unless another node has it by now: the pod has moved.
    async fn delete(&self, store: &Store, lease: i64, name: &ObjectName) -> Result<(), StoreError> {
        let key = self.key(store, name);
        let is_ours = Compare::lease(key.clone(), CompareOp::Equal, lease);
        let txn = Txn::new().when([is_ours]).and_then([TxnOp::delete(key, None)]);
        store
            .call(|client| {
                let txn = txn.clone();
                async move { super::kv(&client).txn(txn).await }
            })
            .await?;
        Ok(())
    }
}
