//! The series of one zone at one address. Each is made when it first counts; from then on counting takes no lock and
//! no allocation.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::address::Address;
use crate::fast::{Answered, Meter};
use crate::wire::{Message, Rcode, Type};
use bowline_observe::metrics::{Counter, Histogram, Registry, TIME_BUCKETS};

/// Upper ends of buckets for sizes, in bytes.
const SIZES: &[f64] = &[0.0, 100.0, 200.0, 300.0, 400.0, 511.0, 1023.0, 2047.0, 4095.0, 8291.0, 16e3, 32e3, 48e3, 64e3];

/// The types that have series of their own.
const TYPES: [Type; 19] = [
    Type::A,
    Type::AAAA,
    Type::SRV,
    Type::PTR,
    Type::CNAME,
    Type::TXT,
    Type::HTTPS,
    Type::SOA,
    Type::NS,
    Type::MX,
    Type::SVCB,
    Type::DS,
    Type::DNSKEY,
    Type::NSEC,
    Type::NSEC3,
    Type::RRSIG,
    Type::IXFR,
    Type::AXFR,
    Type::ANY,
];
/// All types, the last standing for the others; by family and protocol.
const KINDS: usize = (TYPES.len() + 1) * 4;
/// Plugins that answer in one zone; further ones are counted by way of the registry.
const PLUGINS: usize = 16;
/// Rcodes that a message without EDNS can have.
const RCODES: usize = 16;

type Slot<T> = OnceLock<Arc<T>>;

/// The answers of one plugin, by rcode.
struct Answers {
    by: &'static str,
    rcodes: [Slot<Counter>; RCODES],
}

/// The series of one zone at one address.
pub(super) struct Counters {
    registry: Arc<Registry>,
    server: String,
    zone: String,
    view: String,
    requests: Box<[Slot<Counter>; KINDS]>,
    dnssec: Slot<Counter>,
    duration: Slot<Histogram>,
    /// By protocol.
    request_size: [Slot<Histogram>; 2],
    response_size: [Slot<Histogram>; 2],
    /// By plugin, in the order in which they answered first.
    responses: Box<[OnceLock<Answers>; PLUGINS]>,
}

impl Counters {
    pub(super) fn new(registry: Arc<Registry>, server: &Address, zone: &str, view: &str) -> Counters {
        Counters {
            registry,
            server: server.to_string(),
            zone: zone.to_owned(),
            view: view.to_owned(),
            requests: Box::new([const { OnceLock::new() }; KINDS]),
            dnssec: OnceLock::new(),
            duration: OnceLock::new(),
            request_size: Default::default(),
            response_size: Default::default(),
            responses: Box::new([const { OnceLock::new() }; PLUGINS]),
        }
    }

    /// The labels that all have, and these.
    fn with<T, const N: usize>(&self, more: [(&str, &str); N], make: impl FnOnce(&[(&str, &str)]) -> T) -> T {
        let mut labels = vec![("server", &*self.server), ("zone", &*self.zone), ("view", &*self.view)];
        labels.extend(more);
        make(&labels)
    }

    fn request(&self, kind: usize, type_: usize, proto: &str, family: &str) -> &Counter {
        self.requests[kind].get_or_init(|| {
            let rtype = TYPES.get(type_).map_or("other".to_owned(), Type::to_string);
            let help = "Counter of DNS requests made per zone, protocol and family.";
            let more = [("proto", proto), ("family", family), ("type", &*rtype)];
            self.with(more, |labels| self.registry.counter("coredns_dns_requests_total", help, labels))
        })
    }

    fn size<'a>(
        &self,
        slot: &'a Slot<Histogram>,
        name: &'static str,
        help: &'static str,
        proto: &str,
    ) -> &'a Histogram {
        slot.get_or_init(|| self.with([("proto", proto)], |labels| self.registry.histogram(name, help, SIZES, labels)))
    }

    fn make_response(&self, rcode: Rcode, by: &str) -> Arc<Counter> {
        let help = "Counter of response status codes.";
        let more = [("rcode", &*rcode.to_string()), ("plugin", by)];
        self.with(more, |labels| self.registry.counter("coredns_dns_responses_total", help, labels))
    }

    fn count_response(&self, rcode: Rcode, by: &'static str) {
        for slot in &*self.responses {
            let answers = slot.get_or_init(|| Answers { by, rcodes: Default::default() });
            if answers.by == by
                && let Some(slot) = answers.rcodes.get(usize::from(rcode.0))
            {
                return slot.get_or_init(|| self.make_response(rcode, by)).inc();
            } else if answers.by == by {
                break;
            }
        }
        self.make_response(rcode, by).inc();
    }
}

impl Meter for Counters {
    fn answered(&self, answered: &Answered) {
        let proto = answered.transport.proto();
        let stream = usize::from(proto != "udp");
        let family = usize::from(answered.is_ipv6);
        let type_ = TYPES.iter().position(|rtype| *rtype == answered.rtype).unwrap_or(TYPES.len());
        let kind = type_ * 4 + family * 2 + stream;
        self.request(kind, type_, proto, if answered.is_ipv6 { "2" } else { "1" }).inc();
        if answered.dnssec_ok {
            let counter = self.dnssec.get_or_init(|| {
                let help = "Counter of DNS requests with DO bit set per zone.";
                self.with([], |labels| self.registry.counter("coredns_dns_do_requests_total", help, labels))
            });
            counter.inc();
        }
        let duration = self.duration.get_or_init(|| {
            let (name, help) = (
                "coredns_dns_request_duration_seconds",
                "Histogram of the time (in seconds) each request took per zone.",
            );
            self.with([], |labels| self.registry.histogram(name, help, TIME_BUCKETS, labels))
        });
        duration.observe(answered.seconds);
        let help = "Size of the EDNS0 UDP buffer in bytes (64K for TCP) per zone and protocol.";
        let request_size = self.size(&self.request_size[stream], "coredns_dns_request_size_bytes", help, proto);
        request_size.observe(answered.request_bytes as f64);
        let help = "Size of the returned response in bytes.";
        let response_size = self.size(&self.response_size[stream], "coredns_dns_response_size_bytes", help, proto);
        response_size.observe(answered.response_bytes as f64);
        self.count_response(answered.rcode, answered.by);
    }
}

/// Counters by address, made when first asked for.
#[derive(Default)]
pub(super) struct ByAddress(RwLock<HashMap<Address, Arc<Counters>>>);

impl ByAddress {
    pub(super) fn of(&self, address: &Address, make: impl FnOnce() -> Counters) -> Arc<Counters> {
        if let Some(found) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(address) {
            return found.clone();
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.entry(*address).or_insert_with(|| Arc::new(make())).clone()
    }
}

/// How long a message is when it is written.
pub(super) fn length(message: &Message) -> usize {
    thread_local!(static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        message.write(scratch);
        scratch.len()
    })
}
