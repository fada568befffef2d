//! DNS messages: names, records and messages in wire form (RFC 1035, 2181, 3597, 6891), read from any bytes and
//! written as CoreDNS's library writes them, so that answers are cut at the same records.
pub mod edns;
mod fuzz;
pub(crate) mod layout;
pub mod message;
pub mod name;
pub mod name_text;
pub mod record;
#[cfg(test)]
mod tests;
pub mod text;
pub mod types;
pub mod walk;
pub mod whole;
mod write;

pub use edns::Edns;
pub use fuzz::fuzz;
pub use message::{Flags, Message, Question};
pub use name::{Name, NameError};
pub use record::{Data, Record, Soa, Srv};
pub use types::{Class, Opcode, Rcode, Type};

/// Why bytes are no DNS message. Offsets count from the message's first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// The bytes end inside a field.
    #[error("the message ends inside the field at byte {0}")]
    Short(usize),
    /// A pointer that doesn't lead backwards (RFC 1035 §4.1.4).
    #[error("the name at byte {0} has a compression pointer that doesn't lead backwards")]
    Pointer(usize),
    /// A label type other than the plain one and the pointer (RFC 6891 §5).
    #[error("the name at byte {0} has a label of an unknown type")]
    Label(usize),
    /// A name of more than 255 bytes (RFC 1035 §2.3.4).
    #[error("the name at byte {0} is longer than 255 bytes")]
    Long(usize),
    /// Bytes behind the last of the records that the header counts.
    #[error("something follows the last record, from byte {0} on")]
    Behind(usize),
    /// A second OPT record, or one that isn't the root's among the additionals (RFC 6891 §6.1.1).
    #[error("the OPT record at byte {0} is a second one, or not the root's, or not among the additionals")]
    Opt(usize),
    /// Data of a record that isn't made as its type asks.
    #[error("the data at byte {at} is malformed for a record of type {rtype}")]
    Data {
        /// The record's type.
        rtype: Type,
        /// Where its data begins.
        at: usize,
    },
}

/// Reads a big-endian number of 16 bits.
pub(crate) fn u16_at(message: &[u8], at: usize) -> Result<u16, WireError> {
    message.get(at..).and_then(<[u8]>::first_chunk).map(|bytes| u16::from_be_bytes(*bytes)).ok_or(WireError::Short(at))
}

/// Reads a big-endian number of 32 bits.
pub(crate) fn u32_at(message: &[u8], at: usize) -> Result<u32, WireError> {
    message.get(at..).and_then(<[u8]>::first_chunk).map(|bytes| u32::from_be_bytes(*bytes)).ok_or(WireError::Short(at))
}
