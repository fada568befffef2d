//! What plugins are set up with, and what they set for the server.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use super::http::{Handler, Routes};
use crate::address::{Address, Transport};
use crate::cookie::Cookies;
use crate::corefile::{Key, Place};
use crate::feed::Feed;
use crate::metrics::{Counter, Registry};
use crate::plugin::zones::Zones;
use crate::query::{Query, Request};
use crate::wire::name::Name;
use crate::wire::types::Rcode;

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

/// How long streams may take (`timeouts`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To send a connection's first question, the handshake of TLS included; and any other once it has begun.
    pub read: Duration,
    /// To take an answer.
    pub write: Duration,
    /// Between questions.
    pub idle: Duration,
    /// Questions of one connection, after which it is closed; None: any number.
    pub questions: Option<u32>,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            read: Duration::from_secs(3),
            write: Duration::from_secs(5),
            idle: Duration::from_secs(10),
            questions: None,
        }
    }
}

/// Whether a question belongs to a view.
pub type Filter = Arc<dyn Fn(&Query) -> bool + Send + Sync>;

/// Questions that a block takes of those for its zones (`view`).
#[derive(Clone)]
pub struct View {
    /// The view's name, as metrics show it.
    pub name: String,
    /// All must take the question.
    pub filters: Vec<Filter>,
}

impl View {
    /// Whether the question is the view's.
    pub fn takes(&self, query: &Query) -> bool {
        self.filters.iter().all(|filter| filter(query))
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A question that was passed on to an upstream.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The address that it was sent from, if that is known.
    pub from: Option<SocketAddr>,
    /// The upstream.
    pub to: SocketAddr,
    /// How.
    pub transport: Transport,
    /// When.
    pub asked_at: SystemTime,
    /// The question's message.
    pub question: &'a [u8],
    /// The answer's message; None if there was none.
    pub answer: Option<&'a [u8]>,
}

/// Wants to know what is asked of upstreams (`dnstap`).
pub trait Upstreams: fmt::Debug + Send + Sync {
    /// An upstream was asked for this query, and has answered if there is an answer.
    fn forwarded(&self, query: &Query, exchange: Exchange<'_>);
}

/// How plugins report to `ready`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reports {
    /// They are asked each time; otherwise until they are ready for the first time.
    pub continuously: bool,
    /// Not ready once the state can't be read for so long.
    pub stale: Option<Duration>,
}

/// What directives set for the server rather than for a question.
#[derive(Clone, Debug, Default)]
pub struct BlockConfig {
    /// `bind`: the addresses; empty: those of [`Services::node_local`], or every one.
    pub bind: Vec<IpAddr>,
    /// `tls`: what TLS, HTTPS and QUIC are served with.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// `timeouts`.
    pub timeouts: Timeouts,
    /// `view`.
    pub view: Option<View>,
    /// `metadata`: the zones where it is on.
    pub metadata: Option<Zones>,
    /// A plugin answers questions of other classes than IN (`chaos`, `forward`).
    pub takes_any_class: bool,
    /// EDNS options that an answer shows as the question has them, besides those that always are (`rewrite edns0`).
    pub echoed_options: Vec<u16>,
    /// `transfer`: takes the names of zones that have changed, and tells their secondaries.
    pub changed_zones: Option<tokio::sync::mpsc::UnboundedSender<Name>>,
    /// `dnstap`: who is told of what is asked of upstreams.
    pub taps: Vec<Arc<dyn Upstreams>>,
    /// `ready`: how the block's plugins report.
    pub ready: Option<Reports>,
    /// Set by `loop` while the server runs: what `forward` asks leads back here, so it is no longer asked.
    pub looping: Arc<std::sync::atomic::AtomicBool>,
    /// `debug`: plugins may log more.
    pub debug: bool,
}

/// A task of an instance.
pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the blocks of an instance have asked for besides.
#[derive(Default)]
pub(super) struct Wishes {
    pub(super) tasks: Vec<(&'static str, Task)>,
    pub(super) routes: Routes,
    pub(super) lameduck: Duration,
    pub(super) reload: Option<super::instance::Reload>,
}

/// What a plugin is set up with.
pub struct Building<'a> {
    /// The zones of the block's keys.
    pub zones: &'a [Name],
    /// The block's keys.
    pub keys: &'a [Key],
    /// Where the block begins.
    pub place: &'a Place,
    /// The folder to which relative paths refer: the Corefile's, or `root`'s.
    pub folder: PathBuf,
    /// What all blocks share.
    pub services: &'a Arc<Services>,
    /// What this block says to the server.
    pub block: &'a mut BlockConfig,
    /// Plugins of this block that are set up already, in order: `autopath @kubernetes` finds its partner only later
    /// ([`crate::plugin::Next::find`]), as it stands in front of it.
    pub plugins: &'a [Arc<dyn crate::plugin::Plugin>],
    /// Names of all directives of the block.
    pub directives: &'a [String],
    pub(super) wishes: &'a mut Wishes,
}

impl Building<'_> {
    /// A path as the Corefile writes it.
    pub fn path(&self, path: &str) -> PathBuf {
        if Path::new(path).is_absolute() { path.into() } else { self.folder.join(path) }
    }

    /// Runs a task in the background, from when the instance serves until it is replaced. It runs on a thread of
    /// its own kind, never on those that answer.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.wishes.tasks.push((name, Box::pin(task)));
    }

    /// Serves a page over HTTP at an address as Go writes it (`:8080`, `localhost:8080`). Several plugins may share an
    /// address.
    ///
    /// # Errors
    /// The address can't be read.
    pub fn page(&mut self, address: &str, path: &'static str, handler: Handler) -> Result<(), String> {
        for address in super::http::addresses(address, &self.services.node_local)? {
            self.wishes.routes.entry(address).or_default().insert(path, handler.clone());
        }
        Ok(())
    }

    /// How long everything goes on after the end was asked for; the longest of all blocks counts.
    pub fn lameduck(&mut self, time: Duration) {
        self.wishes.lameduck = self.wishes.lameduck.max(time);
    }

    /// The Corefile is looked at for changes.
    pub fn reload(&mut self, reload: super::instance::Reload) {
        self.wishes.reload = Some(reload);
    }
}
