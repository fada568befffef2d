//! Whether a message is the answer to a question (RFC 5452 §9), and whole.

use super::ids;
use crate::wire::types::Rcode;
use crate::wire::{WireError, walk, whole};

#[cfg(test)]
mod tests;

const HEADER: usize = 12;
const TRUNCATED: u8 = 0x02;

/// What was asked, as it was sent.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Name, type and class.
    question: Box<[u8]>,
    /// The header's third byte: the opcode, and whether recursion is desired.
    flags: u8,
    /// The letter case must come back.
    exact: bool,
}

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// In a datagram.
    Datagram,
    /// In a datagram that was longer than our buffer: its end is missing.
    LongDatagram,
    /// Over a connection.
    Stream,
}

/// What a message is to a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its answer.
    Answer(Vec<u8>),
    /// Its answer, of which somebody on the way has cut the end off without saying so. As CoreDNS does: an answer
    /// without records that says it, so that the client comes back by TCP.
    Cut(Vec<u8>, WireError),
    /// Its answer, which isn't whole.
    Malformed(WireError),
    /// Perhaps its answer, cut so early that its question isn't whole; made into an answer as above.
    Stub(Vec<u8>),
    /// The answer to something else, or a forgery.
    Foreign,
}

impl Asked {
    /// Of a message that asks one question; None if it is none.
    pub(super) fn new(message: &[u8]) -> Option<Asked> {
        if message.get(4..6)? != [0, 1] {
            return None;
        }
        let name_end = walk::skip_name(message, HEADER).ok()?;
        // Only a root label ends a name here: there is nothing yet that a pointer could lead to.
        if *message.get(name_end.checked_sub(1)?)? != 0 {
            return None;
        }
        let question = message.get(HEADER..name_end + 4)?;
        Some(Asked { question: question.into(), flags: message[2] & 0x79, exact: false })
    }

    /// Sends the name in random letter case, and wants it back so.
    pub(super) fn randomize(&mut self, message: &mut [u8]) {
        let name = self.question.len() - 4;
        if let Some(sent) = message.get_mut(HEADER..HEADER + name) {
            ids::randomize_case(sent);
            self.question[..name].copy_from_slice(sent);
            self.exact = true;
        }
    }

    fn is_mine(&self, question: &[u8]) -> bool {
        let name = self.question.len() - 4;
        let same_name = if self.exact {
            question[..name] == self.question[..name]
        } else {
            question[..name].eq_ignore_ascii_case(&self.question[..name])
        };
        same_name && question[name..] == self.question[name..]
    }

    /// Judges a message whose id is right.
    pub(super) fn judge(&self, message: &[u8], came: Came) -> Verdict {
        let is_datagram = came != Came::Stream;
        let Some(header) = message.get(..HEADER) else { return self.stub(message, is_datagram) };
        if !self.is_answer(header[2]) {
            return Verdict::Foreign;
        }
        let end = HEADER + self.question.len();
        match header[4..6] {
            [0, 1] if message.get(HEADER..end).is_some_and(|question| self.is_mine(question)) => {}
            [0, 1] if message.len() < end => return self.stub(message, is_datagram),
            // Servers that could not make sense of the question don't repeat it.
            [0, 0] if !self.exact && is_refusal(header[3]) => return Verdict::Answer(self.bare(header)),
            _ => return Verdict::Foreign,
        }
        let Err(error) = whole::check(message) else { return Verdict::Answer(message.to_vec()) };
        // Its records are lost.
        let cut = || self.cut(header);
        match error {
            _ if came == Came::LongDatagram || (is_datagram && header[2] & TRUNCATED != 0) => Verdict::Answer(cut()),
            WireError::Short(_) if is_datagram => Verdict::Cut(cut(), error),
            error => Verdict::Malformed(error),
        }
    }

    /// Whether the flags are those of an answer to what was asked.
    fn is_answer(&self, flags: u8) -> bool {
        flags & 0xF8 == self.flags & 0x78 | 0x80
    }

    /// Of a datagram whose question isn't whole: an answer that says so, if what there is fits.
    fn stub(&self, message: &[u8], is_datagram: bool) -> Verdict {
        let flags = message.get(2).copied().unwrap_or(self.flags | 0x80);
        let question = message.get(HEADER..).unwrap_or_default();
        let sent = self.question.get(..question.len()).unwrap_or_default();
        let is_same = if self.exact { question == sent } else { question.eq_ignore_ascii_case(sent) };
        if !is_datagram || !self.is_answer(flags) || !is_same {
            return Verdict::Foreign;
        }
        Verdict::Stub(self.cut(&[0, 0, flags, message.get(3).copied().unwrap_or_default()]))
    }

    /// An answer without records that was truncated; flags stand in bytes 2 and 3 of `header`.
    fn cut(&self, header: &[u8]) -> Vec<u8> {
        let mut answer = vec![0; HEADER];
        answer[2] = header[2] | TRUNCATED;
        answer[3] = header[3];
        self.bare(&answer)
    }

    /// A header, with the question put behind it.
    fn bare(&self, header: &[u8]) -> Vec<u8> {
        let mut answer = header.to_vec();
        answer[4..HEADER].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        answer.extend_from_slice(&self.question);
        answer
    }
}

fn is_refusal(flags: u8) -> bool {
    matches!(Rcode(u16::from(flags & 15)), Rcode::FORMERR | Rcode::SERVFAIL | Rcode::NOTIMP | Rcode::REFUSED)
}

/// Owners that are the question's name and were written out have its random letters: they get small ones, and so does
/// the question. The server writes the client's into it.
pub(super) fn restore_case(answer: &mut [u8]) {
    let Ok(name_end) = walk::skip_name(answer, HEADER) else { return };
    answer[HEADER..name_end].make_ascii_lowercase();
    let name = answer[HEADER..name_end].to_vec();
    let owners: Vec<usize> = walk::records(answer).flatten().map(|record| record.name).collect();
    for owner in owners {
        if let Some(written) = answer.get_mut(owner..owner + name.len())
            && written.eq_ignore_ascii_case(&name)
        {
            written.copy_from_slice(&name);
        }
    }
}
