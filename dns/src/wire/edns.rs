//! EDNS (RFC 6891): the OPT pseudo-record of a message.
#[cfg(test)]
mod tests;

use super::{Class, Data, Name, Record, Type};

/// DNSSEC OK, among the flags of an OPT record (RFC 3225 §3).
const DNSSEC_OK: u16 = 0x8000;

/// The options that are looked at here (IANA's registry "DNS EDNS0 Option Codes").
pub mod option {
    /// Name server identifier (RFC 5001).
    pub const NSID: u16 = 3;
    /// Client subnet (RFC 7871).
    pub const SUBNET: u16 = 8;
    /// When a zone expires (RFC 7314).
    pub const EXPIRE: u16 = 9;
    /// Cookie (RFC 7873).
    pub const COOKIE: u16 = 10;
    /// How long a connection is kept (RFC 7828).
    pub const TCP_KEEPALIVE: u16 = 11;
    /// Padding (RFC 7830).
    pub const PADDING: u16 = 12;
    /// Extended error (RFC 8914).
    pub const EDE: u16 = 15;
}

/// What an OPT record says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Edns {
    /// The most bytes that the sender takes over UDP.
    pub size: u16,
    /// The version; 0 is the only one.
    pub version: u8,
    /// Whether the sender wants DNSSEC records.
    pub dnssec_ok: bool,
    /// The other flags, DNSSEC OK's bit taken out.
    pub flags: u16,
    /// The upper 8 bits of the response code; `Message::rcode` joins them.
    pub rcode_high: u8,
    /// The options in order, each with its code.
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Edns {
    /// EDNS of version 0 without options.
    pub fn new(size: u16, dnssec_ok: bool) -> Edns {
        Edns { size, dnssec_ok, ..Edns::default() }
    }

    /// The data of the first option with this code.
    pub fn option(&self, code: u16) -> Option<&[u8]> {
        self.options.iter().find(|option| option.0 == code).map(|option| option.1.as_slice())
    }

    /// Reads an OPT record; none if its options aren't whole.
    pub fn from_record(record: &Record) -> Option<Edns> {
        let [rcode_high, version, high, low] = record.ttl.to_be_bytes();
        let flags = u16::from_be_bytes([high, low]);
        let mut options = Vec::new();
        let mut rest = record.data.as_bytes();
        while let Some((&[a, b, c, d], tail)) = rest.split_first_chunk() {
            let (data, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes([c, d])))?;
            options.push((u16::from_be_bytes([a, b]), data.to_vec()));
            rest = tail;
        }
        let (dnssec_ok, flags) = (flags & DNSSEC_OK != 0, flags & !DNSSEC_OK);
        rest.is_empty().then_some(Edns { size: record.class.0, version, dnssec_ok, flags, rcode_high, options })
    }

    /// The OPT record that says this. An option that doesn't fit into 65535 bytes, and those behind it, are left out.
    pub fn to_record(&self) -> Record {
        let flags = if self.dnssec_ok { self.flags | DNSSEC_OK } else { self.flags & !DNSSEC_OK };
        let [high, low] = flags.to_be_bytes();
        let mut data = Data::default();
        for (code, value) in &self.options {
            let Ok(length) = u16::try_from(value.len()) else { break };
            if data.as_bytes().len() + 4 + value.len() > super::record::MAX_DATA {
                break;
            }
            data.extend(&code.to_be_bytes());
            data.extend(&length.to_be_bytes());
            data.extend(value);
        }
        let ttl = u32::from_be_bytes([self.rcode_high, self.version, high, low]);
        Record { name: Name::root(), rtype: Type::OPT, class: Class(self.size), ttl, data }
    }
}
