//! Records as text: name, TTL, class, type and data with tabs between, as CoreDNS's library prints them.
use std::fmt::{self, Display, Formatter, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{codec, fields, location, parameters, prefixes};
use crate::wire::layout::{self, Field};
use crate::wire::{Data, Name, Question, Record, Type};

impl Display for Question {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        write!(to, "{}\t{}\t{}", self.name, self.class, self.rtype)
    }
}

impl Display for Record {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        write!(to, "{}\t{}\t{}\t{}\t{}", self.name, self.ttl, self.class, self.rtype, self.data.shown(self.rtype))
    }
}

impl Data {
    /// The presentation form of the data of a record of this type.
    pub fn shown(&self, rtype: Type) -> impl Display {
        Shown { rtype, data: self.as_bytes() }
    }
}

struct Shown<'a> {
    rtype: Type,
    data: &'a [u8],
}

impl Shown<'_> {
    /// Whether the data is made as its type asks, and the text of every field means the same bytes again.
    fn is_plain(&self, fields: &[Field]) -> bool {
        let mut at = 0;
        for field in fields {
            let Some(length) = field.extent(self.data, at) else { return false };
            let bytes = self.data.get(at..at + length).unwrap_or_default();
            let is_plain = match field {
                Field::Bitmap => is_plain_bitmap(bytes),
                Field::Prefixes => prefixes::is_plain(bytes),
                Field::Parameters => parameters::is_plain(bytes),
                Field::Location => location::is_plain(bytes),
                Field::Hash => bytes.len() > 1,
                Field::Hip => matches!(bytes, [tag, _, high, low, ..] if *tag != 0 && (*high, *low) != (0, 0)),
                _ => true,
            };
            if !is_plain {
                return false;
            }
            at += length;
        }
        at == self.data.len()
    }
}

impl Display for Shown<'_> {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        if self.data.is_empty() {
            return Ok(());
        }
        let Some(fields) = layout::fields(self.rtype).filter(|fields| self.is_plain(fields)) else {
            // RFC 3597 §5.
            write!(to, "\\# {} ", self.data.len())?;
            return self.data.iter().try_for_each(|byte| write!(to, "{byte:02x}"));
        };
        let mut at = 0;
        for (index, field) in fields.iter().enumerate() {
            let rest = self.data.get(at..).unwrap_or_default();
            let length = field.extent(self.data, at).unwrap_or(rest.len());
            let bytes = rest.get(..length).unwrap_or_default();
            // Fields that may be nothing bring their blank with them.
            let is_list = matches!(field, Field::Bitmap | Field::Names | Field::Parameters | Field::Prefixes);
            if index > 0 && !is_list && !(bytes.is_empty() && matches!(field, Field::Hex | Field::Base64)) {
                to.write_char(' ')?;
            }
            show(to, *field, bytes, self.data)?;
            at += length;
        }
        Ok(())
    }
}

/// A big-endian number of up to 8 bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn show(to: &mut Formatter<'_>, field: Field, bytes: &[u8], data: &[u8]) -> fmt::Result {
    match field {
        Field::U8 | Field::U16 | Field::U32 | Field::U48 | Field::Algorithm => write!(to, "{}", number(bytes)),
        Field::Time => show_time(to, number(bytes)),
        Field::TypeCode => write!(to, "{}", Type(number(bytes) as u16)),
        Field::CertType => match fields::CERT_TYPES.iter().find(|(_, value)| u64::from(*value) == number(bytes)) {
            Some((name, _)) => to.write_str(name),
            None => write!(to, "{}", number(bytes)),
        },
        Field::Ipv4 | Field::Ipv6 => address(to, bytes),
        Field::Groups => joined(to, bytes.chunks(2), ":", |to, group| write!(to, "{:04x}", number(group))),
        Field::Eui(_) => joined(to, bytes.iter(), "-", |to, byte| write!(to, "{byte:02x}")),
        Field::Name | Field::ShortName => name(to, bytes),
        Field::Names => {
            let mut at = 0;
            while let Ok((server, after)) = Name::read(bytes, at) {
                write!(to, " {server}")?;
                at = after;
            }
            Ok(())
        }
        Field::Text => quoted(to, bytes.get(1..).unwrap_or_default()),
        Field::Word if bytes.len() <= 1 => to.write_str("\"\""),
        Field::Word => escaped(to, bytes.get(1..).unwrap_or_default(), true),
        Field::Texts => joined(to, crate::wire::write::texts(bytes), " ", quoted),
        Field::Quoted => quoted(to, bytes),
        Field::Hex => codec::to_hex(to, bytes),
        Field::Base64 => codec::to_base64(to, bytes),
        Field::Salt if bytes.len() <= 1 => to.write_char('-'),
        Field::Salt => codec::to_hex(to, bytes.get(1..).unwrap_or_default()),
        Field::Hash => codec::to_base32hex(to, bytes.get(1..).unwrap_or_default()),
        Field::Sized => {
            let value = bytes.get(2..).unwrap_or_default();
            write!(to, "{} ", value.len())?;
            codec::to_hex(to, value)
        }
        Field::Bitmap => bitmap(to, bytes),
        Field::Relay => write!(to, "{} {}", number(bytes) >> 7, number(bytes) & 0x7F),
        Field::Gateway => match layout::gateway(data) {
            Some(1 | 2) => address(to, bytes),
            Some(3) => name(to, bytes),
            _ => to.write_char('.'),
        },
        Field::Hip => match bytes {
            [length, algorithm, _, _, rest @ ..] => {
                let (tag, key) = rest.split_at_checked(usize::from(*length)).unwrap_or((rest, &[]));
                write!(to, "{algorithm} ")?;
                codec::to_hex(to, tag)?;
                to.write_char(' ')?;
                codec::to_base64(to, key)
            }
            _ => Ok(()),
        },
        Field::Prefixes => prefixes::show(to, bytes),
        Field::Parameters => parameters::show(to, bytes),
        Field::Location => location::show(to, bytes),
    }
}

