//! /metrics, /healthz and /readyz.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::Listener;
use bowline_cluster::span::human;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use crate::Agent;
use crate::address::{Bind, collide};

/// How long to wait before an address that can't be bound is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// How often the same reason is told.
const SAY: Duration = Duration::from_secs(60);

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

/// Where something is to be served.
pub(crate) struct Listening {
    flag: &'static str,
    /// As it is shown.
    address: String,
    /// One of these; none: it is off.
    at: Vec<SocketAddr>,
    /// What came of the first attempt.
    first: Option<io::Result<std::net::TcpListener>>,
}

impl Listening {
    /// Listens, so that the start ends where that can never work.
    ///
    /// # Errors
    /// Nobody knows the name, or the system will refuse the address whenever it is asked.
    pub(crate) fn open(flag: &'static str, bind: &Bind) -> anyhow::Result<Listening> {
        let at = bind.addresses().with_context(|| flag.to_owned())?;
        let first = (!at.is_empty()).then(|| std::net::TcpListener::bind(&at[..]));
        match &first {
            Some(Err(error)) if !may_come(error) => anyhow::bail!("{flag} {bind}: {error}; give another address"),
            _ => Ok(Listening { flag, address: bind.to_string(), at, first }),
        }
    }

    /// Whether both can't be served, ever.
    ///
    /// # Errors
    /// So it is.
    pub(crate) fn check_beside(&self, other: &Listening) -> anyhow::Result<()> {
        match self.at.iter().any(|one| other.at.iter().any(|other| collide(one, other))) {
            true => anyhow::bail!(
                "{} {} and {} {} exclude each other; give them different ports",
                self.flag,
                self.address,
                other.flag,
                other.address
            ),
            false => Ok(()),
        }
    }
}

/// Whether an address that can't be served now may be later: somebody has it, or this host hasn't got it yet.
fn may_come(error: &io::Error) -> bool {
    /// EAFNOSUPPORT: IPv6 is off.
    const NO_SUCH_FAMILY: i32 = 97;
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    let never = matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported);
    !never && error.raw_os_error() != Some(NO_SUCH_FAMILY)
}

/// Serves until the runtime ends. An address that can't be bound yet is no reason to end: it is tried again,
/// as kube-proxy does.
pub(crate) async fn serve(at: Listening, what: &'static str, router: Router) {
    let Listening { flag, address, at, mut first } = at;
    if at.is_empty() {
        return;
    }
    // What was said last, and when.
    let mut said: Option<(String, Instant)> = None;
    loop {
        let listening = match first.take() {
            Some(first) => first,
            None => std::net::TcpListener::bind(&at[..]),
        };
        match listening.and_then(|listener| listener.set_nonblocking(true).and(TcpListener::from_std(listener))) {
            Ok(listener) => {
                said = None;
                tracing::info!(%address, "serving {what}");
                let listener = Limited { listener, room: Arc::new(Semaphore::new(CONNECTIONS)) };
                if let Err(error) = axum::serve(listener, router.clone()).await {
                    tracing::warn!(%address, %error, "{what} ended; trying again");
                }
            }
            Err(error) => {
                let error = error.to_string();
                if said.as_ref().is_none_or(|(before, when)| *before != error || when.elapsed() >= SAY) {
                    tracing::warn!(
                        %address, %error, again_after = human(AGAIN),
                        "cannot serve {what}; free the address, or give another by {flag}"
                    );
                    said = Some((error, Instant::now()));
                }
            }
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
