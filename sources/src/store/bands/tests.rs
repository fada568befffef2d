#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use super::*;

fn all_of(range: &str) -> Vec<IpAddr> {
    let range: IpNet = range.parse().unwrap();
    let (mut taken, mut order) = (BTreeSet::new(), Vec::new());
    while let Some(address) = address(&range, |address| taken.contains(address), &mut super::super::random) {
        assert!(range.contains(&address) && taken.insert(address), "{address}");
        order.push(address);
    }
    order
}

#[test]
fn every_address_is_given_once_and_the_lower_band_last() {
    let order = all_of("10.0.0.0/24");
    // Without network, broadcast, and that of `kubernetes`.
    assert_eq!(order.len(), 253);
    let lower = |address: &IpAddr| *address <= "10.0.0.16".parse::<IpAddr>().unwrap();
    assert!(!order[..238].iter().any(lower) && order[238..].iter().all(lower), "{order:?}");
    // IPv6 has no broadcast.
    assert_eq!(all_of("fd00::/120").len(), 254);
    assert_eq!(all_of("10.0.0.0/29").len(), 5);
    assert_eq!(all_of("10.0.0.0/31"), Vec::<IpAddr>::new());
}

#[test]
fn kubernetes_bands() {
    // https://kubernetes.io/blog/2022/05/23/service-ip-dynamic-and-static-allocation/ and .../2023/05/11/nodeport-...
    for (size, band) in [(16, 0), (256, 16), (4096, 256), (65536, 256)] {
        assert_eq!(lower_band(size, 16, 256), band, "{size}");
    }
    assert_eq!(lower_band(2768, 32, 128), 86);
    assert_eq!(lower_band(20, 32, 128), 16);
}

#[test]
fn every_port_is_given_once_and_the_lower_band_last() {
    let range = 30000..=32767;
    let (mut taken, mut order) = (BTreeSet::new(), Vec::new());
    while let Some(port) = port(&range, |port| taken.contains(&port), &mut super::super::random) {
        assert!(range.contains(&port) && taken.insert(port));
        order.push(port);
    }
    assert_eq!(order.len(), 2768);
    assert!(order[..2682].iter().all(|port| *port >= 30086) && order[2682..].iter().all(|port| *port < 30086));
    assert_eq!(port_of_one(65535..=65535), Some(65535));
}

fn port_of_one(range: RangeInclusive<u16>) -> Option<u16> {
    port(&range, |_| false, &mut super::super::random)
}

#[test]
fn a_pool_is_cut_into_ranges() {
    let pool: IpNet = "10.244.0.0/22".parse().unwrap();
    assert_eq!(subnets(&pool, 24), 4);
    assert_eq!(subnets(&pool, 20), 0);
    let mut taken = BTreeSet::new();
    while let Some(range) = free_subnet(&pool, 24, |range| taken.contains(range), 0, &mut super::super::random) {
        taken.insert(range);
    }
    let all: Vec<String> = taken.iter().map(ToString::to_string).collect();
    assert_eq!(all, ["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24", "10.244.3.0/24"]);
    let six: IpNet = "fd00:10:244::/48".parse().unwrap();
    assert_eq!(subnet(&six, 64, 3).unwrap().to_string(), "fd00:10:244:3::/64");
    assert_eq!(subnets(&"::/0".parse().unwrap(), 128), u128::MAX);
}
