//! When the API server tells whoever watches of a change. No server can know of it much before.

use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::AsyncBufReadExt as _;
use futures_util::TryStreamExt as _;
use http::Request;

use crate::sources::writer::{Store, Writer};

/// What a watch has told, and when.
pub(super) struct Watch(Receiver<(Instant, String)>);

impl Watch {
    /// Watches an EndpointSlice, on a thread that ends with the API server, or with the first event that nobody wants.
    pub(super) fn start(kubeconfig: &Path, namespace: &str, name: &str) -> Result<Watch> {
        let Writer { runtime, store } = Writer::kubernetes(kubeconfig)?;
        let Store::Kubernetes(client) = store else { bail!("only an API server is watched") };
        let path = format!(
            "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?watch=1&fieldSelector=metadata.name%3D{name}"
        );
        let request = Request::get(&path).body(Vec::new())?;
        let lines = runtime.block_on(client.request_stream(request)).with_context(|| path)?;
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            runtime.block_on(async {
                let mut lines = std::pin::pin!(lines.lines());
                while let Ok(Some(line)) = lines.try_next().await {
                    if tell.send((Instant::now(), line)).is_err() {
                        break;
                    }
                }
            });
        });
        Ok(Watch(told))
    }

    /// When an event came that has this text; those before it are forgotten.
    pub(super) fn saw(&self, text: &str) -> Result<Instant> {
        loop {
            let (when, line) = self.0.recv_timeout(Duration::from_secs(10)).context("the watch tells nothing")?;
            if line.contains(text) {
                return Ok(when);
            }
        }
    }
}
