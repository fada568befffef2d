//! What listens at one address: it chooses the server block for a question and runs its plugins.
//!
//! ```text
//! Corefile -> Instance -> Server (an address) -> Block (zones) -> plugins
//! ```
//!
//! The block is the one whose zone is the longest that the name is within; of several with one zone (views) the first
//! whose filter takes the question.

use std::collections::HashMap;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use crate::address::Address;
use crate::caught;
use crate::cookie;
use crate::fast::{Fast, Step};
use crate::plugin::{Block, Next, Query, Request, Responder, Services, Timeouts};
use crate::reply::{Further, Outcome, QueryError, Serving};
use crate::wire::message::{Message, Question};
use crate::wire::name::Name;
use crate::wire::types::{Class, Opcode, Rcode, Type};

mod at_once;
mod finish;
mod http;
mod https;
pub mod instance;
mod listen;
#[cfg(test)]
mod panic_tests;
mod pulse;
mod quic;
mod responses;
mod running;
mod secure;
#[cfg(test)]
pub(crate) mod secure_testing;
mod stream;
mod tasks;
#[cfg(test)]
mod tests;
mod udp;
mod worker;

pub use instance::Instance;
pub use pulse::Pulse;
pub use running::{Ahead, Prepare, Running, ServeError, Settings};
pub use worker::Workers;

/// A block at one of its zones.
#[derive(Clone, Debug)]
struct Entry {
    zone: Name,
    block: Arc<Block>,
}

type Zones = HashMap<Box<[u8]>, Vec<Entry>, foldhash::fast::RandomState>;

/// What listens at one address.
#[derive(Debug)]
pub struct Server {
    /// The address.
    pub address: Address,
    /// By zone in lower case, in wire form.
    zones: Zones,
    /// Bit n: there is a zone of n labels.
    depths: u128,
    /// Some plugin answers questions of other classes than IN.
    takes_any_class: bool,
    /// Which block takes a question may depend on the cluster's state: its metadata, which a view looks at.
    chooses_by_state: bool,
    services: Arc<Services>,
    secure: secure::Secure,
}

impl Server {
    /// A server of these blocks, each at these of its zones.
    pub fn new(address: Address, blocks: Vec<(Name, Arc<Block>)>, services: Arc<Services>) -> Server {
        let takes_any_class = blocks.iter().any(|(_, block)| block.config.takes_any_class);
        let chooses_by_state = blocks.iter().any(|(_, block)| {
            let has_state = block.plugins.iter().any(|plugin| plugin.cluster().is_some());
            has_state && block.config.view.is_some() && block.config.metadata.is_some()
        });
        let mut zones = Zones::default();
        let mut depths = 0;
        for (zone, block) in blocks {
            depths |= 1 << zone.label_count().min(127);
            zones.entry(zone.to_lower().as_wire().into()).or_default().push(Entry { zone, block });
        }
        let secure = secure::Secure::default();
        let mut server = Server { address, zones, depths, takes_any_class, chooses_by_state, services, secure };
        let tls = server.blocks().find_map(|(_, block)| block.config.tls.clone());
        if let Some(tls) = tls {
            server.secure = secure::Secure::new(address.transport, &tls, server.timeouts().idle);
        }
        server
    }

    /// What it is served with, beyond plain DNS.
    fn secure(&self) -> &secure::Secure {
        &self.secure
    }

    /// Its blocks, each once for each zone.
    pub fn blocks(&self) -> impl Iterator<Item = (&Name, &Arc<Block>)> {
        self.zones.values().flatten().map(|entry| (&entry.zone, &entry.block))
    }

