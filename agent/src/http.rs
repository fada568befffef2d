//! /metrics, /healthz and /readyz.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bowline_cluster::span::human;
use bowline_observe::pages::{self, Page};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::Agent;
use crate::address::{Bind, collide};

/// So many connections at a time for each address: the health address is open to everybody, and the agent needs its file
/// descriptors.
const CONNECTIONS: usize = 64;
/// How long to wait before an address that can't be bound is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// How often the same reason is told.
const SAY: Duration = Duration::from_secs(60);

/// Makes a page where it holds up nobody: it takes the agent's locks.
async fn made(make: impl FnOnce() -> Page + Send + 'static) -> Page {
    // It fails with the process only.
    tokio::task::spawn_blocking(make).await.unwrap_or_else(|_| Page::text(500, ""))
}

/// The page at a path of the metrics address.
pub(crate) async fn metrics(agent: Arc<Agent>, path: String) -> Page {
    match &*path {
        "/metrics" => made(move || Page::metrics(agent.metrics_page())).await,
        _ => Page::missing(),
    }
}

/// The page at a path of the health address.
pub(crate) async fn health(agent: Arc<Agent>, path: String) -> Page {
    match &*path {
        "/healthz" => Page::text(200, "ok\n"),
        "/readyz" => {
            let page = move || {
                let (is_ready, text) = agent.readiness();
                Page::text(if is_ready { 200 } else { 503 }, text + "\n")
            };
            made(page).await
        }
        _ => Page::missing(),
    }
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
pub(crate) async fn serve<F, P>(at: Listening, what: &'static str, page: F)
where
    F: Fn(String) -> P + Clone + Send + Sync + 'static,
    P: Future<Output = Page> + Send,
{
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
                pages::serve(listener, CONNECTIONS, page.clone()).await;
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
