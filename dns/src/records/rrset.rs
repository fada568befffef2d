//! The addresses of a name, encoded: what is copied behind the question as it stands.

use std::net::IpAddr;

use bowline_cluster::object::Str;
use smallvec::SmallVec;

use crate::wire::{Class, Type};

/// A pointer to the question's name (RFC 1035 §4.1.4), which stands behind the header's 12 bytes.
pub(super) const QUESTION: [u8; 2] = [0xC0, 12];

/// Records of one type, A or AAAA, whose owner is the name that was asked for.
#[derive(Clone, Debug)]
pub struct Rrset {
    rtype: Type,
    /// All of one length: owner (2), type (2), class (2), TTL (4), length (2), address. One record of type A, the usual
    /// answer, stands in here: to look for it elsewhere would cost more than to copy it.
    bytes: SmallVec<[u8; 16]>,
    /// Where each endpoint is, in the order of `bytes`; empty where the addresses are no endpoints'.
    places: Box<[Topology]>,
}

/// Where an endpoint is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Topology {
    pub(super) node: Option<Str>,
    pub(super) zone: Option<Str>,
}

/// Where a client is; empty where that is not known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Near<'a> {
    /// Its node's name.
    pub node: &'a str,
    /// That node's zone (`topology.kubernetes.io/zone`).
    pub zone: &'a str,
}

impl Rrset {
    /// Encodes those of the addresses that are of the type's family.
    pub(super) fn new(rtype: Type, ttl: u32, addresses: impl IntoIterator<Item = (IpAddr, Option<Topology>)>) -> Rrset {
        let (mut bytes, mut places) = (SmallVec::new(), Vec::new());
        for (address, place) in addresses {
            match (rtype, address) {
                (Type::A, IpAddr::V4(ip)) => push(&mut bytes, rtype, ttl, &ip.octets()),
                (Type::AAAA, IpAddr::V6(ip)) => push(&mut bytes, rtype, ttl, &ip.octets()),
                _ => continue,
            }
            places.extend(place);
        }
        bytes.shrink_to_fit();
        Rrset { rtype, bytes, places: places.into() }
    }

    /// A or AAAA.
    pub fn rtype(&self) -> Type {
        self.rtype
    }

    /// The records, one behind the other, each of [`Rrset::stride`] bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of one record.
    pub fn stride(&self) -> usize {
        if self.rtype == Type::A { 16 } else { 28 }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.stride()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether these are addresses of endpoints, which are somewhere, and not those of a ClusterIP.
    pub fn is_of_endpoints(&self) -> bool {
        !self.places.is_empty()
    }

    /// The records' TTL, in seconds.
    pub fn ttl(&self) -> u32 {
        self.bytes.get(6..10).and_then(|ttl| ttl.try_into().ok()).map_or(0, u32::from_be_bytes)
    }

    /// The addresses in order.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.bytes.chunks_exact(self.stride()).filter_map(|record| {
            let data = record.get(12..)?;
            match self.rtype {
                Type::A => data.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
                _ => data.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
            }
        })
    }

    /// How far each endpoint is from a client: 0 on its node, 1 in its zone, 2 anywhere else; in the order of the
    /// records. Nothing where the addresses are no endpoints', as those of a ClusterIP.
    pub fn distances(&self, client: Near<'_>) -> impl Iterator<Item = u8> {
        let is = |known: &Option<Str>, wanted: &str| !wanted.is_empty() && known.as_deref() == Some(wanted);
        self.places.iter().map(move |place| match place {
            place if is(&place.node, client.node) => 0,
            place if is(&place.zone, client.zone) => 1,
            _ => 2,
        })
    }
}

fn push(bytes: &mut SmallVec<[u8; 16]>, rtype: Type, ttl: u32, data: &[u8]) {
    bytes.extend_from_slice(&QUESTION);
    bytes.extend_from_slice(&head(rtype, ttl, data.len() as u16));
    bytes.extend_from_slice(data);
}

/// What stands between a record's owner and its data.
pub(super) fn head(rtype: Type, ttl: u32, length: u16) -> [u8; 10] {
    let mut head = [0; 10];
    head[..2].copy_from_slice(&rtype.0.to_be_bytes());
    head[2..4].copy_from_slice(&Class::IN.0.to_be_bytes());
    head[4..8].copy_from_slice(&ttl.to_be_bytes());
    head[8..].copy_from_slice(&length.to_be_bytes());
    head
}
