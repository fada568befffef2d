//! What the data of each record type is made of: one table for reading, writing, and the presentation form.
use super::Type;
use super::name::{MAX_LABEL, MAX_NAME};

/// One field of a record's data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Field {
    /// A number of 8 bits.
    U8,
    /// A number of 16 bits.
    U16,
    /// A number of 32 bits.
    U32,
    /// Seconds since 1970 in 48 bits (TSIG).
    U48,
    /// A moment in 32 bits, shown as YYYYMMDDHHMMSS (RFC 4034 §3.2).
    Time,
    /// A record type by its mnemonic.
    TypeCode,
    /// A DNSSEC algorithm, by its number or mnemonic (RFC 4034 §A.1).
    Algorithm,
    /// A certificate's type by its mnemonic (RFC 4398 §2.1).
    CertType,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// Four groups of hexadecimal digits (RFC 6742).
    Groups,
    /// So many bytes, as pairs of hexadecimal digits with "-" between (RFC 7043).
    Eui(usize),
    /// A name that no writer compresses (RFC 3597 §4).
    Name,
    /// A name of RFC 1035's types, which writers may compress.
    ShortName,
    /// Uncompressed names up to the end.
    Names,
    /// A character-string: a length of 8 bits and as many bytes.
    Text,
    /// Such a text, but shown without quotes.
    Word,
    /// One or more character-strings up to the end.
    Texts,
    /// All up to the end, shown as one quoted text.
    Quoted,
    /// All up to the end, shown in hexadecimal.
    Hex,
    /// All up to the end, shown in base64.
    Base64,
    /// A length of 8 bits and as many bytes, shown in hexadecimal, "-" if empty (NSEC3's salt).
    Salt,
    /// A length of 8 bits and as many bytes, shown in base32hex (NSEC3's next name).
    Hash,
    /// A length of 16 bits and as many bytes, shown as the length and hexadecimal digits (TSIG, TKEY).
    Sized,
    /// The types that exist at a name (RFC 4034 §4.1.2), up to the end.
    Bitmap,
    /// A flag in the top bit and the gateway's kind (RFC 8777 §4.2.2).
    Relay,
    /// A gateway whose kind the data's second byte tells (RFC 4025 §2.5, RFC 8777 §4.2).
    Gateway,
    /// Lengths, algorithm, host identity tag and key of HIP (RFC 8005 §5).
    Hip,
    /// Address prefixes up to the end (RFC 3123).
    Prefixes,
    /// Service parameters up to the end (RFC 9460 §2.2).
    Parameters,
    /// A place on the earth (RFC 1876).
    Location,
}

use Field::{
    Algorithm, Base64, Bitmap, CertType, Eui, Gateway, Groups, Hash, Hex, Hip, Ipv4, Ipv6, Location, Name, Names,
    Parameters, Prefixes, Quoted, Relay, Salt, ShortName, Sized, Text, Texts, Time, TypeCode, U8, U16, U32, U48, Word,
};

/// The fields of a type's data; none for types that are unknown here, whose data is any bytes (RFC 3597).
pub(crate) fn fields(rtype: Type) -> Option<&'static [Field]> {
    Some(match rtype {
        Type::A => &[Ipv4],
        Type::AAAA => &[Ipv6],
        Type::NS | Type::MD | Type::MF | Type::CNAME | Type::MB | Type::MG | Type::MR | Type::PTR => &[ShortName],
        Type::SOA => &[ShortName, ShortName, U32, U32, U32, U32, U32],
        Type::MINFO => &[ShortName, ShortName],
        Type::MX => &[U16, ShortName],
        Type::HINFO | Type::ISDN => &[Text, Text],
        Type::TXT | Type::SPF | Type::AVC | Type::NINFO | Type::RESINFO => &[Texts],
        Type::RP | Type::TALINK => &[Name, Name],
        Type::AFSDB | Type::RT | Type::KX | Type::LP => &[U16, Name],
        Type::X25 => &[Word],
        Type::UINFO => &[Text],
        Type::NSAP_PTR | Type::DNAME => &[Name],
        Type::PX => &[U16, Name, Name],
        Type::GPOS => &[Word, Word, Word],
        Type::LOC => &[Location],
        Type::SRV => &[U16, U16, U16, Name],
        Type::NAPTR => &[U16, U16, Text, Text, Text, Name],
        Type::CERT => &[CertType, U16, Algorithm, Base64],
        Type::APL => &[Prefixes],
        Type::DS | Type::CDS | Type::TA | Type::DLV => &[U16, Algorithm, U8, Hex],
        Type::SSHFP => &[U8, U8, Hex],
        Type::IPSECKEY => &[U8, U8, U8, Gateway, Base64],
        Type::AMTRELAY => &[U8, Relay, Gateway],
        Type::RRSIG | Type::SIG => &[TypeCode, Algorithm, U8, U32, Time, Time, U16, Name, Base64],
        Type::NSEC | Type::NXT => &[Name, Bitmap],
        Type::DNSKEY | Type::CDNSKEY | Type::KEY | Type::RKEY => &[U16, U8, Algorithm, Base64],
        Type::DHCID | Type::OPENPGPKEY => &[Base64],
        Type::NSEC3 => &[U8, U8, U16, Salt, Hash, Bitmap],
        Type::NSEC3PARAM => &[U8, U8, U16, Salt],
        Type::TLSA | Type::SMIMEA => &[U8, U8, U8, Hex],
        Type::HIP => &[Hip, Names],
        Type::CSYNC => &[U32, U16, Bitmap],
        Type::ZONEMD => &[U32, U8, U8, Hex],
        Type::SVCB | Type::HTTPS => &[U16, Name, Parameters],
        Type::UID | Type::GID => &[U32],
        Type::NID | Type::L64 => &[U16, Groups],
        Type::L32 => &[U16, Ipv4],
        Type::EUI48 => &[Eui(6)],
        Type::EUI64 => &[Eui(8)],
        Type::URI => &[U16, U16, Quoted],
        Type::CAA => &[U8, Word, Quoted],
        Type::EID | Type::NIMLOC => &[Hex],
        Type::TKEY => &[Name, Time, Time, U16, U16, Sized, Sized],
        Type::TSIG => &[Name, U48, U16, Sized, U16, U16, Sized],
        _ => return None,
    })
}

