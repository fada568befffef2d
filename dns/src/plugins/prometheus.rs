//! `prometheus`: counts questions and answers, and shows all series of the process at `/metrics`.
//!
//! Names, labels and buckets are CoreDNS's. Its label `plugin` of `coredns_dns_responses_total` is the plugin that
//! answered, as CoreDNS's own page says; CoreDNS 1.14.7 prints the plugin that follows `prometheus`. Sizes of answers
//! are those of their messages; CoreDNS's are estimated before compression.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::address::{Address, Transport};
use crate::corefile::{CorefileError, Directive};
use crate::fast::{Answered, Fast, Meter as _, Step};
use crate::plugin::{Block, Building, Next, Plugin, Query};
use crate::reply::{Body, Outcome, Serving};
use crate::wire::{Name, Rcode};
use bowline_observe::metrics::Registry;
use bowline_observe::pages::Page;

mod counters;
mod enabled;
mod process;
#[cfg(test)]
mod tests;

use counters::Counters;
use enabled::Enabled;

/// Where the page is, where the Corefile doesn't say.
const ADDRESS: &str = "localhost:9153";
/// The same in the node agent: at the addresses of the node, where scrapers are.
const AGENTS_ADDRESS: &str = ":9153";
/// Go's client says so of its page.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
/// "Zone" of questions that no block took; no zone has such a name.
const DROPPED: &str = "dropped";

struct Prometheus {
    address: String,
    registry: Arc<Registry>,
    places: Arc<OnceLock<Vec<ServedAt>>>,
    enabled: Arc<Enabled>,
}

/// An address at which the block is served.
struct ServedAt {
    address: Address,
    /// By zone, the longest first.
    zones: Vec<(Name, Counters)>,
}

/// `prometheus [ADDRESS]`
///
/// # Errors
/// The address can't be read, or an option is not there.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let directive = crate::plugin::only_one(directives)?;
    let default = if building.services.is_agent() { AGENTS_ADDRESS } else { ADDRESS };
    let address = directive.args_between(0, 1)?.first().map_or(default, String::as_str);
    if let Some(option) = directive.body().first() {
        return Err(match option.name.as_str() {
            "runtime_metrics" => option.error("is for Go's runtime; remove it"),
            "tls" => option.error("the page is not served by TLS; remove it, and put a proxy in front"),
            _ => option.unknown_option(&[]),
        });
    }
    let registry = building.services.metrics.clone();
    super::local::counter(&registry);
    super::hosts::reloaded(&registry);
    let shown = registry.clone();
    let feed = building.services.feed.clone();
    let handler = move |_: &_| {
        feed.show_age();
        let body = shown.page() + &process::page();
        Page { status: 200, kind: CONTENT_TYPE, body }
    };
    building.page(address, "/metrics", Arc::new(handler)).map_err(|message| directive.error(message))?;
    let help = "A metric with a constant '1' value labeled by version, revision, and goversion from which CoreDNS was \
                built.";
    let labels = [("version", building.services.version), ("revision", ""), ("goversion", "")];
    registry.gauge("coredns_build_info", help, &labels).set(1.0);
    count_dropped(building);
    let enabled = Arc::new(Enabled::new(registry.clone(), &building.services.kept));
    let serving = enabled.clone();
    building.spawn("prometheus", async move { serving.show() });
    let places = Arc::default();
    Ok(Some(Arc::new(Prometheus { address: address.to_owned(), registry, places, enabled })))
}

/// Has the server tell of questions that no block takes.
fn count_dropped(building: &Building<'_>) {
    let registry = building.services.metrics.clone();
    let by_address = counters::ByAddress::default();
    let _ = building.services.dropped.set(Box::new(move |address, request, rcode| {
        let message = &request.message;
        let Some(question) = message.questions.first() else { return };
        let opt = if message.edns.is_some() { 11 } else { 0 };
        let answered = Answered {
            rtype: question.rtype,
            is_ipv6: request.from.is_ipv6(),
            transport: request.transport,
            dnssec_ok: message.edns.as_ref().is_some_and(|edns| edns.dnssec_ok),
            request_bytes: request.raw.len(),
            response_bytes: 12 + question.name.as_wire().len() + 4 + opt,
            rcode,
            by: "",
            seconds: request.received.elapsed().as_secs_f64(),
        };
        by_address.of(address, || Counters::new(registry.clone(), address, DROPPED, "")).answered(&answered);
    }));
}