/// Shows items with something between.
fn joined<T>(
    to: &mut Formatter<'_>,
    items: impl Iterator<Item = T>,
    between: &str,
    show: impl Fn(&mut Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.enumerate() {
        if index > 0 {
            to.write_str(between)?;
        }
        show(to, item)?;
    }
    Ok(())
}

fn address(to: &mut Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
        (Ok(ip), _) => write!(to, "{}", Ipv4Addr::from(ip)),
        (_, Ok(ip)) => write!(to, "{}", Ipv6Addr::from(ip)),
        _ => Ok(()),
    }
}

fn name(to: &mut Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    Name::from_wire(bytes).map_or(Ok(()), |name| write!(to, "{name}"))
}

/// Text within quotes.
fn quoted(to: &mut Formatter<'_>, text: &[u8]) -> fmt::Result {
    to.write_char('"')?;
    escaped(to, text, false)?;
    to.write_char('"')
}

/// Text with its escapes; a word escapes what would end it, too.
fn escaped(to: &mut Formatter<'_>, text: &[u8], is_word: bool) -> fmt::Result {
    for &byte in text {
        match byte {
            b'"' | b'\\' => write!(to, "\\{}", char::from(byte))?,
            b' ' | b';' | b'(' | b')' if is_word => write!(to, "\\{}", char::from(byte))?,
            b' '..=b'~' => to.write_char(byte.into())?,
            _ => write!(to, "\\{byte:03}")?,
        }
    }
    Ok(())
}

fn bitmap(to: &mut Formatter<'_>, mut bytes: &[u8]) -> fmt::Result {
    while let [block, length, rest @ ..] = bytes {
        let (bits, rest) = rest.split_at_checked(usize::from(*length)).unwrap_or((rest, &[]));
        for (index, byte) in (0_u16..).zip(bits) {
            for bit in (0..8).filter(|bit| byte & 0x80 >> bit != 0) {
                write!(to, " {}", Type(u16::from(*block) << 8 | (index * 8 + bit) & 0xFF))?;
            }
        }
        bytes = rest;
    }
    Ok(())
}

/// Whether the blocks of a bitmap are in order and as short as they can be.
fn is_plain_bitmap(mut bytes: &[u8]) -> bool {
    let mut last = None;
    while let [block, length, rest @ ..] = bytes {
        let Some((bits, rest)) = rest.split_at_checked(usize::from(*length)) else { return false };
        if last.is_some_and(|last| last >= *block) || bits.last().is_none_or(|byte| *byte == 0) {
            return false;
        }
        (last, bytes) = (Some(*block), rest);
    }
    true
}

/// The days from 1970-01-01 to a day of the Gregorian calendar.
pub(super) fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that a leap day is a year's last.
    let year = year - i64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// A moment as YYYYMMDDHHMMSS; of the times that 32 bits may mean, the one up to 2106.
fn show_time(to: &mut Formatter<'_>, seconds: u64) -> fmt::Result {
    let (day, second) = ((seconds / 86400) as i64, seconds % 86400);
    let mut year = 1970;
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days(year, month + 1, 1) <= day {
        month += 1;
    }
    let date = day - days(year, month, 1) + 1;
    write!(to, "{year:04}{month:02}{date:02}{:02}{:02}{:02}", second / 3600, second / 60 % 60, second % 60)
}
