//! For tests of plugins: a server from the text of a Corefile, asked without sockets, the long way and the fast one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::address::Transport;
use crate::corefile::{self, CorefileError};
use crate::fast::{Fast, Plain, Step};
use crate::feed::Feed;
use crate::plugin::{Query, Request, Services};
use crate::server::{Instance, Server};
use crate::wire::{Edns, Message, Name, Question, Record, Type};

/// A server that nobody but the test can reach.
pub(crate) struct Asker {
    pub(crate) services: Arc<Services>,
    server: Arc<Server>,
    runtime: tokio::runtime::Runtime,
}

/// A question for a name and type, RD set.
pub(crate) fn question(name: &str, rtype: &str) -> Message {
    let mut message = Message { id: 7, ..Message::default() };
    message.flags.set_rd(true);
    message.questions.push(Question::new(Name::parse(name).unwrap(), rtype.parse::<Type>().unwrap()));
    message
}

/// The same with EDNS of 1232 bytes.
pub(crate) fn with_edns(name: &str, rtype: &str) -> Message {
    Message { edns: Some(Edns::new(1232, false)), ..question(name, rtype) }
}

/// Records as text, a blank between their parts.
pub(crate) fn shown(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| record.to_string().replace('\t', " ")).collect()
}

/// Sets a Corefile up.
pub(crate) fn build(text: &str) -> Result<(Instance, Arc<Services>), CorefileError> {
    let read = corefile::parse(text, "Corefile", Path::new(""), &|_| None)?;
    let services = Arc::new(Services::new(Arc::new(Feed::default()), Vec::new(), "1.2.3"));
    Ok((Instance::build(&read, Path::new(""), 53, &services)?, services))
}

/// Why a Corefile is refused.
pub(crate) fn refusal(text: &str) -> String {
    build(text).err().unwrap_or_else(|| panic!("{text} is accepted")).to_string()
}

impl Asker {
    pub(crate) fn new(text: &str) -> Asker {
        let (instance, services) = build(text).unwrap_or_else(|problem| panic!("{problem}"));
        // Nothing is read in the background here.
        services.feed.wait_at_start(std::time::Duration::ZERO);
        let server = instance.servers().values().next().unwrap().clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Asker { services, server, runtime }
    }

    fn request(message: &Message, from: &str, transport: Transport) -> Request {
        let mut raw = Vec::new();
        message.write(&mut raw);
        Request::new(raw, from.parse().unwrap(), SocketAddr::from(([127, 0, 0, 1], 53)), transport)
    }

    /// A query before any plugin has met it.
    pub(crate) fn query(&self, message: &Message, from: &str, transport: Transport) -> Query {
        let request = Request { message: message.clone(), ..Asker::request(message, from, transport) };
        self.server.question(request).unwrap()
    }

    /// Asks the long way; None: nothing was said.
    pub(crate) fn send(&self, message: &Message, from: &str, transport: Transport) -> Option<Message> {
        let request = Asker::request(message, from, transport);
        let answer = tokio::task::LocalSet::new().block_on(&self.runtime, self.server.answer(request))?;
        Some(Message::read(&answer).unwrap())
    }

    /// Asks the long way, over UDP from 10.240.0.1:40212.
    pub(crate) fn send_plainly(&self, message: &Message) -> Message {
        self.send(message, "10.240.0.1:40212", Transport::Udp).unwrap()
    }

    /// Asks for a name and type.
    pub(crate) fn ask(&self, name: &str, rtype: &str) -> Message {
        self.send_plainly(&question(name, rtype))
    }

    /// The answer section for a name and type.
    pub(crate) fn answers(&self, name: &str, rtype: &str) -> Vec<String> {
        shown(&self.ask(name, rtype).answers)
    }

    /// Asks the fast way; None: it takes the long one.
    pub(crate) fn fast(&self, message: &Message, from: &str) -> Option<Message> {
        let mut raw = Vec::new();
        message.write(&mut raw);
        let (mut plain, mut out, mut random) = (Plain::default(), [0; 4096], fastrand::Rng::with_seed(1));
        if !plain.read(&raw) {
            return None;
        }
        let to = SocketAddr::from(([127, 0, 0, 1], 53));
        let mut fast = Fast::new(&plain, &raw, from.parse().unwrap(), to, &mut out, &mut random);
        (self.server.fast(&mut fast) == Step::Answered).then(|| Message::read(fast.answer()).unwrap())
    }

    /// A line of the metrics page.
    pub(crate) fn metric(&self, series: &str) -> Option<String> {
        let page = self.services.metrics.page();
        page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).map(str::to_owned)
    }
}
