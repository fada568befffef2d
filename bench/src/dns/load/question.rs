//! A question, and the answer that is right: written and checked without allocation.
//!
//! A line of the file: `name type rcode [data...]`, as `kubernetes.default.svc.cluster.local. A NOERROR 10.96.0.1`.
//! The data is that of all records of the asked type in the answer section, in any order: an address, a name, for
//! SRV `priority weight port target`, for TXT one string. Other types can be asked without data. `#` begins a
//! comment.

mod parse;

use std::fmt;

pub(super) use parse::parse;

/// Bytes of a message's header.
const HEADER: usize = 12;

/// Records of an answer, at most: one bit each.
const MOST: usize = u64::BITS as usize;

#[derive(Debug)]
pub(super) struct Question {
    /// The line's name and type.
    text: String,
    /// Name, type and class, padded to whole words.
    words: Vec<u64>,
    /// The bits of `words` that vary: the case of letters, and which letter stands for `?`.
    varied: Vec<u64>,
    length: usize,
    rtype: u16,
    rcode: u8,
    /// Data of the right records; names in it are lower-case.
    data: Vec<Vec<u8>>,
}

/// How a question is asked this time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Style {
    pub(super) id: u16,
    /// Random bits, for what varies.
    pub(super) bits: u64,
    /// The size that EDNS names.
    pub(super) edns: Option<u16>,
}

impl Question {
    /// Whether its name begins so.
    pub(super) fn begins(&self, prefix: &str) -> bool {
        self.text.starts_with(prefix)
    }

    /// Writes it; returns its length. `room` is at least 512 bytes.
    pub(super) fn write(&self, style: Style, room: &mut [u8]) -> usize {
        let extra = u8::from(style.edns.is_some());
        let [high, low] = style.id.to_be_bytes();
        // RD; one question.
        room[..HEADER].copy_from_slice(&[high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, extra]);
        for (word, at) in self.asked(style.bits).zip((HEADER..).step_by(8)) {
            room[at..at + 8].copy_from_slice(&word.to_ne_bytes());
        }
        let end = HEADER + self.length;
        let Some(size) = style.edns else { return end };
        let [high, low] = size.to_be_bytes();
        room[end..end + 11].copy_from_slice(&[0, 0, 41, high, low, 0, 0, 0, 0, 0, 0]);
        end + 11
    }

    /// The question's words with these random bits.
    fn asked(&self, bits: u64) -> impl Iterator<Item = u64> {
        let rotated = (0..).map(move |step| bits.rotate_left(step));
        self.words.iter().zip(&self.varied).zip(rotated).map(|((word, varied), random)| word ^ (varied & random))
    }

    /// # Errors
    /// What is wrong with the answer.
    pub(super) fn check(&self, style: Style, answer: &[u8]) -> Result<(), &'static str> {
        let header: &[u8; HEADER] = answer.first_chunk().ok_or("shorter than a header")?;
        let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let asked = answer.get(HEADER..HEADER + self.length).ok_or("shorter than the question")?;
        for (word, bytes) in self.asked(style.bits).zip(asked.chunks(8)) {
            if word.to_ne_bytes()[..bytes.len()] != *bytes {
                return Err("another question");
            }
        }
        match () {
            () if number(0) != style.id => Err("another id"),
            () if header[2] & 0xf8 != 0x80 => Err("no answer to a query"),
            () if header[2] & 0x02 != 0 => Err("truncated"),
            () if header[3] & 0x0f != self.rcode => Err("another rcode"),
            () if number(4) != 1 => Err("not one question"),
            () => self.check_records(answer, number(6)),
        }
    }

    fn check_records(&self, answer: &[u8], count: u16) -> Result<(), &'static str> {
        const SHORT: &str = "records that end early";
        let mut at = HEADER + self.length;
        let mut missing = if self.data.len() == MOST { u64::MAX } else { (1 << self.data.len()) - 1 };
        for _ in 0..count {
            at = skip_name(answer, at).ok_or(SHORT)?;
            let fixed: &[u8; 10] = answer.get(at..).and_then(<[u8]>::first_chunk).ok_or(SHORT)?;
            let rtype = u16::from_be_bytes([fixed[0], fixed[1]]);
            let start = at + fixed.len();
            at = start + usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
            let data = answer.get(start..at).ok_or(SHORT)?;
            if rtype != self.rtype {
                continue;
            }
            let is_it = |right: &Vec<u8>| match rtype {
                CNAME | NS | PTR => name_is(answer, start, right),
                SRV => {
                    data.get(..6) == right.get(..6) && name_is(answer, start + 6, right.get(6..).unwrap_or_default())
                }
                _ => data == right,
            };
            let found = self.data.iter().enumerate().find(|(at, right)| missing & (1 << at) != 0 && is_it(right));
            let (found, _) = found.ok_or("a record that isn't right")?;
            missing &= !(1 << found);
        }
        if missing == 0 { Ok(()) } else { Err("a record is missing") }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

const A: u16 = 1;
const NS: u16 = 2;
const CNAME: u16 = 5;
const PTR: u16 = 12;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const SRV: u16 = 33;

/// Just after a name (RFC 1035 section 4.1.4).
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..0x40 => at += 1 + usize::from(length),
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// Whether the name at a place, its pointers followed, is this one (in wire form, lower-case).
fn name_is(message: &[u8], mut at: usize, mut right: &[u8]) -> bool {
    // A name has at most 127 labels; what needs more steps goes in circles.
    for _ in 0..256 {
        match message.get(at) {
            Some(0) => return right == [0],
            Some(length @ 1..0x40) => {
                let size = 1 + usize::from(*length);
                match (message.get(at..at + size), right.split_at_checked(size)) {
                    (Some(label), Some((front, rest))) if label.eq_ignore_ascii_case(front) => {
                        (at, right) = (at + size, rest);
                    }
                    _ => return false,
                }
            }
            Some(high @ 0xc0..) => match message.get(at + 1) {
                Some(low) => at = usize::from(high & 0x3f) << 8 | usize::from(*low),
                None => return false,
            },
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
pub(super) mod tests;
