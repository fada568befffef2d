//! What all server blocks of a process share.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::Request;
use crate::address::Address;
use crate::cookie::Cookies;
use crate::feed::Feed;
use crate::wire::types::Rcode;
use bowline_observe::metrics::{Counter, Registry};

/// What outlives a reload of the Corefile, by type and key: caches, answers of the cluster, connections.
#[derive(Default)]
pub struct Kept(Mutex<HashMap<(TypeId, String), Arc<dyn Any + Send + Sync>>>);

impl Kept {
    /// What is kept under this key, made if it is not there.
    pub fn get<T: Any + Send + Sync>(&self, key: &str, make: impl FnOnce() -> T) -> Arc<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = (TypeId::of::<T>(), key.to_owned());
        if let Some(found) = kept.get(&slot).and_then(|found| found.clone().downcast().ok()) {
            return found;
        }
        let made = Arc::new(make());
        kept.insert(slot, made.clone());
        made
    }

    /// Lets go of what nobody uses any more; called after a reload.
    pub fn sweep(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, kept| Arc::strong_count(kept) > 1);
    }
}

/// Counts a question that no block took.
pub type Dropped = Box<dyn Fn(&Address, &Request, Rcode) + Send + Sync>;

/// What all server blocks of a process share, over reloads.
pub struct Services {
    /// The cluster's state.
    pub feed: Arc<Feed>,
    /// All series.
    pub metrics: Arc<Registry>,
    /// What outlives a reload.
    pub kept: Kept,
    /// `coredns_panics_total`.
    pub panics: Arc<Counter>,
    /// `coredns_reload_failed_total`.
    pub failed_reloads: Arc<Counter>,
    /// Set by `prometheus`.
    pub dropped: OnceLock<Dropped>,
    /// In the node agent: the addresses on which a block without `bind` listens, and health, ready and prometheus
    /// without an address of their own. Empty: every address of the host.
    pub node_local: Vec<IpAddr>,
    /// This program's version, as `chaos` and `coredns_build_info` show it.
    pub version: &'static str,
    /// Set when the end has begun: `health` says so while the rest goes on (lameduck).
    pub is_ending: std::sync::atomic::AtomicBool,
    /// The cookies of this process (RFC 7873).
    pub cookies: Cookies,
    fatal: tokio::sync::watch::Sender<Option<String>>,
}

impl Services {
    /// What a process starts with.
    pub fn new(feed: Arc<Feed>, node_local: Vec<IpAddr>, version: &'static str) -> Services {
        let metrics = feed.metrics.clone();
        let panics = metrics.counter("coredns_panics_total", "A metrics that counts the number of panics.", &[]);
        let help = "Counter of the number of failed reload attempts.";
        let failed_reloads = metrics.counter("coredns_reload_failed_total", help, &[]);
        Services {
            feed,
            metrics,
            kept: Kept::default(),
            panics,
            failed_reloads,
            dropped: OnceLock::new(),
            node_local,
            version,
            is_ending: Default::default(),
            cookies: Cookies::default(),
            fatal: tokio::sync::watch::Sender::new(None),
        }
    }

    /// Asks the process to end, for this reason (`loop`). The first one counts.
    pub fn end(&self, reason: String) {
        self.fatal.send_if_modified(|ended| {
            let is_first = ended.is_none();
            ended.get_or_insert(reason);
            is_first
        });
    }

    /// `bowline_dns_log_lines_dropped_total`: whoever writes the log counts there what it loses.
    pub fn dropped_log_lines(&self) -> Arc<Counter> {
        let help = "Counter of log lines that were dropped, as they came faster than they were read.";
        self.metrics.counter("bowline_dns_log_lines_dropped_total", help, &[])
    }

    /// Why the process is to end; None until it is. Whoever runs the server waits for that and stops it.
    pub fn ended(&self) -> tokio::sync::watch::Receiver<Option<String>> {
        self.fatal.subscribe()
    }

    /// Whether this is the node agent, which no looping upstream may stop.
    pub fn is_agent(&self) -> bool {
        !self.node_local.is_empty()
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").field("node_local", &self.node_local).finish_non_exhaustive()
    }
}
