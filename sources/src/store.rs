//! Writing to etcd, for people and for nodes: what an API server would do where there is none.
//!
//! ```text
//! manifest ─check─> merge with what is stored ─> complete (defaults, families) ─> choose what is left out
//!     ─> ONE transaction: the object is as it was read, each claim is free => put object and claims
//! ```
//!
//! What several objects must not share (Service addresses, node ports, pod ranges) is a key of its own, its
//! claim. Object and claims are written, and given back, in one transaction, so a crash leaves neither a
//! claim without its object nor the reverse. Transactions compare revisions, so no lock is held by anyone,
//! and a writer that would overwrite what it has not seen starts over or is told.
//!
//! What people put with `etcdctl` past this module has no claims. Whoever applies such an object here gives
//! it those; a claim whose holder doesn't exist any more, or doesn't have it, is taken over.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use etcd_client::{Client, KvClient};
use serde_json::Value;
use tokio::sync::Mutex;

use bowline_etcd::{Connection, ErrorKind, Keys, Location, MAX_MESSAGE};

use bowline_cluster::selector::Selector;

pub mod apply;
mod bands;
mod check;
mod claims;
mod commit;
pub mod delete;
pub mod kinds;
pub mod list;
mod merge;
pub mod node;
pub mod pods;
mod service;
mod settings;
mod time;

pub use claims::Claim;
pub use kinds::Resource;
pub use merge::LAST_APPLIED;
pub use settings::Settings;

/// Whether an object's labels fit a selector.
pub fn fits(selector: &Selector, object: &Value) -> bool {
    let labels = &object["metadata"]["labels"];
    selector.fits(|key| labels.get(key).and_then(Value::as_str))
}

/// Something of an object that is refused, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `spec.clusterIP`; empty for the object as a whole.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl Refusal {
    fn new(field: impl Into<String>, message: impl Into<String>) -> Refusal {
        Refusal { field: field.into(), message: message.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.field, self.message) }
    }
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// etcd can't be reached in time, or refuses.
    #[error("{0}")]
    Etcd(#[from] bowline_etcd::EtcdError),
    /// etcd did not answer in time.
    #[error("gave up after {}: {last}", bowline_cluster::span::human(*.waited))]
    Deadline {
        /// How long was waited.
        waited: Duration,
        /// The endpoints, and what was wrong with them last.
        last: String,
    },
    /// The object is not what an API server would take.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Refused(Vec<Refusal>),
    /// Somebody else was faster.
    #[error("{0}")]
    Conflict(String),
    /// There is no such object.
    #[error("{0} not found")]
    NotFound(String),
    /// What is stored can't be read.
    #[error("{key}: {reason}")]
    Stored {
        /// Its key in etcd.
        key: String,
        /// Why.
        reason: String,
    },
}

/// Told, once for each wait, what is waited for when it takes longer than a second.
pub type Waiting = Arc<dyn Fn(&str) + Send + Sync>;

/// How long a wait is quiet.
const QUIET: Duration = Duration::from_secs(1);

/// Pauses between tries to reach etcd: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The objects of one cluster in etcd.
pub struct Store {
    location: Location,
    connection: Mutex<Option<Connection>>,
    patience: Duration,
    waiting: Waiting,
}

impl Store {
    /// Nothing is connected yet. Each operation gives up `patience` after it began.
    pub fn new(location: Location, patience: Duration, waiting: Waiting) -> Store {
        Store { location, connection: Mutex::default(), patience, waiting }
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    fn keys(&self) -> &Keys {
        self.location.keys()
    }

    async fn connection(&self) -> Result<Connection, bowline_etcd::EtcdError> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = &*held {
            return Ok(connection.clone());
        }
        let connection = self.location.connect().await?;
        *held = Some(connection.clone());
        Ok(connection)
    }

    /// Does this until etcd has answered. Also whether it was tried more than once, so that a write may have
    /// been done by a try that got no answer: it must be one that can be done twice.
    async fn call<T, F>(&self, operation: impl Fn(Client) -> F) -> Result<(T, bool), StoreError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let last = std::sync::Mutex::new(None);
        let (started, mut pause) = (Instant::now(), PAUSES.0);
        let work = async {
            let mut again = false;
            loop {
                let error = match self.connection().await {
                    Ok(connection) => match operation(connection.client.clone()).await {
                        Ok(answer) => return Ok((answer, again)),
                        Err(error) => connection.explain(&error),
                    },
                    Err(error) => error,
                };
                if !matches!(error.kind, ErrorKind::Unreachable | ErrorKind::Silent | ErrorKind::Token) {
                    return Err(StoreError::Etcd(error));
                }
                // Certificates and passwords are read anew, another endpoint is found.
                *self.connection.lock().await = None;
                *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                again = true;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        };
        let why = || {
            let said = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
            said.unwrap_or_else(|| format!("no answer from {}", self.location.endpoints().join(", ")))
        };
        tokio::pin!(work);
        if let Ok(done) = tokio::time::timeout(QUIET.min(self.patience), &mut work).await {
            return done;
        }
        let rest = self.patience.saturating_sub(started.elapsed());
        if !rest.is_zero() {
            let patience = bowline_cluster::span::human(self.patience);
            (self.waiting)(&format!("waiting for etcd, for up to {patience}: {}", why()));
        }
        match tokio::time::timeout(rest, &mut work).await {
            Ok(done) => done,
            Err(_) => {
                // The next operation is to find another endpoint. Where it is locked, it is being made.
                if let Ok(mut held) = self.connection.try_lock() {
                    *held = None;
                }
                Err(StoreError::Deadline { waited: started.elapsed(), last: why() })
            }
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("location", &self.location.to_string()).finish_non_exhaustive()
    }
}

/// For reads and writes of keys; gRPC's own bound for an answer, 4 MiB, is that of two large objects.
fn kv(client: &Client) -> KvClient {
    client.kv_client().max_decoding_message_size(MAX_MESSAGE)
}

/// 64 random bits, unlike those of any other process.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(())
}
