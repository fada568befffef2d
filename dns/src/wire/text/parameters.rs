//! Service parameters of SVCB and HTTPS records (RFC 9460 §2.1): key=value.
use super::TextError;
use std::fmt::{self, Formatter, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::codec;
use super::token::Token;

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;
const PORT: u16 = 3;
const IPV4HINT: u16 = 4;
const ECH: u16 = 5;
const IPV6HINT: u16 = 6;

/// The keys with a name; others are "key" and a number.
const KEYS: [&str; 9] =
    ["mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath", "ohttp"];

/// Reads parameters and appends them in wire form, in the order of their keys.
pub(super) fn read(tokens: &[Token], wire: &mut Vec<u8>) -> Result<(), TextError> {
    let mut all = Vec::new();
    for token in tokens {
        let split = token.text.iter().position(|byte| *byte == b'=');
        let (name, value) =
            split.map_or((token.text.as_slice(), &[][..]), |at| (&token.text[..at], &token.text[at + 1..]));
        let number = key(name).ok_or_else(|| format!("{token} has no known key"))?;
        let value = Token { text: value.to_vec(), is_quoted: false }.unescaped();
        // Behind a number, a value is any bytes.
        let is_named = KEYS.iter().any(|key| key.as_bytes() == name);
        let value = value.and_then(|value| if is_named { encode(number, &value) } else { Some(value) });
        let value = value.ok_or_else(|| format!("{token} has a malformed value"))?;
        all.push((number, value));
    }
    all.sort();
    if all.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err("a key is given twice".into());
    }
    for (key, value) in all {
        wire.extend(key.to_be_bytes());
        wire.extend(u16::try_from(value.len()).map_err(|_| "a value of more than 65535 bytes")?.to_be_bytes());
        wire.extend(value);
    }
    Ok(())
}

fn key(name: &[u8]) -> Option<u16> {
    let name = std::str::from_utf8(name).ok()?;
    let named = (0..).zip(KEYS).find(|(_, key)| *key == name).map(|(number, _)| number);
    named.or_else(|| name.strip_prefix("key")?.parse().ok())
}

/// A value's wire form.
fn encode(key: u16, value: &[u8]) -> Option<Vec<u8>> {
    let text = || std::str::from_utf8(value).ok();
    match key {
        MANDATORY => {
            let mut keys = text()?.split(',').map(|name| self::key(name.as_bytes())).collect::<Option<Vec<u16>>>()?;
            keys.sort_unstable();
            Some(keys.into_iter().flat_map(u16::to_be_bytes).collect())
        }
        ALPN => {
            let mut wire = Vec::new();
            for id in list(value)? {
                wire.push(u8::try_from(id.len()).ok().filter(|length| *length > 0)?);
                wire.extend(id);
            }
            Some(wire)
        }
        NO_DEFAULT_ALPN => value.is_empty().then(Vec::new),
        PORT => Some(text()?.parse::<u16>().ok()?.to_be_bytes().to_vec()),
        IPV4HINT => {
            let ips = text()?.split(',').map(|ip| ip.parse::<Ipv4Addr>().ok()).collect::<Option<Vec<_>>>()?;
            Some(ips.iter().flat_map(Ipv4Addr::octets).collect())
        }
        IPV6HINT => {
            let ips = text()?.split(',').map(|ip| ip.parse::<Ipv6Addr>().ok()).collect::<Option<Vec<_>>>()?;
            Some(ips.iter().flat_map(Ipv6Addr::octets).collect())
        }
        ECH => codec::from_base64(value),
        _ => Some(value.to_vec()),
    }
}

/// Splits at commas; a backslash keeps the next character (RFC 9460 §A.1).
fn list(value: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut items = vec![Vec::new()];
    let mut bytes = value.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b',' => items.push(Vec::new()),
            b'\\' => items.last_mut()?.push(bytes.next()?),
            _ => items.last_mut()?.push(byte),
        }
    }
    Some(items)
}

