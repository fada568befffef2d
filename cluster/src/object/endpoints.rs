//! The endpoints of a slice, packed: a cluster has some hundred thousands of them.
//!
//! An [`Endpoint`] is what one reads and writes; [`Endpoints`] keeps it in 24 bytes and its names. Names of
//! Pods occur once, so a string of its own for each would be mostly the allocator's overhead: those of a
//! slice stand in one text, in order. Names of nodes and zones recur, and are shared.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Str;

#[cfg(test)]
mod tests;

/// What an EndpointSlice says of one endpoint's state; unset means ready and serving, not terminating.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conditions {
    /// `conditions.ready`.
    pub ready: bool,
    /// `conditions.serving`.
    pub serving: bool,
    /// `conditions.terminating`.
    pub terminating: bool,
}

impl Default for Conditions {
    fn default() -> Self {
        Conditions { ready: true, serving: true, terminating: false }
    }
}

impl Conditions {
    fn to_bits(self) -> u8 {
        u8::from(self.ready) | u8::from(self.serving) << 1 | u8::from(self.terminating) << 2
    }

    fn from_bits(bits: u8) -> Conditions {
        Conditions { ready: bits & 1 != 0, serving: bits & 2 != 0, terminating: bits & 4 != 0 }
    }
}

/// One endpoint of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// The first of `addresses`; the others have no meaning (discovery/v1).
    pub address: IpAddr,
    /// `conditions`.
    pub conditions: Conditions,
    /// `hostname`, never empty.
    pub hostname: Option<&'a str>,
    /// `nodeName`.
    pub node: Option<&'a Str>,
    /// `zone`.
    pub zone: Option<&'a Str>,
    /// `targetRef.name`, where it is a Pod; never empty.
    pub pod: Option<&'a str>,
}

impl Endpoint<'_> {
    /// An endpoint of which no more than this is known.
    pub fn at(address: IpAddr, conditions: Conditions) -> Self {
        Endpoint { address, conditions, hostname: None, node: None, zone: None, pod: None }
    }
}

/// The endpoints of a slice, in order. Made by collecting [`Endpoint`]s, or with a [`Builder`].
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    records: Box<[Record]>,
    /// Of those that have no IPv4 address, in order.
    ipv6: Box<[Ipv6Addr]>,
    /// Host name and Pod of each, in order, with nothing between them.
    names: Box<str>,
}

#[derive(Clone, PartialEq, Eq)]
struct Record {
    node: Option<Str>,
    zone: Option<Str>,
    ipv4: Option<Ipv4Addr>,
    conditions: u8,
    /// Bytes of its names; 0 for none.
    hostname: u8,
    pod: u8,
}

const _: () = assert!(size_of::<Record>() == 24);

impl Endpoints {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Each of them, in order. There is no access by index, as the names are found one after the other.
    pub fn iter(&self) -> Iter<'_> {
        Iter { records: self.records.iter(), ipv6: self.ipv6.iter(), names: &self.names }
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'a> FromIterator<Endpoint<'a>> for Endpoints {
    fn from_iter<I: IntoIterator<Item = Endpoint<'a>>>(endpoints: I) -> Endpoints {
        let endpoints = endpoints.into_iter();
        let mut builder = Builder::with_capacity(endpoints.size_hint().0);
        endpoints.for_each(|endpoint| builder.push(&endpoint));
        builder.build()
    }
}

impl<'a> IntoIterator for &'a Endpoints {
    type Item = Endpoint<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// See [`Endpoints::iter`].
#[derive(Clone)]
pub struct Iter<'a> {
    records: std::slice::Iter<'a, Record>,
    ipv6: std::slice::Iter<'a, Ipv6Addr>,
    names: &'a str,
}

impl<'a> Iter<'a> {
    fn name(&mut self, bytes: u8) -> Option<&'a str> {
        let (name, rest) = self.names.split_at_checked(bytes.into())?;
        self.names = rest;
        (bytes != 0).then_some(name)
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Endpoint<'a>;

    fn next(&mut self) -> Option<Endpoint<'a>> {
        let record = self.records.next()?;
        let address = match record.ipv4 {
            Some(address) => IpAddr::V4(address),
            None => IpAddr::V6(*self.ipv6.next()?),
        };
        Some(Endpoint {
            address,
            conditions: Conditions::from_bits(record.conditions),
            hostname: self.name(record.hostname),
            node: record.node.as_ref(),
            zone: record.zone.as_ref(),
            pod: self.name(record.pod),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.records.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// Makes [`Endpoints`] one by one.
#[derive(Default)]
pub struct Builder {
    records: Vec<Record>,
    ipv6: Vec<Ipv6Addr>,
    names: String,
}

impl Builder {
    /// With room for so many.
    pub fn with_capacity(endpoints: usize) -> Builder {
        Builder { records: Vec::with_capacity(endpoints), ..Builder::default() }
    }

    /// Adds one at the end. A name of more than 255 bytes is left out: Kubernetes has none of more than 253.
    pub fn push(&mut self, endpoint: &Endpoint<'_>) {
        let ipv4 = match endpoint.address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(address) => {
                self.ipv6.push(address);
                None
            }
        };
        let record = Record {
            node: endpoint.node.cloned(),
            zone: endpoint.zone.cloned(),
            ipv4,
            conditions: endpoint.conditions.to_bits(),
            hostname: self.push_name(endpoint.hostname),
            pod: self.push_name(endpoint.pod),
        };
        self.records.push(record);
    }

    fn push_name(&mut self, name: Option<&str>) -> u8 {
        let name = name.unwrap_or_default();
        let Ok(bytes) = u8::try_from(name.len()) else { return 0 };
        self.names.push_str(name);
        bytes
    }

    /// All that were added.
    pub fn build(self) -> Endpoints {
        Endpoints { records: self.records.into(), ipv6: self.ipv6.into(), names: self.names.into() }
    }
}
