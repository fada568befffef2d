//! Data from words, field by field as its type asks.
use super::TextError;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::token::Token;
use super::{codec, location, parameters, prefixes};
use crate::wire::layout::{self, Field};
use crate::wire::record::MAX_DATA;
use crate::wire::{Data, Name, Type};

/// The words of a record's data that are still to be read.
pub(super) struct Words<'a>(&'a [Token]);

/// Reads the words of a record's data, by its type or in the form that all types have (RFC 3597 §5). No words are
/// no data, as updates use it.
pub(super) fn read(rtype: Type, tokens: &[Token], origin: &Name) -> Result<Data, TextError> {
    let mut words = Words(tokens);
    if tokens.is_empty() {
        return Ok(Data::default());
    }
    if tokens.first().and_then(Token::word) == Some("\\#") {
        return generic(rtype, Words(&tokens[1..]));
    }
    let fields = layout::fields(rtype).filter(|_| !matches!(rtype, Type::TSIG | Type::TKEY));
    let fields = fields.ok_or("this type can only be written as \\# LENGTH HEX")?;
    let mut wire = Vec::new();
    for field in fields {
        words.field(*field, rtype, origin, &mut wire)?;
    }
    if let Some(token) = words.0.first() {
        return Err(format!("{token} is one word too many").into());
    }
    if wire.len() > MAX_DATA { Err("more than 65535 bytes of data".into()) } else { Ok(Data::from_bytes(&wire)) }
}

/// Reads "length hex", and sees that it is made as the type asks.
fn generic(rtype: Type, mut words: Words<'_>) -> Result<Data, TextError> {
    let length: usize = words.number("length")?;
    let bytes = codec::from_hex(&words.rest()).ok_or("malformed hexadecimal digits")?;
    if bytes.len() != length || length > MAX_DATA {
        return Err(format!("{} bytes of data, where the length says {length}", bytes.len()).into());
    }
    let data = Data::from_bytes(&bytes);
    if data.is_made_as(rtype) { Ok(data) } else { Err(format!("the data is malformed for {rtype}").into()) }
}

impl<'a> Words<'a> {
    /// Reads the words of one field and appends its wire form.
    fn field(&mut self, field: Field, rtype: Type, origin: &Name, wire: &mut Vec<u8>) -> Result<(), TextError> {
        match field {
            Field::U8 => wire.push(self.number("number up to 255")?),
            Field::U16 => wire.extend(self.number::<u16>("number up to 65535")?.to_be_bytes()),
            Field::U32 if rtype == Type::SOA => {
                wire.extend(self.parse("number or time", super::ttl_from_text)?.to_be_bytes());
            }
            Field::U32 => wire.extend(self.number::<u32>("number of 32 bits")?.to_be_bytes()),
            Field::Time => wire.extend(self.parse("time as YYYYMMDDHHMMSS", time)?.to_be_bytes()),
            Field::TypeCode => wire.extend(self.number::<Type>("record type")?.0.to_be_bytes()),
            Field::Algorithm => wire.push(self.parse("algorithm", algorithm)?),
            Field::CertType => wire.extend(self.parse("certificate type", cert_type)?.to_be_bytes()),
            Field::Ipv4 => wire.extend(self.number::<Ipv4Addr>("IPv4 address")?.octets()),
            Field::Ipv6 => wire.extend(self.number::<Ipv6Addr>("IPv6 address")?.octets()),
            Field::Groups => wire.extend(self.parse("four groups of hexadecimal digits", groups)?),
            Field::Eui(length) => wire.extend(self.parse("EUI", |word| eui(word, length))?),
            Field::Name | Field::ShortName => wire.extend(self.name(origin)?.as_wire()),
            Field::Names => {
                while !self.0.is_empty() {
                    wire.extend(self.name(origin)?.as_wire());
                }
            }
            Field::Text | Field::Word => {
                let text = self.text()?;
                wire.push(u8::try_from(text.len()).map_err(|_| "a text of more than 255 bytes")?);
                wire.extend(text);
            }
            Field::Texts => {
                let mut texts = vec![self.text()?];
                while !self.0.is_empty() {
                    texts.push(self.text()?);
                }
                wire.extend(Data::txt(&texts.iter().map(Vec::as_slice).collect::<Vec<_>>()).as_bytes());
            }
            Field::Quoted => wire.extend(self.text()?),
            Field::Hex => wire.extend(codec::from_hex(&self.rest()).ok_or("malformed hexadecimal digits")?),
            Field::Base64 => wire.extend(codec::from_base64(&self.rest()).ok_or("malformed base64")?),
            Field::Salt => {
                let salt = |word: &str| if word == "-" { Some(Vec::new()) } else { codec::from_hex(word.as_bytes()) };
                sized(wire, self.parse("salt in hexadecimal digits, or -,", salt)?)?;
            }
            Field::Hash => {
                sized(wire, self.parse("hash in base32hex", |word| codec::from_base32hex(word.as_bytes()))?)?;
            }
            Field::Bitmap => self.bitmap(wire)?,
            Field::Relay => {
                let flag: u8 = self.parse("flag", |word| word.parse().ok().filter(|flag| *flag <= 1))?;
                let kind: u8 = self.parse("relay type", |word| word.parse().ok().filter(|kind| *kind <= 0x7F))?;
                wire.push(flag << 7 | kind);
            }
            Field::Gateway => match layout::gateway(wire) {
                Some(0) => drop(self.parse(".", |word| (word == ".").then_some(()))?),
                Some(1) => wire.extend(self.number::<Ipv4Addr>("IPv4 address")?.octets()),
                Some(2) => wire.extend(self.number::<Ipv6Addr>("IPv6 address")?.octets()),
                Some(3) => wire.extend(self.name(origin)?.as_wire()),
                _ => return Err("unknown gateway type".into()),
            },
            Field::Hip => self.hip(wire)?,
            Field::Prefixes => {
                while !self.0.is_empty() {
                    wire.extend(self.parse("prefix as 1:192.0.2.0/24", prefixes::read)?);
                }
            }
            Field::Parameters => parameters::read(std::mem::take(&mut self.0), wire)?,
            Field::Location => wire.extend(location::read(self)?),
            Field::U48 | Field::Sized => return Err("this type can only be written as \\# LENGTH HEX".into()),
        }
        Ok(())
    }

