//! A resource record, and its data in wire form.
mod data;
#[cfg(test)]
mod tests;

use super::{Class, Name, Type, WireError, layout, u16_at, u32_at};
pub use data::{Data, MAX_DATA, Soa, Srv};
use layout::Field;

/// A resource record (RFC 1035 §4.1.3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The owner.
    pub name: Name,
    /// The type, which says how the data is made.
    pub rtype: Type,
    /// The class; IN for nearly all.
    pub class: Class,
    /// How long others may keep it, in seconds.
    pub ttl: u32,
    /// The data.
    pub data: Data,
}

impl Record {
    /// A record of class IN.
    pub fn new(name: Name, rtype: Type, ttl: u32, data: Data) -> Record {
        Record { name, rtype, class: Class::IN, ttl, data }
    }

    /// Reads the record at `at` of a message. Gives it and the offset behind it.
    ///
    /// # Errors
    /// If it isn't whole, or its data isn't made as its type asks. No data at all is right for every type
    /// (RFC 2136 §2.4.1).
    pub fn read(message: &[u8], at: usize) -> Result<(Record, usize), WireError> {
        let (name, at) = Name::read(message, at)?;
        let (rtype, class) = (Type(u16_at(message, at)?), Class(u16_at(message, at + 2)?));
        let (ttl, length) = (u32_at(message, at + 4)?, usize::from(u16_at(message, at + 8)?));
        let (start, end) = (at + 10, at + 10 + length);
        let upto = message.get(..end).ok_or(WireError::Short(start))?;
        let data = Data::read(upto, start, rtype)?;
        Ok((Record { name, rtype, class, ttl, data }, end))
    }
}

impl Data {
    /// Reads data that begins at `start` and ends with `message`, and takes the pointers out of its names.
    fn read(message: &[u8], start: usize, rtype: Type) -> Result<Data, WireError> {
        let bytes = message.get(start..).ok_or(WireError::Short(start))?;
        let malformed = WireError::Data { rtype, at: start };
        let Some(fields) = layout::fields(rtype).filter(|_| !bytes.is_empty()) else {
            return Ok(Data::from_bytes(bytes));
        };
        let mut data = Data::default();
        let mut at = start;
        for field in fields {
            if field.is_name(bytes) {
                let is_one = *field != Field::Names;
                while is_one || at < message.len() {
                    at = data.take_name(message, at)?;
                    if is_one {
                        break;
                    }
                }
                continue;
            }
            let rest = message.get(at..).ok_or(malformed)?;
            let taken = field.length(bytes, rest).and_then(|length| rest.get(..length)).ok_or(malformed)?;
            data.extend(taken);
            at += taken.len();
        }
        // Names grow when their pointers are taken out; no record can hold more than this.
        if at == message.len() && data.as_bytes().len() <= MAX_DATA { Ok(data) } else { Err(malformed) }
    }

    /// Appends the name at `at`; gives the offset behind it.
    fn take_name(&mut self, message: &[u8], at: usize) -> Result<usize, WireError> {
        let (name, after) = Name::read(message, at)?;
        self.extend(name.as_wire());
        Ok(after)
    }
}
