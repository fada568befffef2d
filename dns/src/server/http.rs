//! The pages of `health`, `ready` and `prometheus`. Over a reload a listener stays where its address does.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::worker::refused;
use super::{Block, Instance};

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub kind: &'static str,
    /// The text.
    pub body: String,
}

impl Page {
    /// A page of plain text.
    pub fn text(status: u16, body: impl Into<String>) -> Page {
        Page { status, kind: "text/plain; charset=utf-8", body: body.into() }
    }
}

/// Makes a page from the blocks that serve now.
pub type Handler = Arc<dyn Fn(&[Arc<Block>]) -> Page + Send + Sync>;
/// Pages by address and path.
pub type Routes = BTreeMap<SocketAddr, BTreeMap<&'static str, Handler>>;

/// The addresses that an address of Go's form means: `:8080`, `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`.
/// Without a host: those of `node_local`, or every address of the host.
///
/// # Errors
/// It has no port, or the host is neither an address nor `localhost`.
pub fn addresses(text: &str, node_local: &[IpAddr]) -> Result<Vec<SocketAddr>, String> {
    let wrong = || format!("{text:?} is no address to listen at: write [HOST]:PORT, the host an IP address");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let hosts = match host {
        "" if node_local.is_empty() => vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
        "" => node_local.to_vec(),
        "localhost" => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        host => vec![host.parse().map_err(|_| wrong())?],
    };
    Ok(hosts.into_iter().map(|host| SocketAddr::new(host, port)).collect())
}

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
