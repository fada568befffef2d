//! A message of dnstap: protobuf, of the fields that dnstap.proto numbers so.

use std::net::{IpAddr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::address::Transport;

#[cfg(test)]
mod tests;

/// `Message.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    ClientQuery = 5,
    ClientResponse = 6,
    ForwarderQuery = 7,
    ForwarderResponse = 8,
}

/// An address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Side {
    ip: IpAddr,
    port: u16,
}

impl Side {
    pub(super) fn of(address: SocketAddr) -> Side {
        Side { ip: address.ip().to_canonical(), port: address.port() }
    }
}

/// `Message`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: Kind,
    pub(super) transport: Transport,
    /// The side that asks.
    pub(super) from: Option<Side>,
    /// The side that is asked.
    pub(super) to: Option<Side>,
    pub(super) asked_at: Option<SystemTime>,
    pub(super) answered_at: Option<SystemTime>,
    pub(super) question: Option<&'a [u8]>,
    pub(super) answer: Option<&'a [u8]>,
}

/// `Dnstap.Type` of a message.
const MESSAGE: u64 = 1;

/// `Dnstap`, encoded. Empty `extra` is left out.
pub(super) fn encode(identity: &[u8], version: &[u8], extra: &[u8], message: &Message<'_>) -> Vec<u8> {
    let mut inner = Vec::with_capacity(64);
    number(&mut inner, 1, message.kind as u64);
    if let Some(side) = message.from.or(message.to) {
        number(&mut inner, 2, if side.ip.is_ipv4() { 1 } else { 2 });
    }
    number(&mut inner, 3, protocol(message.transport));
    for (side, field) in [(message.from, 4), (message.to, 5)] {
        match side.map(|side| side.ip) {
            Some(IpAddr::V4(ip)) => bytes(&mut inner, field, &ip.octets()),
            Some(IpAddr::V6(ip)) => bytes(&mut inner, field, &ip.octets()),
            None => {}
        }
    }
    for (side, field) in [(message.from, 6), (message.to, 7)] {
        if let Some(side) = side {
            number(&mut inner, field, side.port.into());
        }
    }
    time(&mut inner, 8, message.asked_at);
    if let Some(question) = message.question {
        bytes(&mut inner, 10, question);
    }
    time(&mut inner, 12, message.answered_at);
    if let Some(answer) = message.answer {
        bytes(&mut inner, 14, answer);
    }
    let mut outer = Vec::with_capacity(inner.len() + identity.len() + version.len() + extra.len() + 32);
    bytes(&mut outer, 1, identity);
    bytes(&mut outer, 2, version);
    if !extra.is_empty() {
        bytes(&mut outer, 3, extra);
    }
    bytes(&mut outer, 14, &inner);
    number(&mut outer, 15, MESSAGE);
    outer
}

/// `SocketProtocol`.
fn protocol(transport: Transport) -> u64 {
    match transport {
        Transport::Udp => 1,
        Transport::Tcp => 2,
        Transport::Tls => 3,
        Transport::Https => 4,
        Transport::Quic => 7,
    }
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// A field with a number.
fn number(to: &mut Vec<u8>, field: u64, value: u64) {
    varint(to, field << 3);
    varint(to, value);
}

/// A field with bytes.
fn bytes(to: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(to, field << 3 | 2);
    varint(to, value.len() as u64);
    to.extend_from_slice(value);
}

/// A time: its seconds, and in the field behind its nanoseconds, which are of fixed size.
fn time(to: &mut Vec<u8>, field: u64, at: Option<SystemTime>) {
    let Some(at) = at else { return };
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    number(to, field, since.as_secs());
    varint(to, (field + 1) << 3 | 5);
    to.extend_from_slice(&since.subsec_nanos().to_le_bytes());
}