/// Whether a type's data may hold names, which compression concerns.
pub(crate) fn has_names(fields: &[Field]) -> bool {
    fields.iter().any(|field| matches!(field, Name | ShortName | Names | Gateway))
}

impl Field {
    /// How many bytes a field takes at the start of `rest`, in data that begins with `data`; none if there are too
    /// few, or they are malformed. Names aren't measured here.
    pub(crate) fn length(self, data: &[u8], rest: &[u8]) -> Option<usize> {
        let length = match self {
            U8 | Relay | Algorithm => 1,
            U16 | TypeCode | CertType => 2,
            U32 | Time | Ipv4 => 4,
            U48 => 6,
            Groups => 8,
            Ipv6 | Location => 16,
            Eui(length) => length,
            Text | Word | Salt | Hash => 1 + usize::from(*rest.first()?),
            Sized => 2 + usize::from(u16::from_be_bytes(*rest.first_chunk()?)),
            Texts => pieces(rest, |rest| Some(1 + usize::from(*rest.first()?))).filter(|&length| length > 0)?,
            Quoted | Hex | Base64 => rest.len(),
            Bitmap => pieces(rest, |rest| match rest {
                [_, length @ 1..=32, ..] => Some(2 + usize::from(*length)),
                _ => None,
            })?,
            Prefixes => pieces(rest, |rest| Some(4 + usize::from(rest.get(3)? & 0x7F)))?,
            Parameters => {
                pieces(rest, |rest| Some(4 + usize::from(u16::from_be_bytes(*rest.get(2..)?.first_chunk()?))))?
            }
            Hip => match rest {
                [tag, _, high, low, ..] => 4 + usize::from(*tag) + usize::from(u16::from_be_bytes([*high, *low])),
                _ => return None,
            },
            Gateway => match gateway(data)? {
                0 => 0,
                1 => 4,
                2 => 16,
                _ => return None,
            },
            Name | ShortName | Names => return None,
        };
        (length <= rest.len()).then_some(length)
    }
}

impl Field {
    /// Whether it is a name or names, in this data.
    pub(crate) fn is_name(self, data: &[u8]) -> bool {
        matches!(self, Name | ShortName | Names) || (self == Gateway && gateway(data) == Some(3))
    }

    /// How many bytes a field takes at `at` of data without pointers; none if it is malformed.
    pub(crate) fn extent(self, data: &[u8], at: usize) -> Option<usize> {
        let name = |at: usize| skip_plain(data, at);
        match self {
            Name | ShortName => Some(name(at)? - at),
            Gateway if gateway(data) == Some(3) => Some(name(at)? - at),
            Names => {
                let mut end = at;
                while end < data.len() {
                    end = name(end)?;
                }
                Some(end - at)
            }
            field => field.length(data, data.get(at..)?),
        }
    }
}

/// Whether data without pointers is made as its type asks; no data is right for all.
pub(crate) fn is_made_as(data: &[u8], rtype: Type) -> bool {
    let Some(fields) = fields(rtype).filter(|_| !data.is_empty()) else { return true };
    let end = fields.iter().try_fold(0, |at, field| Some(at + field.extent(data, at)?));
    end == Some(data.len())
}

/// The offset behind an uncompressed name.
fn skip_plain(data: &[u8], at: usize) -> Option<usize> {
    let mut here = at;
    loop {
        let length = usize::from(*data.get(here)?);
        here += 1 + length;
        if length > MAX_LABEL || here - at > MAX_NAME || here > data.len() {
            return None;
        }
        if length == 0 {
            return Some(here);
        }
    }
}

/// The kind of a gateway: 0 none, 1 IPv4, 2 IPv6, 3 a name. AMTRELAY keeps a flag in the top bit.
pub(crate) fn gateway(data: &[u8]) -> Option<u8> {
    data.get(1).map(|kind| kind & 0x7F)
}

/// The length of pieces that fill `all` exactly.
fn pieces(all: &[u8], length: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
    let mut rest = all;
    while !rest.is_empty() {
        rest = rest.get(length(rest)?..)?;
    }
    Some(all.len())
}
