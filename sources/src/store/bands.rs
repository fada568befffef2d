//! Which of many numbers is given to who names none: by chance, from the upper band first, as Kubernetes does
//! it. People write the low ones, so the two seldom meet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::IpNet;

#[cfg(test)]
mod tests;

/// Tries by chance before a band is looked through.
const TRIES: u32 = 32;

/// A band that is larger is not looked through: by chance something is found there.
const LARGE: u128 = 1 << 21;

/// An index below `size` that is not taken: by chance from `band` on, then below it. None where all that was
/// tried is taken.
fn pick(size: u128, band: u128, taken: impl Fn(u128) -> bool, random: &mut dyn FnMut() -> u64) -> Option<u128> {
    for (from, to) in [(band, size), (0, band)] {
        let width = to.saturating_sub(from);
        if width == 0 {
            continue;
        }
        let mut chance = || from + ((u128::from(random()) << 64) | u128::from(random())) % width;
        if let Some(found) = (0..TRIES).map(|_| chance()).find(|index| !taken(*index)) {
            return Some(found);
        }
        let start = chance();
        let found = (0..width.min(LARGE)).map(|step| from + (start - from + step) % width).find(|index| !taken(*index));
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Kubernetes' size of the lower band: `min(max(16, size / step), max)`, none where all is small.
fn lower_band(size: u128, step: u128, max: u128) -> u128 {
    if size <= 16 { 0 } else { (size / step).clamp(16, max) }
}

/// An address of a Service range that is not taken. Never the network's own, the last one of IPv4, nor the
/// first, which is that of the Service `kubernetes`.
pub(super) fn address(
    range: &IpNet,
    taken: impl Fn(&IpAddr) -> bool,
    random: &mut dyn FnMut() -> u64,
) -> Option<IpAddr> {
    let host_bits = u32::from(range.max_prefix_len() - range.prefix_len());
    let size = 1_u128.checked_shl(host_bits).unwrap_or(u128::MAX);
    let band = lower_band(size, 16, 256);
    let at = |index: u128| -> IpAddr {
        match range.network() {
            IpAddr::V4(network) => Ipv4Addr::from_bits(network.to_bits() + index as u32).into(),
            IpAddr::V6(network) => Ipv6Addr::from_bits(network.to_bits() + index).into(),
        }
    };
    // Indexes of the whole range; those that are never given count as taken.
    let never = |index: u128| index < 2 || (range.addr().is_ipv4() && index == size - 1);
    pick(size, band + 1, |index| never(index) || taken(&at(index)), random).map(at)
}

/// A port of the range that is not taken.
pub(super) fn port(
    range: &RangeInclusive<u16>,
    taken: impl Fn(u16) -> bool,
    random: &mut dyn FnMut() -> u64,
) -> Option<u16> {
    let size = (u128::from(*range.end()) + 1).saturating_sub(u128::from(*range.start()));
    let at = |index: u128| range.start() + index as u16;
    pick(size, lower_band(size, 32, 128), |index| taken(at(index)), random).map(at)
}

/// The range of `mask` bits that has this index within the pool.
pub(super) fn subnet(pool: &IpNet, mask: u8, index: u128) -> Option<IpNet> {
    let shift = u32::from(pool.max_prefix_len().checked_sub(mask)?);
    let network: IpAddr = match pool.network() {
        IpAddr::V4(network) => {
            Ipv4Addr::from_bits(network.to_bits() + u32::try_from(index.checked_shl(shift)?).ok()?).into()
        }
        IpAddr::V6(network) => Ipv6Addr::from_bits(network.to_bits() + index.checked_shl(shift)?).into(),
    };
    IpNet::new(network, mask).ok()
}

/// How many ranges of `mask` bits a pool has.
pub(super) fn subnets(pool: &IpNet, mask: u8) -> u128 {
    mask.checked_sub(pool.prefix_len()).map_or(0, |bits| 1_u128.checked_shl(bits.into()).unwrap_or(u128::MAX))
}

/// One of the first free ranges of a pool, or the first of all on the first try: who comes at the same time
/// as others takes another one each time.
pub(super) fn free_subnet(
    pool: &IpNet,
    mask: u8,
    taken: impl Fn(&IpNet) -> bool,
    attempt: u32,
    random: &mut dyn FnMut() -> u64,
) -> Option<IpNet> {
    let all = (0..subnets(pool, mask)).filter_map(|index| subnet(pool, mask, index));
    let free: Vec<IpNet> = all.filter(|range| !taken(range)).take(1 << attempt.min(8)).collect();
    (!free.is_empty()).then(|| free[random() as usize % free.len()])
}
