//! Other servers: a question goes out, its answer comes back as bytes.
//!
//! ```text
//! Upstream (shared by all threads) ─> pool (of this thread) ─┬─ udp: a few connected sockets
//!                                                            └─ stream: connections kept open, a question at each
//! single: one question on a socket of its own, for health checks
//! ```
//!
//! An attacker that can't see our packets can't answer in the upstream's name: ids and ports are random, a socket is used for a
//! bounded number of questions, and an answer must repeat the question (RFC 5452). Everything of a pool stays on one
//! thread: [`Upstream::ask`] must run in a `LocalSet`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bowline_cluster::span::exact;
use rustls::pki_types::ServerName;

use crate::wire::WireError;

mod check;
mod connection;
mod connections;
mod ids;
mod pool;
pub mod single;
mod stream;
#[cfg(test)]
pub(crate) mod tests;
mod udp;

/// Where another server is, and whether TLS is spoken there.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Address and port.
    pub address: SocketAddr,
    /// DNS over TLS (RFC 7858): with what, and by which name the server must prove itself.
    pub tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
}

/// How a server is asked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our own address.
    pub source: Option<IpAddr>,
    /// Sockets and connections that were not used for so long are closed.
    pub idle: Duration,
    /// They are closed at this age, however much they are used.
    pub max_age: Option<Duration>,
    /// The most sockets that a thread keeps open to one server, and the most connections without a question that all do.
    pub max_open: Option<usize>,
    /// How long an answer may take, once a connection is there.
    pub timeout: Duration,
    /// Letters of the name are sent in random case, and must come back so ("0x20").
    pub random_case: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            source: None,
            idle: Duration::from_secs(10),
            max_age: None,
            max_open: None,
            timeout: Duration::from_secs(2),
            random_case: false,
        }
    }
}

/// How a question goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// In a datagram.
    Udp,
    /// By a connection; with TLS where the endpoint has it.
    Tcp,
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UpstreamError {
    /// None came in time.
    #[error("{0}: no answer within {within}", within = exact(*.1))]
    Silent(SocketAddr, Duration),
    /// The system or the network refused.
    #[error("{0}: {1}")]
    Io(SocketAddr, Arc<io::Error>),
    /// The other side closed the connection.
    #[error("{0}: the connection was closed before the answer")]
    Closed(SocketAddr),
    /// What came is not whole, or answers something else.
    #[error("{0}: the answer is malformed: {1}")]
    Malformed(SocketAddr, AnswerError),
    /// The question is none: not one name, type and class.
    #[error("the question is malformed")]
    Question,
}

/// What is wrong with a message that came in the place of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It isn't whole.
    #[error("{0}")]
    Wire(WireError),
    /// A datagram whose end is missing, though it doesn't say so.
    #[error("it was cut on its way without being marked so")]
    Cut,
    /// It repeats another question than ours, or none, or is a question itself.
    #[error("it is no answer to what was asked")]
    Foreign,
}

/// Is told what happens at a server, to count it.
pub trait Watcher: Send + Sync {
    /// A question goes out; whether a socket or connection was there already.
    fn taken(&self, by: By, was_open: bool);
    /// What came was not used, or not all of it.
    fn flawed(&self, flaw: AnswerError);
}

/// Another server.
pub struct Upstream {
    /// Where it is.
    pub endpoint: Endpoint,
    /// How it is asked.
    pub settings: Settings,
    watcher: Option<Arc<dyn Watcher>>,
    /// The key of its pools; never used again.
    number: u64,
    /// Connections of all threads, open or being opened.
    connections: AtomicUsize,
    /// Those of them at which nothing waits.
    idle: AtomicUsize,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Upstream").field(&self.endpoint.address).finish()
    }
}

impl Upstream {
    /// A server; nothing is opened yet.
    pub fn new(endpoint: Endpoint, settings: Settings, watcher: Option<Arc<dyn Watcher>>) -> Arc<Upstream> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (connections, idle) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Upstream { endpoint, settings, watcher, number, connections, idle })
    }

    /// Asks. `message` is a whole question in wire form, its name at byte 12; its id is replaced. The answer is whole,
    /// and repeats name, type and class of the question; its id means nothing, and its letter case may differ.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask(self: &Arc<Upstream>, message: &[u8], by: By) -> Result<Vec<u8>, UpstreamError> {
        let mut asked = check::Asked::new(message).ok_or(UpstreamError::Question)?;
        let mut message = message.to_vec();
        if self.settings.random_case {
            asked.randomize(&mut message);
        }
        let by = if self.endpoint.tls.is_some() { By::Tcp } else { by };
        let answer = match by {
            By::Udp => udp::ask(self, message, asked).await,
            By::Tcp => stream::ask(self, message, asked).await,
        };
        answer.map(|mut answer| {
            if self.settings.random_case {
                check::restore_case(&mut answer);
            }
            answer
        })
    }

    fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    fn count(&self, by: By, was_open: bool) {
        if let Some(watcher) = &self.watcher {
            watcher.taken(by, was_open);
        }
    }

    fn flawed(&self, flaw: AnswerError) {
        if let Some(watcher) = &self.watcher {
            watcher.flawed(flaw);
        }
    }

    fn trouble(&self, error: io::Error) -> UpstreamError {
        UpstreamError::Io(self.address(), Arc::new(bowline_tls::explain(error)))
    }
}

/// The address to bind a socket to, for asking `to`.
fn own_address(source: Option<IpAddr>, to: SocketAddr) -> SocketAddr {
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    SocketAddr::new(source.unwrap_or(any), 0)
}
