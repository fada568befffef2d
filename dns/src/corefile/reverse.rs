//! The reverse zones of an address block (RFC 1035 §3.5, RFC 3596 §2.5): `10.0.0.0/8` is `10.in-addr.arpa.`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::Name;

/// The zones that together are the block `text`. A block that doesn't end on a label of reverse names (8
/// bits for IPv4, 4 for IPv6) is several: at most 128. None: `text` is no address block.
///
/// # Errors
/// `text` is nearly a block, and what is wrong with it.
pub fn zones(text: &str) -> Result<Option<Vec<Name>>, String> {
    let Some((address, length)) = text.split_once('/') else { return Ok(None) };
    let Ok(address) = address.parse::<IpAddr>() else { return Ok(None) };
    let most: u32 = if address.is_ipv4() { 32 } else { 128 };
    let is_number = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let length = length.parse::<u32>().ok().filter(|length| is_number && *length <= most);
    let Some(length) = length else { return Err(format!("the length after the / is not a number from 0 to {most}")) };
    // CoreDNS refuses these; among them are IPv4 addresses in IPv6 form.
    if text.starts_with(':') || (text.starts_with('0') && address.is_ipv6()) {
        return Err("not an address block that has reverse zones".to_string());
    }
    Ok(Some(split(address, length)))
}

fn split(address: IpAddr, length: u32) -> Vec<Name> {
    let (bits, width, label_bits) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32, 8),
        IpAddr::V6(address) => (address.to_bits(), 128, 4),
    };
    let labels = length.div_ceil(label_bits);
    let count = 1_u128 << (labels * label_bits - length);
    // The bits in front of the block's length, and how far apart its parts are.
    let base = if length == 0 { 0 } else { bits & (u128::MAX << (128 - length)) };
    let step = 128_u32.checked_sub(labels * label_bits).and_then(|shift| 1_u128.checked_shl(shift)).unwrap_or(0);
    let zone = |index| {
        let bits: u128 = base + index * step;
        let address: IpAddr = match width {
            32 => Ipv4Addr::from_bits((bits >> 96) as u32).into(),
            _ => Ipv6Addr::from_bits(bits).into(),
        };
        // in-addr.arpa and ip6.arpa are two labels.
        Name::reverse_of(address).suffix(labels as usize + 2)
    };
    (0..count).map(zone).collect()
}

#[cfg(test)]
mod tests;
