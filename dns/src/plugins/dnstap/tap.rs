//! One `dnstap` directive: what it sends, and how it is told of questions and answers.

use std::sync::Arc;
use std::time::SystemTime;

use super::payload::{self, Kind, Message, Side};
use super::sink::Sink;
use crate::plugin::{Exchange, Query, Upstreams};
use crate::plugins::shared::format::{Asked, Format};

/// Where messages go, and what they say besides.
pub(super) struct Tap {
    pub(super) identity: Vec<u8>,
    pub(super) version: Vec<u8>,
    pub(super) extra: Option<Format>,
    pub(super) is_full: bool,
    pub(super) sink: Sink,
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tap").field("is_full", &self.is_full).finish_non_exhaustive()
    }
}

impl Tap {
    /// A client has asked. `raw`: its message, where any tap wants it.
    pub(super) fn asked(&self, query: &Query, asked: &Asked, raw: Option<&[u8]>, at: SystemTime) {
        let message = Message { asked_at: Some(at), question: raw, ..of_client(query, Kind::ClientQuery) };
        self.send(query, Some(asked), message);
    }

    /// A client was answered.
    pub(super) fn answered(&self, query: &Query, asked: &Asked, raw: Option<&[u8]>, asked_at: SystemTime) {
        let message = Message {
            asked_at: Some(asked_at),
            answered_at: Some(SystemTime::now()),
            answer: raw,
            ..of_client(query, Kind::ClientResponse)
        };
        self.send(query, Some(asked), message);
    }

    fn send(&self, query: &Query, asked: Option<&Asked>, mut message: Message<'_>) {
        if !self.is_full {
            (message.question, message.answer) = (None, None);
        }
        let extra = self.extra.as_ref().map(|extra| match asked {
            Some(asked) => extra.fill(query, asked, None),
            None => extra.fill(query, &Asked::of(query), None),
        });
        let extra = extra.unwrap_or_default();
        let payload = payload::encode(&self.identity, &self.version, extra.as_bytes(), &message);
        self.sink.put(Arc::from(payload));
    }
}

impl Upstreams for Tap {
    fn forwarded(&self, query: &Query, exchange: Exchange<'_>) {
        let both = Message {
            kind: Kind::ForwarderQuery,
            transport: exchange.transport,
            from: exchange.from.map(Side::of),
            to: Some(Side::of(exchange.to)),
            asked_at: Some(exchange.asked_at),
            answered_at: None,
            question: None,
            answer: None,
        };
        self.send(query, None, Message { question: Some(exchange.question), ..both });
        if let Some(answer) = exchange.answer {
            let (kind, answered_at) = (Kind::ForwarderResponse, Some(SystemTime::now()));
            self.send(query, None, Message { kind, answered_at, answer: Some(answer), ..both });
        }
    }
}

/// What messages of and to a client have in common.
fn of_client(query: &Query, kind: Kind) -> Message<'static> {
    Message {
        kind,
        transport: query.request.transport,
        from: Some(Side::of(query.request.from)),
        to: None,
        asked_at: None,
        answered_at: None,
        question: None,
        answer: None,
    }
}
