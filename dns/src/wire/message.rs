//! A DNS message (RFC 1035 §4): header, questions, and the records of three sections.
mod flags;
#[cfg(test)]
mod tests;

use smallvec::SmallVec;

use super::{Class, Edns, Name, Rcode, Record, Type, WireError, u16_at};
pub use flags::Flags;

/// The bytes of a header.
pub const HEADER: usize = 12;

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// The name, in the case that it was asked in.
    pub name: Name,
    /// The type.
    pub rtype: Type,
    /// The class.
    pub class: Class,
}

/// A message.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Message {
    /// What joins an answer to its question.
    pub id: u16,
    /// The flags, opcode and lower response code.
    pub flags: Flags,
    /// The questions; one in all that is served.
    pub questions: SmallVec<[Question; 1]>,
    /// The answer section.
    pub answers: Vec<Record>,
    /// The authority section.
    pub authorities: Vec<Record>,
    /// The additional section without the OPT record.
    pub additionals: Vec<Record>,
    /// What the OPT record says. It is written last, but in front of a TSIG record.
    pub edns: Option<Edns>,
}

impl Question {
    /// A question of class IN.
    pub fn new(name: Name, rtype: Type) -> Question {
        Question { name, rtype, class: Class::IN }
    }

    /// Reads the question at `at` of a message; a message may end behind any field of it.
    fn read(message: &[u8], at: usize) -> Result<(Question, usize), WireError> {
        let (name, mut at) = Name::read(message, at)?;
        let mut number = || {
            if at == message.len() {
                return Ok(0);
            }
            at += 2;
            u16_at(message, at - 2)
        };
        let (rtype, class) = (Type(number()?), Class(number()?));
        Ok((Question { name, rtype, class }, at))
    }
}

impl Message {
    /// Reads a message, as forgiving as CoreDNS's library: counts may promise more than there is if the message ends
    /// between two records; bytes behind the last record are ignored; of several OPT records the last one counts and
    /// the others stay among the additionals.
    ///
    /// # Errors
    /// If there is no whole header, or a question or record isn't whole or malformed.
    pub fn read(bytes: &[u8]) -> Result<Message, WireError> {
        let mut message = Message { id: u16_at(bytes, 0)?, flags: Flags(u16_at(bytes, 2)?), ..Message::default() };
        let (questions, answers) = (u16_at(bytes, 4)?, u16_at(bytes, 6)?);
        let (authorities, additionals) = (u16_at(bytes, 8)?, u16_at(bytes, 10)?);
        let mut at = HEADER;
        for _ in 0..questions {
            if at == bytes.len() {
                break;
            }
            let (question, after) = Question::read(bytes, at)?;
            message.questions.push(question);
            at = after;
        }
        for (count, section) in [
            (answers, &mut message.answers),
            (authorities, &mut message.authorities),
            (additionals, &mut message.additionals),
        ] {
            for _ in 0..count {
                if at == bytes.len() {
                    break;
                }
                let (record, after) = Record::read(bytes, at)?;
                section.push(record);
                at = after;
            }
        }
        if let Some(last) = message.additionals.iter().rposition(|record| record.rtype == Type::OPT) {
            let opt = message.additionals.remove(last);
            message.edns = Some(Edns::from_record(&opt).ok_or(WireError::Data { rtype: Type::OPT, at: HEADER })?);
        }
        Ok(message)
    }

    /// The response code, with the upper bits of EDNS.
    pub fn rcode(&self) -> Rcode {
        let high = self.edns.as_ref().map_or(0, |edns| u16::from(edns.rcode_high) << 4);
        Rcode(high | self.flags.rcode().0)
    }

    /// Sets the response code. Its upper bits are lost in a message without EDNS, which has no place for them.
    pub fn set_rcode(&mut self, rcode: Rcode) {
        self.flags.set_rcode(rcode);
        if let Some(edns) = &mut self.edns {
            edns.rcode_high = (rcode.0 >> 4) as u8;
        }
    }

    /// The records of all sections in order, without OPT.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.answers.iter().chain(&self.authorities).chain(&self.additionals)
    }

    /// The records of all sections in order, to change them.
    pub fn records_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        self.answers.iter_mut().chain(&mut self.authorities).chain(&mut self.additionals)
    }
}
