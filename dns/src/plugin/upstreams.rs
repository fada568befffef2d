//! What is told of questions that go to upstreams.

use std::fmt;
use std::net::SocketAddr;
use std::time::SystemTime;

use super::Query;
use crate::address::Transport;

/// A question that was passed on to an upstream.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The address that it was sent from, if that is known.
    pub from: Option<SocketAddr>,
    /// The upstream.
    pub to: SocketAddr,
    /// How.
    pub transport: Transport,
    /// When.
    pub asked_at: SystemTime,
    /// The question's message.
    pub question: &'a [u8],
    /// The answer's message; None if there was none.
    pub answer: Option<&'a [u8]>,
}

/// Wants to know what is asked of upstreams (`dnstap`).
pub trait Upstreams: fmt::Debug + Send + Sync {
    /// An upstream was asked for this query, and has answered if there is an answer.
    fn forwarded(&self, query: &Query, exchange: Exchange<'_>);
}
