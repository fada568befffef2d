//! What is counted: CoreDNS's series, and some of ours.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::NAME;
use crate::upstream::{AnswerError, By, Watcher};
use crate::wire::Rcode;
use bowline_observe::metrics::{Counter, Histogram, Registry};

/// CoreDNS's bounds for times, in seconds: doubling from a quarter of a millisecond.
const SECONDS: &[f64] = &[
    0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192,
];

/// Of all directives together.
pub(super) struct Counts {
    pub(super) broken: Arc<Counter>,
    pub(super) rejects: Arc<Counter>,
    pub(super) looping: Arc<Counter>,
}

impl Counts {
    pub(super) fn new(metrics: &Registry) -> Counts {
        Counts {
            broken: metrics.counter(
                "coredns_forward_healthcheck_broken_total",
                "Counter of the number of complete failures of the healthchecks.",
                &[],
            ),
            rejects: metrics.counter(
                "coredns_forward_max_concurrent_rejects_total",
                "Counter of the number of queries rejected because the concurrent queries were at maximum.",
                &[],
            ),
            looping: metrics.counter(
                "bowline_dns_forward_looping_total",
                "Questions answered SERVFAIL because their upstream leads back to this server.",
                &[],
            ),
        }
    }
}

/// The least time between two lines in the log about answers of one upstream.
const BETWEEN: Duration = Duration::from_secs(10);

/// Rcodes that have a place of their own; others are looked up each time.
const RCODES: usize = 24;

/// Of one upstream. As in CoreDNS a series is there from its first count on.
pub(super) struct Series {
    metrics: Arc<Registry>,
    to: String,
    is_tls: bool,
    seconds: [OnceLock<Arc<Histogram>>; RCODES],
    /// By protocol; first those that had to be opened, then those that were open.
    taken: [[OnceLock<Arc<Counter>>; 2]; 2],
    failures: OnceLock<Arc<Counter>>,
    malformed: OnceLock<Arc<Counter>>,
    cut: OnceLock<Arc<Counter>>,
    /// When a flaw was logged last, and how many came since.
    logged: Mutex<(Option<Instant>, u64)>,
}

impl Series {
    pub(super) fn new(metrics: Arc<Registry>, to: &str, is_tls: bool) -> Series {
        Series {
            metrics,
            to: to.to_owned(),
            is_tls,
            seconds: Default::default(),
            taken: Default::default(),
            failures: OnceLock::new(),
            malformed: OnceLock::new(),
            cut: OnceLock::new(),
            logged: Mutex::default(),
        }
    }

    /// A question was answered.
    pub(super) fn answered(&self, rcode: Rcode, seconds: f64) {
        match self.seconds.get(usize::from(rcode.0)) {
            Some(place) => place.get_or_init(|| self.histogram(rcode)).observe(seconds),
            None => self.histogram(rcode).observe(seconds),
        }
    }

    fn histogram(&self, rcode: Rcode) -> Arc<Histogram> {
        // Go prints the number of a code without a name.
        let name = rcode.to_string();
        let name = name.strip_prefix("RCODE").unwrap_or(&name);
        self.metrics.histogram(
            "coredns_proxy_request_duration_seconds",
            "Histogram of the time each request took.",
            SECONDS,
            &[("proxy_name", NAME), ("to", &self.to), ("rcode", name)],
        )
    }

    fn counter_of_taken(&self, by: By, was_open: bool) -> Arc<Counter> {
        let proto = match by {
            By::Udp => "udp",
            By::Tcp if self.is_tls => "tcp-tls",
            By::Tcp => "tcp",
        };
        let (name, help) = if was_open {
            ("coredns_proxy_conn_cache_hits_total", "Counter of connection cache hits per upstream and protocol.")
        } else {
            ("coredns_proxy_conn_cache_misses_total", "Counter of connection cache misses per upstream and protocol.")
        };
        self.metrics.counter(name, help, &[("proxy_name", NAME), ("to", &self.to), ("proto", proto)])
    }

    /// A health check failed.
    pub(super) fn check_failed(&self) {
        let counter = || {
            self.metrics.counter(
                "coredns_proxy_healthcheck_failures_total",
                "Counter of the number of failed healthchecks.",
                &[("proxy_name", NAME), ("to", &self.to)],
            )
        };
        self.failures.get_or_init(counter).inc();
    }
}

impl Watcher for Series {
    fn taken(&self, by: By, was_open: bool) {
        let place = &self.taken[usize::from(by == By::Tcp)][usize::from(was_open)];
        place.get_or_init(|| self.counter_of_taken(by, was_open)).inc();
    }

    fn flawed(&self, flaw: AnswerError) {
        let (place, name, help) = if flaw == AnswerError::Cut {
            let help =
                "Answers of an upstream that had lost their end without saying so; clients are told to ask by TCP.";
            (&self.cut, "bowline_dns_forward_cut_answers_total", help)
        } else {
            let help = "Answers of an upstream that were malformed, or not to what was asked, and were not used.";
            (&self.malformed, "bowline_dns_forward_malformed_answers_total", help)
        };
        place.get_or_init(|| self.metrics.counter(name, help, &[("to", &self.to)])).inc();
        // A server of which one answer is bad has many such.
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.0.is_some_and(|last| last.elapsed() < BETWEEN) {
            logged.1 += 1;
            return;
        }
        let more = std::mem::take(&mut logged.1);
        logged.0 = Some(Instant::now());
        drop(logged);
        let what = if flaw == AnswerError::Cut { "cut" } else { "malformed" };
        tracing::warn!(upstream = self.to, reason = %flaw, more, "plugin/forward: an answer is {what}; it is not passed on");
    }
}