    fn next(&mut self, what: &str) -> Result<&'a Token, TextError> {
        let (first, rest) = self.0.split_first().ok_or_else(|| format!("the {what} is missing"))?;
        self.0 = rest;
        Ok(first)
    }

    /// The next word if it passes; it is taken then.
    pub(super) fn next_if<T>(&mut self, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (first, rest) = self.0.split_first()?;
        let value = read(first.word()?)?;
        self.0 = rest;
        Some(value)
    }

    pub(super) fn parse<T>(&mut self, what: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, TextError> {
        let token = self.next(what)?;
        Ok(token.word().and_then(read).ok_or_else(|| format!("{token} is no {what}"))?)
    }

    fn number<T: FromStr>(&mut self, what: &str) -> Result<T, TextError> {
        self.parse(what, |word| word.parse().ok())
    }

    fn name(&mut self, origin: &Name) -> Result<Name, TextError> {
        let token = self.next("name")?;
        Ok(super::name(token, origin).map_err(|error| format!("{token}: {error}"))?)
    }

    fn text(&mut self) -> Result<Vec<u8>, TextError> {
        let token = self.next("text")?;
        Ok(token.unescaped().ok_or_else(|| format!("{token} has a malformed escape"))?)
    }

    /// All words that are left, joined.
    fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).iter().flat_map(|token| token.text.iter().copied()).collect()
    }

    /// Types into blocks of 256, each with as many bytes as it needs (RFC 4034 §4.1.2).
    fn bitmap(&mut self, wire: &mut Vec<u8>) -> Result<(), TextError> {
        let mut types = Vec::new();
        while !self.0.is_empty() {
            types.push(self.number::<Type>("record type")?.0);
        }
        types.sort_unstable();
        for block in types.chunk_by(|a, b| a >> 8 == b >> 8) {
            let mut bits = [0_u8; 32];
            for rtype in block {
                bits[usize::from(rtype & 0xFF) / 8] |= 0x80 >> (rtype % 8);
            }
            let length = bits.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            wire.extend(block.first().map(|rtype| (rtype >> 8) as u8));
            wire.push(length as u8);
            wire.extend(&bits[..length]);
        }
        Ok(())
    }

    /// Algorithm, tag in hexadecimal and key in base64 (RFC 8005 §6).
    fn hip(&mut self, wire: &mut Vec<u8>) -> Result<(), TextError> {
        let algorithm: u8 = self.number("algorithm")?;
        let tag = self.parse("host identity tag in hexadecimal", |word| codec::from_hex(word.as_bytes()))?;
        let key = self.parse("key in base64", |word| codec::from_base64(word.as_bytes()))?;
        wire.extend([u8::try_from(tag.len()).map_err(|_| "a tag of more than 255 bytes")?, algorithm]);
        wire.extend(u16::try_from(key.len()).map_err(|_| "a key of more than 65535 bytes")?.to_be_bytes());
        wire.extend(tag);
        wire.extend(key);
        Ok(())
    }
}

