//! What plugins give back: an answer, silence, or the reason why there is none.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use crate::wire::{Flags, Message, Opcode, Rcode, Type, WireError, walk};

pub mod classify;

/// An answer on its way out through the plugins.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The message.
    pub body: Body,
    /// The plugin that answered, as metrics and logs name it.
    pub by: &'static str,
    /// It came from watched state, which changes by itself: `cache` keeps no such answer.
    pub is_watched: bool,
    /// The messages after the first, where an answer is several (a zone's transfer). Only streams carry them.
    pub further: Option<Further>,
}

/// Messages that follow the first of an answer. They are made one at a time, as the client takes them.
#[derive(Clone)]
pub struct Further(Arc<Mutex<Option<Messages>>>);

type Messages = Box<dyn Iterator<Item = Message> + Send>;

impl Further {
    /// These messages, with the id of the question.
    pub fn new(messages: impl Iterator<Item = Message> + Send + 'static) -> Further {
        Further(Arc::new(Mutex::new(Some(Box::new(messages)))))
    }

    /// The messages, the first time.
    pub fn take(&self) -> Option<impl Iterator<Item = Message> + Send + use<>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Further {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Further")
    }
}

/// The message of an answer.
#[derive(Clone, Debug)]
pub enum Body {
    /// One that we put together, or took apart to change it.
    Message(Box<Message>),
    /// The bytes of an upstream, relayed as they are. The server sets the id, the question's case and EDNS's size.
    Wire(Vec<u8>),
}

impl Reply {
    /// An answer that plugin `by` put together.
    pub fn new(message: Message, by: &'static str) -> Reply {
        Reply { body: Body::Message(Box::new(message)), by, is_watched: false, further: None }
    }

    /// The bytes of an upstream. The caller has checked that they are an answer to the question.
    pub fn relayed(bytes: Vec<u8>, by: &'static str) -> Reply {
        Reply { body: Body::Wire(bytes), by, is_watched: false, further: None }
    }

    /// Marks it as made from watched state.
    #[must_use]
    pub fn watched(mut self) -> Reply {
        self.is_watched = true;
        self
    }

    /// Adds messages that follow this one.
    #[must_use]
    pub fn with_further(mut self, further: Further) -> Reply {
        self.further = Some(further);
        self
    }

    /// The message, to read or change. An upstream's bytes are taken apart the first time.
    ///
    /// # Errors
    /// The upstream's bytes are no DNS message.
    pub fn message(&mut self) -> Result<&mut Message, WireError> {
        if let Body::Wire(bytes) = &self.body {
            self.body = Body::Message(Box::new(Message::read(bytes)?));
        }
        match &mut self.body {
            Body::Message(message) => Ok(message),
            Body::Wire(_) => Err(WireError::Short(0)), // Not reached: the branch above has replaced it.
        }
    }

    /// The rcode, with EDNS's upper bits.
    pub fn rcode(&self) -> Rcode {
        match &self.body {
            Body::Message(message) => message.rcode(),
            Body::Wire(bytes) => {
                let low = bytes.get(3).map_or(0, |flags| u16::from(flags & 15));
                let high = opt_of(bytes).ok().flatten().map_or(0, |opt| (opt.ttl >> 24) as u16);
                Rcode(high << 4 | low)
            }
        }
    }
}

/// A question that a plugin could not answer. The client gets the bare rcode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    /// What the client gets.
    pub rcode: Rcode,
    /// For the log (`errors`); empty where there is nothing to say.
    pub reason: String,
    /// The plugin that failed.
    pub by: &'static str,
}

impl QueryError {
    /// SERVFAIL for this reason.
    pub fn servfail(by: &'static str, reason: impl Into<String>) -> QueryError {
        QueryError { rcode: Rcode::SERVFAIL, reason: reason.into(), by }
    }
    /// A bare rcode, with nothing to log.
    pub fn bare(by: &'static str, rcode: Rcode) -> QueryError {
        QueryError { rcode, reason: String::new(), by }
    }
}

/// What comes of a question. `Ok(None)`: nothing is said (`acl`'s drop).
pub type Outcome = Result<Option<Reply>, QueryError>;

/// An outcome to be.
pub type Serving<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// An outcome that is there already.
pub fn ready<'a>(outcome: Outcome) -> Serving<'a> {
    Box::pin(std::future::ready(outcome))
}

/// The OPT record of a message.
pub(crate) fn opt_of(bytes: &[u8]) -> Result<Option<walk::Outline>, WireError> {
    for record in walk::records(bytes) {
        let record = record?;
        if record.section == walk::Section::Additional && record.rtype == Type::OPT {
            return Ok(Some(record));
        }
    }
    Ok(None)
}

/// The flags of an answer to a message with these: opcode and RD and, for queries, CD are as they were.
pub(crate) fn flags_of_answer(asked: Flags) -> Flags {
    let flags = Flags::default().with_qr(true).with_opcode(asked.opcode());
    match asked.opcode() {
        Opcode::QUERY => flags.with_rd(asked.rd()).with_cd(asked.cd()),
        _ => flags,
    }
}
