//! What a hosts file says, as encoded records, so that a question is answered by one look-up and one copy.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::fast::{OWNER, Section};
use crate::plugin::zones::Zones;
use crate::wire::{Class, Data, Name, Record, Type};

/// Records of one owner and type, encoded with a pointer to the question's name for owner.
#[derive(Debug, Default)]
pub(super) struct Set {
    bytes: Vec<u8>,
    count: u16,
    /// The bytes of each, where they are alike.
    stride: usize,
}

/// Bytes of a record in front of its data.
const HEAD: usize = 12;

impl Set {
    fn push(&mut self, rtype: Type, ttl: u32, data: &[u8]) {
        // No message could carry so many.
        let (Ok(length), Some(count)) = (u16::try_from(data.len()), self.count.checked_add(1)) else { return };
        self.bytes.extend_from_slice(&OWNER);
        self.bytes.extend_from_slice(&rtype.0.to_be_bytes());
        self.bytes.extend_from_slice(&Class::IN.0.to_be_bytes());
        self.bytes.extend_from_slice(&ttl.to_be_bytes());
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(data);
        self.count = count;
        self.stride = if rtype == Type::PTR { 0 } else { HEAD + data.len() };
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// For the fast way.
    pub(super) fn section(&self) -> Section<'_> {
        Section { bytes: &self.bytes, count: self.count, stride: self.stride }
    }

    /// The records, owned by `owner`.
    pub(super) fn records(&self, owner: &Name) -> impl Iterator<Item = Record> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (head, after) = rest.split_first_chunk::<HEAD>()?;
            let length = usize::from(u16::from_be_bytes([head[10], head[11]]));
            let (data, after) = after.split_at_checked(length)?;
            rest = after;
            let rtype = Type(u16::from_be_bytes([head[2], head[3]]));
            let ttl = u32::from_be_bytes([head[6], head[7], head[8], head[9]]);
            Some(Record::new(owner.clone(), rtype, ttl, Data::from_bytes(data)))
        })
    }
}

/// The addresses of a name.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    pub(super) v4: Set,
    pub(super) v6: Set,
}

impl Addresses {
    /// Those that a question of this type is for; none for other types.
    pub(super) fn of(&self, rtype: Type) -> Option<&Set> {
        let set = match rtype {
            Type::A => &self.v4,
            Type::AAAA => &self.v6,
            _ => return None,
        };
        (!set.is_empty()).then_some(set)
    }
}

type Map<T> = HashMap<Box<[u8]>, T, foldhash::fast::RandomState>;

/// A hosts file. Names are keys in lower case, in wire form.
#[derive(Debug, Default)]
pub(super) struct Table {
    names: Map<Addresses>,
    /// `*.NAME` by NAME.
    wild: Map<Addresses>,
    /// By the address's name in in-addr.arpa or ip6.arpa.
    reverse: Map<Set>,
    /// Addresses of names and names of addresses.
    pub(super) entries: usize,
}

/// How records are made of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// Of each record, in seconds.
    pub(super) ttl: u32,
    /// Names of addresses too.
    pub(super) reverse: bool,
}

impl Table {
    /// Reads a hosts file: "ADDRESS NAME...", `#` begins a comment. Lines that say nothing are left out, and names
    /// outside of `zones`.
    pub(super) fn read(text: &str, zones: &Zones, options: Options) -> Table {
        let mut table = Table::default();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(address) = words.next().and_then(address) else { continue };
            for word in words {
                let Ok(name) = Name::parse(word) else { continue };
                if zones.of(&name).is_some() {
                    table.insert(&name.to_lower(), address, options);
                }
            }
        }
        table
    }

    fn insert(&mut self, name: &Name, address: IpAddr, options: Options) {
        let is_wild = name.labels().next() == Some(b"*");
        let parent = name.parent().filter(|_| is_wild);
        let addresses = match &parent {
            Some(parent) => self.wild.entry(parent.as_wire().into()),
            None => self.names.entry(name.as_wire().into()),
        };
        let addresses = addresses.or_default();
        match address {
            IpAddr::V4(v4) => addresses.v4.push(Type::A, options.ttl, &v4.octets()),
            IpAddr::V6(v6) => addresses.v6.push(Type::AAAA, options.ttl, &v6.octets()),
        }
        self.entries += 1;
        if options.reverse && !is_wild {
            let owner = Name::reverse_of(address);
            let names = self.reverse.entry(owner.as_wire().into()).or_default();
            names.push(Type::PTR, options.ttl, name.as_wire());
            self.entries += 1;
        }
    }

    /// The addresses of a name (lower case, wire form): those of one family by its own entry or, where it has none of
    /// that family, by the wildcard beside it.
    pub(super) fn addresses(&self, name: &[u8], rtype: Type) -> Option<&Set> {
        if let Some(set) = self.names.get(name).and_then(|own| own.of(rtype)) {
            return Some(set);
        }
        let parent = name.get(1 + usize::from(*name.first()?)..).filter(|parent| !parent.is_empty())?;
        self.wild.get(parent)?.of(rtype)
    }

    /// The names of an address, by its name in in-addr.arpa or ip6.arpa.
    pub(super) fn reverse(&self, name: &[u8]) -> Option<&Set> {
        self.reverse.get(name)
    }
}

/// An address as hosts files write it; an IPv6 zone (`%eth0`) does not count.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.split('%').next()?;
    Some(text.parse::<IpAddr>().ok()?.to_canonical())
}
