//! A question on its way through the plugins.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::{Block, Services};
use crate::address::{Address, Transport};
use crate::cookie::Cookie;
use crate::reply::{QueryError, Serving, flags_of_answer, ready};
use crate::wire::edns::Edns;
use crate::wire::message::{Flags, Message, Question};
use crate::wire::name::Name;
use crate::wire::types::{Class, Type};

/// What came, unchanged whatever plugins do.
#[derive(Clone, Debug)]
pub struct Request {
    /// The message.
    pub message: Message,
    /// Its bytes.
    pub raw: Vec<u8>,
    /// The client.
    pub from: SocketAddr,
    /// The address that was asked.
    pub to: SocketAddr,
    /// How.
    pub transport: Transport,
    /// When.
    pub received: Instant,
    /// What its answer says to its cookie; set when it is answered.
    pub cookie: Option<Cookie>,
}

impl Request {
    /// A request as it came; its message is read when it is answered.
    pub fn new(raw: Vec<u8>, from: SocketAddr, to: SocketAddr, transport: Transport) -> Request {
        let message = Message::default();
        Request { message, raw, from, to, transport, received: Instant::now(), cookie: None }
    }
}

/// The server that a query came to.
pub trait Responder: Send + Sync {
    /// Where it listens.
    fn address(&self) -> &Address;
    /// What all blocks of the process share.
    fn services(&self) -> &Arc<Services>;
    /// Chooses the block for a query and runs its plugins.
    fn serve<'a>(&'a self, query: &'a mut Query) -> Serving<'a>;
}

/// How deep questions that plugins ask may nest: CNAME chains, rewrites of rewrites.
const DEPTH: u8 = 9;

/// A question on its way through the plugins.
pub struct Query {
    /// What came.
    pub request: Rc<Request>,
    /// The question, as plugins see it now. The letter case is the client's.
    pub question: Question,
    /// EDNS, as plugins see it now.
    pub edns: Option<Edns>,
    /// The flags of the request, as plugins see them now.
    pub flags: Flags,
    /// The zone of the server block that was chosen.
    pub zone: Name,
    /// The server that it came to.
    pub server: Arc<dyn Responder>,
    /// The block that was chosen.
    pub block: Arc<Block>,
    /// What plugins know of the question, by label (`kubernetes/namespace`); filled where `metadata` is on.
    pub metadata: BTreeMap<String, String>,
    /// How many questions of plugins this one is nested in.
    pub depth: u8,
    /// It fetches anew what the cache keeps: its answer is wanted whole, whatever the client takes.
    pub refreshes: bool,
    /// What happened to it, for `bowline dns explain`.
    pub trace: Option<Trace>,
}

/// What happened to a question.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Nothing outside is asked: a plugin says whom it would ask.
    pub is_dry: bool,
    /// The plugins that were met, in order, each with what it did.
    pub steps: Vec<(&'static str, Vec<String>)>,
    /// Whom the last plugin that would ask outside would ask; None where none would.
    pub would_ask: Option<String>,
}

impl Query {
    /// The name that is asked for.
    pub fn name(&self) -> &Name {
        &self.question.name
    }
    /// The type that is asked for.
    pub fn rtype(&self) -> Type {
        self.question.rtype
    }
    /// The class that is asked for.
    pub fn class(&self) -> Class {
        self.question.class
    }
    /// The view of the block that was chosen, as metrics show it; empty where it has none.
    pub fn view(&self) -> &str {
        self.block.config.view.as_ref().map_or("", |view| &view.name)
    }
    /// Whether DNSSEC's records are wanted (EDNS's DO bit).
    pub fn dnssec_ok(&self) -> bool {
        self.edns.as_ref().is_some_and(|edns| edns.dnssec_ok)
    }
    /// The most bytes that an answer may have.
    pub fn size(&self) -> usize {
        if !self.request.transport.is_datagram() {
            return usize::from(u16::MAX);
        }
        self.edns.as_ref().map_or(512, |edns| usize::from(edns.size).max(512))
    }
    /// An empty answer: id, opcode, RD, CD and question are the question's. EDNS is added by the server.
    pub fn reply(&self) -> Message {
        let mut message = Message { id: self.request.message.id, ..Message::default() };
        message.flags = flags_of_answer(self.flags);
        message.questions.push(self.question.clone());
        message
    }
    /// The message that asks this question, as plugins see it now; for an upstream.
    pub fn to_message(&self) -> Message {
        let mut message = Message { id: self.request.message.id, flags: self.flags, ..Message::default() };
        message.questions.push(self.question.clone());
        message.edns.clone_from(&self.edns);
        message
    }
    /// Whether the question is still the one that came: its bytes may be relayed.
    pub fn is_as_it_came(&self) -> bool {
        let message = &self.request.message;
        let same = message.questions.first().is_some_and(|question| {
            question.name.eq_exact(&self.question.name)
                && (question.rtype, question.class) == (self.question.rtype, self.question.class)
        });
        same && self.flags == message.flags && self.edns == message.edns
    }
    /// Asks the whole server another question as the same client: targets of aliases, what a search path would find.
    pub fn ask(&mut self, name: Name, rtype: Type) -> Serving<'_> {
        if self.depth >= DEPTH {
            return ready(Err(QueryError::servfail(
                "",
                format!("{name}: more than {DEPTH} questions led to each other"),
            )));
        }
        let mut query = Query {
            request: self.request.clone(),
            question: Question { name, rtype, class: Class::IN },
            edns: self.edns.clone(),
            flags: self.flags,
            zone: Name::root(),
            server: self.server.clone(),
            block: self.block.clone(),
            metadata: BTreeMap::new(),
            depth: self.depth + 1,
            refreshes: self.refreshes,
            trace: self.trace.as_ref().map(|trace| Trace { is_dry: trace.is_dry, ..Trace::default() }),
        };
        Box::pin(async move {
            let server = query.server.clone();
            let outcome = server.serve(&mut query).await;
            if let (Some(mine), Some(theirs)) = (&mut self.trace, query.trace) {
                mine.steps.extend(theirs.steps);
                mine.would_ask = theirs.would_ask.or(mine.would_ask.take());
            }
            outcome
        })
    }
    /// Says, for `explain`, what a plugin did to the question. Costs nothing otherwise.
    pub fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let what = what();
            if let Some((_, notes)) = trace.steps.last_mut() {
                notes.push(what);
            }
        }
    }
    /// Says, for `explain`, whom a plugin would ask if it were not dry. Then it gives no answer.
    pub fn would_ask(&mut self, whom: String) {
        self.note(|| format!("would ask {whom}"));
        if let Some(trace) = &mut self.trace {
            trace.would_ask = Some(whom);
        }
    }
    /// Whether nothing outside may be asked.
    pub fn is_dry(&self) -> bool {
        self.trace.as_ref().is_some_and(|trace| trace.is_dry)
    }
}
