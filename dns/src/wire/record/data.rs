//! The data of a record: bytes in wire form, made and read by type.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smallvec::SmallVec;

use crate::wire::{Name, Type, layout};

/// The most bytes that a record's data may have.
pub const MAX_DATA: usize = 65535;

/// Data in wire form; the names in it are uncompressed.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Data(SmallVec<[u8; 16]>);

/// The data of an SRV record (RFC 2782).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Srv {
    /// The lowest is tried first.
    pub priority: u16,
    /// The share among those of one priority.
    pub weight: u16,
    /// The service's port.
    pub port: u16,
    /// The host.
    pub target: Name,
}

/// The data of an SOA record (RFC 1035 §3.3.13). Times are in seconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Soa {
    /// The first name server.
    pub mname: Name,
    /// The mailbox of who is responsible, its "@" as a dot.
    pub rname: Name,
    /// The version of the zone.
    pub serial: u32,
    /// When secondaries look for a new version.
    pub refresh: u32,
    /// When they look again if that failed.
    pub retry: u32,
    /// When they give the zone up.
    pub expire: u32,
    /// How long a negative answer may be kept (RFC 2308 §4).
    pub minimum: u32,
}

impl Data {
    /// Data of A.
    pub fn a(ip: Ipv4Addr) -> Data {
        Data::from_bytes(&ip.octets())
    }

    /// Data of AAAA.
    pub fn aaaa(ip: Ipv6Addr) -> Data {
        Data::from_bytes(&ip.octets())
    }

    /// Data of A or AAAA.
    pub fn address(ip: IpAddr) -> Data {
        match ip {
            IpAddr::V4(ip) => Data::a(ip),
            IpAddr::V6(ip) => Data::aaaa(ip),
        }
    }

    /// Data of NS, CNAME, PTR, DNAME: a name alone.
    pub fn name(name: &Name) -> Data {
        Data::from_bytes(name.as_wire())
    }

    /// Data of SRV.
    pub fn srv(priority: u16, weight: u16, port: u16, target: &Name) -> Data {
        let mut data = Data::default();
        for number in [priority, weight, port] {
            data.extend(&number.to_be_bytes());
        }
        data.extend(target.as_wire());
        data
    }

    /// Data of MX.
    pub fn mx(preference: u16, exchange: &Name) -> Data {
        let mut data = Data::from_bytes(&preference.to_be_bytes());
        data.extend(exchange.as_wire());
        data
    }

    /// Data of SOA.
    pub fn soa(soa: &Soa) -> Data {
        let mut data = Data::name(&soa.mname);
        data.extend(soa.rname.as_wire());
        for number in [soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum] {
            data.extend(&number.to_be_bytes());
        }
        data
    }

    /// Data of TXT. A text above 255 bytes becomes several; no text at all becomes an empty one. What goes above
    /// 65535 bytes is left out.
    pub fn txt(texts: &[&[u8]]) -> Data {
        let mut data = Data::default();
        for text in texts {
            if text.is_empty() && data.0.len() < MAX_DATA {
                data.extend(&[0]);
            }
            for piece in text.chunks(255) {
                if data.0.len() + 1 + piece.len() > MAX_DATA {
                    return data;
                }
                data.extend(&[piece.len() as u8]);
                data.extend(piece);
            }
        }
        if texts.is_empty() {
            data.extend(&[0]);
        }
        data
    }

    /// Any data in wire form, its names uncompressed. What goes above 65535 bytes is cut off.
    pub fn from_bytes(bytes: &[u8]) -> Data {
        Data(SmallVec::from_slice(bytes.get(..MAX_DATA).unwrap_or(bytes)))
    }

    /// The wire form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The address of an A or AAAA record.
    pub fn to_ip(&self, rtype: Type) -> Option<IpAddr> {
        match rtype {
            Type::A => <[u8; 4]>::try_from(self.as_bytes()).ok().map(IpAddr::from),
            Type::AAAA => <[u8; 16]>::try_from(self.as_bytes()).ok().map(IpAddr::from),
            _ => None,
        }
    }

    /// The name that the data is (NS, CNAME, PTR, DNAME).
    pub fn to_name(&self) -> Option<Name> {
        Name::from_wire(self.as_bytes()).ok()
    }

    /// The fields of an SRV record.
    pub fn to_srv(&self) -> Option<Srv> {
        let (numbers, target) = self.as_bytes().split_first_chunk::<6>()?;
        let number = |at: usize| u16::from_be_bytes([numbers[at], numbers[at + 1]]);
        let target = Name::from_wire(target).ok()?;
        Some(Srv { priority: number(0), weight: number(2), port: number(4), target })
    }

    /// Preference and host of an MX record.
    pub fn to_mx(&self) -> Option<(u16, Name)> {
        let (preference, exchange) = self.as_bytes().split_first_chunk()?;
        Some((u16::from_be_bytes(*preference), Name::from_wire(exchange).ok()?))
    }

    /// The fields of an SOA record.
    pub fn to_soa(&self) -> Option<Soa> {
        let (mname, at) = Name::read(self.as_bytes(), 0).ok()?;
        let (rname, at) = Name::read(self.as_bytes(), at).ok()?;
        let numbers = <[u8; 20]>::try_from(self.as_bytes().get(at..)?).ok()?;
        let number = |at: usize| u32::from_be_bytes([numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]]);
        let (serial, refresh, retry, expire) = (number(0), number(4), number(8), number(12));
        Some(Soa { mname, rname, serial, refresh, retry, expire, minimum: number(16) })
    }

    /// The texts of a TXT record.
    pub fn to_txt(&self) -> Option<Vec<&[u8]>> {
        let mut rest = self.as_bytes();
        let mut texts = Vec::new();
        while let Some((length, tail)) = rest.split_first() {
            let (text, tail) = tail.split_at_checked(usize::from(*length))?;
            texts.push(text);
            rest = tail;
        }
        Some(texts)
    }

    /// Whether the data is made as records of this type ask; no data, and any data of unknown types, is.
    pub fn is_made_as(&self, rtype: Type) -> bool {
        layout::is_made_as(self.as_bytes(), rtype)
    }

    /// Appends bytes in wire form.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}
