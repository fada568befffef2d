//! A plain question, taken apart in place.

use std::ops::Range;

use super::QUESTION;
use crate::cookie;
use crate::wire::types::Type;

/// Longest name in wire form (RFC 1035 §2.3.4).
const NAME: usize = 255;

/// Bytes of an OPT record without options.
pub(super) const OPT: usize = 11;

/// A plain question, taken apart in place. Reused from one datagram to the next.
pub struct Plain {
    lower: [u8; NAME],
    pub(super) length: usize,
    /// Where each label begins, the root's last; as many as `labels` says.
    pub(super) starts: [u8; 128],
    pub(super) labels: usize,
    rtype: Type,
    /// Size and DO of EDNS.
    pub(super) edns: Option<(u16, bool)>,
    /// Where the data of its cookie is, of a length that the RFC knows.
    pub(super) cookie: Option<Range<usize>>,
    pub(super) recursion_desired: bool,
    pub(super) checking_disabled: bool,
}

impl Default for Plain {
    fn default() -> Plain {
        Plain {
            lower: [0; NAME],
            length: 0,
            starts: [0; 128],
            labels: 0,
            rtype: Type(0),
            edns: None,
            cookie: None,
            recursion_desired: false,
            checking_disabled: false,
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}

impl Plain {
    /// Takes a packet apart; false if it is not plain.
    pub fn read(&mut self, packet: &[u8]) -> bool {
        self.try_read(packet).is_some()
    }

    fn try_read(&mut self, packet: &[u8]) -> Option<()> {
        let flags = u16_at(packet, 2)?;
        // A query: QR, opcode, AA, TC, RA, Z, rcode are 0. RD, AD and CD may be set.
        if flags & 0xfecf != 0 {
            return None;
        }
        self.recursion_desired = flags & 0x0100 != 0;
        self.checking_disabled = flags & 0x0010 != 0;
        let counts = packet.get(4..12)?;
        let has_opt = match counts {
            [0, 1, 0, 0, 0, 0, 0, 0] => false,
            [0, 1, 0, 0, 0, 0, 0, 1] => true,
            _ => return None,
        };
        let name = packet.get(QUESTION..)?;
        let mut at = 0;
        self.labels = 0;
        loop {
            let length = usize::from(*name.get(at)?);
            if length > 63 || at + 1 + length > NAME || self.labels == 127 {
                return None;
            }
            self.starts[self.labels] = at as u8;
            if length == 0 {
                break;
            }
            self.labels += 1;
            at += 1 + length;
        }
        self.length = at + 1;
        let name = name.get(..self.length)?;
        // Lengths of labels are below 'A': they may be lower-cased with the rest.
        for (lower, byte) in self.lower.iter_mut().zip(name) {
            *lower = byte.to_ascii_lowercase();
        }
        let after = QUESTION + self.length;
        self.rtype = Type(u16_at(packet, after)?);
        if u16_at(packet, after + 2)? != 1 {
            return None;
        }
        let after = after + 4;
        (self.edns, self.cookie) = (None, None);
        if !has_opt {
            return (packet.len() == after).then_some(());
        }
        // Root, OPT, size, extended rcode 0, version 0, DO and 15 zero bits, no options or a cookie.
        let (opt, options) = packet.get(after..)?.split_first_chunk::<OPT>()?;
        let [0, 0, 41, high, low, 0, 0, dnssec, 0, 0, length] = *opt else { return None };
        if dnssec & 0x7f != 0 || options.len() != usize::from(length) {
            return None;
        }
        if length != 0 {
            let [0, 10, 0, _, data @ ..] = options else { return None };
            if data.len() != usize::from(options[3]) || cookie::Asked::read(data).is_err() {
                return None;
            }
            self.cookie = Some(packet.len() - data.len()..packet.len());
        }
        self.edns = Some((u16::from_be_bytes([high, low]), dnssec != 0));
        Some(())
    }

    /// The name in lower case, in wire form.
    pub fn name(&self) -> &[u8] {
        &self.lower[..self.length]
    }
    /// The name without its first `n` labels, in wire form; `n` is at most [`Plain::labels`].
    pub fn suffix(&self, n: usize) -> &[u8] {
        let start = self.starts.get(n.min(self.labels)).copied().unwrap_or(0);
        &self.lower[usize::from(start)..self.length]
    }
    /// How many labels it has, the root not counted.
    pub fn labels(&self) -> usize {
        self.labels
    }
    /// The type.
    pub fn rtype(&self) -> Type {
        self.rtype
    }
    /// EDNS's size, as the client wrote it, and DO.
    pub fn edns(&self) -> Option<(u16, bool)> {
        self.edns
    }
    /// Whether CD is set.
    pub fn checking_disabled(&self) -> bool {
        self.checking_disabled
    }
}
