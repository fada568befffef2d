//! A name's presentation form (RFC 1035 §5.1, RFC 4343 §2.1), and the names of addresses.
use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use smallvec::SmallVec;

use super::{MAX_LABEL, MAX_NAME, Name, NameError};

impl Name {
    /// Reads the presentation form. The final dot may be missing; `\DDD` is a byte in decimal, `\X` that character.
    ///
    /// # Errors
    /// If a label is empty or too long, the name is too long, or an escape is malformed.
    pub fn parse(text: &str) -> Result<Name, NameError> {
        Name::parse_bytes(text.as_bytes())
    }

    /// Like `parse`; zone files may hold other bytes than UTF-8's.
    pub(in crate::wire) fn parse_bytes(text: &[u8]) -> Result<Name, NameError> {
        match text {
            b"" => return Err(NameError::Empty),
            b"." => return Ok(Name::root()),
            _ => {}
        }
        let mut wire: SmallVec<[u8; 64]> = SmallVec::new();
        let mut bytes = text.iter().copied();
        let mut start = 0;
        wire.push(0);
        while let Some(byte) = bytes.next() {
            match byte {
                b'.' => {
                    close(&mut wire, start)?;
                    start = wire.len();
                    wire.push(0);
                }
                b'\\' => wire.push(unescape(&mut bytes).ok_or(NameError::Escape)?),
                _ => wire.push(byte),
            }
            if wire.len() > MAX_NAME {
                return Err(NameError::Long);
            }
        }
        // What stands behind the last dot is a label, or the root.
        if wire.len() > start + 1 {
            close(&mut wire, start)?;
            wire.push(0);
        }
        if wire.len() > MAX_NAME { Err(NameError::Long) } else { Ok(Name(wire)) }
    }

    /// The name whose PTR record tells an address's name: in-addr.arpa (RFC 1035 §3.5) or ip6.arpa (RFC 3596 §2.5).
    pub fn reverse_of(ip: IpAddr) -> Name {
        let mut wire = SmallVec::new();
        match ip {
            IpAddr::V4(ip) => {
                for octet in ip.octets().into_iter().rev() {
                    let digits: SmallVec<[u8; 3]> = match octet {
                        0..10 => SmallVec::from_slice(&[b'0' + octet]),
                        10..100 => SmallVec::from_slice(&[b'0' + octet / 10, b'0' + octet % 10]),
                        _ => SmallVec::from_slice(&[b'0' + octet / 100, b'0' + octet / 10 % 10, b'0' + octet % 10]),
                    };
                    wire.push(digits.len() as u8);
                    wire.extend_from_slice(&digits);
                }
                wire.extend_from_slice(IN_ADDR);
            }
            IpAddr::V6(ip) => {
                for octet in ip.octets().into_iter().rev() {
                    for nibble in [octet & 15, octet >> 4] {
                        wire.extend_from_slice(&[1, HEX[usize::from(nibble)]]);
                    }
                }
                wire.extend_from_slice(IP6);
            }
        }
        Name(wire)
    }

    /// The address that a whole name under in-addr.arpa or ip6.arpa stands for.
    pub fn to_ip(&self) -> Option<IpAddr> {
        let mut labels = self.labels();
        if self.0.len() > IN_ADDR.len() && self.0[self.0.len() - IN_ADDR.len()..].eq_ignore_ascii_case(IN_ADDR) {
            let mut octets = [0; 4];
            for octet in octets.iter_mut().rev() {
                let digits = std::str::from_utf8(labels.next()?).ok()?;
                // "01" and "+1" name no address.
                if !digits.bytes().all(|byte| byte.is_ascii_digit()) || (digits.len() > 1 && digits.starts_with('0')) {
                    return None;
                }
                *octet = digits.parse().ok()?;
            }
            return (labels.count() == 2).then(|| Ipv4Addr::from(octets).into());
        }
        if self.0.len() == 64 + IP6.len() && self.0[64..].eq_ignore_ascii_case(IP6) {
            let mut address: u128 = 0;
            for shift in 0..32 {
                let [digit] = labels.next()? else { return None };
                address |= u128::from(char::from(*digit).to_digit(16)?) << (4 * shift);
            }
            return Some(Ipv6Addr::from(address).into());
        }
        None
    }
}

const IN_ADDR: &[u8] = b"\x07in-addr\x04arpa\x00";
const IP6: &[u8] = b"\x03ip6\x04arpa\x00";
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes the length of the label that began at `start` and ends here.
fn close(wire: &mut [u8], start: usize) -> Result<(), NameError> {
    let length = wire.len() - start - 1;
    match (u8::try_from(length), wire.get_mut(start)) {
        (Ok(0), _) => Err(NameError::EmptyLabel),
        (Ok(short), Some(at)) if length <= MAX_LABEL => {
            *at = short;
            Ok(())
        }
        _ => Err(NameError::LongLabel),
    }
}

/// The byte an escape stands for, behind its backslash: three digits, or any other character.
pub(in crate::wire) fn unescape(bytes: &mut (impl Iterator<Item = u8> + Clone)) -> Option<u8> {
    let first = bytes.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let mut ahead = bytes.clone();
    match (ahead.next(), ahead.next()) {
        (Some(second), Some(third)) if second.is_ascii_digit() && third.is_ascii_digit() => {
            *bytes = ahead;
            let value = u16::from(first - b'0') * 100 + u16::from(second - b'0') * 10 + u16::from(third - b'0');
            u8::try_from(value).ok()
        }
        // As others read it: a digit alone stands for itself.
        _ => Some(first),
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Name, NameError> {
        Name::parse(text)
    }
}

impl fmt::Display for Name {
    /// With the final dot; what has a meaning in zone files behind a backslash, other bytes than ASCII's as `\DDD`.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return to.write_char('.');
        }
        for label in self.labels() {
            for &byte in label {
                match byte {
                    b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => {
                        to.write_char('\\')?;
                        to.write_char(byte.into())?;
                    }
                    b'!'..=b'~' => to.write_char(byte.into())?,
                    _ => write!(to, "\\{byte:03}")?,
                }
            }
            to.write_char('.')?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}
