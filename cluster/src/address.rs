//! Addresses and ranges as Kubernetes reads them: k8s.io/utils/net's ParseIPSloppy and ParseCIDRSloppy.
//!
//! An API server still takes what Go's parser took before 1.17, and kube-proxy serves it: octets with leading zeros,
//! which are decimal (`10.96.003.008`), and IPv4 addresses in IPv6 form, which are IPv4 addresses. A range may have bits
//! set behind its prefix; they don't count.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

#[cfg(test)]
mod tests;

/// An address; None where it is none. An IPv4 address in IPv6 form comes out as the IPv4 address that it is.
pub fn parse(text: &str) -> Option<IpAddr> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(address.to_canonical()),
        Err(_) => sloppy(text).map(|address| address.to_canonical()),
    }
}

/// A range of addresses, without bits behind its prefix; None where it is none.
pub fn parse_range(text: &str) -> Option<IpNet> {
    let (address, prefix) = text.split_once('/')?;
    let address = address.parse().ok().or_else(|| sloppy(address))?;
    let prefix = number(prefix, 10).filter(|(_, rest)| rest.is_empty())?.0;
    let prefix = u8::try_from(prefix).ok()?;
    let range = match address {
        IpAddr::V4(address) => Ipv4Net::new(address, prefix).ok()?.into(),
        IpAddr::V6(address) => match (address.to_ipv4_mapped(), prefix.checked_sub(96)) {
            (Some(v4), Some(prefix)) => Ipv4Net::new(v4, prefix).ok()?.into(),
            _ => IpNet::from(Ipv6Net::new(address, prefix).ok()?),
        },
    };
    Some(range.trunc())
}

/// What Rust's own parser refuses.
fn sloppy(text: &str) -> Option<IpAddr> {
    match text.bytes().find(|byte| matches!(byte, b'.' | b':'))? {
        b'.' => ipv4(text).map(IpAddr::from),
        _ => ipv6(text).map(IpAddr::from),
    }
}

fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let (value, rest) = number(parts.next()?, 10)?;
        *octet = u8::try_from(value).ok().filter(|_| rest.is_empty())?;
    }
    parts.next().is_none().then(|| octets.into())
}

fn ipv6(text: &str) -> Option<Ipv6Addr> {
    let mut groups = [0_u16; 8];
    let (mut count, mut gap) = (0, None);
    let mut rest = text;
    if let Some(after) = rest.strip_prefix("::") {
        gap = Some(0);
        rest = after;
    }
    while count < 8 && !rest.is_empty() {
        let (value, after) = number(rest, 16)?;
        let group = u16::try_from(value).ok()?;
        if after.starts_with('.') {
            // An IPv4 address at the end.
            let octets = ipv4(rest)?.octets();
            if count > 6 || (gap.is_none() && count != 6) {
                return None;
            }
            groups[count] = u16::from_be_bytes([octets[0], octets[1]]);
            groups[count + 1] = u16::from_be_bytes([octets[2], octets[3]]);
            count += 2;
            rest = "";
            break;
        }
        groups[count] = group;
        count += 1;
        rest = after;
        if rest.is_empty() {
            break;
        }
        rest = rest.strip_prefix(':').filter(|rest| !rest.is_empty())?;
        if let Some(after) = rest.strip_prefix(':') {
            if gap.is_some() {
                return None;
            }
            gap = Some(count);
            rest = after;
        }
    }
    match gap {
        _ if !rest.is_empty() => None,
        None => (count == 8).then(|| groups.into()),
        Some(_) if count == 8 => None,
        Some(gap) => {
            groups.copy_within(gap..count, gap + 8 - count);
            groups[gap..gap + 8 - count].fill(0);
            Some(groups.into())
        }
    }
}

/// The number at the start, with as many leading zeros as it likes, and what follows it.
fn number(text: &str, radix: u32) -> Option<(u32, &str)> {
    let digits = text.bytes().take_while(|byte| char::from(*byte).is_digit(radix)).count();
    let (number, rest) = text.split_at_checked(digits)?;
    // Go's bound; it also keeps the sum small.
    let value = number.bytes().try_fold(0_u32, |sum, byte| {
        let sum = sum * radix + char::from(byte).to_digit(radix)?;
        (sum < 0xff_ffff).then_some(sum)
    })?;
    (digits > 0).then_some((value, rest))
}
