//! The fast way: a plain question, answered on the thread of the socket from bytes that were put together when the state
//! changed. Nothing here allocates, locks or asks the kernel.
//!
//! "Plain" is what resolvers send all day: one question of class IN, no other record but an OPT without options or with
//! a cookie.
//! Everything else goes the long way, which also does whatever does not fit.

use std::net::SocketAddr;

use crate::address::{Address, Transport};
use crate::cookie::{self, Cookie, Cookies};
use crate::records::Written;
use crate::wire::types::{Rcode, Type};
use bowline_observe::metrics::Counter;

mod fuzz;
mod plain;
#[cfg(test)]
mod tests;

pub use fuzz::fuzz;
pub use plain::Plain;

use plain::OPT;

/// What a plugin did with a question on the fast way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, or noted something in [`Fast`]: the next plugin is asked.
    Pass,
    /// The answer is written.
    Answered,
    /// It takes the long way, from the start.
    Slow,
}

/// Where the question's name stands in a message; answers point to it.
pub const QUESTION: usize = 12;
/// The owner of a record that is the question's name: a compression pointer to it.
pub const OWNER: [u8; 2] = [0xc0, QUESTION as u8];

/// Records of one section, encoded, and how many they are. Owners that are the question's name are [`OWNER`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Section<'a> {
    /// The records, one after the other.
    pub bytes: &'a [u8],
    /// How many.
    pub count: u16,
    /// The bytes of each, where all are equally long and their order means nothing: they may be shuffled.
    pub stride: usize,
}

/// What counts questions and answers of the fast way (`prometheus`).
pub trait Meter: Send + Sync {
    /// A question was answered.
    fn answered(&self, answered: &Answered);
}

/// What there is to count of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// The type asked for.
    pub rtype: Type,
    /// Whether the client came by IPv6.
    pub is_ipv6: bool,
    /// Transport.
    pub transport: Transport,
    /// EDNS's DO.
    pub dnssec_ok: bool,
    /// Bytes of the question's and of the answer's message.
    pub request_bytes: usize,
    /// See there.
    pub response_bytes: usize,
    /// The rcode.
    pub rcode: Rcode,
    /// The plugin that answered.
    pub by: &'static str,
    /// Seconds from its arrival to its answer.
    pub seconds: f64,
}

/// How many counters plugins may name on the fast way.
const COUNTERS: usize = 4;

/// A question on the fast way.
pub struct Fast<'a> {
    /// The question.
    pub plain: &'a Plain,
    /// Its message.
    pub packet: &'a [u8],
    /// The client.
    pub from: SocketAddr,
    /// The address that was asked.
    pub to: SocketAddr,
    /// How it came.
    pub transport: Transport,
    /// The most bytes that the answer may have; `bufsize` lowers it.
    pub limit: usize,
    /// What the answer's OPT says for size; `bufsize` changes it.
    pub edns_size: u16,
    /// `loadbalance`: records of equal length go out in random order.
    pub shuffle: bool,
    /// `loadbalance nearest`: endpoints of a headless Service are put in order, which the long way does.
    pub nearest: bool,
    /// `minimal`: authority and additional are left out of positive answers.
    pub minimal: bool,
    /// A cache stands in front: the least and the highest TTL that it leaves as they are, in seconds. See
    /// [`Fast::lets`].
    pub ttls: Option<(u32, u32)>,
    /// `prometheus`: what counts it.
    pub meter: Option<&'a dyn Meter>,
    /// The plugin that answered.
    pub by: &'static str,
    /// What it answered.
    pub rcode: Rcode,
    /// What listens at the address that was asked; set when a server takes the question.
    pub server: Option<&'a Address>,
    counters: [Option<&'a Counter>; COUNTERS],
    /// What the answer's OPT says besides.
    cookie: Option<Cookie>,
    out: &'a mut [u8],
    written: usize,
    random: &'a mut fastrand::Rng,
}

