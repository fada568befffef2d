//! `forward`: asks other servers.
//!
//! ```text
//! setup ─> Forwarder (one a directive: names, options) ─> policy ─> Proxy (an upstream and its health) ─> crate::upstream
//!                                                                   Proxy ─> health check, in the background
//! ```
//!
//! An upstream that fails to answer is checked until it does; one that failed several checks is passed over, and where
//! all are, one is tried all the same. There is at most one check at a time for an upstream, and nothing is ever given
//! up: the next check that succeeds brings it back.
//!
//! Beside CoreDNS's options there is one of ours: `random_case` sends names in random letter case and takes only
//! answers that show it again ("0x20"). It is off by default, as some servers don't keep the case.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::address::Transport;
use crate::plugin::{Exchange, Next, Plugin, Query};
use crate::reply::{Body, Outcome, QueryError, Reply, Serving};
use crate::upstream::{By, UpstreamError};
use crate::wire::{Name, Rcode};

mod lookup;
mod message;
mod metrics;
mod policy;
mod proxy;
mod setup;
#[cfg(test)]
pub(crate) mod tests;
mod to;
mod words;

use policy::Policy;
use proxy::Proxy;
pub use setup::set_up;

const NAME: &str = "forward";
/// No further upstream is tried for a question after this long.
const DEADLINE: Duration = Duration::from_secs(5);

struct Forward {
    /// In the order of the Corefile: the first whose names match takes the question.
    forwarders: Vec<Forwarder>,
}

/// One directive.
struct Forwarder {
    from: Name,
    except: Vec<Name>,
    proxies: Vec<Arc<Proxy>>,
    policy: Policy,
    options: Options,
    /// Questions that are out.
    concurrent: AtomicUsize,
    counts: metrics::Counts,
}

/// What a question meets at every upstream.
#[derive(Debug)]
struct Options {
    force_tcp: bool,
    prefer_udp: bool,
    /// 0: upstreams are never checked nor passed over.
    max_fails: u32,
    /// 0: no bound.
    max_concurrent: usize,
    /// None: twice as many as there are upstreams; 0: no bound.
    max_connect_attempts: Option<u32>,
    failfast: bool,
    next: Vec<Rcode>,
    next_on_nodata: bool,
    failover: Vec<Rcode>,
}

/// What comes of a forwarder.
enum Step {
    Done(Outcome),
    /// The next directive is asked (`next`, `next_on_nodata`).
    Next,
}

impl Plugin for Forward {
    fn name(&self) -> &'static str {
        NAME
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        if !self.forwarders.iter().any(|forwarder| forwarder.takes(query.name())) {
            return next.run(query);
        }
        Box::pin(async move {
            for (at, forwarder) in self.forwarders.iter().enumerate() {
                if !forwarder.takes(query.name()) {
                    continue;
                }
                match forwarder.serve(query, at + 1 == self.forwarders.len()).await {
                    Step::Done(outcome) => return outcome,
                    Step::Next => {}
                }
            }
            next.run(query).await
        })
    }

    fn describe(&self) -> String {
        let each = |forwarder: &Forwarder| format!("{} to {}", forwarder.from, forwarder.addresses());
        self.forwarders.iter().map(each).collect::<Vec<_>>().join("; ")
    }
}