/// Appends bytes behind their length.
fn sized(wire: &mut Vec<u8>, bytes: Vec<u8>) -> Result<(), TextError> {
    wire.push(u8::try_from(bytes.len()).map_err(|_| "more than 255 bytes in a field")?);
    wire.extend(bytes);
    Ok(())
}

/// The mnemonics of IANA's registry "DNS Security Algorithm Numbers", and those that BIND writes for some.
const ALGORITHMS: [(&str, u8); 24] = [
    ("DELETE", 0),
    ("RSAMD5", 1),
    ("DH", 2),
    ("DSA", 3),
    ("ECC", 4),
    ("RSASHA1", 5),
    ("DSA-NSEC3-SHA1", 6),
    ("NSEC3DSA", 6),
    ("RSASHA1-NSEC3-SHA1", 7),
    ("NSEC3RSASHA1", 7),
    ("RSASHA256", 8),
    ("RSASHA512", 10),
    ("ECC-GOST", 12),
    ("ECCGOST", 12),
    ("ECDSAP256SHA256", 13),
    ("ECDSA256", 13),
    ("ECDSAP384SHA384", 14),
    ("ECDSA384", 14),
    ("ED25519", 15),
    ("ED448", 16),
    ("SM2SM3", 17),
    ("INDIRECT", 252),
    ("PRIVATEDNS", 253),
    ("PRIVATEOID", 254),
];

fn algorithm(word: &str) -> Option<u8> {
    let named = ALGORITHMS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    named.map(|(_, number)| *number).or_else(|| word.parse().ok())
}

/// The mnemonics of RFC 4398 §2.1.
pub(super) const CERT_TYPES: [(&str, u16); 10] = [
    ("PKIX", 1),
    ("SPKI", 2),
    ("PGP", 3),
    ("IPKIX", 4),
    ("ISPKI", 5),
    ("IPGP", 6),
    ("ACPKIX", 7),
    ("IACPKIX", 8),
    ("URI", 253),
    ("OID", 254),
];

fn cert_type(word: &str) -> Option<u16> {
    let named = CERT_TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    // CoreDNS's library has another name for 4.
    let named = named.map(|(_, number)| *number).or(word.eq_ignore_ascii_case("IPIX").then_some(4));
    named.or_else(|| word.parse().ok())
}

/// Four groups of four digits with ":" between.
fn groups(word: &str) -> Option<[u8; 8]> {
    let mut bytes = [0; 8];
    let mut groups = word.split(':');
    for pair in bytes.chunks_exact_mut(2) {
        let group = groups.next().filter(|group| (1..=4).contains(&group.len()))?;
        pair.copy_from_slice(&u16::from_str_radix(group, 16).ok()?.to_be_bytes());
    }
    groups.next().is_none().then_some(bytes)
}

/// Pairs of digits with "-" between.
fn eui(word: &str, length: usize) -> Option<Vec<u8>> {
    let pair = |pair: &str| if pair.len() == 2 { codec::from_hex(pair.as_bytes())?.pop() } else { None };
    word.split('-').map(pair).collect::<Option<Vec<u8>>>().filter(|bytes| bytes.len() == length)
}

/// A moment as YYYYMMDDHHMMSS in UTC, or as seconds since 1970 (RFC 4034 §3.2); what goes above 32 bits wraps.
fn time(word: &str) -> Option<u32> {
    if !word.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if word.len() != 14 {
        return word.parse().ok();
    }
    let part = |from: usize, to: usize| word.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some((super::show::days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second) as u32)
}
