//! `loop`: finds out whether what `forward` asks leads back to this server, as 127.0.0.53 in a resolv.conf does.
//!
//! Once the server listens, it asks itself for a random name of type HINFO. If that question comes by more than twice,
//! it goes round. Alone, the server then tells and ends, as CoreDNS does. In the node agent it must not: the looping
//! `forward` answers SERVFAIL from then on, until the Corefile is loaded anew, and all else goes on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::address::{Address, Transport};
use crate::corefile::{CorefileError, Directive};
use crate::plugin::{Block, Building, Next, Plugin, Query, Services, only_one};
use crate::reply::{QueryError, Serving, ready};
use crate::upstream::{By, Endpoint, single};
use crate::wire::{Message, Name, Question, Type};
use bowline_observe::metrics::Counter;

#[cfg(test)]
mod tests;

const NAME: &str = "loop";
/// How often the name may come by: by our own question, and once more where a server asks twice.
const TWICE: u32 = 2;
/// How long the question is tried.
const TRIED: Duration = Duration::from_secs(30);
/// Between two tries, and for an answer.
const EACH: Duration = Duration::from_secs(2);

struct Loop {
    zone: Name,
    probe: Name,
    seen: AtomicU32,
    /// The question was answered, so there is no loop.
    is_over: AtomicBool,
    /// Where this server is asked.
    address: OnceLock<SocketAddr>,
    /// Told to `forward`.
    looping: Arc<AtomicBool>,
    found: Arc<Counter>,
    services: Arc<Services>,
}

/// `loop`, once in a block.
///
/// # Errors
/// It is there twice, or has arguments.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let directive = only_one(directives)?;
    directive.no_args()?;
    directive.no_body()?;
    let zone = building.zones.first().cloned().unwrap_or_default();
    let random = || fastrand::u64(..1 << 62).to_string();
    let probe = zone.prepend(random().as_bytes()).and_then(|name| name.prepend(random().as_bytes()));
    let probe = probe.map_err(|error| directive.error(format!("{zone} has no room for a probe below it: {error}")))?;
    let help = "Forwarding loops that were found.";
    let plugin = Arc::new(Loop {
        zone,
        probe,
        seen: AtomicU32::new(0),
        is_over: AtomicBool::new(false),
        address: OnceLock::new(),
        looping: building.block.looping.clone(),
        found: building.services.metrics.counter("bowline_dns_loops_total", help, &[]),
        services: building.services.clone(),
    });
    building.spawn(NAME, plugin.clone().probe());
    Ok(Some(plugin))
}

impl Loop {
    /// Asks this server, until it answers.
    async fn probe(self: Arc<Loop>) {
        let mut message = Message::default();
        message.flags.set_rd(true);
        message.questions.push(Question::new(self.probe.clone(), Type::HINFO));
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        let began = Instant::now();
        while let Some(address) = self.address.get().filter(|_| began.elapsed() < TRIED) {
            let endpoint = Endpoint { address: *address, tls: None };
            match single::ask(&endpoint, None, &bytes, By::Udp, EACH).await {
                Ok(_) => break,
                Err(error) => {
                    tracing::debug!(%address, %error, "loop: no answer to the probe yet");
                    // What came by belongs to a question that was lost, unless it went round.
                    if !self.looping.load(Ordering::Relaxed) {
                        self.seen.store(0, Ordering::Relaxed);
                    }
                    tokio::time::sleep(EACH / 2).await;
                }
            }
        }
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// The probe went round.
    fn tell(&self, from: SocketAddr) -> QueryError {
        if !self.looping.swap(true, Ordering::Relaxed) {
            self.found.inc();
            let zone = &self.zone;
            let reason = format!(
                "forwarding of {zone} leads back to this server (the probe HINFO {} came from {from}): \
                 let forward ask another server than this host; a resolv.conf with a loopback address is the usual cause",
                self.probe
            );
            if self.services.is_agent() {
                tracing::error!("loop: {reason}; it is answered SERVFAIL until the Corefile is loaded anew");
            } else {
                tracing::error!("loop: {reason}");
                self.services.end(format!("loop: {reason}"));
            }
        }
        QueryError::servfail(NAME, "forwarding leads back to this server")
    }
}

impl Plugin for Loop {
    fn name(&self) -> &'static str {
        NAME
    }

    fn serves(&self, _: &Block, at: &[(Address, Name)]) {
        let plain = at.iter().find(|(address, _)| address.transport == Transport::Udp);
        if let Some((address, _)) = plain {
            let host = address.host.filter(|host| !host.is_unspecified());
            let host = host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
            // Set up once.
            let _ = self.address.set(SocketAddr::new(host, address.port));
        }
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        let is_probe = query.rtype() == Type::HINFO
            && !query.is_dry()
            && !self.is_over.load(Ordering::Relaxed)
            && *query.name() == self.probe;
        if is_probe && self.seen.fetch_add(1, Ordering::Relaxed) >= TWICE {
            return ready(Err(self.tell(query.request.from)));
        }
        next.run(query)
    }

    fn fast<'a>(&'a self, fast: &mut crate::fast::Fast<'a>) -> crate::fast::Step {
        if fast.plain.rtype() == Type::HINFO { crate::fast::Step::Slow } else { crate::fast::Step::Pass }
    }

    fn describe(&self) -> String {
        format!("probes {} once the server listens", self.zone)
    }
}
