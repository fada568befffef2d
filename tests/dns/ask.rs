//! Questions, as a client sends them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bowline_dns::wire::{Class, Edns, Flags, Message, Name, Opcode, Question, Rcode, Type};

use crate::names::Names;
use crate::random::Random;

/// The clients: views and access lists tell them apart, and Pods have the first two addresses.
pub(crate) const CLIENTS: [IpAddr; 3] =
    [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1)), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// How a question travels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Via {
    Udp,
    Tcp,
}

/// A question from a client.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) from: IpAddr,
    pub(crate) via: Via,
    /// The message, with the id 0.
    pub(crate) bytes: Vec<u8>,
    /// The most bytes of an answer that it takes.
    pub(crate) size: usize,
}

/// The types to ask for; the first ones more often.
const TYPES: &[Type] = &[
    Type::A,
    Type::AAAA,
    Type::SRV,
    Type::A,
    Type::AAAA,
    Type::SRV,
    Type::PTR,
    Type::TXT,
    Type::NS,
    Type::SOA,
    Type::CNAME,
    Type::MX,
    Type::ANY,
    Type::HTTPS,
    Type::SVCB,
    Type::DS,
    Type::DNSKEY,
    Type::CAA,
    Type::NAPTR,
    Type::HINFO,
    Type::NULL,
    Type::NSEC,
    Type::RRSIG,
    Type::DNAME,
    Type::TLSA,
    Type::URI,
    Type(65280),
];

impl Ask {
    /// Over UDP without EDNS.
    pub(crate) fn plain(name: &str, rtype: Type) -> Ask {
        Ask::new(CLIENTS[0], Via::Udp, &message(parse(name), rtype))
    }

    fn new(from: IpAddr, via: Via, message: &Message) -> Ask {
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        let size = message.edns.as_ref().map_or(512, |edns| usize::from(edns.size).max(512));
        Ask { from, via, bytes, size: if via == Via::Tcp { 65535 } else { size } }
    }

    /// The same over TCP.
    pub(crate) fn over_tcp(&self) -> Ask {
        Ask { via: Via::Tcp, size: 65535, ..self.clone() }
    }

    pub(crate) fn question(&self) -> Question {
        let message = Message::read(&self.bytes).ok();
        let first = message.and_then(|message| message.questions.first().cloned());
        first.unwrap_or_else(|| Question::new(Name::root(), Type::NONE))
    }
}

fn parse(name: &str) -> Name {
    // A mistake may have made it too long, or have put an escape behind its end.
    Name::parse(name).unwrap_or_default()
}

fn message(name: Name, rtype: Type) -> Message {
    let questions = [Question::new(name, rtype)].into_iter().collect();
    Message { flags: Flags::default().with_rd(true), questions, ..Message::default() }
}

/// Questions for these names: each once for the main types, and then others, until there are so many.
pub(crate) fn all(names: &Names, count: usize, random: &mut Random) -> Vec<Ask> {
    let mut asks = Vec::new();
    for name in &names.right {
        for rtype in [Type::A, Type::AAAA, Type::SRV] {
            // Where there are too many, each has a chance.
            if names.right.len() * 3 < count * 2 / 3 || random.below(names.right.len() * 3) < count * 2 / 3 {
                asks.push(one(name, rtype, random));
            }
        }
    }
    for name in &names.reverse {
        if random.once_in(2) {
            asks.push(one(name, Type::PTR, random));
        }
    }
    while asks.len() < count {
        let name = names.any(random);
        let rtype = if name.ends_with(".arpa") && !random.once_in(4) { Type::PTR } else { *random.of(TYPES) };
        asks.push(one(&name, rtype, random));
    }
    asks
}

/// A question with everything about it drawn.
fn one(name: &str, rtype: Type, random: &mut Random) -> Ask {
    let name = if random.once_in(2) { name.to_owned() } else { in_any_case(name, random) };
    let mut message = message(parse(&name), rtype);
    if random.once_in(8) {
        message.flags.set_rd(false);
    }
    if random.once_in(12) {
        message.flags.set_cd(true);
    }
    if random.once_in(12) {
        message.flags.set_ad(true);
    }
    if random.once_in(60) {
        message.questions[0].class = *random.of(&[Class::CH, Class::ANY, Class::HS, Class::NONE, Class(4096)]);
    }
    if random.once_in(100) {
        message.flags.set_opcode(*random.of(&[Opcode::STATUS, Opcode::UPDATE, Opcode::IQUERY, Opcode(7)]));
    }
    if !random.once_in(3) {
        message.edns = Some(edns(random));
    }
    let from = if random.once_in(12) { CLIENTS[2] } else { CLIENTS[random.below(2)] };
    Ask::new(from, if random.once_in(5) { Via::Tcp } else { Via::Udp }, &message)
}

fn edns(random: &mut Random) -> Edns {
    let size = *random.of(&[0, 100, 512, 513, 1232, 1232, 1400, 4096, 4096, 65535]);
    let mut edns = Edns::new(size, random.once_in(3));
    if random.once_in(50) {
        edns.version = 1 + random.below(2) as u8;
    }
    if random.once_in(20) {
        edns.flags = 1 << random.below(15);
    }
    if random.once_in(5) {
        let cookie = (10, vec![1, 2, 3, 4, 5, 6, 7, 8]);
        let subnet = (8, vec![0, 1, 24, 0, 192, 0, 2]);
        let all =
            [(3, Vec::new()), cookie, subnet, (12, vec![0; 20]), (65001, vec![9]), (9, Vec::new()), (11, Vec::new())];
        edns.options.push(random.of(&all).clone());
        let second = random.of(&all).clone();
        if random.once_in(3) && edns.option(second.0).is_none() {
            edns.options.push(second);
        }
    }
    edns
}

fn in_any_case(name: &str, random: &mut Random) -> String {
    let one = |c: char| if random.once_in(2) { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    name.chars().map(one).collect()
}

/// The response code of an answer, and nothing else; for a probe.
pub(crate) fn rcode(answer: Option<&Vec<u8>>) -> Option<Rcode> {
    Message::read(answer?).ok().map(|message| message.rcode())
}