/// A question that is out; counted until it is dropped.
struct Ticket<'a>(&'a AtomicUsize);

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Forwarder {
    fn takes(&self, name: &Name) -> bool {
        name.is_within(&self.from) && (*name == self.from || !self.except.iter().any(|zone| name.is_within(zone)))
    }

    fn addresses(&self) -> String {
        let names: Vec<_> = self.proxies.iter().map(|proxy| proxy.label.as_str()).collect();
        format!("{} ({})", names.join(", "), self.policy.name())
    }

    async fn serve(&self, query: &mut Query, is_last: bool) -> Step {
        if query.is_dry() {
            query.would_ask(self.addresses());
            return Step::Done(Ok(None));
        }
        if query.block.config.looping.load(Ordering::Relaxed) {
            self.counts.looping.inc();
            let reason = format!("{} leads back to this server, so it is not asked; see loop", self.addresses());
            return Step::Done(Err(QueryError::servfail(NAME, reason)));
        }
        let out = self.concurrent.fetch_add(1, Ordering::Relaxed);
        let _ticket = Ticket(&self.concurrent);
        let most = self.options.max_concurrent;
        if most > 0 && out >= most {
            self.counts.rejects.inc();
            let reason = format!("concurrent queries exceeded maximum {most}");
            return Step::Done(Err(QueryError { rcode: Rcode::REFUSED, reason, by: NAME }));
        }
        let Some(message) = message::of(query) else {
            return Step::Done(Err(QueryError { rcode: Rcode::FORMERR, reason: "not one question".into(), by: NAME }));
        };
        let transport = query.request.transport;
        let by = match () {
            () if self.options.force_tcp => By::Tcp,
            // Not every upstream has TCP.
            () if self.options.prefer_udp || query.refreshes || transport.is_datagram() => By::Udp,
            () => By::Tcp,
        };
        let (answer, label) = match self.ask(query, &message, by).await {
            Ok(answered) => answered,
            Err(failure) => return Step::Done(Err(failure)),
        };
        query.note(|| format!("{label} answered"));
        if query.block.config.metadata.is_some() {
            query.metadata.insert("forward/upstream".into(), label.to_owned());
        }
        let reply = Reply::relayed(answer, NAME);
        if !is_last && self.goes_on(&reply) {
            return Step::Next;
        }
        Step::Done(Ok(Some(reply)))
    }

    /// Whether the next directive is to be asked after this answer.
    fn goes_on(&self, reply: &Reply) -> bool {
        let rcode = reply.rcode();
        let Body::Wire(bytes) = &reply.body else { return false };
        let is_empty = bytes.get(6..8) == Some(&[0, 0]);
        self.options.next.contains(&rcode) || (self.options.next_on_nodata && rcode == Rcode::NOERROR && is_empty)
    }

    /// Asks one upstream after the other; gives the answer and the upstream that gave it.
    async fn ask(&self, query: &Query, message: &[u8], by: By) -> Result<(Vec<u8>, &str), QueryError> {
        let order = self.policy.order(self.proxies.len());
        let count = order.len();
        let most = self.options.max_connect_attempts.map_or(2 * count as u64, u64::from);
        let began = Instant::now();
        let (mut at, mut passed, mut failovers, mut attempts) = (0, 0, 0, 0);
        let mut trouble = None;
        while began.elapsed() < DEADLINE && (most == 0 || attempts < most) {
            if at >= count {
                (at, passed) = (0, 0);
            }
            let mut proxy = &self.proxies[order[at]];
            at += 1;
            if proxy.is_down(self.options.max_fails) {
                passed += 1;
                if passed < count {
                    continue;
                }
                self.counts.broken.inc();
                if self.options.failfast {
                    break;
                }
                // All are: then it may be the checks that fail.
                proxy = &self.proxies[fastrand::usize(..count)];
            }
            match self.ask_one(query, proxy, message, by).await {
                Ok(answer) => {
                    let rcode = proxy::rcode(&answer);
                    if self.options.failover.contains(&rcode) {
                        failovers += 1;
                        if failovers < count {
                            continue;
                        }
                    }
                    return Ok((answer, &proxy.label));
                }
                Err(UpstreamError::Question) => {
                    return Err(QueryError {
                        rcode: Rcode::FORMERR,
                        reason: UpstreamError::Question.to_string(),
                        by: NAME,
                    });
                }
                Err(other) => {
                    if self.options.max_fails > 0 {
                        proxy.check();
                    }
                    trouble = Some((other, if proxy.has_tls() { By::Tcp } else { by }));
                    attempts += 1;
                    if passed >= count {
                        break;
                    }
                }
            }
        }
        let reason = trouble.map_or_else(|| words::NO_HEALTHY.to_owned(), |(trouble, by)| words::of(&trouble, by));
        Err(QueryError::servfail(NAME, reason))
    }

    async fn ask_one(&self, query: &Query, proxy: &Proxy, message: &[u8], by: By) -> Result<Vec<u8>, UpstreamError> {
        let answer = self.ask_and_tap(query, proxy, message, by).await?;
        let is_cut = answer.get(2).is_some_and(|flags| flags & 0x02 != 0);
        if is_cut && by == By::Udp && (self.options.prefer_udp || query.refreshes) {
            return self.ask_and_tap(query, proxy, message, By::Tcp).await;
        }
        Ok(answer)
    }

    async fn ask_and_tap(
        &self,
        query: &Query,
        proxy: &Proxy,
        message: &[u8],
        by: By,
    ) -> Result<Vec<u8>, UpstreamError> {
        let taps = &query.block.config.taps;
        if taps.is_empty() {
            return proxy.ask(message, by).await;
        }
        let asked_at = SystemTime::now();
        let outcome = proxy.ask(message, by).await;
        let transport = if by == By::Udp { Transport::Udp } else { Transport::Tcp };
        let answer = outcome.as_deref().ok();
        let exchange = Exchange { from: None, to: proxy.address(), transport, asked_at, question: message, answer };
        taps.iter().for_each(|tap| tap.forwarded(query, exchange));
        outcome
    }
}
