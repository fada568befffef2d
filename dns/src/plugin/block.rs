//! A server block, and what its directives set for the server rather than for a question.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::zones::Zones;
use super::{Plugin, Query, Upstreams};
use crate::wire::Name;

/// A server block: its zones and its plugins, in the order in which a question meets them.
pub struct Block {
    /// The zones of its keys.
    pub zones: Vec<Name>,
    /// Its plugins.
    pub plugins: Box<[Arc<dyn Plugin>]>,
    /// What `bind`, `tls`, `view` and the like have set.
    pub config: BlockConfig,
    /// Where it stands, as `file:line`.
    pub place: String,
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.plugins.iter().map(|plugin| plugin.name()).collect();
        f.debug_struct("Block").field("zones", &self.zones).field("plugins", &names).finish()
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
    /// `bind`: the addresses; empty: those of [`super::Services::node_local`], or every one.
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
    /// `dnstap`: what is told of questions to upstreams.
    pub taps: Vec<Arc<dyn Upstreams>>,
    /// `ready`: how the block's plugins report.
    pub ready: Option<Reports>,
    /// Set by `loop` while the server runs: what `forward` asks leads back here, so it is no longer asked.
    pub looping: Arc<std::sync::atomic::AtomicBool>,
    /// `debug`: plugins may log more.
    pub debug: bool,
}
