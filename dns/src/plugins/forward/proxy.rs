//! An upstream and its health.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::metrics::Series;
use crate::reply::Reply;
use crate::upstream::{By, Upstream, UpstreamError, single};
use crate::wire::Rcode;

/// How long a check waits for its answer.
const CHECK: Duration = Duration::from_secs(1);
/// The least time between two checks, whatever the Corefile says.
const LEAST: Duration = Duration::from_millis(100);

/// An upstream of a directive.
pub(super) struct Proxy {
    /// Address and port, as metrics show it.
    pub(super) label: String,
    upstream: Arc<Upstream>,
    series: Arc<Series>,
    /// Checks that failed, one after the other.
    fails: AtomicU32,
    /// A check is under way: at most one is.
    is_checked: AtomicBool,
    wanted: Notify,
}

/// How an upstream is checked.
#[derive(Clone, Debug)]
pub(super) struct Check {
    /// The question.
    pub(super) message: Vec<u8>,
    /// Between two checks.
    pub(super) interval: Duration,
    /// By what.
    pub(super) by: By,
    /// How many must fail for it to be down; for the log.
    pub(super) max_fails: u32,
}

/// The rcode of an answer in wire form.
pub(super) fn rcode(answer: &[u8]) -> Rcode {
    // The header has all of it but in answers with EDNS.
    match answer.get(10..12) {
        Some([0, 0]) => Rcode(answer.get(3).map_or(0, |flags| u16::from(flags & 15))),
        _ => Reply::relayed(answer.to_vec(), super::NAME).rcode(),
    }
}

impl Proxy {
    pub(super) fn new(label: String, upstream: Arc<Upstream>, series: Arc<Series>) -> Proxy {
        Proxy {
            label,
            upstream,
            series,
            fails: AtomicU32::new(0),
            is_checked: AtomicBool::new(false),
            wanted: Notify::new(),
        }
    }

    pub(super) fn address(&self) -> std::net::SocketAddr {
        self.upstream.endpoint.address
    }

    pub(super) fn has_tls(&self) -> bool {
        self.upstream.endpoint.tls.is_some()
    }

    pub(super) async fn ask(&self, message: &[u8], by: By) -> Result<Vec<u8>, UpstreamError> {
        let began = Instant::now();
        let answer = self.upstream.ask(message, by).await?;
        self.series.answered(rcode(&answer), began.elapsed().as_secs_f64());
        Ok(answer)
    }

    /// Whether so many checks have failed that it is passed over.
    pub(super) fn is_down(&self, max_fails: u32) -> bool {
        max_fails > 0 && self.fails.load(Ordering::Relaxed) > max_fails
    }

    /// Has it checked, unless that is under way.
    pub(super) fn check(&self) {
        if !self.is_checked.swap(true, Ordering::Relaxed) {
            self.wanted.notify_one();
        }
    }

    /// Checks it whenever that is wanted, until it answers.
    pub(super) async fn keep_checking(self: Arc<Proxy>, check: Check) {
        loop {
            self.wanted.notified().await;
            while let Err(error) = self.check_once(&check).await {
                self.series.check_failed();
                let fails = self.fails.load(Ordering::Relaxed).saturating_add(1);
                self.fails.store(fails, Ordering::Relaxed);
                tracing::debug!(upstream = self.label, fails, %error, "a health check failed");
                if fails == check.max_fails.saturating_add(1) {
                    tracing::warn!(upstream = self.label, %error, "the upstream is down; it is passed over until it answers");
                }
                tokio::time::sleep(check.interval.max(LEAST)).await;
            }
            if self.is_down(check.max_fails) {
                tracing::info!(upstream = self.label, "the upstream answers again");
            }
            self.fails.store(0, Ordering::Relaxed);
            self.is_checked.store(false, Ordering::Relaxed);
        }
    }

    async fn check_once(&self, check: &Check) -> std::io::Result<()> {
        let Upstream { endpoint, settings, .. } = &*self.upstream;
        match single::ask(endpoint, settings.source, &check.message, check.by, CHECK).await {
            // Any answer will do, be it a bad one: somebody is there.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }
}
