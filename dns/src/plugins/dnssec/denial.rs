//! NSEC records that are made for a question (draft-valsorda-dnsop-black-lies): the name is there, nothing stands
//! between it and the smallest name behind it, and of the types only the one that was asked for is missing.

use crate::wire::{Data, Name, Record, Type};

/// Types that a name below the zone's is said to have.
const NAME: [Type; 14] = [
    Type::A,
    Type::HINFO,
    Type::TXT,
    Type::AAAA,
    Type::LOC,
    Type::SRV,
    Type::CERT,
    Type::SSHFP,
    Type::RRSIG,
    Type::NSEC,
    Type::TLSA,
    Type::HIP,
    Type::OPENPGPKEY,
    Type::SPF,
];

/// The types that the zone's own name is said to have besides.
const APEX: [Type; 4] = [Type::NS, Type::SOA, Type::MX, Type::DNSKEY];

/// Denies the records of a type at a name.
pub(super) fn nsec(name: &Name, zone: &Name, rtype: Type, ttl: u32) -> Option<Record> {
    let next = name.prepend(&[0]).ok()?;
    let mut types = NAME.to_vec();
    if name == zone {
        types.extend(APEX);
    } else if rtype == Type::DS {
        // It may be a delegation, of which this server knows nothing: an insecure one.
        types.push(Type::NS);
    }
    // That there is an NSEC record can't be denied by one.
    types.retain(|one| *one != rtype || rtype == Type::NSEC || rtype == Type::RRSIG);
    Some(record(name, &next, types, ttl))
}

/// Denies the DS records of a delegation (RFC 4035 §3.1.4.1). What lies below it is none of this zone's business, so
/// the next name is the one behind all of that.
pub(super) fn no_ds(cut: &Name, ttl: u32) -> Option<Record> {
    let parent = cut.parent()?;
    let first = cut.labels().next()?;
    // A label that has no room for one more byte: the next name then is the first one below.
    let next = parent.prepend(&[first, &[0]].concat()).or_else(|_| cut.prepend(&[0])).ok()?;
    let mut types = NAME.to_vec();
    types.push(Type::NS);
    Some(record(cut, &next, types, ttl))
}

fn record(name: &Name, next: &Name, mut types: Vec<Type>, ttl: u32) -> Record {
    types.sort_unstable();
    let mut data = next.as_wire().to_vec();
    data.extend(bitmap(&types));
    Record::new(name.clone(), Type::NSEC, ttl, Data::from_bytes(&data))
}

/// Types in rising order as a bit map (RFC 4034 §4.1.2).
fn bitmap(types: &[Type]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for window in types.chunk_by(|a, b| a.0 >> 8 == b.0 >> 8) {
        let Some(last) = window.last() else { continue };
        let mut bits = vec![0; usize::from(last.0 & 0xff) / 8 + 1];
        for rtype in window {
            let bit = usize::from(rtype.0 & 0xff);
            bits[bit / 8] |= 0x80 >> (bit % 8);
        }
        bytes.extend([(last.0 >> 8) as u8, bits.len() as u8]);
        bytes.extend(bits);
    }
    bytes
}
