//! A message's outline: where its records lie, without decoding them. For relaying messages and changing TTLs in place.
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::message::HEADER;
use super::name::MAX_NAME;
use super::{Class, Type, WireError, u16_at, u32_at};

/// One of a message's sections of records.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Section {
    /// Answers.
    Answer,
    /// Authorities.
    Authority,
    /// Additionals, with OPT and TSIG.
    Additional,
}

/// Where one record lies. Offsets count from the message's first byte, and lie within it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outline {
    /// The section.
    pub section: Section,
    /// Where its name begins.
    pub name: usize,
    /// The type.
    pub rtype: Type,
    /// The class; in OPT, a size.
    pub class: Class,
    /// Where its TTL's 4 bytes begin; in OPT they are flags.
    pub ttl_at: usize,
    /// The TTL.
    pub ttl: u32,
    /// Its data; the record ends where this does.
    pub data: Range<usize>,
}

/// The offset behind the name at `at`. A pointer ends it; where that leads isn't looked at.
///
/// # Errors
/// If no whole name is there.
pub fn skip_name(message: &[u8], at: usize) -> Result<usize, WireError> {
    let mut here = at;
    loop {
        match *message.get(here).ok_or(WireError::Short(at))? {
            0 => return Ok(here + 1),
            length @ 1..=63 => here += 1 + usize::from(length),
            0xC0.. if here + 1 < message.len() => return Ok(here + 2),
            0xC0.. => return Err(WireError::Short(at)),
            _ => return Err(WireError::Label(at)),
        }
        if here - at >= MAX_NAME {
            return Err(WireError::Long(at));
        }
    }
}

/// The offset behind the questions.
///
/// # Errors
/// If there is no whole header, or a question isn't whole.
pub fn questions_end(message: &[u8]) -> Result<usize, WireError> {
    let mut at = HEADER;
    if message.len() < HEADER {
        return Err(WireError::Short(0));
    }
    for _ in 0..u16_at(message, 4)? {
        at = skip_name(message, at)? + 4;
        if at > message.len() {
            return Err(WireError::Short(at - 4));
        }
    }
    Ok(at)
}

/// The outlines of a message's records, in order. The first error is the last item. Counts that promise more than
/// there is are an error here: what can't be outlined isn't relayed as it is.
pub fn records(message: &[u8]) -> Walk<'_> {
    Walk { message, state: None }
}

/// An iterator over the outlines of a message's records.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    message: &'a [u8],
    /// The next record's offset, and how many are left in each section; none before the header is read.
    state: Option<(usize, [u16; 3])>,
}

impl Walk<'_> {
    fn step(&mut self) -> Result<Option<Outline>, WireError> {
        let message = self.message;
        let (at, mut left) = match self.state {
            Some(state) => state,
            None => (questions_end(message)?, [u16_at(message, 6)?, u16_at(message, 8)?, u16_at(message, 10)?]),
        };
        let sections = [Section::Answer, Section::Authority, Section::Additional];
        let Some((count, section)) = left.iter_mut().zip(sections).find(|(count, _)| **count > 0) else {
            self.state = Some((at, left));
            return Ok(None);
        };
        *count -= 1;
        let head = skip_name(message, at)?;
        let (rtype, class) = (Type(u16_at(message, head)?), Class(u16_at(message, head + 2)?));
        let (ttl_at, ttl) = (head + 4, u32_at(message, head + 4)?);
        let data = head + 10..head + 10 + usize::from(u16_at(message, head + 8)?);
        if data.end > message.len() {
            return Err(WireError::Short(data.start));
        }
        self.state = Some((data.end, left));
        Ok(Some(Outline { section, name: at, rtype, class, ttl_at, ttl, data }))
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Outline, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step().transpose();
        if let Some(Err(_)) = step {
            self.state = Some((0, [0; 3]));
        }
        step
    }
}
