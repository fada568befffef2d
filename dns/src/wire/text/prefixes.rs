//! Address prefixes of APL records (RFC 3123): "1:192.0.2.0/24", with "!" in front if negated.
use std::fmt::{self, Formatter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const NEGATED: u8 = 0x80;

/// Reads one prefix into wire form: family, prefix length, and the address without its zero bytes at the end.
pub(super) fn read(word: &str) -> Option<Vec<u8>> {
    let plain = word.strip_prefix('!');
    let (family, prefix) = plain.unwrap_or(word).split_once(':')?;
    let (address, length) = prefix.split_once('/')?;
    let (octets, most) = match (family, address.parse().ok()?) {
        ("1", IpAddr::V4(ip)) => (ip.octets().to_vec(), 32),
        ("2", IpAddr::V6(ip)) => (ip.octets().to_vec(), 128),
        _ => return None,
    };
    let length: u8 = length.parse().ok().filter(|length| *length <= most)?;
    let bytes = octets.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
    let mut wire = vec![0, family.parse().ok()?, length, bytes as u8 | if plain.is_some() { NEGATED } else { 0 }];
    wire.extend(&octets[..bytes]);
    Some(wire)
}

/// Whether all families are known, and no address has more bytes than it needs.
pub(super) fn is_plain(mut bytes: &[u8]) -> bool {
    while let [high, low, length, marked, rest @ ..] = bytes {
        let most = match (high, low) {
            (0, 1) => 4,
            (0, 2) => 16,
            _ => return false,
        };
        let Some((address, rest)) = rest.split_at_checked(usize::from(marked & !NEGATED)) else { return false };
        if address.len() > most || address.last() == Some(&0) || usize::from(*length) > most * 8 {
            return false;
        }
        bytes = rest;
    }
    true
}

/// Shows all prefixes, which are plain.
pub(super) fn show(to: &mut Formatter<'_>, mut bytes: &[u8]) -> fmt::Result {
    let mut between = "";
    while let [high, low, length, marked, rest @ ..] = bytes {
        let (address, rest) = rest.split_at_checked(usize::from(marked & !NEGATED)).unwrap_or((rest, &[]));
        let family = u16::from_be_bytes([*high, *low]);
        write!(to, "{between}{}{family}:", if marked & NEGATED != 0 { "!" } else { "" })?;
        let mut octets = [0; 16];
        for (to, from) in octets.iter_mut().zip(address) {
            *to = *from;
        }
        match family {
            1 => write!(to, "{}", Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]))?,
            _ => write!(to, "{}", Ipv6Addr::from(octets))?,
        }
        write!(to, "/{length}")?;
        (between, bytes) = (" ", rest);
    }
    Ok(())
}