impl<'a> Fast<'a> {
    /// A question whose answer goes to `out`.
    pub fn new(
        plain: &'a Plain,
        packet: &'a [u8],
        from: SocketAddr,
        to: SocketAddr,
        out: &'a mut [u8],
        random: &'a mut fastrand::Rng,
    ) -> Fast<'a> {
        let edns_size = plain.edns.map_or(0, |(size, _)| size);
        // CoreDNS's lower bound for what a client may ask for: RFC 6891 §6.2.3.
        let limit = usize::from(edns_size.max(512)).min(out.len());
        Fast {
            plain,
            packet,
            from,
            to,
            transport: Transport::Udp,
            limit,
            edns_size,
            shuffle: false,
            nearest: false,
            minimal: false,
            ttls: None,
            meter: None,
            by: "",
            rcode: Rcode::NOERROR,
            server: None,
            counters: [None; COUNTERS],
            cookie: None,
            out,
            written: 0,
            random,
        }
    }

    /// Counts the question, if it is answered on the fast way. Otherwise whoever serves it the long way counts it.
    pub fn count(&mut self, counter: &'a Counter) -> Step {
        match self.counters.iter_mut().find(|free| free.is_none()) {
            Some(free) => {
                *free = Some(counter);
                Step::Pass
            }
            None => Step::Slow,
        }
    }

    /// Answers the question's cookie, if it has one.
    pub fn answer_cookie(&mut self, cookies: &Cookies) {
        let data = self.plain.cookie.clone().and_then(|range| self.packet.get(range));
        self.cookie =
            data.and_then(|data| cookie::Asked::read(data).ok()).map(|asked| cookies.answer(&asked, self.from.ip()));
    }

    /// What there is to count, if it took so many seconds.
    pub fn answered(&self, seconds: f64) -> Answered {
        Answered {
            rtype: self.plain.rtype(),
            is_ipv6: self.from.is_ipv6(),
            transport: self.transport,
            dnssec_ok: self.plain.edns().is_some_and(|(_, dnssec_ok)| dnssec_ok),
            request_bytes: self.packet.len(),
            response_bytes: self.written(),
            rcode: self.rcode,
            by: self.by,
            seconds,
        }
    }

    /// The question was answered.
    pub(crate) fn counted(&self) {
        self.counters.iter().flatten().for_each(|counter| counter.inc());
    }

    /// Whether an answer of watched state with this TTL may go out on the fast way, past a cache in front. Answers of
    /// anything else may where there is none ([`Fast::ttls`]): the cache keeps them.
    pub fn lets(&self, ttl: u32) -> bool {
        self.ttls.is_none_or(|(least, most)| (least..=most).contains(&ttl))
    }

    /// It came by a stream: its answer may be as long as there is room.
    pub fn by_stream(&mut self, transport: Transport) {
        self.transport = transport;
        self.limit = self.out.len();
    }

    /// The labels in front of the zone (lower case, wire form, without root); None if the name is not within it.
    /// `zone` is a whole name in lower case.
    pub fn before(&self, zone: &[u8]) -> Option<&'a [u8]> {
        let name = self.plain.name();
        let cut = name.len().checked_sub(zone.len())?;
        let (front, end) = name.split_at_checked(cut)?;
        // The end may begin in the middle of a label.
        let begins = || self.plain.starts[..=self.plain.labels].iter().any(|start| usize::from(*start) == cut);
        (end == zone && begins()).then_some(front)
    }

    /// Writes the answer. `Slow` if it does not fit: the long way truncates it.
    pub fn respond(
        &mut self,
        by: &'static str,
        rcode: Rcode,
        is_authoritative: bool,
        answer: Section<'_>,
        authority: Section<'_>,
        additional: Section<'_>,
    ) -> Step {
        let start = QUESTION + self.plain.length + 4;
        let (authority, additional) = if self.is_cut(rcode, answer.count) {
            (Section::default(), Section::default())
        } else {
            (authority, additional)
        };
        let length = start + answer.bytes.len() + authority.bytes.len() + additional.bytes.len();
        if length > self.room() || length > self.out.len() {
            return Step::Slow;
        }
        let mut at = start;
        if self.shuffle && answer.stride > 0 && answer.count > 1 {
            self.put_shuffled(at, &answer);
            at += answer.bytes.len();
        } else {
            at = self.put(at, answer.bytes);
        }
        at = self.put(at, authority.bytes);
        at = self.put(at, additional.bytes);
        self.end(by, rcode, is_authoritative, [answer.count, authority.count, additional.count], at)
    }

    /// Has the sections of an answer written where they belong, behind the question. `Slow` if they do not fit.
    pub fn compose(
        &mut self,
        by: &'static str,
        rcode: Rcode,
        is_authoritative: bool,
        write: impl FnOnce(&mut [u8]) -> Option<Written>,
    ) -> Step {
        let start = QUESTION + self.plain.length + 4;
        let end = self.room();
        let Some(written) = self.out.get_mut(start..end).and_then(write) else { return Step::Slow };
        let (mut counts, mut bytes) =
            ([written.answers, written.authorities, written.additionals], written.bytes.min(end - start));
        if self.is_cut(rcode, written.answers) {
            (counts, bytes) = ([written.answers, 0, 0], written.answers_end);
        }
        self.end(by, rcode, is_authoritative, counts, start + bytes)
    }

    /// `minimal`: this answer has nothing behind its answer section.
    fn is_cut(&self, rcode: Rcode, answers: u16) -> bool {
        self.minimal && rcode == Rcode::NOERROR && answers > 0
    }

    /// Where the sections must end, for an OPT to find room behind them.
    fn room(&self) -> usize {
        let opt = if self.plain.edns.is_some() { OPT } else { 0 };
        let opt = if self.cookie.is_some() { opt + 4 + size_of::<Cookie>() } else { opt };
        self.limit.min(self.out.len()).saturating_sub(opt)
    }

    /// Writes header, question and OPT around sections that end at `at`.
    fn end(
        &mut self,
        by: &'static str,
        rcode: Rcode,
        is_authoritative: bool,
        [answers, authorities, additionals]: [u16; 3],
        mut at: usize,
    ) -> Step {
        let question_end = QUESTION + self.plain.length + 4;
        let Some(question) = self.packet.get(..question_end) else { return Step::Slow };
        if rcode.0 > 15 {
            return Step::Slow;
        }
        self.out[..question_end].copy_from_slice(question);
        let high = 0x80 | u8::from(is_authoritative) << 2 | u8::from(self.plain.recursion_desired);
        let low = u8::from(self.plain.checking_disabled) << 4 | rcode.0 as u8;
        self.out[2..4].copy_from_slice(&[high, low]);
        let additionals = additionals + u16::from(self.plain.edns.is_some());
        for (place, count) in [(4, 1), (6, answers), (8, authorities), (10, additionals)] {
            self.out[place..place + 2].copy_from_slice(&u16::to_be_bytes(count));
        }
        if let Some((_, dnssec_ok)) = self.plain.edns {
            let [high, low] = self.edns_size.to_be_bytes();
            at = self.put(at, &[0, 0, 41, high, low, 0, 0, u8::from(dnssec_ok) << 7, 0, 0, 0]);
            if let Some(cookie) = self.cookie {
                let length = cookie.len() as u8;
                self.out[at - 1] = 4 + length;
                at = self.put(at, &[0, 10, 0, length]);
                at = self.put(at, &cookie);
            }
        }
        self.written = at;
        (self.by, self.rcode) = (by, rcode);
        Step::Answered
    }

    /// Writes a whole message that another server gave, with this question's id, name and EDNS. `body` is what
    /// follows the question, without OPT, `counts` are those of its three sections, `flags` its flags.
    pub fn relay(&mut self, by: &'static str, flags: u16, body: &[u8], counts: [u16; 3]) -> Option<&mut [u8]> {
        let none = Section::default();
        let body = Section { bytes: body, count: counts[0], stride: 0 };
        let rcode = Rcode(flags & 0xf);
        if self.respond(by, rcode, false, body, none, none) != Step::Answered {
            return None;
        }
        let low = (flags & 0x00a0) as u8 | self.out[3];
        self.out[2] |= (flags >> 8) as u8 & 0x04;
        self.out[3] = low;
        let additionals = counts[2] + u16::from(self.plain.edns.is_some());
        self.out[8..10].copy_from_slice(&counts[1].to_be_bytes());
        self.out[10..12].copy_from_slice(&additionals.to_be_bytes());
        let start = QUESTION + self.plain.length + 4;
        self.out.get_mut(start..start + body.bytes.len())
    }

    fn put(&mut self, at: usize, bytes: &[u8]) -> usize {
        self.out[at..at + bytes.len()].copy_from_slice(bytes);
        at + bytes.len()
    }

    /// Copies records of equal length in random order (Fisher and Yates, inside out).
    fn put_shuffled(&mut self, at: usize, section: &Section<'_>) {
        let stride = section.stride;
        let out = &mut self.out[at..at + section.bytes.len()];
        for (n, record) in section.bytes.chunks_exact(stride).enumerate() {
            let place = self.random.usize(..=n);
            out.copy_within(place * stride..(place + 1) * stride, n * stride);
            out[place * stride..(place + 1) * stride].copy_from_slice(record);
        }
    }

    /// The answer, once it is written.
    pub fn answer(&self) -> &[u8] {
        &self.out[..self.written]
    }
    /// How long the answer is.
    pub fn written(&self) -> usize {
        self.written
    }
}
