//! Whether a message is the answer to a question (RFC 5452 §9).

use super::ids;
use crate::wire::types::Rcode;
use crate::wire::walk;

#[cfg(test)]
mod tests;

const HEADER: usize = 12;
const TRUNCATED: u8 = 0x02;

/// What was asked, as it was sent.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Name, type and class.
    question: Box<[u8]>,
    opcode: u8,
    /// The letter case must come back.
    exact: bool,
}

/// What a message is to a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its answer.
    Answer(Vec<u8>),
    /// Its answer, whose records can't be read.
    Malformed,
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
        Some(Asked { question: question.into(), opcode: message[2] & 0x78, exact: false })
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

    /// Judges a message whose id is right. `is_cut`: its end is missing.
    pub(super) fn judge(&self, message: &[u8], is_cut: bool) -> Verdict {
        let Some(header) = message.get(..HEADER) else { return Verdict::Foreign };
        if header[2] & 0x80 == 0 || header[2] & 0x78 != self.opcode {
            return Verdict::Foreign;
        }
        let end = HEADER + self.question.len();
        match header[4..6] {
            [0, 1] if message.get(HEADER..end).is_some_and(|question| self.is_mine(question)) => {}
            // Servers that could not make sense of the question don't repeat it.
            [0, 0] if !self.exact && is_refusal(header[3]) => return Verdict::Answer(self.bare(header)),
            _ => return Verdict::Foreign,
        }
        let is_whole = !is_cut && walk::records(message).all(|record| record.is_ok());
        if is_whole {
            return Verdict::Answer(message.to_vec());
        }
        if !is_cut && header[2] & TRUNCATED == 0 {
            return Verdict::Malformed;
        }
        // Its records are lost: the client comes back by TCP.
        let mut answer = message[..end].to_vec();
        answer[2] |= TRUNCATED;
        answer[6..HEADER].fill(0);
        Verdict::Answer(answer)
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
