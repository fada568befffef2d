//! A place on the earth (RFC 1876): "52 22 23.000 N 4 53 32.000 E -2m 1m 10000m 10m".
use super::TextError;
use std::fmt::{self, Formatter, Write as _};

use super::fields::Words;

/// The equator and the prime meridian, in thousandths of a second of arc.
const MIDDLE: i64 = 1 << 31;
/// The reference of altitudes, in centimetres below the sphere of the earth.
const BASE: i64 = 100_000 * 100;
/// The defaults of size, horizontal and vertical precision (RFC 1876 §3), and how they are written.
const SIZES: [u8; 3] = [0x12, 0x16, 0x13];

/// Reads the words of a place into wire form.
pub(super) fn read(words: &mut Words<'_>) -> Result<[u8; 16], TextError> {
    let latitude = angle(words, 90, 'N', 'S')?;
    let longitude = angle(words, 180, 'E', 'W')?;
    let altitude = words.parse("altitude in metres", metres)? + BASE;
    let altitude = u32::try_from(altitude).map_err(|_| "the altitude is out of range")?;
    let mut wire = [0; 16];
    for (at, default) in wire[1..4].iter_mut().zip(SIZES) {
        *at = words.next_if(|word| metres(word).and_then(size)).unwrap_or(default);
    }
    for (at, value) in wire[4..].chunks_exact_mut(4).zip([latitude, longitude, altitude]) {
        at.copy_from_slice(&value.to_be_bytes());
    }
    Ok(wire)
}

/// Degrees, minutes and seconds, of which the latter may be missing, and a direction.
fn angle(words: &mut Words<'_>, most: i64, positive: char, negative: char) -> Result<u32, TextError> {
    let direction = |word: &str| {
        let is = |letter: char| word.eq_ignore_ascii_case(letter.encode_utf8(&mut [0; 4]));
        if is(positive) { Some(1) } else { is(negative).then_some(-1) }
    };
    let whole = |word: &str, most: i64| word.parse::<u16>().ok().map(i64::from).filter(|value| *value <= most);
    let mut value = words.parse("degrees", |word| whole(word, most))? * 3_600_000;
    if let Some(minutes) = words.next_if(|word| whole(word, 59)) {
        value += minutes * 60_000;
        let thousandths = |word: &str| decimal(word, 3).filter(|value| (0..60_000).contains(value));
        value += words.next_if(thousandths).unwrap_or(0);
    }
    let sign = words.parse(&format!("direction {positive} or {negative}"), direction)?;
    if value > most * 3_600_000 {
        return Err(format!("more than {most} degrees").into());
    }
    u32::try_from(MIDDLE + sign * value).map_err(|_| "the angle is out of range".into())
}

/// A decimal number in units of 10^-places.
fn decimal(word: &str, places: usize) -> Option<i64> {
    let (whole, part) = word.split_once('.').unwrap_or((word, ""));
    let is_negative = whole.starts_with('-');
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    if part.len() > places || whole.is_empty() || whole.len() > 9 || !digits(whole) || !digits(part) {
        return None;
    }
    let value: i64 = format!("{whole}{part:0<places$}").parse().ok()?;
    Some(if is_negative { -value } else { value })
}

/// Metres in centimetres, the "m" optional.
fn metres(word: &str) -> Option<i64> {
    decimal(word.strip_suffix(['m', 'M']).unwrap_or(word), 2)
}

/// Centimetres as a digit and a power of ten.
fn size(centimetres: i64) -> Option<u8> {
    let (mut digit, mut power) = (u8::try_from(centimetres.min(255)).ok()?, 0);
    let mut rest = centimetres;
    while rest > 9 {
        rest /= 10;
        power += 1;
        digit = rest as u8;
    }
    (power <= 9).then_some(digit << 4 | power)
}

/// Whether 16 bytes are a place that can be written: version 0, its angles and sizes in range.
pub(super) fn is_plain(bytes: &[u8]) -> bool {
    let is_angle = |at: usize, most: i64| (word(bytes, at) - MIDDLE).abs() <= most * 3_600_000;
    let is_size = |byte: &u8| size(i64::from(byte >> 4) * 10_i64.pow(u32::from(byte & 15))) == Some(*byte);
    bytes.first() == Some(&0)
        && bytes.get(1..4).is_some_and(|sizes| sizes.iter().all(is_size))
        && is_angle(4, 90)
        && is_angle(8, 180)
}

/// Four bytes as a number.
fn word(bytes: &[u8], at: usize) -> i64 {
    bytes.get(at..at + 4).map_or(0, |word| word.iter().fold(0, |sum, byte| sum << 8 | i64::from(*byte)))
}

/// Shows a place, which is plain.
pub(super) fn show(to: &mut Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for (at, letters) in [(4, ['N', 'S']), (8, ['E', 'W'])] {
        let value = word(bytes, at) - MIDDLE;
        let letter = letters[usize::from(value < 0)];
        let value = value.abs();
        let (degrees, minutes) = (value / 3_600_000, value / 60_000 % 60);
        write!(to, "{degrees:02} {minutes:02} {}.{:03} {letter} ", value / 1000 % 60, value % 1000)?;
    }
    let altitude = word(bytes, 12) - BASE;
    let sign = if altitude < 0 { "-" } else { "" };
    write!(to, "{sign}{}", altitude.abs() / 100)?;
    if altitude % 100 != 0 {
        write!(to, ".{:02}", altitude.abs() % 100)?;
    }
    to.write_char('m')?;
    for &size in bytes.get(1..4).unwrap_or_default() {
        let centimetres = u64::from(size >> 4) * 10_u64.pow(u32::from(size & 15));
        write!(to, " {}", centimetres / 100)?;
        if centimetres < 100 {
            write!(to, ".{:02}", centimetres % 100)?;
        }
        to.write_char('m')?;
    }
    Ok(())
}
