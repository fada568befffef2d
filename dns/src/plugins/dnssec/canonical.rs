//! The form in which an RRset is signed (RFC 4034 §6.2, §6.3, as RFC 6840 §5.1 corrects it).

use crate::wire::layout;
use crate::wire::{Name, Record, Type};

/// Types in whose data names are lower-cased.
const LOWERED: [Type; 19] = [
    Type::NS,
    Type::MD,
    Type::MF,
    Type::CNAME,
    Type::SOA,
    Type::MB,
    Type::MG,
    Type::MR,
    Type::PTR,
    Type::MINFO,
    Type::MX,
    Type::RP,
    Type::AFSDB,
    Type::RT,
    Type::PX,
    Type::NAPTR,
    Type::KX,
    Type::SRV,
    Type::DNAME,
];

/// What is signed of an RRset: each record with the TTL that the signature tells, in the order of their data, each
/// once.
pub(super) fn form(set: &[Record], ttl: u32) -> Vec<u8> {
    let mut all: Vec<Vec<u8>> = set.iter().map(|record| data(record.rtype, record.data.as_bytes())).collect();
    all.sort_unstable();
    all.dedup();
    let mut bytes = Vec::new();
    let Some(first) = set.first() else { return bytes };
    let owner = first.name.to_lower();
    for data in all {
        bytes.extend_from_slice(owner.as_wire());
        bytes.extend_from_slice(&first.rtype.0.to_be_bytes());
        bytes.extend_from_slice(&first.class.0.to_be_bytes());
        bytes.extend_from_slice(&ttl.to_be_bytes());
        bytes.extend_from_slice(&(data.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&data);
    }
    bytes
}

/// The data with its names in lower case, where the type asks for that.
fn data(rtype: Type, data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    let fields = layout::fields(rtype).filter(|_| LOWERED.contains(&rtype)).unwrap_or_default();
    let mut at = 0;
    for field in fields {
        let Some(length) = field.extent(data, at) else { break };
        // The lengths of labels are no letters.
        if let Some(name) = bytes.get_mut(at..at + length).filter(|_| field.is_name(data)) {
            name.make_ascii_lowercase();
        }
        at += length;
    }
    bytes
}

/// The number of labels that a signature tells: without a wildcard's (RFC 4034 §3.1.3).
pub(super) fn labels(owner: &Name) -> u8 {
    let is_wild = owner.labels().next() == Some(b"*");
    owner.label_count().saturating_sub(usize::from(is_wild)).min(127) as u8
}
