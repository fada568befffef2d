//! `dnstap`: sends what is asked and answered to programs that record it (dnstap.info).
//!
//! A message is encoded where it is seen and handed on without waiting; a task of its own writes it. What comes faster
//! than that can write is dropped, counted and told.
//!
//! ```text
//! serve -> tap (protobuf) -> bounded queue -> sink (frame streams) -> unix:, tcp:, tls:
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::tls;
use crate::corefile::{CorefileError, Directive};
use crate::plugin::{Building, Next, Plugin, Query, Upstreams};
use crate::plugins::shared::format::{Asked, Format};
use crate::reply::{Body, Outcome, Serving};

mod connect;
mod frames;
mod payload;
mod sink;
mod tap;
#[cfg(test)]
mod tests;

use connect::Endpoint;
use tap::Tap;

/// Messages that may wait, times what the Corefile says.
const QUEUE: usize = 10_000;
/// Most of these times.
const MOST_QUEUES: usize = 4096;
/// Most MiB of a socket's buffer.
const MOST_BUFFER: usize = 1024;

struct Dnstap {
    taps: Vec<Arc<Tap>>,
    describe: String,
}

/// `dnstap [listen] SOCKET [full] [writebuffer] [queue] { identity; version; extra; skipverify; tls }`
///
/// # Errors
/// The socket can't be read, or an option is wrong.
pub fn set_up(
    building: &mut Building<'_>,
    directives: &[&Directive],
) -> Result<Option<Arc<dyn Plugin>>, CorefileError> {
    let mut taps = Vec::new();
    let mut sockets = Vec::new();
    for directive in directives {
        let (endpoint, tap) = read(building, directive)?;
        sockets.push(endpoint.to_string());
        let (tap, task) = tap.start(endpoint, &building.services.metrics);
        building.spawn("dnstap", task);
        taps.push(Arc::new(tap));
    }
    building.block.taps = taps.iter().map(|tap| tap.clone() as Arc<dyn Upstreams>).collect();
    Ok(Some(Arc::new(Dnstap { taps, describe: format!("tells {}", sockets.join(", ")) })))
}

/// What a tap is made of.
struct Plan {
    identity: Vec<u8>,
    version: Vec<u8>,
    extra: Option<Format>,
    is_full: bool,
    queue: usize,
}

impl Plan {
    fn start(
        self,
        endpoint: Endpoint,
        metrics: &bowline_observe::metrics::Registry,
    ) -> (Tap, impl Future<Output = ()> + Send + use<>) {
        let help = "Counter of dnstap messages that were dropped, as they came faster than they were taken.";
        let dropped = metrics.counter("bowline_dns_dnstap_dropped_total", help, &[]);
        let (sink, task) = sink::start(endpoint, self.queue, dropped);
        let Plan { identity, version, extra, is_full, .. } = self;
        (Tap { identity, version, extra, is_full, sink }, task)
    }
}

fn read(building: &Building<'_>, directive: &Directive) -> Result<(Endpoint, Plan), CorefileError> {
    let mut args = directive.args.iter().map(String::as_str).peekable();
    let listens = args.next_if_eq(&"listen").is_some();
    let Some(socket) = args.next() else {
        return Err(directive.error("names no socket; write a path, tcp://HOST:PORT or tls://HOST:PORT"));
    };
    // CoreDNS takes any word in the place of `full`, and means the opposite.
    let is_full = match args.next() {
        None => false,
        Some("full") => true,
        Some(other) => return Err(directive.error(format!("{other:?} stands where only full may"))),
    };
    let mut factor = |what: &str, most: usize| match args.next() {
        None => Ok(1),
        Some(arg) => match arg.parse() {
            Ok(factor) if (1..=most).contains(&factor) => Ok(factor),
            _ => Err(directive.error(format!("{arg:?} is no {what} from 1 to {most}"))),
        },
    };
    let buffer = factor("write buffer in MiB", MOST_BUFFER)? << 20;
    let queue = factor("multiple of 10000 messages", MOST_QUEUES)? * QUEUE;
    if args.next().is_some() {
        return Err(directive.error("has too many arguments"));
    }
    let mut plan = Plan {
        identity: rustix::system::uname().nodename().to_bytes().to_vec(),
        version: format!("Bowline-{}", building.services.version).into_bytes(),
        extra: None,
        is_full,
        queue,
    };
    let (mut skips, mut certificate) = (None, None);
    for option in directive.body() {
        match option.name.as_str() {
            "identity" => plan.identity = option.one_arg()?.as_bytes().to_vec(),
            "version" => plan.version = option.one_arg()?.as_bytes().to_vec(),
            "extra" => plan.extra = Some(Format::parse(option.one_arg()?)),
            "skipverify" => {
                option.no_args()?;
                skips = Some(option);
            }
            "tls" if listens => {
                let paths: Vec<PathBuf> = option.args_between(2, 3)?.iter().map(|arg| building.path(arg)).collect();
                certificate = Some((option, paths));
            }
            "tls" => return Err(option.error("is for dnstap listen; remove it")),
            _ => return Err(option.unknown_option(&["identity", "version", "extra", "skipverify", "tls"])),
        }
    }
    let endpoint = if listens {
        let tls = match certificate {
            Some((option, paths)) => {
                let config = tls::of_listener(&paths, skips.is_some()).map_err(|text| option.error(text))?;
                Some(Arc::new(config))
            }
            None => None,
        };
        Endpoint::listening(socket, tls, |path| building.path(path))
    } else {
        Endpoint::connecting(socket, skips.is_some(), buffer, |path| building.path(path))
    };
    Ok((endpoint.map_err(|text| directive.error(text))?, plan))
}

impl Plugin for Dnstap {
    fn name(&self) -> &'static str {
        "dnstap"
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> Serving<'a> {
        Box::pin(async move {
            let (asked_at, asked) = (SystemTime::now(), Asked::of(query));
            let raw = self.taps.iter().any(|tap| tap.is_full).then(|| match query.depth {
                0 => query.request.raw.clone(),
                _ => written(&query.to_message()),
            });
            for tap in &self.taps {
                tap.asked(query, &asked, raw.as_deref(), asked_at);
            }
            let outcome = next.run(query).await;
            if !matches!(outcome, Ok(None)) {
                let raw = self.taps.iter().any(|tap| tap.is_full).then(|| answer(query, &outcome));
                for tap in &self.taps {
                    tap.answered(query, &asked, raw.as_deref(), asked_at);
                }
            }
            outcome
        })
    }

    fn describe(&self) -> String {
        self.describe.clone()
    }
}

fn written(message: &crate::wire::Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    bytes
}

/// The bytes of an answer, as they are here; the server still adds EDNS and may shorten it.
fn answer(query: &Query, outcome: &Outcome) -> Vec<u8> {
    match outcome {
        Ok(None) => Vec::new(),
        Ok(Some(reply)) => match &reply.body {
            Body::Message(message) => written(message),
            Body::Wire(bytes) => {
                let mut bytes = bytes.clone();
                if let Some(id) = bytes.first_chunk_mut::<2>() {
                    *id = query.request.message.id.to_be_bytes();
                }
                bytes
            }
        },
        Err(failure) => {
            let mut message = query.reply();
            message.set_rcode(failure.rcode);
            written(&message)
        }
    }
}
