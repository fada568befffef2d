//! Writes objects to the API server or to etcd, as anybody does: over several connections, at once.
//!
//! Sockets belong to the network namespace of the thread that uses the writer.

use std::path::Path;

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::Request;
use kube_client::config::{KubeConfigOptions, Kubeconfig};
use tokio::runtime::{Builder, Runtime};

use super::objects::Object;

/// How many writes are under way at the same time while all is loaded.
const AT_ONCE: usize = 32;

/// Where objects are written to.
#[derive(Clone)]
pub(crate) enum Store {
    Kubernetes(kube_client::Client),
    /// Below the prefix.
    Etcd(Box<etcd_client::KvClient>, &'static str),
}

impl Store {
    /// Stores a new object.
    pub(crate) async fn create(&self, object: &Object) -> Result<()> {
        match self {
            Store::Kubernetes(client) => {
                let path = path(object);
                let collection = path.rsplit_once('/').map_or("", |(collection, _)| collection);
                request(client, "POST", collection, object).await
            }
            Store::Etcd(..) => self.replace(object).await,
        }
    }

    /// Replaces an object, whatever it was.
    pub(crate) async fn replace(&self, object: &Object) -> Result<()> {
        match self {
            Store::Kubernetes(client) => request(client, "PUT", &path(object), object).await,
            Store::Etcd(client, prefix) => {
                let key = format!("{prefix}/{}", object.key());
                client.clone().put(key.clone(), object.value.to_string(), None).await.context(key)?;
                Ok(())
            }
        }
    }
}

async fn request(client: &kube_client::Client, method: &str, path: &str, object: &Object) -> Result<()> {
    let request = Request::builder().method(method).uri(path).header("Content-Type", "application/json");
    let request = request.body(serde_json::to_vec(&object.value)?)?;
    client.request_text(request).await.with_context(|| format!("{method} {path}"))?;
    Ok(())
}

fn path(object: &Object) -> String {
    let group = if object.plural == "endpointslices" { "apis/discovery.k8s.io/v1" } else { "api/v1" };
    format!("/{group}/{}", object.path())
}

/// A [`Store`] and what runs it.
pub(crate) struct Writer {
    pub(crate) runtime: Runtime,
    pub(crate) store: Store,
}

impl Writer {
    /// To an API server.
    pub(crate) fn kubernetes(kubeconfig: &Path) -> Result<Writer> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(async {
            let file = Kubeconfig::read_from(kubeconfig)?;
            let config = kube_client::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
            anyhow::Ok(kube_client::Client::try_from(config)?)
        });
        Ok(Writer { store: Store::Kubernetes(client.context("the API server's client")?), runtime })
    }

    /// To an etcd.
    pub(crate) fn etcd(url: &str) -> Result<Writer> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(etcd_client::Client::connect([url], None)).with_context(|| url.to_owned())?;
        Ok(Writer { store: Store::Etcd(Box::new(client.kv_client()), "/bowline"), runtime })
    }

    /// Stores new objects, in any order.
    pub(crate) fn create_all(&self, objects: impl IntoIterator<Item = Result<Object>>) -> Result<()> {
        self.runtime.block_on(
            stream::iter(objects)
                .map(|object| async move { self.store.create(&object?).await })
                .buffer_unordered(AT_ONCE)
                .try_collect::<()>(),
        )
    }

    /// Replaces an object.
    pub(crate) fn replace(&self, object: &Object) -> Result<()> {
        self.runtime.block_on(self.store.replace(object))
    }

    /// Registers a node. Kubernetes takes its addresses apart from the rest; to etcd an agent registers itself.
    pub(crate) fn register(&self, node: &Object) -> Result<()> {
        match &self.store {
            Store::Kubernetes(client) => self.runtime.block_on(async {
                self.store.create(node).await?;
                request(client, "PUT", &(path(node) + "/status"), node).await
            }),
            Store::Etcd(..) => Ok(()),
        }
    }
}