/// Whether the keys are in order, as they must be (RFC 9460 §2.2).
pub(super) fn is_plain(mut bytes: &[u8]) -> bool {
    let mut last = None;
    while let [a, b, c, d, rest @ ..] = bytes {
        let key = u16::from_be_bytes([*a, *b]);
        if last.is_some_and(|last| last >= key) {
            return false;
        }
        last = Some(key);
        bytes = rest.get(usize::from(u16::from_be_bytes([*c, *d]))..).unwrap_or_default();
    }
    true
}

/// Shows all parameters, each with a blank in front and its value in quotes. A value that isn't made as its key asks
/// is shown as if the key had no name.
pub(super) fn show(to: &mut Formatter<'_>, mut bytes: &[u8]) -> fmt::Result {
    while let [a, b, c, d, rest @ ..] = bytes {
        let (key, length) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
        let (value, rest) = rest.split_at_checked(usize::from(length)).unwrap_or((rest, &[]));
        bytes = rest;
        let is_plain = match key {
            MANDATORY => value.len() % 2 != 0 || value.is_empty() || !value.chunks(2).is_sorted(),
            ALPN => alpn(value).is_none_or(|ids| ids.is_empty()),
            NO_DEFAULT_ALPN => !value.is_empty(),
            PORT => value.len() != 2,
            IPV4HINT => value.len() % 4 != 0 || value.is_empty(),
            IPV6HINT => value.len() % 16 != 0 || value.is_empty(),
            _ => false,
        };
        to.write_char(' ')?;
        if is_plain {
            write!(to, "key{key}")?;
        } else {
            show_key(to, key)?;
        }
        to.write_str("=\"")?;
        if is_plain {
            escaped(to, value)?;
        } else {
            show_value(to, key, value)?;
        }
        to.write_char('"')?;
    }
    Ok(())
}

fn show_key(to: &mut Formatter<'_>, key: u16) -> fmt::Result {
    match KEYS.get(usize::from(key)) {
        Some(name) => to.write_str(name),
        None => write!(to, "key{key}"),
    }
}

fn show_value(to: &mut Formatter<'_>, key: u16, value: &[u8]) -> fmt::Result {
    let size = match key {
        MANDATORY | PORT => 2,
        IPV4HINT => 4,
        IPV6HINT => 16,
        ALPN => {
            for (index, id) in alpn(value).unwrap_or_default().into_iter().enumerate() {
                if index > 0 {
                    to.write_char(',')?;
                }
                for &byte in id {
                    match byte {
                        b',' => to.write_str("\\\\\\044")?,
                        b'\\' => to.write_str("\\\\\\092")?,
                        _ => escaped(to, &[byte])?,
                    }
                }
            }
            return Ok(());
        }
        ECH => return codec::to_base64(to, value),
        _ => return escaped(to, value),
    };
    for (index, item) in value.chunks(size).enumerate() {
        if index > 0 {
            to.write_char(',')?;
        }
        match (key, item) {
            (MANDATORY, [high, low]) => show_key(to, u16::from_be_bytes([*high, *low]))?,
            (PORT, [high, low]) => write!(to, "{}", u16::from_be_bytes([*high, *low]))?,
            (IPV4HINT, &[a, b, c, d]) => write!(to, "{}", Ipv4Addr::new(a, b, c, d))?,
            (_, item) => {
                if let Ok(octets) = <[u8; 16]>::try_from(item) {
                    write!(to, "{}", Ipv6Addr::from(octets))?;
                }
            }
        }
    }
    Ok(())
}

/// The protocol ids of an alpn value; none if they aren't whole, or one is empty.
fn alpn(value: &[u8]) -> Option<Vec<&[u8]>> {
    let mut ids = Vec::new();
    let mut rest = value;
    while let Some((length, tail)) = rest.split_first() {
        let (id, tail) = tail.split_at_checked(usize::from(*length)).filter(|(id, _)| !id.is_empty())?;
        ids.push(id);
        rest = tail;
    }
    Some(ids)
}

fn escaped(to: &mut Formatter<'_>, value: &[u8]) -> fmt::Result {
    for &byte in value {
        match byte {
            b'"' | b';' | b' ' | b'\\' => write!(to, "\\{}", char::from(byte))?,
            b'!'..=b'~' => to.write_char(byte.into())?,
            _ => write!(to, "\\{byte:03}")?,
        }
    }
    Ok(())
}