impl Prometheus {
    /// The zones at an address.
    fn zones(&self, address: &Address) -> &[(Name, Counters)] {
        let places = self.places.get().map(Vec::as_slice).unwrap_or_default();
        places.iter().find(|place| place.address == *address).map_or(&[], |place| &place.zones)
    }
}

impl Plugin for Prometheus {
    fn name(&self) -> &'static str {
        "prometheus"
    }

    fn serves(&self, block: &Block, at: &[(Address, Name)]) {
        let view = block.config.view.as_ref().map_or("", |view| &view.name);
        let mut places: Vec<ServedAt> = Vec::new();
        for (address, zone) in at {
            let zone = zone.to_lower();
            self.enabled.add(address, &zone, view, block);
            let counters = Counters::new(self.registry.clone(), address, &zone.to_string(), view);
            match places.iter_mut().find(|place| place.address == *address) {
                Some(place) => place.zones.push((zone, counters)),
                None => places.push(ServedAt { address: *address, zones: vec![(zone, counters)] }),
            }
        }
        for place in &mut places {
            place.zones.sort_by_key(|(zone, _)| std::cmp::Reverse(zone.label_count()));
        }
        // Set up once.
        let _ = self.places.set(places);
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        Box::pin(async move {
            let zones = self.zones(query.server.address());
            let Some((_, counters)) = zones.iter().find(|(zone, _)| query.name().is_within(zone)) else {
                return next.run(query).await;
            };
            let began = Instant::now();
            let mut answered = asked(query);
            let outcome = next.run(query).await;
            (answered.rcode, answered.by, answered.response_bytes) = said(query, &outcome);
            answered.seconds = began.elapsed().as_secs_f64();
            counters.answered(&answered);
            outcome
        })
    }

    fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        let Some(address) = fast.server else { return Step::Slow };
        let zones = self.zones(address);
        match zones.iter().find(|(zone, _)| fast.before(zone.as_wire()).is_some()) {
            Some((_, counters)) => {
                fast.meter = Some(counters);
                Step::Pass
            }
            None => Step::Slow,
        }
    }

    fn describe(&self) -> String {
        format!("counts; the page is at http://{}/metrics", self.address)
    }
}

/// What there is to count of a question.
fn asked(query: &Query) -> Answered {
    let request = &query.request;
    // What a plugin asks of the whole server has no message: what it would be long.
    let asked_bytes = || 12 + query.name().as_wire().len() + 4 + if query.edns.is_some() { 11 } else { 0 };
    Answered {
        rtype: query.rtype(),
        is_ipv6: request.from.is_ipv6(),
        transport: request.transport,
        dnssec_ok: query.dnssec_ok(),
        request_bytes: if query.depth == 0 { request.raw.len() } else { asked_bytes() },
        response_bytes: 0,
        rcode: Rcode::NOERROR,
        by: "",
        seconds: 0.0,
    }
}

/// The rcode of an outcome, the plugin that answered, and the bytes of the message.
fn said(query: &Query, outcome: &Outcome) -> (Rcode, &'static str, usize) {
    let reply = match outcome {
        Ok(Some(reply)) => reply,
        Ok(None) => return (Rcode::NOERROR, "", 0),
        Err(failure) => return (failure.rcode, "", 0),
    };
    let bytes = match &reply.body {
        Body::Wire(bytes) => bytes.len(),
        Body::Message(message) => {
            let opt = if query.request.message.edns.is_some() && message.edns.is_none() { 11 } else { 0 };
            counters::length(message) + opt
        }
    };
    let most = if query.request.transport == Transport::Udp { query.size() } else { usize::from(u16::MAX) };
    (reply.rcode(), reply.by, bytes.min(most))
}
