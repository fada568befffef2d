//! /metrics, /healthz and /readyz.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use crate::agent::Agent;

/// How long to wait before an address that can't be bound is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// So many connections at a time for each address: the health address is open to everybody, and the agent
/// needs its file descriptors.
const CONNECTIONS: usize = 64;
/// A connection on which nothing comes for so long is closed.
const IDLE: Duration = Duration::from_secs(10);

/// Runs what takes the agent's lock where it holds up nobody.
async fn ask<T: Send + 'static>(ask: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(ask).await.ok()
}

/// The routes of the metrics address.
pub(crate) fn metrics(agent: Arc<Agent>) -> Router {
    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let page = move || async move {
        match ask(move || agent.metrics_page()).await {
            Some(Ok(page)) => ([(header::CONTENT_TYPE, OPENMETRICS)], page).into_response(),
            _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    };
    Router::new().route("/metrics", get(page))
}

/// The routes of the health address.
pub(crate) fn health(agent: Arc<Agent>) -> Router {
    let readyz = move || async move {
        match ask(move || agent.readiness()).await {
            Some((true, text)) => (StatusCode::OK, text + "\n"),
            Some((false, why)) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
            None => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        }
    };
    Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(readyz))
}

/// Serves until the runtime ends. An address that can't be bound is no reason to end: it is tried again,
/// as kube-proxy does.
pub(crate) async fn serve(address: String, what: &'static str, router: Router) {
    if address.is_empty() {
        return;
    }
    loop {
        match TcpListener::bind(&address).await {
            Ok(listener) => {
                tracing::info!(%address, "serving {what}");
                let listener = Limited { listener, room: Arc::new(Semaphore::new(CONNECTIONS)) };
                if let Err(error) = axum::serve(listener, router.clone()).await {
                    tracing::warn!(%address, %error, "{what} ended; trying again");
                }
            }
            Err(error) => tracing::warn!(
                %address, %error, again_seconds = AGAIN.as_secs(),
                "cannot serve {what}; free the address or give another"
            ),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// A listener that takes a connection only while there is room for one.
struct Limited {
    listener: TcpListener,
    room: Arc<Semaphore>,
}

impl Listener for Limited {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            // Never closed, so there is always one to wait for.
            let Ok(place) = self.room.clone().acquire_owned().await else { continue };
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    let idle = Box::pin(tokio::time::sleep(IDLE));
                    return (Connection { stream, idle, _place: place }, from);
                }
                Err(error) => {
                    tracing::debug!(%error, "no connection could be taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that holds its place, and ends when nothing comes.
struct Connection {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = &mut *self;
        match Pin::new(&mut me.stream).poll_read(cx, buffer) {
            Poll::Pending => me.idle.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
            ready => {
                me.idle.as_mut().reset(Instant::now() + IDLE);
                ready
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
