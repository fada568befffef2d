//! Spans of time as Go writes them: `5s`, `1m30s`, `100ms`, `1.5h`.

use std::time::Duration;

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads one. None: it is not a span of time, is negative, or is longer than 292 years (Go's bound).
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" || text == "-0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum: u64 = 0;
    while !rest.is_empty() {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, after) = rest.split_at(digits(rest));
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(digits(after)),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        sum = sum.checked_add(whole.checked_mul(unit)?)?.checked_add(part_of(unit, fraction))?;
        rest = after;
    }
    (sum <= i64::MAX as u64).then(|| Duration::from_nanos(sum))
}

/// A decimal fraction of a unit, in nanoseconds, rounded down. An hour has 13 digits: further ones don't count.
fn part_of(unit: u64, fraction: &str) -> u64 {
    let (mut sum, mut scale) = (0_u128, 1_u128);
    for digit in fraction.bytes().take(18) {
        sum = sum * 10 + u128::from(digit - b'0');
        scale *= 10;
    }
    u64::try_from(u128::from(unit) * sum / scale).unwrap_or(0)
}

#[cfg(test)]
mod tests;