    /// Answers a plain question at once, or says that it must take the long way.
    pub fn fast<'a>(&'a self, fast: &mut Fast<'a>) -> Step {
        let plain = fast.plain;
        // A DS record stands in the zone above (RFC 4035 §3.1.4.1).
        if plain.rtype() == Type::DS {
            return Step::Slow;
        }
        for skipped in 0..=plain.labels() {
            if self.depths & 1 << (plain.labels() - skipped) == 0 {
                continue;
            }
            let Some(entries) = self.zones.get(plain.suffix(skipped)) else { continue };
            let [Entry { block, .. }] = &entries[..] else { return Step::Slow };
            if block.config.view.is_some() || block.config.metadata.is_some() {
                return Step::Slow;
            }
            fast.server = Some(&self.address);
            fast.answer_cookie(&self.services.cookies);
            for plugin in &block.plugins {
                match plugin.fast(fast) {
                    Step::Pass => {}
                    Step::Slow => return Step::Slow,
                    Step::Answered => {
                        fast.counted();
                        return Step::Answered;
                    }
                }
            }
            return Step::Slow;
        }
        Step::Slow
    }

    /// The long way: a message in, the bytes of its answer out; None where nothing is said.
    pub async fn answer(self: &Arc<Server>, request: Request) -> Option<Vec<u8>> {
        self.answer_stream(request, &mut None).await
    }

    /// The same for a transport that can carry several messages: `further` becomes those that follow the first.
    pub async fn answer_stream(
        self: &Arc<Server>,
        mut request: Request,
        further: &mut Option<Further>,
    ) -> Option<Vec<u8>> {
        match Message::read(&request.raw) {
            Ok(message) => request.message = message,
            Err(_) => return finish::format_error(&request.raw),
        }
        self.answer_read(request, further).await
    }

    /// The same where the request's message was read already.
    async fn answer_read(self: &Arc<Server>, mut request: Request, further: &mut Option<Further>) -> Option<Vec<u8>> {
        if request.message.flags.qr() {
            return None; // An answer: to answer it would be a loop.
        }
        let asked = cookie::Asked::of(request.message.edns.as_ref());
        let cookies = &self.services.cookies;
        request.cookie = asked.ok().flatten().map(|asked| cookies.answer(&asked, request.from.ip()));
        let message = &request.message;
        let refusal = match message.flags.opcode() {
            Opcode::QUERY | Opcode::NOTIFY => None,
            _ => Some(Rcode::NOTIMP),
        };
        let Some(question) = message.questions.first().cloned() else {
            let rcode = match asked {
                Ok(Some(asked)) if cookie::is_alone(message) => {
                    let is_wrong = asked.has_server() && !cookies.is_ours(&asked, request.from.ip());
                    if is_wrong { Rcode::BADCOOKIE } else { Rcode::NOERROR }
                }
                _ => refusal.unwrap_or(Rcode::FORMERR),
            };
            return finish::bare(&request, rcode);
        };
        if let Some(rcode) = refusal {
            return finish::bare(&request, rcode);
        }
        if finish::counts_too_much(&request.raw) {
            return finish::format_error(&request.raw);
        }
        if question.class != Class::IN && !self.takes_any_class {
            self.count_dropped(&request, Rcode::REFUSED);
            return finish::bare(&request, Rcode::REFUSED);
        }
        // RFC 6891 §6.1.3: what another version means isn't known.
        if message.edns.as_ref().is_some_and(|edns| edns.version != 0) {
            return finish::bare(&request, Rcode::BADVERS);
        }
        if asked.is_err() {
            return finish::bare(&request, Rcode::FORMERR);
        }
        let Some(entry) = self.zones.values().flatten().next().cloned() else {
            return finish::bare(&request, Rcode::REFUSED);
        };
        let mut query = self.query(Rc::new(request), question, entry);
        // A defect in one plugin must not take the thread with it.
        let outcome = {
            let mut serving = pin!(self.choose_and_serve(&mut query));
            caught::catch_all(serving.as_mut()).await
        };
        let mut outcome = outcome.unwrap_or_else(|| {
            self.panicked(&query);
            Err(QueryError::bare("", Rcode::SERVFAIL))
        });
        if let Ok(Some(reply)) = &mut outcome {
            *further = reply.further.take();
        }
        caught::catch(|| finish::finish(&query, outcome)).unwrap_or_else(|| {
            self.panicked(&query);
            finish::bare(&query.request, Rcode::SERVFAIL)
        })
    }

    fn panicked(&self, query: &Query) {
        self.services.panics.inc();
        tracing::error!(name = %query.name(), rtype = %query.rtype(), "a plugin panicked; the client gets SERVFAIL");
    }

    /// A query at the start of its way. `entry` is set anew when the block is chosen.
    fn query(self: &Arc<Server>, request: Rc<Request>, question: Question, entry: Entry) -> Query {
        let (edns, flags) = (request.message.edns.clone(), request.message.flags);
        Query {
            request,
            question,
            edns,
            flags,
            zone: entry.zone,
            server: self.clone(),
            block: entry.block,
            metadata: Default::default(),
            depth: 0,
            refreshes: false,
            trace: None,
        }
    }

    /// A query from nowhere but the command line: `bowline dns query` and `explain`. None if there is no block at all.
    pub fn question(self: &Arc<Server>, request: Request) -> Option<Query> {
        let question = request.message.questions.first().cloned()?;
        let entry = self.zones.values().flatten().next().cloned()?;
        Some(self.query(Rc::new(request), question, entry))
    }

    /// Chooses the block for a query and runs its plugins.
    pub async fn choose_and_serve(&self, query: &mut Query) -> Outcome {
        if self.chooses_by_state && query.depth == 0 && !query.is_dry() {
            self.services.feed.wait().await;
        }
        if !self.choose(query) {
            if query.depth == 0 {
                self.count_dropped(&query.request, Rcode::REFUSED);
            }
            return Err(QueryError::bare("", Rcode::REFUSED));
        }
        let block = query.block.clone();
        Next { plugins: &block.plugins }.run(query).await
    }

    /// Sets block and zone of a query; false if no block takes it.
    fn choose(&self, query: &mut Query) -> bool {
        let name = query.name().to_lower();
        let labels = name.label_count();
        let mut fallback = None;
        for skipped in 0..=labels {
            let depth = labels - skipped;
            if self.depths & 1 << depth.min(127) == 0 {
                continue;
            }
            let Some(entries) = self.zones.get(name.suffix(depth).as_wire()) else { continue };
            for entry in entries {
                (query.block, query.zone) = (entry.block.clone(), entry.zone.clone());
                query.metadata.clear();
                let collects = entry.block.config.metadata.as_ref();
                if collects.is_some_and(|zones| zones.of(&query.question.name).is_some()) {
                    let mut metadata = std::mem::take(&mut query.metadata);
                    entry.block.plugins.iter().for_each(|plugin| plugin.metadata(query, &mut metadata));
                    query.metadata = metadata;
                }
                if entry.block.config.view.as_ref().is_some_and(|view| !view.takes(query)) {
                    continue;
                }
                // A DS record stands in the zone above its name (RFC 4035 §3.1.4.1), if that is here. The root is not
                // meant: a server of it forwards, and would ask others for the zone's own.
                if query.rtype() != Type::DS || depth < labels && (depth > 0 || fallback.is_none()) {
                    return true;
                }
                fallback.get_or_insert((entry.clone(), query.metadata.clone()));
                break;
            }
        }
        let Some((entry, metadata)) = fallback else { return false };
        (query.block, query.zone, query.metadata) = (entry.block, entry.zone, metadata);
        true
    }

    fn count_dropped(&self, request: &Request, rcode: Rcode) {
        if let Some(dropped) = self.services.dropped.get() {
            dropped(&self.address, request, rcode);
        }
    }

    /// How long streams may take: as the first block with `timeouts` says.
    pub fn timeouts(&self) -> Timeouts {
        let timeouts = self.zones.values().flatten().map(|entry| entry.block.config.timeouts);
        timeouts.into_iter().find(|timeouts| *timeouts != Timeouts::default()).unwrap_or_default()
    }

    /// What all blocks share.
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }
}

impl Responder for Server {
    fn address(&self) -> &Address {
        &self.address
    }
    fn services(&self) -> &Arc<Services> {
        &self.services
    }
    fn serve<'a>(&'a self, query: &'a mut Query) -> Serving<'a> {
        Box::pin(self.choose_and_serve(query))
    }
}
