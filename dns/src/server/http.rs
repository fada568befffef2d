//! The pages of `health`, `ready` and `prometheus`. Over a reload a listener stays where its address does.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Instance;
use super::worker::refused;
use crate::plugin::page::{Page, Routes};

/// The listeners of the pages. Lives on the runtime of the house keeping.
#[derive(Default)]
pub(super) struct Pages {
    listeners: BTreeMap<SocketAddr, JoinHandle<()>>,
}

/// Listeners that are open and don't serve yet.
pub(super) struct Opened(Vec<(SocketAddr, TcpListener)>);

impl Pages {
    /// Opens what is missing. Nothing has changed if it fails.
    ///
    /// # Errors
    /// An address can't be listened at; it is named.
    pub(super) fn open(&self, routes: &Routes) -> io::Result<Opened> {
        let mut opened = Vec::new();
        for address in routes.keys().filter(|address| !self.listeners.contains_key(address)) {
            let listener = super::listen::tcp(*address)
                .and_then(TcpListener::from_std)
                .map_err(|error| refused(&error, format!("listening at {address} for HTTP")))?;
            opened.push((*address, listener));
        }
        Ok(Opened(opened))
    }

    /// Serves what `routes` says, by the instance that is current.
    pub(super) fn serve(&mut self, routes: &Routes, opened: Opened, current: &Arc<ArcSwap<Instance>>) {
        self.listeners.retain(|address, task| {
            let stays = routes.contains_key(address);
            if !stays {
                task.abort();
            }
            stays
        });
        for (address, listener) in opened.0 {
            let task = tokio::spawn(accept(address, listener, current.clone()));
            self.listeners.insert(address, task);
        }
    }
}

async fn accept(address: SocketAddr, listener: TcpListener, current: Arc<ArcSwap<Instance>>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%address, %error, "no connection could be taken");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let current = current.clone();
        tokio::spawn(async move {
            let service = service_fn(|request: hyper::Request<Incoming>| {
                let instance = current.load_full();
                async move { Ok::<_, Infallible>(answer(&instance, address, request.uri().path())) }
            });
            // Who goes away in the middle is no news.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(std::time::Duration::from_secs(10))
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn answer(instance: &Instance, address: SocketAddr, path: &str) -> hyper::Response<Full<Bytes>> {
    let handler = instance.routes().get(&address).and_then(|routes| routes.get(path));
    let page = handler.map_or_else(|| Page::text(404, "404 page not found\n"), |handler| handler(instance.blocks()));
    let mut response = hyper::Response::new(Full::new(Bytes::from(page.body)));
    *response.status_mut() = hyper::StatusCode::from_u16(page.status).unwrap_or_default();
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static(page.kind));
    response
}
