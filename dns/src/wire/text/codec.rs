//! Bytes as digits: hexadecimal, base64 and base32hex (RFC 4648).
use std::fmt::{self, Write as _};

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE32HEX: &[u8; 32] = b"0123456789ABCDEFGHIJKLMNOPQRSTUV";

/// Reads pairs of hexadecimal digits.
pub(super) fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some((digit(*high)? << 4 | digit(*low)?) as u8),
        _ => None,
    };
    text.chunks(2).map(pair).collect()
}

/// Writes capital hexadecimal digits.
pub(super) fn to_hex(to: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(to, "{byte:02X}"))
}

/// Reads base64 with its padding.
pub(super) fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    from_digits(text.get(..text.len() - padding)?, 6, |byte| BASE64.iter().position(|digit| *digit == byte))
}

/// Writes base64 with its padding.
pub(super) fn to_base64(to: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    to_digits(to, bytes, 6, BASE64)?;
    (0..(3 - bytes.len() % 3) % 3).try_for_each(|_| to.write_char('='))
}

/// Reads base32hex without padding, ignoring case.
pub(super) fn from_base32hex(text: &[u8]) -> Option<Vec<u8>> {
    from_digits(text, 5, |byte| BASE32HEX.iter().position(|digit| digit.eq_ignore_ascii_case(&byte)))
}

/// Writes base32hex without padding.
pub(super) fn to_base32hex(to: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    to_digits(to, bytes, 5, BASE32HEX)
}

/// Reads digits of so many bits; the bits that are left over must be clear and less than a digit.
fn from_digits(text: &[u8], bits: u32, value: impl Fn(u8) -> Option<usize>) -> Option<Vec<u8>> {
    let (mut held, mut count) = (0_u32, 0);
    let mut bytes = Vec::with_capacity(text.len());
    for &byte in text {
        held = held << bits | u32::try_from(value(byte)?).ok()?;
        count += bits;
        if count >= 8 {
            count -= 8;
            bytes.push((held >> count) as u8);
            held &= (1 << count) - 1;
        }
    }
    (held == 0 && count < bits).then_some(bytes)
}

/// Writes digits of so many bits, the last filled up with clear bits.
fn to_digits(to: &mut fmt::Formatter<'_>, bytes: &[u8], bits: u32, digits: &[u8]) -> fmt::Result {
    let (mut held, mut count) = (0_u32, 0);
    let digit = |value: u32| char::from(digits.get(value as usize & (digits.len() - 1)).copied().unwrap_or(b'0'));
    for &byte in bytes {
        held = (held << 8 | u32::from(byte)) & 0xFFFF;
        count += 8;
        while count >= bits {
            count -= bits;
            to.write_char(digit(held >> count))?;
        }
    }
    if count > 0 { to.write_char(digit(held << (bits - count))) } else { Ok(()) }
}
